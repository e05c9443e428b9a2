//! The one validator of models: everything that a plan relies on, beyond the container's own checks.

use super::{
    Model, ModelError, Shape, TensorView,
    format::MAX_NAME,
    graph::{Fit, Image, Input},
    shape,
};
use std::{
    cell::RefCell,
    collections::{BTreeSet, HashSet},
};

/// Largest side that a picture is brought to.
const MAX_RESIZE: usize = 65_535;

/// Checks inputs, nodes, tensors and labels.
pub(super) fn check(model: &Model) -> Result<(), ModelError> {
    let graph = &model.graph;
    if graph.inputs.is_empty() || graph.outputs.is_empty() {
        let found = format!("{} inputs and {} outputs", graph.inputs.len(), graph.outputs.len());
        return Err(ModelError::invalid("the graph", found, "at least one of each"));
    }
    let inputs = graph.inputs.iter().map(check_input).collect::<Result<Vec<Shape>, _>>()?;
    check_names(model)?;
    for (name, info) in &model.tensors {
        let tensor = TensorView::new(info, &model.bytes);
        if let Some((index, x)) = tensor.first_not_finite() {
            return Err(ModelError::invalid(format_args!("tensor {name:?}, element {index}"), x, "a finite number"));
        }
    }
    let mut unused = BTreeSet::new();
    unused.extend(model.tensor_names());
    let unused = RefCell::new(unused);
    let find = |name: &str| {
        unused.borrow_mut().remove(name);
        model.tensor(name)
    };
    let values = shape::infer(graph, &inputs, &find)?;
    if let Some(name) = unused.borrow().first() {
        return Err(ModelError::invalid(format_args!("tensor {name:?}"), "no node that uses it", "at least one"));
    }
    let output = values.id(&graph.outputs[0]).map(|id| values.shape(id));
    if let Some(&classes) = output.as_deref().and_then(<[usize]>::last)
        && !graph.labels.is_empty()
        && graph.labels.len() != classes
    {
        let expected = format!("{classes}, the last dimension of output {:?}", graph.outputs[0]);
        return Err(ModelError::invalid("labels", graph.labels.len(), expected));
    }
    Ok(())
}

fn check_names(model: &Model) -> Result<(), ModelError> {
    let mut names = HashSet::new();
    for node in &model.graph.nodes {
        let place = || shape::Place(node);
        if node.name.is_empty() || node.name.len() > MAX_NAME {
            return Err(ModelError::invalid(
                place(),
                format_args!("a name of {} bytes", node.name.len()),
                format_args!("1 to {MAX_NAME}"),
            ));
        }
        if !names.insert(node.name.as_str()) {
            return Err(ModelError::invalid(place(), "that name again", "a name that no other layer has"));
        }
    }
    Ok(())
}

/// Checks an input and returns its default shape.
fn check_input(input: &Input) -> Result<Shape, ModelError> {
    let invalid = |what: &str, found: &dyn std::fmt::Debug, expected: &str| {
        ModelError::invalid(format_args!("input {:?}, {what}", input.name), format_args!("{found:?}"), expected)
    };
    let shape = Shape::new(&input.shape)
        .ok_or_else(|| invalid("shape", &input.shape, "1 to 6 dimensions from 1 to 16777215"))?;
    if !input.range.is_empty() {
        let inside = |(&dim, &[min, max]): (&usize, &[usize; 2])| min >= 1 && min <= dim && dim <= max;
        if input.range.len() != shape.len()
            || !shape.iter().zip(&input.range).all(inside)
            || Shape::new(&input.range.iter().map(|r| r[1]).collect::<Vec<_>>()).is_none()
        {
            return Err(invalid("range", &input.range, "[min, max] for each dimension, around the one in shape"));
        }
    }
    if let Some(image) = input.image.as_deref() {
        check_image(image, shape, &invalid)?;
    }
    Ok(shape)
}

type Invalid<'a> = dyn Fn(&str, &dyn std::fmt::Debug, &str) -> ModelError + 'a;

fn check_image(image: &Image, shape: Shape, invalid: &Invalid<'_>) -> Result<(), ModelError> {
    let channels = image.channels.count();
    if shape.len() != 4 || shape[1] != channels {
        return Err(invalid("shape", &shape, "[n, 3, h, w] for a colour picture, [n, 1, h, w] for a grey one"));
    }
    if !image.scale.is_finite() || image.scale == 0.0 {
        return Err(invalid("image.scale", &image.scale, "a number other than zero"));
    }
    if let Some(side) = image.resize
        && (image.fit != Fit::Crop || side < shape[2].max(shape[3]) || side > MAX_RESIZE)
    {
        let expected = "at least the input's sides and at most 65535, together with \"fit\": \"crop\"";
        return Err(invalid("image.resize", &side, expected));
    }
    let fits = |values: &[f64]| values.is_empty() || values.len() == channels && values.iter().all(|x| x.is_finite());
    if !fits(&image.mean) {
        return Err(invalid("image.mean", &image.mean, "a number for each channel"));
    }
    if !fits(&image.std) || image.std.contains(&0.0) {
        return Err(invalid("image.std", &image.std, "a number other than zero for each channel"));
    }
    Ok(())
}
