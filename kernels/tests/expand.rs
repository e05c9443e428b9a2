//! Every variant of the family that expands and convolves depthwise in registers: against the naive one, and bit for bit against both layers one after another.

mod common;

use common::*;
use flgc_kernels::{
    Activation, Epilogue, Image, Window, depthwise,
    expand::{self, Call, Kernel, Spec, reference},
    pointwise,
};
use proptest::prelude::*;

/// Where the lists start in the weights, all unaligned.
const EXPANSION_BIAS: u32 = 3;
const BIAS: u32 = 23;
const WEIGHTS: u32 = 43;

#[derive(Clone, Debug)]
struct Case {
    filters: usize,
    taps: usize,
    height: usize,
    width: usize,
    gap: usize,
    strided: bool,
    pad: usize,
    /// Rows of the output that are left out.
    fewer: usize,
    between: Activation,
    activation: Activation,
    seed: u64,
}

impl Case {
    fn stride(&self) -> usize {
        if self.strided { 2 } else { 1 }
    }

    /// Rows and columns of the output.
    fn output(&self) -> [usize; 2] {
        // As many as have two rows of inputs in their windows.
        let most = (self.height + self.pad - 2) / self.stride() + 1;
        [most.saturating_sub(self.fewer).max(1), self.width.div_ceil(self.stride())]
    }
}

fn clamp() -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::RELU),
        Just(Activation::RELU6),
        (-0.5f32..0.0, 0.0f32..0.5).prop_map(|(lo, hi)| Activation::Clamp { lo, hi }),
    ]
}

/// Widths around those of strips, of networks, and any.
fn width() -> impl Strategy<Value = usize> {
    prop_oneof![1usize..120, prop::sample::select(vec![13, 14, 15, 16, 17, 28, 29, 30, 31, 32, 33, 56, 112])]
}

fn case() -> impl Strategy<Value = Case> {
    let size = (1usize..22, width(), 0usize..4, any::<bool>(), 0usize..2, 0usize..3);
    ((1usize..6, 0usize..9), size, (clamp(), clamp()), any::<u64>()).prop_filter_map(
        "a window with at least two rows",
        |((filters, taps), (height, width, gap, strided, pad, fewer), (between, activation), seed)| {
            (height + pad >= 2).then_some(Case {
                filters,
                taps,
                height,
                width,
                gap,
                strided,
                pad,
                fewer,
                between,
                activation,
                seed,
            })
        },
    )
}

fn check(case: &Case, kernel: &'static Kernel) {
    let what = format!("{}, {case:?}", kernel.name);
    let mut random = Random(case.seed);
    let lanes = kernel.isa.lanes();
    let [rows, columns] = case.output();
    let pitch = case.width + case.gap;
    let input = Image { height: case.height, width: case.width, pitch };
    let output = Image { height: rows, width: columns, pitch: columns + case.gap };
    // Planes in any order with odd gaps, the first at the very start of the arena.
    let floats = (case.height * pitch + lanes).max(rows * output.pitch + lanes) + 3;
    let scratch = kernel.scratch(case.height, case.stride(), case.taps).unwrap();
    let mut places: Vec<u32> = (0..case.taps + 2 * case.filters).map(|i| (i * floats) as u32).collect();
    random.shuffle(&mut places);
    let (x, rest) = places.split_at(case.taps);
    let (y, between) = rest.split_at(case.filters);

    // Whatever is no input is not a number, to show that it does not count.
    let behind = places.len() * floats;
    let mut before = vec![f32::NAN; behind + scratch];
    for &plane in x {
        for row in 0..case.height {
            before[plane as usize + row * pitch..][..case.width].fill_with(|| random.float());
        }
    }
    let expansion = WEIGHTS + 9 * case.filters as u32;
    let weights = weights(&random.floats(expansion as usize + case.taps * case.filters));
    let spec = Spec {
        input,
        output,
        stride: case.stride(),
        pad: case.pad,
        x: x.into(),
        scratch: behind as u32,
        expansion,
        expansion_bias: EXPANSION_BIAS,
        between: case.between,
        weights: WEIGHTS,
        bias: BIAS,
        y,
        activation: case.activation,
    };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);
    let rows_of = |planes: &[u32]| -> Vec<std::ops::Range<usize>> {
        let starts = planes.iter().flat_map(|&plane| (0..rows).map(move |row| plane as usize + row * output.pitch));
        starts.map(|start| start..start + columns).collect()
    };
    let written = rows_of(y);
    assert_untouched(&before, &after, written.iter().cloned().chain(std::iter::once(behind..behind + scratch)), &what);
    let expected = reference::run(&spec, weights.as_slice(), &before);
    for (place, &expected) in written.iter().cloned().flatten().zip(&expected) {
        assert_close(after[place], expected, 2 * (case.taps + 9), &what);
    }

    // One after another: the 1x1 convolution over whole planes, whatever lies between rows, then the depthwise one.
    let pointwise = pointwise::available().find(|other| other.isa == kernel.isa).unwrap();
    let depthwise = depthwise::available().find(|other| other.isa == kernel.isa).unwrap();
    let pixels = ((case.height - 1) * pitch + case.width).next_multiple_of(lanes);
    let mut middle = before.clone();
    for f in 0..case.filters {
        // Packed `[taps][filters]`, one filter in each call.
        let call = pointwise::Spec {
            pixels,
            weights: expansion + (f * case.taps) as u32,
            bias: EXPANSION_BIAS + f as u32,
            x: x.into(),
            y: &between[f..=f],
            shift: 0,
            rows: None,
            panels: pointwise::Panels::None,
            epilogue: Epilogue { first: case.between, residual: None, last: Activation::None },
        };
        middle = run(pointwise::Call::new(pointwise, call).unwrap(), &weights, &middle);
    }
    let call = depthwise::Spec {
        input,
        output,
        window: Window { kernel: [3; 2], stride: [case.stride(); 2], dilation: [1; 2], pad: [case.pad, 1] },
        odd: None,
        weights: WEIGHTS,
        bias: BIAS,
        x: between.into(),
        y,
        epilogue: Epilogue { first: case.activation, residual: None, last: Activation::None },
    };
    let apart = run(depthwise::Call::new(depthwise, call).unwrap(), &weights, &middle);
    for place in written.into_iter().flatten() {
        assert_eq!(after[place].to_bits(), apart[place].to_bits(), "{what}: float {place}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(600))]

    #[test]
    fn every_variant_agrees_with_the_naive_one_and_with_both_layers(case in case()) {
        each(expand::available(), |kernel| check(&case, kernel));
    }
}

#[test]
fn calls_that_make_no_sense_are_refused() {
    let image = |height: usize, width: usize| Image { height, width, pitch: width };
    let spec = Spec {
        input: image(8, 14),
        output: image(8, 14),
        stride: 1,
        pad: 1,
        x: vec![0].into(),
        scratch: 2000,
        expansion: 0,
        expansion_bias: 0,
        between: Activation::RELU6,
        weights: 0,
        bias: 0,
        y: &[1000],
        activation: Activation::RELU6,
    };
    each(expand::available(), |kernel| {
        let refuses = |spec: Spec<'_>| Call::new(kernel, spec).unwrap_err().to_string();
        assert!(Call::new(kernel, spec.clone()).is_ok());
        for (change, expected) in [
            (Spec { pad: 2, ..spec.clone() }, "the padding is 2"),
            (Spec { output: image(9, 14), ..spec.clone() }, "the rows of the output is 9"),
            (Spec { output: image(8, 13), ..spec.clone() }, "the columns of the output is 13"),
            (Spec { input: image(0, 14), ..spec.clone() }, "the size of an image is 0"),
            (Spec { input: Image { pitch: 3, ..image(8, 14) }, ..spec.clone() }, "the pitch is 3"),
            (Spec { stride: 3, ..spec.clone() }, "the stride is 3"),
            (Spec { stride: 2, ..spec.clone() }, "the rows of the output is 8"),
            (Spec { between: Activation::HardSwish, ..spec.clone() }, "an activation is"),
            (Spec { activation: Activation::Sigmoid, ..spec.clone() }, "an activation is"),
        ] {
            let error = refuses(change);
            assert!(error.contains(expected), "{error}");
        }
    });
}
