//! 3x3 windows over whole rows: several vectors side by side, down the rows of a plane once, with the sums of all of them in registers. What it costs to begin
//! a plane is paid once instead of for each strip, and its memory is read in order.

use super::{
    Call,
    body::{Variant, chain, load_row},
};
use crate::{activation::clamp, simd::Simd};
use std::ops::Range;

/// Most vectors side by side. Rows of more are gone through vector by vector: on Zen 5 seven take 39 us that way for 32 planes, four and three 43 us, while all
/// four of 56 columns take 47 us for 144 planes, and 54 us one by one.
const MOST: usize = 4;
/// Floats of input planes whose rows, where they take several runs, stay in the first cache.
const BLOCK: usize = 4096;

/// Whether it computes a call of that stride, with clamps to bounds: the middle of each window lies in the image, so that the columns that windows lack belong to the
/// first and last loads of a row.
pub(super) const fn takes(call: &Call, stride: usize) -> bool {
    call.window.pad[1] == 1 && (call.output.width - 1) * stride < call.input.width
}

/// Vectors side by side of some channels.
pub(super) struct Run<'a> {
    call: &'a Call,
    weights: *const f32,
    arena: *mut f32,
    /// The first column of the output.
    column: usize,
    channels: Range<usize>,
    bounds: [f32; 2],
}

/// All rows of a call.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call is what [`super::body::is_three`] and [`takes`] say, and its epilogue keeps to these bounds.
#[inline(always)]
pub(super) unsafe fn planes<S: Variant<Half: Variant<Half: Variant>>, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    bounds: [f32; 2],
) {
    let (all, block) = (call.y.len(), (BLOCK / call.input.len()).max(1));
    let rest = call.output.width % S::LANES;
    // What is left of a row may fit in half a vector, or all of it.
    let half = S::HALVES && rest > 0 && rest <= S::Half::LANES;
    let vectors = call.output.width.div_ceil(S::LANES);
    let runs = if vectors > MOST { vectors } else { 1 };
    for begin in (0..all).step_by(block) {
        for run in 0..runs {
            let [first, behind] = [run, run + 1].map(|run| run * vectors / runs);
            let channels = begin..all.min(begin + block);
            // The last vector ends with the row where it can.
            let column = (first * S::LANES).min(call.output.width.saturating_sub(S::LANES));
            let run = Run { call, weights, arena, column, channels, bounds };
            // SAFETY: the caller's promise.
            unsafe {
                match (behind - first, half) {
                    (1, true) if call.output.width < S::LANES => s.half().run_across::<STRIDE, 1, false>(&run),
                    (1, _) => s.run_across::<STRIDE, 1, false>(&run),
                    (2, false) => s.run_across::<STRIDE, 2, false>(&run),
                    (3, false) => s.run_across::<STRIDE, 3, false>(&run),
                    (_, false) => s.run_across::<STRIDE, 4, false>(&run),
                    (2, true) => s.run_across::<STRIDE, 1, true>(&run),
                    (3, true) => s.run_across::<STRIDE, 2, true>(&run),
                    (_, true) => s.run_across::<STRIDE, 3, true>(&run),
                }
            }
        }
    }
}

impl Run<'_> {
    /// `N` vectors, and behind them half a one if `HALF`. The last one ends with the row, and may overlap the one before.
    ///
    /// # Safety
    /// As for [`planes`]; the row has these vectors.
    #[inline(always)]
    pub(super) unsafe fn go<S: Variant<Half: Variant>, const STRIDE: usize, const N: usize, const HALF: bool>(
        &self,
        s: S,
    ) {
        let Self { call, weights, arena, column, bounds, .. } = *self;
        let (x_pitch, y_pitch, h) = (call.input.pitch, call.output.pitch, s.half());
        let pad = call.window.pad[0];
        // Output rows whose windows have a last row; the one behind them may lack it.
        let whole = (call.input.height + pad + STRIDE - 3) / STRIDE;
        let (whole, cut) = (whole.min(call.output.height), whole < call.output.height);
        let places = Places::<S, N>::new::<STRIDE>(s, call, column, 0);
        let places_behind = Places::<S::Half, 1>::new::<STRIDE>(h, call, column, N * S::LANES);
        for channel in self.channels.clone() {
            // SAFETY: rows of the input and of the output, and the caller's promise.
            unsafe {
                let w = weights.add(call.weights as usize + channel * 9);
                let w = [load_row(s, w), load_row(s, w.add(3)), load_row(s, w.add(6))];
                let bias = s.splat(*weights.add(call.bias as usize + channel));
                let mut sums = Sums::<S, N>::new(w, bias);
                let mut behind = Sums::<S::Half, 1>::new(first_halves(s, w), s.first_half(bias));
                let first = call.x.offsets()[channel] as usize + column * STRIDE;
                let mut x = arena.add(first).cast_const().wrapping_sub(1);
                let mut y = arena.add(call.y[channel] as usize + column);
                for _ in pad..1 {
                    sums.first::<STRIDE>(s, x, &places);
                    if HALF {
                        behind.first::<STRIDE>(h, x, &places_behind);
                    }
                    x = x.wrapping_add(x_pitch);
                }
                if STRIDE == 1 {
                    sums.middle::<STRIDE>(s, x, &places);
                    if HALF {
                        behind.middle::<STRIDE>(h, x, &places_behind);
                    }
                    x = x.wrapping_add(x_pitch);
                }
                for _ in 0..whole {
                    sums.row::<STRIDE>(s, (x, x_pitch), y, &places, bounds);
                    if HALF {
                        behind.row::<STRIDE>(h, (x, x_pitch), y, &places_behind, bounds);
                    }
                    x = x.wrapping_add(STRIDE * x_pitch);
                    y = y.wrapping_add(y_pitch);
                }
                if cut {
                    sums.cut::<STRIDE>(s, x, y, &places, bounds);
                    if HALF {
                        behind.cut::<STRIDE>(h, x, y, &places_behind, bounds);
                    }
                }
            }
        }
    }
}

#[inline(always)]
fn first_halves<S: Simd>(s: S, w: [[S::V; 3]; 3]) -> [[<S::Half as Simd>::V; 3]; 3] {
    let mut halves = [[s.half().splat(0.0); 3]; 3];
    for (half, &w) in halves.as_flattened_mut().iter_mut().zip(w.as_flattened()) {
        *half = s.first_half(w);
    }
    halves
}

/// Where the vectors of a run lie, and which lanes of their loads lie in the image.
struct Places<S: Simd, const N: usize> {
    /// Columns of the output, from the run's first one on.
    at: [usize; N],
    /// With stride one, of the first load of the first vector and the last load of the last one; with two, of the last vector's two loads.
    ends: [S::M; 2],
    /// Whether the column before the first vector does.
    inside: bool,
}

impl<S: Simd, const N: usize> Places<S, N> {
    /// The vectors that begin `from` columns behind `column`.
    #[inline(always)]
    fn new<const STRIDE: usize>(s: S, call: &Call, column: usize, from: usize) -> Self {
        let last = call.output.width.saturating_sub(S::LANES + column);
        let mut at = [0; N];
        for (v, at) in at.iter_mut().enumerate() {
            *at = (from + v * S::LANES).min(last);
        }
        let begin = column + at[0];
        // Columns of the input from the last vector's first window's middle on.
        let left = call.input.width as isize - (STRIDE * (column + at[N - 1])) as isize;
        let ends = match STRIDE {
            1 => [s.mask(1 - begin as isize, isize::MAX), s.mask(0, left - 1)],
            _ => [s.mask(0, left), s.mask(0, left - S::LANES as isize)],
        };
        Self { at, ends, inside: begin > 0 }
    }
}

/// The sums of the vectors of a run, of one channel.
struct Sums<S: Simd, const N: usize> {
    w: [[S::V; 3]; 3],
    bias: S::V,
    /// Of the output row that still lacks all but its first row of inputs.
    begun: [S::V; N],
    /// Of the one that lacks only its last one, with stride one.
    most: [S::V; N],
}

impl<S: Variant, const N: usize> Sums<S, N> {
    #[inline(always)]
    const fn new(w: [[S::V; 3]; 3], bias: S::V) -> Self {
        Self { w, bias, begun: [bias; N], most: [bias; N] }
    }

    /// The first row of inputs of the first row of outputs.
    ///
    /// # Safety
    /// As for [`columns`], at all places.
    #[inline(always)]
    unsafe fn first<const STRIDE: usize>(&mut self, s: S, x: *const f32, places: &Places<S, N>) {
        for v in 0..N {
            // SAFETY: the caller's promise.
            let row = unsafe { columns::<S, N, STRIDE>(s, x, places, v) };
            self.begun[v] = chain(s, self.bias, row, self.w[0]);
        }
    }

    /// The second one, which with stride one is the first of the next row of outputs.
    ///
    /// # Safety
    /// As for [`columns`], at all places.
    #[inline(always)]
    unsafe fn middle<const STRIDE: usize>(&mut self, s: S, x: *const f32, places: &Places<S, N>) {
        for v in 0..N {
            // SAFETY: the caller's promise.
            let row = unsafe { columns::<S, N, STRIDE>(s, x, places, v) };
            self.most[v] = chain(s, self.begun[v], row, self.w[1]);
            self.begun[v] = chain(s, self.bias, row, self.w[0]);
        }
    }

    /// The inputs that a row of outputs still lacks, with stride one a row of them, with two two; stores it.
    ///
    /// # Safety
    /// As for [`columns`], at all places, for all these rows; `y` is the row of outputs from the run's first column on.
    #[inline(always)]
    unsafe fn row<const STRIDE: usize>(
        &mut self,
        s: S,
        (x, pitch): (*const f32, usize),
        y: *mut f32,
        places: &Places<S, N>,
        bounds: [f32; 2],
    ) {
        for v in 0..N {
            // SAFETY: the caller's promise.
            unsafe {
                let (most, last) = if STRIDE == 1 {
                    (self.most[v], columns::<S, N, STRIDE>(s, x, places, v))
                } else {
                    let row = columns::<S, N, STRIDE>(s, x, places, v);
                    let most = chain(s, self.begun[v], row, self.w[1]);
                    (most, columns::<S, N, STRIDE>(s, x.wrapping_add(pitch), places, v))
                };
                let done = chain(s, most, last, self.w[2]);
                if STRIDE == 1 {
                    self.most[v] = chain(s, self.begun[v], last, self.w[1]);
                }
                self.begun[v] = chain(s, self.bias, last, self.w[0]);
                store::<S, STRIDE>(s, y.add(places.at[v]), bounds, done);
            }
        }
    }

    /// The last row of outputs, which lacks the last row of inputs.
    ///
    /// # Safety
    /// As for [`Self::row`].
    #[inline(always)]
    unsafe fn cut<const STRIDE: usize>(
        &mut self,
        s: S,
        x: *const f32,
        y: *mut f32,
        places: &Places<S, N>,
        bounds: [f32; 2],
    ) {
        for v in 0..N {
            // SAFETY: the caller's promise.
            unsafe {
                let most = if STRIDE == 1 {
                    self.most[v]
                } else {
                    chain(s, self.begun[v], columns::<S, N, STRIDE>(s, x, places, v), self.w[1])
                };
                store::<S, STRIDE>(s, y.add(places.at[v]), bounds, most);
            }
        }
    }
}

/// # Safety
/// A vector can be written at `y`.
#[inline(always)]
unsafe fn store<S: Variant, const STRIDE: usize>(s: S, y: *mut f32, bounds: [f32; 2], sums: S::V) {
    let sums = clamp(s, bounds, sums);
    // SAFETY: the caller's promise.
    unsafe { s.store(y, if STRIDE == 1 { sums } else { s.in_order(sums) }) }
}

/// The inputs of vector `v` of a row that begins at `x`, one column before the run's first window's middle.
///
/// # Safety
/// The row is one of the image.
#[inline(always)]
unsafe fn columns<S: Variant, const N: usize, const STRIDE: usize>(
    s: S,
    x: *const f32,
    places: &Places<S, N>,
    v: usize,
) -> [S::V; 3] {
    let Places { at, ends, inside } = places;
    let x = x.wrapping_add(STRIDE * at[v]);
    // SAFETY: the caller's promise, and what the masks leave lies in the image.
    unsafe {
        if STRIDE == 1 {
            let first = if v == 0 { s.load_masked(x, ends[0]) } else { s.load(x) };
            let third = x.wrapping_add(2);
            let third = if v == N - 1 { s.load_masked(third, ends[1]) } else { s.load(third) };
            return [first, s.load(x.wrapping_add(1)), third];
        }
        let (a, b) = (x.wrapping_add(1), x.wrapping_add(1 + S::LANES));
        let (a, b) =
            if v == N - 1 { (s.load_masked(a, ends[0]), s.load_masked(b, ends[1])) } else { (s.load(a), s.load(b)) };
        let (second, third) = s.unzip_mixed(a, b);
        let first = if v > 0 || *inside { *x } else { 0.0 };
        [s.later(third, first), second, third]
    }
}
