//! The network between the file and the model: layers that compute, and activations as lists of the planes that they consist of.
//!
//! A lane is one plane of one computed activation. Whatever only rearranges channels (concat, split, slice, gather, shuffle, flatten of single pixels) is
//! a list of lanes here and leaves no layer behind; so the encodings of one network come out as the same network.

use flgc::model::graph;
use ndarray::{ArrayD, Axis, IxDyn};

/// Index of a computed activation, or of an input.
pub(crate) type ValueId = u32;

/// A plane: channel `channel` of a value, in all images.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Lane {
    pub(crate) value: ValueId,
    pub(crate) channel: u32,
}

/// An activation: `[n, channels..., pixels...]`, each channel a lane.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct View {
    /// The first dimension.
    pub(crate) n: usize,
    /// The lanes, in the shape of the dimensions behind the first that are made of channels: usually one.
    pub(crate) lanes: ArrayD<Lane>,
    /// The dimensions inside of a lane: `[h, w]` of a map. Their product is the pixels of each lane's value.
    pub(crate) pixels: Vec<usize>,
}

impl View {
    /// All of a value.
    pub(crate) fn whole(value: ValueId, shape: &[usize]) -> Self {
        let channels = &shape[1..shape.len().min(2)];
        let count: usize = channels.iter().product();
        let lanes = (0..count as u32).map(|channel| Lane { value, channel }).collect();
        let lanes = ArrayD::from_shape_vec(IxDyn(channels), lanes);
        let lanes = lanes.unwrap_or_else(|_| unreachable!("as many lanes as channels"));
        Self { n: shape[0], lanes, pixels: shape.get(2..).unwrap_or_default().to_vec() }
    }

    /// Lanes in one dimension.
    pub(crate) fn of(n: usize, lanes: Vec<Lane>, pixels: &[usize]) -> Self {
        Self { n, lanes: ndarray::Array1::from(lanes).into_dyn(), pixels: pixels.to_vec() }
    }

    pub(crate) fn shape(&self) -> Vec<usize> {
        [&[self.n], self.lanes.shape(), &self.pixels].concat()
    }

    /// Number of lanes.
    pub(crate) fn channels(&self) -> usize {
        self.lanes.len()
    }

    /// Elements of a lane, in one image.
    pub(crate) fn lane_pixels(&self) -> usize {
        self.pixels.iter().product()
    }

    /// `[n, c, h, w]`, if it has four dimensions and the second is the channels'.
    pub(crate) fn map(&self) -> Option<[usize; 4]> {
        match (self.lanes.shape(), &*self.pixels) {
            (&[c], &[h, w]) => Some([self.n, c, h, w]),
            _ => None,
        }
    }

    /// The same elements with another boundary between channels and pixels, behind dimension `dims`; `None` if planes would be cut or joined.
    pub(crate) fn split_behind(&self, dims: usize) -> Option<Self> {
        let shape = self.shape();
        let (channels, pixels) = (shape.get(1..dims)?, &shape[dims..]);
        if channels.iter().product::<usize>() != self.channels() {
            return None;
        }
        let lanes = self.lanes.to_shape(IxDyn(channels)).ok()?.into_owned();
        Some(Self { n: self.n, lanes, pixels: pixels.to_vec() })
    }

    /// The boundary behind the second dimension, where the pixels are single and could have it anywhere.
    pub(crate) fn settled(self) -> Self {
        if self.lane_pixels() == 1 { self.split_behind(2).unwrap_or(self) } else { self }
    }

    /// The same elements in another shape, if no plane is cut or joined.
    pub(crate) fn reshape(&self, to: &[usize]) -> Option<Self> {
        if to.first() != Some(&self.n) {
            return None;
        }
        // At least one dimension of channels where there are two: `[n, c]` and `[n, c, h, w]`.
        let behind = (to.len().min(2)..=to.len()).find(|&behind| {
            to[1..behind].iter().product::<usize>() == self.channels()
                && to[behind..].iter().product::<usize>() == self.lane_pixels()
        })?;
        let lanes = self.lanes.to_shape(IxDyn(&to[1..behind])).ok()?.into_owned();
        Some(Self { n: self.n, lanes, pixels: to[behind..].to_vec() })
    }

    /// Dimensions in another order, if no pixel moves inside of its plane.
    pub(crate) fn transpose(&self, axes: &[usize]) -> Option<Self> {
        let shape = self.shape();
        let whole = if self.lane_pixels() == 1 { self.split_behind(shape.len())? } else { self.clone() };
        let channel_dims = 1 + whole.lanes.ndim();
        let (channels, pixels) = (axes.get(1..channel_dims)?, &axes[channel_dims..]);
        let of_channels = axes[0] == 0 && channels.iter().all(|axis| (1..channel_dims).contains(axis));
        // Dimensions of one element may change places among the pixels.
        let moved: Vec<usize> = pixels.iter().copied().filter(|&axis| shape[axis] != 1).collect();
        if !of_channels || !moved.is_sorted() {
            return None;
        }
        let order: Vec<usize> = channels.iter().map(|axis| axis - 1).collect();
        let lanes = whole.lanes.permuted_axes(IxDyn(&order)).as_standard_layout().into_owned();
        Some(Self { n: self.n, lanes, pixels: pixels.iter().map(|&axis| shape[axis]).collect() }.settled())
    }

    /// The parts at `indices` along `axis`, if that is a dimension of channels.
    pub(crate) fn select(&self, axis: usize, indices: &[usize]) -> Option<Self> {
        let whole = if self.lane_pixels() == 1 { self.split_behind(self.shape().len())? } else { self.clone() };
        let inside = (1..=whole.lanes.ndim()).contains(&axis);
        inside.then(|| Self { lanes: whole.lanes.select(Axis(axis - 1), indices), ..whole }.settled())
    }

    /// Several one behind the other along `axis`, if that is a dimension of channels and all but it agree.
    pub(crate) fn concat(views: &[Self], axis: usize) -> Option<Self> {
        // Single pixels have no boundary of their own.
        let dims = views.iter().find(|view| view.lane_pixels() != 1).unwrap_or(&views[0]);
        let behind = if dims.lane_pixels() == 1 { dims.shape().len() } else { 1 + dims.lanes.ndim() };
        if !(1..behind).contains(&axis) {
            return None;
        }
        let views = views.iter().map(|view| view.split_behind(behind)).collect::<Option<Vec<_>>>()?;
        let lanes: Vec<_> = views.iter().map(|view| view.lanes.view()).collect();
        let lanes = ndarray::concatenate(Axis(axis - 1), &lanes).ok()?;
        Some(Self { n: views[0].n, lanes, pixels: views[0].pixels.clone() }.settled())
    }

    /// The lanes in one dimension.
    pub(crate) fn flat(&self) -> Vec<Lane> {
        self.lanes.iter().copied().collect()
    }
}

/// A computed activation, or an input.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub(crate) name: String,
    pub(crate) shape: Vec<usize>,
}

/// A layer: makes one value.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// The name of its node in the file.
    pub(crate) name: String,
    pub(crate) op: Op,
    pub(crate) inputs: Vec<View>,
    pub(crate) output: ValueId,
}

/// What a layer computes.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    Conv(Conv),
    Linear(Linear),
    /// `x * scale + shift`, for each channel: batch norm, and constants added or multiplied.
    Scale {
        scale: Vec<f32>,
        shift: Vec<f32>,
    },
    Act(Act),
    Add,
    Multiply,
    Pool {
        pool: graph::Pool,
        average: bool,
    },
    GlobalPool {
        average: bool,
    },
    Resize(graph::Resize),
    /// Zero pixels around each plane, `[top, left, bottom, right]`.
    Pad([usize; 4]),
    Softmax {
        axis: usize,
    },
    /// The rest moves pixels.
    Reshape,
    Transpose(Vec<usize>),
    Concat {
        axis: usize,
    },
    Slice {
        axis: usize,
        begin: usize,
        end: usize,
    },
}

impl Op {
    /// Whether each output channel is made of the same channel of every input.
    pub(crate) const fn is_channelwise(&self) -> bool {
        matches!(
            self,
            Self::Scale { .. }
                | Self::Act(_)
                | Self::Add
                | Self::Multiply
                | Self::Pool { .. }
                | Self::GlobalPool { .. }
                | Self::Resize(_)
                | Self::Pad(_)
        )
    }
}

/// An activation function.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Act {
    Clamp { low: f32, high: f32 },
    Leaky(f32),
    PRelu(Vec<f32>),
    HardSwish,
    HardSigmoid { alpha: f32, beta: f32 },
    Sigmoid,
    Silu,
}

/// A convolution as a list of groups. Its input is the groups' channels, one group behind the other.
#[derive(Clone, Debug)]
pub(crate) struct Conv {
    pub(crate) geometry: Geometry,
    pub(crate) groups: Vec<Group>,
    pub(crate) bias: Vec<f32>,
    /// What it was in the file.
    pub(crate) origin: Origin,
}

/// Sizes of a convolution, in pixels, `[h, w]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Geometry {
    pub(crate) kernel: [usize; 2],
    pub(crate) stride: [usize; 2],
    /// `[top, left, bottom, right]`
    pub(crate) pad: [usize; 4],
    pub(crate) dilation: [usize; 2],
}

impl Geometry {
    pub(crate) const fn taps(&self) -> usize {
        self.kernel[0] * self.kernel[1]
    }
}

/// A group: its weights are `[filters][channels][k_h][k_w]`.
#[derive(Clone, Debug)]
pub(crate) struct Group {
    pub(crate) channels: usize,
    /// Numbers of its filters, ascending.
    pub(crate) filters: Vec<u32>,
    pub(crate) weights: Vec<f32>,
}

/// What a convolution was in the file, for the report.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    /// How many nodes it was made of.
    pub(crate) nodes: usize,
    /// Their groups, added up.
    pub(crate) groups: usize,
    /// Their multiply-adds, added up.
    pub(crate) macs: u64,
}

impl Conv {
    /// Zero channels before and behind `channels` that stay as they are, and zero pixels around all: filters that multiply by one, and some without channels.
    pub(crate) fn padding(channels: usize, more: [usize; 2], pad: [usize; 4]) -> Self {
        let own = |channel: usize| Group { channels: 1, filters: vec![(more[0] + channel) as u32], weights: vec![1.0] };
        let mut groups: Vec<Group> = (0..channels).map(own).collect();
        let behind = more[0] + channels;
        let zeros = (0..more[0]).chain(behind..behind + more[1]).map(|filter| filter as u32).collect();
        groups.push(Group { channels: 0, filters: zeros, weights: Vec::new() });
        let geometry = Geometry { kernel: [1, 1], stride: [1, 1], pad, dilation: [1, 1] };
        let origin = Origin { nodes: 1, groups: channels, macs: 0 };
        Self { geometry, groups, bias: vec![0.0; behind + more[1]], origin }
    }

    /// Weights inside groups.
    pub(crate) fn weights(&self) -> u64 {
        self.groups.iter().map(|group| group.weights.len() as u64).sum()
    }

    /// Sees to it that some channel is read, `lane`, which makes the input's shape known: the layer of a convolution of zeros has no other.
    pub(crate) fn read_something(&mut self, lanes: &mut Vec<Lane>, lane: Lane) {
        if lanes.is_empty() {
            let filters: Vec<u32> = (0..self.bias.len() as u32).collect();
            let weights = vec![0.0; filters.len() * self.geometry.taps()];
            self.groups = vec![Group { channels: 1, filters, weights }];
            lanes.push(lane);
        }
    }

    /// Whether every filter sees one channel, each through a kernel of its own.
    pub(crate) fn is_depthwise(&self) -> bool {
        self.groups.iter().all(|group| group.channels == 1 && group.filters.len() == 1)
    }
}

/// A fully connected layer; `weight` is `[features][channels]`.
#[derive(Clone, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: Vec<f32>,
    pub(crate) bias: Vec<f32>,
    /// Multiply-adds in the file.
    pub(crate) macs: u64,
}

/// The network.
#[derive(Clone, Debug, Default)]
pub(crate) struct Net {
    /// The inputs first, then one for each layer that was ever made.
    pub(crate) values: Vec<Value>,
    /// How many of the values are inputs.
    pub(crate) inputs: usize,
    /// In an order in which they can be run.
    pub(crate) nodes: Vec<Node>,
    /// Names and activations.
    pub(crate) outputs: Vec<(String, View)>,
    /// Multiply-adds of the file's convolutions and fully connected layers.
    pub(crate) macs: u64,
    /// What was concatenated: the parts may be layers that are better one.
    pub(crate) hints: Vec<Vec<View>>,
}

impl Net {
    /// A new value.
    pub(crate) fn value(&mut self, name: &str, shape: &[usize]) -> ValueId {
        self.values.push(Value { name: name.to_owned(), shape: shape.to_vec() });
        (self.values.len() - 1) as ValueId
    }

    /// A new layer; returns what it makes.
    pub(crate) fn node(&mut self, name: &str, op: Op, inputs: Vec<View>, shape: &[usize]) -> View {
        let output = self.value(name, shape);
        self.nodes.push(Node { name: name.to_owned(), op, inputs, output });
        View::whole(output, shape)
    }

    /// The value that `view` is, if it is all of one, as it is.
    pub(crate) fn whole(&self, view: &View) -> Option<ValueId> {
        let value = view.lanes.first()?.value;
        (*view == View::whole(value, &self.values[value as usize].shape)).then_some(value)
    }

    /// All activations that are read.
    pub(crate) fn views_mut(&mut self) -> impl Iterator<Item = &mut View> {
        let outputs = self.outputs.iter_mut().map(|(_, view)| view);
        self.nodes.iter_mut().flat_map(|node| &mut node.inputs).chain(outputs).chain(self.hints.iter_mut().flatten())
    }
}
