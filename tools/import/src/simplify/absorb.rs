//! Padding and strides that stand as nodes of their own become attributes of the layers that read them.

use super::{pixels_of, producers, through};
use crate::net::{Act, Geometry, Lane, Net, Node, Op, ValueId, View};
use std::collections::HashMap;

/// Looks at each layer's input until there is nothing left to take in.
pub(super) fn absorb(net: &mut Net) {
    let producers = producers(net);
    for index in 0..net.nodes.len() {
        while let Some((op, input)) = absorbed(net, &producers, index) {
            let node = &mut net.nodes[index];
            (node.op, node.inputs[0]) = (op, input);
        }
    }
}

/// The node at `index` with what stands before it taken in.
fn absorbed(net: &Net, producers: &HashMap<ValueId, usize>, index: usize) -> Option<(Op, View)> {
    let node = &net.nodes[index];
    let input = node.inputs.first()?;
    let before: Vec<&Node> =
        input.lanes.iter().map(|lane| producers.get(&lane.value).map(|&at| &net.nodes[at])).collect::<Option<_>>()?;
    let op = match (&node.op, &before.first()?.op) {
        (Op::Conv(conv), Op::Pad(pad)) if all(&before, |op| matches!(op, Op::Pad(other) if other == pad)) => {
            let geometry = Geometry { pad: std::array::from_fn(|i| conv.geometry.pad[i] + pad[i]), ..conv.geometry };
            let mut conv = conv.clone();
            conv.geometry = geometry;
            Op::Conv(conv)
        }
        // A pool of single pixels only leaves pixels out.
        (Op::Conv(conv), Op::Pool { pool: before_it, .. })
            if conv.geometry.kernel == [1, 1]
                && conv.geometry.pad == [0; 4]
                && before_it.kernel == [1, 1]
                && before_it.pad == [0; 4]
                && all(&before, |op| matches!(op, Op::Pool { pool, .. } if pool == before_it)) =>
        {
            let stride = std::array::from_fn(|i| conv.geometry.stride[i] * before_it.stride[i]);
            let mut conv = conv.clone();
            conv.geometry = Geometry { stride, ..conv.geometry };
            Op::Conv(conv)
        }
        (Op::Pool { pool, average }, Op::Pad(pad))
            if pool.pad == [0; 4] && !pool.ceil && all(&before, |op| matches!(op, Op::Pad(other) if other == pad)) =>
        {
            // Each window has a pixel of the map, and where the largest counts none is below the padding's zero.
            let reach = |axis: usize| pad[axis].max(pad[axis + 2]) < pool.kernel[axis];
            let sound = *average || before.iter().all(|pad| is_positive(net, producers, pad));
            if !(sound && reach(0) && reach(1)) {
                return None;
            }
            let mut pool = *pool;
            (pool.pad, pool.count_pad) = (*pad, *average);
            Op::Pool { pool, average: *average }
        }
        _ => return None,
    };
    let lanes: Vec<Lane> =
        input.lanes.iter().zip(&before).map(|(lane, node)| through(node, lane.channel)).collect::<Option<_>>()?;
    let pixels = pixels_of(net, *lanes.first()?);
    Some((op, View::of(input.n, lanes, &pixels)))
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
