//! The body of every variant.

use super::Call;
use crate::{
    Planes,
    simd::{Scalar, Simd},
};

/// How far ahead of their use weights are asked for, in floats: 8 KiB, beyond the page that hardware prefetchers stop at.
const AHEAD: usize = 2048;

/// A panel of `V` vectors of filters.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has `V` vectors of filters.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const V: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let (mut even, mut odd) = ([s.splat(0.0); V], [s.splat(0.0); V]);
    // SAFETY: `Extents` covers every input, and `V` vectors of weights for each, and of biases.
    unsafe {
        let bias = weights.add(call.bias as usize);
        for (v, sum) in even.iter_mut().enumerate() {
            *sum = s.load(bias.add(v * S::LANES));
        }
        let mut w = weights.add(call.weights as usize);
        let (pairs, rest) = call.x.offsets().as_chunks();
        for &[a, b] in pairs {
            add(s, &mut even, *arena.add(a as usize), w);
            add(s, &mut odd, *arena.add(b as usize), w.add(V * S::LANES));
            w = w.add(2 * V * S::LANES);
        }
        for &input in rest {
            add(s, &mut even, *arena.add(input as usize), w);
        }
    }
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

/// Adds an input times its row of weights.
///
/// # Safety
/// `V` vectors can be read at `w`.
#[inline(always)]
unsafe fn add<S: Simd, const V: usize>(s: S, sums: &mut [S::V; V], x: f32, w: *const f32) {
    let x = s.splat(x);
    for (v, sum) in sums.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        *sum = s.fma(x, unsafe { s.load(w.add(v * S::LANES)) }, *sum);
    }
    for at in (0..V * S::LANES).step_by(crate::ALIGN) {
        s.prefetch(w.wrapping_add(AHEAD + at));
    }
}
