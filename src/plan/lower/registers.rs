//! Expansions of few channels in registers, with the depthwise layer over them.

use super::{
    Lower, Step,
    conv::{Packed, Stored},
    fused::{Chunk, First, Fused, Middle},
    moved,
};
use crate::plan::{fuse::Band, net::Kind, value::Lane};
use flgc_kernels::{CallError, Image, expand};

impl Lower<'_, '_> {
    /// An expansion group by group, for registers: a filter for each depthwise output that reads it.
    pub(super) fn chunks_in_registers(
        &mut self,
        expand: &Step<'_>,
        stored: &Stored<'_, '_>,
        middle: &Middle<'_, '_>,
    ) -> Vec<Chunk> {
        let mut chunks = Vec::new();
        for (index, group) in stored.conv.groups.iter().enumerate() {
            let mut place = vec![None; stored.conv.filters];
            for (f, &filter) in group.filters.iter().enumerate() {
                place[filter as usize] = Some(f);
            }
            let filter = |&(lane, channel): &(Lane, usize)| Some((lane, place[channel]?));
            let (outputs, filters): (Vec<Lane>, Vec<usize>) = middle.outputs.iter().filter_map(filter).unzip();
            if outputs.is_empty() {
                continue;
            }
            let channels = self.members(expand, group).channels;
            let weights = self.weights.push_with(channels.len() * filters.len(), |packed| {
                let places = packed.chunks_exact_mut(channels.len().max(1)).zip(&filters);
                for (row, &f) in places {
                    let (source, factor) = stored.filter(group, f);
                    row.iter_mut().zip(&channels).for_each(|(weight, &c)| *weight = source[c] * factor);
                }
            });
            let bias: Vec<f32> = filters.iter().map(|&f| stored.bias(group, f)).collect();
            let bias = self.weights.push(&bias);
            let made = Self::outputs_of(expand, group, &filters);
            let packed = Packed { weights, bias, acts: self.acts(expand, &made), outputs: made };
            let depthwise = self.pack_depthwise(middle.step, &middle.stored, &middle.sources, &outputs);
            chunks.push(Chunk { first: First::InRegisters(index, packed), depthwise, sources: Vec::new() });
        }
        chunks
    }

    /// The rows of `band` of the depthwise outputs of a chunk, over a group of the expansion in registers.
    pub(super) fn band_in_registers(
        &self,
        fused: &Fused<'_>,
        (group, packed): (usize, &Packed),
        chunk: &Chunk,
        band: &Band,
        (image, begin): (usize, usize),
        y: &[u32],
    ) -> Result<expand::Call, CallError> {
        let (Some(kernel), Kind::Conv(conv)) = (self.kernels.expand, &fused.depthwise.layer.kind) else {
            unreachable!("what the run was made for")
        };
        let input = self.image(&fused.first.inputs[0]);
        let spec = expand::Spec {
            input: Image { height: band.input.len(), ..input },
            output: Image { height: band.output.len(), ..self.image(&fused.depthwise.output) },
            stride: conv.stride[0],
            pad: band.pad,
            x: moved(&fused.inputs[image][group], band.input.start * input.pitch),
            scratch: begin as u32,
            expansion: packed.weights,
            expansion_bias: packed.bias,
            between: packed.acts[0],
            weights: chunk.depthwise.weights,
            bias: chunk.depthwise.bias,
            y,
            activation: chunk.depthwise.acts[0],
        };
        expand::Call::new(kernel, spec)
    }
}
