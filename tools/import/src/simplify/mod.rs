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

/// Puts other lanes in the place of some in `view`.
fn substitute(view: &mut View, with: &HashMap<Lane, Lane>) {
    view.lanes.mapv_inplace(|lane| with.get(&lane).copied().unwrap_or(lane));
}

/// Where each value is read: so that a change of its lanes looks at its readers only.
struct Readers(HashMap<ValueId, Vec<Place>>);

/// Where an activation stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    /// An input of a node.
    Node(usize, usize),
    /// An output of the network.
    Output(usize),
    /// A part of a concatenation.
    Hint(usize, usize),
}

impl Readers {
    fn of(net: &Net) -> Self {
        let mut readers: HashMap<ValueId, Vec<Place>> = HashMap::new();
        let mut read = |view: &View, place: Place| {
            for lane in &view.lanes {
                let places = readers.entry(lane.value).or_default();
                if places.last() != Some(&place) {
                    places.push(place);
                }
            }
        };
        for (index, node) in net.nodes.iter().enumerate() {
            node.inputs.iter().enumerate().for_each(|(input, view)| read(view, Place::Node(index, input)));
        }
        for (index, (_, view)) in net.outputs.iter().enumerate() {
            read(view, Place::Output(index));
        }
        for (index, views) in net.hints.iter().enumerate() {
            views.iter().enumerate().for_each(|(part, view)| read(view, Place::Hint(index, part)));
        }
        Self(readers)
    }

    /// How many activations have lanes of `value`.
    fn count(&self, value: ValueId) -> usize {
        self.0.get(&value).map_or(0, Vec::len)
    }

    /// Puts lanes of `to` in the place of lanes of `from`, wherever those are read.
    fn replace(&mut self, net: &mut Net, from: &[ValueId], to: ValueId, with: &HashMap<Lane, Lane>) {
        let mut places: Vec<Place> = from.iter().filter_map(|value| self.0.remove(value)).flatten().collect();
        places.sort_unstable();
        places.dedup();
        for &place in &places {
            let view = match place {
                Place::Node(node, input) => &mut net.nodes[node].inputs[input],
                Place::Output(index) => &mut net.outputs[index].1,
                Place::Hint(index, part) => &mut net.hints[index][part],
            };
            substitute(view, with);
        }
        self.0.insert(to, places);
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
