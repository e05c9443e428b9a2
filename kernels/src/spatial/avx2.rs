//! AVX2: twelve accumulators, two inputs and a broadcast fill 15 of 16 registers.

use super::{Call, Entry, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-spatial-6x16-avx2",
    isa: Isa::Avx2,
    by_filters: &[
        by_stride::<1, 4>(),
        by_stride::<2, 4>(),
        by_stride::<3, 3>(),
        by_stride::<4, 2>(),
        by_stride::<5, 2>(),
        by_stride::<6, 2>(),
    ],
};

const fn by_stride<const F: usize, const P: usize>() -> [Entry; 3] {
    // Strides above two are rare: small code.
    [tile::<F, P, 1>, tile::<F, P, 2>, tile::<F, 1, 0>]
}

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const F: usize, const P: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P, STRIDE>(Avx2::assume(), call, weights, arena) }
}
