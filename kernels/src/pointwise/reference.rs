//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs `[filters][pixels]` of `spec`, also where rows leave some out, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let filters = spec.y.len();
    let at = |offset: u32, p: usize| f64::from(arena[(offset + spec.shift) as usize + p]);
    let mut outputs = Vec::with_capacity(filters * spec.pixels);
    for f in 0..filters {
        let bias = f64::from(weights[spec.bias as usize + f]);
        for p in 0..spec.pixels {
            let (mut sum, mut magnitude) = (bias, bias.abs());
            for (tap, &plane) in spec.x.offsets().iter().enumerate() {
                let term = f64::from(weights[spec.weights as usize + tap * filters + f]) * at(plane, p);
                sum += term;
                magnitude += term.abs();
            }
            let residual = spec.epilogue.residual.as_ref().map(|planes| at(planes.offsets()[f], p));
            outputs.push(spec.epilogue.reference(sum, magnitude, f, residual, weights));
        }
    }
    outputs
}
