//! Convolutions.

use super::{Layer, RELU6, plane, some_weights, split};
use flgc_kernels::{CallSet, Image, Planes, WeightsBuilder, Window, chain, depthwise, expand, pointwise, spatial};

/// `channels` planes of `size x size`, a window of `k x k`.
#[must_use]
pub fn depthwise(kernel: &'static depthwise::Kernel, [channels, size, k, stride]: [usize; 4]) -> Layer {
    let out = size.div_ceil(stride);
    let (input, output) = (plane(size * size), plane(out * out));
    let image = |size: usize| Image { height: size, width: size, pitch: size };
    let mut weights = WeightsBuilder::expecting(0);
    let mut calls = Vec::new();
    for begin in (0..channels).step_by(16) {
        let channels = begin..channels.min(begin + 16);
        let filters = weights.push(&some_weights(channels.len() * k * k));
        let bias = weights.push(&some_weights(channels.len()));
        let spec = depthwise::Spec {
            input: image(size),
            output: image(out),
            window: Window { kernel: [k; 2], stride: [stride; 2], dilation: [1; 2], pad: [k / 2; 2] },
            odd: None,
            weights: filters,
            bias,
            x: Planes::from(channels.clone().map(|c| (16 + c * (input + output)) as u32).collect::<Vec<_>>()),
            y: &channels.map(|c| (16 + c * (input + output) + input) as u32).collect::<Vec<_>>(),
            epilogue: RELU6,
        };
        calls.push(depthwise::Call::new(kernel, spec).expect("a valid spec").into());
    }
    let floats = channels * (size * size + out * out + k * k + 1);
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, 2 * channels * out * out * k * k, floats)
}

/// `from` planes of `pixels`, filled up to whole vectors, to `to` planes in `groups` equal groups; filters in tiles of at most `tile`.
#[must_use]
pub fn pointwise(kernel: &'static pointwise::Kernel, shape: [usize; 3], groups: usize, tile: usize) -> Layer {
    let run = shape[2].next_multiple_of(kernel.isa.lanes());
    pointwise_over(kernel, shape, groups, tile, run, |call| call)
}

/// The same over runs of `run` pixels, each call through `with`.
#[must_use]
pub fn pointwise_over(
    kernel: &'static pointwise::Kernel,
    [from, to, pixels]: [usize; 3],
    groups: usize,
    tile: usize,
    run: usize,
    with: impl Fn(pointwise::Call) -> pointwise::Call,
) -> Layer {
    let stride = plane(pixels);
    let mut weights = WeightsBuilder::expecting(0);
    let mut calls = Vec::new();
    let at = |plane: usize| (16 + plane * stride) as u32;
    let mut pairs = 0;
    for group in 0..groups {
        let (channels, filters) = (split(from, group, groups), split(to, group, groups));
        pairs += channels.len() * filters.len();
        let x = Planes::from(channels.clone().map(at).collect::<Vec<_>>());
        let tiles = filters.len().div_ceil(tile);
        for part in 0..tiles {
            let tile = split(filters.len(), part, tiles);
            let tile = filters.start + tile.start..filters.start + tile.end;
            let count = channels.len() * tile.len();
            let spec = pointwise::Spec {
                pixels: run,
                weights: weights.push(&some_weights(count)),
                bias: weights.push(&some_weights(tile.len())),
                x: x.clone(),
                y: &tile.map(|f| at(from + f)).collect::<Vec<_>>(),
                shift: 0,
                rows: None,
                panels: pointwise::Panels::None,
                epilogue: RELU6,
            };
            calls.push(with(pointwise::Call::new(kernel, spec).expect("a valid spec")).into());
        }
    }
    // Pixels behind the last vector read biases as vectors.
    weights.push(&[0.0; 16]);
    let floats = (from + to) * pixels + pairs + to;
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, 2 * pairs * pixels, floats)
}

/// `channels` planes of `size x size` to as many by a dense 3x3 convolution, whose taps are planes with a border.
#[must_use]
pub fn dense(kernel: &'static pointwise::Kernel, [channels, size]: [usize; 2]) -> Layer {
    let pitch = size + 1;
    let run = (size * pitch).next_multiple_of(kernel.isa.lanes());
    let stride = plane(run + 3 * pitch);
    let mut weights = WeightsBuilder::expecting(0);
    let first = |plane: usize| 64 + plane * stride + pitch + 1;
    let taps = |c: usize| (0..9).map(move |tap| (first(c) + tap / 3 * pitch + tap % 3 - pitch - 1) as u32);
    let x = Planes::from((0..channels).flat_map(taps).collect::<Vec<_>>());
    let tiles = channels.div_ceil(kernel.max_filters());
    let mut calls = Vec::new();
    for part in 0..tiles {
        let tile = split(channels, part, tiles);
        let spec = pointwise::Spec {
            pixels: run,
            weights: weights.push(&some_weights(channels * 9 * tile.len())),
            bias: weights.push(&some_weights(tile.len())),
            x: x.clone(),
            y: &tile.map(|f| first(channels + f) as u32).collect::<Vec<_>>(),
            shift: 0,
            rows: None,
            panels: pointwise::Panels::None,
            epilogue: RELU6,
        };
        calls.push(pointwise::Call::new(kernel, spec).expect("a valid spec").into());
    }
    let weight_count = 9 * channels * channels;
    let floats = 2 * channels * size * size + weight_count + channels;
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, 2 * weight_count * size * size, floats)
}

/// The shape of a convolution with stride.
#[derive(Clone, Copy, Debug)]
pub struct Strided {
    /// Channels.
    pub from: usize,
    /// Filters.
    pub to: usize,
    /// Rows and columns of the input.
    pub size: usize,
    /// Rows and columns of the window.
    pub k: usize,
    /// Inputs from one output to the next, down and along.
    pub stride: usize,
    /// Equal groups.
    pub groups: usize,
}

/// A convolution with stride over planes with a border, row by row, all rows for a tile of filters.
#[must_use]
pub fn strided(kernel: &'static spatial::Kernel, shape: Strided) -> Layer {
    let Strided { from, to, size, k, stride, groups } = shape;
    let out = size.div_ceil(stride);
    let pitch = size + k - 1;
    // Vectors of even columns come with the odd ones, and rows narrower than a vector overrun.
    let input = plane((size + k - 1) * pitch + 2 * stride * kernel.isa.lanes());
    let output = plane(out * out + kernel.isa.lanes());
    let mut weights = WeightsBuilder::expecting(0);
    let mut calls = Vec::new();
    let mut pairs = 0;
    for group in 0..groups {
        let (channels, filters) = (split(from, group, groups), split(to, group, groups));
        pairs += channels.len() * filters.len();
        let tap = |c: usize| (0..k * k).map(move |tap| (16 + c * input + tap / k * pitch + tap % k) as u32);
        let x = Planes::from(channels.clone().flat_map(tap).collect::<Vec<_>>());
        let tiles = filters.len().div_ceil(kernel.max_filters());
        for part in 0..tiles {
            let tile = split(filters.len(), part, tiles);
            let y = tile.clone().map(|f| (16 + from * input + (filters.start + f) * output) as u32);
            let spec = spatial::Spec {
                rows: out,
                columns: out,
                stride,
                x_step: stride * pitch,
                y_pitch: out,
                weights: weights.push(&some_weights(channels.len() * k * k * tile.len())),
                bias: weights.push(&some_weights(tile.len())),
                x: x.clone(),
                y: &y.collect::<Vec<_>>(),
                epilogue: RELU6,
            };
            calls.push(spatial::Call::new(kernel, spec).expect("a valid spec").into());
        }
    }
    let weight_count = pairs * k * k;
    let floats = from * size * size + to * out * out + weight_count + to;
    Layer::new(CallSet::new(calls).expect("independent calls"), weights, 2 * weight_count * out * out, floats)
}

/// The shape of an expansion and the 3x3 depthwise convolution behind it.
#[derive(Clone, Copy, Debug)]
pub struct Expansion {
    /// Channels.
    pub from: usize,
    /// Filters of the expansion, and channels of the depthwise convolution.
    pub to: usize,
    /// Rows and columns.
    pub size: usize,
    /// One or two.
    pub stride: usize,
    /// Equal groups of the expansion.
    pub groups: usize,
}

impl Expansion {
    /// Rows and columns of the output.
    const fn out(&self) -> usize {
        self.size.div_ceil(self.stride)
    }

    const fn input(&self) -> Image {
        Image { height: self.size, width: self.size, pitch: self.size }
    }

    fn output(&self) -> Image {
        Image { height: self.out(), width: self.out(), pitch: self.out() }
    }

    /// Of the layer, with these calls one after another.
    fn layer(&self, sets: Vec<CallSet>, weights: WeightsBuilder) -> Layer {
        let all = chain::Call::new(sets).expect("offsets in an arena");
        let calls = CallSet::new(vec![all.into()]).expect("one call");
        let Self { from, to, size, groups, .. } = *self;
        let (inputs, outputs) = (size * size, self.out() * self.out());
        let macs = (from / groups * inputs + 9 * outputs) * to;
        let floats = from * inputs + to * outputs + (from / groups + 11) * to;
        Layer::new(calls, weights, 2 * macs, floats)
    }

    /// Where inputs, outputs and the planes between them lie.
    fn places(&self) -> (impl Fn(usize) -> u32, impl Fn(usize) -> u32, impl Fn(usize) -> u32) {
        let (stride, y_stride) = (plane(self.size * self.size), plane(self.out() * self.out()));
        let between = 16 + self.from * stride;
        let y = between + self.to / self.groups * stride;
        let x = move |c: usize| (16 + c * stride) as u32;
        (x, move |f: usize| (y + f * y_stride) as u32, move |f: usize| (between + f * stride) as u32)
    }
}

/// Both in registers, group by group.
#[must_use]
pub fn expand(kernel: &'static expand::Kernel, shape: Expansion) -> Layer {
    let Expansion { from, to, groups, .. } = shape;
    let (x, y, _) = shape.places();
    let scratch = y(to);
    let mut weights = WeightsBuilder::expecting(0);
    let mut sets = Vec::new();
    for group in 0..groups {
        let (channels, filters) = (split(from, group, groups), split(to, group, groups));
        let spec = expand::Spec {
            input: shape.input(),
            output: shape.output(),
            stride: shape.stride,
            pad: 1,
            scratch,
            expansion: weights.push(&some_weights(channels.len() * filters.len())),
            expansion_bias: weights.push(&some_weights(filters.len())),
            between: RELU6.first,
            weights: weights.push(&some_weights(9 * filters.len())),
            bias: weights.push(&some_weights(filters.len())),
            x: channels.map(&x).collect::<Vec<_>>().into(),
            y: &filters.map(&y).collect::<Vec<_>>(),
            activation: RELU6.first,
        };
        let call = expand::Call::new(kernel, spec).expect("a valid spec");
        sets.push(CallSet::new(vec![call.into()]).expect("one call"));
    }
    shape.layer(sets, weights)
}

/// One after another, group by group.
#[must_use]
pub fn expand_apart(
    (pointwise, depthwise): (&'static pointwise::Kernel, &'static depthwise::Kernel),
    shape: Expansion,
) -> Layer {
    let Expansion { from, to, stride, groups, .. } = shape;
    let (x, y, between) = shape.places();
    let pixels = (shape.size * shape.size).next_multiple_of(pointwise.isa.lanes());
    let mut weights = WeightsBuilder::expecting(0);
    let mut sets = Vec::new();
    for group in 0..groups {
        let (channels, filters) = (split(from, group, groups), split(to, group, groups));
        let x = Planes::from(channels.map(&x).collect::<Vec<_>>());
        let tiles = filters.len().div_ceil(pointwise.max_filters());
        let mut calls = Vec::new();
        for part in 0..tiles {
            let tile = split(filters.len(), part, tiles);
            let spec = pointwise::Spec {
                pixels,
                weights: weights.push(&some_weights(x.offsets().len() * tile.len())),
                bias: weights.push(&some_weights(tile.len())),
                x: x.clone(),
                y: &tile.map(&between).collect::<Vec<_>>(),
                shift: 0,
                rows: None,
                panels: pointwise::Panels::None,
                epilogue: RELU6,
            };
            calls.push(pointwise::Call::new(pointwise, spec).expect("a valid spec").into());
        }
        sets.push(CallSet::new(calls).expect("independent calls"));
        let spec = depthwise::Spec {
            input: shape.input(),
            output: shape.output(),
            window: Window { kernel: [3; 2], stride: [stride; 2], dilation: [1; 2], pad: [1; 2] },
            odd: None,
            weights: weights.push(&some_weights(9 * filters.len())),
            bias: weights.push(&some_weights(filters.len())),
            x: (0..filters.len()).map(&between).collect::<Vec<_>>().into(),
            y: &filters.map(&y).collect::<Vec<_>>(),
            epilogue: RELU6,
        };
        let call = depthwise::Call::new(depthwise, spec).expect("a valid spec");
        sets.push(CallSet::new(vec![call.into()]).expect("one call"));
    }
    shape.layer(sets, weights)
}
