//! Portable: whatever `wide` was compiled for.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel =
    Kernel { name: "f32-expand-2x8-portable", isa: Isa::Portable, by_stride: [run::<1>, run::<2>] };

/// # Safety
/// As for [`body::run`].
unsafe fn run<const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Portable, call, weights, arena) }
}
