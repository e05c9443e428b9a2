//! Convolutions with stride whose input is dealt, block by block.

use super::{
    Calls, Lower, Step,
    conv::{Members, Packed, Stored},
    list, moved,
};
use crate::plan::{
    choose::{self, Kernels},
    deal::{Deal, Part, Phases},
    net::Group,
};
use flgc_kernels::{Call, CallError, CallSet, Planes, chain, deal, pointwise, spatial};
use std::ops::Range;

/// A group, packed.
struct Dealt<'a> {
    group: Group<'a>,
    members: Members,
    tiles: Vec<Packed>,
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
        let Kernels { pointwise, spatial, .. } = self.kernels;
        let (kernel, most) =
            if deal.flat { (pointwise.name, pointwise.max_filters()) } else { (spatial.name, spatial.max_filters()) };
        let mut groups = Vec::with_capacity(stored.conv.groups.len());
        for group in stored.conv.groups.iter() {
            let members = self.members(step, group);
            let tiles = choose::tiles(members.filters.len(), most);
            let tiles = tiles.map(|tile| self.pack(step, stored, group, &members, &members.filters[tile])).collect();
            groups.push(Dealt { group, members, tiles });
        }
        let images = step.output.shape.nchw().map_or(1, |[images, ..]| images);
        for (index, part) in deal.parts.iter().enumerate() {
            let mut sets = Vec::new();
            for image in 0..images {
                for group in &groups {
                    let (share, of) = part.tiles;
                    let tiles = &group.tiles[share * group.tiles.len() / of..(share + 1) * group.tiles.len() / of];
                    if !tiles.is_empty() {
                        self.blocks(step, stored, deal, (group, tiles), (image, index, part), &mut sets)?;
                    }
                }
            }
            calls.add(kernel, chain::Call::new(sets)?);
        }
        Ok(())
    }

    /// The blocks of a part, for some filters of a group.
    fn blocks(
        &self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        deal: &Deal,
        (group, tiles): (&Dealt<'_>, &[Packed]),
        (image, index, part): (usize, usize, &Part),
        sets: &mut Vec<CallSet>,
    ) -> Result<(), CallError> {
        let conv = stored.conv;
        let base = self.places.scratch[&step.storage] + index * deal.scratch.len;
        let channels = group.members.channels.len();
        let phases = Phases::of(conv);
        let from = self.taps(step, conv, group.group, &group.members, image);
        let mut taps = Vec::with_capacity(from.offsets().len());
        for c in 0..channels {
            for (i, j) in (0..conv.kernel[0]).flat_map(|i| (0..conv.kernel[1]).map(move |j| (i, j))) {
                let (phase, at) = phases.tap([i, j], deal.pitch);
                taps.push((base + (phase * channels + c) * deal.scratch.stride + at) as u32);
            }
        }
        let taps = list(taps);
        for begin in part.rows.clone().step_by(deal.rows) {
            let rows = begin..part.rows.end.min(begin + deal.rows);
            if channels > 0 {
                sets.push(self.deal_block(step, stored, deal, &from, base, &rows)?);
            }
            let tile = |packed: &Packed| self.tile_of_block(step, deal, packed, &taps, &rows, image);
            sets.push(CallSet::new(tiles.iter().map(tile).collect::<Result<_, CallError>>()?)?);
        }
        Ok(())
    }

    /// The dealt planes of the output rows `rows`: phase after phase, channel after channel. `from` are the taps of the first output row.
    fn deal_block(
        &self,
        step: &Step<'_>,
        stored: &Stored<'_, '_>,
        deal: &Deal,
        from: &Planes,
        base: usize,
        rows: &Range<usize>,
    ) -> Result<CallSet, CallError> {
        let conv = stored.conv;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let x_step = conv.stride[0] * self.places.pitch(&step.inputs[0]);
        let phases = Phases::of(conv);
        let mut calls = Vec::with_capacity(phases.count[0] * phases.count[1]);
        for a in 0..phases.count[0] {
            // With a stride of two, both phases of columns at once.
            let both = (conv.stride[1], phases.count[1]) == (2, 2);
            for b in 0..if both { 1 } else { phases.count[1] } {
                // The first tap of a phase is the one of its own number.
                let first = from.offsets().iter().skip(a * conv.kernel[1] + b).step_by(conv.taps());
                let x: Vec<u32> = first.map(|&offset| offset + (rows.start * x_step) as u32).collect();
                let phase = a * phases.count[1] + b;
                let [more_rows, more_columns] = phases.more([a, b]);
                let spec = deal::Spec {
                    rows: rows.len() + more_rows,
                    columns: columns + more_columns,
                    stride: conv.stride[1],
                    x_step,
                    y_pitch: deal.pitch,
                    y_stride: deal.scratch.stride,
                    odd: both.then_some(x.len() * deal.scratch.stride),
                    y: (base + phase * x.len() * deal.scratch.stride) as u32,
                    x: list(x),
                };
                calls.push(deal::Call::new(self.kernels.deal, spec)?.into());
            }
        }
        CallSet::new(calls)
    }

    /// A tile of filters over the dealt planes of the output rows `rows`.
    fn tile_of_block(
        &self,
        step: &Step<'_>,
        deal: &Deal,
        packed: &Packed,
        taps: &Planes,
        rows: &Range<usize>,
        image: usize,
    ) -> Result<Call, CallError> {
        let Packed { weights, bias, acts, ref outputs } = *packed;
        let [_, _, _, columns] = step.output.shape.nchw().unwrap_or([1; 4]);
        let y_pitch = self.places.layouts[step.storage as usize].pitch;
        let begin = rows.start * y_pitch;
        let mut epilogue = self.epilogue(step, acts, outputs, image);
        epilogue.residual = epilogue.residual.map(|residual| moved(&residual, begin));
        let y = moved(&list(self.planes(outputs, image)), begin);
        let (x, y) = (taps.clone(), y.offsets());
        if deal.flat {
            let kernel = self.kernels.pointwise;
            let pixels = kernel.least((rows.len() - 1) * deal.pitch + columns);
            let moved = pointwise::Rows { count: rows.len(), columns, x_pitch: deal.pitch, y_pitch };
            let rows = (deal.pitch != y_pitch).then_some(moved);
            let spec = pointwise::Spec { pixels, weights, bias, x, y, shift: 0, rows, epilogue };
            return Ok(pointwise::Call::new(kernel, spec)?.into());
        }
        let rows = rows.len();
        let spec =
            spatial::Spec { rows, columns, stride: 1, x_step: deal.pitch, y_pitch, weights, bias, x, y, epilogue };
        Ok(spatial::Call::new(self.kernels.spatial, spec)?.into())
    }
}
