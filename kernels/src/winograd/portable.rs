//! The portable variant.

use super::{Kernel, body, input, output};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel =
    Kernel { name: "f32-winograd-4x4-portable", isa: Isa::Portable, input: run_input, output: run_output };

/// # Safety
/// As for [`body::input`].
unsafe fn run_input(call: &input::Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::input(Portable, call, arena) }
}

/// # Safety
/// As for [`body::output`].
unsafe fn run_output(call: &output::Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::output(Portable, call, weights, arena) }
}
