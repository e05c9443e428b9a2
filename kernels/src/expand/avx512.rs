//! AVX-512: the windows' weights of two filters fill 18 registers, four sums, bounds and a row of inputs the rest.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel =
    Kernel { name: "f32-expand-2x16-avx512", isa: Isa::Avx512, by_stride: [run::<1>, run::<2>] };

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn run<const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Avx512::assume(), call, weights, arena) }
}
