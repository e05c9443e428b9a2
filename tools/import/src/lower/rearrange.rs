//! Operators that compute nothing. On whole channels they are lists of lanes; on pixels they become layers that move data.

use super::{Arg, Call, Lowering};
use crate::{
    error::NodeError,
    fold::{axis_of, broadcast},
    net::{Op, View},
    shape,
};
use flgc::model::graph::{Coordinates, Pool, Resize, ResizeMode, Rounding};
use ndarray::IxDyn;

impl Lowering<'_> {
    pub(super) fn rearrange(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        if call.node.op_type == "Concat" {
            return self.concat(call);
        }
        let view = call.view(0)?.clone();
        let from = view.shape();
        match call.node.op_type.as_str() {
            "Reshape" => {
                let to = match call.ints(1, "shape")? {
                    Some(to) => shape::reshaped(&from, &to, call.attributes)?,
                    None => return Err(NodeError::invalid("no shape", "one")),
                };
                self.reshaped(call, &view, &to)
            }
            "Flatten" => self.reshaped(call, &view, &shape::flattened(&from, call.attributes.int_or("axis", 1)?)?),
            "Squeeze" | "Unsqueeze" => {
                let axes = call.ints(1, "axes")?;
                self.reshaped(call, &view, &shape::squeezed(&call.node.op_type, &from, axes.as_deref())?)
            }
            "Transpose" => {
                let axes = shape::transposed(call.attributes, from.len())?;
                if let Some(view) = view.transpose(&axes) {
                    return Ok(view);
                }
                let to: Vec<usize> = axes.iter().map(|&axis| from[axis]).collect();
                self.layer(call, Op::Transpose(axes), vec![view], &to)
            }
            "Slice" => {
                let mut result = view;
                for (axis, indices) in shape::slices(&from, |index, name| call.ints(index, name))? {
                    result = self.select(call, &result, axis, &indices)?;
                }
                Ok(result)
            }
            "Gather" => self.gather(call, &view),
            _ => {
                let asked = crate::constant::shape_of(&call.constant(1)?.to_ints()?)?;
                let to = broadcast(&from, &asked)?;
                let wrong = || NodeError::unsupported(format_args!("Expand of {from:?} to {to:?}"));
                let channels = 1 + view.lanes.ndim();
                let grows = view.lane_pixels() == 1 && to.len() == 4 && view.map().is_some() && to[2] * to[3] > 1;
                let same_pixels = grows || to.get(channels..) == from.get(channels..);
                if to.len() != from.len() || to[0] != from[0] || to.contains(&0) || !same_pixels {
                    return Err(wrong());
                }
                self.charge(to[1..channels].iter().product())?;
                let lanes = view.lanes.broadcast(IxDyn(&to[1..channels])).ok_or_else(wrong)?.to_owned();
                let wide = View { lanes, ..view };
                if !grows {
                    return Ok(wide);
                }
                // One pixel for all.
                let size = Some([to[2], to[3]]);
                let (mode, coordinates, rounding) = (ResizeMode::Nearest, Coordinates::Asymmetric, Rounding::Floor);
                let resize = Resize { mode, size, scale: None, coordinates, rounding };
                self.layer(call, Op::Resize(resize), vec![wide], &to)
            }
        }
    }

    /// Another shape: of the lanes, if they stay whole, or else a layer.
    pub(super) fn reshaped(&mut self, call: &Call<'_>, view: &View, to: &[usize]) -> Result<View, NodeError> {
        match view.reshape(to) {
            Some(view) => Ok(view),
            None => self.layer(call, Op::Reshape, vec![view.clone()], to),
        }
    }

    fn concat(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let views = (0..call.inputs.len()).map(|index| call.view(index).cloned()).collect::<Result<Vec<_>, _>>()?;
        let shapes: Vec<Vec<usize>> = views.iter().map(View::shape).collect();
        let axis = axis_of(call.attributes.int_or("axis", 1)?, shapes[0].len())?;
        let to = shape::concatenated(&shapes.iter().map(Vec::as_slice).collect::<Vec<_>>(), axis)?;
        self.charge(views.iter().map(View::channels).sum())?;
        match View::concat(&views, axis) {
            Some(view) => {
                self.net.hints.push(views);
                Ok(view)
            }
            None => self.layer(call, Op::Concat { axis }, views, &to),
        }
    }

    /// The parts at `indices` along `axis`.
    fn select(&mut self, call: &Call<'_>, view: &View, axis: usize, indices: &[usize]) -> Result<View, NodeError> {
        let op = &call.node.op_type;
        let mut shape = view.shape();
        if indices.iter().copied().eq(0..shape[axis]) {
            return Ok(view.clone());
        }
        let (Some(&first), Some(&last)) = (indices.first(), indices.last()) else {
            return Err(NodeError::unsupported(format_args!("{op} that leaves nothing")));
        };
        self.folder.work(indices.len())?;
        // At most as many lanes as if all dimensions were channels'.
        self.charge(view.channels() / shape[axis].min(view.channels()).max(1) * indices.len())?;
        if let Some(view) = view.select(axis, indices) {
            return Ok(view);
        }
        let step = indices.get(1).map_or(1, |second| second.wrapping_sub(first));
        let even = step > 0
            && step <= 4096
            && indices.iter().enumerate().all(|(i, &index)| index == first.wrapping_add(i * step));
        let map = view.map().filter(|_| axis >= 2);
        if !even || step > 1 && map.is_none() {
            return Err(NodeError::unsupported(format_args!("{op} of single pixels")));
        }
        let whole = first == 0 && indices.len() == shape[axis].div_ceil(step);
        let sliced = if whole {
            view.clone()
        } else {
            shape[axis] = last + 1 - first;
            let slice = Op::Slice { axis, begin: first, end: last + 1 };
            self.layer(call, slice, vec![view.clone()], &shape)?
        };
        if step == 1 {
            return Ok(sliced);
        }
        // Every so many pixels: a pool of single pixels with a stride.
        let mut stride = [1, 1];
        stride[axis - 2] = step;
        shape[axis] = indices.len();
        let pool = Pool { kernel: [1, 1], stride, pad: [0; 4], dilation: [1, 1], ceil: false, count_pad: false };
        self.layer(call, Op::Pool { pool, average: false }, vec![sliced], &shape)
    }

    fn gather(&mut self, call: &Call<'_>, view: &View) -> Result<View, NodeError> {
        let from = view.shape();
        let axis = axis_of(call.attributes.int_or("axis", 0)?, from.len())?;
        let at = call.constant(1)?.as_int()?.clone();
        let indices = shape::indices(at.iter().copied(), from[axis])?;
        let picked = self.select(call, view, axis, &indices)?;
        let mut to = from;
        to.splice(axis..=axis, at.shape().iter().copied());
        if to == picked.shape() { Ok(picked) } else { self.reshaped(call, &picked, &to) }
    }

    pub(super) fn split(&mut self, call: &Call<'_>) -> Result<Vec<Arg>, NodeError> {
        let view = call.view(0)?.clone();
        let shape = view.shape();
        let axis = axis_of(call.attributes.int_or("axis", 0)?, shape.len())?;
        let sizes = call.ints(1, "split")?;
        let sizes = shape::split_sizes(shape[axis], sizes.as_deref(), call.node.output.len(), call.attributes)?;
        let mut begin = 0;
        let mut parts = Vec::with_capacity(sizes.len());
        for size in sizes {
            let indices: Vec<usize> = (begin..begin + size).collect();
            parts.push(Arg::View(self.select(call, &view, axis, &indices)?));
            begin += size;
        }
        Ok(parts)
    }
}
