//! The naive form, in f64, that every variant is held to.

use super::{GlobalSpec, Op, Spec};
use crate::window::Image;

/// The outputs `[planes][rows][columns]` of `spec`, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, arena: &[f32]) -> Vec<(f64, f64)> {
    let Image { height, width, pitch } = spec.input;
    let window = spec.window;
    let position = |output: usize, element: usize, axis: usize| {
        (output * window.stride[axis] + element * window.dilation[axis]) as isize - window.pad[axis] as isize
    };
    let mut outputs = Vec::new();
    for &x in spec.x.offsets() {
        for row in 0..spec.output.height {
            for column in 0..spec.output.width {
                let (mut largest, mut sum, mut magnitude, mut count) = (f64::NEG_INFINITY, 0.0, 0.0, 0.0);
                for i in 0..window.kernel[0] {
                    for j in 0..window.kernel[1] {
                        let (r, c) = (position(row, i, 0), position(column, j, 1));
                        let in_image = (0..height as isize).contains(&r) && (0..width as isize).contains(&c);
                        let counts = match spec.op {
                            Op::AverageCountPad { pad_end: [below, right] } => {
                                r < (height + below) as isize && c < (width + right) as isize
                            }
                            Op::Max | Op::Average => in_image,
                        };
                        count += f64::from(u8::from(counts));
                        if in_image {
                            let value = f64::from(arena[x as usize + r as usize * pitch + c as usize]);
                            largest = largest.max(value);
                            sum += value;
                            magnitude += value.abs();
                        }
                    }
                }
                // The mean of nothing is zero.
                let count: f64 = if count > 0.0 { count } else { 1.0 };
                let mean = (sum / count, magnitude / count);
                outputs.push(if spec.op == Op::Max { (largest, largest.abs()) } else { mean });
            }
        }
    }
    outputs
}

/// The outputs of `spec`, one for each plane, and the magnitudes as above.
///
/// # Panics
/// If an offset lies outside `arena`.
#[must_use]
pub fn global(spec: &GlobalSpec<'_>, arena: &[f32]) -> Vec<(f64, f64)> {
    let Image { height, width, pitch } = spec.input;
    let plane = |x: u32| {
        let pixels = (0..height).flat_map(|row| (0..width).map(move |column| x as usize + row * pitch + column));
        let values: Vec<f64> = pixels.map(|at| f64::from(arena[at])).collect();
        let count = values.len() as f64;
        if spec.average {
            (values.iter().sum::<f64>() / count, values.iter().map(|value| value.abs()).sum::<f64>() / count)
        } else {
            let largest = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            (largest, largest.abs())
        }
    };
    spec.x.offsets().iter().map(|&x| plane(x)).collect()
}
