//! Runs of layers in bands of rows: for each part of the bands one call that goes through them.

use super::{
    Lower, Lowered, Step,
    conv::{Packed, Sources, Stored, window},
    list, moved,
};
use crate::plan::{
    choose,
    fuse::{self, Band, Dealt, Run},
    net::Kind,
    value::Lane,
};
use flgc_kernels::{ALIGN, Call, CallError, CallSet, Epilogue, Image, Planes, chain, deal, depthwise, pointwise};
use std::{collections::BTreeMap, ops::Range};

/// Some filters of an expansion, which scratch memory holds at once, and the depthwise layer over them.
struct Chunk {
    /// The group of the expansion that they belong to.
    group: usize,
    /// Tiles of the expansion.
    tiles: Vec<Packed>,
    depthwise: Packed,
    /// The plane of scratch memory that each depthwise output reads.
    sources: Vec<usize>,
}

/// A run, packed: what its bands have in common.
struct Fused<'a> {
    run: &'a Run,
    expand: &'a Step<'a>,
    depthwise: &'a Step<'a>,
    project: &'a Step<'a>,
    chunks: Vec<Chunk>,
    /// The tiles of each group of the projection.
    tiles: Vec<(usize, Vec<Packed>)>,
    /// The scratch plane of each channel between the depthwise layer and the projection.
    made: BTreeMap<u32, usize>,
}

impl Lower<'_, '_> {
    /// The calls of a run.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub(in crate::plan) fn fused(&mut self, run: &Run) -> Result<Lowered, CallError> {
        let steps @ [expand, depthwise, project] = &self.net.steps[run.steps()] else { unreachable!("three steps") };
        let chunks = self.chunks(run, expand, depthwise);
        let tiles = self.tiles(project, usize::MAX);
        let made = self.outputs(depthwise).iter().enumerate().map(|(plane, lane)| (lane.channel, plane)).collect();
        let fused = Fused { run, expand, depthwise, project, chunks, tiles, made };
        let images = project.output.shape[0];
        let mut sets = Vec::with_capacity(images + 1);
        for image in 0..images {
            let parts = 0..run.parts.len();
            let chain = |part| Ok(chain::Call::new(self.part(&fused, image, part)?)?.into());
            sets.push(CallSet::new(parts.map(chain).collect::<Result<Vec<Call>, CallError>>()?)?);
        }
        sets.extend(self.border(project.storage)?);
        let kernels = steps.iter().map(|step| self.kernel_in_bands(step)).collect();
        Ok(Lowered { sets, kernels })
    }

    /// The name of the kernel that runs a step of a run.
    pub(in crate::plan) fn kernel_in_bands(&self, step: &Step<'_>) -> &'static str {
        if fuse::pointwise(step).is_some() { self.kernels.pointwise.name } else { self.kernels.depthwise.name }
    }

    /// The filters of a pointwise convolution, packed in tiles: groups with at most `most` of their tiles each.
    fn tiles(&mut self, step: &Step<'_>, most: usize) -> Vec<(usize, Vec<Packed>)> {
        let Some(conv) = fuse::pointwise(step) else { return Vec::new() };
        let stored = Stored::new(conv);
        let mut lists = Vec::new();
        for (index, group) in conv.groups.iter().enumerate() {
            let members = self.members(step, group);
            let tiles: Vec<_> = choose::tiles(members.filters.len(), self.kernels.pointwise.max_filters()).collect();
            for list in choose::tiles(tiles.len(), most) {
                let pack =
                    |tile: &Range<usize>| self.pack(step, &stored, group, &members, &members.filters[tile.clone()]);
                lists.push((index, tiles[list].iter().map(pack).collect()));
            }
        }
        lists
    }

    fn chunks(&mut self, run: &Run, expand: &Step<'_>, depthwise: &Step<'_>) -> Vec<Chunk> {
        let Kind::Conv(conv) = &depthwise.layer.kind else { return Vec::new() };
        let (stored, sources) = (Stored::new(conv), Sources::of(conv));
        let lanes = depthwise.inputs[0].lanes().unwrap_or_default();
        let outputs = self.outputs(depthwise);
        let most = (run.filters / self.kernels.pointwise.max_filters()).max(1);
        let mut chunks = Vec::new();
        for (group, tiles) in self.tiles(expand, most) {
            let planes: BTreeMap<u32, usize> =
                tiles.iter().flat_map(|tile| &tile.outputs).enumerate().map(|(i, lane)| (lane.channel, i)).collect();
            let plane = |lane: &Lane| planes.get(&lanes[sources.channel(conv, lane) as usize].channel).copied();
            let (outputs, planes): (Vec<Lane>, Vec<usize>) =
                outputs.iter().filter_map(|lane| Some((*lane, plane(lane)?))).unzip();
            let depthwise = self.pack_depthwise(depthwise, &stored, &sources, &outputs);
            chunks.push(Chunk { group, tiles, depthwise, sources: planes });
        }
        chunks
    }

    /// The sets of all bands of a part.
    fn part(&self, fused: &Fused<'_>, image: usize, part: usize) -> Result<Vec<CallSet>, CallError> {
        let Fused { run, expand, depthwise, project, ref chunks, .. } = *fused;
        let Kind::Conv(conv) = &depthwise.layer.kind else { return Ok(Vec::new()) };
        let [height, rows] = [expand, depthwise].map(|step| self.places.dims[step.storage as usize][2]);
        let of_part = |step: &Step<'_>, len: usize| self.places.base[step.storage as usize] + part * len;
        let planes = |begin: usize, stride: usize| move |plane: usize| (begin + plane * stride) as u32;
        let [begin, begin_of_made] = run.scratch();
        let begin = of_part(expand, begin);
        let expanded = planes(begin, run.expanded.stride);
        let made = planes(of_part(depthwise, begin_of_made), run.made.stride);
        let mut sets = Vec::new();
        for index in run.parts[part].clone() {
            let output = index * run.rows..rows.min((index + 1) * run.rows);
            let band = fuse::band(conv, height, output);
            let mut dealt_group = None;
            for chunk in chunks {
                let x = match &run.dealt {
                    Some(dealt) => {
                        let begin = begin + run.expanded.len;
                        if dealt_group.replace(chunk.group) != Some(chunk.group) {
                            self.deal_band(expand, chunk.group, &band, image, (dealt, begin), &mut sets)?;
                        }
                        list((0..self.channels(expand, chunk.group)).map(planes(begin, dealt.scratch.stride)).collect())
                    }
                    None => moved(&self.sources(expand, chunk.group, image), self.run(expand, &band).start),
                };
                sets.push(self.expand_band(fused, chunk, &band, &x, &expanded)?);
                let outputs = &chunk.depthwise.outputs;
                if !outputs.is_empty() {
                    let y: Vec<u32> = outputs.iter().map(|lane| made(fused.made[&lane.channel])).collect();
                    let call = self.depthwise_band(fused, chunk, &band, &expanded, &y)?;
                    sets.push(CallSet::new(vec![call.into()])?);
                }
            }
            sets.push(self.project_band(project, fused, &band, image, &made)?);
        }
        Ok(sets)
    }

    /// How many channels a group of the expansion reads.
    fn channels(&self, step: &Step<'_>, group: usize) -> usize {
        fuse::pointwise(step).map_or(0, |conv| conv.groups.get(group).channels.len())
    }

    /// The planes that a group of the expansion reads.
    fn sources(&self, step: &Step<'_>, group: usize, image: usize) -> Planes {
        let Some(conv) = fuse::pointwise(step) else { return list(Vec::new()) };
        let group = conv.groups.get(group);
        self.taps(step, conv, group, &self.members(step, group), image)
    }

    /// The rows of `band` of what a group of the expansion reads, dealt into scratch memory from `begin` on.
    fn deal_band(
        &self,
        step: &Step<'_>,
        group: usize,
        band: &Band,
        image: usize,
        (dealt, begin): (&Dealt, usize),
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let Image { width, pitch, .. } = self.image(&step.inputs[0]);
        let x = moved(&self.sources(step, group, image), band.input.start * pitch);
        if x.offsets().is_empty() {
            return Ok(());
        }
        let spec = deal::Spec {
            rows: band.input.len(),
            columns: width.div_ceil(2),
            stride: 2,
            x_step: pitch,
            y_pitch: dealt.pitch,
            y_stride: dealt.scratch.stride,
            odd: Some(dealt.odd),
            x,
            y: begin as u32,
        };
        sets.push(CallSet::new(vec![deal::Call::new(self.kernels.deal, spec)?.into()])?);
        Ok(())
    }

    /// The rows of `band` of the expansion, for the filters of a chunk, from its planes `x`.
    fn expand_band(
        &self,
        fused: &Fused<'_>,
        chunk: &Chunk,
        band: &Band,
        x: &Planes,
        to: &impl Fn(usize) -> u32,
    ) -> Result<CallSet, CallError> {
        let pixels = match &fused.run.dealt {
            Some(dealt) => band.input.len() * dealt.pitch,
            None => self.run(fused.expand, band).len(),
        };
        let mut calls = Vec::with_capacity(chunk.tiles.len());
        let mut plane = 0;
        for tile in &chunk.tiles {
            let y: Vec<u32> = (plane..plane + tile.outputs.len()).map(to).collect();
            plane += y.len();
            let spec = pointwise::Spec {
                pixels,
                weights: tile.weights,
                bias: tile.bias,
                x: x.clone(),
                y: &y,
                shift: 0,
                rows: None,
                epilogue: Epilogue { first: tile.acts[0], residual: None, last: tile.acts[1] },
            };
            calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
        }
        CallSet::new(calls)
    }

    /// The floats of each of the expansion's planes that hold the rows that a band reads: whole vectors from the plane's start.
    fn run(&self, step: &Step<'_>, band: &Band) -> Range<usize> {
        let [.., width] = self.places.dims[step.storage as usize];
        let pitch = self.places.layouts[step.storage as usize].pitch;
        let end = (band.input.end - 1) * pitch + width;
        band.input.start * pitch / ALIGN * ALIGN..end.next_multiple_of(self.kernels.pointwise.isa.lanes())
    }

    fn depthwise_band(
        &self,
        fused: &Fused<'_>,
        chunk: &Chunk,
        band: &Band,
        from: &impl Fn(usize) -> u32,
        y: &[u32],
    ) -> Result<depthwise::Call, CallError> {
        let (expand, step) = (fused.expand, fused.depthwise);
        let Kind::Conv(conv) = &step.layer.kind else { unreachable!("a convolution") };
        let Packed { weights, bias, acts, .. } = &chunk.depthwise;
        let [input, output] = [expand, step].map(|step| self.image(&step.output));
        let (pitch, odd, skip) = match &fused.run.dealt {
            Some(dealt) => (dealt.pitch, Some(dealt.odd), 0),
            // The first row lies behind the start of the first vector.
            None => (input.pitch, None, (band.input.start * input.pitch - self.run(expand, band).start) as u32),
        };
        let mut window = window(conv);
        window.pad[0] = band.pad;
        let spec = depthwise::Spec {
            input: Image { height: band.input.len(), pitch, ..input },
            output: Image { height: band.output.len(), ..output },
            window,
            odd,
            weights: *weights,
            bias: *bias,
            x: list(chunk.sources.iter().map(|&plane| from(plane) + skip).collect()),
            y,
            epilogue: Epilogue { first: acts[0], residual: None, last: acts[1] },
        };
        depthwise::Call::new(self.kernels.depthwise, spec)
    }

    /// The rows of `band` of the projection.
    fn project_band(
        &self,
        step: &Step<'_>,
        fused: &Fused<'_>,
        band: &Band,
        image: usize,
        from: &impl Fn(usize) -> u32,
    ) -> Result<CallSet, CallError> {
        let Some(conv) = fuse::pointwise(step) else { return CallSet::new(Vec::new()) };
        let lanes = step.inputs[0].lanes().unwrap_or_default();
        let Image { width, pitch, .. } = self.image(&step.output);
        let begin = band.output.start * pitch;
        let mut calls = Vec::new();
        let pixels = ((band.output.len() - 1) * pitch + width).next_multiple_of(self.kernels.pointwise.isa.lanes());
        for (group, tiles) in &fused.tiles {
            let group = conv.groups.get(*group);
            let channels = self.members(step, group).channels;
            let plane = |&c: &usize| from(fused.made[&lanes[group.channels[c] as usize].channel]);
            let x = list(channels.iter().map(plane).collect());
            for tile in tiles {
                let mut epilogue = self.epilogue(step, tile.acts, &tile.outputs, image);
                epilogue.residual = epilogue.residual.map(|residual| moved(&residual, begin));
                let y = moved(&list(self.planes(&tile.outputs, image)), begin);
                let spec = pointwise::Spec {
                    pixels,
                    weights: tile.weights,
                    bias: tile.bias,
                    x: x.clone(),
                    y: y.offsets(),
                    shift: 0,
                    rows: None,
                    epilogue,
                };
                calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
            }
        }
        CallSet::new(calls)
    }
}
