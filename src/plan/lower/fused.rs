//! Runs of layers in bands of rows: for each part of the bands one call that goes through them.

use super::{
    Lower, Lowered, Step,
    conv::{Packed, Sources, Stored, window},
    dealt::{self, Block},
    moved,
};
use crate::plan::{
    choose,
    deal::Deal,
    fuse::{self, Band, Dealt, Head, Run},
    net::{Conv, Kind},
    value::Lane,
};
use flgc_kernels::{ALIGN, Call, CallError, CallSet, Epilogue, Image, Planes, chain, deal, depthwise, pointwise};
use std::{collections::BTreeSet, ops::Range};

/// Filters of the first step that are made at once, and the depthwise layer over them.
pub(super) struct Chunk {
    pub(super) first: First,
    pub(super) depthwise: Packed,
    /// The plane of scratch memory that each depthwise output reads.
    pub(super) sources: Vec<usize>,
}

/// How the filters of a chunk are made.
pub(super) enum First {
    /// Tiles of a group of an expansion, into scratch memory.
    Tiles(usize, Vec<Packed>),
    /// A group of an expansion, in registers; with weights `[filters][channels]`.
    InRegisters(usize, Packed),
    /// By the convolution with stride that the run begins with.
    Strided,
}

/// A run, packed: what its bands have in common.
pub(super) struct Fused<'a> {
    run: &'a Run,
    pub(super) first: &'a Step<'a>,
    pub(super) depthwise: &'a Step<'a>,
    project: &'a Step<'a>,
    /// What each group of the expansion reads, for each image.
    pub(super) inputs: Vec<Vec<Planes>>,
    /// The convolution with stride that the run begins with, if it does.
    strided: Option<Strided<'a>>,
    chunks: Vec<Chunk>,
    /// For each group of the projection the scratch planes that it reads, and its tiles.
    tiles: Vec<(Vec<usize>, Vec<Packed>)>,
    /// The scratch plane of each channel between the depthwise layer and the projection.
    made: &'a [u32],
}

/// The depthwise layer of a run, to be packed.
pub(super) struct Middle<'a, 'm> {
    pub(super) step: &'a Step<'m>,
    pub(super) stored: Stored<'a, 'm>,
    pub(super) sources: Sources,
    /// What it makes, and the channel of the first step that each reads.
    pub(super) outputs: Vec<(Lane, usize)>,
}

/// A convolution with stride, packed.
struct Strided<'a> {
    conv: &'a Conv<'a>,
    deal: &'a Deal,
    groups: Vec<dealt::Dealt<'a>>,
}

impl Lower<'_, '_> {
    /// The calls of a run.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub(in crate::plan) fn fused(&mut self, run: &Run) -> Result<Lowered, CallError> {
        let steps @ [first, depthwise, project] = &self.net.steps[run.steps()] else { unreachable!("three steps") };
        let Kind::Conv(conv) = &depthwise.layer.kind else { unreachable!("a convolution") };
        let (stored, sources) = (Stored::new(conv), Sources::of(conv));
        let lanes = depthwise.inputs[0].lanes().unwrap_or_default();
        let reads = |lane: Lane| (lane, lanes[sources.channel(conv, &lane) as usize].channel as usize);
        let outputs = self.outputs(depthwise).into_iter().map(reads).collect();
        let middle = Middle { step: depthwise, stored, sources, outputs };
        let mut strided = None;
        let chunks = match (&run.head, &first.layer.kind) {
            (&Head::Expansion { filters, .. }, _) => self.chunks(first, &middle, filters),
            (Head::InRegisters, Kind::Conv(conv)) => self.chunks_in_registers(first, &Stored::new(conv), &middle),
            (Head::Strided(deal), Kind::Conv(conv)) => {
                let groups = self.dealt_groups(first, &Stored::new(conv), deal);
                strided = Some(Strided { conv, deal, groups });
                let held = self.outputs(first);
                self.chunks_of(&middle, vec![(First::Strided, held)])
            }
            _ => unreachable!("a convolution"),
        };
        let made = &self.places.layouts[depthwise.storage as usize].slots;
        let tiles = self.tiles(project, usize::MAX).into_iter();
        let tiles = tiles.map(|(group, tiles)| (self.planes_of_group(project, group, made), tiles)).collect();
        let images = project.output.shape[0];
        let inputs = (0..images).map(|image| self.inputs(first, image)).collect();
        let fused = Fused { run, first, depthwise, project, inputs, strided, chunks, tiles, made };
        let mut sets = Vec::with_capacity(images + 1);
        for image in 0..images {
            let parts = 0..run.parts.len();
            let chain = |part| Ok(chain::Call::new(self.part(&fused, image, part)?)?.into());
            sets.push(CallSet::new(parts.map(chain).collect::<Result<Vec<Call>, CallError>>()?)?);
        }
        sets.extend(self.border(project.storage)?);
        let mut kernels = BTreeSet::new();
        kernels.extend(steps.iter().map(|step| self.kernel_in_bands(run, step)));
        Ok(Lowered { sets, kernels })
    }

    /// The name of the kernel that runs a step of a run.
    pub(in crate::plan) fn kernel_in_bands(&self, run: &Run, step: &Step<'_>) -> &'static str {
        let is_projection = step.storage == self.net.steps[run.first + 2].storage;
        match (&run.head, &step.layer.kind) {
            (Head::InRegisters, _) if !is_projection => self.kernels.expand.map_or("none", |kernel| kernel.name),
            _ if fuse::pointwise(step).is_some() => self.kernels.pointwise.name,
            (Head::Strided(deal), Kind::Conv(conv)) if !conv.is_depthwise() => self.kernel_of(deal),
            _ => self.kernels.depthwise.name,
        }
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

    /// An expansion in chunks of at most so many filters, in whole tiles.
    fn chunks(&mut self, expand: &Step<'_>, middle: &Middle<'_, '_>, filters: usize) -> Vec<Chunk> {
        let most = (filters / self.kernels.pointwise.max_filters()).max(1);
        let lists = self.tiles(expand, most);
        let firsts = lists.into_iter().map(|(group, tiles)| {
            let held = tiles.iter().flat_map(|tile| &tile.outputs).copied().collect();
            (First::Tiles(group, tiles), held)
        });
        self.chunks_of(middle, firsts.collect())
    }

    /// The depthwise layer over filters of the first step, each with the channels that it makes in scratch memory, in that order.
    fn chunks_of(&mut self, middle: &Middle<'_, '_>, firsts: Vec<(First, Vec<Lane>)>) -> Vec<Chunk> {
        let Middle { step, stored, sources, outputs } = middle;
        // For each channel of the first step its chunk, and its plane there.
        let channels = firsts.iter().flat_map(|(_, held)| held).map(|lane| lane.channel as usize + 1).max();
        let mut places = vec![None; channels.unwrap_or(0)];
        for (chunk, (_, held)) in firsts.iter().enumerate() {
            for (plane, lane) in held.iter().enumerate() {
                places[lane.channel as usize] = Some((chunk, plane));
            }
        }
        let mut parts: Vec<(Vec<Lane>, Vec<usize>)> = firsts.iter().map(|_| Default::default()).collect();
        for &(lane, channel) in outputs {
            if let Some(&Some((chunk, plane))) = places.get(channel) {
                parts[chunk].0.push(lane);
                parts[chunk].1.push(plane);
            }
        }
        let chunk = |((first, _), (outputs, planes)): ((First, _), (Vec<Lane>, Vec<usize>))| {
            let depthwise = self.pack_depthwise(step, stored, sources, &outputs);
            Chunk { first, depthwise, sources: planes }
        };
        firsts.into_iter().zip(parts).map(chunk).collect()
    }

    /// The sets of all bands of a part.
    fn part(&self, fused: &Fused<'_>, image: usize, part: usize) -> Result<Vec<CallSet>, CallError> {
        let Fused { run, first, depthwise, project, ref strided, ref chunks, .. } = *fused;
        let Kind::Conv(conv) = &depthwise.layer.kind else { return Ok(Vec::new()) };
        let [height, rows] = [first, depthwise].map(|step| self.places.dims[step.storage as usize][2]);
        let of_part = |step: &Step<'_>, len: usize| self.places.base[step.storage as usize] + part * len;
        let [begin, begin_of_made] = run.scratch();
        let begin = of_part(first, begin);
        let expanded = planes(begin, run.expanded.stride);
        let made = planes(of_part(depthwise, begin_of_made), run.made.stride);
        let mut sets = Vec::new();
        // The rows of the first step that the band before has left.
        let mut left = 0..0;
        for index in run.parts[part].clone() {
            let output = index * run.rows..rows.min((index + 1) * run.rows);
            let band = fuse::band(conv, height, output);
            if let Some(strided) = strided {
                self.strided_band(fused, strided, &band, &left, (image, begin), &mut sets)?;
                left = band.input.clone();
            }
            let mut last_group = None;
            for chunk in chunks {
                if let First::Tiles(group, tiles) = &chunk.first {
                    let begins = last_group.replace(*group) != Some(*group);
                    self.expand_band(fused, (*group, tiles, begins), &band, (image, begin), &mut sets)?;
                }
                let outputs = &chunk.depthwise.outputs;
                if outputs.is_empty() {
                    continue;
                }
                let y: Vec<u32> = outputs.iter().map(|lane| made(fused.made[lane.channel as usize] as usize)).collect();
                let call = match &chunk.first {
                    First::InRegisters(group, packed) => {
                        self.band_in_registers(fused, (*group, packed), chunk, &band, (image, begin), &y)?.into()
                    }
                    _ => self.depthwise_band(fused, chunk, &band, &expanded, &y)?.into(),
                };
                sets.push(CallSet::new(vec![call])?);
            }
            sets.push(self.project_band(project, fused, &band, image, &made)?);
        }
        Ok(sets)
    }

    /// The rows of `band` of a convolution with stride: those that are `left` in scratch memory move to its front, the others are made.
    fn strided_band(
        &self,
        fused: &Fused<'_>,
        strided: &Strided<'_>,
        band: &Band,
        left: &Range<usize>,
        (image, begin): (usize, usize),
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let Fused { run, first, .. } = *fused;
        let layout = &self.places.layouts[first.storage as usize];
        let Image { width, pitch, .. } = self.image(&first.output);
        let to = planes(begin, run.expanded.stride);
        let row = |row: usize, from: usize| ((row - from) * pitch) as u32;
        let mut rows = band.input.clone();
        if left.end > rows.start {
            let x = (0..layout.planes).map(|plane| to(plane) + row(rows.start, left.start)).collect();
            let spec = deal::Spec {
                rows: left.end - rows.start,
                columns: width,
                y_pitch: pitch,
                y_stride: run.expanded.stride,
                x: deal::Source::Arena { x, step: pitch, stride: 1, odd: None },
                y: to(0),
            };
            sets.push(CallSet::new(vec![deal::Call::new(self.kernels.deal, spec)?.into()])?);
            rows.start = left.end;
        }
        if rows.is_empty() {
            return Ok(());
        }
        let first_row = row(rows.start, band.input.start);
        let address = |lane: &Lane| to(layout.slots[lane.channel as usize] as usize) + first_row;
        let Strided { conv, deal, ref groups } = *strided;
        let block = Block { deal, base: begin + run.expanded.len, panels: None, image, rows, address: &address };
        self.dealt_rows(first, conv, groups, &block, sets)
    }

    /// The planes that each group of an expansion reads.
    fn inputs(&self, step: &Step<'_>, image: usize) -> Vec<Planes> {
        let Some(conv) = fuse::pointwise(step) else { return Vec::new() };
        conv.groups.iter().map(|group| self.taps(step, conv, group, &self.members(step, group), image)).collect()
    }

    /// The scratch planes that a group of the projection reads, of those that its channels have.
    fn planes_of_group(&self, step: &Step<'_>, group: usize, planes: &[u32]) -> Vec<usize> {
        let Some(conv) = fuse::pointwise(step) else { return Vec::new() };
        let (lanes, group) = (step.inputs[0].lanes().unwrap_or_default(), conv.groups.get(group));
        let channels = self.members(step, group).channels.into_iter();
        channels.map(|c| planes[lanes[group.channels[c] as usize].channel as usize] as usize).collect()
    }

    /// The rows of `band` of what a group of the expansion reads, dealt into scratch memory from `begin` on.
    fn deal_band(
        &self,
        step: &Step<'_>,
        inputs: &Planes,
        band: &Band,
        (dealt, begin): (&Dealt, usize),
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let Image { width, pitch, .. } = self.image(&step.inputs[0]);
        let x = moved(inputs, band.input.start * pitch);
        if x.offsets().is_empty() {
            return Ok(());
        }
        let spec = deal::Spec {
            rows: band.input.len(),
            columns: width.div_ceil(2),
            y_pitch: dealt.pitch,
            y_stride: dealt.scratch.stride,
            x: deal::Source::Arena { x, step: pitch, stride: 2, odd: Some(dealt.odd) },
            y: begin as u32,
        };
        sets.push(CallSet::new(vec![deal::Call::new(self.kernels.deal, spec)?.into()])?);
        Ok(())
    }

    /// The rows of `band` of some filters of a group of the expansion; `begins` says that they are the band's first of that group, so that its inputs are dealt first
    /// where that is so.
    fn expand_band(
        &self,
        fused: &Fused<'_>,
        (group, tiles, begins): (usize, &[Packed], bool),
        band: &Band,
        (image, begin): (usize, usize),
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let Fused { run, first: step, .. } = *fused;
        let inputs = &fused.inputs[image][group];
        let (x, pixels) = match run.dealt() {
            Some(dealt) => {
                let begin = begin + run.expanded.len;
                if begins {
                    self.deal_band(step, inputs, band, (dealt, begin), sets)?;
                }
                let x = (0..inputs.offsets().len()).map(planes(begin, dealt.scratch.stride)).collect();
                (x, band.input.len() * dealt.pitch)
            }
            None => {
                let run = self.run(step, band);
                (moved(inputs, run.start), run.len())
            }
        };
        let to = planes(begin, run.expanded.stride);
        let mut calls = Vec::with_capacity(tiles.len());
        let mut plane = 0;
        for tile in tiles {
            let y: Vec<u32> = (plane..plane + tile.outputs.len()).map(&to).collect();
            plane += y.len();
            let spec = pointwise::Spec {
                pixels,
                weights: tile.weights,
                bias: tile.bias,
                x: x.clone(),
                y: &y,
                shift: 0,
                rows: None,
                panels: pointwise::Panels::None,
                epilogue: Epilogue { first: tile.acts[0], residual: None, last: tile.acts[1] },
            };
            calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
        }
        sets.push(CallSet::new(calls)?);
        Ok(())
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
        let (first, step) = (fused.first, fused.depthwise);
        let Kind::Conv(conv) = &step.layer.kind else { unreachable!("a convolution") };
        let Packed { weights, bias, acts, .. } = &chunk.depthwise;
        let [input, output] = [first, step].map(|step| self.image(&step.output));
        let (pitch, odd, skip) = match &fused.run.head {
            Head::Strided(_) | Head::InRegisters => (input.pitch, None, 0),
            Head::Expansion { dealt: Some(dealt), .. } => (dealt.pitch, Some(dealt.odd), 0),
            // The first row lies behind the start of the first vector.
            Head::Expansion { dealt: None, .. } => {
                let begin = self.run(first, band).start;
                (input.pitch, None, (band.input.start * input.pitch - begin) as u32)
            }
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
            x: chunk.sources.iter().map(|&plane| from(plane) + skip).collect(),
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
        let Image { width, pitch, .. } = self.image(&step.output);
        let begin = band.output.start * pitch;
        let mut calls = Vec::new();
        let pixels = ((band.output.len() - 1) * pitch + width).next_multiple_of(self.kernels.pointwise.isa.lanes());
        for (planes, tiles) in &fused.tiles {
            let x: Planes = planes.iter().map(|&plane| from(plane)).collect();
            for tile in tiles {
                let mut epilogue = self.epilogue(step, tile.acts, &tile.outputs, image);
                epilogue.residual = epilogue.residual.map(|residual| moved(&residual, begin));
                let y = self.planes_from(&tile.outputs, image, begin);
                let spec = pointwise::Spec {
                    pixels,
                    weights: tile.weights,
                    bias: tile.bias,
                    x: x.clone(),
                    y: &y,
                    shift: 0,
                    rows: None,
                    // The depthwise layer has just written them.
                    panels: pointwise::Panels::None,
                    epilogue,
                };
                calls.push(pointwise::Call::new(self.kernels.pointwise, spec)?.into());
            }
        }
        CallSet::new(calls)
    }
}

/// The address of each of the planes from `begin` on.
fn planes(begin: usize, stride: usize) -> impl Fn(usize) -> u32 {
    move |plane| (begin + plane * stride) as u32
}
