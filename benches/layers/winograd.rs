//! Dense 3x3 convolutions by Winograd's method.

use super::{Layer, RELU6, plane, some_weights, split};
use flgc_kernels::{
    Call, CallSet, Epilogue, Image, Planes, WeightsBuilder, chain, pointwise,
    winograd::{self, Between, PLACES, SEGMENTS},
};
use std::ops::Range;

/// `channels` planes of `size x size` to as many by a dense 3x3 convolution, all tiles of Winograd's method at once; the operations are those of the direct one.
#[must_use]
pub fn by_tiles(
    (kernel, product): (&'static winograd::Kernel, &'static pointwise::Kernel),
    [channels, size]: [usize; 2],
) -> Layer {
    let image = Image { height: size, width: size, pitch: size };
    let segments = 0..kernel.segments(size, size);
    let (vectors, lanes) = (segments.len().div_ceil(SEGMENTS), kernel.isa.lanes());
    let floats = vectors * lanes;
    let stride = plane(size * size);
    let planes = |first: usize| (0..channels).map(|c| (16 + (first + c) * stride) as u32).collect::<Vec<_>>();
    let place = plane(channels * vectors.next_multiple_of(2) * lanes) | 16;
    let first = 16 + 2 * channels * stride;
    let tiles = channels.div_ceil(product.max_filters());
    let has_panels = product.has_panels(channels / tiles);
    let from = match has_panels {
        true => Between::panels(first as u32, place, channels, lanes),
        false => Between::planes(first as u32, place, vectors, lanes),
    };
    let to = Between::planes((first + PLACES * place) as u32, place, vectors, lanes);
    let mut weights = WeightsBuilder::expecting(0);
    let spec = winograd::input::Spec {
        input: image,
        output: image,
        pad: [1, 1],
        segments: segments.clone(),
        x: planes(0).into(),
        y: from,
    };
    let before: Call = winograd::input::Call::new(kernel, spec).expect("a valid spec").into();
    let zeros = weights.push(&[0.0; 16]);
    let mut products = Vec::new();
    for k in 0..PLACES {
        let at = |of: Between, planes: Range<usize>| -> Vec<u32> {
            planes.map(|plane| of.first + (k * place + plane * of.plane) as u32).collect()
        };
        // A vector that is left over lies in planes that begin as many pixels earlier.
        let Range { start, end } = product.beside_panels(floats);
        let behind = if start < end { from.later(start, lanes) } else { 0 };
        let x: Planes = at(from, 0..channels).iter().map(|plane| plane + behind as u32).collect();
        let panels = match has_panels {
            true => pointwise::Panels::Read(from.first + (k * place) as u32),
            false => pointwise::Panels::None,
        };
        for tile in 0..tiles {
            let tile = split(channels, tile, tiles);
            let spec = pointwise::Spec {
                pixels: floats,
                weights: weights.push(&some_weights(channels * tile.len())),
                bias: zeros,
                x: x.clone(),
                y: &at(to, tile),
                shift: 0,
                rows: None,
                panels,
                epilogue: Epilogue::default(),
            };
            products.push(pointwise::Call::new(product, spec).expect("a valid spec").into());
        }
    }
    let bias = weights.push(&some_weights(channels));
    let y = planes(channels);
    let spec = winograd::output::Spec { output: image, segments, x: to, bias, y: &y, epilogue: RELU6 };
    let behind: Call = winograd::output::Call::new(kernel, spec).expect("a valid spec").into();
    let sets = [vec![before], products, vec![behind]].map(|calls| CallSet::new(calls).expect("independent calls"));
    let all = chain::Call::new(sets.into()).expect("offsets in an arena");
    let calls = CallSet::new(vec![all.into()]).expect("one call");
    let floats = 2 * channels * size * size + PLACES * channels * channels + channels;
    Layer::new(calls, weights, 2 * channels * channels * 9 * size * size, floats)
}
