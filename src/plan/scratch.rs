//! Scratch memory of bands and blocks, and what their size depends on.

use super::{cache::Caches, layout::distance};
use flgc_kernels::{ALIGN, expand};

/// What a plan is made for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Target {
    pub(super) caches: Caches,
    /// Floats of a vector.
    pub(super) lanes: usize,
    /// Filters of a tile of a pointwise convolution.
    pub(super) filters: usize,
    /// Whether it pays to deal columns for a depthwise layer that takes every second one.
    pub(super) deals: bool,
    /// The kernel of expansions and depthwise layers in registers, if there is one.
    pub(super) expand: Option<&'static expand::Kernel>,
    /// Threads.
    pub(super) parts: usize,
    /// Whether one layer alone reads the first input.
    pub(super) reads_input_once: bool,
}

/// Planes that each band uses anew.
#[derive(Clone, Copy, Debug)]
pub(super) struct Scratch {
    /// Floats from one plane to the next.
    pub(super) stride: usize,
    /// Floats of all planes.
    pub(super) len: usize,
}

impl Scratch {
    pub(super) fn new(planes: usize, floats: usize) -> Self {
        // Vectors may begin before the first row and end behind the last one.
        let stride = distance(floats + 2 * ALIGN);
        Self { stride, len: planes * stride }
    }
}

pub(super) fn greatest_common_divisor(a: usize, b: usize) -> usize {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}
