//! Portable: whatever `wide` was compiled for.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-resize-1x8-portable", isa: Isa::Portable, entry };

/// # Safety
/// As for [`body::run`].
unsafe fn entry(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Portable, call, arena) }
}
