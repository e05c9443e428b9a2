//! The portable variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-pool-1x8-portable", isa: Isa::Portable, windows, global };

/// # Safety
/// As for [`body::windows`].
unsafe fn windows(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::windows(Portable, call, arena) }
}

/// # Safety
/// As for [`body::global`].
unsafe fn global(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::global(Portable, call, arena) }
}
