//! Every variant of the depthwise family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Epilogue, Image, Planes, Window,
    depthwise::{self, Call, Kernel, Spec, reference},
};
use proptest::prelude::*;
use std::ops::Range;

/// Where the lists start in the weights: slopes, biases, then the rest; all but the slopes unaligned.
const BIAS: u32 = 16;
const WEIGHTS: u32 = 33;

#[derive(Clone, Debug)]
struct Case {
    channels: usize,
    input: Image,
    output: Image,
    window: Window,
    epilogue: Epilogue,
    residual: bool,
    seed: u64,
}

fn image(rows: Range<usize>) -> impl Strategy<Value = Image> {
    (rows, 1usize..100, 0usize..4).prop_map(|(height, width, gap)| Image { height, width, pitch: width + gap })
}

/// Rows, columns and gap of an image: also those that have a kernel of their own.
fn size() -> impl Strategy<Value = (usize, usize, usize)> {
    prop_oneof![4 => (3usize..20, 3usize..100, 0usize..4), 1 => Just((7, 7, 0))]
}

/// Paddings, the usual one among them.
fn pad() -> impl Strategy<Value = [usize; 2]> {
    prop_oneof![Just([1, 1]), prop::array::uniform2(0usize..3)]
}

/// Mostly the windows that have kernels of their own, with any stride, dilation and padding beside them.
fn window() -> impl Strategy<Value = Window> {
    let own = (prop::sample::select(vec![3, 5]), 1usize..3, prop_oneof![pad(), prop::array::uniform2(0usize..7)])
        .prop_map(|(k, stride, pad)| Window { kernel: [k; 2], stride: [stride; 2], dilation: [1; 2], pad });
    let pair = |range: Range<usize>| prop::array::uniform2(range);
    let any = (pair(1..6), pair(1..4), pair(1..4), pair(0..7)).prop_map(|(kernel, stride, dilation, pad)| Window {
        kernel,
        stride,
        dilation,
        pad,
    });
    prop_oneof![2 => own, 1 => any]
}

/// Outputs of any size: what they read may lie inside the input, or partly or wholly outside.
fn case() -> impl Strategy<Value = Case> {
    let epilogue = (activation(0), activation(0)).prop_map(|(first, last)| Epilogue { first, residual: None, last });
    (1usize..4, image(1..9), image(1..9), window(), epilogue, any::<bool>(), any::<u64>()).prop_map(
        |(channels, input, output, window, epilogue, residual, seed)| Case {
            channels,
            input,
            output,
            window,
            epilogue,
            residual,
            seed,
        },
    )
}

/// Planes of `floats` in any order with odd gaps, the first at the very start of the arena.
fn places(random: &mut Random, planes: usize, floats: usize) -> Vec<u32> {
    let mut places: Vec<u32> = (0..planes).map(|i| (i * (floats + 3)) as u32).collect();
    random.shuffle(&mut places);
    places
}

fn check(case: &Case, kernel: &'static Kernel) {
    let Case { channels, input, output, window, .. } = *case;
    let what = format!("{}, {case:?}", kernel.name);
    let mut random = Random(case.seed);
    let lanes = kernel.isa.lanes();
    let written = (output.height - 1) * output.pitch + output.width.max(lanes);
    let floats = written.max((input.height - 1) * input.pitch + input.width.max(lanes));
    let places = places(&mut random, 3 * channels, floats);
    let (x, rest) = places.split_at(channels);
    let (residual, y) = rest.split_at(channels);

    // Whatever is neither an input nor a residual is not a number, to show that it is not read.
    let mut before = vec![f32::NAN; places.len() * (floats + 3)];
    for (planes, image) in [(x, input), (residual, output)] {
        for row in rows(planes, image) {
            before[row].fill_with(|| random.float());
        }
    }
    let weights = weights(&random.floats(WEIGHTS as usize + channels * window.kernel[0] * window.kernel[1]));
    let epilogue = Epilogue { residual: case.residual.then(|| residual.into()), ..case.epilogue.clone() };
    let spec = Spec { input, output, window, odd: None, weights: WEIGHTS, bias: BIAS, x: x.into(), y, epilogue };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

    let expected = reference::run(&spec, weights.as_slice(), &before);
    let pixels = rows(y, output).flatten();
    assert_eq!(expected.len(), channels * output.height * output.width);
    for (place, expected) in pixels.zip(expected) {
        assert_close(after[place], expected, window.kernel[0] * window.kernel[1], &what);
    }
    if output.width < lanes {
        let planes = y.iter().map(|&plane| plane as usize..plane as usize + written);
        assert_untouched(&before, &after, planes, &what);
    } else {
        assert_untouched(&before, &after, rows(y, output), &what);
    }
}

/// The rows of the images at `planes`.
fn rows(planes: &[u32], image: Image) -> impl Iterator<Item = Range<usize>> {
    let starts =
        planes.iter().flat_map(move |&plane| (0..image.height).map(move |row| plane as usize + row * image.pitch));
    starts.map(move |start| start..start + image.width)
}

/// Rows that end with the last column of a window of stride two: what whole vectors read there must still lie in the row.
#[test]
fn vectors_of_stride_two_end_with_the_row() {
    for lanes in [4, 8, 16] {
        for pad in 0..3 {
            for width in 2 * lanes + 1..6 * lanes {
                let input = Image { height: 7, width, pitch: width };
                let [height, columns] = [7, width].map(|size: usize| (size + 2 * pad - 5) / 2 + 1);
                let output = Image { height, width: columns, pitch: columns };
                let window = Window { kernel: [5; 2], stride: [2; 2], dilation: [1; 2], pad: [pad; 2] };
                let epilogue = Epilogue::default();
                let case = Case { channels: 2, input, output, window, epilogue, residual: false, seed: width as u64 };
                each(depthwise::available(), |kernel| check(&case, kernel));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]
    #[test]
    fn every_variant_matches_the_reference(case in case()) {
        each(depthwise::available(), |kernel| check(&case, kernel));
    }

    /// With a zero column more, a 3x3 window takes the general path instead of its own. An output's bits depend neither on that, nor on the pitch, nor
    /// on the band of rows that it is computed in.
    #[test]
    fn paths_and_bands_do_not_change_bits(
        k in prop::sample::select(vec![3usize, 5]), stride in 1usize..3, pad in pad(), (height, width, gap) in size(), seed: u64,
    ) {
        each(depthwise::available(), |kernel| {
            let mut random = Random(seed);
            let size = |n: usize, pad: usize| (n + 2 * pad).saturating_sub(k) / stride + 1;
            let (out_height, out_width) = (size(height, pad[0]), size(width, pad[1]));
            let input = Image { height, width, pitch: width + gap };
            let output = Image { height: out_height, width: out_width, pitch: out_width };
            let window = Window { kernel: [k; 2], stride: [stride; 2], dilation: [1; 2], pad };
            let y = (input.pitch * height + 16) as u32;
            let before = random.floats(y as usize + output.pitch * out_height + 16);
            let own = random.floats(1 + k * k);
            let mut values = own.clone();
            values.extend(own[1..].chunks(k).flat_map(|row| row.iter().copied().chain([0.0])));
            let weights = weights(&values);
            let spec = Spec { input, output, window, odd: None, weights: 1, bias: 0, x: vec![0].into(), y: &[y], epilogue: Epilogue::default() };
            let own = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);
            let same = |other: &[f32], rows: Range<usize>, what: &str| {
                for row in rows {
                    let at = y as usize + row * output.pitch;
                    assert_same_bits(&own[at..at + out_width], &other[at..at + out_width], what);
                }
            };

            if k == 3 {
                let wider = Spec { window: Window { kernel: [3, 4], ..window }, weights: 10, ..spec.clone() };
                same(&run(Call::new(kernel, wider).unwrap(), &weights, &before), 0..out_height, "general path");
            }

            let first = random.below(out_height);
            let rows = first..first + 1 + random.below(out_height - first);
            let top = (first * stride).saturating_sub(pad[0]);
            if top < height {
                let x = vec![(top * input.pitch) as u32].into();
                let y = [y + (first * output.pitch) as u32];
                let pad = [pad[0].saturating_sub(first * stride), pad[1]];
                let band = Spec {
                    input: Image { height: height - top, ..input },
                    output: Image { height: rows.len(), ..output },
                    window: Window { pad, ..window },
                    x,
                    y: &y,
                    ..spec.clone()
                };
                same(&run(Call::new(kernel, band).unwrap(), &weights, &before), rows, "band");
            }
        });
    }

    /// Over rows whose columns are dealt, with and without a gap between the halves, a window gives the bits that it gives over the same rows in order; what lies
    /// between the halves and behind them counts for nothing.
    #[test]
    fn dealt_columns_do_not_change_bits(
        top in 0usize..2, height in 2usize..20, width in 2usize..70, fewer in 0usize..3, gap in prop::array::uniform2(0usize..5), seed: u64,
    ) {
        each(depthwise::available(), |kernel| {
            let mut random = Random(seed);
            let even = width.div_ceil(2);
            let odd = even.max(kernel.isa.lanes()) + gap[0];
            let input = Image { height, width, pitch: width };
            let dealt = Image { pitch: odd + even.max(kernel.isa.lanes()) + gap[1], ..input };
            let columns = even.saturating_sub(fewer).max(1);
            let output = Image { height: (height + top) / 2, width: columns, pitch: columns };
            let window = Window { kernel: [3; 2], stride: [2; 2], dilation: [1; 2], pad: [top, 1] };
            let x = [0, (input.pitch * height + 16) as u32];
            let y = [x[1] + (dealt.pitch * height) as u32];
            let mut before = vec![f32::NAN; y[0] as usize + output.pitch * output.height + 16];
            for (row, column) in (0..height).flat_map(|row| (0..width).map(move |column| (row, column))) {
                let value = random.float();
                before[row * input.pitch + column] = value;
                before[x[1] as usize + row * dealt.pitch + column % 2 * odd + column / 2] = value;
            }
            let weights = weights(&random.floats(10));
            let outputs = |input: Image, x: u32, odd: Option<usize>| {
                let spec = Spec { input, output, window, odd, weights: 1, bias: 0, x: vec![x].into(), y: &y, epilogue: Epilogue::default() };
                run(Call::new(kernel, spec).unwrap(), &weights, &before)[y[0] as usize..][..columns * output.height].to_vec()
            };
            assert_same_bits(&outputs(input, x[0], None), &outputs(dealt, x[1], Some(odd)), kernel.name);
        });
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(depthwise::available(), |kernel| {
        let image = Image { height: 4, width: 4, pitch: 4 };
        let window = Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad: [1; 2] };
        let call = |input, output, window, x: Vec<u32>, residual: Option<Vec<u32>>| {
            let epilogue = Epilogue { residual: residual.map(Planes::from), ..Epilogue::default() };
            let spec =
                Spec { input, output, window, odd: None, weights: 0, bias: 0, x: x.into(), y: &[100, 200], epilogue };
            Call::new(kernel, spec).is_ok()
        };
        let two = || vec![0, 50];
        assert!(call(image, image, window, two(), None));
        assert!(call(image, image, window, two(), Some(two())));
        assert!(!call(image, image, window, vec![0], None));
        assert!(!call(image, image, window, two(), Some(vec![0])));
        for bad in [Image { height: 0, ..image }, Image { width: 0, ..image }, Image { pitch: 3, ..image }] {
            assert!(!call(bad, image, window, two(), None));
            assert!(!call(image, bad, window, two(), None));
        }
        let huge = Image { height: usize::MAX / 2, ..image };
        assert!(!call(huge, image, window, two(), None));
        for axis in 0..2 {
            let with = |change: &dyn Fn(&mut Window)| {
                let mut window = window;
                change(&mut window);
                call(image, image, window, two(), None)
            };
            assert!(!with(&|w| w.kernel[axis] = 0));
            assert!(!with(&|w| w.stride[axis] = 0));
            assert!(!with(&|w| w.dilation[axis] = 0));
            assert!(!with(&|w| w.pad[axis] = usize::MAX));
            assert!(!with(&|w| w.stride[axis] = usize::MAX));
            assert!(!with(&|w| w.dilation[axis] = usize::MAX));
        }

        let dealt = |pitch, odd, window, output| {
            let input = Image { height: 4, width: 40, pitch };
            let spec = Spec {
                input,
                output,
                window,
                odd: Some(odd),
                weights: 0,
                bias: 0,
                x: vec![0].into(),
                y: &[500],
                epilogue: Epilogue::default(),
            };
            Call::new(kernel, spec).is_ok()
        };
        let (window, output) = (Window { stride: [2; 2], ..window }, Image { height: 2, width: 20, pitch: 20 });
        assert!(dealt(40, 20, window, output));
        assert!(!dealt(40, 19, window, output) && !dealt(40, 21, window, output), "each half fits in a row");
        assert!(!dealt(50, 20, window, Image { width: 21, pitch: 21, ..output }), "an output for each even column");
        for other in [
            Window { stride: [1, 2], ..window },
            Window { stride: [2, 1], ..window },
            Window { kernel: [5; 2], ..window },
            Window { dilation: [2; 2], ..window },
            Window { pad: [1, 0], ..window },
        ] {
            assert!(!dealt(40, 20, other, output), "{other:?}");
        }
    });
}
