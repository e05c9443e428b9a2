//! Every variant of the elementwise family against the naive one.

mod common;

use common::*;
use flgc_kernels::{
    Activation, CallSet,
    elementwise::{self, Call, Kernel, Op, Spec, reference},
};
use proptest::prelude::*;

/// Where the lists start in the weights, after the slopes.
const SCALE: u32 = 17;
const SHIFT: u32 = 35;

/// One of the operations, by number; the second operands are planes or floats at `other`.
fn op(number: usize, other: &[u32]) -> Op {
    match number {
        0 => Op::Identity,
        1 => Op::Add(other.into()),
        2 => Op::AddFloat(other.into()),
        3 => Op::Multiply(other.into()),
        4 => Op::MultiplyFloat(other.into()),
        _ => Op::ScaleShift { scale: SCALE, shift: SHIFT },
    }
}

fn check(kernel: &'static Kernel, planes: usize, vectors: usize, number: usize, activation: Activation, seed: u64) {
    let mut random = Random(seed);
    let pixels = if vectors == 0 { 1 } else { vectors * kernel.isa.lanes() };
    let what = format!("{}, {planes} planes of {pixels}, operation {number}, {activation:?}", kernel.name);
    // Plane after plane with an odd gap, in any order.
    let mut places: Vec<u32> = (0..3 * planes).map(|i| (i * (pixels + 3)) as u32).collect();
    random.shuffle(&mut places);
    let (x, rest) = places.split_at(planes);
    let (other, y) = rest.split_at(planes);

    let op = op(number, other);
    let single = matches!(op, Op::AddFloat(_) | Op::MultiplyFloat(_));
    let mut before = vec![f32::NAN; places.len() * (pixels + 3)];
    for &plane in x {
        before[plane as usize..][..pixels].fill_with(|| random.float());
    }
    for &plane in other {
        before[plane as usize..][..if single { 1 } else { pixels }].fill_with(|| random.float());
    }
    let weights = weights(&random.floats(SHIFT as usize + planes));
    let spec = Spec { pixels, op, x: x.into(), y, activation };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights, &before);

    let expected = reference::run(&spec, weights.as_slice(), &before);
    let places = y.iter().flat_map(|&plane| (0..pixels).map(move |p| plane as usize + p));
    assert_eq!(expected.len(), planes * pixels);
    for (place, expected) in places.clone().zip(expected) {
        assert_close(after[place], expected, 2, &what);
    }
    assert_untouched(&before, &after, places.map(|place| place..place + 1), &what);
}

proptest! {
    #[test]
    fn every_variant_matches_the_reference(planes in 0usize..5, vectors in 0usize..5, number in 0usize..6, activation in activation(0), seed: u64) {
        each(elementwise::available(), |kernel| check(kernel, planes, vectors, number, activation, seed));
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(elementwise::available(), |kernel| {
        let lanes = kernel.isa.lanes();
        let call = |pixels, number, x: &[u32], other: &[u32]| {
            let spec =
                Spec { pixels, op: op(number, other), x: x.into(), y: &[1000, 2000], activation: Activation::None };
            Call::new(kernel, spec).and_then(|call| CallSet::new(vec![call.into()])).is_ok()
        };
        let two = [3000, 4000];
        for number in 0..6 {
            assert!(call(lanes, number, &two, &two));
            assert!(call(1, number, &two, &two));
            assert!(!call(lanes + 1, number, &two, &two));
            assert!(!call(lanes, number, &two[1..], &two));
            assert!(!call(usize::MAX - lanes + 1, number, &two, &two), "beyond any arena");
        }
        for number in 1..5 {
            assert!(!call(lanes, number, &two, &two[1..]));
            assert!(!call(lanes, number, &two, &[5000, 1000]), "in place");
        }
    });
}
