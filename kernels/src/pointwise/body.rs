//! The body of every variant.

use super::Call;
use crate::{
    simd::Simd,
    tile::{accumulate, finish},
};

/// Tiles of `F` filters by `P` vectors along the run of pixels; the rest of the run vector by vector.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has `F` filters.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const F: usize, const P: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
) {
    let (begin, end) = (call.shift as usize, call.shift as usize + call.pixels);
    let tiled = begin + call.pixels / (P * S::LANES) * (P * S::LANES);
    // SAFETY: `Extents` covers pixels `begin..end` of every plane, which the tiles stay within.
    unsafe {
        for p in (begin..tiled).step_by(P * S::LANES) {
            tile::<S, F, P>(s, call, p, weights, arena);
        }
        for p in (tiled..end).step_by(S::LANES) {
            tile::<S, F, 1>(s, call, p, weights, arena);
        }
    }
}

/// # Safety
/// As for [`run`]; pixels `p..p + P * LANES` are part of the call.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const P: usize>(
    s: S,
    call: &Call,
    p: usize,
    weights: *const f32,
    arena: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (w, bias) = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let at = std::array::from_fn(|v| p + v * S::LANES);
        let load = |plane: usize, v: usize| s.load(arena.add(plane + at[v]));
        let acc = accumulate::<S, F, P>(s, call.x.offsets(), w, bias, load);
        finish::<S, F, P>(s, acc, (&call.y, at), &call.epilogue, weights, arena);
    }
}
