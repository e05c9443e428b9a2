//! Every variant of the pool family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Image, Window,
    pool::{self, Call, GlobalSpec, Kernel, Op, Spec, reference},
};
use proptest::prelude::*;
use std::ops::Range;

fn image(rows: Range<usize>, columns: Range<usize>) -> impl Strategy<Value = Image> {
    (rows, columns, 0usize..4).prop_map(|(height, width, gap)| Image { height, width, pitch: width + gap })
}

#[derive(Clone, Debug)]
struct Case {
    planes: usize,
    op: Op,
    input: Image,
    output: Image,
    window: Window,
    seed: u64,
}

/// Outputs of any size: what they read may lie inside the input, or partly or wholly outside.
fn case() -> impl Strategy<Value = Case> {
    let pair = |range: Range<usize>| prop::array::uniform2(range);
    let op = prop_oneof![
        2 => Just(Op::Max),
        1 => Just(Op::Average),
        1 => pair(0..5).prop_map(|pad_end| Op::AverageCountPad { pad_end }),
    ];
    let window = (pair(1..6), pair(1..4), pair(1..3), pair(0..6)).prop_map(|(kernel, stride, dilation, pad)| Window {
        kernel,
        stride,
        dilation,
        pad,
    });
    // The one that has a path of its own.
    let usual = (0usize..3).prop_map(|top| Window { kernel: [3; 2], stride: [2; 2], dilation: [1; 2], pad: [top, 1] });
    let window = prop_oneof![2 => window, 1 => usual];
    (1usize..4, op, image(1..9, 1..90), image(1..9, 1..40), window, any::<u64>())
        .prop_map(|(planes, op, input, output, window, seed)| Case { planes, op, input, output, window, seed })
}

/// The rows of the images at `planes`.
fn rows(planes: &[u32], image: Image) -> impl Iterator<Item = Range<usize>> {
    let starts =
        planes.iter().flat_map(move |&plane| (0..image.height).map(move |row| plane as usize + row * image.pitch));
    starts.map(move |start| start..start + image.width)
}

/// An arena that is not a number but in the images at some of its planes, which have room for `floats` and an odd gap; and the lists of these and the
/// other planes.
fn planes(random: &mut Random, planes: usize, floats: usize, input: Image) -> (Vec<f32>, Vec<u32>, Vec<u32>) {
    let mut places: Vec<u32> = (0..2 * planes).map(|i| (i * (floats + 3)) as u32).collect();
    random.shuffle(&mut places);
    let y = places.split_off(planes);
    let mut arena = vec![f32::NAN; 2 * planes * (floats + 3)];
    for row in rows(&places, input) {
        arena[row].fill_with(|| random.float());
    }
    (arena, places, y)
}

/// As `assert_close`, but for infinities.
#[track_caller]
fn assert_result(got: f32, expected: (f64, f64), terms: usize, what: &str) {
    if expected.0.is_infinite() {
        assert_eq!(f64::from(got), expected.0, "{what}");
    } else {
        assert_close(got, expected, terms, what);
    }
}

fn check(case: &Case, kernel: &'static Kernel) {
    let Case { op, input, output, window, .. } = *case;
    let what = format!("{}, {case:?}", kernel.name);
    let mut random = Random(case.seed);
    let lanes = kernel.isa.lanes();
    let written = (output.height - 1) * output.pitch + output.width.max(lanes);
    let floats = written.max(input.height * input.pitch);
    let (before, x, y) = planes(&mut random, case.planes, floats, input);
    let spec = Spec { op, input, output, window, x: x.into(), y: &y };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights(&[]), &before);

    let expected = reference::run(&spec, &before);
    assert_eq!(expected.len(), case.planes * output.height * output.width);
    for (place, expected) in rows(&y, output).flatten().zip(expected) {
        assert_result(after[place], expected, window.kernel[0] * window.kernel[1], &what);
    }
    if output.width < lanes {
        let planes = y.iter().map(|&plane| plane as usize..plane as usize + written);
        assert_untouched(&before, &after, planes, &what);
    } else {
        assert_untouched(&before, &after, rows(&y, output), &what);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_variant_matches_the_reference(case in case()) {
        each(pool::available(), |kernel| check(&case, kernel));
    }

    /// Windows and strides that are too wide for a buffer.
    #[test]
    fn wide_windows_match_the_reference(
        op in prop_oneof![Just(Op::Max), Just(Op::Average)], input in image(1..3, 1000..3000), kernel in 500usize..2500, stride in 1usize..600, seed: u64,
    ) {
        each(pool::available(), |variant| {
            let window = Window { kernel: [1, kernel], stride: [1, stride], dilation: [1; 2], pad: [0, seed as usize % kernel] };
            let output = Image { height: input.height, width: 9, pitch: 9 };
            check(&Case { planes: 1, op, input, output, window, seed }, variant);
        });
    }

    #[test]
    fn whole_planes_match_the_reference(count in 1usize..4, average: bool, input in image(1..9, 1..40), seed: u64) {
        each(pool::available(), |kernel| {
            let what = format!("{}, {input:?}, average {average}", kernel.name);
            let (before, x, y) = planes(&mut Random(seed), count, input.height * input.pitch, input);
            let spec = GlobalSpec { average, input, x: x.into(), y: &y };
            let after = run(Call::global(kernel, spec.clone()).unwrap(), &weights(&[]), &before);
            for (&place, expected) in y.iter().zip(reference::global(&spec, &before)) {
                assert_close(after[place as usize], expected, input.height * input.width, &what);
            }
            assert_untouched(&before, &after, y.iter().map(|&place| place as usize..place as usize + 1), &what);
        });
    }
}

#[test]
fn windows_without_a_pixel_have_a_value() {
    each(pool::available(), |kernel| {
        let input = Image { height: 2, width: 2, pitch: 2 };
        let window = Window { kernel: [2; 2], stride: [1; 2], dilation: [1; 2], pad: [5; 2] };
        let before = vec![1.0; 40];
        let first = |op| {
            let output = Image { height: 1, width: 1, pitch: 1 };
            let spec = Spec { op, input, output, window, x: vec![0].into(), y: &[10] };
            run(Call::new(kernel, spec).unwrap(), &weights(&[]), &before)[10]
        };
        assert_eq!(first(Op::Max), f32::NEG_INFINITY);
        assert_eq!(first(Op::Average), 0.0);
        assert_eq!(first(Op::AverageCountPad { pad_end: [0; 2] }), 0.0);
    });
}

#[test]
fn wrong_shapes_are_refused() {
    each(pool::available(), |kernel| {
        let image = Image { height: 4, width: 4, pitch: 4 };
        let window = Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad: [1; 2] };
        let call = |op, input, output, window, x: Vec<u32>| {
            Call::new(kernel, Spec { op, input, output, window, x: x.into(), y: &[100, 200] }).is_ok()
        };
        let two = || vec![0, 50];
        assert!(call(Op::Max, image, image, window, two()));
        assert!(!call(Op::Max, image, image, window, vec![0]));
        assert!(!call(Op::Max, Image { width: 5, ..image }, image, window, two()));
        assert!(!call(Op::Max, image, Image { height: 0, ..image }, window, two()));
        assert!(!call(Op::Max, image, image, Window { stride: [0, 1], ..window }, two()));
        let pad_end = [usize::MAX, 0];
        assert!(!call(Op::AverageCountPad { pad_end }, image, image, window, two()));
        let global = |input, x: Vec<u32>| {
            Call::global(kernel, GlobalSpec { average: true, input, x: x.into(), y: &[100, 200] }).is_ok()
        };
        assert!(global(image, two()));
        assert!(!global(image, vec![0]));
        assert!(!global(Image { pitch: 3, ..image }, two()));
    });
}
