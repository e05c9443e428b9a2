//! SIMD kernels for convolutional networks on planar activations, and the arena that they work in.
//!
//! **Planar**: an activation is one plane of pixels per channel; vector lanes run along the pixels, weights are broadcast. A layer is a
//! list of [`Call`]s, each with packed weights and lists of plane offsets, so that learned groups of any size, channel shuffles, splits and
//! concatenations are only lists, and no kernel ever sees a group or a graph.
//!
//! * [`Arena`] holds every activation of a run but for an input that stays where the caller has it, [`Weights`] all packed weights; both are addressed by offsets in floats.
//! * A family's `Call` (say [`pointwise::Call`]) is made by a constructor that proves every offset; a [`CallSet`] proves that its calls
//!   may run in any order or at the same time; a [`Team`] of threads does that. After that, running is safe for the caller and unchecked inside.
//! * Each family is one generic body over a small vector trait, instantiated for each instruction set ([`Isa`]).
//!
//! | family | computes | variants |
//! |---|---|---|
//! | [`pointwise`] | any convolution of stride 1 as a list of taps: 1x1, and k x k on planes with a zero border | avx512, avx2, portable |
//! | [`spatial`] | any convolution as a list of taps, by rows, with any stride | avx512, avx2, portable |
//! | [`depthwise`] | a convolution of each channel on its own: any window, any stride, no border needed | avx512, avx2, portable |
//! | [`expand`] | a 1x1 convolution of few channels and the 3x3 depthwise one over what it makes, in registers | avx512, portable |
//! | [`linear`] | fully connected, on lists of single floats | avx512, avx2, portable |
//! | [`softmax`] | softmax along lists of planes or of single floats | avx512, avx2, portable |
//! | [`elementwise`] | activations, sums, products, scale and shift | avx512, avx2, portable |
//! | [`fill`] | the zero border of planes | portable |
//! | [`gather`] | single elements copied to a run | portable |
//! | [`deal`] | every second column of planes, in the arena or of the caller's input, as planes of their own, for blocks of convolutions with stride | avx512, avx2, portable |
//! | [`winograd`] | dense 3x3 convolutions of stride 1 with a quarter of the multiplications: what comes before and behind [`pointwise`] | avx512, avx2, portable |
//! | [`chain`] | sets of calls one after another: layers in bands of rows | |
//! | [`pool`] | windows and whole planes, largest or mean | avx512, avx2, portable |
//! | [`resize`] | planes resized, nearest or bilinear | avx512, avx2, portable |
//!
//! With the feature `matmul`, the module of that name offers general matrix products, for training; with `measure`, that one offers the
//! core's arithmetic peak and an allocator that counts, for benchmarks.

mod activation;
mod block;
mod call;
pub mod chain;
pub mod deal;
mod denormals;
pub mod depthwise;
pub mod elementwise;
mod ending;
pub mod expand;
pub mod fill;
pub mod gather;
mod isa;
pub mod linear;
#[cfg(feature = "matmul")]
pub mod matmul;
#[cfg(feature = "measure")]
pub mod measure;
pub mod pointwise;
pub mod pool;
pub mod resize;
mod simd;
pub mod softmax;
pub mod spatial;
mod team;
mod tile;
mod window;
pub mod winograd;

pub use activation::{Activation, Epilogue};
pub use block::{Arena, Weights, WeightsBuilder};
pub use call::{Call, CallError, CallSet, Planes};
pub use denormals::with_denormals_flushed;
pub use isa::{Isa, UnknownIsa};
pub use team::{Helper, Leader, Team};
pub use window::{Image, Window};

/// Planes start at multiples of this many floats (64 bytes: a cache line and the widest vector), and a plane is padded to a multiple of it.
pub const ALIGN: usize = 16;
