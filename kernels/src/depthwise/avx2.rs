//! AVX2: nine weights, three inputs and three sums fill 15 of 16 registers in the 3x3 kernels; seven sums, five weights and an input 13 in the 5x5 ones.

use super::{
    Call, Kernel, across,
    body::{self, Strip, Variant},
    general,
};
use crate::{Isa, ending::Ending, simd::Avx2};
use std::hint::black_box;

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x8-avx2",
    isa: Isa::Avx2,
    deals: true,
    three: [own::<3, 1>, own::<3, 2>],
    dealt: own::<3, { body::DEALT }>,
    five: [own::<5, 1>, own::<5, 2>],
    any: [any::<1>, any::<2>, any::<0>],
};

impl Variant for Avx2 {
    #[inline(always)]
    unsafe fn run<E: Ending<Self>, const K: usize, const STRIDE: usize, const MASKS: u8>(self, strip: &Strip<'_, E>) {
        // SAFETY: the caller's promise, and the value proves that the CPU has the features.
        unsafe { black_box(run::<E, K, STRIDE, MASKS> as unsafe fn(Avx2, &Strip<'_, E>))(self, strip) }
    }
    #[inline(always)]
    unsafe fn run_across<const STRIDE: usize, const N: usize, const HALF: bool>(self, run: &across::Run<'_>) {
        // SAFETY: as above.
        unsafe { black_box(run_across::<STRIDE, N, HALF> as unsafe fn(Avx2, &across::Run<'_>))(self, run) }
    }
}

/// # Safety
/// As for [`Strip::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn run<E: Ending<Avx2>, const K: usize, const STRIDE: usize, const MASKS: u8>(s: Avx2, strip: &Strip<'_, E>) {
    // SAFETY: the caller's promise.
    unsafe { strip.run::<_, K, STRIDE, MASKS>(s) }
}

/// # Safety
/// As for [`across::Run::go`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn run_across<const STRIDE: usize, const N: usize, const HALF: bool>(s: Avx2, run: &across::Run<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run.go::<_, STRIDE, N, HALF>(s) }
}

/// # Safety
/// As for [`body::own`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn own<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::own::<_, K, STRIDE>(Avx2::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`general::any`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn any<const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { general::any::<_, STRIDE>(Avx2::assume(), call, weights, arena) }
}
