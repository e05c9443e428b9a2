//! AVX-512: 24 accumulators, four inputs and a broadcast fill 29 of 32 registers.

use super::{Call, Entry, Kernel, body};
use crate::{Isa, simd::Avx512};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-spatial-12x32-avx512",
    isa: Isa::Avx512,
    by_filters: &[
        by_stride::<1, 4, 4>(),
        by_stride::<2, 4, 4>(),
        by_stride::<3, 4, 4>(),
        by_stride::<4, 4, 4>(),
        by_stride::<5, 4, 2>(),
        by_stride::<6, 4, 2>(),
        by_stride::<7, 3, 2>(),
        by_stride::<8, 3, 2>(),
        by_stride::<9, 2, 1>(),
        by_stride::<10, 2, 1>(),
        by_stride::<11, 2, 1>(),
        by_stride::<12, 2, 1>(),
    ],
};

/// The vectors of a tile of `F` filters, and with a stride of two.
const fn by_stride<const F: usize, const P: usize, const Q: usize>() -> [Entry; 3] {
    // Small code where it is rare: strides above two, and many filters with a stride of two, for which inputs are dealt.
    [tile::<F, P, 1>, tile::<F, Q, 2>, tile::<F, 1, 0>]
}

/// # Safety
/// As for [`body::run`], and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
unsafe fn tile<const F: usize, const P: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P, STRIDE>(Avx512::assume(), call, weights, arena) }
}
