//! The avx512 variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-pool-1x16-avx512", isa: Isa::Avx512, windows, global };

/// # Safety
/// As for [`body::windows`], and the CPU has the features of the variant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn windows(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::windows(Avx512::assume(), call, arena) }
}

/// # Safety
/// As for [`body::global`], and the CPU has the features of the variant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn global(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::global(Avx512::assume(), call, arena) }
}
