//! The avx2 variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-deal-1x8-avx2",
    isa: Isa::Avx2,
    by_stride: [run::<1>, run::<2>, run::<0>],
    both: run::<{ body::BOTH }>,
    input,
};

/// # Safety
/// As for [`body::run`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn run<const STRIDE: usize>(call: &Call, _input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Avx2::assume(), call, arena) }
}

/// # Safety
/// As for [`body::run_input`], and the CPU has the features of the variant.
#[target_feature(enable = "avx2,fma")]
unsafe fn input(call: &Call, input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run_input(Avx2::assume(), call, input, arena) }
}
