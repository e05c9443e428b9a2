//! Layers that are no convolutions.

use super::{Layer, plane, some_weights, split};
use flgc_kernels::{Activation, CallSet, Epilogue, Image, Planes, WeightsBuilder, Window, elementwise, linear, pool};

/// Where planes of `pixels` lie, from plane `first` on.
fn planes(pixels: usize, first: usize, count: usize) -> Vec<u32> {
    (first..first + count).map(|index| (16 + index * plane(pixels)) as u32).collect()
}

/// `from` numbers to `to` by a matrix, in panels.
#[must_use]
pub fn linear(kernel: &'static linear::Kernel, [from, to]: [usize; 2]) -> Layer {
    let mut weights = WeightsBuilder::expecting(0);
    let x = Planes::from((16..).take(from).collect::<Vec<u32>>());
    let tiles = to.div_ceil(kernel.max_filters());
    let mut calls = Vec::new();
    for part in 0..tiles {
        let tile = split(to, part, tiles);
        let padded = kernel.padded(tile.len());
        let spec = linear::Spec {
            weights: weights.push(&some_weights(from * padded)),
            bias: weights.push(&some_weights(padded)),
            x: x.clone(),
            y: &tile.map(|f| (16 + from + f) as u32).collect::<Vec<_>>(),
            epilogue: Epilogue::default(),
        };
        calls.push(linear::Call::new(kernel, spec).expect("a valid spec").into());
    }
    let calls = CallSet::new(calls).expect("independent calls");
    Layer::new(calls, weights, 2 * from * to, from + to + from * to + to)
}

/// The largest of `k x k` pixels in `channels` planes of `size x size`, padded to keep the size but for the stride; a comparison is an operation.
#[must_use]
pub fn max_pool(kernel: &'static pool::Kernel, [channels, size, k, stride]: [usize; 4]) -> Layer {
    let out = size.div_ceil(stride);
    let image = |size: usize| Image { height: size, width: size, pitch: size };
    let y: Vec<u32> =
        planes(out * out, 0, channels).iter().map(|y| y + (channels * plane(size * size)) as u32).collect();
    let spec = pool::Spec {
        op: pool::Op::Max,
        input: image(size),
        output: image(out),
        window: Window { kernel: [k; 2], stride: [stride; 2], dilation: [1; 2], pad: [k / 2; 2] },
        x: planes(size * size, 0, channels).into(),
        y: &y,
    };
    let call = pool::Call::new(kernel, spec).expect("a valid spec");
    let calls = CallSet::new(vec![call.into()]).expect("one call");
    let floats = channels * (size * size + out * out);
    Layer::new(calls, WeightsBuilder::expecting(0), channels * out * out * k * k, floats)
}

/// The mean of `channels` planes of `size x size`.
#[must_use]
pub fn global_pool(kernel: &'static pool::Kernel, [channels, size]: [usize; 2]) -> Layer {
    let input = Image { height: size, width: size, pitch: size };
    let behind = 16 + channels * plane(size * size);
    let spec = pool::GlobalSpec {
        average: true,
        input,
        x: planes(size * size, 0, channels).into(),
        y: &(behind..).take(channels).map(|y| y as u32).collect::<Vec<_>>(),
    };
    let call = pool::Call::global(kernel, spec).expect("a valid spec");
    let calls = CallSet::new(vec![call.into()]).expect("one call");
    let floats = channels * (size * size + 1);
    Layer::new(calls, WeightsBuilder::expecting(0), channels * size * size, floats)
}

/// The sum of two values of `channels` planes of `pixels`, clamped from below.
#[must_use]
pub fn add(kernel: &'static elementwise::Kernel, [channels, pixels]: [usize; 2]) -> Layer {
    let spec = elementwise::Spec {
        pixels: pixels.next_multiple_of(kernel.isa.lanes()),
        op: elementwise::Op::Add(planes(pixels, channels, channels).into()),
        x: planes(pixels, 0, channels).into(),
        y: &planes(pixels, 2 * channels, channels),
        activation: Activation::Clamp { lo: 0.0, hi: f32::INFINITY },
    };
    let call = elementwise::Call::new(kernel, spec).expect("a valid spec");
    let calls = CallSet::new(vec![call.into()]).expect("one call");
    Layer::new(calls, WeightsBuilder::expecting(0), channels * pixels, 3 * channels * pixels)
}
