//! The body of every variant.

use super::{Call, Panels};
use crate::{
    ending::{Bounded, Ending},
    simd::Simd,
    tile::{
        ALWAYS, Finish, MAIN, MAYBE, NEVER, NO_TAIL, PIXEL, QUAD, SOME, accumulate_from_panel, accumulate_packing,
        accumulate_with, has_panels, pixels_of,
    },
};
use std::{hint::black_box, ops::Range};

/// Most vectors of the tile that takes along the one pixel behind the last vector.
pub(super) const TAIL_VECTORS: usize = 3;
/// Vectors of the tile that takes along four.
const QUAD_VECTORS: usize = 2;
/// Most filters of such tiles: each number of them has code of its own.
pub(super) const MOST_WITH_PIXELS: usize = 8;

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
        let finish = Finish::new(s, &call.y, &call.epilogue, weights, arena).with_rows(call.rows);
        let all = call.pixels / S::LANES;
        let tail = call.pixels % S::LANES;
        let vectors = match tail {
            0 => all,
            1 => all - P.clamp(2, TAIL_VECTORS),
            _ => all - QUAD_VECTORS,
        };
        // Four and one are three and two, three and one two and two: a tile of one vector has too few sums to keep the units busy.
        let whole = if (P == 3 || P == 4) && vectors > P && vectors % P == 1 { vectors - P - 1 } else { vectors };
        let panels = if has_panels(S::LANES, F, P) { call.panels } else { Panels::None };
        // Code of its own for tiles that ask would be a quarter more of this family with AVX-512, and no faster.
        let rest = if let Panels::Pack(at) = panels {
            panel_tiles::<S, F, P, true>(s, call, whole, &finish, weights, (arena, at))
        } else if let Panels::Read(at) = panels {
            panel_tiles::<S, F, P, false>(s, call, whole, &finish, weights, (arena, at))
        } else if S::LANES >= 16 {
            tiles::<S, F, P, MAYBE, MAIN>(s, call, 0..whole, &finish, weights, arena)
        } else if S::PREFETCHES && call.asks_for_next {
            tiles::<S, F, P, ALWAYS, MAIN>(s, call, 0..whole, &finish, weights, arena)
        } else {
            tiles::<S, F, P, NEVER, MAIN>(s, call, 0..whole, &finish, weights, arena)
        };
        let rest =
            if P > 4 { tiles::<S, F, 4, NEVER, SOME>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        let rest =
            if P > 3 { tiles::<S, F, 3, NEVER, SOME>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        let rest =
            if P > 2 { tiles::<S, F, 2, NEVER, SOME>(s, call, rest..vectors, &finish, weights, arena) } else { rest };
        tiles::<S, F, 1, NEVER, SOME>(s, call, rest..vectors, &finish, weights, arena);
        if F > MOST_WITH_PIXELS {
            return;
        }
        match tail {
            0 => {}
            1 if P >= TAIL_VECTORS => {
                tile::<S, F, TAIL_VECTORS, PIXEL, NEVER, MAIN>(s, call, vectors, &finish, weights, arena);
            }
            // A vector that is left over comes before the pixel, and is in no panel: then the pixel is in none either.
            1 => match panels {
                Panels::Pack(at) if vectors.is_multiple_of(2) => {
                    panel_tile::<S, F, 2, PIXEL, true>(s, call, vectors, &finish, weights, (arena, at));
                }
                Panels::Read(at) if vectors.is_multiple_of(2) => {
                    panel_tile::<S, F, 2, PIXEL, false>(s, call, vectors, &finish, weights, (arena, at));
                }
                _ => tile::<S, F, 2, PIXEL, NEVER, MAIN>(s, call, vectors, &finish, weights, arena),
            },
            _ if S::LANES < 16 => {}
            _ => tile::<S, F, QUAD_VECTORS, QUAD, NEVER, SOME>(s, call, vectors, &finish, weights, arena),
        }
    }
}

/// With few taps the inputs of `P` vectors stay in registers while the filters pass, each with its own sums: it costs a filter one broadcast for each weight, no
/// more loads, and no sums wait for others. The same sums in the same order as those of [`run`].
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has `T` taps, whole vectors, and an epilogue that is a clamp.
#[inline(always)]
pub(super) unsafe fn few<S: Simd, const T: usize, const P: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
) {
    let Some(bounds) = call.epilogue.first.bounds() else { return };
    let ending = Bounded(bounds);
    let vectors = call.pixels / S::LANES;
    let whole = vectors / P * P;
    // SAFETY: the caller's promise.
    unsafe {
        for first in (0..whole).step_by(P) {
            filters::<S, T, P>(s, call, first, weights, arena, ending);
        }
        let mut first = whole;
        if P > 4 && vectors - first >= 4 {
            filters::<S, T, 4>(s, call, first, weights, arena, ending);
            first += 4;
        }
        if P > 2 && vectors - first >= 2 {
            filters::<S, T, 2>(s, call, first, weights, arena, ending);
            first += 2;
        }
        for first in first..vectors {
            filters::<S, T, 1>(s, call, first, weights, arena, ending);
        }
    }
}

/// All filters over the `P` vectors from `first` on.
///
/// # Safety
/// As for [`few`]; the run has these vectors.
#[inline(always)]
unsafe fn filters<S: Simd, const T: usize, const P: usize>(
    s: S,
    call: &Call,
    first: usize,
    weights: *const f32,
    arena: *mut f32,
    ending: Bounded,
) {
    let begin = call.shift as usize + first * S::LANES;
    let filters = call.y.len();
    // SAFETY: `Extents` covers all pixels of every plane, from `shift` on, and the weights and biases of all filters.
    unsafe {
        let mut x = [[s.splat(0.0); P]; T];
        for (t, x) in x.iter_mut().enumerate() {
            let tap = *call.x.offsets().get_unchecked(t);
            for (v, x) in x.iter_mut().enumerate() {
                *x = s.load(arena.add(tap as usize + begin + v * S::LANES));
            }
        }
        let (w, bias) = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        for (f, &y) in call.y.iter().enumerate() {
            let mut sums = [s.splat(*bias.add(f)); P];
            for (t, x) in x.iter().enumerate() {
                let weight = s.splat(*w.add(t * filters + f));
                for (sum, &x) in sums.iter_mut().zip(x) {
                    *sum = s.fma(weight, x, *sum);
                }
            }
            let y = arena.add(y as usize + begin);
            for (v, sum) in sums.into_iter().enumerate() {
                s.store(y.add(v * S::LANES), ending.apply(s, sum, f, begin));
            }
        }
    }
}

/// As many tiles of `P` vectors as fit in these vectors of the run; gives where the rest begins.
///
/// # Safety
/// As for [`run`]; the run has these vectors.
#[inline(always)]
unsafe fn tiles<S: Simd, const F: usize, const P: usize, const NEXT: u8, const OFTEN: u8>(
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
        unsafe { tile::<S, F, P, NO_TAIL, NEXT, OFTEN>(s, call, first, finish, weights, arena) }
    }
    end
}

/// As [`tiles`] over the first `vectors`, of inputs in panels, which they `PACK` or find there.
///
/// # Safety
/// As for [`run`]; the run has these vectors, and the call panels at `panels`.
#[inline(always)]
unsafe fn panel_tiles<S: Simd, const F: usize, const P: usize, const PACK: bool>(
    s: S,
    call: &Call,
    vectors: usize,
    finish: &Finish<S, F>,
    weights: *const f32,
    (arena, panels): (*mut f32, u32),
) -> usize {
    let end = vectors / P * P;
    for first in (0..end).step_by(P) {
        // SAFETY: the caller's promise.
        unsafe { panel_tile::<S, F, P, NO_TAIL, PACK>(s, call, first, finish, weights, (arena, panels)) }
    }
    end
}

/// As [`tile`], of inputs in a panel, which it `PACK`s or finds there.
///
/// # Safety
/// As for [`panel_tiles`]; the run has these vectors, and the tail.
#[inline(always)]
unsafe fn panel_tile<S: Simd, const F: usize, const P: usize, const TAIL: u8, const PACK: bool>(
    s: S,
    call: &Call,
    first: usize,
    finish: &Finish<S, F>,
    weights: *const f32,
    (arena, panels): (*mut f32, u32),
) {
    let taps = call.x.offsets();
    let begin = call.shift as usize + first * S::LANES;
    finish.ask(begin);
    // SAFETY: `Extents` covers the panels of all tiles, where they are packed all pixels of every plane, from `shift` on, and with a tail the weights that whole vectors
    // read.
    unsafe {
        let w = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let panel = arena.add(panels as usize + first * S::LANES * taps.len());
        // Not at run time: sums of both ways in one place would be moved between registers, which takes a tile of 16 taps 7 % longer.
        let at = std::array::from_fn(|v| begin + v * S::LANES);
        let tail = if PACK {
            let sums = accumulate_packing::<S, F, P, TAIL>(s, taps, w, arena.add(begin), panel);
            finish.store::<P, SOME>(sums.acc, at);
            sums.pixels[0]
        } else {
            let sums = accumulate_from_panel::<S, F, P, TAIL>(s, taps.len(), w, panel);
            finish.store::<P, MAIN>(sums.acc, at);
            sums.pixels[0]
        };
        if TAIL == PIXEL {
            finish.store_tail(tail, begin + P * S::LANES);
        }
    }
}

/// The `P` vectors from `first` on, and the `TAIL` behind them.
///
/// # Safety
/// As for [`run`]; the run has these vectors, and the tail.
#[inline(always)]
unsafe fn tile<S: Simd, const F: usize, const P: usize, const TAIL: u8, const NEXT: u8, const OFTEN: u8>(
    s: S,
    call: &Call,
    first: usize,
    finish: &Finish<S, F>,
    weights: *const f32,
    arena: *mut f32,
) {
    // SAFETY: `Extents` covers all pixels of every plane, from `shift` on, or those that are in no panel, and with a tail the weights that whole vectors read.
    unsafe {
        let (mut at, mut x) = ([0; P], [arena.cast_const(); P]);
        for v in 0..P {
            at[v] = call.shift as usize + (first + v) * S::LANES;
            x[v] = arena.add(at[v]);
        }
        let behind = call.shift as usize + (first + P) * S::LANES;
        let w = (weights.add(call.weights as usize), weights.add(call.bias as usize));
        let tail = arena.add(behind).cast_const();
        let sums =
            accumulate_with::<S, F, P, 1, TAIL, NEXT>(s, call.x.offsets(), w, (x, 1), (tail, call.asks_for_next));
        finish.store::<P, OFTEN>(sums.acc, at);
        if TAIL == PIXEL {
            finish.store_tail(sums.pixels[0], behind);
        } else if pixels_of(TAIL) > 0 {
            // One copy for all pixels.
            for i in 0..black_box(pixels_of(TAIL)) {
                finish.store_tail(sums.pixels[i % 4], behind + i);
            }
        }
    }
}
