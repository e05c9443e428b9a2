//! The avx512 variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-deal-1x16-avx512",
    isa: Isa::Avx512,
    by_stride: [run::<1>, run::<2>, run::<0>],
    both: run::<{ body::BOTH }>,
    input,
};

/// # Safety
/// As for [`body::run`], and the CPU has the features of the variant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn run<const STRIDE: usize>(call: &Call, _input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Avx512::assume(), call, arena) }
}

/// # Safety
/// As for [`body::run_input`], and the CPU has the features of the variant.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn input(call: &Call, input: &[f32], arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run_input(Avx512::assume(), call, input, arena) }
}
