//! The body of every variant.

use super::Call;
use crate::{
    simd::Simd,
    tile::{Finish, accumulate},
};

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
        let rest = tiles::<S, F, P>(s, call, 0, &finish, weights, arena);
        let rest = if P > 4 { tiles::<S, F, 4>(s, call, rest, &finish, weights, arena) } else { rest };
        let rest = if P > 2 { tiles::<S, F, 2>(s, call, rest, &finish, weights, arena) } else { rest };
        tiles::<S, F, 1>(s, call, rest, &finish, weights, arena);
    }
}

/// As many tiles of `P` vectors as fit behind pixel `begin`; gives where the rest begins.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn tiles<S: Simd, const F: usize, const P: usize>(
    s: S,
    call: &Call,
    begin: usize,
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) -> usize {
    let size = P * S::LANES;
    let end = begin + (call.pixels - begin) / size * size;
    for p in (begin..end).step_by(size) {
        // SAFETY: `Extents` covers all pixels of every plane, from `shift` on.
        unsafe {
            let (mut at, mut x) = ([0; P], [arena.cast_const(); P]);
            for v in 0..P {
                at[v] = call.shift as usize + p + v * S::LANES;
                x[v] = arena.add(at[v]);
            }
            let w = (weights.add(call.weights as usize), weights.add(call.bias as usize));
            finish.store::<P>(accumulate::<S, F, P, 1>(s, call.x.offsets(), w, (x, 1)), at);
        }
    }
    end
}
