//! Every variant of the pointwise family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Activation, CallSet, Epilogue, Isa, Planes,
    pointwise::{self, Call, Panels, Rows, Spec, reference},
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
    vectors: usize,
    /// Pixels behind the vectors, where the variant takes them.
    tail: usize,
    shift: u32,
    /// If rows lie otherwise in the outputs: columns; what lies between rows of the inputs, and of the outputs; rows of the outputs, counted from two before the last one
    /// that ends within the run.
    rows: Option<[usize; 4]>,
    /// Planes that the taps choose from, with repetition.
    planes: usize,
    epilogue: Epilogue,
    residual: bool,
    seed: u64,
}

fn case() -> impl Strategy<Value = Case> {
    // More than 96 taps are asked for otherwise.
    let taps = prop_oneof![3 => 0usize..=40, 1 => 97usize..=140];
    let sizes = (taps, 0usize..=13, prop::sample::select(vec![0, 1, 4]), 0u32..40, 1usize..20);
    let gap = |gaps: [usize; 8]| prop::sample::select(gaps.to_vec());
    let rows = (1usize..40, gap([0, 1, 1, 2, 3, 5, 8, 17]), gap([0, 0, 0, 0, 0, 1, 5, 11]), 0usize..5);
    let rows = prop::option::of(rows.prop_map(|(columns, x, y, more)| [columns, x, y, more]));
    (sizes, rows, activation(0), any::<bool>(), activation(0), any::<u64>()).prop_map(
        |((taps, vectors, tail, shift, planes), rows, first, residual, last, seed)| {
            let residual = residual && rows.is_none();
            let epilogue = Epilogue { first, residual: None, last };
            Case { taps, vectors, tail, shift, rows, planes, epilogue, residual, seed }
        },
    )
}

fn check(case: &Case, kernel: &'static pointwise::Kernel, filters: usize) {
    let Case { taps, vectors, shift, .. } = *case;
    let whole = vectors * kernel.isa.lanes();
    let pixels = if kernel.takes(whole + case.tail) { whole + case.tail } else { whole };
    let what = format!("{}, {filters} filters, {taps} taps, {pixels} pixels, rows {:?}", kernel.name, case.rows);
    // The run may end within a row, or with rows that have no place in the outputs.
    let rows = case.rows.map(|[columns, x_gap, y_gap, more]| {
        let x_pitch = columns + x_gap;
        let count = ((shift as usize + pixels) / x_pitch + more).saturating_sub(2).max(1);
        Rows { count, columns, x_pitch, y_pitch: columns + y_gap }
    });
    let outputs = rows.map_or(0, |rows| rows.count * rows.y_pitch);
    let mut random = Random(case.seed);
    // Plane after plane with an odd gap, in any order: inputs, then residuals and outputs, one each for a filter.
    let pitch = (shift as usize + pixels).max(outputs) + 3;
    let mut places: Vec<u32> = (0..case.planes + 2 * filters).map(|i| (i * pitch) as u32).collect();
    random.shuffle(&mut places);
    let (x, rest) = places.split_at(case.planes);
    let (residual, y) = rest.split_at(filters);
    let x: Planes = (0..taps).map(|_| x[random.below(x.len())]).collect::<Vec<_>>().into();

    let before = random.floats(places.len() * pitch);
    // A tail reads whole vectors of them.
    let weights = weights(&random.floats(WEIGHTS as usize + taps * filters + 16));
    let residual = case.residual.then(|| residual.into());
    let epilogue = Epilogue { residual, ..case.epilogue.clone() };
    let spec = Spec { pixels, weights: WEIGHTS, bias: BIAS, x, y, shift, rows, panels: Panels::None, epilogue };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

    let expected = reference::run(&spec, weights.as_slice(), &before);
    let place = move |pixel: usize| match rows {
        None => Some(pixel),
        Some(Rows { count, columns, x_pitch, y_pitch }) => {
            let (row, column) = (pixel / x_pitch, pixel % x_pitch);
            (row < count && column < columns).then_some(row * y_pitch + column)
        }
    };
    let places = y
        .iter()
        .flat_map(|&plane| (0..pixels).map(move |p| place(shift as usize + p).map(|place| plane as usize + place)));
    assert_eq!(expected.len(), filters * pixels);
    for (place, expected) in places.clone().zip(expected) {
        if let Some(place) = place {
            assert_close(after[place], expected, taps, &what);
        }
    }
    assert_untouched(&before, &after, places.flatten().map(|place| place..place + 1), &what);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn every_variant_matches_the_reference(case in case()) {
        each(pointwise::available(), |kernel| {
            assert!(kernel.max_filters() <= MAX);
            for filters in 1..=kernel.max_filters() {
                let tail = case.tail > 0 && filters > kernel.filters_over(kernel.isa.lanes() + 1);
                let case = Case { tail: if tail { 0 } else { case.tail }, ..case.clone() };
                check(&case, kernel, filters);
            }
        });
    }

    /// A filter's bits depend neither on the tile that it shares with others nor on where the run begins.
    #[test]
    fn tiles_do_not_change_bits(taps in 0usize..40, vectors in 1usize..9, tail in prop::sample::select(vec![0usize, 1, 4]), first in activation(0), residual: bool, seed: u64) {
        each(pointwise::available(), |kernel| {
            let mut random = Random(seed);
            let lanes = kernel.isa.lanes();
            // With a tail the last vector of single filters begins earlier, so as to end with it.
            let pixels = vectors * lanes + if kernel.takes(vectors * lanes + tail) { tail } else { 0 };
            let filters = kernel.filters_over(pixels);
            let before = random.floats((taps + 2 * filters) * pixels);
            // Slopes, biases, weights.
            let weights = weights(&random.floats(filters * (taps + 2) + 16));
            let planes = |range: std::ops::Range<usize>| range.map(|i| (i * pixels) as u32).collect::<Vec<_>>();
            let (x, y) = (Planes::from(planes(0..taps)), planes(taps..taps + filters));
            let added = planes(taps + filters..taps + 2 * filters);
            let epilogue = |f: std::ops::Range<usize>| Epilogue { first, residual: residual.then(|| added[f].into()), last: Activation::None };
            let (bias, at) = (filters as u32, 2 * filters as u32);
            let spec = Spec { pixels, weights: at, bias, x, y: &y, shift: 0, rows: None, panels: Panels::None, epilogue: epilogue(0..filters) };
            let whole = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

            // One filter and one vector at a time, with that filter's weights gathered.
            for f in 0..filters {
                let own = |t: usize| weights.as_slice()[t * filters + f];
                let weights = common::weights(&(0..taps + 2).map(own).collect::<Vec<_>>());
                for v in 0..pixels.div_ceil(lanes) {
                    let shift = (v * lanes).min(pixels - lanes) as u32;
                    let spec = Spec { pixels: lanes, weights: 2, bias: 1, shift, y: &y[f..=f], epilogue: epilogue(f..f + 1), ..spec.clone() };
                    let single = run(Call::new(kernel, spec).unwrap(), &weights, &before);
                    let at = (y[f] + shift) as usize;
                    assert_same_bits(&whole[at..at + lanes], &single[at..at + lanes], kernel.name);
                }
            }
        });
    }
}

proptest! {
    /// Neither does it depend on panels, which hold what the tiles of two vectors read. Where a call reads them, it needs no other inputs of these pixels.
    #[test]
    fn panels_do_not_change_bits(taps in 1usize..40, vectors in 1usize..9, tail: bool, shift in 0u32..20, rows: Option<[bool; 2]>, first in activation(0), residual: bool, seed: u64) {
        each(pointwise::available(), |kernel| {
            let lanes = kernel.isa.lanes();
            let whole = vectors * lanes;
            let pixels = if tail && kernel.takes(whole + 1) { whole + 1 } else { whole };
            for filters in (1..=kernel.filters_over(pixels)).filter(|&filters| kernel.has_panels(filters)) {
                let mut random = Random(seed);
                let plane = shift as usize + pixels + 3;
                let panels = (taps + 2 * filters) * plane;
                let mut before = random.floats(panels + pixels * taps + 7);
                let weights = weights(&random.floats(filters * (taps + 2) + 16));
                let planes = |range: std::ops::Range<usize>| range.map(|i| (i * plane) as u32).collect::<Vec<_>>();
                let (x, y) = (Planes::from(planes(0..taps)), planes(taps..taps + filters));
                // Rows of outputs that follow each other, longer than a vector or shorter, or lie apart.
                let rows = rows.map(|[long, apart]| {
                    let (columns, x_pitch) = if long { (7 + lanes, 9 + lanes) } else { (5, 7) };
                    Rows { count: 40, columns, x_pitch, y_pitch: columns + usize::from(apart) }
                });
                let (bias, at) = (filters as u32, 2 * filters as u32);
                let residual = (residual && rows.is_none()).then(|| planes(taps + filters..taps + 2 * filters).into());
                let epilogue = Epilogue { first, residual, ..Epilogue::default() };
                let spec = Spec { pixels, weights: at, bias, x, y: &y, shift, rows, panels: Panels::None, epilogue };
                let of = |panels, before: &[f32]| {
                    run(Call::new(kernel, Spec { panels, ..spec.clone() }).unwrap(), &weights, before)
                };
                let expected = of(Panels::None, &before);

                let packed = of(Panels::Pack(panels as u32), &before);
                assert_same_bits(&packed[..panels], &expected[..panels], kernel.name);
                // From planes nothing but a vector that is left over, and the pixel's tile behind it.
                let beside = kernel.beside_panels(pixels);
                assert!([0, lanes, 3 * lanes + 1].contains(&beside.len()) && beside.end == pixels);
                let mut of_tiles = before[panels..].to_vec();
                for pixel in 0..beside.start {
                    let behind = pixel == whole;
                    let first = if behind { pixel - 2 * lanes } else { pixel / (2 * lanes) * 2 * lanes };
                    for tap in 0..taps {
                        let at = if behind { taps * 2 * lanes + tap } else { tap * 2 * lanes + pixel - first };
                        of_tiles[first * taps + at] = before[tap * plane + shift as usize + pixel];
                    }
                }
                assert_same_bits(&packed[panels..], &of_tiles, kernel.name);

                before[panels..].copy_from_slice(&packed[panels..]);
                for tap in 0..taps {
                    before[tap * plane + shift as usize..][..beside.start].fill(f32::NAN);
                }
                let read = of(Panels::Read(panels as u32), &before);
                assert_same_bits(&read[taps * plane..panels], &expected[taps * plane..panels], kernel.name);
                assert_same_bits(&read[panels..], &before[panels..], kernel.name);
            }
        });
    }
}

proptest! {
    /// A residual may lie where the outputs go, and is then replaced by them.
    #[test]
    fn outputs_may_replace_the_residual(taps in 1usize..20, vectors in 1usize..9, tail in 0usize..3, shift in 0u32..20, first in activation(0), last in activation(0), panels: bool, seed: u64) {
        each(pointwise::available(), |kernel| {
            let whole = vectors * kernel.isa.lanes();
            let pixels = [0, 1, 4].map(|pixels| whole + pixels).into_iter().nth(tail).filter(|&pixels| kernel.takes(pixels)).unwrap_or(whole);
            for filters in 1..=kernel.filters_over(pixels) {
                let mut random = Random(seed);
                let plane = shift as usize + pixels + 3;
                let at = (taps + 2 * filters) * plane;
                let mut before = random.floats(at + pixels * taps);
                let weights = weights(&random.floats(filters * (taps + 2) + 16));
                let planes = |range: std::ops::Range<usize>| range.map(|i| (i * plane) as u32).collect::<Vec<_>>();
                let (x, y, apart) = (Planes::from(planes(0..taps)), planes(taps..taps + filters), planes(taps + filters..taps + 2 * filters));
                let (outputs, residuals) = (taps * plane..(taps + filters) * plane, (taps + filters) * plane..at);
                before.copy_within(residuals, outputs.start);
                let panels = if panels && kernel.has_panels(filters) { Panels::Pack(at as u32) } else { Panels::None };
                let of = |residual: &[u32]| {
                    let epilogue = Epilogue { first, residual: Some(residual.into()), last };
                    let (bias, weights_at) = (filters as u32, 2 * filters as u32);
                    let spec = Spec { pixels, weights: weights_at, bias, x: x.clone(), y: &y, shift, rows: None, panels, epilogue };
                    run(Call::new(kernel, spec).unwrap(), &weights, &before)
                };
                assert_same_bits(&of(&y)[outputs.clone()], &of(&apart)[outputs.clone()], kernel.name);
            }
        });
    }
}

#[test]
fn a_residual_elsewhere_in_the_outputs_is_refused() {
    each(pointwise::available(), |kernel| {
        let pixels = kernel.isa.lanes();
        let set = |residual: [u32; 2]| {
            let epilogue = Epilogue { residual: Some(residual[..].into()), ..Epilogue::default() };
            let (x, y) = (vec![0].into(), &[100, 200][..]);
            let spec = Spec { pixels, weights: 2, bias: 0, x, y, shift: 0, rows: None, panels: Panels::None, epilogue };
            CallSet::new(vec![Call::new(kernel, spec).unwrap().into()])
        };
        assert!(set([100, 200]).is_ok());
        for residual in [[200, 100], [100, 201], [100, 300]] {
            assert!(set(residual).is_err());
        }
    });
}

#[test]
fn panels_are_for_large_tiles_of_two_vectors() {
    each(pointwise::available(), |kernel| {
        for filters in 0..=MAX {
            let expected = match kernel.isa {
                Isa::Avx512 => (9..=12).contains(&filters),
                Isa::Avx2 => [5, 6].contains(&filters),
                _ => false,
            };
            assert_eq!(kernel.has_panels(filters), expected, "{}, {filters} filters", kernel.name);
        }
    });
}

#[test]
fn panels_are_part_of_what_calls_touch() {
    each(pointwise::available(), |kernel| {
        if !kernel.has_panels(kernel.max_filters()) {
            return;
        }
        let (filters, pixels) = (kernel.max_filters() as u32, 2 * kernel.isa.lanes());
        let y: Vec<u32> = (0..filters).map(|f| 1000 + f * pixels as u32).collect();
        let call = |panels, y: &[u32]| {
            let x = (0..4).map(|tap| tap * pixels as u32).collect();
            let epilogue = Epilogue::default();
            let spec = Spec { pixels, weights: filters, bias: 0, x, y, shift: 0, rows: None, panels, epilogue };
            Call::new(kernel, spec).unwrap().into()
        };
        let set = |calls| CallSet::new(calls);
        let others: Vec<u32> = y.iter().map(|y| y + 500).collect();
        // Each place counts, though all have the same length.
        let reads = |places: [u32; 3]| {
            places.map(|at| call(Panels::Read(at), &y)).map(|call| set(vec![call]).unwrap().arena_end())
        };
        let panel = 4 * pixels;
        assert_eq!(reads([2000, 3000, 4000]), [2000 + panel, 3000 + panel, 4000 + panel]);
        let both = set(vec![call(Panels::Read(2000), &y), call(Panels::Read(3000), &others)]).unwrap();
        assert_eq!(both.arena_end(), 3000 + panel);
        for overlapping in [
            vec![call(Panels::Pack(0), &y)],
            vec![call(Panels::Pack(990), &y)],
            vec![call(Panels::Read(990), &y)],
            vec![call(Panels::Pack(2000), &y), call(Panels::Read(2000), &others)],
            vec![call(Panels::Pack(2000), &y), call(Panels::Pack(2000), &others)],
            vec![call(Panels::Read(3000), &y), call(Panels::Read(1490), &others)],
        ] {
            assert!(set(overlapping).is_err());
        }
    });
}

#[test]
fn wrong_shapes_are_refused() {
    each(pointwise::available(), |kernel| {
        let spec = |pixels, y, residual: Option<&[u32]>| {
            let epilogue = Epilogue { residual: residual.map(Planes::from), ..Epilogue::default() };
            Call::new(
                kernel,
                Spec {
                    pixels,
                    weights: 0,
                    bias: 0,
                    x: vec![0].into(),
                    y,
                    shift: 0,
                    rows: None,
                    panels: Panels::None,
                    epilogue,
                },
            )
        };
        let lanes = kernel.isa.lanes();
        let many: Vec<u32> = (0..=kernel.max_filters()).map(|f| (100 + f * lanes) as u32).collect();
        assert!(spec(lanes, &many[1..], None).is_ok());
        assert!(spec(lanes, &many, None).is_err());
        assert!(spec(lanes, &[], None).is_err());
        assert!(spec(lanes + 1, &[100], None).is_err());
        assert!(spec(3 * lanes + 1, &[100], None).is_ok());
        assert!(spec(2 * lanes + 2, &[100], None).is_err());
        assert_eq!(spec(3 * lanes + 4, &[100], None).is_ok(), lanes == 16);
        assert_eq!(spec(3 * lanes + 1, &many[1..], None).is_ok(), kernel.max_filters() <= 8);
        assert!(spec(lanes, &[100], Some(&[200])).is_ok());
        assert!(spec(lanes, &[100], Some(&[200, 300])).is_err());
        for filters in 1..=kernel.max_filters() {
            for panels in [Panels::Pack(5000), Panels::Read(5000)] {
                let call = |x: Vec<u32>| {
                    let (x, y, epilogue) = (x.into(), &many[..filters], Epilogue::default());
                    Call::new(
                        kernel,
                        Spec { pixels: lanes, weights: 0, bias: 0, x, y, shift: 0, rows: None, panels, epilogue },
                    )
                };
                assert_eq!(call(vec![0]).is_ok(), kernel.has_panels(filters));
                assert!(call(vec![]).is_err());
            }
        }
        let rows = |rows, residual: Option<&[u32]>| {
            let epilogue = Epilogue { residual: residual.map(Planes::from), ..Epilogue::default() };
            let (x, y) = (vec![0].into(), &[100][..]);
            Call::new(
                kernel,
                Spec {
                    pixels: lanes,
                    weights: 0,
                    bias: 0,
                    x,
                    y,
                    shift: 0,
                    rows: Some(rows),
                    panels: Panels::None,
                    epilogue,
                },
            )
        };
        let good = Rows { count: 1, columns: 3, x_pitch: 3, y_pitch: 4 };
        assert!(rows(good, None).is_ok());
        assert!(rows(good, Some(&[200])).is_err());
        for bad in [
            Rows { count: 0, ..good },
            Rows { columns: 0, ..good },
            Rows { x_pitch: 2, ..good },
            Rows { y_pitch: 2, ..good },
        ] {
            assert!(rows(bad, None).is_err());
        }
    });
}
