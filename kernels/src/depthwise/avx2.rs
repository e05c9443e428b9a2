//! AVX2: nine weights, three inputs and two rows of sums fill 14 of 16 registers in the 3x3 kernels; 5x5 reads its weights from memory.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x8-avx2",
    isa: Isa::Avx2,
    square: &[(3, 1, square::<3, 1>), (3, 2, square::<3, 2>), (5, 1, square::<5, 1>), (5, 2, square::<5, 2>)],
    any,
};

/// # Safety
/// As for [`body::square`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn square<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::square::<_, K, STRIDE>(Avx2::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`body::any`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn any(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::any(Avx2::assume(), call, weights, arena) }
}
