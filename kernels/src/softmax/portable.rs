//! Portable: whatever `wide` was compiled for.

use super::{Call, Kernel, body};
use crate::{
    Isa,
    simd::{Portable, Scalar},
};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-softmax-1x8-portable", isa: Isa::Portable, planes, elements };

/// # Safety
/// As for [`body::run`].
unsafe fn planes(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Portable, call, arena) }
}

/// # Safety
/// As for [`body::run`].
unsafe fn elements(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Scalar, call, arena) }
}
