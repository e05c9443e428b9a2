//! Convolutions with stride whose input is dealt, block by block.

use super::{
    Calls, Lower, Step, blocks,
    conv::{Members, Packed, Stored},
    moved, sets_of_tiles, share_panels,
};
use crate::plan::{
    choose::{self, Kernels},
    deal::{Deal, Phases},
    net::{Conv, Group},
    panels::Panels,
    value::Lane,
};
use flgc_kernels::{Call, CallError, CallSet, Epilogue, Planes, chain, deal, pointwise, spatial};
use std::ops::Range;

/// A group, packed.
pub(super) struct Dealt<'a> {
    group: Group<'a>,
    members: Members,
    tiles: Vec<Packed>,
}

/// A block of a convolution that is dealt.
pub(super) struct Block<'a> {
    pub(super) deal: &'a Deal,
    /// Where its dealt planes begin.
    pub(super) base: usize,
    /// Where its panels begin, if it may have some.
    pub(super) panels: Option<(&'a Panels, usize)>,
    pub(super) image: usize,
    /// The rows that it makes.
    pub(super) rows: Range<usize>,
    /// The address of a filter's first one.
    pub(super) address: &'a dyn Fn(&Lane) -> u32,
}

impl Lower<'_, '_> {
    /// The calls of a convolution that is dealt: one for each part.
    pub(super) fn dealt(
        &mut self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        deal: &Deal,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let groups = self.dealt_groups(step, stored, deal);
        let y_pitch = self.places.layouts[step.storage as usize].pitch;
        let [images, _, all_rows, _] = step.output.shape.nchw().unwrap_or([1; 4]);
        for (index, part) in deal.parts.iter().enumerate() {
            let mut sets = Vec::new();
            for image in 0..images {
                for group in &groups {
                    let (share, of) = part.tiles;
                    let tiles = &group.tiles[share * group.tiles.len() / of..(share + 1) * group.tiles.len() / of];
                    if tiles.is_empty() {
                        continue;
                    }
                    let scratch = self.places.scratch[&step.storage];
                    let base = scratch + index * deal.scratch.len;
                    let panels = self
                        .panels
                        .get(&step.storage)
                        .map(|panels| (panels, scratch + deal.parts.len() * deal.scratch.len + index * panels.floats));
                    for begin in part.rows.clone().step_by(deal.rows) {
                        let rows = begin..part.rows.end.min(begin + deal.rows);
                        // Else a sum that replaces its residual would be written twice where two blocks meet.
                        let ends = (rows.end * y_pitch).is_multiple_of(self.kernels.pointwise.isa.lanes());
                        debug_assert!(ends || deal.pitch != y_pitch || rows.end == all_rows);
                        let address = |lane: &Lane| self.places.plane(*lane, image) + (begin * y_pitch) as u32;
                        let block = Block { deal, base, panels, image, rows, address: &address };
                        self.dealt_block(step, stored.conv, (group, tiles), &block, &mut sets)?;
                    }
                }
            }
            calls.add(self.kernel_of(deal), chain::Call::new(sets)?);
        }
        Ok(())
    }

    /// The name of the kernel that runs over dealt planes.
    pub(super) fn kernel_of(&self, deal: &Deal) -> &'static str {
        if deal.flat { self.kernels.pointwise.name } else { self.kernels.spatial.name }
    }

    /// The groups of a convolution that is dealt, packed.
    pub(super) fn dealt_groups<'c>(&mut self, step: &Step<'_>, stored: &Stored<'c, '_>, deal: &Deal) -> Vec<Dealt<'c>> {
        let Kernels { pointwise, spatial, .. } = self.kernels;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let pixels = (deal.rows - 1) * deal.pitch + columns;
        let mut groups = Vec::with_capacity(stored.conv.groups.len());
        for group in stored.conv.groups.iter() {
            let members = self.members(step, group);
            let taps = members.channels.len() * stored.conv.taps();
            let most = match deal.flat {
                true => pointwise.filters_over(pointwise.least(pixels, taps, 1)),
                false => spatial.max_filters(),
            };
            let tiles = choose::tiles(members.filters.len(), most);
            let tiles = tiles.map(|tile| self.pack(step, stored, group, &members, &members.filters[tile])).collect();
            groups.push(Dealt { group, members, tiles });
        }
        groups
    }

    /// A block of all filters.
    pub(super) fn dealt_rows(
        &self,
        step: &Step<'_>,
        conv: &Conv<'_>,
        groups: &[Dealt<'_>],
        block: &Block<'_>,
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        for group in groups.iter().filter(|group| !group.tiles.is_empty()) {
            self.dealt_block(step, conv, (group, &group.tiles), block, sets)?;
        }
        Ok(())
    }

    /// A block of some filters of a group.
    fn dealt_block(
        &self,
        step: &Step<'_>,
        conv: &Conv<'_>,
        (group, tiles): (&Dealt<'_>, &[Packed]),
        block: &Block<'_>,
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let Block { deal, base, .. } = *block;
        let channels = group.members.channels.len();
        let phases = Phases::of(conv);
        let mut taps = Vec::with_capacity(channels * conv.taps());
        for c in 0..channels {
            for (i, j) in (0..conv.kernel[0]).flat_map(|i| (0..conv.kernel[1]).map(move |j| (i, j))) {
                let (phase, at) = phases.tap([i, j], deal.pitch);
                taps.push((base + (phase * channels + c) * deal.scratch.stride + at) as u32);
            }
        }
        let taps = Planes::from(taps);
        if channels > 0 {
            sets.push(self.deal_block(step, conv, group, block)?);
        }
        if !deal.flat {
            let tile = |packed: &Packed| self.tile_of_rows(step, packed, &taps, block);
            sets.push(CallSet::new(tiles.iter().map(tile).collect::<Result<_, CallError>>()?)?);
            return Ok(());
        }
        let kernel = self.kernels.pointwise;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (exact, taps_len) = ((block.rows.len() - 1) * deal.pitch + columns, taps.offsets().len());
        let shares = share_panels(kernel, tiles.iter().map(|packed| packed.outputs.len()));
        let panels = block.panels.filter(|(panels, _)| shares && panels.takes(tiles.len(), channels, conv.taps()));
        let of_panels =
            |(panels, _): (&Panels, usize)| choose::block_pixels(exact, taps_len, tiles.len(), panels.cached);
        for pixels in blocks(exact, panels.map_or(exact, of_panels), kernel.isa.lanes()) {
            let in_vectors = pixels.len().next_multiple_of(kernel.isa.lanes());
            debug_assert!(panels.is_none_or(|(panels, _)| in_vectors * taps_len <= panels.floats));
            let call =
                |tile: usize, panels| self.tile_of_pixels(step, &tiles[tile], &taps, block, (pixels.clone(), panels));
            sets_of_tiles(0..tiles.len(), panels.map(|(_, at)| at as u32), call, sets)?;
        }
        Ok(())
    }

    /// The dealt planes of a block: phase after phase, channel after channel.
    fn deal_block(
        &self,
        step: &Step<'_>,
        conv: &Conv<'_>,
        group: &Dealt<'_>,
        block: &Block<'_>,
    ) -> Result<CallSet, CallError> {
        let Block { deal, base, rows, .. } = block;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (phases, planes) = (Phases::of(conv), group.members.channels.len());
        let mut calls = Vec::with_capacity(phases.count[0] * phases.count[1]);
        // Of an input all phases of rows at once, as they lie in memory.
        let is_direct = self.places.is_direct(&step.inputs[0]);
        for a in 0..if is_direct { 1 } else { phases.count[0] } {
            // With a stride of two, both phases of columns at once.
            let both = phases.are_pairs();
            for b in 0..if both { 1 } else { phases.count[1] } {
                let phase = a * phases.count[1] + b;
                let [more_rows, more_columns] = phases.more([a, b]);
                let spec = deal::Spec {
                    rows: rows.len() + more_rows,
                    columns: columns + more_columns,
                    y_pitch: deal.pitch,
                    y_stride: deal.scratch.stride,
                    x: self.source(step, conv, group, block, [a, b]),
                    y: (base + phase * planes * deal.scratch.stride) as u32,
                };
                calls.push(deal::Call::new(self.kernels.deal, spec)?.into());
            }
        }
        CallSet::new(calls)
    }

    /// What a phase of a block's input planes is dealt from.
    fn source(
        &self,
        step: &Step<'_>,
        conv: &Conv<'_>,
        group: &Dealt<'_>,
        block: &Block<'_>,
        [a, b]: [usize; 2],
    ) -> deal::Source {
        let input = &step.inputs[0];
        let lanes = input.lanes().unwrap_or_default();
        let lanes = group.members.channels.iter().map(|&c| lanes[group.group.channels[c] as usize]);
        let [row, column] = [(block.rows.start * conv.stride[0] + a, conv.pad[0]), (b, conv.pad[1])]
            .map(|(at, pad)| at as isize - pad as isize);
        if self.places.is_direct(input) {
            let [_, _, height, width] = input.shape.nchw().unwrap_or([1; 4]);
            let [phases, _] = Phases::of(conv).count;
            let planes = lanes.map(|lane| self.places.plane_of_input(lane, block.image)).collect();
            return deal::Source::Input(deal::Input {
                planes,
                size: [height, width],
                from: [row, column],
                step: conv.stride[0],
                phases,
                lines: (block.rows.len() - 1) * phases + conv.kernel[0],
            });
        }
        let pitch = self.places.pitch(input);
        let at = row * pitch as isize + column;
        let x = lanes.map(|lane| (self.places.plane(lane, block.image) as isize + at) as u32).collect();
        let odd = Phases::of(conv).are_pairs().then_some(group.members.channels.len() * block.deal.scratch.stride);
        deal::Source::Arena { x, step: conv.stride[0] * pitch, stride: conv.stride[1], odd }
    }

    /// A tile of filters over dealt planes, row by row.
    fn tile_of_rows(
        &self,
        step: &Step<'_>,
        packed: &Packed,
        taps: &Planes,
        block: &Block<'_>,
    ) -> Result<Call, CallError> {
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let y_pitch = self.places.layouts[step.storage as usize].pitch;
        let (y, epilogue) = self.outputs_of_block(step, packed, block);
        let Packed { weights, bias, .. } = *packed;
        let (rows, x, x_step) = (block.rows.len(), taps.clone(), block.deal.pitch);
        let spec = spatial::Spec { rows, columns, stride: 1, x_step, y_pitch, weights, bias, x, y: &y, epilogue };
        Ok(spatial::Call::new(self.kernels.spatial, spec)?.into())
    }

    /// A tile of filters over some pixels of dealt planes, with those between their rows.
    fn tile_of_pixels(
        &self,
        step: &Step<'_>,
        packed: &Packed,
        taps: &Planes,
        block: &Block<'_>,
        (pixels, panels): (Range<usize>, pointwise::Panels),
    ) -> Result<Call, CallError> {
        let kernel = self.kernels.pointwise;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let (x_pitch, y_pitch) = (block.deal.pitch, self.places.layouts[step.storage as usize].pitch);
        let (y, epilogue) = self.outputs_of_block(step, packed, block);
        let Packed { weights, bias, .. } = *packed;
        let moved = pointwise::Rows { count: block.rows.len(), columns, x_pitch, y_pitch };
        let spec = pointwise::Spec {
            pixels: kernel.least(pixels.len(), taps.offsets().len(), y.len()),
            weights,
            bias,
            x: taps.clone(),
            y: &y,
            shift: pixels.start as u32,
            rows: (x_pitch != y_pitch).then_some(moved),
            panels,
            epilogue,
        };
        Ok(pointwise::Call::new(kernel, spec)?.into())
    }

    /// Where a block of a tile's outputs goes, and through what.
    fn outputs_of_block(&self, step: &Step<'_>, packed: &Packed, block: &Block<'_>) -> (Vec<u32>, Epilogue) {
        let y_pitch = self.places.layouts[step.storage as usize].pitch;
        let mut epilogue = self.epilogue(step, packed.acts, &packed.outputs, block.image);
        epilogue.residual = epilogue.residual.map(|residual| moved(&residual, block.rows.start * y_pitch));
        (packed.outputs.iter().map(block.address).collect(), epilogue)
    }
}
