//! AVX2: four vectors for inputs of even and of odd index make eight chains of sums, as many as two units of four cycles need.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-linear-32x1-avx2",
    isa: Isa::Avx2,
    by_vectors: &[panel::<1>, panel::<2>, panel::<3>, panel::<4>],
};

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn panel<const V: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, V>(Avx2::assume(), call, weights, arena) }
}
