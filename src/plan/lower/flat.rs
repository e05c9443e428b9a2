//! Convolutions whose rows lie alike in inputs and outputs: tiles of filters over blocks of pixels of whole planes.

use super::{
    Calls, Lower, Step, blocks,
    conv::{Members, Packed, Stored},
    run_of, sets_of_tiles, share_panels,
};
use crate::plan::{choose, net::Group, panels::Panels};
use flgc_kernels::{Call, CallError, Epilogue, Planes, chain, pointwise};
use std::ops::Range;

/// What runs of pixels that threads share are a multiple of: whole vectors, and whole cache lines.
const SHARED_PIXELS: usize = 64;

/// A group, packed.
struct Flat<'a> {
    group: Group<'a>,
    members: Members,
    /// Most filters of a tile.
    most: usize,
    /// Each with the share of the work that it belongs to.
    tiles: Vec<(usize, Packed)>,
    rows: Option<pointwise::Rows>,
    /// Pixels of a plane, with those between its rows.
    exact: usize,
    /// Pixels of a block.
    block: usize,
}

/// A group of an image.
struct OfImage<'a> {
    flat: &'a Flat<'a>,
    x: Planes,
    /// Of each tile of filters.
    outputs: Vec<(Vec<u32>, Epilogue)>,
}

/// Tiles of filters, of one share of the work, over a block.
struct Unit<'a> {
    image: &'a OfImage<'a>,
    pixels: Range<usize>,
    tiles: Range<usize>,
}

impl<'a> OfImage<'a> {
    fn add_units(&'a self, lanes: usize, units: &mut Vec<Unit<'a>>) {
        let Flat { exact, block, ref tiles, .. } = *self.flat;
        for pixels in blocks(exact, block, lanes) {
            let mut begin = 0;
            for of_share in tiles.chunk_by(|(a, _), (b, _)| a == b) {
                let end = begin + of_share.len();
                units.push(Unit { image: self, pixels: pixels.clone(), tiles: begin..end });
                begin = end;
            }
        }
    }
}

impl Unit<'_> {
    fn share(&self) -> usize {
        self.image.flat.tiles[self.tiles.start].0
    }

    /// Whether its tiles share panels.
    fn shares_panels(&self, kernel: &pointwise::Kernel, panels: &Panels) -> bool {
        // Windows of flat convolutions that have panels are 1x1.
        panels.takes(self.tiles.len(), self.image.x.offsets().len(), 1)
            && share_panels(kernel, self.image.outputs[self.tiles.clone()].iter().map(|(y, _)| y.len()))
    }

    /// Multiply-adds.
    fn cost(&self) -> usize {
        let filters: usize = self.image.outputs[self.tiles.clone()].iter().map(|(y, _)| y.len()).sum();
        self.pixels.len() * self.image.x.offsets().len() * filters
    }

    /// The call of one of its tiles.
    fn call(
        &self,
        kernel: &'static pointwise::Kernel,
        tile: usize,
        panels: pointwise::Panels,
    ) -> Result<Call, CallError> {
        let Self { image: OfImage { flat, x, outputs }, ref pixels, .. } = *self;
        let (_, Packed { weights, bias, .. }) = flat.tiles[tile];
        let (y, epilogue) = &outputs[tile];
        let spec = pointwise::Spec {
            pixels: kernel.least(pixels.len(), x.offsets().len(), y.len()),
            weights,
            bias,
            x: x.clone(),
            y,
            shift: pixels.start as u32,
            rows: flat.rows,
            panels,
            epilogue: epilogue.clone(),
        };
        pointwise::Call::new(kernel, spec).map(Call::from)
    }
}

/// A call for each part of the units, of about equal cost, with panels of its own from `at` on.
fn in_parts(
    units: &[Unit<'_>],
    kernel: &'static pointwise::Kernel,
    (panels, at): (&Panels, usize),
    calls: &mut Calls,
) -> Result<(), CallError> {
    let all: usize = units.iter().map(Unit::cost).sum();
    let mut before = 0;
    let mut parts: Vec<_> = (0..panels.parts).map(|_| Vec::new()).collect();
    // Share after share.
    for unit in (0..panels.parts).flat_map(|share| units.iter().filter(move |unit| unit.share() == share)) {
        // The part that has its middle.
        let cost = unit.cost();
        let part = ((before + cost / 2) * panels.parts / all.max(1)).min(panels.parts - 1);
        before += cost;
        let has_panels = unit.shares_panels(kernel, panels);
        let in_vectors = unit.pixels.len().next_multiple_of(kernel.isa.lanes());
        debug_assert!(!has_panels || in_vectors * unit.image.x.offsets().len() <= panels.floats);
        let at = has_panels.then_some((at + part * panels.floats) as u32);
        sets_of_tiles(unit.tiles.clone(), at, |tile, panels| unit.call(kernel, tile, panels), &mut parts[part])?;
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
        let images = 0..step.output.shape.nchw().map_or(1, |[images, ..]| images);
        let mut groups = Vec::with_capacity(stored.conv.groups.len());
        for group in stored.conv.groups.iter() {
            let members = self.members(step, group);
            if !members.filters.is_empty() {
                groups.push(self.flat_group(step, stored, (group, members), all_tiles, panels));
            }
        }
        let blocks: usize = groups.iter().map(|flat| flat.exact.div_ceil(flat.block)).sum();
        // Threads that have no blocks of their own share the tiles.
        let few = panels.is_some() && images.len() * blocks < 2 * self.threads;
        for flat in &mut groups {
            for (share, tile) in self.tiles_of_shares(step, flat.group, &flat.members, flat.most, few) {
                let packed = self.pack(step, stored, flat.group, &flat.members, &flat.members.filters[tile]);
                flat.tiles.push((share, packed));
            }
        }
        let mut of_images = Vec::with_capacity(groups.len() * images.len());
        for flat in &groups {
            of_images.extend(images.clone().map(|image| self.flat_image(step, stored, flat, image)));
        }
        let mut units = Vec::new();
        for image in &of_images {
            image.add_units(kernel.isa.lanes(), &mut units);
        }
        if let Some(panels) = panels {
            let at = self.places.scratch[&step.storage];
            return in_parts(&units, kernel, (panels, at), calls);
        }
        for unit in units {
            for tile in unit.tiles.clone() {
                calls.add_to(unit.share(), kernel.name, unit.call(kernel, tile, pointwise::Panels::None)?);
            }
        }
        Ok(())
    }

    /// A group without its tiles; all groups have `all_tiles`.
    fn flat_group<'a>(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        (group, members): (Group<'a>, Members),
        all_tiles: usize,
        panels: Option<&Panels>,
    ) -> Flat<'a> {
        let kernel = self.kernels.pointwise;
        let [_, _, h, w] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (pitch, y_pitch) = (self.places.pitch(&step.inputs[0]), self.places.layouts[step.storage as usize].pitch);
        let rows = (pitch != y_pitch).then_some(pointwise::Rows { count: h, columns: w, x_pitch: pitch, y_pitch });
        let (exact, whole) = ((h - 1) * pitch + w, run_of([h, w], pitch, kernel.isa.lanes()));
        let taps = members.channels.len() * stored.conv.taps();
        let most = kernel.filters_over(kernel.least(exact, taps, 1));
        let count = members.filters.len().div_ceil(most);
        let cached = if panels.is_some() { choose::PANEL_FLOATS } else { choose::CACHED_FLOATS };
        let cached = self.cached(step, count, cached);
        let block = choose::block_pixels(whole, taps, count, cached);
        let block = choose::shared(block, [whole, SHARED_PIXELS], all_tiles, self.threads);
        Flat { group, members, most, tiles: Vec::with_capacity(count), rows, exact, block }
    }

    fn flat_image<'a>(
        &self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        flat: &'a Flat<'a>,
        image: usize,
    ) -> OfImage<'a> {
        let x = self.taps(step, stored.conv, flat.group, &flat.members, image);
        let tile = |(_, Packed { acts, outputs, .. }): &(usize, Packed)| {
            (self.planes(outputs, image), self.epilogue(step, *acts, outputs, image))
        };
        OfImage { flat, x, outputs: flat.tiles.iter().map(tile).collect() }
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
