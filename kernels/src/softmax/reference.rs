//! The naive form, in f64, that every variant is held to.

use super::Spec;

/// The outputs `[rows][n][pixels]` of `spec`, and for each a magnitude that bounds the rounding error: that of the difference to the largest input
/// grows with it.
///
/// # Panics
/// If an offset lies outside `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, arena: &[f32]) -> Vec<(f64, f64)> {
    let mut outputs = vec![(0.0, 0.0); spec.y.len() * spec.pixels];
    let rows = spec.x.offsets().chunks_exact(spec.n).zip(outputs.chunks_exact_mut(spec.n * spec.pixels));
    for (planes, outputs) in rows {
        for p in 0..spec.pixels {
            let x: Vec<f64> = planes.iter().map(|&plane| f64::from(arena[plane as usize + p])).collect();
            let max = x.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let sum: f64 = x.iter().map(|x| (x - max).exp()).sum();
            for (i, x) in x.iter().enumerate() {
                let y = (x - max).exp() / sum;
                outputs[i * spec.pixels + p] = (y, y * (1.0 + (x - max).abs()));
            }
        }
    }
    outputs
}
