//! What the arguments of rearranging operators mean, for constants and activations alike.

use crate::{
    constant::{Constant, check_size},
    error::NodeError,
    fold::{axes_of, axis_of},
    source::Attributes,
};
use std::ops::Range;

/// Which dimensions a `Shape` returns.
pub(crate) fn shape_range(attributes: Attributes<'_>, rank: usize) -> Result<Range<usize>, NodeError> {
    let clamp = |at: i64| (if at < 0 { at + rank as i64 } else { at }).clamp(0, rank as i64) as usize;
    let start = clamp(attributes.int_or("start", 0)?);
    let end = clamp(attributes.int_or("end", rank as i64)?);
    Ok(start..end.max(start))
}

/// The shape that a `Reshape` to `to` gives.
pub(crate) fn reshaped(from: &[usize], to: &[i64], attributes: Attributes<'_>) -> Result<Vec<usize>, NodeError> {
    let zero_is_zero = attributes.int_or("allowzero", 0)? != 0;
    let wrong = || {
        NodeError::invalid(
            format_args!("shape {to:?} for {from:?}"),
            "as many elements: sizes, at most one -1, and 0 where the input has that dimension",
        )
    };
    let mut shape = Vec::with_capacity(to.len());
    let mut inferred = None;
    for (index, &dim) in to.iter().enumerate() {
        shape.push(match dim {
            -1 if inferred.replace(index).is_none() => 1,
            0 if !zero_is_zero => *from.get(index).ok_or_else(wrong)?,
            0.. => usize::try_from(dim).map_err(|_| wrong())?,
            _ => return Err(wrong()),
        });
    }
    let elements: usize = from.iter().product();
    let product = |shape: &[usize]| shape.iter().try_fold(1usize, |product, &dim| product.checked_mul(dim));
    let known = product(&shape).ok_or_else(wrong)?;
    if let Some(index) = inferred {
        shape[index] = elements.checked_div(known).ok_or_else(wrong)?;
    }
    if product(&shape) != Some(elements) {
        return Err(wrong());
    }
    Ok(shape)
}

/// The shape that a `Flatten` gives.
pub(crate) fn flattened(from: &[usize], axis: i64) -> Result<Vec<usize>, NodeError> {
    // One past the last is allowed, but counts from the end start at the last.
    let axis = if axis < 0 { axis_of(axis, from.len())? } else { axis_of(axis, from.len() + 1)? };
    Ok(vec![from[..axis].iter().product(), from[axis..].iter().product()])
}

/// The shape that a `Squeeze` or `Unsqueeze` gives.
pub(crate) fn squeezed(op: &str, from: &[usize], axes: Option<&[i64]>) -> Result<Vec<usize>, NodeError> {
    if op == "Unsqueeze" {
        let axes = axes.ok_or_else(|| NodeError::invalid("no axes", "some"))?;
        let rank = from.len() + axes.len();
        check_size(&vec![1; rank])?;
        let axes = axes_of(axes, rank)?;
        let mut rest = from.iter();
        let dim = |i| if axes.contains(&i) { 1 } else { rest.next().copied().unwrap_or(1) };
        return Ok((0..rank).map(dim).collect());
    }
    let axes = match axes {
        Some(axes) => axes_of(axes, from.len())?,
        None => (0..from.len()).filter(|&axis| from[axis] == 1).collect(),
    };
    if let Some(&axis) = axes.iter().find(|&&axis| from[axis] != 1) {
        return Err(NodeError::invalid(format_args!("a squeeze of axis {axis} of {from:?}"), "a dimension of 1"));
    }
    Ok((0..from.len()).filter(|axis| !axes.contains(axis)).map(|axis| from[axis]).collect())
}

/// The axes of a `Transpose`.
pub(crate) fn transposed(attributes: Attributes<'_>, rank: usize) -> Result<Vec<usize>, NodeError> {
    let Some(axes) = attributes.ints("perm")? else { return Ok((0..rank).rev().collect()) };
    let all = axes_of(axes, rank)?;
    if all.len() != rank {
        return Err(NodeError::invalid(format_args!("axes {axes:?}"), format_args!("all {rank}")));
    }
    axes.iter().map(|&axis| axis_of(axis, rank)).collect()
}

/// The shape that a concatenation gives.
pub(crate) fn concatenated(shapes: &[&[usize]], axis: usize) -> Result<Vec<usize>, NodeError> {
    let mut shape = shapes[0].to_vec();
    for other in &shapes[1..] {
        let same =
            other.len() == shape.len() && other.iter().zip(&shape).enumerate().all(|(i, (a, b))| i == axis || a == b);
        if !same {
            return Err(NodeError::invalid(
                format_args!("shapes {:?} and {other:?}", shapes[0]),
                format_args!("shapes that differ only along axis {axis}"),
            ));
        }
        shape[axis] = shape[axis].saturating_add(other[axis]);
    }
    check_size(&shape)?;
    Ok(shape)
}

/// The indices that a `Slice` keeps along each of its axes. `arguments` gives integers by the number of the input or the name of the attribute.
pub(crate) fn slices(
    from: &[usize],
    arguments: impl Fn(usize, &str) -> Result<Option<Vec<i64>>, NodeError>,
) -> Result<Vec<(usize, Vec<usize>)>, NodeError> {
    let missing = |what: &str| NodeError::invalid(format_args!("no {what}"), "some");
    let starts = arguments(1, "starts")?.ok_or_else(|| missing("starts"))?;
    let ends = arguments(2, "ends")?.ok_or_else(|| missing("ends"))?;
    let axes = arguments(3, "axes")?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps = arguments(4, "steps")?.unwrap_or_else(|| vec![1; starts.len()]);
    if [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
        let found =
            format!("{} starts, {} ends, {} axes and {} steps", starts.len(), ends.len(), axes.len(), steps.len());
        return Err(NodeError::invalid(found, "as many of each"));
    }
    axes_of(&axes, from.len())?;
    let mut slices = Vec::with_capacity(starts.len());
    for (((start, end), axis), step) in starts.into_iter().zip(ends).zip(axes).zip(steps) {
        let axis = axis_of(axis, from.len())?;
        let dim = from[axis] as i64;
        let place = |at: i64, low: i64, high: i64| (if at < 0 { at.saturating_add(dim) } else { at }).clamp(low, high);
        let range: Vec<usize> = match step {
            1.. => (place(start, 0, dim)..place(end, 0, dim)).step_by(step as usize).map(|i| i as usize).collect(),
            ..0 => {
                let (first, last) = (place(start, -1, dim - 1), place(end, -1, dim - 1));
                let step = usize::try_from(step.unsigned_abs()).unwrap_or(usize::MAX);
                ((last + 1)..=first).rev().step_by(step).map(|i| i as usize).collect()
            }
            0 => return Err(NodeError::invalid("a step of 0", "another one")),
        };
        slices.push((axis, range));
    }
    Ok(slices)
}

/// The sizes of the parts of a `Split` of `dim` elements into `outputs`.
pub(crate) fn split_sizes(
    dim: usize,
    sizes: Option<&[i64]>,
    outputs: usize,
    attributes: Attributes<'_>,
) -> Result<Vec<usize>, NodeError> {
    let Some(sizes) = sizes else {
        let parts = usize::try_from(attributes.int_or("num_outputs", outputs as i64)?).unwrap_or(0);
        if parts == 0 || parts != outputs {
            return Err(NodeError::invalid(format_args!("{parts} parts"), format_args!("{outputs}, the outputs")));
        }
        let size = dim.div_ceil(parts);
        return Ok((0..parts).map(|part| (dim - (part * size).min(dim)).min(size)).collect());
    };
    let parts: Option<Vec<usize>> = sizes.iter().map(|&size| usize::try_from(size).ok()).collect();
    let fits = |parts: &Vec<usize>| {
        parts.len() == outputs && parts.iter().try_fold(0usize, |sum, &part| sum.checked_add(part)) == Some(dim)
    };
    parts.filter(fits).ok_or_else(|| {
        NodeError::invalid(format_args!("parts {sizes:?}"), format_args!("{outputs} that add up to {dim}"))
    })
}

/// Indices from 0 along a dimension of `dim`.
pub(crate) fn indices(of: impl Iterator<Item = i64>, dim: usize) -> Result<Vec<usize>, NodeError> {
    of.map(|index| {
        axis_of(index, dim)
            .map_err(|_| NodeError::invalid(format_args!("index {index}"), format_args!("-{dim}..{dim}")))
    })
    .collect()
}

/// The arguments of a `Pad`.
pub(crate) struct Pads<'a> {
    /// Elements before the first, for each dimension.
    pub(crate) before: Vec<i64>,
    /// Elements behind the last.
    pub(crate) after: Vec<i64>,
    pub(crate) value: f32,
    pub(crate) mode: &'a str,
}

/// The arguments of a `Pad` of `rank` dimensions; `input` gives the constants among its inputs.
pub(crate) fn pads<'a>(
    attributes: Attributes<'a>,
    rank: usize,
    input: &dyn Fn(usize) -> Result<Option<Constant>, NodeError>,
) -> Result<Pads<'a>, NodeError> {
    let pads = match (attributes.ints("pads")?, input(1)?) {
        (Some(pads), _) => pads.to_vec(),
        (None, Some(pads)) => pads.to_ints()?,
        (None, None) => return Err(NodeError::invalid("no pads", "some")),
    };
    let value = match input(2)? {
        Some(value) => value.to_floats()?.first().copied().unwrap_or(0.0),
        None => attributes.float_or("value", 0.0)?,
    };
    let axes = match input(3)? {
        Some(axes) => axes.to_ints()?.into_iter().map(|axis| axis_of(axis, rank)).collect::<Result<Vec<_>, _>>()?,
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * axes.len() {
        return Err(NodeError::invalid(format_args!("{} pads", pads.len()), format_args!("{}", 2 * axes.len())));
    }
    let (mut before, mut after) = (vec![0; rank], vec![0; rank]);
    for (i, &axis) in axes.iter().enumerate() {
        (before[axis], after[axis]) = (pads[i], pads[i + axes.len()]);
    }
    Ok(Pads { before, after, value, mode: attributes.string_or("mode", "constant")? })
}
