//! Pools, resizes, padding.

use super::{Call, Lowering, conv::window_pads, pair};
use crate::{
    error::NodeError,
    fold::axes_of,
    net::{Conv, Op, View},
    shape,
};
use flgc::model::graph::{Coordinates, Pool, Resize, ResizeMode, Rounding};

impl Lowering<'_> {
    pub(super) fn pool(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let average = call.node.op_type == "AveragePool";
        if self.is_read(call, 1) {
            return Err(NodeError::unsupported("MaxPool whose indices are used"));
        }
        let [n, c, h, w] = call.map()?;
        let kernel = pair(call, "kernel_shape", [0; 2])?;
        if kernel.contains(&0) {
            return Err(NodeError::invalid("no kernel_shape", "one"));
        }
        let (stride, dilation) = (pair(call, "strides", [1, 1])?, pair(call, "dilations", [1, 1])?);
        if average && dilation != [1, 1] {
            return Err(NodeError::unsupported("AveragePool with dilations"));
        }
        let pad = window_pads(call, [h, w], kernel, stride, dilation)?;
        let ceil = call.attributes.int_or("ceil_mode", 0)? != 0;
        let count_pad = average && call.attributes.int_or("count_include_pad", 0)? != 0;
        let size = |axis: usize| {
            let inner = [h, w][axis] + pad[axis] + pad[axis + 2];
            let rest = inner.checked_sub(dilation[axis] * (kernel[axis] - 1) + 1)?;
            let windows = 1 + if ceil { rest.div_ceil(stride[axis]) } else { rest / stride[axis] };
            // A window that would start in the padding at the end is dropped.
            let starts_behind = (windows - 1) * stride[axis] >= [h, w][axis] + pad[axis];
            Some(windows - usize::from(ceil && starts_behind && windows > 1))
        };
        let (Some(out_h), Some(out_w)) = (size(0), size(1)) else {
            return Err(NodeError::invalid(format_args!("a map of {h}x{w} pixels"), "at least the size of the window"));
        };
        let pool = Pool { kernel, stride, pad, dilation, ceil, count_pad };
        let input = flat(call.view(0)?);
        self.layer(call, Op::Pool { pool, average }, vec![input], &[n, c, out_h, out_w])
    }

    pub(super) fn global_pool(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let op = call.node.op_type.as_str();
        let average = matches!(op, "GlobalAveragePool" | "ReduceMean");
        let view = call.view(0)?;
        let shape = view.shape();
        let rank = shape.len();
        let reduces = matches!(op, "ReduceMean" | "ReduceMax");
        let axes = match call.ints(1, "axes")? {
            Some(axes) if reduces && !axes.is_empty() => axes_of(&axes, rank)?,
            _ if reduces && call.attributes.int_or("noop_with_empty_axes", 0)? != 0 => return Ok(view.clone()),
            _ if reduces => (0..rank).collect(),
            _ => (2..rank).collect(),
        };
        let first = 1 + view.lanes.ndim();
        // Dimensions of one element may be among the axes or not.
        let reduced = |axis: usize| axes.contains(&axis);
        let only_pixels = (0..first).all(|axis| !reduced(axis) || shape[axis] == 1);
        let all_pixels = (first..rank).all(|axis| reduced(axis) || shape[axis] == 1);
        if !only_pixels || !(all_pixels || view.pixels.len() == 2) {
            return Err(NodeError::unsupported(format_args!(
                "{op} over axes {axes:?} of {shape:?}, which are not its pixels"
            )));
        }
        let keep = !reduces || call.attributes.int_or("keepdims", 1)? != 0;
        let to: Vec<usize> = (0..rank)
            .filter(|axis| keep || !axes.contains(axis))
            .map(|axis| if axes.contains(&axis) { 1 } else { shape[axis] })
            .collect();
        let wrong = || NodeError::unsupported(format_args!("{op} of an activation of shape {shape:?}"));
        if view.lane_pixels() == 1 {
            return view.reshape(&to).ok_or_else(wrong);
        }
        let pixels = match view.pixels[..] {
            [h, w] => [h, w],
            _ => [1, view.lane_pixels()],
        };
        let (n, c) = (view.n, view.channels());
        let input = View::of(n, view.flat(), &pixels);
        if !all_pixels {
            // Rows or columns: a window as long as they are.
            let kernel = std::array::from_fn(|i| if reduced(first + i) { pixels[i] } else { 1 });
            let out: [usize; 2] = std::array::from_fn(|i| if reduced(first + i) { 1 } else { pixels[i] });
            let pool = Pool { kernel, stride: [1, 1], pad: [0; 4], dilation: [1, 1], ceil: false, count_pad: false };
            let made = self.layer(call, Op::Pool { pool, average }, vec![input], &[n, c, out[0], out[1]])?;
            return self.reshaped(call, &made, &to);
        }
        let made = self.layer(call, Op::GlobalPool { average }, vec![input], &[n, c, 1, 1])?;
        made.reshape(&to).ok_or_else(wrong)
    }

    pub(super) fn resize(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let [n, c, h, w] = call.map()?;
        let op = &call.node.op_type;
        // Until version 10 the only inputs are the map and its scales, and places are divided by the scale.
        let old = op == "Upsample" || call.opset < 11;
        let scales = match (old, call.opset) {
            (true, ..9) => call.attributes.get("scales").map(|attribute| attribute.floats.clone()),
            (true, _) => Some(call.constant(1)?.to_floats()?),
            _ => call.optional_constant(2)?.map(|scales| scales.to_floats()).transpose()?,
        };
        let scales = scales.filter(|scales| !scales.is_empty());
        let sizes = if old { None } else { call.optional_constant(3)?.map(|sizes| sizes.to_ints()).transpose()? };
        let count = scales.as_ref().map(Vec::len).or(sizes.as_ref().map(Vec::len)).unwrap_or(0);
        let axes = match call.attributes.ints("axes")? {
            Some(axes) => axes.iter().map(|&axis| crate::fold::axis_of(axis, 4)).collect::<Result<Vec<_>, _>>()?,
            None => (0..4).collect(),
        };
        if axes.len() != count {
            return Err(NodeError::invalid(format_args!("{count} scales or sizes"), axes.len()));
        }
        let (mut scale, mut size) = ([1.0f64; 4], [n, c, h, w]);
        for (i, &axis) in axes.iter().enumerate() {
            let from = size[axis];
            match (&scales, &sizes) {
                (Some(scales), _) => {
                    scale[axis] = scales[i].into();
                    // In single precision, as other runtimes do it.
                    let to = (from as f32 * scales[i]).floor();
                    size[axis] = if (1.0..16_777_216.0).contains(&to) { to as usize } else { 0 };
                }
                (None, Some(sizes)) => size[axis] = usize::try_from(sizes[i]).unwrap_or(0),
                (None, None) => {}
            }
        }
        if size.contains(&0) || size[..2] != [n, c] {
            let found = format!("a resize of {:?} to {size:?}", [n, c, h, w]);
            return Err(NodeError::invalid(found, "another height and width, from 1"));
        }
        let coordinates = if old {
            "asymmetric"
        } else {
            call.attributes.string_or("coordinate_transformation_mode", "half_pixel")?
        };
        let mode = call.attributes.string_or("mode", "nearest")?;
        let unsupported = |what: String| Err(NodeError::unsupported(format_args!("{op} with {what}")));
        let exact = |axis: usize| sizes.is_some() || size[axis] as f64 == [n, c, h, w][axis] as f64 * scale[axis];
        let coordinates = match coordinates {
            "half_pixel" => Coordinates::HalfPixel,
            // The same but for outputs of one pixel.
            "pytorch_half_pixel" if (2..4).all(|axis| size[axis] > 1 || [n, c, h, w][axis] == 1) => {
                Coordinates::HalfPixel
            }
            // The same where sizes come out even.
            "half_pixel_symmetric" if exact(2) && exact(3) => Coordinates::HalfPixel,
            "align_corners" if exact(2) && exact(3) => Coordinates::AlignCorners,
            // Runtimes differ in which size they then take the corners from.
            "align_corners" => return unsupported("align_corners and a scale that gives no whole size".to_owned()),
            "asymmetric" => Coordinates::Asymmetric,
            other => return unsupported(format!("coordinates {other:?}")),
        };
        let shrinks = size[2] < h || size[3] < w;
        if shrinks && call.attributes.int_or("antialias", 0)? != 0 {
            return unsupported("antialias".to_owned());
        }
        if call.attributes.string_or("keep_aspect_ratio_policy", "stretch")? != "stretch" {
            return unsupported("a kept aspect ratio".to_owned());
        }
        let mode = match mode {
            "nearest" => ResizeMode::Nearest,
            "linear" | "bilinear" => ResizeMode::Bilinear,
            other => return unsupported(format!("mode {other:?}")),
        };
        let rounding = if old { "floor" } else { call.attributes.string_or("nearest_mode", "round_prefer_floor")? };
        let rounding = match rounding {
            "round_prefer_floor" => Rounding::RoundPreferFloor,
            "round_prefer_ceil" => Rounding::RoundPreferCeil,
            "floor" => Rounding::Floor,
            "ceil" => Rounding::Ceil,
            other => return unsupported(format!("nearest_mode {other:?}")),
        };
        let rounding = if mode == ResizeMode::Nearest { rounding } else { Rounding::default() };
        // Until version 10 runtimes differ in how they round then.
        let whole = |axis: usize| [n, c, h, w][axis].is_multiple_of(size[axis]);
        if old && shrinks && mode == ResizeMode::Nearest && !(whole(2) && whole(3)) {
            return unsupported(format!("a scale below 1 in version {}", call.opset));
        }
        let by_scale = scales.is_some()
            && (2..4).all(|axis| ([n, c, h, w][axis] as f64 * scale[axis]).floor() == size[axis] as f64);
        let resize = Resize {
            mode,
            size: (!by_scale).then_some([size[2], size[3]]),
            scale: by_scale.then_some([scale[2], scale[3]]),
            coordinates,
            rounding,
        };
        let input = flat(call.view(0)?);
        self.layer(call, Op::Resize(resize), vec![input], &size)
    }

    pub(super) fn pad(&mut self, call: &Call<'_>) -> Result<View, NodeError> {
        let view = call.view(0)?;
        let rank = view.shape().len();
        let shape::Pads { before, after, value, mode } =
            shape::pads(call.attributes, rank, &|index| Ok(call.optional_constant(index)?.cloned()))?;
        if before.iter().chain(&after).all(|&pad| pad == 0) {
            return Ok(view.clone());
        }
        let [n, c, h, w] = call.map()?;
        if mode != "constant" || value != 0.0 {
            return Err(NodeError::unsupported(format_args!("Pad with mode {mode:?} and value {value}")));
        }
        let pads = [before[2], before[3], after[2], after[3]];
        let more = [before[1], after[1]];
        if [before[0], after[0]] != [0, 0] || pads.iter().chain(&more).any(|pad| !(0..=4096).contains(pad)) {
            return Err(NodeError::unsupported(format_args!("Pad by {before:?} and {after:?}")));
        }
        let (pad, more) = (pads.map(|pad| pad as usize), more.map(|pad| pad as usize));
        let input = flat(view);
        if more != [0, 0] {
            let conv = Conv::padding(c, more, pad);
            let shape = [n, c + more[0] + more[1], h + pad[0] + pad[2], w + pad[1] + pad[3]];
            return self.layer(call, Op::Conv(conv), vec![input], &shape);
        }
        self.layer(call, Op::Pad(pad), vec![input], &[n, c, h + pad[0] + pad[2], w + pad[1] + pad[3]])
    }
}

/// The lanes in one dimension.
fn flat(view: &View) -> View {
    View::of(view.n, view.flat(), &view.pixels)
}
