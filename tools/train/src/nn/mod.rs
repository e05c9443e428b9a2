//! Layers with explicit forward and backward passes over a float type: f32 to train, f64 to check gradients.
//!
//! **Parts.** A batch is cut into parts of [`LANES`] pictures. An activation of a part is laid out `[c][h][w][LANES]`: the pictures are
//! innermost, so every loop is a loop over lanes, at any stride and any number of channels, and the channels of a group are rows
//! that can be gathered in any order. Threads share out whole parts, each part adds up its own gradients, and these are added in the
//! order of the parts: results do not depend on the number of threads.
//!
//! **Stored once, in 16 bits.** Only the raw outputs of convolutions are kept for the backward pass. Batch norm and ReLU are applied by whoever
//! reads them ([`Source`]), which halves memory and memory traffic; statistics are summed while an output is in cache. For `f32` what is stored, outputs and
//! gradients alike, is rounded to the nearest `bf16`, which halves them again: memory is what bounds a step. Weights and arithmetic stay `f32`.

mod act;
mod block;
mod depthwise;
pub mod groups;
mod head;
pub mod mobilenet;
mod norm;
mod param;
mod pointwise;
mod rows;
mod simd;
mod unit;
mod widen;

pub use act::{Act, Buffers, Part, Source};
pub use block::{Block, Keep, Shortcut};
pub use depthwise::Depthwise;
pub use head::{Head, Score};
pub use norm::{Affine, EPSILON, Norm, Sums, add_sums};
pub use param::{Kind, Param};
pub use pointwise::{InputGradient, Pointwise};
pub use simd::Vector;
pub use unit::{Conv, Running, Unit};
pub use widen::widen;

pub use crate::data::batches::LANES;

/// The numbers that layers compute with.
pub trait Float:
    num_traits::Float
    + num_traits::NumAssign
    + std::iter::Sum
    + std::fmt::Debug
    + Default
    + flgc_kernels::matmul::Element
    + Vector
{
    /// The nearest number to `x`.
    fn of(x: f64) -> Self;
    /// As a double.
    fn f64(self) -> f64;
}

impl Float for f32 {
    fn of(x: f64) -> Self {
        x as Self
    }
    fn f64(self) -> f64 {
        self.into()
    }
}

impl Float for f64 {
    fn of(x: f64) -> Self {
        x
    }
    fn f64(self) -> f64 {
        self
    }
}
