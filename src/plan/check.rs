//! Step 1: the shapes asked for, and limits that are checked before anything large is allocated.

use super::{Options, PlanError};
use crate::model::{
    Model, Shape, Values,
    graph::{Node, Op},
    infer,
};

/// Bytes of bookkeeping that a plan needs for one plane of a layer, at most, or for one element where there are no planes.
const BYTES_PER_PLANE: u64 = 64;
/// Bytes for one element of a view, while it is not yet known to be a list of planes.
const BYTES_PER_ELEMENT: u64 = 8;

/// The shape of each input: the one in `options`, or the model's own.
pub(super) fn input_shapes(model: &Model, options: &Options) -> Result<Vec<Shape>, PlanError> {
    let error =
        |input: &str, found: String, expected: String| PlanError::InputShape { input: input.into(), found, expected };
    let inputs = &model.graph().inputs;
    for (name, shape) in &options.input_shapes {
        if !inputs.iter().any(|input| input.name == *name) {
            let known: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
            return Err(error(name, format!("{shape:?}"), format!("one of the inputs {known:?}")));
        }
    }
    let shape_of = |input: &crate::model::graph::Input| {
        let asked = options.input_shapes.get(&input.name).unwrap_or(&input.shape);
        let range =
            if input.range.is_empty() { input.shape.iter().map(|&d| [d, d]).collect() } else { input.range.clone() };
        let inside =
            asked.len() == range.len() && asked.iter().zip(&range).all(|(d, [min, max])| (min..=max).contains(&d));
        let shape = Shape::new(asked).filter(|_| inside);
        shape.ok_or_else(|| {
            let allowed =
                range.iter().map(|[min, max]| if min == max { min.to_string() } else { format!("{min} to {max}") });
            error(&input.name, format!("{asked:?}"), format!("[{}]", allowed.collect::<Vec<_>>().join(", ")))
        })
    };
    inputs.iter().map(shape_of).collect()
}

/// The shapes of all activations, within the limits.
pub(super) fn check<'m>(model: &'m Model, options: &Options) -> Result<Values<'m>, PlanError> {
    let inputs = input_shapes(model, options)?;
    let values = infer(model.graph(), &inputs, &|name| model.tensor(name))?;
    let (mut work, mut lists) = (0u64, 0u64);
    for input in &model.graph().inputs {
        limit_memory(&input.name, &[values.shape(values.id(&input.name).unwrap_or(0))], false, &mut lists, options)?;
    }
    for node in &model.graph().nodes {
        let shapes = |names: &[String]| {
            names.iter().filter_map(|name| values.id(name)).map(|id| values.shape(id)).collect::<Vec<_>>()
        };
        let (inputs, outputs) = (shapes(&node.inputs), shapes(&node.outputs));
        work = work.saturating_add(work_of(model, node, &inputs, &outputs));
        if work > options.macs_limit {
            return Err(limit(&node.name, "multiply-adds", work, options.macs_limit, "macs_limit"));
        }
        let view = matches!(
            node.op,
            Op::Flatten(_)
                | Op::Reshape(_)
                | Op::Transpose(_)
                | Op::Concat(_)
                | Op::Split(_)
                | Op::Slice(_)
                | Op::GatherChannels(_)
        );
        limit_memory(&node.name, &outputs, view, &mut lists, options)?;
    }
    Ok(values)
}

pub(super) fn limit(layer: &str, what: &'static str, needed: u64, limit: u64, option: &'static str) -> PlanError {
    PlanError::Limit { layer: layer.into(), what, needed, limit, option }
}

/// Refuses activations that alone exceed the memory limit, and plans whose `lists`, in bytes, would.
fn limit_memory(
    layer: &str,
    outputs: &[Shape],
    view: bool,
    lists: &mut u64,
    options: &Options,
) -> Result<(), PlanError> {
    for shape in outputs {
        let elements = shape.elements() as u64;
        let planes = shape.nchw().map_or(elements, |[n, c, ..]| n as u64 * c as u64);
        let list = planes.saturating_mul(BYTES_PER_PLANE);
        let list = if view { list.saturating_add(elements.saturating_mul(BYTES_PER_ELEMENT)) } else { list };
        *lists = lists.saturating_add(list);
        let needed = lists.saturating_add(elements.saturating_mul(4));
        if needed > options.memory_limit {
            return Err(limit(layer, "memory, in bytes,", needed, options.memory_limit, "memory_limit"));
        }
    }
    Ok(())
}

/// Multiply-adds, or other steps of about that cost, that a node takes; saturates.
fn work_of(model: &Model, node: &Node, inputs: &[Shape], outputs: &[Shape]) -> u64 {
    let elements =
        |shapes: &[Shape]| shapes.iter().fold(0u64, |sum, shape| sum.saturating_add(shape.elements() as u64));
    let weights = |name: &str| model.tensor(name).map_or(0, |tensor| tensor.len() as u64);
    match &node.op {
        Op::Conv(conv) => {
            let [n, c, h, w] = outputs[0].nchw().unwrap_or([1; 4]);
            // Outputs of empty groups cost a store each.
            let pixels = (n * h) as u64 * w as u64;
            pixels.saturating_mul(weights(&conv.weight).saturating_add(c as u64))
        }
        Op::Linear(linear) => weights(&linear.weight).saturating_mul(outputs[0][0] as u64),
        Op::MaxPool(pool) | Op::AveragePool(pool) => {
            elements(outputs).saturating_mul((pool.kernel[0] * pool.kernel[1]) as u64)
        }
        _ => elements(inputs).saturating_add(elements(outputs)),
    }
}
