//! The portable variant.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Portable, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-elementwise-1x8-portable", isa: Isa::Portable, vectors, single };

/// # Safety
/// As for [`body::run`].
unsafe fn vectors(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Portable, call, weights, arena) }
}

/// # Safety
/// As for [`body::run`].
unsafe fn single(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, weights, arena) }
}
