//! AVX2: twelve accumulators, two or three inputs and a broadcast fill 15 or 16 of 16 registers.
//!
//! Which tile for how many filters, the table `tiles` of the benchmark `choices` tells: over the shapes of MobileNetV2 these take at most 1.10 times as long as the
//! fastest of all shapes on an Intel Xeon of model 167, in the mean 0.99.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx2};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-pointwise-6x16-avx2",
    isa: Isa::Avx2,
    few: &[few::<1, 6>, few::<2, 4>, few::<3, 3>, few::<4, 2>],
    by_filters: &[tile::<1, 8>, tile::<2, 6>, tile::<3, 4>, tile::<4, 3>, tile::<5, 2>, tile::<6, 2>],
    panels: true,
};

#[cfg(feature = "sweep")]
pub(super) static CANDIDATES: &[super::Candidate] = super::sweep::table!(
    Isa::Avx2,
    KERNEL.by_filters,
    tile {
        1: 1 2 3 4 5 6;
        2: 1 2 3 4 5 6;
        3: 1 2 3 4;
        4: 1 2 3;
        6: 1 2;
        8: 1;
    }
    few {
        1: 1 2 3 4 5 6;
        2: 1 2 3 4 5;
        3: 1 2 3;
        4: 1 2;
        6: 1;
    }
);

/// # Safety
/// As for [`body::run`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn tile<const F: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P>(Avx2::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`body::few`], and the CPU has AVX2 and FMA.
#[target_feature(enable = "avx2,fma")]
unsafe fn few<const T: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::few::<_, T, P>(Avx2::assume(), call, weights, arena) }
}
