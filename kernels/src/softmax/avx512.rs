//! AVX-512.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Avx512, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-softmax-1x16-avx512", isa: Isa::Avx512, planes, elements };

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn planes(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx512::assume(), call, arena) }
}

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn elements(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, arena) }
}
