//! Portable: whatever `wide` was compiled for.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel =
    Kernel { name: "f32-linear-16x1-portable", isa: Isa::Portable, by_vectors: &[panel::<1>, panel::<2>] };

/// # Safety
/// As for [`body::run`].
unsafe fn panel<const V: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, V>(Portable, call, weights, arena) }
}
