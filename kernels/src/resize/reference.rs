//! The naive form, in f64, that every variant is held to.

use super::{Axis, Spec};

/// The outputs `[planes][rows][columns]` of `spec`, and for each the largest magnitude of its inputs, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, arena: &[f32]) -> Vec<(f64, f64)> {
    let inputs = |axis: &Axis, i: usize| [axis.from[i], axis.to[i]].map(|input| input as usize);
    let mix = |weight: f32, [a, b]: [f64; 2]| a + f64::from(weight) * (b - a);
    let mut outputs = Vec::new();
    for &plane in spec.x.offsets() {
        for (r, c) in (0..spec.rows.len()).flat_map(|r| (0..spec.columns.len()).map(move |c| (r, c))) {
            let row = |row: usize| {
                inputs(&spec.columns, c).map(|column| f64::from(arena[plane as usize + row * spec.x_pitch + column]))
            };
            let x = inputs(&spec.rows, r).map(row);
            let y = mix(spec.rows.weight[r], x.map(|row| mix(spec.columns.weight[c], row)));
            outputs.push((y, x.iter().flatten().fold(0.0f64, |max, x| max.max(x.abs()))));
        }
    }
    outputs
}
