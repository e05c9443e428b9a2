//! Every variant of the spatial family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Epilogue, Planes,
    spatial::{self, Call, Spec, reference},
};
use proptest::prelude::*;

/// The most filters of any variant.
const MAX: usize = 12;
/// Where the lists start in the weights: slopes, biases, then the rest; all but the slopes unaligned.
const BIAS: u32 = 16;
const WEIGHTS: u32 = 33;

#[derive(Clone, Debug)]
struct Case {
    taps: usize,
    rows: usize,
    columns: usize,
    stride: usize,
    /// Floats between the end of a row of inputs, or outputs, and the next.
    gaps: (usize, usize),
    epilogue: Epilogue,
    residual: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    let sizes = (0usize..=20, 1usize..6, 1usize..70, 1usize..5, (0usize..4, 0usize..4));
    (sizes, activation(0), any::<bool>(), activation(0), any::<u64>()).prop_map(
        |((taps, rows, columns, stride, gaps), first, residual, last, seed)| {
            let epilogue = Epilogue { first, residual: None, last };
            Case { taps, rows, columns, stride, gaps, epilogue, residual, seed }
        },
    )
}

fn check(case: &Case, kernel: &'static spatial::Kernel, filters: usize) {
    let Case { taps, rows, columns, stride, .. } = *case;
    let what = format!("{}, {filters} filters, {taps} taps, {rows}x{columns}, stride {stride}", kernel.name);
    let mut random = Random(case.seed);
    let (x_step, y_pitch) = (columns * stride + case.gaps.0, columns + case.gaps.1);
    // A row as the kernel sees it.
    let width = columns.max(kernel.isa.lanes());
    let (x_size, y_size) = ((rows - 1) * x_step + width * stride, (rows - 1) * y_pitch + width);
    // Inputs overlap each other freely; residuals and outputs follow in any order, without a gap.
    let x: Planes = (0..taps).map(|_| random.below(50) as u32).collect::<Vec<_>>().into();
    let begin = x_size + 50;
    let mut places: Vec<u32> = (0..2 * filters).map(|i| (begin + i * y_size) as u32).collect();
    random.shuffle(&mut places);
    let (residual, y) = places.split_at(filters);

    let before = random.floats(begin + 2 * filters * y_size);
    let weights = weights(&random.floats(WEIGHTS as usize + taps * filters));
    let residual = case.residual.then(|| residual.into());
    let epilogue = Epilogue { residual, ..case.epilogue.clone() };
    let spec = Spec { rows, columns, stride, x_step, y_pitch, weights: WEIGHTS, bias: BIAS, x, y, epilogue };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

    let places = |width: usize| {
        let rows = move |plane: u32| (0..rows).map(move |r| plane as usize + r * y_pitch);
        y.iter().copied().flat_map(rows).flat_map(move |row| row..row + width)
    };
    let expected = reference::run(&spec, weights.as_slice(), &before);
    assert_eq!(expected.len(), filters * rows * columns);
    for (place, expected) in places(columns).zip(expected) {
        assert_close(after[place], expected, taps, &what);
    }
    assert_untouched(&before, &after, places(width).map(|place| place..place + 1), &what);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_variant_matches_the_reference(case in case()) {
        each(spatial::available(), |kernel| {
            assert!(kernel.max_filters() <= MAX);
            for filters in 1..=kernel.max_filters() {
                check(&case, kernel, filters);
            }
        });
    }

    /// A filter's bits depend neither on the tile that it shares with others nor on the rows in a call.
    #[test]
    fn tiles_do_not_change_bits(taps in 0usize..40, rows in 1usize..5, columns in 1usize..40, stride in 1usize..4, seed: u64) {
        each(spatial::available(), |kernel| {
            let mut random = Random(seed);
            let filters = kernel.max_filters();
            let width = columns.max(kernel.isa.lanes());
            let (x_step, y_pitch) = (width * stride, width);
            let x: Planes = (0..taps).map(|_| random.below(50) as u32).collect::<Vec<_>>().into();
            let y: Vec<u32> = (0..filters).map(|f| (50 + rows * x_step + f * rows * width) as u32).collect();
            let before = random.floats(50 + rows * x_step + filters * rows * width);
            let weights = weights(&random.floats(filters * (taps + 1)));
            let epilogue = Epilogue::default();
            let bias_end = filters as u32;
            let spec = Spec { rows, columns, stride, x_step, y_pitch, weights: bias_end, bias: 0, x, y: &y, epilogue };
            let whole = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

            // One filter and one row at a time, with that filter's weights gathered.
            for (f, &plane) in y.iter().enumerate() {
                let own = |t: usize| weights.as_slice()[t * filters + f];
                let weights = common::weights(&(0..=taps).map(own).collect::<Vec<_>>());
                for r in 0..rows {
                    let x = spec.x.offsets().iter().map(|tap| tap + (r * x_step) as u32).collect::<Vec<_>>().into();
                    let at = plane + (r * y_pitch) as u32;
                    let spec = Spec { rows: 1, weights: 1, x, y: &[at], ..spec.clone() };
                    let single = run(Call::new(kernel, spec).unwrap(), &weights, &before);
                    let row = at as usize..at as usize + columns;
                    assert_same_bits(&whole[row.clone()], &single[row], kernel.name);
                }
            }
        });
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(spatial::available(), |kernel| {
        let spec = |(rows, columns, stride), y, residual: Option<&[u32]>| {
            let epilogue = Epilogue { residual: residual.map(Planes::from), ..Epilogue::default() };
            let x = vec![0].into();
            let spec = Spec { rows, columns, stride, x_step: 40, y_pitch: 20, weights: 0, bias: 0, x, y, epilogue };
            Call::new(kernel, spec)
        };
        let many: Vec<u32> = (0..=kernel.max_filters()).map(|f| (100 + f * 100) as u32).collect();
        assert!(spec((2, 20, 2), &many[1..], None).is_ok());
        assert!(spec((2, 20, 2), &many, None).is_err());
        assert!(spec((2, 20, 2), &[], None).is_err());
        assert!(spec((0, 20, 2), &[100], None).is_err());
        assert!(spec((2, 0, 2), &[100], None).is_err());
        assert!(spec((2, 20, 0), &[100], None).is_err());
        assert!(spec((2, 20, 2), &[100], Some(&[200])).is_ok());
        assert!(spec((2, 20, 2), &[100], Some(&[200, 300])).is_err());
    });
}
