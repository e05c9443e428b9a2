//! Portable: whatever `wide` was compiled for; on x86-64 without flags two registers of SSE2 for each vector.

use super::{Call, Entry, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-spatial-4x8-portable",
    isa: Isa::Portable,
    by_filters: &[by_stride::<1, 2>(), by_stride::<2, 2>(), by_stride::<3, 1>(), by_stride::<4, 1>()],
};

const fn by_stride<const F: usize, const P: usize>() -> [Entry; 3] {
    // Strides above two are rare: small code.
    [tile::<F, P, 1>, tile::<F, P, 2>, tile::<F, 1, 0>]
}

/// # Safety
/// As for [`body::run`].
unsafe fn tile<const F: usize, const P: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P, STRIDE>(Portable, call, weights, arena) }
}
