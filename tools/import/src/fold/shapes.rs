//! Operators that rearrange elements, or know shapes.

use super::{Call, axis_of, broadcast};
use crate::{
    constant::{Array, Constant},
    error::NodeError,
    shape,
};
use ndarray::{ArrayD, Axis, IxDyn, Slice, concatenate};

/// Does `$body` with the array in `$constant` as `$array`, whatever its type.
macro_rules! each_type {
    ($constant:expr, $array:ident => $body:expr) => {
        match $constant {
            Constant::Float($array) => Constant::Float($body),
            Constant::Int($array) => Constant::Int($body),
            Constant::Bool($array) => Constant::Bool($body),
        }
    };
}

pub(super) fn fold(op: &str, call: &Call<'_>) -> Result<Option<Vec<Constant>>, NodeError> {
    let one = |constant: Constant| Ok(Some(vec![constant]));
    match op {
        "Identity" | "Dropout" => one(call.input(0)?.clone()),
        "Shape" => {
            let dims: Vec<i64> = call.input(0)?.shape().iter().map(|&dim| dim as i64).collect();
            let range = shape::shape_range(call.attributes, dims.len())?;
            one(Constant::ints(dims[range].to_vec()))
        }
        "Size" => {
            let elements: usize = call.input(0)?.shape().iter().product();
            one(ArrayD::from_elem(IxDyn(&[]), elements as i64).into())
        }
        "ConstantOfShape" => one(constant_of_shape(call)?),
        "Reshape" => {
            let input = call.input(0)?;
            let to = shape::reshaped(input.shape(), &call.input(1)?.to_ints()?, call.attributes)?;
            one(reshape(input, &to)?)
        }
        "Flatten" => {
            let input = call.input(0)?;
            let to = shape::flattened(input.shape(), call.attributes.int_or("axis", 1)?)?;
            one(reshape(input, &to)?)
        }
        "Squeeze" | "Unsqueeze" => {
            let input = call.input(0)?;
            let axes = call.ints(1, "axes")?;
            let to = shape::squeezed(op, input.shape(), axes.as_deref())?;
            one(reshape(input, &to)?)
        }
        "Transpose" => {
            let input = call.input(0)?;
            let axes = shape::transposed(call.attributes, input.shape().len())?;
            call.charge(input.shape())?;
            one(
                each_type!(input, array => array.clone().permuted_axes(IxDyn(&axes)).as_standard_layout().into_owned().into_shared()),
            )
        }
        "Concat" => one(concat(call)?),
        "Slice" => one(slice(call)?),
        "Split" => split(call).map(Some),
        "Gather" => one(gather(call)?),
        "Expand" => {
            let input = call.input(0)?;
            let asked = crate::constant::shape_of(&call.input(1)?.to_ints()?)?;
            let to = broadcast(input.shape(), &asked)?;
            call.charge(&to)?;
            one(expand(input, &to))
        }
        "Tile" => one(tile(call)?),
        "Range" => one(range(call)?),
        "OneHot" => one(one_hot(call)?),
        "ScatterElements" | "Scatter" => one(scatter(call)?),
        "Pad" => one(pad(call)?),
        _ => Ok(None),
    }
}

fn reshape(input: &Constant, to: &[usize]) -> Result<Constant, NodeError> {
    let wrong =
        |_| NodeError::invalid(format_args!("shape {to:?} for a constant of {:?}", input.shape()), "as many elements");
    Ok(match input {
        Constant::Float(array) => Constant::Float(reshaped(array, to).map_err(wrong)?),
        Constant::Int(array) => Constant::Int(reshaped(array, to).map_err(wrong)?),
        Constant::Bool(array) => Constant::Bool(reshaped(array, to).map_err(wrong)?),
    })
}

fn reshaped<T: Clone>(array: &Array<T>, to: &[usize]) -> Result<Array<T>, ndarray::ShapeError> {
    Ok(array.to_shape(IxDyn(to))?.into_owned().into_shared())
}

/// `input` broadcast to a shape that [`broadcast`] made.
fn expand(input: &Constant, to: &[usize]) -> Constant {
    each_type!(input, array => array.broadcast(IxDyn(to)).expect("broadcast to a common shape").to_owned().into_shared())
}

fn constant_of_shape(call: &Call<'_>) -> Result<Constant, NodeError> {
    let shape = crate::constant::shape_of(&call.input(0)?.to_ints()?)?;
    call.charge(&shape)?;
    let value = match call.attributes.get("value").and_then(|attribute| attribute.t.as_ref()) {
        Some(tensor) => crate::constant::decode(tensor, None)?,
        None => ArrayD::from_elem(IxDyn(&[1]), 0.0f32).into(),
    };
    if value.shape().iter().product::<usize>() != 1 {
        return Err(NodeError::invalid(format_args!("a value of shape {:?}", value.shape()), "one element"));
    }
    Ok(expand(&reshape(&value, &[])?, &shape))
}

fn concat(call: &Call<'_>) -> Result<Constant, NodeError> {
    let inputs: Vec<&Constant> = (0..call.inputs.len()).map(|i| call.input(i)).collect::<Result<_, _>>()?;
    let first = call.input(0)?;
    let axis = axis_of(call.attributes.int_or("axis", 1)?, first.shape().len())?;
    call.charge(&shape::concatenated(&inputs.iter().map(|input| input.shape()).collect::<Vec<_>>(), axis)?)?;
    fn join<'a, T: Clone + 'a>(
        parts: impl Iterator<Item = Result<&'a Array<T>, NodeError>>,
        axis: usize,
    ) -> Result<Array<T>, NodeError> {
        let parts = parts.collect::<Result<Vec<_>, _>>()?;
        let views: Vec<_> = parts.iter().map(|part| part.view()).collect();
        let joined = concatenate(Axis(axis), &views).map_err(|error| NodeError::invalid(error, "shapes that fit"))?;
        Ok(joined.into_shared())
    }
    let inputs = inputs.into_iter();
    Ok(match first {
        Constant::Float(_) => Constant::Float(join(inputs.map(Constant::as_float), axis)?),
        Constant::Int(_) => Constant::Int(join(inputs.map(Constant::as_int), axis)?),
        Constant::Bool(_) => Constant::Bool(join(inputs.map(Constant::as_bool), axis)?),
    })
}

fn slice(call: &Call<'_>) -> Result<Constant, NodeError> {
    let mut result = call.input(0)?.clone();
    let arguments = |index: usize, name: &str| call.ints(index, name);
    let ranges = shape::slices(call.input(0)?.shape(), arguments)?;
    call.charge(call.input(0)?.shape())?;
    for (axis, indices) in ranges {
        result = each_type!(&result, array => array.select(Axis(axis), &indices).into_shared());
    }
    Ok(result)
}

fn split(call: &Call<'_>) -> Result<Vec<Constant>, NodeError> {
    let input = call.input(0)?;
    let axis = axis_of(call.attributes.int_or("axis", 0)?, input.shape().len())?;
    let sizes = call.ints(1, "split")?;
    let outputs = call.attributes.0.output.len();
    let sizes = shape::split_sizes(input.shape()[axis], sizes.as_deref(), outputs, call.attributes)?;
    call.charge(input.shape())?;
    let mut begin = 0;
    let parts = sizes.into_iter().map(|size| {
        let range = Slice::from(begin..begin + size);
        begin += size;
        each_type!(input, array => array.slice_axis(Axis(axis), range).to_owned().into_shared())
    });
    Ok(parts.collect())
}

fn gather(call: &Call<'_>) -> Result<Constant, NodeError> {
    let (input, at) = (call.input(0)?, call.input(1)?.as_int()?);
    let axis = axis_of(call.attributes.int_or("axis", 0)?, input.shape().len())?;
    let indices = shape::indices(at.iter().copied(), input.shape()[axis])?;
    let mut to = input.shape().to_vec();
    to.splice(axis..=axis, at.shape().iter().copied());
    call.charge(&to)?;
    let picked = each_type!(input, array => array.select(Axis(axis), &indices).into_shared());
    reshape(&picked, &to)
}

fn tile(call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    let repeats = crate::constant::shape_of(&call.input(1)?.to_ints()?)?;
    if repeats.len() != input.shape().len() {
        return Err(NodeError::invalid(format_args!("{} repeats", repeats.len()), input.shape().len()));
    }
    let to: Vec<usize> = input.shape().iter().zip(&repeats).map(|(dim, times)| dim.saturating_mul(*times)).collect();
    call.charge(&to)?;
    let mut result = input.clone();
    for (axis, &times) in repeats.iter().enumerate() {
        let dim = input.shape()[axis];
        let indices: Vec<usize> = (0..dim * times).map(|i| i % dim.max(1)).collect();
        result = each_type!(&result, array => array.select(Axis(axis), &indices).into_shared());
    }
    Ok(result)
}

fn range(call: &Call<'_>) -> Result<Constant, NodeError> {
    if let Constant::Float(_) = call.input(0)? {
        let single = |i: usize| Ok(call.input(i)?.to_floats()?.first().copied().unwrap_or(0.0));
        let (start, limit, delta) = (single(0)?, single(1)?, single(2)?);
        let count = ((limit - start) / delta).ceil().max(0.0);
        if !count.is_finite() {
            return Err(NodeError::invalid(format_args!("a range by {delta}"), "a step that ends it"));
        }
        call.charge(&[count as usize])?;
        let values: Vec<f32> = (0..count as usize).map(|i| start + i as f32 * delta).collect();
        return Ok(ArrayD::from(ndarray::Array1::from(values).into_dyn()).into());
    }
    let single = |i: usize| {
        call.input(i)?.to_ints()?.first().copied().ok_or_else(|| NodeError::invalid("an empty bound", "one integer"))
    };
    let (start, limit, delta) = (i128::from(single(0)?), i128::from(single(1)?), i128::from(single(2)?));
    if delta == 0 {
        return Err(NodeError::invalid("a range by 0", "a step that ends it"));
    }
    let count = usize::try_from(((limit - start + delta - delta.signum()) / delta).max(0)).unwrap_or(usize::MAX);
    call.charge(&[count])?;
    Ok(Constant::ints((0..count as i128).map(|i| (start + i * delta) as i64).collect()))
}

fn one_hot(call: &Call<'_>) -> Result<Constant, NodeError> {
    let at = match call.input(0)? {
        Constant::Float(array) => array.mapv(|x| x as i64).into_shared(),
        other => other.as_int()?.clone(),
    };
    let depth = match call.input(1)? {
        Constant::Float(array) => array.iter().next().map(|&x| x as i64),
        other => other.as_int()?.iter().next().copied(),
    };
    let depth = depth
        .and_then(|depth| usize::try_from(depth).ok())
        .ok_or_else(|| NodeError::invalid("no depth", "one number"))?;
    let axis = axis_of(call.attributes.int_or("axis", -1)?, at.ndim() + 1)?;
    let mut to = at.shape().to_vec();
    to.insert(axis, depth);
    call.charge(&to)?;
    let hot = |at: i64, index: usize| {
        let at = if at < 0 { at.saturating_add(depth as i64) } else { at };
        at == index as i64
    };
    let choice = |index: &IxDyn| {
        let mut rest: Vec<usize> = ndarray::Dimension::slice(index).to_vec();
        let class = rest.remove(axis);
        usize::from(hot(at[&rest[..]], class))
    };
    let values = call.input(2)?;
    if values.shape() != [2] {
        return Err(NodeError::invalid(format_args!("values of shape {:?}", values.shape()), "[off, on]"));
    }
    Ok(each_type!(values, array => {
        let (off, on) = (array[[0].as_slice()], array[[1].as_slice()]);
        ArrayD::from_shape_fn(IxDyn(&to), |index| if choice(&index) == 1 { on } else { off }).into_shared()
    }))
}

fn scatter(call: &Call<'_>) -> Result<Constant, NodeError> {
    let (input, at, updates) = (call.input(0)?, call.input(1)?.as_int()?, call.input(2)?);
    if call.attributes.string_or("reduction", "none")? != "none" {
        return Err(NodeError::unsupported("ScatterElements with a reduction"));
    }
    let axis = axis_of(call.attributes.int_or("axis", 0)?, input.shape().len())?;
    let inside = at.ndim() == input.shape().len()
        && at.shape().iter().zip(input.shape()).enumerate().all(|(i, (at, input))| i == axis || at <= input);
    if at.shape() != updates.shape() || !inside {
        let found = format!("indices {:?} and updates {:?} for {:?}", at.shape(), updates.shape(), input.shape());
        return Err(NodeError::invalid(found, "shapes that fit"));
    }
    call.charge(input.shape())?;
    fn put<T: Clone>(
        input: &Array<T>,
        at: &Array<i64>,
        updates: &Array<T>,
        axis: usize,
    ) -> Result<Array<T>, NodeError> {
        let mut result = input.to_owned();
        for ((index, &to), update) in at.indexed_iter().zip(updates) {
            let mut place = ndarray::Dimension::slice(&index).to_vec();
            place[axis] = axis_of(to, input.shape()[axis])?;
            result[&place[..]] = update.clone();
        }
        Ok(result.into_shared())
    }
    Ok(match input {
        Constant::Float(array) => Constant::Float(put(array, at, updates.as_float()?, axis)?),
        Constant::Int(array) => Constant::Int(put(array, at, updates.as_int()?, axis)?),
        Constant::Bool(array) => Constant::Bool(put(array, at, updates.as_bool()?, axis)?),
    })
}

/// Constant padding of weights, as exporters of "same" convolutions emit.
fn pad(call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    let shape::Pads { before, after, value, mode } =
        shape::pads(call.attributes, input.shape().len(), &|i| Ok(call.optional(i).cloned()))?;
    let (Constant::Float(array), "constant") = (input, mode) else {
        return Err(NodeError::unsupported(format_args!(
            "Pad of a constant with mode {mode:?} and type {}",
            input.type_name()
        )));
    };
    if before.iter().chain(&after).any(|&pad| pad < 0) {
        return Err(NodeError::unsupported("Pad of a constant with negative sizes"));
    }
    let to: Vec<usize> = (0..before.len())
        .map(|i| input.shape()[i].saturating_add((before[i] as usize).saturating_add(after[i] as usize)))
        .collect();
    call.charge(&to)?;
    let mut result = ArrayD::from_elem(IxDyn(&to), value);
    let inner = |axis: Axis| {
        let (begin, len) = (before[axis.0] as usize, array.shape()[axis.0]);
        Slice::from(begin..begin + len)
    };
    result.slice_each_axis_mut(|of| inner(of.axis)).assign(array);
    Ok(result.into())
}
