//! Portable: whatever `wide` was compiled for.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-depthwise-1x8-portable",
    isa: Isa::Portable,
    square: &[(3, 1, square::<3, 1>), (3, 2, square::<3, 2>), (5, 1, square::<5, 1>), (5, 2, square::<5, 2>)],
    any,
};

/// # Safety
/// As for [`body::square`].
unsafe fn square<const K: usize, const STRIDE: usize>(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::square::<_, K, STRIDE>(Portable, call, weights, arena) }
}

/// # Safety
/// As for [`body::any`].
unsafe fn any(call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::any(Portable, call, weights, arena) }
}
