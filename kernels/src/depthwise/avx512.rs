//! AVX-512: half of the registers are enough for the 3x3 kernels.

use super::{
    Call, Kernel, across,
    body::{self, Strip, Variant},
    general, seven,
};
use crate::{Isa, ending::Ending, simd::Avx512};
use std::hint::black_box;

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x16-avx512",
    isa: Isa::Avx512,
    deals: false,
    three: [three, own::<3, 2>],
    dealt: own::<3, { body::DEALT }>,
    five: [own::<5, 1>, own::<5, 2>],
    any: [any::<1>, any::<2>, any::<0>],
};

impl Variant for Avx512 {
    const ACROSS: bool = true;

    #[inline(always)]
    unsafe fn run<E: Ending<Self>, const K: usize, const STRIDE: usize, const MASKS: u8>(self, strip: &Strip<'_, E>) {
        // SAFETY: the caller's promise, and the value proves that the CPU has the features.
        unsafe { black_box(run::<E, K, STRIDE, MASKS> as unsafe fn(Avx512, &Strip<'_, E>))(self, strip) }
    }
    #[inline(always)]
    unsafe fn run_across<const STRIDE: usize, const N: usize, const HALF: bool>(self, run: &across::Run<'_>) {
        // SAFETY: as above.
        unsafe { black_box(run_across::<STRIDE, N, HALF> as unsafe fn(Avx512, &across::Run<'_>))(self, run) }
    }
}

/// # Safety
/// As for [`Strip::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn run<E: Ending<Avx512>, const K: usize, const STRIDE: usize, const MASKS: u8>(
    s: Avx512,
    strip: &Strip<'_, E>,
) {
    // SAFETY: the caller's promise.
    unsafe { strip.run::<_, K, STRIDE, MASKS>(s) }
}

/// # Safety
/// As for [`across::Run::go`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn run_across<const STRIDE: usize, const N: usize, const HALF: bool>(s: Avx512, run: &across::Run<'_>) {
    // SAFETY: the caller's promise.
    unsafe { run.go::<_, STRIDE, N, HALF>(s) }
}

/// 3x3 windows of stride one.
///
/// # Safety
/// As for [`body::own`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn three(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match (call.epilogue.first.bounds(), &call.epilogue.residual) {
            (Some(bounds), None) if seven::takes(call) => seven::planes(call, weights, arena, bounds),
            _ => own::<3, 1>(call, weights, arena),
        }
    }
}

/// # Safety
/// As for [`body::own`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn own<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::own::<_, K, STRIDE>(Avx512::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`general::any`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn any<const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { general::any::<_, STRIDE>(Avx512::assume(), call, weights, arena) }
}
