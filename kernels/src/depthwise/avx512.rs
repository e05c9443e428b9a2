//! AVX-512: 32 registers hold all of a 3x3 kernel; 5x5 reads its weights from memory.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x16-avx512",
    isa: Isa::Avx512,
    square: &[(3, 1, square::<3, 1>), (3, 2, square::<3, 2>), (5, 1, square::<5, 1>), (5, 2, square::<5, 2>)],
    any,
};

/// # Safety
/// As for [`body::square`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn square<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::square::<_, K, STRIDE>(Avx512::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`body::any`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn any(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::any(Avx512::assume(), call, weights, arena) }
}
