//! AVX-512.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel { name: "f32-resize-1x16-avx512", isa: Isa::Avx512, entry };

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn entry(call: &Call, _: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run(Avx512::assume(), call, arena) }
}
