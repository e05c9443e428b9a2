//! Convolutions by Winograd's method: inputs of tiles, products, outputs of tiles, block by block.

use super::{
    Calls, Lower, Step,
    conv::{Members, Stored},
};
use crate::plan::{choose, layout::distance, net::Group, value::Lane, winograd::Winograd};
use flgc_kernels::{
    Activation, CallError, Epilogue, Planes, pointwise,
    winograd::{self, Between, PLACES, SEGMENTS, input, output},
};
use std::ops::Range;

/// Channels or filters of a call before or behind the products: few enough for a vector of each place to stay in the first-level cache.
const PLANES: usize = 8;

/// A group, packed.
struct Packed<'a> {
    group: Group<'a>,
    members: Members,
    tiles: Vec<Range<usize>>,
    /// `[places][tiles][channels][filters of the tile]`
    weights: u32,
    /// The outputs in parts of some filters, each with its biases and activations.
    parts: Vec<(u32, [Activation; 2], Vec<Lane>)>,
}

impl Lower<'_, '_> {
    /// The calls of a convolution by Winograd's method.
    pub(super) fn winograd(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        winograd: &Winograd,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let most = self.kernels.pointwise.max_filters();
        let zeros = self.weights.push_with(most, |_| {});
        let mut groups = Vec::with_capacity(stored.conv.groups.len());
        for group in stored.conv.groups.iter() {
            let members = self.members(step, group);
            if !members.filters.is_empty() {
                groups.push(self.pack_winograd(step, stored, group, members, most));
            }
        }
        for image in 0..step.output.shape.nchw().map_or(1, |[images, ..]| images) {
            for segments in winograd.blocks() {
                for packed in &groups {
                    self.winograd_block(step, stored, winograd, (packed, zeros), (image, segments.clone()), calls)?;
                }
            }
        }
        Ok(())
    }

    fn pack_winograd<'a>(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        group: Group<'a>,
        members: Members,
        most: usize,
    ) -> Packed<'a> {
        let (channels, filters) = (members.channels.len(), members.filters.len());
        let tiles: Vec<_> = choose::tiles(filters, most).collect();
        let place = channels * filters;
        let weights = self.weights.push_with(PLACES * place, |packed| {
            for tile in &tiles {
                let sources: Vec<_> = tile.clone().map(|f| stored.filter(group, members.filters[f])).collect();
                for (c, &channel) in members.channels.iter().enumerate() {
                    for (f, (source, factor)) in sources.iter().enumerate() {
                        let g = std::array::from_fn(|tap| source[channel * 9 + tap] * factor);
                        let at = tile.start * channels + c * tile.len() + f;
                        for (place, weight) in packed[at..].iter_mut().step_by(place).zip(winograd::weights(&g)) {
                            *place = weight;
                        }
                    }
                }
            }
        });
        let mut parts = Vec::with_capacity(filters.div_ceil(PLANES));
        for part in members.filters.chunks(PLANES) {
            let bias = self.weights.push(&part.iter().map(|&f| stored.bias(group, f)).collect::<Vec<_>>());
            let outputs = Self::outputs_of(step, group, part);
            parts.push((bias, self.acts(step, &outputs), outputs));
        }
        Packed { group, members, tiles, weights, parts }
    }

    /// Some segments of a group.
    fn winograd_block(
        &self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        winograd: &Winograd,
        (packed, zeros): (&Packed<'_>, u32),
        (image, segments): (usize, Range<usize>),
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let (kernel, product) = (self.kernels.winograd, self.kernels.pointwise);
        let (channels, filters) = (packed.members.channels.len(), packed.members.filters.len());
        let (vectors, lanes) = (segments.len().div_ceil(SEGMENTS), kernel.isa.lanes());
        let floats = vectors * lanes;
        let base = self.places.scratch[&step.storage];
        let place = |planes: usize, vectors: usize| distance(planes * vectors * lanes);
        let has_panels = choose::winograd_has_panels(product.isa)
            && channels > 0
            && packed.tiles.iter().all(|tile| product.has_panels(tile.len()));
        let from = if has_panels {
            Between::panels(base as u32, place(channels, vectors.next_multiple_of(2)), channels, lanes)
        } else {
            Between::planes(base as u32, place(channels, vectors), vectors, lanes)
        };
        let to = Between::planes((base + winograd.from) as u32, place(filters, vectors), vectors, lanes);
        let from_plane =
            |planes: Between, plane: usize| Between { first: planes.first + (plane * planes.plane) as u32, ..planes };
        let [input, output] = [&step.inputs[0], &step.output].map(|value| self.image(value));

        let inputs = step.inputs[0].lanes().unwrap_or_default();
        let plane = |&c: &usize| self.places.plane(inputs[packed.group.channels[c] as usize], image);
        for (part, channels) in packed.members.channels.chunks(PLANES).enumerate() {
            let spec = input::Spec {
                input,
                output,
                pad: [stored.conv.pad[0], stored.conv.pad[1]],
                segments: segments.clone(),
                x: channels.iter().map(plane).collect(),
                y: from_plane(from, part * PLANES),
            };
            calls.add(kernel.name, input::Call::new(kernel, spec)?);
        }
        calls.barrier()?;

        let planes = |of: Between, place: usize, planes: Range<usize>| -> Vec<u32> {
            planes.map(|plane| of.first + (place * of.place + plane * of.plane) as u32).collect()
        };
        for place in 0..PLACES {
            // A vector that is left over lies in planes that begin as many pixels earlier.
            let Range { start, end } = product.beside_panels(floats);
            let behind = if start < end { from.later(start, lanes) } else { 0 };
            let x: Vec<u32> = planes(from, place, 0..channels).iter().map(|plane| plane + behind as u32).collect();
            let x = Planes::from(x);
            let panels = match has_panels {
                true => pointwise::Panels::Read(from.first + (place * from.place) as u32),
                false => pointwise::Panels::None,
            };
            for tile in &packed.tiles {
                let spec = pointwise::Spec {
                    pixels: floats,
                    weights: packed.weights + (channels * (place * filters + tile.start)) as u32,
                    bias: zeros,
                    x: x.clone(),
                    y: &planes(to, place, tile.clone()),
                    shift: 0,
                    rows: None,
                    panels,
                    epilogue: Epilogue::default(),
                };
                calls.add(product.name, pointwise::Call::new(product, spec)?);
            }
        }
        calls.barrier()?;

        for (part, (bias, acts, outputs)) in packed.parts.iter().enumerate() {
            let spec = output::Spec {
                output,
                segments: segments.clone(),
                x: from_plane(to, part * PLANES),
                bias: *bias,
                y: &self.planes(outputs, image),
                epilogue: self.epilogue(step, *acts, outputs, image),
            };
            calls.add(kernel.name, output::Call::new(kernel, spec)?);
        }
        calls.barrier()
    }
}
