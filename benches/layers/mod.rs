//! Single layers as bare calls of kernels, without a network or a plan around them.

#![expect(clippy::missing_panics_doc, reason = "the shapes are the benchmarks' own: a mistake in one should stop them")]

mod convolutions;
mod others;
mod winograd;

pub use convolutions::{
    Expansion, Strided, dense, depthwise, expand, expand_apart, pointwise, pointwise_over, strided,
};
pub use others::{add, global_pool, linear, max_pool};
pub use winograd::by_tiles;

use flgc_kernels::{Activation, Arena, CallSet, Epilogue, Weights, WeightsBuilder};
use std::hint::black_box;

/// Channels, filters, and rows and columns of the main 1x1 convolutions of MobileNetV2.
pub const POINTWISE_SHAPES: [[usize; 3]; 14] = [
    [32, 16, 112],
    [16, 96, 112],
    [96, 24, 56],
    [24, 144, 56],
    [144, 24, 56],
    [32, 192, 28],
    [192, 32, 28],
    [64, 384, 14],
    [384, 64, 14],
    [96, 576, 14],
    [576, 96, 14],
    [160, 960, 7],
    [960, 160, 7],
    [320, 1280, 7],
];

/// Something to run: calls, with what they read and write.
pub struct Layer {
    calls: CallSet,
    weights: Weights,
    arena: Arena,
    /// Floating-point operations of the layer, nothing padded; a multiply-add is two.
    pub flops: usize,
    /// Bytes of its inputs, outputs and weights, each counted once.
    pub bytes: usize,
}

impl Layer {
    /// Calls that do `flops` operations on `floats` numbers, with a ramp in every plane.
    fn new(calls: CallSet, weights: WeightsBuilder, flops: usize, floats: usize) -> Self {
        let weights = weights.finish().expect("memory");
        let mut arena = Arena::new(calls.arena_end()).expect("memory");
        for (i, x) in arena.as_mut_slice().iter_mut().enumerate() {
            *x = (i % 255) as f32 / 255.0 - 0.5;
        }
        Self { calls, weights, arena, flops, bytes: floats * size_of::<f32>() }
    }

    /// Runs it on this thread.
    pub fn run(&mut self) {
        self.calls.run(&self.weights, &mut self.arena, &[]);
        black_box(&self.arena);
    }
}

/// Pins this thread to the last core that it may use: a run that wanders between cores loses its caches, and the first core has most interrupts.
pub fn pin() {
    if let Some(core) = core_affinity::get_core_ids().and_then(|ids| ids.last().copied()) {
        core_affinity::set_for_current(core);
    }
}

/// Floats of a plane with the room that kernels need behind it, and no multiple of what aliases in caches.
fn plane(pixels: usize) -> usize {
    let floats = (pixels + 16).next_multiple_of(16);
    if floats.is_multiple_of(256) { floats + 16 } else { floats }
}

const RELU6: Epilogue =
    Epilogue { first: Activation::Clamp { lo: 0.0, hi: 6.0 }, residual: None, last: Activation::None };

fn some_weights(count: usize) -> Vec<f32> {
    (0..count).map(|i| (i % 7) as f32 / 8.0 - 0.3).collect()
}

/// One of `parts` parts of `all`, as equal as they can be.
fn split(all: usize, part: usize, parts: usize) -> std::ops::Range<usize> {
    part * all / parts..(part + 1) * all / parts
}
