//! The naive form, in f64, that every variant is held to.

use super::{Op, Spec};
use crate::Epilogue;

/// The outputs `[planes][pixels]` of `spec`, and for each the sum of the magnitudes of its terms, which bounds the rounding error.
///
/// # Panics
/// If an offset lies outside `weights` or `arena`.
#[must_use]
pub fn run(spec: &Spec<'_>, weights: &[f32], arena: &[f32]) -> Vec<(f64, f64)> {
    let float = |offset: u32, p: usize| f64::from(arena[offset as usize + p]);
    let weight = |start: u32, c: usize| f64::from(weights[start as usize + c]);
    let epilogue = Epilogue::activation(spec.activation);
    let mut outputs = Vec::with_capacity(spec.y.len() * spec.pixels);
    for (c, &x) in spec.x.offsets().iter().enumerate() {
        for p in 0..spec.pixels {
            let x = float(x, p);
            let (y, magnitude) = match &spec.op {
                Op::Identity => (x, x.abs()),
                Op::Add(other) => (x + float(other.offsets()[c], p), x.abs() + float(other.offsets()[c], p).abs()),
                Op::AddFloat(other) => (x + float(other.offsets()[c], 0), x.abs() + float(other.offsets()[c], 0).abs()),
                Op::Multiply(other) => (x * float(other.offsets()[c], p), (x * float(other.offsets()[c], p)).abs()),
                Op::MultiplyFloat(other) => {
                    (x * float(other.offsets()[c], 0), (x * float(other.offsets()[c], 0)).abs())
                }
                &Op::ScaleShift { scale, shift } => {
                    let (product, shift) = (x * weight(scale, c), weight(shift, c));
                    (product + shift, product.abs() + shift.abs())
                }
            };
            outputs.push(epilogue.reference(y, magnitude, c, None, weights));
        }
    }
    outputs
}
