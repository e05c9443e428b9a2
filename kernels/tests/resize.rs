//! Every variant of the resize family against the naive one.

mod common;

use common::*;
use flgc_kernels::resize::{self, Axis, Call, Coordinates, Rounding, Spec, reference};
use proptest::prelude::*;
use std::sync::Arc;

/// An axis with a number of inputs.
fn axis(inputs: impl Strategy<Value = usize>, outputs: std::ops::Range<usize>) -> impl Strategy<Value = (usize, Axis)> {
    use {Coordinates::*, Rounding::*};
    let coordinates = prop_oneof![Just(HalfPixel), Just(PytorchHalfPixel), Just(AlignCorners), Just(Asymmetric)];
    let rounding = prop_oneof![Just(PreferFloor), Just(PreferCeil), Just(Floor), Just(Ceil)];
    (inputs, outputs, prop_oneof![Just(1.0f32), 0.3f32..3.0], coordinates, proptest::option::of(rounding)).prop_map(
        |(inputs, outputs, stretch, coordinates, rounding)| {
            let scale = stretch * outputs as f32 / inputs as f32;
            let axis = match rounding {
                Some(rounding) => Axis::nearest(inputs, outputs, scale, coordinates, rounding),
                None => Axis::bilinear(inputs, outputs, scale, coordinates),
            };
            (inputs, axis)
        },
    )
}

fn check(kernel: &'static resize::Kernel, (rows, columns): (&(usize, Axis), &(usize, Axis)), gap: usize, seed: u64) {
    let what = format!("{}, {}x{} to {}x{}", kernel.name, rows.0, columns.0, rows.1.len(), columns.1.len());
    let mut random = Random(seed);
    let (x_pitch, y_pitch) = (columns.0 + gap, columns.1.len() + gap);
    let (x_size, y_size) = (rows.0 * x_pitch, rows.1.len() * y_pitch);
    let x: Vec<u32> = (0..2).map(|i| (i * x_size) as u32).collect();
    let y: Vec<u32> = (0..2).map(|i| (2 * x_size + i * y_size) as u32).collect();
    // No float is behind the last plane's.
    let before = random.floats(2 * (x_size + y_size) - gap);
    let (rows, columns) = (Arc::new(rows.1.clone()), Arc::new(columns.1.clone()));
    let spec = Spec { rows, columns, x_pitch, y_pitch, x: x.into(), y: &y };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights(&[]), &before);

    let rows = |plane: u32| (0..spec.rows.len()).map(move |r| plane as usize + r * y_pitch);
    let places = y.iter().copied().flat_map(rows).flat_map(|row| row..row + spec.columns.len());
    let expected = reference::run(&spec, &before);
    assert_eq!(expected.len(), 2 * spec.rows.len() * spec.columns.len());
    for (place, expected) in places.clone().zip(expected) {
        assert_close(after[place], expected, 2, &what);
    }
    assert_untouched(&before, &after, places.map(|place| place..place + 1), &what);
}

proptest! {
    #[test]
    fn every_variant_matches_the_reference(
        rows in axis(1usize..9, 1..17),
        // Also rows longer than the kernels' buffer.
        columns in axis(prop_oneof![1usize..70, 500usize..1200], 1..150),
        gap in 0usize..4,
        seed: u64,
    ) {
        each(resize::available(), |kernel| check(kernel, (&rows, &columns), gap, seed));
    }
}

#[test]
fn wrong_axes_are_refused() {
    each(resize::available(), |kernel| {
        let good = Axis { from: vec![0, 1], to: vec![1, 1], weight: vec![0.5, 0.0] };
        let call = |rows: &Axis, columns: &Axis, x: &[u32]| {
            let (rows, columns) = (Arc::new(rows.clone()), Arc::new(columns.clone()));
            Call::new(kernel, Spec { rows, columns, x_pitch: 2, y_pitch: 2, x: x.into(), y: &[10] })
        };
        assert!(call(&good, &good, &[0]).is_ok());
        assert!(call(&good, &good, &[0, 4]).is_err());
        for bad in [
            Axis::default(),
            Axis { to: vec![1], ..good.clone() },
            Axis { weight: vec![], ..good.clone() },
            Axis { to: vec![2, 1], ..good.clone() },
            Axis { to: vec![1, 0], ..good.clone() },
        ] {
            assert!(call(&good, &bad, &[0]).is_err());
            assert!(call(&bad, &good, &[0]).is_err());
        }
    });
}
