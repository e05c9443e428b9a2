//! Every variant of the winograd family, its two steps with a product between them, against a direct 3x3 convolution.

mod common;

use common::*;
use flgc_kernels::{
    CallSet, Epilogue, Image,
    winograd::{self, Between, Kernel, PLACES, input, output},
};
use proptest::prelude::*;
use std::ops::Range;

/// Rounding of the method against a direct sum, in units of the largest input times the sum of the weights' magnitudes.
const ROUNDING: f64 = 64.0 * f32::EPSILON as f64;

/// A convolution of some channels, with everything it touches in one arena: inputs, what lies between the steps, outputs, residuals.
#[derive(Clone, Debug)]
struct Case {
    input: Image,
    output: Image,
    pad: [usize; 2],
    channels: usize,
    filters: usize,
    /// Whether pairs of vectors of all planes lie together, before the products and behind them.
    panels: [bool; 2],
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let sizes = (1usize..20, 1usize..40, [0usize..3, 0usize..3], [0usize..3, 0usize..3], 0usize..3, 0usize..3);
    (sizes, 1usize..4, 1usize..4, any::<([bool; 2], u64)>()).prop_filter_map(
        "an output",
        |(sizes, channels, filters, (panels, seed))| {
            let (height, width, pad, more, gap, gap_too) = sizes;
            // Padding behind the image follows from the size of the output.
            let size = |n: usize, before: usize, behind: usize| (n + before + behind).checked_sub(2).filter(|&n| n > 0);
            let (rows, columns) = (size(height, pad[0], more[0])?, size(width, pad[1], more[1])?);
            let input = Image { height, width, pitch: width + gap };
            let output = Image { height: rows, width: columns, pitch: columns + gap_too };
            Some(Case { input, output, pad, channels, filters, panels, seed })
        },
    )
}

/// A run of all three steps over some segments.
fn steps(
    kernel: &'static Kernel,
    case: &Case,
    segments: Range<usize>,
    epilogue: &Epilogue,
    before: &[f32],
) -> Vec<f32> {
    let places = Places::of(kernel, case);
    let floats = segments.len().div_ceil(winograd::SEGMENTS) * kernel.isa.lanes();
    let (vectors, lanes) = (floats / kernel.isa.lanes(), kernel.isa.lanes());
    let between = |first: usize, planes: usize, panels: bool| {
        let place = planes * vectors.next_multiple_of(2) * lanes;
        match panels {
            true => Between::panels(first as u32, place, planes, lanes),
            false => Between::planes(first as u32, place, vectors, lanes),
        }
    };
    let from = between(places.between, case.channels, case.panels[0]);
    let to = between(places.between_too, case.filters, case.panels[1]);
    // Where an element of a plane lies.
    let at = |of: Between, k: usize, plane: usize, t: usize| {
        of.first as usize + k * of.place + plane * of.plane + t / (2 * lanes) * of.pair + t % (2 * lanes)
    };
    let weights = places.weights(case);
    let call = input::Call::new(
        kernel,
        input::Spec {
            input: case.input,
            output: case.output,
            pad: case.pad,
            segments: segments.clone(),
            x: places.inputs.clone().into(),
            y: from,
        },
    );
    let mut arena = run(call.unwrap(), &weights, before);
    for k in 0..PLACES {
        for (f, g) in places.g.iter().enumerate() {
            for t in 0..floats {
                let products = g.iter().enumerate().map(|(c, g)| winograd::weights(g)[k] * arena[at(from, k, c, t)]);
                let sum = products.sum();
                arena[at(to, k, f, t)] = sum;
            }
        }
    }
    let spec =
        output::Spec { output: case.output, segments, x: to, bias: 0, y: &places.outputs, epilogue: epilogue.clone() };
    run(output::Call::new(kernel, spec).unwrap(), &weights, &arena)
}

/// Where everything lies.
struct Places {
    inputs: Vec<u32>,
    outputs: Vec<u32>,
    residuals: Vec<u32>,
    between: usize,
    between_too: usize,
    len: usize,
    /// The weights of each filter for each channel.
    g: Vec<Vec<[f32; 9]>>,
}

impl Places {
    fn of(kernel: &Kernel, case: &Case) -> Self {
        let mut random = Random(case.seed);
        let floats = kernel.segments(case.output.height, case.output.width).next_multiple_of(8) * kernel.isa.lanes();
        let mut end = 0;
        let mut planes = |count: usize, len: usize| -> Vec<u32> {
            let first = end + random.below(5);
            end = first + count * len;
            (0..count).map(|plane| (first + plane * len) as u32).collect()
        };
        let inputs = planes(case.channels, case.input.height * case.input.pitch);
        let outputs = planes(case.filters, case.output.height * case.output.pitch);
        let residuals = planes(case.filters, case.output.height * case.output.pitch);
        let between = planes(1, PLACES * case.channels * floats)[0] as usize;
        let between_too = planes(1, PLACES * case.filters * floats)[0] as usize;
        let mut weights = || std::array::from_fn(|_| random.float());
        let g = (0..case.filters).map(|_| (0..case.channels).map(|_| weights()).collect()).collect();
        Self { inputs, outputs, residuals, between, between_too, len: end, g }
    }

    /// Biases first, then slopes.
    fn weights(&self, case: &Case) -> flgc_kernels::Weights {
        weights(&Random(case.seed + 1).floats(2 * case.filters))
    }

    /// The output of a filter at a row and column before its epilogue, and the magnitude that its rounding is measured by.
    fn direct(&self, case: &Case, before: &[f32], filter: usize, [row, column]: [usize; 2]) -> (f64, f64) {
        let (mut sum, mut magnitude) = (0.0, 0.0);
        for (g, &x) in self.g[filter].iter().zip(&self.inputs) {
            for (tap, &g) in g.iter().enumerate() {
                let (r, c) = ((row + tap / 3).wrapping_sub(case.pad[0]), (column + tap % 3).wrapping_sub(case.pad[1]));
                if r < case.input.height && c < case.input.width {
                    sum += f64::from(g) * f64::from(before[x as usize + r * case.input.pitch + c]);
                }
                magnitude += f64::from(g.abs());
            }
        }
        (sum, magnitude)
    }
}

proptest! {
    #[test]
    fn the_steps_make_a_convolution(case in cases(), first in activation(3), last in activation(3), residual: bool) {
        each(winograd::available(), |kernel| {
            let places = Places::of(kernel, &case);
            let weights = Random(case.seed + 1).floats(2 * case.filters);
            // Slopes begin where an activation expects them only with three filters; elsewhere behind the biases.
            let slopes = |activation| match activation {
                flgc_kernels::Activation::PRelu { .. } => {
                    flgc_kernels::Activation::PRelu { slopes: case.filters as u32 }
                }
                other => other,
            };
            let epilogue = Epilogue {
                first: slopes(first),
                residual: residual.then(|| places.residuals.clone().into()),
                last: slopes(last),
            };
            let before = Random(case.seed + 2).floats(places.len);
            let all = kernel.segments(case.output.height, case.output.width);
            let after = steps(kernel, &case, 0..all, &epilogue, &before);
            let mut written = Vec::new();
            for (f, &y) in places.outputs.iter().enumerate() {
                for row in 0..case.output.height {
                    let at = y as usize + row * case.output.pitch;
                    written.push(at..at + case.output.width);
                    for column in 0..case.output.width {
                        let (sum, magnitude) = places.direct(&case, &before, f, [row, column]);
                        let r = f64::from(before[places.residuals[f] as usize + row * case.output.pitch + column]);
                        let bias = f64::from(weights[f]);
                        let (expected, _) = epilogue.reference(sum + bias, 0.0, f, residual.then_some(r), &weights);
                        let error = (f64::from(after[at + column]) - expected).abs();
                        let bound = ROUNDING * (magnitude + 1.0);
                        assert!(error <= bound, "{}: filter {f} at {row}, {column} is off by {error:e}, bound {bound:e}", kernel.name);
                    }
                }
            }
            written.push(places.between..places.len);
            assert_untouched(&before, &after, written, kernel.name);
        });
    }

    #[test]
    fn segments_one_by_one_give_the_same_bits(case in cases()) {
        each(winograd::available(), |kernel| {
            let places = Places::of(kernel, &case);
            let before = Random(case.seed + 2).floats(places.len);
            let all = kernel.segments(case.output.height, case.output.width);
            let epilogue = Epilogue::default();
            let whole = steps(kernel, &case, 0..all, &epilogue, &before);
            let mut parts = before;
            let cut = case.seed as usize % all;
            for segments in [0..cut, cut..all] {
                if !segments.is_empty() {
                    parts = steps(kernel, &case, segments, &epilogue, &parts);
                }
            }
            assert_same_bits(&whole[..places.between], &parts[..places.between], kernel.name);
        });
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(winograd::available(), |kernel| {
        let image = Image { height: 8, width: 9, pitch: 9 };
        let all = kernel.segments(8, 9);
        let floats = all.div_ceil(4) * kernel.isa.lanes();
        let lanes = kernel.isa.lanes();
        let y = Between::planes(2000, 2 * floats, floats / lanes, lanes);
        let spec =
            input::Spec { input: image, output: image, pad: [1, 1], segments: 0..all, x: vec![0, 100].into(), y };
        let refused = |spec| input::Call::new(kernel, spec).is_err();
        assert!(!refused(spec.clone()));
        assert!(refused(input::Spec { pad: [3, 1], ..spec.clone() }));
        assert!(refused(input::Spec { segments: 0..all + 1, ..spec.clone() }));
        assert!(refused(input::Spec { segments: 1..1, ..spec.clone() }));
        assert!(refused(input::Spec { input: Image { height: 0, ..image }, ..spec.clone() }));
        assert!(refused(input::Spec { output: Image { width: 0, ..image }, ..spec.clone() }));
        assert!(refused(input::Spec { y: Between { plane: floats - 1, ..y }, ..spec.clone() }));
        assert!(refused(input::Spec { y: Between { place: 2 * floats - 1, ..y }, ..spec.clone() }));
        assert!(refused(input::Spec { y: Between { place: usize::MAX, ..y }, ..spec.clone() }));
        // Segments enough for three vectors of tiles.
        let tall = Image { height: 4 * 9, width: 1, pitch: 1 };
        let panels = Between::panels(2000, 8 * lanes, 2, lanes);
        let of = |y| input::Spec { output: tall, segments: 0..9, y, ..spec.clone() };
        assert!(!refused(of(panels)));
        assert!(refused(of(Between { pair: 4 * lanes - 1, ..panels })));
        assert!(refused(of(Between { plane: 2 * lanes - 1, ..panels })));
        assert!(refused(of(Between { place: 7 * lanes - 1, ..panels })));
        let over = input::Call::new(kernel, input::Spec { y: Between { first: 150, ..y }, ..spec }).unwrap();
        assert!(CallSet::new(vec![over.into()]).is_err(), "it writes what it reads");

        let spec = output::Spec {
            output: image,
            segments: 0..all,
            x: y,
            bias: 0,
            y: &[0, 100],
            epilogue: Epilogue::default(),
        };
        let refused = |spec| output::Call::new(kernel, spec).is_err();
        assert!(!refused(spec.clone()));
        assert!(refused(output::Spec { segments: 0..all + 1, ..spec.clone() }));
        assert!(refused(output::Spec { output: Image { pitch: 8, ..image }, ..spec.clone() }));
        assert!(refused(output::Spec { x: Between { place: usize::MAX, ..y }, ..spec.clone() }));
        let residual = Epilogue { residual: Some(vec![0].into()), ..Epilogue::default() };
        assert!(refused(output::Spec { epilogue: residual, ..spec.clone() }));
        let over = output::Call::new(kernel, output::Spec { y: &[0, 1950], ..spec }).unwrap();
        assert!(CallSet::new(vec![over.into()]).is_err(), "it writes what it reads");
    });
}
