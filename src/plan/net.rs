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
    pub(super) groups: Groups,
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
    /// Whether Winograd's method may compute it.
    pub(super) winograd: bool,
}

/// The groups of a convolution, in two lists together: a depthwise layer has as many as channels.
#[derive(Debug)]
pub(super) struct Groups {
    channels: Vec<u32>,
    filters: Vec<u32>,
    /// Where each group begins in the two lists and in the weights, and behind them where the last one ends.
    begins: Vec<[usize; 3]>,
    /// Whether every group that has filters has one channel.
    of_one_channel: bool,
    weights: usize,
}

/// A group of a convolution: its weights are `[filters][channels][k_h][k_w]` from `start` on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Group<'a> {
    pub(super) channels: &'a [u32],
    pub(super) filters: &'a [u32],
    pub(super) start: usize,
}

impl Groups {
    /// From the group of each channel and of each filter, of `taps` weights for each pair of both.
    pub(super) fn new(groups: usize, [in_group, out_group]: [&[u32]; 2], taps: usize) -> Self {
        let ((channels, first_channels), (filters, first_filters)) =
            (by_group(in_group, groups), by_group(out_group, groups));
        let (mut begins, mut of_one_channel, mut weights) = (vec![[0; 3]], true, 0);
        for (channel, filter) in first_channels.windows(2).zip(first_filters.windows(2)) {
            let (channels, filters) = (channel[1] - channel[0], filter[1] - filter[0]);
            of_one_channel &= channels == 1 || filters == 0;
            weights += channels * filters * taps;
            begins.push([channel[1], filter[1], weights]);
        }
        Self { channels, filters, begins, of_one_channel, weights }
    }

    pub(super) fn len(&self) -> usize {
        self.begins.len() - 1
    }

    /// Whether every filter sees exactly one channel.
    pub(super) fn are_of_one_channel(&self) -> bool {
        self.of_one_channel
    }

    pub(super) fn get(&self, group: usize) -> Group<'_> {
        let ([channel, filter, start], [channels_end, filters_end, _]) = (self.begins[group], self.begins[group + 1]);
        Group { channels: &self.channels[channel..channels_end], filters: &self.filters[filter..filters_end], start }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Group<'_>> + Clone {
        (0..self.len()).map(|group| self.get(group))
    }
}

/// The members of each group one group after another, each in rising order; and where each group begins, with the end.
fn by_group(group_of: &[u32], groups: usize) -> (Vec<u32>, Vec<usize>) {
    let mut firsts = vec![0; groups + 1];
    for &group in group_of {
        firsts[group as usize + 1] += 1;
    }
    for group in 0..groups {
        firsts[group + 1] += firsts[group];
    }
    let (mut members, mut next) = (vec![0; group_of.len()], firsts.clone());
    for (member, &group) in group_of.iter().enumerate() {
        let place = &mut next[group as usize];
        members[*place] = member as u32;
        *place += 1;
    }
    (members, firsts)
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
        self.taps() > 1 && self.groups.are_of_one_channel()
    }

    /// What the stored weights of a filter are multiplied by.
    pub(super) fn factor(&self, filter: u32) -> f32 {
        self.scale.as_ref().map_or(1.0, |scale| scale[filter as usize])
    }

    /// Weights inside groups.
    pub(super) fn weights(&self) -> u64 {
        self.groups.weights as u64
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
