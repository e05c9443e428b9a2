//! AVX2.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Avx2, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-softmax-1x8-avx2", isa: Isa::Avx2, planes, elements };

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn planes(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx2::assume(), call, arena) }
}

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn elements(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, arena) }
}
