//! Portable: whatever `wide` was compiled for; on x86-64 without flags two registers of SSE2 for each vector.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-pointwise-4x8-portable",
    isa: Isa::Portable,
    few: &[few::<1, 2>, few::<2, 2>, few::<3, 1>, few::<4, 1>],
    by_filters: &[tile::<1, 2>, tile::<2, 2>, tile::<3, 1>, tile::<4, 1>],
    panels: false,
};

/// # Safety
/// As for [`body::run`].
unsafe fn tile<const F: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, F, P>(Portable, call, weights, arena) }
}

/// # Safety
/// As for [`body::few`].
unsafe fn few<const T: usize, const P: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::few::<_, T, P>(Portable, call, weights, arena) }
}
