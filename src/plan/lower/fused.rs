//! Runs of layers in bands of rows: for each part of the bands one call that goes through them.

use super::{
    Lower, Lowered, Step,
    conv::{Packed, Sources, Stored, window},
    list, moved,
};
use crate::plan::{
    choose,
    fuse::{self, Band, Run, Scratch},
    net::Kind,
    value::Lane,
};
use flgc_kernels::{ALIGN, Call, CallError, CallSet, Epilogue, Image, chain, depthwise, pointwise};
use std::collections::BTreeMap;

/// Some filters of an expansion, which scratch memory holds at once, and the depthwise layer over them.
struct Chunk {
    /// Tiles of the expansion, with the group that each reads.
    tiles: Vec<(usize, Packed)>,
    depthwise: Packed,
    /// The plane of scratch memory that each depthwise output reads.
    sources: Vec<usize>,
}

/// A run, packed: what its bands have in common.
struct Fused<'a> {
    run: &'a Run,
    steps: [&'a Step<'a>; 3],
    chunks: Vec<Chunk>,
    /// Tiles of the projection, with the group that each reads.
    tiles: Vec<(usize, Packed)>,
    /// The scratch plane of each channel between the depthwise layer and the projection.
    made: BTreeMap<u32, usize>,
}

impl Lower<'_, '_> {
    /// The calls of a run of three steps.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub(in crate::plan) fn fused(&mut self, run: &Run) -> Result<Lowered, CallError> {
        let net = self.net;
        let [expand, depthwise, project] = &net.steps[run.first..run.first + 3] else { unreachable!("three steps") };
        let steps = [expand, depthwise, project];
        let chunks = self.chunks(run, expand, depthwise);
        let tiles =
            self.tiles(project, |filters, kernel| choose::tiles(filters, kernel).map(|tile| vec![tile]).collect());
        let tiles = tiles.into_iter().flatten().collect();
        let made = self.outputs(depthwise).iter().enumerate().map(|(plane, lane)| (lane.channel, plane)).collect();
        let fused = Fused { run, steps, chunks, tiles, made };
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

    /// The filters of a pointwise convolution, packed in tiles, which `split` collects: a list of tiles for each part of a group's filters.
    fn tiles(
        &mut self,
        step: &Step<'_>,
        split: impl Fn(usize, usize) -> Vec<Vec<std::ops::Range<usize>>>,
    ) -> Vec<Vec<(usize, Packed)>> {
        let Some(conv) = fuse::pointwise(step) else { return Vec::new() };
        let stored = Stored::new(conv);
        let mut parts = Vec::new();
        for (index, group) in conv.groups.iter().enumerate() {
            let members = self.members(step, group);
            for tiles in split(members.filters.len(), self.kernels.pointwise.max_filters()) {
                let pack = |tile| (index, self.pack(step, &stored, group, &members, &members.filters[tile]));
                parts.push(tiles.into_iter().map(pack).collect());
            }
        }
        parts
    }

    fn chunks(&mut self, run: &Run, expand: &Step<'_>, depthwise: &Step<'_>) -> Vec<Chunk> {
        let Kind::Conv(conv) = &depthwise.layer.kind else { return Vec::new() };
        let (stored, sources) = (Stored::new(conv), Sources::of(conv));
        let lanes = depthwise.inputs[0].lanes().unwrap_or_default();
        let outputs = self.outputs(depthwise);
        let split = |filters: usize, most: usize| {
            let within = |chunk: std::ops::Range<usize>| {
                choose::tiles(chunk.len(), most).map(move |tile| chunk.start + tile.start..chunk.start + tile.end)
            };
            choose::tiles(filters, run.filters).map(|chunk| within(chunk).collect()).collect()
        };
        let mut chunks = Vec::new();
        for tiles in self.tiles(expand, split) {
            let planes: BTreeMap<u32, usize> = tiles
                .iter()
                .flat_map(|(_, tile)| &tile.outputs)
                .enumerate()
                .map(|(i, lane)| (lane.channel, i))
                .collect();
            let plane = |lane: &Lane| planes.get(&lanes[sources.channel(conv, lane) as usize].channel).copied();
            let (outputs, planes): (Vec<Lane>, Vec<usize>) =
                outputs.iter().filter_map(|lane| Some((*lane, plane(lane)?))).unzip();
            let depthwise = self.pack_depthwise(depthwise, &stored, &sources, &outputs);
            chunks.push(Chunk { tiles, depthwise, sources: planes });
        }
        chunks
    }

    /// The sets of all bands of a part.
    fn part(&self, fused: &Fused<'_>, image: usize, part: usize) -> Result<Vec<CallSet>, CallError> {
        let [expand, depthwise, project] = fused.steps;
        let Kind::Conv(conv) = &depthwise.layer.kind else { return Ok(Vec::new()) };
        let [height, rows] = [expand, depthwise].map(|step| self.places.dims[step.storage as usize][2]);
        let scratch = |step: &Step<'_>, Scratch { stride, len }: Scratch| {
            let begin = self.places.base[step.storage as usize] + part * len;
            move |plane: usize| (begin + plane * stride) as u32
        };
        let expanded = scratch(expand, fused.run.scratch[0]);
        let made = scratch(depthwise, fused.run.scratch[1]);
        let mut sets = Vec::new();
        for index in fused.run.parts[part].clone() {
            let output = index * fused.run.rows..rows.min((index + 1) * fused.run.rows);
            let band = fuse::band(conv, height, output);
            for chunk in &fused.chunks {
                sets.push(self.expand_band(expand, chunk, &band, image, &expanded)?);
                let mut calls = Vec::with_capacity(1);
                if !chunk.sources.is_empty() {
                    calls.push(self.depthwise_band(fused, chunk, &band, &expanded, &made)?.into());
                }
                sets.push(CallSet::new(calls)?);
            }
            sets.push(self.project_band(project, fused, &band, image, &made)?);
        }
        Ok(sets)
    }

    /// The rows of `band` of the expansion, for the filters of a chunk.
    fn expand_band(
        &self,
        step: &Step<'_>,
        chunk: &Chunk,
        band: &Band,
        image: usize,
        to: &impl Fn(usize) -> u32,
    ) -> Result<CallSet, CallError> {
        let Some(conv) = fuse::pointwise(step) else { return CallSet::new(Vec::new()) };
        let run = self.run(step, band);
        let mut calls = Vec::with_capacity(chunk.tiles.len());
        let mut plane = 0;
        for (group, tile) in &chunk.tiles {
            let group = &conv.groups[*group];
            let members = self.members(step, group);
            let y: Vec<u32> = (plane..plane + tile.outputs.len()).map(to).collect();
            plane += y.len();
            let spec = pointwise::Spec {
                pixels: run.len(),
                weights: tile.weights,
                bias: tile.bias,
                x: moved(&self.taps(step, conv, group, &members, image), run.start),
                y: &y,
                shift: 0,
                epilogue: Epilogue { first: tile.acts[0], residual: None, last: tile.acts[1] },
            };
            calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
        }
        CallSet::new(calls)
    }

    /// The floats of each of the expansion's planes that hold the rows that a band reads: whole vectors from the plane's start.
    fn run(&self, step: &Step<'_>, band: &Band) -> std::ops::Range<usize> {
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
        to: &impl Fn(usize) -> u32,
    ) -> Result<depthwise::Call, CallError> {
        let [expand, step, _] = fused.steps;
        let Kind::Conv(conv) = &step.layer.kind else { unreachable!("a convolution") };
        let Packed { weights, bias, acts, outputs } = &chunk.depthwise;
        let [input, output] = [expand, step].map(|step| self.image(&step.output));
        // The first row lies behind the start of the first vector.
        let skip = (band.input.start * input.pitch - self.run(expand, band).start) as u32;
        let mut window = window(conv);
        window.pad[0] = band.pad;
        let spec = depthwise::Spec {
            input: Image { height: band.input.len(), ..input },
            output: Image { height: band.output.len(), ..output },
            window,
            weights: *weights,
            bias: *bias,
            x: list(chunk.sources.iter().map(|&plane| from(plane) + skip).collect()),
            y: &outputs.iter().map(|lane| to(fused.made[&lane.channel])).collect::<Vec<_>>(),
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
        let mut calls = Vec::with_capacity(fused.tiles.len());
        for (group, tile) in &fused.tiles {
            let group = &conv.groups[*group];
            let channels = self.members(step, group).channels;
            let plane = |&c: &usize| from(fused.made[&lanes[group.channels[c] as usize].channel]);
            let mut epilogue = self.epilogue(step, tile.acts, &tile.outputs, image);
            epilogue.residual = epilogue.residual.map(|residual| moved(&residual, begin));
            let y = moved(&list(self.planes(&tile.outputs, image)), begin);
            let spec = pointwise::Spec {
                pixels: ((band.output.len() - 1) * pitch + width).next_multiple_of(self.kernels.pointwise.isa.lanes()),
                weights: tile.weights,
                bias: tile.bias,
                x: list(channels.iter().map(plane).collect()),
                y: y.offsets(),
                shift: 0,
                epilogue,
            };
            calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
        }
        CallSet::new(calls)
    }
}
