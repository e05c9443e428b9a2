//! Convolutions, fully connected layers, batch norm.

use super::{Call, Lowering, pair};
use crate::{
    constant::Constant,
    error::NodeError,
    groups::{Found, discover},
    net::{Conv, Geometry, Linear, Op, Origin, View},
};

/// Most channels or filters of a convolution: their groups are counted in 16 bits.
const MAX_CHANNELS: usize = 1 << 15;

impl Lowering<'_> {
    pub(super) fn conv(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let weight = call.constant(1)?;
        let (filters, channels, kernel) = match *weight.shape() {
            [filters, channels, h, w] => (filters, channels, [h, w]),
            _ => return Err(NodeError::unsupported(format_args!("Conv with weights of shape {:?}", weight.shape()))),
        };
        let [n, c, h, w] = call.map()?;
        let groups = usize::try_from(call.attributes.int_or("group", 1)?).unwrap_or(0);
        if groups == 0
            || c == 0
            || channels.checked_mul(groups) != Some(c)
            || !filters.is_multiple_of(groups)
            || filters == 0
        {
            let found = format!("weights {:?} and {groups} groups for {c} channels", weight.shape());
            return Err(NodeError::invalid(found, "filters and channels that fit"));
        }
        if c.max(filters) > MAX_CHANNELS {
            let found = format!("{c} channels and {filters} filters");
            return Err(NodeError::invalid(found, format_args!("at most {MAX_CHANNELS} each")));
        }
        if pair(call, "kernel_shape", kernel)? != kernel || kernel.contains(&0) {
            return Err(NodeError::invalid("a kernel_shape other than the weights'", format_args!("{kernel:?}")));
        }
        let (stride, dilation) = (pair(call, "strides", [1, 1])?, pair(call, "dilations", [1, 1])?);
        let pad = window_pads(call, [h, w], kernel, stride, dilation)?;
        let geometry = Geometry { kernel, stride, pad, dilation };
        let size = |axis: usize| {
            let inner = [h, w][axis] + pad[axis] + pad[axis + 2];
            let reach = dilation[axis] * (kernel[axis] - 1) + 1;
            inner.checked_sub(reach).map(|rest| rest / stride[axis] + 1)
        };
        let (Some(h), Some(w)) = (size(0), size(1)) else {
            return Err(NodeError::invalid(format_args!("a map of {h}x{w} pixels"), "at least the size of the kernel"));
        };
        let bias = per_filter(call.optional_constant(2)?, filters)?;
        let stored = weight.as_float()?;
        let weight = stored.as_slice().map(std::borrow::Cow::from).unwrap_or_else(|| stored.iter().copied().collect());
        let macs = (weight.len() as u64).saturating_mul((n * h * w) as u64);
        let Found { groups: found, mut lanes } =
            discover(&weight, &call.view(0)?.flat(), filters, groups, geometry.taps());
        self.net.macs = self.net.macs.saturating_add(macs);
        let origin = Origin { nodes: 1, groups, macs };
        let mut conv = Conv { geometry, groups: found, bias, origin };
        conv.read_something(&mut lanes, call.view(0)?.lanes[[0].as_slice()]);
        let input = View::of(n, lanes, &call.view(0)?.pixels);
        self.layer(call, Op::Conv(conv), vec![input], &[n, filters, h, w])
    }

    pub(super) fn gemm(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        if call.attributes.int_or("transA", 0)? != 0 {
            return Err(NodeError::unsupported("Gemm with transA"));
        }
        let (alpha, beta) = (call.attributes.float_or("alpha", 1.0)?, call.attributes.float_or("beta", 1.0)?);
        let [rows, columns] = matrix(call.constant(1)?)?;
        let weight = call.constant(1)?.to_floats()?;
        let is_filters_first = call.attributes.int_or("transB", 0)? != 0;
        let (channels, features) = if is_filters_first { (columns, rows) } else { (rows, columns) };
        let mut weight = if is_filters_first { weight } else { transposed(&weight, rows, columns) };
        weight.iter_mut().for_each(|w| *w *= alpha);
        let mut bias = match call.optional_constant(2)? {
            None => vec![0.0; features],
            Some(bias) => match *bias.shape() {
                [] | [1] | [1, 1] => vec![bias.to_floats()?[0]; features],
                [n] | [1, n] if n == features => bias.to_floats()?,
                _ => return Err(NodeError::unsupported(format_args!("Gemm with a bias of shape {:?}", bias.shape()))),
            },
        };
        bias.iter_mut().for_each(|b| *b *= beta);
        self.linear(call, channels, weight, bias)
    }

    pub(super) fn matmul(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let [rows, columns] = matrix(call.constant(1)?)?;
        let weight = transposed(&call.constant(1)?.to_floats()?, rows, columns);
        self.linear(call, rows, weight, vec![0.0; columns])
    }

    fn linear(
        &mut self,
        call: &Call<'_>,
        channels: usize,
        weight: Vec<f32>,
        bias: Vec<f32>,
    ) -> Result<View, NodeError> {
        let view = call.view(0)?;
        let op = &call.node.op_type;
        match view.shape()[..] {
            [n, c] if c == channels && c > 0 && !bias.is_empty() => {
                let input = view.reshape(&[n, c]).unwrap_or_else(|| view.clone());
                let (features, macs) = (bias.len(), (weight.len() as u64).saturating_mul(n as u64));
                self.net.macs = self.net.macs.saturating_add(macs);
                let linear = Linear { weight, bias, macs };
                self.layer(call, Op::Linear(linear), vec![input], &[n, features])
            }
            [_, c] => Err(NodeError::invalid(format_args!("an input of {c} channels"), channels)),
            _ => Err(NodeError::unsupported(format_args!(
                "{op} of an activation with {} dimensions",
                view.shape().len()
            ))),
        }
    }

    pub(super) fn batch_norm(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        if call.attributes.int_or("training_mode", 0)? != 0 {
            return Err(NodeError::unsupported("BatchNormalization in training mode"));
        }
        if call.attributes.int_or("spatial", 1)? == 0 {
            return Err(NodeError::unsupported("BatchNormalization of single pixels (spatial = 0)"));
        }
        let view = call.view(0)?;
        let channels = view.shape().get(1).copied().unwrap_or(1);
        if view.channels() != channels {
            return Err(NodeError::unsupported(
                "BatchNormalization of an activation whose channels and pixels are mixed",
            ));
        }
        let epsilon = f64::from(call.attributes.float_or("epsilon", 1e-5)?);
        let of = |index: usize| -> Result<Vec<f32>, NodeError> {
            let values = call.constant(index)?.to_floats()?;
            let count = values.len();
            if count != channels {
                return Err(NodeError::invalid(format_args!("{count} values in input {index}"), channels));
            }
            Ok(values)
        };
        let (gamma, beta, mean, variance) = (of(1)?, of(2)?, of(3)?, of(4)?);
        let (mut scale, mut shift) = (Vec::with_capacity(channels), Vec::with_capacity(channels));
        for c in 0..channels {
            let deviation = (f64::from(variance[c]) + epsilon).sqrt();
            if deviation.is_nan() || deviation <= 0.0 {
                return Err(NodeError::invalid(
                    format_args!("a variance of {}", variance[c]),
                    "more than zero with epsilon",
                ));
            }
            let factor = f64::from(gamma[c]) / deviation;
            scale.push(factor as f32);
            shift.push((f64::from(beta[c]) - f64::from(mean[c]) * factor) as f32);
        }
        self.scale(call, view.clone(), scale, shift)
    }
}

/// `[rows, columns]` of a constant.
fn matrix(constant: &Constant) -> Result<[usize; 2], NodeError> {
    match *constant.shape() {
        [rows, columns] => Ok([rows, columns]),
        _ => Err(NodeError::unsupported(format_args!("a product with a constant of shape {:?}", constant.shape()))),
    }
}

fn transposed(matrix: &[f32], rows: usize, columns: usize) -> Vec<f32> {
    (0..columns).flat_map(|column| (0..rows).map(move |row| matrix[row * columns + column])).collect()
}

/// A value for each filter; zeros if there are none.
fn per_filter(constant: Option<&Constant>, filters: usize) -> Result<Vec<f32>, NodeError> {
    let Some(constant) = constant else { return Ok(vec![0.0; filters]) };
    let values = constant.to_floats()?;
    if values.len() != filters {
        return Err(NodeError::invalid(format_args!("{} biases", values.len()), filters));
    }
    Ok(values)
}

/// The padding of a convolution or pool: `pads`, or what `auto_pad` makes of the sizes; `[top, left, bottom, right]`.
pub(super) fn window_pads(
    call: &Call<'_>,
    size: [usize; 2],
    kernel: [usize; 2],
    stride: [usize; 2],
    dilation: [usize; 2],
) -> Result<[usize; 4], NodeError> {
    let upper = match call.attributes.string_or("auto_pad", "NOTSET")? {
        "NOTSET" => {
            let Some(pads) = call.attributes.ints("pads")? else { return Ok([0; 4]) };
            let fits = |&pad: &i64| (0..=4096).contains(&pad);
            return match *pads {
                [top, left, bottom, right] if pads.iter().all(fits) => {
                    Ok([top, left, bottom, right].map(|pad| pad as usize))
                }
                [_, _, _, _] => Err(NodeError::invalid(format_args!("pads {pads:?}"), "numbers from 0 to 4096")),
                _ => Err(NodeError::unsupported(format_args!(
                    "{} over {} dimensions",
                    call.node.op_type,
                    pads.len() / 2
                ))),
            };
        }
        "VALID" => return Ok([0; 4]),
        "SAME_UPPER" => true,
        "SAME_LOWER" => false,
        other => {
            return Err(NodeError::invalid(
                format_args!("auto_pad {other:?}"),
                "NOTSET, VALID, SAME_UPPER or SAME_LOWER",
            ));
        }
    };
    let mut pad = [0; 4];
    for axis in 0..2 {
        let reach = dilation[axis] * (kernel[axis] - 1) + 1;
        let total = ((size[axis].div_ceil(stride[axis]) - 1) * stride[axis] + reach).saturating_sub(size[axis]);
        let (small, large) = (total / 2, total - total / 2);
        (pad[axis], pad[axis + 2]) = if upper { (small, large) } else { (large, small) };
    }
    Ok(pad)
}
