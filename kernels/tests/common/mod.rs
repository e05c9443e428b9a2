//! What the tests of every family share.

#![allow(dead_code, reason = "others use a part of it")]

use flgc_kernels::{Activation, Arena, Call, CallSet, Isa, Weights, WeightsBuilder};
use proptest::prelude::*;
use std::{io::Write, ops::Range, sync::Once};

/// A generator with a seed (splitmix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    /// The next 64 bits.
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// An index below `n`.
    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.bits() % n as u64) as usize
    }

    /// In -1..1.
    pub(crate) fn float(&mut self) -> f32 {
        (self.bits() >> 40) as f32 / (1 << 23) as f32 - 1.0
    }

    /// `n` of them.
    pub(crate) fn floats(&mut self, n: usize) -> Vec<f32> {
        (0..n).map(|_| self.float()).collect()
    }

    /// In any order.
    pub(crate) fn shuffle<T>(&mut self, list: &mut [T]) {
        for i in (1..list.len()).rev() {
            list.swap(i, self.below(i + 1));
        }
    }
}

/// Says once on standard error, past the test harness' capture, which instruction sets this CPU can't test.
#[expect(clippy::explicit_write, reason = "`eprintln` is captured where a test passes")]
pub(crate) fn report_absent() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for isa in Isa::ALL.into_iter().filter(|isa| !isa.is_available()) {
            writeln!(std::io::stderr(), "not tested: this CPU has no {isa}").unwrap();
        }
    });
}

/// Calls `test` with every kernel of `available`, and reports the instruction sets that are absent.
pub(crate) fn each<K: 'static>(available: impl Iterator<Item = &'static K>, mut test: impl FnMut(&'static K)) {
    report_absent();
    let mut kernels = available.peekable();
    assert!(kernels.peek().is_some(), "the portable variant is always there");
    kernels.for_each(&mut test);
}

/// A block of weights that holds `values` from its start.
pub(crate) fn weights(values: &[f32]) -> Weights {
    let mut builder = WeightsBuilder::expecting(values.len());
    builder.push(values);
    builder.finish().unwrap()
}

/// An arena that holds `values`.
pub(crate) fn arena(values: &[f32]) -> Arena {
    let mut arena = Arena::new(values.len()).unwrap();
    arena.as_mut_slice().copy_from_slice(values);
    arena
}

/// The arena's contents after `call` ran in one that held `before`.
pub(crate) fn run(call: impl Into<Call>, weights: &Weights, before: &[f32]) -> Vec<f32> {
    let set = CallSet::new(vec![call.into()]).unwrap();
    let mut arena = arena(before);
    set.run(weights, &mut arena, &[]);
    arena.as_slice().to_vec()
}

/// Asserts that `got` is the expected value within the rounding of `terms` operations on terms whose magnitudes add up to the given one.
#[track_caller]
pub(crate) fn assert_close(got: f32, (expected, magnitude): (f64, f64), terms: usize, what: &str) {
    let bound = (terms + 4) as f64 * f64::from(f32::EPSILON) * magnitude + 1e-37;
    let error = (f64::from(got) - expected).abs();
    assert!(error <= bound, "{what}: {got}, expected {expected} within {bound:e}, off by {error:e}");
}

/// Asserts that the bits outside `written` are those of `before`.
#[track_caller]
pub(crate) fn assert_untouched(
    before: &[f32],
    after: &[f32],
    written: impl IntoIterator<Item = Range<usize>>,
    what: &str,
) {
    let mut allowed = vec![false; before.len()];
    written.into_iter().for_each(|range| allowed[range].fill(true));
    for (at, (b, a)) in before.iter().zip(after).enumerate() {
        assert!(allowed[at] || a.to_bits() == b.to_bits(), "{what}: float {at} was written");
    }
}

/// Asserts that two arenas hold the same bits.
#[track_caller]
pub(crate) fn assert_same_bits(a: &[f32], b: &[f32], what: &str) {
    assert_eq!(a.len(), b.len(), "{what}");
    for (at, (a, b)) in a.iter().zip(b).enumerate() {
        assert_eq!(a.to_bits(), b.to_bits(), "{what}: float {at} is {a} and {b}");
    }
}

/// Any activation; the slopes of `PRelu` start at `slopes` in the weights.
pub(crate) fn activation(slopes: u32) -> impl Strategy<Value = Activation> {
    prop_oneof![
        Just(Activation::None),
        Just(Activation::RELU),
        Just(Activation::RELU6),
        (-0.5f32..0.0, 0.0f32..0.5).prop_map(|(lo, hi)| Activation::Clamp { lo, hi }),
        (0.0f32..0.5).prop_map(|slope| Activation::Leaky { slope }),
        Just(Activation::PRelu { slopes }),
        (0.1f32..0.9, 0.3f32..0.7).prop_map(|(alpha, beta)| Activation::HardSigmoid { alpha, beta }),
        Just(Activation::HardSwish),
        Just(Activation::Sigmoid),
        Just(Activation::Silu),
    ]
}
