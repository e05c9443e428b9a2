//! The body of every variant.

use super::Call;
use crate::{
    simd::Simd,
    tile::{Finish, MAIN, RARE, SOME, accumulate},
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
    let mut walk = Walk { call, lanes: S::LANES, x: 0, y: 0, column: 0 };
    let vectors = call.rows * call.columns.div_ceil(S::LANES);
    // SAFETY: `Extents` covers as many vectors as are taken, in rows of at least one vector.
    unsafe {
        let finish = Finish::new(s, &call.y, &call.epilogue, weights, arena);
        // Of any stride, loads take so long that it does not matter how sums are stored.
        if STRIDE == 0 {
            for _ in 0..vectors {
                tile::<S, F, 1, 0, RARE>(s, call, &mut walk, &finish, weights, arena);
            }
            return;
        }
        for _ in 0..vectors / P {
            tile::<S, F, P, STRIDE, MAIN>(s, call, &mut walk, &finish, weights, arena);
        }
        for _ in 0..vectors % P {
            tile::<S, F, 1, STRIDE, SOME>(s, call, &mut walk, &finish, weights, arena);
        }
    }
}

/// Goes through the vectors of a call, row by row.
struct Walk<'a> {
    call: &'a Call,
    lanes: usize,
    x: usize,
    y: usize,
    column: usize,
}

impl Walk<'_> {
    /// Offsets of the next vector's inputs and outputs. The last one of a row starts earlier, so as to end with it, if it can.
    // Not inlined: what it needs would take registers from the tile's loop.
    #[inline(never)]
    fn next(&mut self) -> (usize, usize) {
        let call = self.call;
        let start = self.column.min(call.columns.saturating_sub(self.lanes));
        let at = (self.x + start * call.stride, self.y + start);
        self.column += self.lanes;
        if self.column >= call.columns {
            (self.x, self.y, self.column) = (self.x + call.x_step, self.y + call.y_pitch, 0);
        }
        at
    }
}

/// # Safety
/// As for [`run`]; at least `P` vectors are left.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const P: usize, const STRIDE: usize, const OFTEN: u8>(
    s: S,
    call: &Call,
    walk: &mut Walk<'_>,
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) {
    let (mut x, mut y) = ([arena.cast_const(); P], [0; P]);
    // SAFETY: the caller's promise.
    unsafe {
        for v in 0..P {
            let at = walk.next();
            (x[v], y[v]) = (arena.add(at.0), at.1);
        }
        let w = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let sums = accumulate::<S, F, P, STRIDE>(s, call.x.offsets(), w, (x, call.stride));
        finish.store::<P, OFTEN>(sums, y);
    }
}
