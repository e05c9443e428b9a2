//! The avx2 variant.

use super::{Kernel, body, input, output};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel =
    Kernel { name: "f32-winograd-4x4-avx2", isa: Isa::Avx2, input: run_input, output: run_output };

/// # Safety
/// As for [`body::input`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn run_input(call: &input::Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::input(Avx2::assume(), call, arena) }
}

/// # Safety
/// As for [`body::output`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn run_output(call: &output::Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::output(Avx2::assume(), call, weights, arena) }
}
