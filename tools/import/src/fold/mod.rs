//! Operators on constants: what an exported network computes from its weights alone, such as the mask of a learned grouping, is computed here, once.

mod arithmetic;
mod shapes;

use crate::{constant::Constant, error::NodeError, source::Attributes};
use std::cell::Cell;

/// Computes constants from constants, within limits.
pub(crate) struct Folder {
    pub(crate) opset: i64,
    /// Most elements of one constant.
    most: usize,
    /// Elements that may still be read or written.
    work_left: Cell<usize>,
}

/// One operation on constants.
pub(crate) struct Call<'a> {
    pub(crate) attributes: Attributes<'a>,
    /// `None` where an optional input is left out.
    pub(crate) inputs: &'a [Option<Constant>],
    pub(crate) opset: i64,
    folder: &'a Folder,
}

impl Folder {
    /// For operators of version `opset`; a constant has at most `memory_limit` bytes, and the work is that of some such constants.
    pub(crate) fn new(opset: i64, memory_limit: u64) -> Self {
        let most = usize::try_from(memory_limit / size_of::<i64>() as u64).unwrap_or(usize::MAX);
        Self { opset, most, work_left: Cell::new(most.saturating_mul(16)) }
    }

    /// Most elements of one constant, or of all that are kept.
    pub(crate) const fn most(&self) -> usize {
        self.most
    }

    /// Takes so many elements from what may be read or written.
    pub(crate) fn work(&self, elements: usize) -> Result<(), NodeError> {
        let left = self.work_left.get().checked_sub(elements);
        let left = left.ok_or_else(|| {
            let expected = format!("at most {} elements in the whole network", self.most.saturating_mul(16));
            NodeError::invalid("more work on constants", expected)
        })?;
        self.work_left.set(left);
        Ok(())
    }

    /// The outputs of an operation on constants; `None` if it is not known here.
    pub(crate) fn fold(
        &self,
        attributes: Attributes<'_>,
        inputs: &[Option<Constant>],
    ) -> Result<Option<Vec<Constant>>, NodeError> {
        self.work(inputs.iter().flatten().map(|input| input.shape().iter().product::<usize>()).sum())?;
        let call = Call { attributes, inputs, opset: self.opset, folder: self };
        let op = attributes.0.op_type.as_str();
        match shapes::fold(op, &call)? {
            Some(outputs) => Ok(Some(outputs)),
            None => arithmetic::fold(op, &call),
        }
    }
}

impl Call<'_> {
    /// Input `index`, if it is there.
    fn optional(&self, index: usize) -> Option<&Constant> {
        self.inputs.get(index).and_then(Option::as_ref)
    }

    /// Input `index`, which has to be there.
    fn input(&self, index: usize) -> Result<&Constant, NodeError> {
        self.optional(index).ok_or_else(|| NodeError::invalid(format_args!("no input {index}"), "one"))
    }

    /// Refuses a result that is too large, before it is made.
    fn charge(&self, shape: &[usize]) -> Result<(), NodeError> {
        crate::constant::check_size(shape)?;
        let elements = shape.iter().product::<usize>();
        if elements > self.folder.most {
            let expected = format!("at most {} elements, by the limit of memory", self.folder.most);
            return Err(NodeError::invalid(format_args!("a constant of shape {shape:?}"), expected));
        }
        self.folder.work(elements)
    }

    /// Integers that newer operators take as input `index`, and older ones as attribute `name`.
    fn ints(&self, index: usize, name: &str) -> Result<Option<Vec<i64>>, NodeError> {
        match self.optional(index) {
            Some(constant) => constant.to_ints().map(Some),
            None => Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec)),
        }
    }
}

/// `axis` of `rank` dimensions, counted from the end if it is negative.
pub(crate) fn axis_of(axis: i64, rank: usize) -> Result<usize, NodeError> {
    let index = if axis < 0 { axis + rank as i64 } else { axis };
    usize::try_from(index)
        .ok()
        .filter(|&index| index < rank)
        .ok_or_else(|| NodeError::invalid(format_args!("axis {axis}"), format_args!("-{rank}..{rank}")))
}

/// Axes of `rank` dimensions, sorted, each once.
pub(crate) fn axes_of(axes: &[i64], rank: usize) -> Result<Vec<usize>, NodeError> {
    let mut sorted = axes.iter().map(|&axis| axis_of(axis, rank)).collect::<Result<Vec<_>, _>>()?;
    sorted.sort_unstable();
    sorted.dedup();
    if sorted.len() != axes.len() {
        return Err(NodeError::invalid(format_args!("axes {axes:?}"), "each once"));
    }
    Ok(sorted)
}

/// The shape that both `a` and `b` are broadcast to.
pub(crate) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, NodeError> {
    let rank = a.len().max(b.len());
    let dim = |shape: &[usize], i: usize| (i + shape.len()).checked_sub(rank).map_or(1, |i| shape[i]);
    (0..rank)
        .map(|i| match (dim(a, i), dim(b, i)) {
            (a, b) if a == b => Ok(a),
            (1, b) => Ok(b),
            (a, 1) => Ok(a),
            _ => Err(NodeError::invalid(format_args!("shapes {a:?} and {b:?}"), "shapes that can be broadcast")),
        })
        .collect()
}
