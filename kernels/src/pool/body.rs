//! The bodies of every variant.

use super::{Call, Op};
use crate::{
    simd::{Scalar, Simd},
    window::{Image, Window, strips},
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
    let max = call.op == Op::Max;
    let reach = (window.kernel[1] - 1).saturating_mul(window.dilation[1]);
    let columns = reach.saturating_add(S::LANES.saturating_mul(window.stride[1]));
    for (&x, &y) in call.x.offsets().iter().zip(&call.y) {
        // SAFETY: both planes lie in the arena.
        let (x, y) = unsafe { (arena.add(x as usize).cast_const(), arena.add(y as usize)) };
        for row in 0..output.height {
            let top = (row * window.stride[0]) as isize - window.pad[0] as isize;
            let rows = inside(top, window.kernel[0], window.dilation[0], call.input.height);
            for column in strips(output.width, S::LANES) {
                let strip = Strip { call, window, x, top, rows: rows.clone(), column };
                // SAFETY: the rows lie inside the image; a strip's outputs, overrun included, belong to the output plane.
                unsafe {
                    // Wide windows do not fit the buffer: pixel by pixel, in the same order.
                    let sums = if columns <= COLUMNS - S::LANES { strip.vector(s, max) } else { strip.scalar(s, max) };
                    let result = if max { sums } else { s.div(sums, strip.counts(s)) };
                    s.store(y.add(row * output.pitch + column), result);
                }
            }
        }
    }
}

/// One vector of outputs.
struct Strip<'a> {
    call: &'a Call,
    window: &'a Window,
    x: *const f32,
    /// The row of the window's first element.
    top: isize,
    /// The rows of the window that lie inside the image.
    rows: Range<usize>,
    /// The first output column.
    column: usize,
}

impl Strip<'_> {
    /// The column of the first element of output `lane`'s window.
    fn left(&self, lane: usize) -> isize {
        ((self.column + lane) * self.window.stride[1]) as isize - self.window.pad[1] as isize
    }

    /// # Safety
    /// Row `i` of the window lies inside the image.
    #[inline(always)]
    unsafe fn row(&self, i: usize) -> *const f32 {
        let row = self.top + (i * self.window.dilation[0]) as isize;
        // SAFETY: the caller's promise.
        unsafe { self.x.add(row as usize * self.call.input.pitch) }
    }

    /// Down the columns into a buffer, then along the buffer.
    ///
    /// # Safety
    /// The rows lie inside the image, and the window's columns fit the buffer.
    #[inline(always)]
    unsafe fn vector<S: Simd>(&self, s: S, max: bool) -> S::V {
        let (stride, dilation) = (self.window.stride[1], self.window.dilation[1]);
        let reach = (self.window.kernel[1] - 1) * dilation + S::LANES * stride;
        let mut buffer = [0.0f32; COLUMNS];
        buffer[..reach + S::LANES].fill(neutral(max));
        let left = self.left(0);
        let (begin, end) = (left.max(0), (left + reach as isize).min(self.call.input.width as isize));
        let mut column = begin;
        while column < end {
            let at = (column - left) as usize;
            // SAFETY: columns `begin..end` lie inside the image, and their places in the buffer.
            unsafe {
                if column + S::LANES as isize <= end {
                    let v = self.down(s, max, column as usize);
                    s.store(buffer.as_mut_ptr().add(at), v);
                    column += S::LANES as isize;
                } else {
                    buffer[at] = self.down(Scalar, max, column as usize);
                    column += 1;
                }
            }
        }
        let mut sums = s.splat(neutral(max));
        for j in 0..self.window.kernel[1] {
            // SAFETY: the buffer holds `reach` columns and a vector more.
            let x = unsafe {
                let x = buffer.as_ptr().add(j * dilation);
                match stride {
                    1 => s.load(x),
                    2 => s.load_even(x),
                    _ => s.load_strided(x, stride),
                }
            };
            sums = combine(s, max, sums, x);
        }
        sums
    }

    /// The window's rows at some columns, reduced.
    ///
    /// # Safety
    /// The rows and columns lie inside the image.
    #[inline(always)]
    unsafe fn down<S: Simd>(&self, s: S, max: bool, column: usize) -> S::V {
        let mut v = s.splat(neutral(max));
        for i in self.rows.clone() {
            // SAFETY: the caller's promise.
            v = combine(s, max, v, unsafe { s.load(self.row(i).add(column)) });
        }
        v
    }

    /// Output by output.
    ///
    /// # Safety
    /// The rows lie inside the image.
    unsafe fn scalar<S: Simd>(&self, s: S, max: bool) -> S::V {
        let mut sums = [neutral(max); 16];
        let lanes = S::LANES.min(self.width() - self.column);
        for (lane, sum) in sums.iter_mut().enumerate().take(lanes) {
            let left = self.left(lane);
            for j in inside(left, self.window.kernel[1], self.window.dilation[1], self.call.input.width) {
                let column = left + (j * self.window.dilation[1]) as isize;
                // SAFETY: the column lies inside the image, the rows by the caller's promise.
                *sum = combine(Scalar, max, *sum, unsafe { self.down(Scalar, max, column as usize) });
            }
        }
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { s.load(sums.as_ptr()) }
    }

    fn width(&self) -> usize {
        self.call.windows.map_or(1, |(output, _)| output.width)
    }

    /// By how much each sum is divided.
    #[inline(always)]
    fn counts<S: Simd>(&self, s: S) -> S::V {
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
        let mut counts = [1.0f32; 16];
        for (lane, count) in counts.iter_mut().enumerate().take(S::LANES) {
            let left = self.left(lane) + before as isize;
            let columns = inside(left, window.kernel[1], window.dilation[1], width).len();
            // The mean of nothing is zero.
            let pixels = (rows * columns).max(1);
            *count = pixels as f32;
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
        let lanes = s.to_array(combine(s, max, sums[0], sums[1]));
        let all = lanes[..S::LANES].iter().fold(rest, |all, &lane| combine(Scalar, max, all, lane));
        let result = if max { all } else { all / (height * width) as f32 };
        // SAFETY: the output lies in the arena.
        unsafe { *arena.add(y as usize) = result };
    }
}
