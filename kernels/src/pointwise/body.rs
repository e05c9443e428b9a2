//! The body of every variant.

use super::Call;
use crate::{
    simd::Simd,
    tile::{Finish, accumulate_with},
};
use std::ops::Range;

/// Vectors of the tile that takes along the one pixel behind the last vector.
pub(super) const TAIL_VECTORS: usize = 2;

/// Tiles of `F` filters by `P` vectors along the run of pixels, and smaller ones for the rest.
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
    // SAFETY: the caller's promise.
    unsafe {
        let finish = Finish::new(s, &call.y, &call.epilogue, weights, arena);
        let all = call.pixels / S::LANES;
        let tail = !call.pixels.is_multiple_of(S::LANES);
        let vectors = if tail { all - TAIL_VECTORS } else { all };
        // Four and one are three and two, three and one two and two: a tile of one vector has too few sums to keep the units busy.
        let whole = if (P == 3 || P == 4) && vectors > P && vectors % P == 1 { vectors - P - 1 } else { vectors };
        let rest = tiles::<S, F, P>(s, call, 0..whole, &finish, weights, arena);
        let rest = if P > 4 { tiles::<S, F, 4>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        let rest = if P > 3 { tiles::<S, F, 3>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        let rest = if P > 2 { tiles::<S, F, 2>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        tiles::<S, F, 1>(s, call, rest..vectors, &finish, weights, arena);
        if tail {
            tile::<S, F, TAIL_VECTORS, true>(s, call, vectors, &finish, weights, arena);
        }
    }
}

/// As many tiles of `P` vectors as fit in these vectors of the run; gives where the rest begins.
///
/// # Safety
/// As for [`run`]; the run has these vectors.
#[inline(always)]
unsafe fn tiles<S: Simd, const F: usize, const P: usize>(
    s: S,
    call: &Call,
    vectors: Range<usize>,
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) -> usize {
    let end = vectors.start + vectors.len() / P * P;
    for first in (vectors.start..end).step_by(P) {
        // SAFETY: the caller's promise.
        unsafe { tile::<S, F, P, false>(s, call, first, finish, weights, arena) }
    }
    end
}

/// The `P` vectors from `first` on, with `TAIL` also the pixel behind them.
///
/// # Safety
/// As for [`run`]; the run has these vectors, and the pixel.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const P: usize, const TAIL: bool>(
    s: S,
    call: &Call,
    first: usize,
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) {
    // SAFETY: `Extents` covers all pixels of every plane, from `shift` on, and with a tail the weights that whole vectors read.
    unsafe {
        let (mut at, mut x) = ([0; P], [arena.cast_const(); P]);
        for v in 0..P {
            at[v] = call.shift as usize + (first + v) * S::LANES;
            x[v] = arena.add(at[v]);
        }
        let behind = call.shift as usize + (first + P) * S::LANES;
        let w = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let tail = arena.add(behind).cast_const();
        let (acc, sums) = accumulate_with::<S, F, P, 1, TAIL>(s, call.x.offsets(), w, (x, 1), tail);
        finish.store::<P>(acc, at);
        if TAIL {
            finish.store_tail(sums, behind);
        }
    }
}
