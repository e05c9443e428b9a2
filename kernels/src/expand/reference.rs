//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs `[filters][height][width]` of `spec`, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let Spec { input, output, .. } = spec;
    let stride = spec.stride;
    let taps = spec.x.offsets();
    let weight = |at: usize| f64::from(weights[at]);
    // What the 1x1 convolution makes of a pixel, and the magnitude of its terms.
    let expanded = |f: usize, row: usize, column: usize| {
        let bias = weight(spec.expansion_bias as usize + f);
        let (mut sum, mut magnitude) = (bias, bias.abs());
        for (t, &tap) in taps.iter().enumerate() {
            let x = f64::from(arena[tap as usize + row * input.pitch + column]);
            let term = weight(spec.expansion as usize + f * taps.len() + t) * x;
            sum += term;
            magnitude += term.abs();
        }
        (spec.between.reference(sum, 0.0), magnitude)
    };
    let mut outputs = Vec::with_capacity(spec.y.len() * output.height * output.width);
    for f in 0..spec.y.len() {
        for (row, column) in (0..output.height).flat_map(|row| (0..output.width).map(move |column| (row, column))) {
            let bias = weight(spec.bias as usize + f);
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for (i, j) in (0..3).flat_map(|i| (0..3).map(move |j| (i, j))) {
                let (Some(y), Some(x)) =
                    ((row * stride + i).checked_sub(spec.pad), (column * stride + j).checked_sub(1))
                else {
                    continue;
                };
                if y >= input.height || x >= input.width {
                    continue;
                }
                let (e, of_e) = expanded(f, y, x);
                let w = weight(spec.weights as usize + f * 9 + i * 3 + j);
                sum += w * e;
                magnitude += w.abs() * of_e;
            }
            let y = spec.activation.reference(sum, 0.0);
            outputs.push((y, magnitude.max(y.abs())));
        }
    }
    outputs
}
