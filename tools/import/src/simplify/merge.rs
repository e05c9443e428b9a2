//! Branches that are one layer, written as a convolution for each group and a concatenation, become that layer again.

use super::{Readers, producers};
use crate::net::{Act, Conv, Geometry, Group, Lane, Net, Node, Op, Origin, ValueId, View};
use std::collections::{HashMap, HashSet};

/// One layer of a branch, as far as it has to agree with its neighbours.
#[derive(Clone, Debug, PartialEq)]
enum Link {
    Act(Act),
    PRelu,
    Scale,
    /// With the only value that it reads, and the pixels that it takes it for.
    Conv(Geometry, ValueId, Vec<usize>),
}

/// A branch: its layers from the last to the convolution, as indices of nodes, and what has to agree.
struct Branch {
    nodes: Vec<usize>,
    links: Vec<Link>,
}

/// Merges neighbours in each concatenation.
pub(super) fn merge(net: &mut Net) {
    let mut merge = Merge { producers: producers(net), readers: Readers::of(net), gone: HashSet::new() };
    for hint in 0..net.hints.len() {
        let mut first = 0;
        while first < net.hints[hint].len() {
            let mut branches: Vec<Branch> = Vec::new();
            for part in &net.hints[hint][first..] {
                let Some(next) = branch(net, &merge.producers, part) else { break };
                // Alike, and without a layer in common.
                let fits = branches.first().is_none_or(|first| first.links == next.links)
                    && branches.iter().all(|other| other.nodes.iter().zip(&next.nodes).all(|(a, b)| a != b));
                if !fits {
                    break;
                }
                branches.push(next);
            }
            let count = branches.len();
            if count > 1 {
                merge.join(net, &branches);
            }
            first += count.max(1);
        }
    }
    let mut index = 0;
    net.nodes.retain(|_| {
        index += 1;
        !merge.gone.contains(&(index - 1))
    });
}

/// What merging keeps track of.
struct Merge {
    producers: HashMap<ValueId, usize>,
    readers: Readers,
    /// Nodes that others stand for now.
    gone: HashSet<usize>,
}

/// The branch that ends in `view`, if that is all of what it makes.
fn branch(net: &Net, producers: &HashMap<ValueId, usize>, view: &View) -> Option<Branch> {
    let mut branch = Branch { nodes: Vec::new(), links: Vec::new() };
    let mut view = view;
    loop {
        let index = super::made_by(net, producers, view)?;
        let node = &net.nodes[index];
        branch.nodes.push(index);
        branch.links.push(match &node.op {
            Op::Act(Act::PRelu(_)) => Link::PRelu,
            Op::Act(act) => Link::Act(act.clone()),
            Op::Scale { .. } => Link::Scale,
            Op::Conv(conv) => {
                let source = node.inputs[0].lanes.first()?.value;
                if node.inputs[0].lanes.iter().any(|lane| lane.value != source) {
                    return None;
                }
                branch.links.push(Link::Conv(conv.geometry, source, node.inputs[0].pixels.clone()));
                return Some(branch);
            }
            _ => return None,
        });
        view = &node.inputs[0];
    }
}

impl Merge {
    /// Replaces branches of the same links by one.
    fn join(&mut self, net: &mut Net, branches: &[Branch]) {
        let mut input: Option<View> = None;
        // From the convolutions on.
        for link in (0..branches[0].links.len()).rev() {
            let at: Vec<usize> = branches.iter().map(|branch| branch.nodes[link]).collect();
            let (op, read) = joined(at.iter().map(|&index| &net.nodes[index]));
            let first = at.iter().copied().min().unwrap_or(at[0]);
            let name = net.nodes[first].name.clone();
            let values: Vec<ValueId> = at.iter().map(|&index| net.nodes[index].output).collect();
            let channels = |value: &ValueId| net.values[*value as usize].shape[1];
            let mut shape = net.values[values[0] as usize].shape.clone();
            shape[1] = values.iter().map(channels).sum();
            let old = values
                .iter()
                .flat_map(|&value| (0..channels(&value) as u32).map(move |channel| Lane { value, channel }));
            let old: Vec<Lane> = old.collect();
            let output = net.value(&name, &shape);
            let new = (0..).map(|channel| Lane { value: output, channel });
            let places: HashMap<Lane, Lane> = old.into_iter().zip(new).collect();
            let inputs = vec![input.take().unwrap_or(read)];
            net.nodes[first] = Node { name, op, inputs, output };
            self.gone.extend(at.iter().copied().filter(|&index| index != first));
            self.readers.replace(net, &values, output, &places);
            for value in values {
                self.producers.remove(&value);
            }
            self.producers.insert(output, first);
            input = Some(View::whole(output, &shape));
        }
    }
}

/// The layers of one link as one, and what it reads.
fn joined<'a>(nodes: impl Iterator<Item = &'a Node> + Clone) -> (Op, View) {
    let mut all = nodes.clone();
    let first = all.next().unwrap_or_else(|| unreachable!("a branch at least"));
    let lanes: Vec<Lane> = nodes.clone().flat_map(|node| node.inputs[0].flat()).collect();
    let read = |lanes: Vec<Lane>| View::of(first.inputs[0].n, lanes, &first.inputs[0].pixels);
    match &first.op {
        Op::Conv(_) => {
            let (conv, lanes) = joined_conv(nodes);
            (Op::Conv(conv), read(lanes))
        }
        Op::Scale { .. } => {
            let (mut scale, mut shift) = (Vec::new(), Vec::new());
            for node in nodes {
                if let Op::Scale { scale: factors, shift: summands } = &node.op {
                    scale.extend(factors);
                    shift.extend(summands);
                }
            }
            (Op::Scale { scale, shift }, read(lanes))
        }
        Op::Act(Act::PRelu(_)) => {
            let slopes = nodes.flat_map(|node| match &node.op {
                Op::Act(Act::PRelu(slopes)) => slopes.clone(),
                _ => Vec::new(),
            });
            (Op::Act(Act::PRelu(slopes.collect())), read(lanes))
        }
        op => (op.clone(), read(lanes)),
    }
}

/// Convolutions side by side. Groups that read the same channels become one, as do those that read none.
fn joined_conv<'a>(nodes: impl Iterator<Item = &'a Node>) -> (Conv, Vec<Lane>) {
    let mut groups: Vec<(Vec<Lane>, Group)> = Vec::new();
    let mut index: HashMap<Vec<Lane>, usize> = HashMap::new();
    let mut bias = Vec::new();
    let mut origin = Origin { nodes: 0, groups: 0, macs: 0 };
    let (mut geometry, mut first) = (None, None);
    for node in nodes {
        let Op::Conv(conv) = &node.op else { continue };
        geometry = geometry.or(Some(conv.geometry));
        first = first.or(node.inputs[0].lanes.first().copied());
        let mut lanes = node.inputs[0].lanes.iter().copied();
        for group in &conv.groups {
            let mut read: Vec<Lane> = lanes.by_ref().take(group.channels).collect();
            // A branch of zeros had to read something; here others do.
            if group.weights.iter().all(|&weight| weight == 0.0) {
                read.clear();
            }
            let weights = if read.is_empty() { &[][..] } else { &group.weights };
            let filters = group.filters.iter().map(|&filter| filter + bias.len() as u32);
            match index.get(&read) {
                Some(&at) => {
                    groups[at].1.filters.extend(filters);
                    groups[at].1.weights.extend(weights);
                }
                None => {
                    index.insert(read.clone(), groups.len());
                    let (channels, filters) = (read.len(), filters.collect());
                    groups.push((read, Group { channels, filters, weights: weights.to_vec() }));
                }
            }
        }
        bias.extend(&conv.bias);
        origin.nodes += conv.origin.nodes;
        origin.groups += conv.origin.groups;
        origin.macs = origin.macs.saturating_add(conv.origin.macs);
    }
    let geometry = geometry.unwrap_or_else(|| unreachable!("a convolution at least"));
    let (lanes, groups): (Vec<Vec<Lane>>, Vec<Group>) = groups.into_iter().unzip();
    let mut conv = Conv { geometry, groups, bias, origin };
    let mut lanes = lanes.concat();
    if let Some(first) = first {
        conv.read_something(&mut lanes, first);
    }
    (conv, lanes)
}
