//! AVX-512: 24 accumulators, four inputs and a broadcast fill 29 of 32 registers.
//!
//! Which tile for how many filters, and from which number of taps on inputs no longer stay in registers, the table `tiles` of the benchmark `choices` tells: over the
//! 14 shapes of MobileNetV2 and 1 to 32 groups these take between 0.92 and 1.25 times as long as the fastest of all shapes on an Intel Xeon of model 167, in the mean
//! the same; most of what differs is noise, since it is the same tile.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-pointwise-12x32-avx512",
    isa: Isa::Avx512,
    few: &[
        few::<1, 8>,
        few::<2, 8>,
        few::<3, 6>,
        few::<4, 5>,
        few::<5, 4>,
        few::<6, 4>,
        few::<7, 3>,
        few::<8, 3>,
        few::<9, 2>,
        few::<10, 2>,
        few::<11, 2>,
        few::<12, 2>,
    ],
    by_filters: &[
        tile::<1, 8>,
        tile::<2, 4>,
        tile::<3, 4>,
        tile::<4, 4>,
        tile::<5, 4>,
        tile::<6, 4>,
        tile::<7, 3>,
        tile::<8, 3>,
        tile::<9, 2>,
        tile::<10, 2>,
        tile::<11, 2>,
        tile::<12, 2>,
    ],
    panels: true,
};

#[cfg(feature = "sweep")]
pub(super) static CANDIDATES: &[super::Candidate] = super::sweep::table!(
    Isa::Avx512,
    KERNEL.by_filters,
    tile {
        1: 1 2 3 4 5 6 7 8 9 10 11 12;
        2: 1 2 3 4 5 6 7 8 9 10 11 12;
        3: 1 2 3 4 5 6 7 8;
        4: 1 2 3 4 5 6;
        6: 1 2 3 4;
        8: 1 2 3;
    }
    few {
        1: 1 2 3 4 5 6 7 8 9 10 11 12;
        2: 1 2 3 4 5 6 7 8 9 10 11 12;
        3: 1 2 3 4 5 6 7 8;
        4: 1 2 3 4 5 6;
        5: 1 2 3 4;
        6: 1 2 3;
        8: 1 2;
    }
);

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn tile<const F: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P>(Avx512::assume(), call, weights, arena) }
}

/// # Safety
/// As for [`body::few`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn few<const T: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::few::<_, T, P>(Avx512::assume(), call, weights, arena) }
}
