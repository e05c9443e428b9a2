//! AVX-512: four vectors for inputs of even and of odd index make eight chains of sums, as many as two units of four cycles need.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-linear-64x1-avx512",
    isa: Isa::Avx512,
    by_vectors: &[panel::<1>, panel::<2>, panel::<3>, panel::<4>],
};

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn panel<const V: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, V>(Avx512::assume(), call, weights, arena) }
}
