//! AVX2.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-resize-1x8-avx2", isa: Isa::Avx2, entry };

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn entry(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx2::assume(), call, arena) }
}
