//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs `[channels][height][width]` of `spec`, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let Spec { input, output, window, .. } = spec;
    let [k_h, k_w] = window.kernel;
    // The input under element `i` of the window of output `o`, if that lies inside.
    let under = |axis: usize, o: usize, i: usize, size: usize| {
        let at = (o * window.stride[axis] + i * window.dilation[axis]).checked_sub(window.pad[axis])?;
        (at < size).then_some(at)
    };
    let mut outputs = Vec::with_capacity(spec.y.len() * output.height * output.width);
    for (c, &plane) in spec.x.offsets().iter().enumerate() {
        let bias = f64::from(weights[spec.bias as usize + c]);
        for (row, column) in (0..output.height).flat_map(|row| (0..output.width).map(move |column| (row, column))) {
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for (i, j) in (0..k_h).flat_map(|i| (0..k_w).map(move |j| (i, j))) {
                let (Some(y), Some(x)) = (under(0, row, i, input.height), under(1, column, j, input.width)) else {
                    continue;
                };
                let x = f64::from(arena[plane as usize + y * input.pitch + x]);
                let term = f64::from(weights[spec.weights as usize + (c * k_h + i) * k_w + j]) * x;
                sum += term;
                magnitude += term.abs();
            }
            let at = row * output.pitch + column;
            let residual = |planes: &crate::Planes| f64::from(arena[planes.offsets()[c] as usize + at]);
            let residual = spec.epilogue.residual.as_ref().map(residual);
            outputs.push(spec.epilogue.reference(sum, magnitude, c, residual, weights));
        }
    }
    outputs
}
