//! The order of a layer's channels is free: it is chosen so that the layers that follow read them as they lie, and no gather is left between a convolution
//! and what a plan folds into it.

use super::{Readers, producers};
use crate::net::{Act, Lane, Net, Node, Op, ValueId, View};
use std::collections::HashMap;

/// Numbers the channels of each value anew where that makes a view of it the whole value.
pub(super) fn order(net: &mut Net) {
    let (mut readers, producers) = (Readers::of(net), producers(net));
    // Forwards: a layer that treats each channel by itself has the order of its first input.
    for index in 0..net.nodes.len() {
        if let Some(to) = carried(net, &net.nodes[index]) {
            renumber(net, &mut readers, index, &to);
        }
    }
    // Backwards: what only one such layer reads has the order that it wants.
    for reader in (0..net.nodes.len()).rev() {
        if !net.nodes[reader].op.is_channelwise() {
            continue;
        }
        for input in 0..net.nodes[reader].inputs.len() {
            if let Some((value, to)) = wanted(net, &readers, reader, input)
                && let Some(&producer) = producers.get(&value)
                && may_move(&net.nodes[producer].op)
            {
                renumber(net, &mut readers, producer, &to);
            }
        }
    }
}

/// The value that `lanes` are a permutation of, and the place of each of its channels in them, unless it lies so already.
fn permutation(net: &Net, lanes: &[Lane]) -> Option<(ValueId, Vec<u32>)> {
    let value = lanes.first()?.value;
    let channels = *net.values[value as usize].shape.get(1)?;
    let mut place = vec![u32::MAX; channels];
    for (index, lane) in lanes.iter().enumerate() {
        if lane.value != value || place[lane.channel as usize] != u32::MAX {
            return None;
        }
        place[lane.channel as usize] = index as u32;
    }
    let whole = lanes.len() == channels;
    let moved = place.iter().enumerate().any(|(channel, &index)| channel as u32 != index);
    (whole && moved).then_some((value, place))
}

/// The new number of each channel of a channelwise layer whose first input is a permutation of one value.
fn carried(net: &Net, node: &Node) -> Option<Vec<u32>> {
    let mut lanes = node.inputs.first()?.flat();
    match &node.op {
        Op::Conv(conv) if conv.is_depthwise() => {
            // The lane of each filter.
            let mut by_filter = lanes.clone();
            conv.groups.iter().zip(&lanes).for_each(|(group, &lane)| by_filter[group.filters[0] as usize] = lane);
            lanes = by_filter;
        }
        op if op.is_channelwise() => {}
        _ => return None,
    }
    let (_, place) = permutation(net, &lanes)?;
    // Channel `place[c]` is made of channel `c`, and gets its number.
    let mut to = vec![0; place.len()];
    place.iter().enumerate().for_each(|(channel, &index)| to[index as usize] = channel as u32);
    Some(to)
}

/// The value that an input is a permutation of, if only `reader` reads it, and the new numbers of its channels.
fn wanted(net: &Net, readers: &Readers, reader: usize, input: usize) -> Option<(ValueId, Vec<u32>)> {
    permutation(net, &net.nodes[reader].inputs[input].flat()).filter(|&(value, _)| readers.count(value) == 1)
}

/// Whether the order of what a layer makes is its own.
fn may_move(op: &Op) -> bool {
    op.is_channelwise() || matches!(op, Op::Conv(_) | Op::Linear(_))
}

/// Channel `c` of the node at `index` becomes channel `to[c]`.
fn renumber(net: &mut Net, readers: &mut Readers, index: usize, to: &[u32]) {
    let node = &mut net.nodes[index];
    let moved = |of: &mut Vec<f32>, width: usize| {
        let mut result = vec![0.0; of.len()];
        for (from, &to) in of.chunks_exact(width).zip(to) {
            result[to as usize * width..][..width].copy_from_slice(from);
        }
        *of = result;
    };
    match &mut node.op {
        Op::Conv(conv) => {
            moved(&mut conv.bias, 1);
            for group in &mut conv.groups {
                let row = group.channels * conv.geometry.taps();
                let mut order: Vec<(u32, usize)> =
                    group.filters.iter().enumerate().map(|(row, &filter)| (to[filter as usize], row)).collect();
                order.sort_unstable();
                group.filters = order.iter().map(|&(filter, _)| filter).collect();
                group.weights = order
                    .iter()
                    .flat_map(|&(_, from)| group.weights[from * row..(from + 1) * row].iter().copied())
                    .collect();
            }
        }
        Op::Linear(linear) => {
            moved(&mut linear.bias, 1);
            let width = linear.weight.len() / to.len();
            moved(&mut linear.weight, width);
        }
        Op::Scale { scale, shift } => {
            moved(scale, 1);
            moved(shift, 1);
        }
        Op::Act(Act::PRelu(slopes)) => moved(slopes, 1),
        _ => {}
    }
    if node.op.is_channelwise() {
        for view in &mut node.inputs {
            let lanes = view.flat();
            let mut result = lanes.clone();
            lanes.iter().zip(to).for_each(|(&lane, &to)| result[to as usize] = lane);
            *view = View::of(view.n, result, &view.pixels);
        }
    }
    let value = node.output;
    let places: HashMap<Lane, Lane> = to
        .iter()
        .enumerate()
        .map(|(from, &to)| (Lane { value, channel: from as u32 }, Lane { value, channel: to }))
        .collect();
    readers.replace(net, &[value], value, &places);
}
