//! Activations that exporters spell out become what they are: x * sigmoid(x), x * clip(x + 3, 0, 6) / 6 and the like.

use super::{made_by, producers, uniform_scale};
use crate::net::{Act, Net, Node, Op, ValueId, View};
use std::collections::HashMap;

/// How far constants may be from those of the activation that they spell.
const TOLERANCE: f32 = 1e-6;

/// Replaces each layer that ends such a pattern.
pub(super) fn patterns(net: &mut Net) {
    let producers = producers(net);
    for index in 0..net.nodes.len() {
        let Some((act, input)) = hard_sigmoid(net, &producers, index).or_else(|| gated(net, &producers, index)) else {
            continue;
        };
        let node = &mut net.nodes[index];
        (node.op, node.inputs) = (Op::Act(act), vec![input]);
    }
}

/// The layer before `node`, if it reads all of one.
fn before<'a>(net: &'a Net, producers: &HashMap<ValueId, usize>, node: &Node) -> Option<&'a Node> {
    made_by(net, producers, node.inputs.first()?).map(|at| &net.nodes[at])
}

/// `clip(a x + b, 0, top)` as `top * hard_sigmoid`: the slope and the value at zero of that, the top, and x.
fn ramp<'a>(net: &'a Net, producers: &HashMap<ValueId, usize>, clamp: &Node) -> Option<(f32, f32, f32, &'a View)> {
    let Op::Act(Act::Clamp { low, high }) = clamp.op else { return None };
    let line = before(net, producers, clamp)?;
    let (a, b) = uniform_scale(&line.op)?;
    (low == 0.0 && high.is_finite() && high > 0.0).then(|| (a / high, b / high, high, &line.inputs[0]))
}

/// A ramp divided by its top.
fn hard_sigmoid(net: &Net, producers: &HashMap<ValueId, usize>, index: usize) -> Option<(Act, View)> {
    let (factor, 0.0) = uniform_scale(&net.nodes[index].op)? else { return None };
    let (alpha, beta, top, x) = ramp(net, producers, before(net, producers, &net.nodes[index])?)?;
    near(factor * top, 1.0).then(|| (Act::HardSigmoid { alpha, beta }, x.clone()))
}

/// x times a gate of x; for a gate that is not yet divided by its top, the division stands behind the product.
fn gated(net: &Net, producers: &HashMap<ValueId, usize>, index: usize) -> Option<(Act, View)> {
    let node = &net.nodes[index];
    let (product, factor) = match (&node.op, uniform_scale(&node.op)) {
        (Op::Multiply, _) => (node, 1.0),
        (_, Some((factor, 0.0))) => (before(net, producers, node)?, factor),
        _ => return None,
    };
    let ([a, b], Op::Multiply) = (&product.inputs[..], &product.op) else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let gate = &net.nodes[made_by(net, producers, gate)?];
        let (act, of) = match gate.op {
            Op::Act(Act::Sigmoid) if factor == 1.0 => (Act::Silu, &gate.inputs[0]),
            Op::Act(Act::HardSigmoid { alpha, beta }) if factor == 1.0 && is_hard_swish(alpha, beta) => {
                (Act::HardSwish, &gate.inputs[0])
            }
            _ => {
                let (alpha, beta, top, of) = ramp(net, producers, gate)?;
                (near(factor * top, 1.0) && is_hard_swish(alpha, beta)).then_some((Act::HardSwish, of))?
            }
        };
        (of == x).then(|| (act, x.clone()))
    })
}

fn is_hard_swish(alpha: f32, beta: f32) -> bool {
    near(alpha, 1.0 / 6.0) && near(beta, 0.5)
}

fn near(a: f32, b: f32) -> bool {
    (a - b).abs() <= TOLERANCE
}
