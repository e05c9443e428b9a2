//! AVX-512: half of the registers are enough for the 3x3 kernels.

use super::{
    Call, Kernel, across,
    body::{self, Strip, Variant},
    general, seven,
};
use crate::{Isa, ending::Ending, simd::Avx512};
use std::{
    arch::{asm, x86_64::*},
    hint::black_box,
};

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
    #[inline(always)]
    fn deal(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: the value proves that the CPU has AVX-512 F.
        unsafe { (_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b)) }
    }
    #[inline(always)]
    fn settle(self, v: __m512) -> __m512 {
        // SAFETY: as above. The shuffle works on quarters: the pairs from a (even) before those from b.
        unsafe {
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            _mm512_castpd_ps(_mm512_permutexvar_pd(order, _mm512_castps_pd(v)))
        }
    }
    #[inline(always)]
    fn before(self, columns: __m512, first: f32) -> __m512 {
        // SAFETY: as above.
        unsafe {
            let order = _mm512_setr_epi32(0, 0, 13, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14);
            let first = _mm512_castps128_ps512(_mm_set_ss(first));
            _mm512_mask_permutexvar_ps(opaque(first), !1, order, opaque(columns))
        }
    }
}

/// Hides from the compiler where a vector comes from: it would merge shuffles of shuffles into others that take longer.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque(mut v: __m512) -> __m512 {
    // SAFETY: a comment.
    unsafe { asm!("/* {0} */", inout(zmm_reg) v, options(pure, nomem, nostack, preserves_flags)) }
    v
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
