//! The bodies of every variant.

use super::{Call, Op};
use crate::{
    simd::{Scalar, Simd},
    window::{Image, Window},
};
use std::ops::Range;

/// Columns of a strip's inputs after the vertical step, with room for strided loads to overrun.
const COLUMNS: usize = 1024;

/// Takes one more value into a partial result.
#[inline(always)]
fn combine<S: Simd>(s: S, max: bool, a: S::V, b: S::V) -> S::V {
    if max { s.max(a, b) } else { s.add(a, b) }
}

/// What [`combine`] starts from.
const fn neutral(max: bool) -> f32 {
    if max { f32::NEG_INFINITY } else { 0.0 }
}

/// The elements of a window that starts at `start` (in a row or column of `size` pixels) which lie inside.
fn inside(start: isize, kernel: usize, dilation: usize, size: usize) -> Range<usize> {
    let d = dilation as isize;
    let first = if start < 0 { (-start + d - 1) / d } else { 0 };
    let end = (size as isize - start + d - 1).max(0) / d;
    (first as usize).min(kernel)..(end as usize).min(kernel)
}

/// # Safety
/// As for [`crate::call::Run::run`]; the call is one over windows.
#[inline(always)]
pub(super) unsafe fn windows<S: Simd>(s: S, call: &Call, arena: *mut f32) {
    let Some((output, window)) = &call.windows else { return };
    // Strips whose inputs fit into the buffer together.
    let reach = (window.kernel[1] - 1).saturating_mul(window.dilation[1]);
    let together = (COLUMNS - S::LANES).saturating_sub(reach) / S::LANES.saturating_mul(window.stride[1]);
    let strips = output.width.div_ceil(S::LANES);
    let halves = call.op == Op::Max
        && *window == Window { kernel: [3; 2], stride: [2; 2], dilation: [1; 2], pad: [window.pad[0], 1] }
        && output.width >= S::LANES
        && 2 * output.width <= call.input.width;
    let mut buffer = [0.0; COLUMNS];
    for (&x, &y) in call.x.offsets().iter().zip(&call.y) {
        // SAFETY: both planes lie in the arena.
        let (x, y) = unsafe { (arena.add(x as usize).cast_const(), arena.add(y as usize)) };
        for row in 0..output.height {
            let top = (row * window.stride[0]) as isize - window.pad[0] as isize;
            let rows = inside(top, window.kernel[0], window.dilation[0], call.input.height);
            let line = Line { call, window, width: output.width, x, top, rows };
            // SAFETY: the rows lie inside the image; a row's outputs, overrun included, belong to the output plane.
            unsafe {
                let y = y.add(row * output.pitch);
                if halves {
                    line.halves(s, y);
                    continue;
                }
                if together == 0 {
                    line.scalar(y);
                    continue;
                }
                for first in (0..strips).step_by(together) {
                    line.vectors(s, first..strips.min(first + together), &mut buffer, y);
                }
            }
        }
    }
}

/// One row of outputs.
struct Line<'a> {
    call: &'a Call,
    window: &'a Window,
    /// Outputs of the row.
    width: usize,
    x: *const f32,
    /// The row of the windows' first elements.
    top: isize,
    /// The rows of the windows that lie inside the image.
    rows: Range<usize>,
}

impl Line<'_> {
    /// The column of the first element of output `column`'s window.
    fn left(&self, column: usize) -> isize {
        (column * self.window.stride[1]) as isize - self.window.pad[1] as isize
    }

    /// # Safety
    /// Row `i` of the windows lies inside the image.
    #[inline(always)]
    unsafe fn row(&self, i: usize) -> *const f32 {
        let row = self.top + (i * self.window.dilation[0]) as isize;
        // SAFETY: the caller's promise.
        unsafe { self.x.add(row as usize * self.call.input.pitch) }
    }

    /// Some strips of the row: down the columns into the buffer, then along the buffer.
    ///
    /// # Safety
    /// The rows lie inside the image, the strips' inputs fit into the buffer with a vector to spare, and `y` has room for the strips.
    #[inline(always)]
    unsafe fn vectors<S: Simd>(&self, s: S, strips: Range<usize>, buffer: &mut [f32; COLUMNS], y: *mut f32) {
        let max = self.call.op == Op::Max;
        let (stride, dilation) = (self.window.stride[1], self.window.dilation[1]);
        let column = |strip: usize| (strip * S::LANES).min(self.width.saturating_sub(S::LANES));
        let (first, last) = (column(strips.start), column(strips.end - 1));
        let left = self.left(first);
        let columns = (last - first + S::LANES) * stride + (self.window.kernel[1] - 1) * dilation;
        let width = self.call.input.width as isize;
        let (begin, end) = (left.clamp(0, width), (left + columns as isize).clamp(0, width));
        let place = |column: isize| (column - left).clamp(0, columns as isize) as usize;
        let (filled, empty) = (place(begin), place(end));
        buffer[..filled].fill(neutral(max));
        buffer[empty..columns + S::LANES].fill(neutral(max));
        // SAFETY: the columns from `begin` to `end` lie inside the image, and their places in the buffer.
        unsafe {
            let to = buffer.as_mut_ptr().wrapping_offset(-left);
            match self.rows.len() {
                3 => self.down_all::<S, 3>(s, max, begin, end, to),
                _ => self.down_all::<S, 0>(s, max, begin, end, to),
            }
        }
        for strip in strips {
            let column = column(strip);
            let mut sums = s.splat(neutral(max));
            for j in 0..self.window.kernel[1] {
                // SAFETY: the buffer holds all columns and a vector more.
                let x = unsafe {
                    let x = buffer.as_ptr().add((column - first) * stride + j * dilation);
                    match stride {
                        1 => s.load(x),
                        2 => s.load_even(x),
                        _ => s.load_strided(x, stride),
                    }
                };
                sums = combine(s, max, sums, x);
            }
            let result = if max { sums } else { s.div(sums, self.counts(s, column)) };
            // SAFETY: the caller's promise.
            unsafe { s.store(y.add(column), result) }
        }
    }

    /// The row of 3x3 maxima of every second column, from one before the first on: down the columns, then of even and odd ones, without a buffer.
    ///
    /// # Safety
    /// The rows lie inside the image, `y` has room for the outputs, of which there is a vector, and the row has two columns for each.
    #[inline(always)]
    unsafe fn halves<S: Simd>(&self, s: S, y: *mut f32) {
        for strip in 0..self.width.div_ceil(S::LANES) {
            let column = (strip * S::LANES).min(self.width - S::LANES);
            // SAFETY: the caller's promise.
            unsafe {
                let a = self.down::<S, 0>(s, true, 2 * column);
                let b = self.down::<S, 0>(s, true, 2 * column + S::LANES);
                let (second, third) = s.unzip_mixed(a, b);
                let before = match column {
                    0 => neutral(true),
                    _ => self.down::<Scalar, 0>(Scalar, true, 2 * column - 1),
                };
                let most = s.max(s.max(s.later(third, before), second), third);
                s.store(y.add(column), s.in_order(most));
            }
        }
    }

    /// The windows' rows reduced at the columns from `begin` to `end`, each stored at its place from `to` on. `N` is the number of rows, or zero for any.
    ///
    /// # Safety
    /// The rows and columns lie inside the image, and the places can be written.
    #[inline(always)]
    unsafe fn down_all<S: Simd, const N: usize>(&self, s: S, max: bool, begin: isize, end: isize, to: *mut f32) {
        let lanes = S::LANES as isize;
        let mut column = begin;
        // SAFETY: the caller's promise.
        unsafe {
            while column + lanes <= end {
                s.store(to.wrapping_offset(column), self.down::<S, N>(s, max, column as usize));
                column += lanes;
            }
            if column < end && end - begin >= lanes {
                // Some columns again.
                column = end - lanes;
                s.store(to.wrapping_offset(column), self.down::<S, N>(s, max, column as usize));
                return;
            }
            for column in column..end {
                *to.wrapping_offset(column) = self.down::<Scalar, N>(Scalar, max, column as usize);
            }
        }
    }

    /// The windows' rows at some columns, reduced.
    ///
    /// # Safety
    /// The rows and columns lie inside the image; there are `N` rows, or `N` is zero.
    #[inline(always)]
    unsafe fn down<S: Simd, const N: usize>(&self, s: S, max: bool, column: usize) -> S::V {
        let mut v = s.splat(neutral(max));
        let rows = if N == 0 { self.rows.clone() } else { self.rows.start..self.rows.start + N };
        for i in rows {
            // SAFETY: the caller's promise.
            v = combine(s, max, v, unsafe { s.load(self.row(i).add(column)) });
        }
        v
    }

    /// Output by output, in the same order: for windows too wide for the buffer.
    ///
    /// # Safety
    /// The rows lie inside the image, and `y` has room for the outputs.
    unsafe fn scalar(&self, y: *mut f32) {
        let max = self.call.op == Op::Max;
        for column in 0..self.width {
            let left = self.left(column);
            let mut sum = neutral(max);
            for j in inside(left, self.window.kernel[1], self.window.dilation[1], self.call.input.width) {
                let at = (left + (j * self.window.dilation[1]) as isize) as usize;
                // SAFETY: the column lies inside the image, the rows by the caller's promise.
                sum = combine(Scalar, max, sum, unsafe { self.down::<Scalar, 0>(Scalar, max, at) });
            }
            let result = if max { sum } else { sum / self.counts(Scalar, column) };
            // SAFETY: the caller's promise.
            unsafe { *y.add(column) = result }
        }
    }

    /// By how much each sum of the vector of outputs at `column` is divided.
    #[inline(always)]
    fn counts<S: Simd>(&self, s: S, column: usize) -> S::V {
        let (input, window) = (&self.call.input, self.window);
        // What is counted: the image, or the image with its padding.
        let [(above, height), (before, width)] = match self.call.op {
            Op::AverageCountPad { pad_end: [below, behind] } => {
                let [above, before] = window.pad;
                [(above, above + input.height + below), (before, before + input.width + behind)]
            }
            _ => [(0, input.height), (0, input.width)],
        };
        let rows = inside(self.top + above as isize, window.kernel[0], window.dilation[0], height).len();
        let count = |column: usize| {
            let left = self.left(column) + before as isize;
            let columns = inside(left, window.kernel[1], window.dilation[1], width).len();
            // The mean of nothing is zero.
            (rows * columns).max(1) as f32
        };
        let (first, last) = (count(column), count(column + S::LANES - 1));
        // Whole windows at both ends are whole between them.
        if first == last && first == (rows * window.kernel[1]) as f32 {
            return s.splat(first);
        }
        let mut counts = [1.0f32; 16];
        for (lane, place) in counts.iter_mut().enumerate().take(S::LANES) {
            *place = count(column + lane);
        }
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { s.load(counts.as_ptr()) }
    }
}

/// # Safety
/// As for [`crate::call::Run::run`]; the call is one over whole planes.
#[inline(always)]
pub(super) unsafe fn global<S: Simd>(s: S, call: &Call, arena: *mut f32) {
    let max = call.op == Op::Max;
    let Image { height, width, pitch } = call.input;
    let (rows, columns) = if pitch == width { (1, height * width) } else { (height, width) };
    for (&x, &y) in call.x.offsets().iter().zip(&call.y) {
        let mut sums = [s.splat(neutral(max)); 2];
        let mut rest = neutral(max);
        let mut turn = 0;
        for row in 0..rows {
            let vectors = columns / S::LANES * S::LANES;
            // SAFETY: the columns of the row lie in the plane.
            unsafe {
                let x = arena.add(x as usize + row * pitch).cast_const();
                for column in (0..vectors).step_by(S::LANES) {
                    sums[turn % 2] = combine(s, max, sums[turn % 2], s.load(x.add(column)));
                    turn += 1;
                }
                if max {
                    rest = (vectors..columns).fold(rest, |rest, column| rest.max(*x.add(column)));
                } else if vectors < columns {
                    let tail = s.load_masked(x.add(vectors), s.mask(0, (columns - vectors) as isize));
                    sums[turn % 2] = s.add(sums[turn % 2], tail);
                    turn += 1;
                }
            }
        }
        let sums = combine(s, max, sums[0], sums[1]);
        let result = if max {
            s.to_array(sums)[..S::LANES].iter().fold(rest, |most, &lane| combine(Scalar, max, most, lane))
        } else {
            s.total(sums) / (height * width) as f32
        };
        // SAFETY: the output lies in the arena.
        unsafe { *arena.add(y as usize) = result };
    }
}
