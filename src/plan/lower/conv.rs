//! Convolutions and fully connected layers.

use super::{Calls, Lower, Step, moved};
use crate::plan::{
    choose::{self, Method},
    net::{Conv, Group, Linear},
    order::sort_by_key,
    tune::Ways,
    value::{Lane, Value},
};
use flgc_kernels::{Activation, Call, CallError, CallSet, Image, Planes, Window, chain, depthwise, linear, spatial};
use std::borrow::Cow;

/// Most channels of a depthwise call: enough to amortise the call, few enough to share the work.
const DEPTHWISE_CHANNELS: usize = 16;

/// Tiles of filters that go through blocks of rows together: enough to use each block often, few enough to share the work.
const CHAINED_TILES: usize = 8;

/// A convolution with its weights as plain numbers: those of the file where it holds them as such.
pub(super) struct Stored<'a, 'm> {
    pub(super) conv: &'a Conv<'m>,
    weights: Cow<'m, [f32]>,
}

impl<'a, 'm> Stored<'a, 'm> {
    pub(super) fn new(conv: &'a Conv<'m>) -> Self {
        Self { conv, weights: conv.weight.numbers() }
    }

    /// The weights `[channels][taps]` of a filter of a group, and the factor to apply.
    pub(super) fn filter(&self, group: Group<'_>, filter: usize) -> (&[f32], f32) {
        let len = group.channels.len() * self.conv.taps();
        (&self.weights[group.start + filter * len..][..len], self.conv.factor(group.filters[filter]))
    }

    pub(super) fn bias(&self, group: Group<'_>, filter: usize) -> f32 {
        self.conv.bias[group.filters[filter] as usize]
    }
}

/// A group's filters that are computed, in the order of their output planes, and its channels, in the order of their input planes; numbered within the
/// group.
pub(super) struct Members {
    pub(super) filters: Vec<usize>,
    pub(super) channels: Vec<usize>,
}

/// Some filters of a convolution, packed: what their calls have in common.
pub(super) struct Packed {
    pub(super) weights: u32,
    pub(super) bias: u32,
    pub(super) acts: [Activation; 2],
    /// What they write.
    pub(super) outputs: Vec<Lane>,
}

impl Lower<'_, '_> {
    pub(super) fn conv(&mut self, step: &Step<'_>, conv: &Conv<'_>, calls: &mut Calls) -> Result<(), CallError> {
        let [_, _, h, w] = step.inputs[0].shape.nchw().unwrap_or([1; 4]);
        let method = choose::method(conv, [h, w]);
        let stored = Stored::new(conv);
        if method == Method::Depthwise {
            return self.depthwise(step, &stored, calls);
        }
        if let Some(winograd) = self.winograds.get(&step.storage) {
            return self.winograd(step, &stored, winograd, calls);
        }
        if let Some(deal) = self.deals.get(&step.storage) {
            return self.dealt(step, &stored, deal, calls);
        }
        if method == Method::Flat {
            return self.flat(step, &stored, calls);
        }
        let most = self.kernels.spatial.max_filters();
        let tiles = conv.groups.iter().map(|group| group.filters.len().div_ceil(most)).sum();
        for group in conv.groups.iter() {
            let members = self.members(step, group);
            match method {
                _ if members.filters.is_empty() => {}
                Method::Vector => self.vector(step, &stored, group, &members, calls)?,
                Method::Rows | Method::Flat | Method::Depthwise | Method::Winograd => {
                    self.rows(step, &stored, (group, &members), tiles, calls)?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn members(&self, step: &Step<'_>, group: Group<'_>) -> Members {
        let slots = &self.places.layouts[step.storage as usize].slots;
        let mut filters = Vec::with_capacity(group.filters.len());
        filters.extend((0..group.filters.len()).filter(|&f| self.live.is(step.storage, group.filters[f] as usize)));
        sort_by_key(&mut filters, |f| slots[group.filters[f] as usize].into());
        let lanes = step.inputs[0].lanes().unwrap_or_default();
        let mut channels: Vec<usize> = (0..group.channels.len()).collect();
        sort_by_key(&mut channels, |c| {
            let Lane { storage, channel } = lanes[group.channels[c] as usize];
            let slot = self.places.layouts[storage as usize].slots[channel as usize];
            u64::from(storage) << 32 | u64::from(slot)
        });
        Members { filters, channels }
    }

    /// The output lanes of some filters of a group.
    pub(super) fn outputs_of(step: &Step<'_>, group: Group<'_>, filters: &[usize]) -> Vec<Lane> {
        filters.iter().map(|&f| Lane { storage: step.storage, channel: group.filters[f] }).collect()
    }

    /// The address of each tap of a group, channel by channel.
    pub(super) fn taps(
        &self,
        step: &Step<'_>,
        conv: &Conv<'_>,
        group: Group<'_>,
        members: &Members,
        image: usize,
    ) -> Planes {
        let input = &step.inputs[0];
        let lanes = input.lanes().unwrap_or_default();
        let pitch = self.places.pitch(input) as i64;
        let ([k_h, k_w], [d_h, d_w], [top, left, ..]) = (conv.kernel, conv.dilation, conv.pad);
        let mut taps = Vec::with_capacity(members.channels.len() * conv.taps());
        for &c in &members.channels {
            let plane = i64::from(self.places.plane(lanes[group.channels[c] as usize], image));
            for i in 0..k_h {
                let row = (i * d_h) as i64 - top as i64;
                taps.extend((0..k_w).map(|j| (plane + row * pitch + (j * d_w) as i64 - left as i64) as u32));
            }
        }
        taps.into()
    }

    /// Some filters of a group, with weights `[channels][taps][filters]`.
    pub(super) fn pack(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        group: Group<'_>,
        members: &Members,
        filters: &[usize],
    ) -> Packed {
        let taps = stored.conv.taps();
        let sources: Vec<_> = filters.iter().map(|&f| stored.filter(group, f)).collect();
        let weights = self.weights.push_with(members.channels.len() * taps * filters.len(), |packed| {
            let rows = members.channels.iter().flat_map(|&c| c * taps..(c + 1) * taps);
            for (row, at) in packed.chunks_exact_mut(filters.len()).zip(rows) {
                for (weight, (source, factor)) in row.iter_mut().zip(&sources) {
                    *weight = source[at] * factor;
                }
            }
        });
        let bias = self.weights.push_with(filters.len(), |packed| {
            packed.iter_mut().zip(filters).for_each(|(bias, &f)| *bias = stored.bias(group, f));
        });
        let outputs = Self::outputs_of(step, group, filters);
        Packed { weights, bias, acts: self.acts(step, &outputs), outputs }
    }

    /// Floats of a step's input that wait in cache for its `tiles` of filters: `by_rule`, if nothing else is asked for.
    pub(super) fn cached(&mut self, step: &Step<'_>, tiles: usize, by_rule: usize) -> usize {
        let layer = &step.layer.name;
        let cached = self.asked.of(layer).block.unwrap_or(by_rule);
        if tiles > 1 {
            self.tuning.note(layer, Ways { block: Some(cached), ..Ways::default() });
        }
        cached
    }

    /// A group of a convolution row by row; all groups have `all_tiles` tiles of filters.
    fn rows(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        (group, members): (Group<'_>, &Members),
        all_tiles: usize,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let conv = stored.conv;
        let kernel = self.kernels.spatial;
        let [images, _, rows, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (x_step, y_pitch) =
            (conv.stride[0] * self.places.pitch(&step.inputs[0]), self.places.layouts[step.storage as usize].pitch);
        let tiles: Vec<_> = choose::tiles(members.filters.len(), kernel.max_filters()).collect();
        // Each tile of filters reads all of its inputs, so some rows wait in cache for all tiles.
        let cached = self.cached(step, tiles.len(), choose::CACHED_FLOATS);
        let block = choose::block_rows(rows, members.channels.len() * x_step, tiles.len(), cached);
        let block = choose::shared(block, [rows, 1], all_tiles, self.threads);
        let packed: Vec<Packed> =
            tiles.into_iter().map(|tile| self.pack(step, stored, group, members, &members.filters[tile])).collect();
        let call = |image: usize, x: &Planes, begin: usize, packed: &Packed| {
            let Packed { weights, bias, acts, ref outputs } = *packed;
            let mut epilogue = self.epilogue(step, acts, outputs, image);
            epilogue.residual = epilogue.residual.map(|residual| moved(&residual, begin * y_pitch));
            let y = self.planes_from(outputs, image, begin * y_pitch);
            let spec = spatial::Spec {
                rows: block.min(rows - begin),
                columns,
                stride: conv.stride[1],
                x_step,
                y_pitch,
                weights,
                bias,
                x: x.clone(),
                y: &y,
                epilogue,
            };
            spatial::Call::new(kernel, spec)
        };
        for image in 0..images {
            let x = self.taps(step, conv, group, members, image);
            let blocks: Vec<(usize, Planes)> =
                (0..rows).step_by(block).map(|begin| (begin, moved(&x, begin * x_step))).collect();
            if columns >= kernel.isa.lanes() {
                for (begin, x) in &blocks {
                    for packed in &packed {
                        calls.add(kernel.name, call(image, x, *begin, packed)?);
                    }
                }
                continue;
            }
            // The last row of a block overruns into the next block, which therefore has to come after it.
            for packed in packed.chunks(CHAINED_TILES) {
                let set = |(begin, x): &(usize, Planes)| {
                    let calls = packed.iter().map(|packed| Ok(call(image, x, *begin, packed)?.into()));
                    CallSet::new(calls.collect::<Result<Vec<Call>, CallError>>()?)
                };
                let sets = blocks.iter().map(set).collect::<Result<_, CallError>>()?;
                calls.add(kernel.name, chain::Call::new(sets)?);
            }
        }
        Ok(())
    }

    fn vector(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        group: Group<'_>,
        members: &Members,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let conv = stored.conv;
        let images = step.inputs[0].shape[0];
        let x: Vec<Planes> = (0..images).map(|image| self.taps(step, conv, group, members, image)).collect();
        let most = self.kernels.linear.max_filters();
        for tile in choose::tiles(members.filters.len(), most) {
            let filters = &members.filters[tile];
            let outputs = Self::outputs_of(step, group, filters);
            let read = |f: usize, begin: usize, row: &mut [f32]| {
                let (source, factor) = stored.filter(group, filters[f]);
                row.iter_mut().zip(&members.channels[begin..]).for_each(|(weight, &c)| *weight = source[c] * factor);
            };
            let bias: Vec<f32> = filters.iter().map(|&f| stored.bias(group, f)).collect();
            self.panel(step, &x, &outputs, (read, &bias), calls)?;
        }
        Ok(())
    }

    pub(super) fn linear(&mut self, step: &Step<'_>, linear: &Linear<'_>, calls: &mut Calls) -> Result<(), CallError> {
        let input = &step.inputs[0];
        let channels = input.shape[1];
        let x: Vec<Planes> = self.places.elements(input).chunks(channels).map(Planes::from).collect();
        let live = self.outputs(step);
        let most = self.kernels.linear.max_filters();
        for tile in choose::tiles(live.len(), most) {
            let outputs = &live[tile];
            let read = |f: usize, begin: usize, row: &mut [f32]| {
                let filter = outputs[f].channel as usize;
                linear.weight.read(filter * channels + begin, row);
                if let Some(scale) = &linear.scale {
                    row.iter_mut().for_each(|weight| *weight *= scale[filter]);
                }
            };
            let bias: Vec<f32> = outputs.iter().map(|output| linear.bias[output.channel as usize]).collect();
            self.panel(step, &x, outputs, (read, &bias), calls)?;
        }
        Ok(())
    }

    /// One panel of a matrix, a row for each output as [`interleave`] reads them, times the vector `x` of each image.
    fn panel(
        &mut self,
        step: &Step<'_>,
        x: &[Planes],
        outputs: &[Lane],
        (read, bias): (impl Fn(usize, usize, &mut [f32]), &[f32]),
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let kernel = self.kernels.linear;
        let (count, padded) = (outputs.len(), kernel.padded(outputs.len()));
        let len = x.first().map_or(0, |x| x.offsets().len());
        let weights = self.weights.push_with(len * padded, |packed| interleave(packed, padded, count, read));
        let bias = self.weights.push_with(padded, |packed| packed[..count].copy_from_slice(bias));
        let acts = self.acts(step, outputs);
        for (image, x) in x.iter().enumerate() {
            let epilogue = self.epilogue(step, acts, outputs, image);
            let spec = linear::Spec { weights, bias, x: x.clone(), y: &self.planes(outputs, image), epilogue };
            calls.add(kernel.name, linear::Call::new(kernel, spec)?);
        }
        Ok(())
    }

    fn depthwise(&mut self, step: &Step<'_>, stored: &Stored<'_, '_>, calls: &mut Calls) -> Result<(), CallError> {
        let kernel = self.kernels.depthwise;
        let input = &step.inputs[0];
        let lanes = input.lanes().unwrap_or_default();
        let sources = Sources::of(stored.conv);
        let outputs = self.outputs(step);
        for outputs in outputs.chunks(self.channels_of_call(outputs.len(), DEPTHWISE_CHANNELS)) {
            let Packed { weights, bias, acts, outputs } = self.pack_depthwise(step, stored, &sources, outputs);
            for image in 0..input.shape[0] {
                let plane = |lane: &Lane| self.places.plane(lanes[sources.channel(stored.conv, lane) as usize], image);
                let spec = depthwise::Spec {
                    input: self.image(input),
                    output: self.image(&step.output),
                    window: window(stored.conv),
                    odd: None,
                    weights,
                    bias,
                    x: outputs.iter().map(plane).collect(),
                    y: &self.planes(&outputs, image),
                    epilogue: self.epilogue(step, acts, &outputs, image),
                };
                calls.add(kernel.name, depthwise::Call::new(kernel, spec)?);
            }
        }
        Ok(())
    }

    /// Some filters of a depthwise convolution, with weights `[filters][taps]`.
    pub(super) fn pack_depthwise(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        sources: &Sources,
        outputs: &[Lane],
    ) -> Packed {
        let taps = stored.conv.taps();
        let weights = self.weights.push_with(outputs.len() * taps, |packed| {
            for (place, lane) in packed.chunks_exact_mut(taps).zip(outputs) {
                let (group, f) = sources.0[lane.channel as usize];
                let (source, factor) = stored.filter(stored.conv.groups.get(group), f);
                place.iter_mut().zip(source).for_each(|(place, weight)| *place = weight * factor);
            }
        });
        let bias: Vec<f32> = outputs.iter().map(|lane| stored.conv.bias[lane.channel as usize]).collect();
        let bias = self.weights.push(&bias);
        Packed { weights, bias, acts: self.acts(step, outputs), outputs: outputs.to_vec() }
    }

    /// The size of a value's planes.
    pub(super) fn image(&self, value: &Value) -> Image {
        let [.., height, width] = value.shape.nchw().unwrap_or([1; 4]);
        Image { height, width, pitch: self.places.pitch(value) }
    }
}

/// `packed[i][f]` is element `i` of row `f`, for `rows` rows, filled up to `width`, a multiple of four: as many as the kernels' vectors have lanes. `read` writes the
/// elements of a row from a place on.
fn interleave(packed: &mut [f32], width: usize, rows: usize, read: impl Fn(usize, usize, &mut [f32])) {
    /// Elements of each row that are dealt out together: what they are dealt to stays in the first cache.
    const BLOCK: usize = 64;
    let mut four = [[0.0; BLOCK]; 4];
    for (block, packed) in packed.chunks_mut(width * BLOCK).enumerate() {
        let len = packed.len() / width;
        for first in (0..rows).step_by(4) {
            for (row, f) in four.iter_mut().zip(first..rows) {
                read(f, block * BLOCK, &mut row[..len]);
            }
            let [a, b, c, d] = &four;
            for ((((packed, a), b), c), d) in packed.chunks_exact_mut(width).zip(a).zip(b).zip(c).zip(d) {
                packed[first..first + 4].copy_from_slice(&[*a, *b, *c, *d]);
            }
        }
    }
}

/// For each filter of a depthwise convolution its group, which has one channel, and its place in it.
pub(super) struct Sources(Vec<(usize, usize)>);

impl Sources {
    pub(super) fn of(conv: &Conv<'_>) -> Self {
        let mut sources = vec![(0, 0); conv.filters];
        for (index, group) in conv.groups.iter().enumerate() {
            for (f, &filter) in group.filters.iter().enumerate() {
                sources[filter as usize] = (index, f);
            }
        }
        Self(sources)
    }

    /// The channel that an output is made of.
    pub(super) fn channel(&self, conv: &Conv<'_>, output: &Lane) -> u32 {
        conv.groups.get(self.0[output.channel as usize].0).channels[0]
    }
}

/// The windows of a depthwise convolution.
pub(super) fn window(conv: &Conv<'_>) -> Window {
    Window { kernel: conv.kernel, stride: conv.stride, dilation: conv.dilation, pad: [conv.pad[0], conv.pad[1]] }
}
