//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs of `spec`, whose rows of weights hold `padded` floats, and for each the sum of the magnitudes of its terms, which bounds the
/// rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, padded: usize, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let output = |f: usize| {
        let bias = f64::from(weights[spec.bias as usize + f]);
        let (mut sum, mut magnitude) = (bias, bias.abs());
        for (i, &x) in spec.x.offsets().iter().enumerate() {
            let weight = weights[spec.weights as usize + i * padded + f];
            let term = f64::from(weight) * f64::from(arena[x as usize]);
            sum += term;
            magnitude += term.abs();
        }
        let residual = spec.epilogue.residual.as_ref();
        let residual = residual.map(|elements| f64::from(arena[elements.offsets()[f] as usize]));
        spec.epilogue.reference(sum, magnitude, f, residual, weights)
    };
    (0..spec.y.len()).map(output).collect()
}
