//! Operators that compute.

use super::{Call, axes_of, axis_of, broadcast};
use crate::{
    constant::{Array, Constant},
    error::NodeError,
    proto::data_type,
};
use ndarray::{ArrayD, ArrayView1, Axis, Ix2, IxDyn, Zip};

pub(super) fn fold(op: &str, call: &Call<'_>) -> Result<Option<Vec<Constant>>, NodeError> {
    let one = |constant: Constant| Ok(Some(vec![constant]));
    match op {
        "Add" | "Sub" | "Mul" | "Div" | "Pow" | "Mod" => one(arithmetic(op, call)?),
        "Min" | "Max" | "Sum" => one(fold_all(op, call)?),
        "Equal" | "Less" | "Greater" | "LessOrEqual" | "GreaterOrEqual" => one(compare(op, call)?),
        "And" | "Or" | "Xor" => {
            let (a, b) = (call.input(0)?.as_bool()?, call.input(1)?.as_bool()?);
            let of = |a: bool, b: bool| match op {
                "And" => a && b,
                "Or" => a || b,
                _ => a != b,
            };
            one(binary(call, a, b, of)?.into())
        }
        "Not" => one(call.input(0)?.as_bool()?.mapv(|x| !x).into()),
        "Where" => one(choose(call)?),
        "Cast" | "CastLike" => one(cast(op, call)?),
        "Neg" | "Abs" | "Sqrt" | "Reciprocal" | "Exp" | "Log" | "Floor" | "Ceil" | "Round" | "Sign" | "Tanh"
        | "Sigmoid" | "Relu" => one(unary(op, call)?),
        "Clip" => one(clip(call)?),
        "ReduceMax" | "ReduceMin" | "ReduceSum" | "ReduceMean" | "ReduceProd" | "ReduceL1" | "ReduceL2"
        | "ReduceSumSquare" => one(reduce(op, call)?),
        "Softmax" => one(softmax(call)?),
        "ArgMax" | "ArgMin" => one(arg(op, call)?),
        "MatMul" => one(matmul(call.input(0)?, call.input(1)?, call)?),
        _ => Ok(None),
    }
}

/// Element by element, after broadcasting.
fn binary<A: Clone, B: Clone, R>(
    call: &Call<'_>,
    a: &Array<A>,
    b: &Array<B>,
    of: impl Fn(A, B) -> R,
) -> Result<ArrayD<R>, NodeError> {
    let to = broadcast(a.shape(), b.shape())?;
    call.charge(&to)?;
    let (a, b) = (a.broadcast(IxDyn(&to)), b.broadcast(IxDyn(&to)));
    let (Some(a), Some(b)) = (a, b) else { unreachable!("both were just broadcast to {to:?}") };
    Ok(Zip::from(&a).and(&b).map_collect(|a, b| of(a.clone(), b.clone())))
}

fn arithmetic(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let (a, b) = (call.input(0)?, call.input(1)?);
    if let (Constant::Float(a), "Pow", Constant::Int(b)) = (a, op, b) {
        return Ok(binary(call, a, b, |a, b| a.powf(b as f32))?.into());
    }
    if let Constant::Float(a) = a {
        let of = |a: f32, b: f32| match op {
            "Add" => a + b,
            "Sub" => a - b,
            "Mul" => a * b,
            "Div" => a / b,
            "Pow" => a.powf(b),
            _ => a % b,
        };
        return Ok(binary(call, a, b.as_float()?, of)?.into());
    }
    let (a, b) = (a.as_int()?, b.as_int()?);
    let fmod = call.attributes.int_or("fmod", 0)? != 0;
    let of = |a: i64, b: i64| match op {
        "Add" => a.checked_add(b),
        "Sub" => a.checked_sub(b),
        "Mul" => a.checked_mul(b),
        "Div" => a.checked_div(b),
        "Pow" => u32::try_from(b).ok().and_then(|b| a.checked_pow(b)),
        _ if fmod => a.checked_rem(b),
        // The sign of the divisor, as Python has it.
        _ => a.checked_rem(b).map(|rest| if rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest }),
    };
    all_there(binary(call, a, b, of)?, op)
}

/// The elements, if each could be computed.
fn all_there(results: ArrayD<Option<i64>>, op: &str) -> Result<Constant, NodeError> {
    if results.iter().any(Option::is_none) {
        return Err(NodeError::invalid(format_args!("{op} of integers beyond 64 bits or by zero"), "a result"));
    }
    Ok(results.mapv(|x| x.unwrap_or(0)).into())
}

fn fold_all(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let mut result = call.input(0)?.clone();
    for index in 1..call.inputs.len() {
        let next = call.input(index)?;
        result = match (&result, op) {
            (Constant::Float(a), "Min") => binary(call, a, next.as_float()?, f32::min)?.into(),
            (Constant::Float(a), "Max") => binary(call, a, next.as_float()?, f32::max)?.into(),
            (Constant::Float(a), _) => binary(call, a, next.as_float()?, |a, b| a + b)?.into(),
            (a, "Min") => binary(call, a.as_int()?, next.as_int()?, i64::min)?.into(),
            (a, "Max") => binary(call, a.as_int()?, next.as_int()?, i64::max)?.into(),
            (a, _) => all_there(binary(call, a.as_int()?, next.as_int()?, i64::checked_add)?, op)?,
        };
    }
    Ok(result)
}

fn compare(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    fn of<T: PartialOrd>(op: &str) -> impl Fn(T, T) -> bool + '_ {
        move |a, b| match op {
            "Equal" => a == b,
            "Less" => a < b,
            "Greater" => a > b,
            "LessOrEqual" => a <= b,
            _ => a >= b,
        }
    }
    let b = call.input(1)?;
    Ok(match call.input(0)? {
        Constant::Float(a) => binary(call, a, b.as_float()?, of(op))?.into(),
        Constant::Int(a) => binary(call, a, b.as_int()?, of(op))?.into(),
        Constant::Bool(a) => binary(call, a, b.as_bool()?, of(op))?.into(),
    })
}

fn choose(call: &Call<'_>) -> Result<Constant, NodeError> {
    let (mask, a, b) = (call.input(0)?.as_bool()?, call.input(1)?, call.input(2)?);
    let to = broadcast(&broadcast(mask.shape(), a.shape())?, b.shape())?;
    call.charge(&to)?;
    fn of<T: Clone>(mask: &Array<bool>, a: &Array<T>, b: &Array<T>, to: &[usize]) -> Option<Array<T>> {
        let (mask, a, b) = (mask.broadcast(IxDyn(to))?, a.broadcast(IxDyn(to))?, b.broadcast(IxDyn(to))?);
        let pick = |&mask: &bool, a: &T, b: &T| if mask { a.clone() } else { b.clone() };
        Some(Zip::from(&mask).and(&a).and(&b).map_collect(pick).into_shared())
    }
    let result = match a {
        Constant::Float(a) => of(mask, a, b.as_float()?, &to).map(Constant::Float),
        Constant::Int(a) => of(mask, a, b.as_int()?, &to).map(Constant::Int),
        Constant::Bool(a) => of(mask, a, b.as_bool()?, &to).map(Constant::Bool),
    };
    result.ok_or_else(|| NodeError::invalid("shapes", "shapes that can be broadcast"))
}

fn cast(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    let to = if op == "Cast" {
        call.attributes.int_or("to", 0)? as i32
    } else {
        match call.input(1)? {
            Constant::Float(_) => data_type::FLOAT,
            Constant::Int(_) => data_type::INT64,
            Constant::Bool(_) => data_type::BOOL,
        }
    };
    Ok(match to {
        data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16 => match input {
            Constant::Float(_) => input.clone(),
            Constant::Int(array) => array.mapv(|x| x as f32).into(),
            Constant::Bool(array) => array.mapv(|x| f32::from(u8::from(x))).into(),
        },
        data_type::BOOL => match input {
            Constant::Float(array) => array.mapv(|x| x != 0.0).into(),
            Constant::Int(array) => array.mapv(|x| x != 0).into(),
            Constant::Bool(_) => input.clone(),
        },
        data_type::UINT8..=data_type::INT64 | data_type::UINT32 | data_type::UINT64 => match input {
            Constant::Float(array) => array.mapv(|x| x as i64).into(),
            Constant::Int(_) => input.clone(),
            Constant::Bool(array) => array.mapv(i64::from).into(),
        },
        other => return Err(NodeError::unsupported(format_args!("{op} to {}", data_type::name(other)))),
    })
}

fn unary(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    call.charge(input.shape())?;
    if let Constant::Int(array) = input {
        return Ok(match op {
            "Neg" => array.mapv(i64::wrapping_neg).into(),
            "Abs" => array.mapv(i64::wrapping_abs).into(),
            "Sign" => array.mapv(i64::signum).into(),
            "Relu" => array.mapv(|x| x.max(0)).into(),
            _ => return Err(NodeError::unsupported(format_args!("{op} of integers"))),
        });
    }
    let of: fn(f32) -> f32 = match op {
        "Neg" => |x| -x,
        "Abs" => f32::abs,
        "Sqrt" => f32::sqrt,
        "Reciprocal" => f32::recip,
        "Exp" => f32::exp,
        "Log" => f32::ln,
        "Floor" => f32::floor,
        "Ceil" => f32::ceil,
        "Round" => f32::round_ties_even,
        "Sign" => |x| if x == 0.0 { 0.0 } else { x.signum() },
        "Tanh" => f32::tanh,
        "Sigmoid" => |x| 1.0 / (1.0 + (-x).exp()),
        _ => |x| x.max(0.0),
    };
    Ok(input.as_float()?.mapv(of).into())
}

fn clip(call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    if let Constant::Int(array) = input {
        let bound = |i: usize, none: i64| -> Result<i64, NodeError> {
            Ok(call.optional(i).map(Constant::to_ints).transpose()?.and_then(|v| v.first().copied()).unwrap_or(none))
        };
        let (low, high) = (bound(1, i64::MIN)?, bound(2, i64::MAX)?);
        return Ok(array.mapv(|x| x.max(low).min(high)).into());
    }
    let bound = |i: usize, name: &str, none: f32| -> Result<f32, NodeError> {
        match call.optional(i) {
            Some(constant) => Ok(constant.to_floats()?.first().copied().unwrap_or(none)),
            None => call.attributes.float_or(name, none),
        }
    };
    let (low, high) = (bound(1, "min", f32::NEG_INFINITY)?, bound(2, "max", f32::INFINITY)?);
    Ok(input.as_float()?.mapv(|x| x.max(low).min(high)).into())
}

fn reduce(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    let rank = input.shape().len();
    let axes = match call.ints(1, "axes")? {
        Some(axes) if !axes.is_empty() => axes_of(&axes, rank)?,
        _ if call.attributes.int_or("noop_with_empty_axes", 0)? != 0 => return Ok(input.clone()),
        _ => (0..rank).collect(),
    };
    let keep = call.attributes.int_or("keepdims", 1)? != 0;
    call.charge(input.shape())?;
    let count: usize = axes.iter().map(|&axis| input.shape()[axis]).product();
    // From the last axis on, so that the numbers of the others stay.
    fn along<T: Clone>(array: &Array<T>, axes: &[usize], keep: bool, first: T, of: impl Fn(&T, &T) -> T) -> ArrayD<T> {
        let mut result = array.to_owned();
        for &axis in axes.iter().rev() {
            result = result.fold_axis(Axis(axis), first.clone(), &of);
            if keep {
                result.insert_axis_inplace(Axis(axis));
            }
        }
        result
    }
    if let Constant::Int(array) = input {
        return Ok(match op {
            "ReduceMax" => along(array, &axes, keep, i64::MIN, |a, b| *a.max(b)).into(),
            "ReduceMin" => along(array, &axes, keep, i64::MAX, |a, b| *a.min(b)).into(),
            "ReduceSum" => along(array, &axes, keep, 0, |a, b| a.wrapping_add(*b)).into(),
            "ReduceProd" => along(array, &axes, keep, 1, |a, b| a.wrapping_mul(*b)).into(),
            _ => return Err(NodeError::unsupported(format_args!("{op} of integers"))),
        });
    }
    let array = input.as_float()?;
    Ok(match op {
        "ReduceMax" => along(array, &axes, keep, f32::NEG_INFINITY, |a, b| a.max(*b)).into(),
        "ReduceMin" => along(array, &axes, keep, f32::INFINITY, |a, b| a.min(*b)).into(),
        "ReduceProd" => along(array, &axes, keep, 1.0, |a, b| a * b).into(),
        "ReduceSum" => along(array, &axes, keep, 0.0, |a, b| a + b).into(),
        "ReduceL1" => along(&array.mapv(f32::abs).into_shared(), &axes, keep, 0.0, |a, b| a + b).into(),
        "ReduceL2" => {
            along(&array.mapv(|x| x * x).into_shared(), &axes, keep, 0.0, |a, b| a + b).mapv(f32::sqrt).into()
        }
        "ReduceSumSquare" => along(&array.mapv(|x| x * x).into_shared(), &axes, keep, 0.0, |a, b| a + b).into(),
        _ => (along(array, &axes, keep, 0.0, |a, b| a + b) / count as f32).into(),
    })
}

fn softmax(call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?.as_float()?;
    let old = call.opset < 13;
    let axis = axis_of(call.attributes.int_or("axis", if old { 1 } else { -1 })?, input.ndim())?;
    call.charge(input.shape())?;
    let shape = input.shape().to_vec();
    // Before version 13 everything from the axis on is one row.
    let rows = if old { vec![shape[..axis].iter().product(), shape[axis..].iter().product()] } else { shape.clone() };
    let mut result = ArrayD::from_shape_vec(IxDyn(&rows), input.iter().copied().collect())
        .map_err(|error| NodeError::invalid(error, "as many elements"))?;
    let axis = if old { 1 } else { axis };
    for mut row in result.lanes_mut(Axis(axis)) {
        let max = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        row.mapv_inplace(|x| (x - max).exp());
        let sum: f32 = row.sum();
        row.mapv_inplace(|x| x / sum);
    }
    let elements = result.into_iter().collect();
    Ok(ArrayD::from_shape_vec(IxDyn(&shape), elements).map_err(|error| NodeError::invalid(error, "as many"))?.into())
}

fn arg(op: &str, call: &Call<'_>) -> Result<Constant, NodeError> {
    let input = call.input(0)?;
    let axis = axis_of(call.attributes.int_or("axis", 0)?, input.shape().len())?;
    let last = call.attributes.int_or("select_last_index", 0)? != 0;
    call.charge(input.shape())?;
    fn best<T: PartialOrd + Copy>(row: ArrayView1<'_, T>, max: bool, last: bool) -> i64 {
        let mut best = 0;
        for i in 1..row.len() {
            let better = if max { row[i] > row[best] } else { row[i] < row[best] };
            if better || last && row[i] == row[best] {
                best = i;
            }
        }
        best as i64
    }
    let max = op == "ArgMax";
    let mut result = match input {
        Constant::Int(array) => array.map_axis(Axis(axis), |row| best(row, max, last)),
        other => other.as_float()?.map_axis(Axis(axis), |row| best(row, max, last)),
    };
    if call.attributes.int_or("keepdims", 1)? != 0 {
        result.insert_axis_inplace(Axis(axis));
    }
    Ok(result.into())
}

fn matmul(a: &Constant, b: &Constant, call: &Call<'_>) -> Result<Constant, NodeError> {
    let (a, b) = (a.as_float()?, b.as_float()?);
    let two = |array: &Array<f32>| array.clone().into_dimensionality::<Ix2>();
    let (Ok(a), Ok(b)) = (two(a), two(b)) else {
        return Err(NodeError::unsupported("MatMul of constants that are not matrices"));
    };
    if a.ncols() != b.nrows() {
        return Err(NodeError::invalid(format_args!("matrices {:?} and {:?}", a.dim(), b.dim()), "shapes that fit"));
    }
    call.charge(&[a.nrows(), b.ncols()])?;
    // Some multiply-adds cost as much as an element.
    call.folder.work((a.nrows() * b.ncols()).saturating_mul(a.ncols()) / 16)?;
    Ok(a.dot(&b).into_dyn().into())
}
