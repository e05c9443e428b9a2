//! The same network with less in it: what stands beside a convolution goes into it, branches that are one layer become one, what nobody reads goes.

mod absorb;
mod merge;
mod order;
mod patterns;
mod prune;

use crate::net::{Lane, Net, Node, Op, ValueId, View};
use std::collections::HashMap;

/// All steps, in the order in which each finds what the ones before it made.
pub(crate) fn simplify(net: &mut Net) {
    absorb::absorb(net);
    merge::merge(net);
    patterns::patterns(net);
    net.hints.clear();
    prune::prune(net);
    order::order(net);
}

/// The node that makes each value.
fn producers(net: &Net) -> HashMap<ValueId, usize> {
    net.nodes.iter().enumerate().map(|(index, node)| (node.output, index)).collect()
}

/// Puts other lanes in the place of some, wherever they are read.
fn substitute(net: &mut Net, with: &HashMap<Lane, Lane>) {
    for view in net.views_mut() {
        view.lanes.mapv_inplace(|lane| with.get(&lane).copied().unwrap_or(lane));
    }
}

/// Whether `view` is all of a value made by one of `producers`, as it is: that node's index.
fn made_by(net: &Net, producers: &HashMap<ValueId, usize>, view: &View) -> Option<usize> {
    producers.get(&net.whole(view)?).copied()
}

/// The lane that output channel `channel` of a channelwise node is made of, by its first input.
fn through(node: &Node, channel: u32) -> Option<Lane> {
    node.inputs[0].lanes.as_slice()?.get(channel as usize).copied()
}

/// The pixels of a lane's value, `[h, w]`.
fn pixels_of(net: &Net, lane: Lane) -> Vec<usize> {
    net.values[lane.value as usize].shape.get(2..).unwrap_or_default().to_vec()
}

/// Whether all values of `of` are the same number.
fn uniform(of: &[f32]) -> Option<f32> {
    let first = *of.first()?;
    of.iter().all(|&x| x == first).then_some(first)
}

/// The factor and summand of a scale that treats all channels alike.
fn uniform_scale(op: &Op) -> Option<(f32, f32)> {
    let Op::Scale { scale, shift } = op else { return None };
    Some((uniform(scale)?, uniform(shift)?))
}
