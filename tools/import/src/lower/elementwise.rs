//! Activations, and arithmetic with constants and between activations.

use super::{Arg, Call, Lowering};
use crate::{
    constant::{Array, Constant},
    error::NodeError,
    fold::{axis_of, broadcast},
    net::{Act, Op, View},
};
use ndarray::IxDyn;

impl Lowering<'_> {
    /// A layer that treats each lane by itself: `inputs` have lanes and pixels in common. The result has the shape of the first.
    fn channelwise(&mut self, call: &Call<'_>, op: Op, inputs: Vec<View>) -> Result<View, NodeError> {
        let like = inputs[0].clone();
        let pixels = inputs.iter().find_map(|input| self.own_pixels(input)).unwrap_or_else(|| plane(&like.pixels));
        let flat = |view: &View| {
            View::of(view.n, view.flat(), if view.lane_pixels() == 1 && pixels.len() == 2 { &[1, 1] } else { &pixels })
        };
        let inputs: Vec<View> = inputs.iter().map(flat).collect();
        let shape = [&[like.n, like.channels()], &*pixels].concat();
        let made = self.layer(call, op, inputs, &shape)?;
        made.reshape(&like.shape()).and_then(|view| view.split_behind(1 + like.lanes.ndim())).ok_or_else(|| {
            NodeError::unsupported(format_args!("{} of an activation of shape {:?}", call.node.op_type, like.shape()))
        })
    }

    /// The pixel dimensions that all values of a view's lanes have, if those are none or two and more than one pixel.
    fn own_pixels(&self, view: &View) -> Option<Vec<usize>> {
        let of = |value: u32| self.net.values[value as usize].shape.get(2..).unwrap_or_default();
        let first = of(view.lanes.first()?.value);
        let same = view.lanes.iter().all(|lane| of(lane.value) == first);
        (same && view.lane_pixels() > 1 && first.len() == 2).then(|| first.to_vec())
    }

    pub(super) fn scale(
        &mut self,
        call: &Call<'_>,
        view: View,
        scale: Vec<f32>,
        shift: Vec<f32>,
    ) -> Result<View, NodeError> {
        self.channelwise(call, Op::Scale { scale, shift }, vec![view])
    }

    pub(super) fn activation(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let view = call.view(0)?.clone();
        let act = match call.node.op_type.as_str() {
            "Relu" => Act::Clamp { low: 0.0, high: f32::INFINITY },
            "Clip" => {
                let bound = |index: usize, name: &str, none: f32| -> Result<f32, NodeError> {
                    match call.optional_constant(index)? {
                        Some(bound) => scalar(bound),
                        None => call.attributes.float_or(name, none),
                    }
                };
                clamp(bound(1, "min", f32::MIN)?, bound(2, "max", f32::MAX)?)?
            }
            "LeakyRelu" => Act::Leaky(call.attributes.float_or("alpha", 0.01)?),
            "PRelu" => {
                let slope = call.constant(1)?.as_float()?.clone();
                Act::PRelu(self.per_lane(call, &view, &slope)?)
            }
            "Sigmoid" => Act::Sigmoid,
            "HardSigmoid" => Act::HardSigmoid {
                alpha: call.attributes.float_or("alpha", 0.2)?,
                beta: call.attributes.float_or("beta", 0.5)?,
            },
            "HardSwish" => Act::HardSwish,
            _ => match call.attributes.float_or("alpha", 1.0)? {
                1.0 => Act::Silu,
                alpha => return Err(NodeError::unsupported(format_args!("Swish with alpha {alpha}"))),
            },
        };
        self.channelwise(call, Op::Act(act), vec![view])
    }

    /// A constant as a value for each lane of `view`, in their order; it may not differ between pixels.
    fn per_lane(&self, call: &Call<'_>, view: &View, constant: &Array<f32>) -> Result<Vec<f32>, NodeError> {
        let shape = view.shape();
        let op = &call.node.op_type;
        let unlike = || {
            NodeError::unsupported(format_args!("{op} of {shape:?} with a constant of shape {:?}", constant.shape()))
        };
        if constant.ndim() > shape.len() || broadcast(&shape, constant.shape())? != shape {
            return Err(unlike());
        }
        // Behind the channels, and in front of them, it may only have ones.
        let mut of = vec![1; shape.len() - constant.ndim()];
        of.extend(constant.shape());
        let channels = 1 + view.lanes.ndim();
        if of[0] != 1 || of[channels..].iter().any(|&dim| dim != 1) {
            return Err(unlike());
        }
        let flat = constant.to_shape(IxDyn(&of[1..channels])).map_err(|_| unlike())?;
        let values = flat.broadcast(view.lanes.raw_dim()).ok_or_else(unlike)?;
        Ok(values.iter().copied().collect())
    }

    pub(super) fn arithmetic(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let mut inputs = call.inputs.iter().flatten();
        let Some(first) = inputs.next() else { return Err(NodeError::invalid("no input", "one or two")) };
        let op = call.node.op_type.as_str();
        if op == "Neg" {
            let view = call.view(0)?.clone();
            let ones = view.channels();
            return self.scale(call, view, vec![-1.0; ones], vec![0.0; ones]);
        }
        let mut result = first.clone();
        for next in inputs {
            result = Arg::View(match (result, next) {
                (Arg::View(a), Arg::View(b)) => self.between(call, op, &a, b)?,
                (Arg::View(a), Arg::Constant(b)) => self.with_constant(call, op, a, b, false)?,
                (Arg::Constant(a), Arg::View(b)) => self.with_constant(call, op, b.clone(), &a, true)?,
                (Arg::Constant(_), Arg::Constant(_)) => {
                    return Err(NodeError::unsupported(format_args!("{op} of two constants and an activation")));
                }
            });
        }
        match result {
            Arg::View(view) => Ok(view),
            Arg::Constant(_) => Err(NodeError::invalid("no activation", "one")),
        }
    }

    /// `view op constant`, or `constant op view` if `turned`.
    fn with_constant(
        &mut self,
        call: &Call<'_>,
        op: &str,
        view: View,
        constant: &Constant,
        turned: bool,
    ) -> Result<View, NodeError> {
        let constant = constant.as_float()?.clone();
        // A larger constant would make the activation larger: only ones in front do no harm.
        let to = broadcast(&view.shape(), constant.shape())?;
        let view = view.reshape(&to).filter(|_| to.iter().product::<usize>() == view.shape().iter().product::<usize>());
        let view = view.ok_or_else(|| {
            NodeError::unsupported(format_args!("{op} with a constant of shape {:?}", constant.shape()))
        })?;
        let values = self.per_lane(call, &view, &constant)?;
        let count = values.len();
        if let "Max" | "Min" = op {
            let bound = values.first().copied().filter(|first| values.iter().all(|x| x == first));
            let bound =
                bound.ok_or_else(|| NodeError::unsupported(format_args!("{op} with a bound for each channel")))?;
            let act = if op == "Max" { clamp(bound, f32::MAX)? } else { clamp(f32::MIN, bound)? };
            return self.channelwise(call, Op::Act(act), vec![view]);
        }
        let ones = vec![1.0; count];
        let (scale, shift) = match (op, turned) {
            ("Add" | "Sum", _) => (ones, values),
            ("Sub", false) => (ones, values.iter().map(|x| -x).collect()),
            ("Sub", true) => (vec![-1.0; count], values),
            ("Mul", _) => (values, vec![0.0; count]),
            ("Div", false) => (values.iter().map(|x| 1.0 / x).collect(), vec![0.0; count]),
            _ => return Err(NodeError::unsupported(format_args!("{op} of a constant by an activation"))),
        };
        self.scale(call, view, scale, shift)
    }

    /// An operation between two activations.
    fn between(&mut self, call: &Call<'_>, op: &str, a: &View, b: &View) -> Result<View, NodeError> {
        if op == "Sub" {
            let count = b.channels();
            let minus = self.scale(call, b.clone(), vec![-1.0; count], vec![0.0; count])?;
            return self.between(call, "Add", a, &minus);
        }
        let to = broadcast(&a.shape(), &b.shape())?;
        let unlike = || {
            NodeError::unsupported(format_args!("{op} of activations of shapes {:?} and {:?}", a.shape(), b.shape()))
        };
        // The boundary between channels and pixels is that of the one that has pixels.
        let behind = [a, b].iter().find(|view| view.lane_pixels() > 1).map_or(to.len(), |view| 1 + view.lanes.ndim());
        if a.shape().len() != b.shape().len() || a.n != b.n {
            return Err(unlike());
        }
        self.charge(
            2 * to[1..behind].iter().fold(1usize, |product, &dim| product.saturating_mul(dim)).min(usize::MAX / 2),
        )?;
        let lanes = IxDyn(&to[1..behind]);
        let brought = |view: &View| {
            let view = view.split_behind(behind)?;
            let fits = view.lane_pixels() == 1 || view.pixels == to[behind..];
            let lanes = view.lanes.broadcast(lanes.clone())?.to_owned();
            fits.then(|| View { lanes, ..view }.settled())
        };
        let (a, b) = (brought(a).ok_or_else(unlike)?, brought(b).ok_or_else(unlike)?);
        // The result has the pixels of the first.
        let (a, b) = if a.lane_pixels() < b.lane_pixels() { (b, a) } else { (a, b) };
        match op {
            "Add" | "Sum" => self.channelwise(call, Op::Add, vec![a, b]),
            "Mul" => self.channelwise(call, Op::Multiply, vec![a, b]),
            _ => Err(NodeError::unsupported(format_args!("{op} of two activations"))),
        }
    }

    pub(super) fn softmax(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let view = call.view(0)?.clone();
        let shape = view.shape();
        let old = call.opset < 13;
        let axis = axis_of(call.attributes.int_or("axis", if old { 1 } else { -1 })?, shape.len())?;
        if !old || shape[axis + 1..].iter().all(|&dim| dim == 1) {
            return self.layer(call, Op::Softmax { axis }, vec![view], &shape);
        }
        // Before version 13 everything from the axis on was one row.
        let rows = [shape[..axis].iter().product(), shape[axis..].iter().product()];
        let flat = self.reshaped(call, &view, &rows)?;
        let made = self.layer(call, Op::Softmax { axis: 1 }, vec![flat], &rows)?;
        self.reshaped(call, &made, &shape)
    }
}

/// One number.
pub(super) fn scalar(constant: &Constant) -> Result<f32, NodeError> {
    match constant.to_floats()?[..] {
        [value] => Ok(value),
        _ => Err(NodeError::invalid(format_args!("a constant of shape {:?}", constant.shape()), "one number")),
    }
}

/// A clamp; the largest floats are no bounds.
fn clamp(low: f32, high: f32) -> Result<Act, NodeError> {
    let low = if low <= f32::MIN { f32::NEG_INFINITY } else { low };
    let high = if high >= f32::MAX { f32::INFINITY } else { high };
    if low.is_nan() || high.is_nan() || low == f32::INFINITY || high == f32::NEG_INFINITY {
        return Err(NodeError::invalid(format_args!("bounds {low} and {high}"), "numbers"));
    }
    if low > high {
        return Err(NodeError::unsupported("a smallest value above the largest"));
    }
    Ok(Act::Clamp { low, high })
}

/// `pixels` as the dimensions of a plane: none or two.
fn plane(pixels: &[usize]) -> Vec<usize> {
    match pixels {
        [] | [_, _] => pixels.to_vec(),
        _ if pixels.iter().product::<usize>() == 1 => Vec::new(),
        _ => vec![1, pixels.iter().product()],
    }
}
