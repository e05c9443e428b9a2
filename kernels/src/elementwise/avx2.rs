//! The avx2 variant.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Avx2, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-elementwise-1x8-avx2", isa: Isa::Avx2, vectors, single };

/// # Safety
/// As for [`body::run`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn vectors(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx2::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`vectors`].
#[target_feature(enable = "avx2,fma")]
unsafe fn single(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, weights, arena) }
}
