//! The body of every variant.

use super::Call;
use crate::{
    Planes,
    simd::{Scalar, Simd, prefetch},
};

/// How far ahead of their use weights are asked for, in floats: 8 KiB, beyond the page that hardware prefetchers stop at.
const AHEAD: usize = 2048;

/// A panel of `V` vectors of filters.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has `V` vectors of filters.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const V: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: `Extents` covers every input and `V` vectors of weights for each, and of biases.
    let (even, odd) = unsafe {
        let mut w = weights.add(call.weights as usize);
        let mut step = |sums: [S::V; V], input: u32| {
            let x = s.splat(*arena.add(input as usize));
            let row = w;
            w = w.add(V * S::LANES);
            for v in (0..V * S::LANES).step_by(crate::ALIGN) {
                prefetch(row.wrapping_add(AHEAD + v));
            }
            std::array::from_fn(|v| s.fma(x, s.load(row.add(v * S::LANES)), sums[v]))
        };
        let bias = weights.add(call.bias as usize);
        let mut even: [S::V; V] = std::array::from_fn(|v| s.load(bias.add(v * S::LANES)));
        let mut odd = [s.splat(0.0); V];
        let (pairs, rest) = call.x.offsets().as_chunks();
        for &[a, b] in pairs {
            even = step(even, a);
            odd = step(odd, b);
        }
        for &input in rest {
            even = step(even, input);
        }
        (even, odd)
    };
    let residual = call.epilogue.residual.as_ref().map(Planes::offsets);
    for (v, y) in call.y.chunks(S::LANES).enumerate().take(V) {
        let sums = s.to_array(s.add(even[v], odd[v]));
        for (lane, (&y, x)) in y.iter().zip(sums).enumerate() {
            let f = v * S::LANES + lane;
            // SAFETY: `Extents` covers every output and residual, and the slopes.
            unsafe {
                let mut x = call.epilogue.first.apply(Scalar, x, f, weights);
                if let Some(elements) = residual {
                    x += *arena.add(elements[f] as usize);
                    x = call.epilogue.last.apply(Scalar, x, f, weights);
                }
                *arena.add(y as usize) = x;
            }
        }
    }
}
