//! Layers that treat each channel on its own: elementwise, pooling, resize.

use super::{Calls, Lower, Step, run_of};
use crate::{
    model::graph::{self, Coordinates, ResizeMode, Rounding},
    plan::value::{Lane, Value},
};
use flgc_kernels::{CallError, Planes, Window, elementwise, pool, resize};
use std::sync::Arc;

/// Most channels of a call: enough to amortise it, few enough to share the work between threads.
const CHANNELS: usize = 32;

impl Lower<'_, '_> {
    pub(super) fn unary(&mut self, step: &Step<'_>, calls: &mut Calls) -> Result<(), CallError> {
        self.elementwise(step, calls, |_, _, _| elementwise::Op::Identity)
    }

    pub(super) fn scale(
        &mut self,
        step: &Step<'_>,
        scale: &[f32],
        shift: &[f32],
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        self.elementwise(step, calls, |lower, places, _| {
            let mut pack = |values: &[f32]| lower.push_of(values, places.channels.iter().copied());
            elementwise::Op::ScaleShift { scale: pack(scale), shift: pack(shift) }
        })
    }

    pub(super) fn binary(&mut self, step: &Step<'_>, add: bool, calls: &mut Calls) -> Result<(), CallError> {
        self.elementwise(step, calls, |_, _, (other, by_float)| match (add, by_float) {
            (true, false) => elementwise::Op::Add(other),
            (true, true) => elementwise::Op::AddFloat(other),
            (false, false) => elementwise::Op::Multiply(other),
            (false, true) => elementwise::Op::MultiplyFloat(other),
        })
    }

    /// Calls over all outputs of a step, some channels at a time. `op` gets the outputs of a call, and the second operand with whether it is a
    /// single float for each plane.
    fn elementwise(
        &mut self,
        step: &Step<'_>,
        calls: &mut Calls,
        op: impl Fn(&mut Self, &Outputs, (Planes, bool)) -> elementwise::Op,
    ) -> Result<(), CallError> {
        let kernel = self.kernels.elementwise;
        let [.., h, w] = step.output.shape.nchw().unwrap_or([1; 4]);
        let pixels = if h * w == 1 { 1 } else { run_of([h, w], self.places.pitch(&step.output), kernel.isa.lanes()) };
        // A small operand may come first: both operations commute.
        let is_small = |value: &Value| h * w > 1 && value.shape.nchw().is_some_and(|[.., h, w]| h * w == 1);
        let [first, second] = match &step.inputs[..] {
            [a, b] if is_small(a) => [b.as_ref(), a.as_ref()],
            [a, b] => [a.as_ref(), b.as_ref()],
            _ => [step.inputs[0].as_ref(); 2],
        };
        for outputs in self.outputs_in_parts(step) {
            let x = self.operand(first, &outputs);
            let other = (self.operand(second, &outputs), is_small(second));
            let op = op(self, &outputs, other);
            let activation = self.act(&step.layer.first, outputs.channels.iter().copied());
            let spec = elementwise::Spec { pixels, op, x, y: &outputs.y, activation };
            calls.add(kernel.name, elementwise::Call::new(kernel, spec)?);
        }
        Ok(())
    }

    /// The computed outputs of a step in parts of some channels.
    fn outputs_in_parts(&self, step: &Step<'_>) -> Vec<Outputs> {
        let Some(lanes) = step.output.lanes() else {
            // Single elements, all of them.
            let y = self.places.elements(&step.output);
            return vec![Outputs { image: 0, lanes: Vec::new(), channels: vec![0; y.len()], y }];
        };
        let live = self.outputs(step);
        debug_assert!(live.len() <= lanes.len());
        let images = step.output.shape[0];
        let part = |image: usize, lanes: &[Lane]| Outputs {
            image,
            lanes: lanes.to_vec(),
            channels: lanes.iter().map(|lane| lane.channel as usize).collect(),
            y: self.planes(lanes, image),
        };
        let channels = self.channels_of_call(live.len(), CHANNELS);
        (0..images).flat_map(|image| live.chunks(channels).map(move |lanes| part(image, lanes))).collect()
    }

    /// The addresses of an operand for these outputs.
    fn operand(&self, value: &Value, outputs: &Outputs) -> Planes {
        if outputs.lanes.is_empty() {
            return self.places.elements(value).into();
        }
        if value.lanes().is_some() {
            return self.planes_of(value, &outputs.lanes, outputs.image);
        }
        let all = self.places.elements(value);
        let start = outputs.image * value.shape[1];
        outputs.channels.iter().map(|&channel| all[start + channel]).collect()
    }

    pub(super) fn pool(
        &mut self,
        step: &Step<'_>,
        pool: &graph::Pool,
        average: bool,
        calls: &mut Calls,
    ) -> Result<(), CallError> {
        let kernel = self.kernels.pool;
        let [top, left, bottom, right] = pool.pad;
        let op = match (average, pool.count_pad) {
            (false, _) => pool::Op::Max,
            (true, false) => pool::Op::Average,
            (true, true) => pool::Op::AverageCountPad { pad_end: [bottom, right] },
        };
        for outputs in self.outputs_in_parts(step) {
            let spec = pool::Spec {
                op,
                input: self.image(&step.inputs[0]),
                output: self.image(&step.output),
                window: Window { kernel: pool.kernel, stride: pool.stride, dilation: pool.dilation, pad: [top, left] },
                x: self.operand(&step.inputs[0], &outputs),
                y: &outputs.y,
            };
            calls.add(kernel.name, pool::Call::new(kernel, spec)?);
        }
        Ok(())
    }

    pub(super) fn global_pool(&mut self, step: &Step<'_>, average: bool, calls: &mut Calls) -> Result<(), CallError> {
        let kernel = self.kernels.pool;
        for outputs in self.outputs_in_parts(step) {
            let spec = pool::GlobalSpec {
                average,
                input: self.image(&step.inputs[0]),
                x: self.operand(&step.inputs[0], &outputs),
                y: &outputs.y,
            };
            calls.add(kernel.name, pool::Call::global(kernel, spec)?);
        }
        Ok(())
    }

    pub(super) fn resize(&mut self, step: &Step<'_>, op: &graph::Resize, calls: &mut Calls) -> Result<(), CallError> {
        let kernel = self.kernels.resize;
        let input = &step.inputs[0];
        let axis = |axis: usize| {
            let (from, to) = (input.shape[axis + 2], step.output.shape[axis + 2]);
            let scale = op.scale.map_or(to as f32 / from as f32, |scale| scale[axis] as f32);
            let coordinates = match op.coordinates {
                Coordinates::HalfPixel => resize::Coordinates::HalfPixel,
                Coordinates::AlignCorners => resize::Coordinates::AlignCorners,
                Coordinates::Asymmetric => resize::Coordinates::Asymmetric,
            };
            let rounding = match op.rounding {
                Rounding::RoundPreferFloor => resize::Rounding::PreferFloor,
                Rounding::RoundPreferCeil => resize::Rounding::PreferCeil,
                Rounding::Floor => resize::Rounding::Floor,
                Rounding::Ceil => resize::Rounding::Ceil,
            };
            Arc::new(match op.mode {
                ResizeMode::Nearest => resize::Axis::nearest(from, to, scale, coordinates, rounding),
                ResizeMode::Bilinear => resize::Axis::bilinear(from, to, scale, coordinates),
            })
        };
        let (rows, columns) = (axis(0), axis(1));
        for outputs in self.outputs_in_parts(step) {
            let spec = resize::Spec {
                rows: Arc::clone(&rows),
                columns: Arc::clone(&columns),
                x_pitch: self.places.pitch(input),
                y_pitch: self.places.pitch(&step.output),
                x: self.operand(input, &outputs),
                y: &outputs.y,
            };
            calls.add(kernel.name, resize::Call::new(kernel, spec)?);
        }
        Ok(())
    }
}

/// The outputs of one call.
struct Outputs {
    image: usize,
    /// The output planes; none where the output consists of single elements.
    lanes: Vec<Lane>,
    /// The channel of each output.
    channels: Vec<usize>,
    /// The address of each output.
    y: Vec<u32>,
}
