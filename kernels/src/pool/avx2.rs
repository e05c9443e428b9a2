//! The avx2 variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-pool-1x8-avx2", isa: Isa::Avx2, windows, global };

/// # Safety
/// As for [`body::windows`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn windows(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::windows(Avx2::assume(), call, arena) }
}

/// # Safety
/// As for [`body::global`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn global(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::global(Avx2::assume(), call, arena) }
}
