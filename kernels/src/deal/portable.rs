//! The portable variant.

use super::{Call, Kernel, body};
use crate::{Isa, simd::Portable};

pub(super) static KERNEL: Kernel = Kernel {
    name: "f32-deal-1x8-portable",
    isa: Isa::Portable,
    by_stride: [run::<1>, run::<2>, run::<0>],
    both: run::<{ body::BOTH }>,
};

/// # Safety
/// As for [`body::run`].
unsafe fn run<const STRIDE: usize>(call: &Call, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe { body::run::<_, STRIDE>(Portable, call, arena) }
}
