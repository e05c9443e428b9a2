//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs `[filters][rows][columns]` of `spec`, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let filters = spec.y.len();
    let mut outputs = Vec::with_capacity(filters * spec.rows * spec.columns);
    for f in 0..filters {
        let bias = f64::from(weights[spec.bias as usize + f]);
        for (r, p) in (0..spec.rows).flat_map(|r| (0..spec.columns).map(move |p| (r, p))) {
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for (tap, &plane) in spec.x.offsets().iter().enumerate() {
                let x = arena[plane as usize + r * spec.x_step + p * spec.stride];
                let term = f64::from(weights[spec.weights as usize + tap * filters + f]) * f64::from(x);
                sum += term;
                magnitude += term.abs();
            }
            let residual = spec.epilogue.residual.as_ref();
            let residual = residual.map(|planes| f64::from(arena[planes.offsets()[f] as usize + r * spec.y_pitch + p]));
            outputs.push(spec.epilogue.reference(sum, magnitude, f, residual, weights));
        }
    }
    outputs
}
