//! The body of every variant.

use super::Call;
use crate::{activation::clamp, depthwise::load_row, simd::Simd};

/// Filters that run side by side: their sums do not wait for each other, and they share what they load.
const FILTERS: usize = 2;

/// Strip by strip: copies its columns of all inputs, then makes its outputs filter by filter.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has that stride.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const STRIDE: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let step = call.input.height * STRIDE * S::LANES;
    // SAFETY: `Extents` covers the inputs and their copies; the weights hold what the call says for each filter.
    unsafe {
        // Without taps there is no copy, and nothing is read.
        let scratch = arena.wrapping_add(call.scratch[0] as usize);
        for column in (0..call.output.width).step_by(columns::<S, STRIDE>()) {
            for (tap, &x) in call.x.offsets().iter().enumerate() {
                copy::<S, STRIDE>(s, call, arena.add(x as usize), column, scratch.wrapping_add(tap * step));
            }
            for f in (0..call.y.len()).step_by(FILTERS) {
                // Of an odd number the last but one is made twice.
                let f = f.min(call.y.len().saturating_sub(FILTERS));
                let filters = Filters::<S>::new(s, call, f, weights, step);
                let mut y = [arena; FILTERS];
                for (i, y) in y.iter_mut().enumerate() {
                    *y = arena.add(call.y[(f + i).min(call.y.len() - 1)] as usize + column);
                }
                filters.strip::<STRIDE>(s, call, column, scratch, y);
            }
        }
    }
}

/// Output columns of a strip.
const fn columns<S: Simd, const STRIDE: usize>() -> usize {
    if STRIDE == 1 { S::LANES - 2 } else { S::LANES - 1 }
}

/// What the outputs of a strip from `column` on read of all rows of the input at `x`, and zeros outside.
///
/// # Safety
/// `x` is an input of the call, and `to` has a vector for each row, with a stride of two two of them.
#[inline(always)]
unsafe fn copy<S: Simd, const STRIDE: usize>(s: S, call: &Call, x: *const f32, column: usize, to: *mut f32) {
    // One before the first window's middle.
    let begin = (STRIDE * column) as isize - 1;
    let inside = |from: usize| {
        let begin = begin + from as isize;
        s.mask(-begin, call.input.width as isize - begin)
    };
    let masks = [inside(0), inside(S::LANES)];
    for row in 0..call.input.height {
        let x = x.wrapping_offset((row * call.input.pitch) as isize + begin);
        // SAFETY: the lanes of the masks lie in a row of the input; the caller's promise.
        unsafe {
            let first = s.load_masked(x, masks[0]);
            if STRIDE == 1 {
                s.store(to.add(row * S::LANES), first);
            } else {
                let second = s.load_masked(x.wrapping_add(S::LANES), masks[1]);
                let (odd, even) = s.unzip(first, second);
                s.store(to.add(2 * row * S::LANES), odd);
                s.store(to.add((2 * row + 1) * S::LANES), even);
            }
        }
    }
}

/// What the rows of some filters need.
struct Filters<S: Simd> {
    taps: usize,
    /// Weights of the 1x1 convolution, of each filter.
    expansion: [*const f32; FILTERS],
    /// Its biases.
    first: [S::V; FILTERS],
    between: [f32; 2],
    /// Weights of the depthwise convolution.
    w: [*const f32; FILTERS],
    bias: [S::V; FILTERS],
    bounds: [f32; 2],
    /// Floats from the copy of a tap to that of the next.
    step: usize,
}

/// What a strip's rows share, and the sums of output rows that are begun.
struct Strip<S: Simd> {
    /// The lanes inside the image, of what a stride of two calls odd columns.
    inside: S::M,
    /// The lanes that are outputs.
    stored: S::M,
    /// Of the output row that still lacks all but its first row of inputs.
    begun: [S::V; FILTERS],
    /// With stride one of that which lacks only its last.
    most: [S::V; FILTERS],
}

/// What the three columns of a window read, in a row.
type Row<S> = [<S as Simd>::V; 3];

impl<S: Simd> Filters<S> {
    /// Those from `f` on; the last one again if there is no other.
    ///
    /// # Safety
    /// The weights hold what the call says for each filter.
    #[inline(always)]
    unsafe fn new(s: S, call: &Call, f: usize, weights: *const f32, step: usize) -> Self {
        let taps = call.x.offsets().len();
        let mut filters = Self {
            taps,
            expansion: [weights; FILTERS],
            first: [s.splat(0.0); FILTERS],
            between: call.between,
            w: [weights; FILTERS],
            bias: [s.splat(0.0); FILTERS],
            bounds: call.bounds,
            step,
        };
        for i in 0..FILTERS {
            let f = (f + i).min(call.y.len() - 1);
            // SAFETY: the caller's promise.
            unsafe {
                filters.expansion[i] = weights.add(call.expansion as usize + f * taps);
                filters.first[i] = s.splat(*weights.add(call.expansion_bias as usize + f));
                filters.w[i] = weights.add(call.weights as usize + f * 9);
                filters.bias[i] = s.splat(*weights.add(call.bias as usize + f));
            }
        }
        filters
    }

    /// The outputs from `column` on, to `y`.
    ///
    /// # Safety
    /// `x` is the first tap's copy, and `y` the first row of each output from that column on.
    #[inline(always)]
    unsafe fn strip<const STRIDE: usize>(
        &self,
        s: S,
        call: &Call,
        column: usize,
        mut x: *const f32,
        mut y: [*mut f32; FILTERS],
    ) {
        let pitch = call.output.pitch;
        let outputs = columns::<S, STRIDE>().min(call.output.width - column);
        // Of the columns one before the outputs' middles; with a stride of two there are half as many odd ones.
        let there = if STRIDE == 1 { call.input.width } else { call.input.width / 2 };
        let mut strip = Strip::<S> {
            inside: s.mask(1 - column as isize, there as isize + 1 - column as isize),
            stored: s.mask(0, outputs as isize),
            begun: self.bias,
            most: self.bias,
        };
        let whole = (call.input.height + call.pad + STRIDE - 3) / STRIDE;
        let (whole, cut) = (whole.min(call.output.height), whole < call.output.height);
        // SAFETY: rows of the copy and of the output, of which there are that many.
        unsafe {
            // Rows of inputs before the last one of the first output's.
            for _ in call.pad..if STRIDE == 1 { 2 } else { 1 } {
                self.begin::<STRIDE>(s, &mut strip, x);
                x = x.wrapping_add(STRIDE * S::LANES);
            }
            let most = if STRIDE == 1 { 4 } else { 2 };
            let mut rows = 0;
            // Narrower vectors are not for speed, and go without this code.
            while S::LANES >= 16 && rows + most <= whole {
                if STRIDE == 1 {
                    self.four(s, &mut strip, x, (y, pitch));
                } else {
                    self.two_strided(s, &mut strip, x, (y, pitch));
                }
                x = x.wrapping_add(most * STRIDE * STRIDE * S::LANES);
                y = behind(y, most * pitch);
                rows += most;
            }
            for _ in rows..whole {
                self.one::<STRIDE>(s, &mut strip, x, y);
                x = x.wrapping_add(STRIDE * STRIDE * S::LANES);
                y = behind(y, pitch);
            }
            if cut {
                if STRIDE == 2 {
                    self.begin::<STRIDE>(s, &mut strip, x);
                }
                for f in 0..FILTERS {
                    self.store(s, &strip, y[f], strip.most[f]);
                }
            }
        }
    }

    /// A row of inputs that ends no row of outputs.
    ///
    /// # Safety
    /// `x` is a row of the copy.
    #[inline(always)]
    unsafe fn begin<const STRIDE: usize>(&self, s: S, strip: &mut Strip<S>, x: *const f32) {
        // SAFETY: the caller's promise.
        unsafe {
            let rows = if STRIDE == 1 { self.rows::<1>(s, strip, x) } else { self.strided_rows::<1, 2>(s, strip, x) };
            for f in 0..FILTERS {
                let [above, middle, _] = self.weights(s, f);
                [strip.most[f], strip.begun[f]] =
                    chains(s, [strip.begun[f], self.bias[f]], [rows[f][0]; 2], [middle, above]);
            }
        }
    }

    /// A row of outputs.
    ///
    /// # Safety
    /// The copy has the rows that it lacks from `x` on, and `y` is that row of the outputs.
    #[inline(always)]
    unsafe fn one<const STRIDE: usize>(&self, s: S, strip: &mut Strip<S>, x: *const f32, y: [*mut f32; FILTERS]) {
        // SAFETY: the caller's promise.
        unsafe {
            if STRIDE == 2 {
                self.begin::<STRIDE>(s, strip, x);
            }
            let x = x.wrapping_add((STRIDE - 1) * STRIDE * S::LANES);
            let rows = if STRIDE == 1 { self.rows::<1>(s, strip, x) } else { self.strided_rows::<1, 2>(s, strip, x) };
            for f in 0..FILTERS {
                let [above, middle, below] = self.weights(s, f);
                let start = [strip.most[f], strip.begun[f], self.bias[f]];
                let [done, most, begun] = chains(s, start, [rows[f][0]; 3], [below, middle, above]);
                (strip.most[f], strip.begun[f]) = (most, begun);
                self.store(s, strip, y[f], done);
            }
        }
    }

    /// Four rows of outputs with a stride of one.
    ///
    /// # Safety
    /// The copy has as many rows from `x` on, and the outputs from `y` on, a pitch apart.
    #[inline(always)]
    unsafe fn four(&self, s: S, strip: &mut Strip<S>, x: *const f32, (y, pitch): ([*mut f32; FILTERS], usize)) {
        // SAFETY: the caller's promise.
        unsafe {
            let rows = self.rows::<4>(s, strip, x);
            for f in 0..FILTERS {
                let [above, middle, below] = self.weights(s, f);
                let ([a, b, c, d], bias) = (rows[f], self.bias[f]);
                // Sums that do not wait for each other side by side.
                let start = [strip.most[f], strip.begun[f], bias, bias, bias, bias];
                let sums = chains(s, start, [a, a, a, b, c, d], [below, middle, above, above, above, above]);
                let [first, second, third, fourth, most, begun] = sums;
                let sums = chains(s, [second, third, fourth, most], [b, b, c, d], [below, middle, middle, middle]);
                let [second, third, fourth, most] = sums;
                let [third, fourth] = chains(s, [third, fourth], [c, d], [below; 2]);
                (strip.most[f], strip.begun[f]) = (most, begun);
                for (r, done) in [first, second, third, fourth].into_iter().enumerate() {
                    self.store(s, strip, y[f].add(r * pitch), done);
                }
            }
        }
    }

    /// Two rows of outputs with a stride of two.
    ///
    /// # Safety
    /// The copy has four rows from `x` on, and the outputs two from `y` on, a pitch apart.
    #[inline(always)]
    unsafe fn two_strided(&self, s: S, strip: &mut Strip<S>, x: *const f32, (y, pitch): ([*mut f32; FILTERS], usize)) {
        // SAFETY: the caller's promise.
        unsafe {
            let rows = self.strided_rows::<4, 8>(s, strip, x);
            for f in 0..FILTERS {
                let [above, middle, below] = self.weights(s, f);
                let ([a, b, c, d], bias) = (rows[f], self.bias[f]);
                let [first, second, begun] = chains(s, [strip.begun[f], bias, bias], [a, b, d], [middle, above, above]);
                let [first, second] = chains(s, [first, second], [b, c], [below, middle]);
                let [second] = chains(s, [second], [d], [below]);
                strip.begun[f] = begun;
                self.store(s, strip, y[f], first);
                self.store(s, strip, y[f].add(pitch), second);
            }
        }
    }

    /// Clamps and stores a row of outputs.
    ///
    /// # Safety
    /// `y` is a row of the output, from the strip's first column on.
    #[inline(always)]
    unsafe fn store(&self, s: S, strip: &Strip<S>, y: *mut f32, done: S::V) {
        // SAFETY: the caller's promise: the mask leaves the columns of the strip.
        unsafe { s.store_masked(y, strip.stored, clamp(s, self.bounds, done)) }
    }

    /// The rows of a filter's window.
    ///
    /// # Safety
    /// As for [`Self::new`].
    #[inline(always)]
    unsafe fn weights(&self, s: S, f: usize) -> [Row<S>; 3] {
        let w = self.w[f];
        // SAFETY: the caller's promise.
        unsafe { [load_row(s, w), load_row(s, w.add(3)), load_row(s, w.add(6))] }
    }

    /// What the windows of each filter read in `R` rows.
    ///
    /// # Safety
    /// As for [`Self::vectors`].
    #[inline(always)]
    unsafe fn rows<const R: usize>(&self, s: S, strip: &Strip<S>, x: *const f32) -> [[Row<S>; R]; FILTERS] {
        // Loops, no closures, which would not have the instruction set's features.
        let mut rows = [[[s.splat(0.0); 3]; R]; FILTERS];
        // SAFETY: the caller's promise.
        let made = unsafe { self.vectors::<R>(s, x) };
        for f in 0..FILTERS {
            for r in 0..R {
                let first = s.keep(made[f][r], strip.inside);
                let next = s.down(first);
                rows[f][r] = [first, next, s.down(next)];
            }
        }
        rows
    }

    /// The same with a stride of two, of `N` vectors: the odd columns before the even ones, those, and the odd ones behind.
    ///
    /// # Safety
    /// As for [`Self::vectors`], for twice as many vectors.
    #[inline(always)]
    unsafe fn strided_rows<const R: usize, const N: usize>(
        &self,
        s: S,
        strip: &Strip<S>,
        x: *const f32,
    ) -> [[Row<S>; R]; FILTERS] {
        let mut rows = [[[s.splat(0.0); 3]; R]; FILTERS];
        // SAFETY: the caller's promise.
        let made = unsafe { self.vectors::<N>(s, x) };
        for f in 0..FILTERS {
            for r in 0..R {
                let odd = s.keep(made[f][2 * r], strip.inside);
                rows[f][r] = [odd, made[f][2 * r + 1], s.down(odd)];
            }
        }
        rows
    }

    /// What the 1x1 convolution of each filter makes of `N` vectors.
    ///
    /// # Safety
    /// Each tap's copy has so many vectors from `x` on, `step` floats apart.
    #[inline(always)]
    unsafe fn vectors<const N: usize>(&self, s: S, mut x: *const f32) -> [[S::V; N]; FILTERS] {
        let mut sums = [[s.splat(0.0); N]; FILTERS];
        for (sums, &bias) in sums.iter_mut().zip(&self.first) {
            *sums = [bias; N];
        }
        // SAFETY: the caller's promise; there is a weight for each tap.
        unsafe {
            for t in 0..self.taps {
                let mut weights = [s.splat(0.0); FILTERS];
                for f in 0..FILTERS {
                    weights[f] = s.splat(*self.expansion[f].add(t));
                }
                for v in 0..N {
                    let x = s.load(x.add(v * S::LANES));
                    for f in 0..FILTERS {
                        sums[f][v] = s.fma(weights[f], x, sums[f][v]);
                    }
                }
                x = x.wrapping_add(self.step);
            }
        }
        for sums in &mut sums {
            for sum in sums {
                *sum = clamp(s, self.between, *sum);
            }
        }
        sums
    }
}

/// Each output `floats` further on.
#[inline(always)]
fn behind(mut y: [*mut f32; FILTERS], floats: usize) -> [*mut f32; FILTERS] {
    for y in &mut y {
        *y = y.wrapping_add(floats);
    }
    y
}

/// Each of `sums` with the products of a row added, side by side.
#[inline(always)]
fn chains<S: Simd, const N: usize>(s: S, mut sums: [S::V; N], rows: [Row<S>; N], weights: [Row<S>; N]) -> [S::V; N] {
    for tap in 0..3 {
        for n in 0..N {
            sums[n] = s.fma(rows[n][tap], weights[n][tap], sums[n]);
        }
    }
    sums
}
