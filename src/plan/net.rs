//! The network between steps of planning: layers whose operands are activations by number.

use crate::model::{
    TensorView, ValueId,
    graph::{Pool, Resize},
};
use flgc_kernels::Activation;

/// A layer, which makes one activation.
#[derive(Debug)]
pub(super) struct Layer<'m> {
    pub(super) name: String,
    pub(super) op: &'static str,
    pub(super) kind: Kind<'m>,
    pub(super) inputs: Vec<ValueId>,
    pub(super) outputs: Vec<ValueId>,
    /// Applied to the result: `last(first(x) + residual)`.
    pub(super) first: Act,
    pub(super) residual: Option<ValueId>,
    pub(super) last: Act,
}

/// What a layer computes, before its activation.
#[derive(Debug)]
pub(super) enum Kind<'m> {
    Conv(Conv<'m>),
    Linear(Linear<'m>),
    /// Batch norm that could not be folded: a factor and a summand for each channel.
    Scale {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Add,
    Multiply,
    /// Nothing but its activation.
    Identity,
    Pool {
        pool: Pool,
        average: bool,
    },
    GlobalPool {
        average: bool,
    },
    Softmax {
        axis: usize,
    },
    Resize(Resize),
    /// Moves no data: another view of its inputs.
    View(View),
    /// Brings elements that lie apart together: the only layer that merely moves data.
    Move,
}

/// A convolution as a list of groups.
#[derive(Debug)]
pub(super) struct Conv<'m> {
    pub(super) groups: Vec<Group>,
    pub(super) filters: usize,
    pub(super) kernel: [usize; 2],
    pub(super) stride: [usize; 2],
    /// `[top, left, bottom, right]`
    pub(super) pad: [usize; 4],
    pub(super) dilation: [usize; 2],
    pub(super) weight: TensorView<'m>,
    /// Factor of each filter's weights, from a folded batch norm.
    pub(super) scale: Option<Vec<f32>>,
    pub(super) bias: Vec<f32>,
}

/// A group of a convolution: its weights are `[filters][channels][k_h][k_w]` from `start` on.
#[derive(Debug)]
pub(super) struct Group {
    pub(super) channels: Vec<u32>,
    pub(super) filters: Vec<u32>,
    pub(super) start: usize,
}

impl Conv<'_> {
    /// Taps of a kernel.
    pub(super) fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }

    /// Whether it is 1x1 without padding: every output pixel sees one input pixel.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.pad == [0; 4]
    }

    /// Whether every filter sees exactly one channel, through a kernel larger than one pixel.
    pub(super) fn is_depthwise(&self) -> bool {
        self.taps() > 1 && self.groups.iter().all(|group| group.channels.len() == 1 || group.filters.is_empty())
    }

    /// What the stored weights of a filter are multiplied by.
    pub(super) fn factor(&self, filter: u32) -> f32 {
        self.scale.as_ref().map_or(1.0, |scale| scale[filter as usize])
    }

    /// Weights inside groups.
    pub(super) fn weights(&self) -> u64 {
        self.groups.iter().map(|g| g.channels.len() as u64 * g.filters.len() as u64).sum::<u64>() * self.taps() as u64
    }
}

/// A fully connected layer.
#[derive(Debug)]
pub(super) struct Linear<'m> {
    pub(super) weight: TensorView<'m>,
    pub(super) scale: Option<Vec<f32>>,
    pub(super) bias: Vec<f32>,
}

/// An activation function with its data.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Act {
    /// The same for every channel.
    Same(Activation),
    /// A slope for each channel.
    PRelu(Vec<f32>),
}

impl Act {
    pub(super) const NONE: Self = Self::Same(Activation::None);

    pub(super) fn is_none(&self) -> bool {
        *self == Self::NONE
    }
}

/// A rearrangement of elements, by its meaning.
#[derive(Clone, Debug)]
pub(super) enum View {
    Concat {
        axis: usize,
    },
    Split {
        axis: usize,
        sizes: Vec<usize>,
    },
    Slice {
        axis: usize,
        begin: usize,
        end: usize,
    },
    /// Output channel `i` is input channel `order[i]`.
    Channels {
        order: Vec<u32>,
    },
    /// The same elements in the same order, under another shape.
    Reshape,
    Transpose {
        axes: Vec<usize>,
    },
}
