//! Layers that lead to no output are left out, and so is padding: channels that nobody reads and that come from filters of zeros.
//!
//! Other channels that nobody reads stay: they belong to the network as it was trained, and a plan does not compute them anyway.

use super::substitute;
use crate::net::{Act, Conv, Lane, Linear, Net, Node, Op, View};
use std::collections::HashMap;

/// Removes what leads to no output.
pub(super) fn prune(net: &mut Net) {
    let padding = padding(net);
    let mut live: Vec<Vec<bool>> =
        net.values.iter().map(|value| vec![false; value.shape.get(1).copied().unwrap_or(1)]).collect();
    let mark = |live: &mut Vec<Vec<bool>>, lane: Lane| live[lane.value as usize][lane.channel as usize] = true;
    net.outputs.iter().flat_map(|(_, view)| &view.lanes).for_each(|&lane| mark(&mut live, lane));
    for node in net.nodes.iter_mut().rev() {
        let own = live[node.output as usize].clone();
        if !own.contains(&true) {
            continue;
        }
        if let Op::Linear(linear) = &mut node.op {
            drop_columns(linear, &mut node.inputs[0]);
        }
        let all: Vec<bool> =
            own.iter().zip(&padding[node.output as usize]).map(|(&live, &padding)| live || !padding).collect();
        live[node.output as usize].clone_from(&all);
        shrink(node, &all);
        node.inputs.iter().flat_map(|view| &view.lanes).for_each(|&lane| mark(&mut live, lane));
    }
    net.nodes.retain(|node| live[node.output as usize].contains(&true));
    let mut places = HashMap::new();
    for node in &net.nodes {
        let own = &live[node.output as usize];
        let kept = (0..own.len() as u32).filter(|&channel| own[channel as usize]);
        for (slot, channel) in kept.enumerate().filter(|&(slot, channel)| slot as u32 != channel) {
            let value = node.output;
            places.insert(Lane { value, channel }, Lane { value, channel: slot as u32 });
        }
        if let Some(count) = net.values[node.output as usize].shape.get_mut(1) {
            *count = own.iter().filter(|&&live| live).count();
        }
    }
    net.views_mut().for_each(|view| substitute(view, &places));
}

/// Which channels of each value come from filters of zeros: those, and what is made of them channel by channel.
fn padding(net: &Net) -> Vec<Vec<bool>> {
    let mut padding: Vec<Vec<bool>> =
        net.values.iter().map(|value| vec![false; value.shape.get(1).copied().unwrap_or(1)]).collect();
    for node in &net.nodes {
        let mut own = vec![false; padding[node.output as usize].len()];
        match &node.op {
            Op::Conv(conv) => {
                let without = conv.groups.iter().filter(|group| group.channels == 0);
                without.flat_map(|group| &group.filters).for_each(|&filter| own[filter as usize] = true);
            }
            op if op.is_channelwise() => {
                let of = |lane: &Lane| padding[lane.value as usize][lane.channel as usize];
                for view in &node.inputs {
                    own.iter_mut().zip(&view.lanes).for_each(|(own, lane)| *own |= of(lane));
                }
            }
            _ => {}
        }
        padding[node.output as usize] = own;
    }
    padding
}

/// Leaves out a node's output channels that are not in `live`, and what only they need.
fn shrink(node: &mut Node, live: &[bool]) {
    if live.iter().all(|&live| live) {
        return;
    }
    let kept: Vec<usize> = (0..live.len()).filter(|&channel| live[channel]).collect();
    let pick = |of: &mut Vec<f32>| *of = kept.iter().map(|&channel| of[channel]).collect();
    match &mut node.op {
        Op::Conv(conv) => {
            pick(&mut conv.bias);
            drop_filters(conv, &mut node.inputs[0], live);
            return;
        }
        Op::Scale { scale, shift } => {
            pick(scale);
            pick(shift);
        }
        Op::Act(Act::PRelu(slopes)) => pick(slopes),
        _ => {}
    }
    for view in &mut node.inputs {
        let lanes = view.flat();
        *view = View::of(view.n, kept.iter().map(|&channel| lanes[channel]).collect(), &view.pixels);
    }
}

/// Leaves out filters, groups without filters, and the channels of those.
fn drop_filters(conv: &mut Conv, input: &mut View, live: &[bool]) {
    let mut number = vec![0; live.len()];
    for (next, (number, _)) in (0..).zip(number.iter_mut().zip(live).filter(|(_, live)| **live)) {
        *number = next;
    }
    let mut lanes = Vec::with_capacity(input.channels());
    let all = input.flat();
    let mut begin = 0;
    for group in &mut conv.groups {
        let read = &all[begin..begin + group.channels];
        begin += group.channels;
        let row = group.channels * conv.geometry.taps();
        if group.filters.iter().any(|&filter| !live[filter as usize]) {
            let rows = group.filters.iter().enumerate().filter(|(_, filter)| live[**filter as usize]);
            group.weights = rows.flat_map(|(i, _)| group.weights[i * row..(i + 1) * row].iter().copied()).collect();
            group.filters.retain(|&filter| live[filter as usize]);
        }
        if !group.filters.is_empty() {
            lanes.extend(read);
        }
        group.filters.iter_mut().for_each(|filter| *filter = number[*filter as usize]);
    }
    conv.groups.retain(|group| !group.filters.is_empty());
    if let Some(&lane) = all.first() {
        conv.read_something(&mut lanes, lane);
    }
    *input = View::of(input.n, lanes, &input.pixels);
}

/// Leaves out inputs of a fully connected layer whose weights are all zero; at least one stays.
fn drop_columns(linear: &mut Linear, input: &mut View) {
    let channels = input.channels();
    let mut read = vec![false; channels];
    for row in linear.weight.chunks_exact(channels) {
        read.iter_mut().zip(row).for_each(|(read, &weight)| *read |= weight != 0.0);
    }
    if read.iter().all(|&read| read) || input.lane_pixels() != 1 || input.lanes.ndim() != 1 {
        return;
    }
    read[0] |= !read.contains(&true);
    let kept: Vec<usize> = (0..channels).filter(|&channel| read[channel]).collect();
    linear.weight =
        linear.weight.chunks_exact(channels).flat_map(|row| kept.iter().map(|&channel| row[channel])).collect();
    let lanes = input.flat();
    *input = View::of(input.n, kept.iter().map(|&channel| lanes[channel]).collect(), &input.pixels);
}
