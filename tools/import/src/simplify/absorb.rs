//! Padding and strides that stand as nodes of their own become attributes of the layers that read them.

use super::{producers, through};
use crate::net::{Act, Geometry, Lane, Net, Node, Op, ValueId, View};
use flgc::model::graph::Pool;
use std::collections::HashMap;

/// Largest stride and padding that a layer of the model can have.
const MAX_WINDOW: usize = 4_096;

/// Looks at each layer's input until there is nothing left to take in.
pub(super) fn absorb(net: &mut Net) {
    let producers = producers(net);
    for index in 0..net.nodes.len() {
        while let Some((change, input)) = absorbed(net, &producers, index) {
            let node = &mut net.nodes[index];
            match (&mut node.op, change) {
                (Op::Conv(conv), Change::Conv(geometry)) => conv.geometry = geometry,
                (Op::Pool { pool, .. }, Change::Pool(changed)) => *pool = changed,
                _ => unreachable!("a change fits its layer"),
            }
            node.inputs[0] = input;
        }
    }
}

/// What a layer becomes.
enum Change {
    Conv(Geometry),
    Pool(Pool),
}

/// The node at `index` with what stands before it taken in, and what it then reads.
fn absorbed(net: &Net, producers: &HashMap<ValueId, usize>, index: usize) -> Option<(Change, View)> {
    let node = &net.nodes[index];
    let input = node.inputs.first()?;
    let before: Vec<&Node> =
        input.lanes.iter().map(|lane| producers.get(&lane.value).map(|&at| &net.nodes[at])).collect::<Option<_>>()?;
    let first = before.first()?;
    // Pixels lie as they were made, and all were made of pixels that lay alike.
    let pixels = &first.inputs.first()?.pixels;
    let alike = |node: &&Node| {
        let made = net.values[node.output as usize].shape.get(2..).unwrap_or_default();
        made == input.pixels && node.inputs[0].pixels == *pixels
    };
    if !before.iter().all(alike) {
        return None;
    }
    let change = match (&node.op, &first.op) {
        (Op::Conv(conv), Op::Pad(pad)) if all(&before, |op| matches!(op, Op::Pad(other) if other == pad)) => {
            Change::Conv(Geometry { pad: std::array::from_fn(|i| conv.geometry.pad[i] + pad[i]), ..conv.geometry })
        }
        // A pool of single pixels only leaves pixels out.
        (Op::Conv(conv), Op::Pool { pool: before_it, .. })
            if conv.geometry.kernel == [1, 1]
                && conv.geometry.pad == [0; 4]
                && before_it.kernel == [1, 1]
                && before_it.pad == [0; 4]
                && all(&before, |op| matches!(op, Op::Pool { pool, .. } if pool == before_it)) =>
        {
            let stride = std::array::from_fn(|i| conv.geometry.stride[i].saturating_mul(before_it.stride[i]));
            Change::Conv(Geometry { stride, ..conv.geometry })
        }
        (Op::Pool { pool, average }, Op::Pad(pad))
            if pool.pad == [0; 4]
                && pool.dilation == [1, 1]
                && !pool.ceil
                && all(&before, |op| matches!(op, Op::Pad(other) if other == pad)) =>
        {
            // Each window has a pixel of the map, and where the largest counts none is below the padding's zero.
            let reach = |axis: usize| pad[axis].max(pad[axis + 2]) < pool.kernel[axis];
            let sound = *average || before.iter().all(|pad| is_positive(net, producers, pad));
            if !(sound && reach(0) && reach(1)) {
                return None;
            }
            Change::Pool(Pool { pad: *pad, count_pad: *average, ..*pool })
        }
        _ => return None,
    };
    let sizes = match &change {
        Change::Conv(geometry) => [&geometry.pad[..], &geometry.stride].concat(),
        Change::Pool(pool) => pool.pad.to_vec(),
    };
    if sizes.iter().any(|&size| size > MAX_WINDOW) {
        return None;
    }
    let lanes: Vec<Lane> =
        input.lanes.iter().zip(&before).map(|(lane, node)| through(node, lane.channel)).collect::<Option<_>>()?;
    Some((change, View::of(input.n, lanes, pixels)))
}

fn all(nodes: &[&Node], of: impl Fn(&Op) -> bool) -> bool {
    nodes.iter().all(|node| of(&node.op))
}

/// Whether what `node` reads is never negative.
fn is_positive(net: &Net, producers: &HashMap<ValueId, usize>, node: &Node) -> bool {
    node.inputs[0].lanes.iter().all(|lane| {
        let act = producers.get(&lane.value).map(|&at| &net.nodes[at].op);
        matches!(act, Some(Op::Act(Act::Clamp { low, .. })) if *low >= 0.0)
            || matches!(act, Some(Op::Act(Act::Sigmoid | Act::HardSigmoid { .. })))
    })
}
