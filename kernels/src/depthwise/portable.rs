//! Portable: whatever `wide` was compiled for.

use super::{
    Call, Kernel,
    body::{self, Strip, Variant},
    general,
};
use crate::{Isa, ending::Ending, simd::Portable};
use std::hint::black_box;

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x8-portable",
    isa: Isa::Portable,
    deals: true,
    three: [own::<3, 1>, own::<3, 2>],
    dealt: own::<3, { body::DEALT }>,
    five: [own::<5, 1>, own::<5, 2>],
    any: [any::<1>, any::<2>, any::<0>],
};

impl Variant for Portable {
    const EDGES: bool = false;

    #[inline(always)]
    unsafe fn run<E: Ending<Self>, const K: usize, const STRIDE: usize, const MASKS: u8>(self, strip: &Strip<'_, E>) {
        // SAFETY: the caller's promise.
        unsafe { black_box(run::<E, K, STRIDE, MASKS> as unsafe fn(Portable, &Strip<'_, E>))(self, strip) }
    }
}

/// # Safety
/// As for [`Strip::run`].
unsafe fn run<E: Ending<Portable>, const K: usize, const STRIDE: usize, const MASKS: u8>(
    s: Portable,
    strip: &Strip<'_, E>,
) {
    // SAFETY: the caller's promise.
    unsafe { strip.run::<_, K, STRIDE, MASKS>(s) }
}

/// # Safety
/// As for [`body::own`].
unsafe fn own<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::own::<_, K, STRIDE>(Portable, call, weights, arena) }
}

/// # Safety
/// As for [`general::any`].
unsafe fn any<const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { general::any::<_, STRIDE>(Portable, call, weights, arena) }
}
