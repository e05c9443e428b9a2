//! The avx512 variant.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Avx512, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-elementwise-1x16-avx512", isa: Isa::Avx512, vectors, single };

/// # Safety
/// As for [`body::run`], and the CPU has the features of the variant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn vectors(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx512::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`vectors`].
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn single(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, weights, arena) }
}
