//! Convolutions whose rows lie alike in inputs and outputs: tiles of filters over blocks of pixels of whole planes.

use super::{
    Calls, Lower, Step, blocks,
    conv::{Members, Packed, Stored},
    panels_of, run_of, share_panels,
};
use crate::plan::{choose, net::Group, panels::Panels};
use flgc_kernels::{Call, CallError, CallSet, Epilogue, Planes, chain, pointwise};
use std::ops::Range;

/// What runs of pixels that threads share are a multiple of: whole vectors, and whole cache lines.
const SHARED_PIXELS: usize = 64;

/// A group, packed.
struct Flat<'a> {
    group: Group<'a>,
    members: Members,
    /// Each with the share of the work that it belongs to.
    tiles: Vec<(usize, Packed)>,
    rows: Option<pointwise::Rows>,
    /// Pixels of a plane, with those between its rows.
    exact: usize,
    /// Pixels of a block.
    block: usize,
    /// Whether its inputs are copied into panels.
    has_panels: bool,
}

/// A group of an image.
struct Image<'a> {
    flat: &'a Flat<'a>,
    x: Planes,
    /// Of each tile of filters.
    outputs: Vec<(Vec<u32>, Epilogue)>,
}

/// Tiles of filters, of one share of the work, over a block.
struct Unit<'a> {
    image: &'a Image<'a>,
    pixels: Range<usize>,
    tiles: Range<usize>,
}

impl<'a> Image<'a> {
    fn units(&'a self, lanes: usize) -> impl Iterator<Item = Unit<'a>> {
        let Flat { exact, block, ref tiles, .. } = *self.flat;
        blocks(exact, block, lanes).flat_map(move |pixels| {
            let mut end = 0;
            tiles.chunk_by(|(a, _), (b, _)| a == b).map(move |of_share| {
                end += of_share.len();
                Unit { image: self, pixels: pixels.clone(), tiles: end - of_share.len()..end }
            })
        })
    }
}

impl Unit<'_> {
    fn share(&self) -> usize {
        self.image.flat.tiles[self.tiles.start].0
    }

    /// Whether its tiles can share panels.
    fn shares_panels(&self, kernel: &pointwise::Kernel) -> bool {
        share_panels(kernel, self.image.outputs[self.tiles.clone()].iter().map(|(y, _)| y.len()))
    }

    /// Multiply-adds.
    fn cost(&self) -> usize {
        let filters: usize = self.image.outputs[self.tiles.clone()].iter().map(|(y, _)| y.len()).sum();
        self.pixels.len() * self.image.x.offsets().len() * filters
    }

    /// A call for each tile, the first of which packs the panels that the others read, if they have some.
    fn calls(
        &self,
        kernel: &'static pointwise::Kernel,
        panels: Option<u32>,
    ) -> impl Iterator<Item = Result<Call, CallError>> {
        let Self { image: Image { flat, x, outputs }, ref pixels, ref tiles } = *self;
        tiles.clone().map(move |tile| {
            let (_, Packed { weights, bias, .. }) = flat.tiles[tile];
            let (y, epilogue) = &outputs[tile];
            let is_first = tile == tiles.start;
            let spec = pointwise::Spec {
                pixels: kernel.least(pixels.len(), x.offsets().len(), y.len()),
                weights,
                bias,
                x: x.clone(),
                y,
                shift: pixels.start as u32,
                rows: flat.rows,
                panels: panels_of(panels, is_first),
                epilogue: epilogue.clone(),
            };
            pointwise::Call::new(kernel, spec).map(Call::from)
        })
    }
}

/// A call for each part of the units, of about equal cost, with panels of its own from `at` on.
fn in_parts(
    units: &[Unit<'_>],
    kernel: &'static pointwise::Kernel,
    (panels, at): (&Panels, usize),
    calls: &mut Calls,
) -> Result<(), CallError> {
    let by_share = units.iter().any(|unit| unit.share() > 0);
    let all: usize = units.iter().map(Unit::cost).sum();
    let mut before = 0;
    let mut parts: Vec<_> = (0..panels.parts).map(|_| Vec::new()).collect();
    for unit in units {
        let cost = unit.cost();
        let by_cost = ((before + cost / 2) * panels.parts / all.max(1)).min(panels.parts - 1);
        before += cost;
        let part = if by_share { unit.share() } else { by_cost };
        let has_panels = unit.image.flat.has_panels && unit.shares_panels(kernel);
        let mut of_unit = unit.calls(kernel, has_panels.then_some((at + part * panels.floats) as u32));
        if has_panels {
            parts[part].push(CallSet::new(of_unit.by_ref().take(1).collect::<Result<_, _>>()?)?);
        }
        parts[part].push(CallSet::new(of_unit.collect::<Result<_, _>>()?)?);
    }
    for sets in parts {
        calls.add(kernel.name, chain::Call::new(sets)?);
    }
    Ok(())
}

impl Lower<'_, '_> {
    /// The calls of a convolution whose rows lie alike in inputs and outputs.
    pub(super) fn flat(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let kernel = self.kernels.pointwise;
        let panels = self.panels.get(&step.storage);
        let all_tiles = stored.conv.groups.iter().map(|group| group.filters.len().div_ceil(kernel.max_filters())).sum();
        let mut groups = Vec::with_capacity(stored.conv.groups.len());
        for group in stored.conv.groups.iter() {
            let members = self.members(step, group);
            if !members.filters.is_empty() {
                groups.push(self.flat_group(step, stored, (group, members), all_tiles, panels));
            }
        }
        let images = 0..step.output.shape.nchw().map_or(1, |[images, ..]| images);
        let images: Vec<_> = groups
            .iter()
            .flat_map(|flat| images.clone().map(|image| self.flat_image(step, stored, flat, image)))
            .collect();
        let units = images.iter().flat_map(|image| image.units(kernel.isa.lanes()));
        if let Some(panels) = panels {
            let at = self.places.scratch[&step.storage];
            return in_parts(&units.collect::<Vec<_>>(), kernel, (panels, at), calls);
        }
        for unit in units {
            for call in unit.calls(kernel, None) {
                calls.add_to(unit.share(), kernel.name, call?);
            }
        }
        Ok(())
    }

    /// A group, packed; all groups have `all_tiles` tiles of filters.
    fn flat_group<'a>(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        (group, members): (Group<'a>, Members),
        all_tiles: usize,
        panels: Option<&Panels>,
    ) -> Flat<'a> {
        let kernel = self.kernels.pointwise;
        let [images, _, h, w] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (pitch, y_pitch) = (self.places.pitch(&step.inputs[0]), self.places.layouts[step.storage as usize].pitch);
        let rows = (pitch != y_pitch).then_some(pointwise::Rows { count: h, columns: w, x_pitch: pitch, y_pitch });
        let (exact, whole) = ((h - 1) * pitch + w, run_of([h, w], pitch, kernel.isa.lanes()));
        let taps = members.channels.len() * stored.conv.taps();
        let most = kernel.filters_over(kernel.least(exact, taps, 1));
        let count = members.filters.len().div_ceil(most);
        let has_panels = panels.is_some_and(|panels| panels.takes(count, members.channels.len(), stored.conv.taps()));
        let cached = if panels.is_some() { choose::PANEL_FLOATS } else { choose::CACHED_FLOATS };
        let cached = self.cached(step, count, cached);
        let block = choose::block_pixels(whole, taps, count, cached);
        let block = choose::shared(block, [whole, SHARED_PIXELS], all_tiles, self.threads);
        // Threads that have no blocks of their own share the tiles.
        let few = panels.is_some() && stored.conv.groups.len() * images * exact.div_ceil(block) < 2 * self.threads;
        let mut tiles = Vec::new();
        for (share, tile) in self.tiles_of_shares(step, group, &members, most, few) {
            tiles.push((share, self.pack(step, stored, group, &members, &members.filters[tile])));
        }
        Flat { group, members, tiles, rows, exact, block, has_panels }
    }

    fn flat_image<'a>(&self, step: &Step<'_>, stored: &Stored<'_, '_>, flat: &'a Flat<'a>, image: usize) -> Image<'a> {
        let x = self.taps(step, stored.conv, flat.group, &flat.members, image);
        let tile = |(_, Packed { acts, outputs, .. }): &(usize, Packed)| {
            (self.planes(outputs, image), self.epilogue(step, *acts, outputs, image))
        };
        Image { flat, x, outputs: flat.tiles.iter().map(tile).collect() }
    }

    /// Tiles of at most `most` filters of a group, each with the share of the work that it belongs to.
    ///
    /// By rule threads share the groups, which keeps each one's inputs to itself. Where there are more outputs than inputs, as in an expansion, they share the
    /// outputs instead, each a run of planes: the depthwise layer behind it shares them alike, and so do most layers that had this memory before. Memory that
    /// another core has written last takes several times as long to write. Where there are too `few` blocks, they share the outputs, too.
    fn tiles_of_shares(
        &self,
        step: &Step<'_>,
        group: Group<'_>,
        members: &Members,
        most: usize,
        few: bool,
    ) -> Vec<(usize, Range<usize>)> {
        let [from, to] = [&step.inputs[0], &step.output].map(|value| value.shape.get(1).copied().unwrap_or(1));
        let layout = &self.places.layouts[step.storage as usize];
        let by_outputs = self.threads > 1 && (to > from || few);
        let share = |&f: &usize| {
            let slot = layout.slots[group.filters[f] as usize] as usize;
            if by_outputs { slot * self.threads / layout.planes } else { 0 }
        };
        let mut tiles = Vec::new();
        let mut begin = 0;
        for run in members.filters.chunk_by(|a, b| share(a) == share(b)) {
            let tile = |tile: Range<usize>| (share(&run[0]), begin + tile.start..begin + tile.end);
            tiles.extend(choose::tiles(run.len(), most).map(tile));
            begin += run.len();
        }
        tiles
    }
}
