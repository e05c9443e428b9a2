//! The portable variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-deal-1x8-portable",
    isa: Isa::Portable,
    by_stride: [run::<1>, run::<2>, run::<0>],
    both: run::<{ body::BOTH }>,
    input,
};

/// # Safety
/// As for [`body::run`].
unsafe fn run<const STRIDE: usize>(call: &Call, _input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Portable, call, arena) }
}

/// # Safety
/// As for [`body::run_input`].
unsafe fn input(call: &Call, input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run_input(Portable, call, input, arena) }
}
