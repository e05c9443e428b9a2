//! The body of every variant.

use super::Call;
use crate::{
    simd::Simd,
    tile::{Finish, accumulate},
};

/// Tiles of `F` filters by `P` vectors, which may lie in several rows; the last vectors one by one. `STRIDE` is the call's stride, or zero for any.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has `F` filters and stride `STRIDE`.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const F: usize, const P: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
) {
    let last = call.columns.saturating_sub(S::LANES);
    let stride = if STRIDE == 0 { call.stride } else { STRIDE };
    let (mut x, mut y, mut column) = (0, 0, 0);
    // Offsets of the next vector's inputs and outputs. The last one of a row starts earlier, so as to end with it, if it can.
    let mut next = || {
        let start = column.min(last);
        let at = (x + start * stride, y + start);
        column += S::LANES;
        if column >= call.columns {
            (x, y, column) = (x + call.x_step, y + call.y_pitch, 0);
        }
        at
    };
    let vectors = call.rows * call.columns.div_ceil(S::LANES);
    // SAFETY: `Extents` covers as many vectors as are taken, in rows of at least one vector.
    unsafe {
        let finish = Finish::new(s, &call.y, &call.epilogue, weights, arena);
        for _ in 0..vectors / P {
            tile::<S, F, P, STRIDE>(s, call, std::array::from_fn(|_| next()), &finish, weights, arena);
        }
        for _ in 0..vectors % P {
            tile::<S, F, 1, STRIDE>(s, call, [next()], &finish, weights, arena);
        }
    }
}

/// # Safety
/// As for [`run`]; vectors of inputs and outputs at these offsets are part of the call.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const P: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    at: [(usize, usize); P],
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        let (w, bias) = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let load = |tap: usize, v: usize| {
            let x = arena.add(tap).add(at[v].0);
            match STRIDE {
                1 => s.load(x),
                2 => s.load_even_mixed(x),
                _ => s.load_strided(x, call.stride),
            }
        };
        let mut acc = accumulate::<S, F, P>(s, call.x.offsets(), w, bias, load);
        if STRIDE == 2 {
            for sums in acc.iter_mut().flatten() {
                *sums = s.in_order(*sums);
            }
        }
        finish.store::<P>(acc, std::array::from_fn(|v| at[v].1));
    }
}
