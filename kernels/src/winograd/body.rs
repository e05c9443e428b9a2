//! The bodies of every variant.

use super::{SEGMENTS, TILE, WINDOW, input, output};
use crate::{
    activation::clamp,
    simd::{Simd, Task},
};

/// # Safety
/// As for [`crate::call::Run::run`].
#[inline(always)]
pub(super) unsafe fn input<S: Simd>(s: S, call: &input::Call, arena: *mut f32) {
    let image = call.input;
    let starts = call.starts.offsets();
    for vector in 0..call.segments.vectors() {
        let corners = call.segments.of_vector(vector, S::LANES);
        let (mut masks, mut rows, mut columns) = ([[s.mask(0, 0); 2]; SEGMENTS], [0; SEGMENTS], [0; SEGMENTS]);
        for (q, [row, column]) in corners.into_iter().enumerate() {
            (rows[q], columns[q]) = (row.wrapping_sub(call.pad[0]), column as isize - call.pad[1] as isize);
            // From the first column of the window on, and from that of the next tile on.
            for (mask, first) in masks[q].iter_mut().zip([columns[q], columns[q] + TILE as isize]) {
                *mask = s.mask(-first, image.width as isize - first);
            }
        }
        let to = call.y.vector(vector, S::LANES);
        for (plane, &x) in call.x.offsets().iter().enumerate() {
            let mut across = [[s.splat(0.0); WINDOW]; WINDOW];
            for (i, across) in across.iter_mut().enumerate() {
                let (mut here, mut next) = ([s.splat(0.0); SEGMENTS], [s.splat(0.0); SEGMENTS]);
                for q in 0..SEGMENTS {
                    let row = rows[q].wrapping_add(i);
                    if row < image.height {
                        // SAFETY: `Extents` covers the rows of the image, and the masks keep to its columns.
                        unsafe {
                            let p = arena.add(x as usize + row * image.pitch).wrapping_offset(columns[q]).cast_const();
                            here[q] = s.load_masked(p, masks[q][0]);
                            next[q] = s.load_masked(p.wrapping_add(TILE), masks[q][1]);
                        }
                    }
                }
                *across = input_points(s, windows(s, here, next));
            }
            for j in 0..WINDOW {
                let mut column = [s.splat(0.0); WINDOW];
                for (v, row) in column.iter_mut().zip(&across) {
                    *v = row[j];
                }
                for (i, v) in input_points(s, column).into_iter().enumerate() {
                    // SAFETY: `Extents` covers the vectors of every place and plane; there are as many starts as places.
                    unsafe {
                        let start = *starts.get_unchecked(i * WINDOW + j) as usize;
                        s.store(arena.add(start + plane * call.y.plane + to), v);
                    }
                }
            }
        }
    }
}

/// Columns `0..6` of the window of each tile, from the vectors of columns that begin with the window and with that of the next tile.
#[inline(always)]
fn windows<S: Simd>(s: S, here: [S::V; SEGMENTS], next: [S::V; SEGMENTS]) -> [S::V; WINDOW] {
    let ([a, b, c, d], [e, f, ..]) = (split(s, here), split(s, next));
    [a, b, c, d, e, f]
}

/// Every fourth column of four vectors, from each of the first four on.
#[inline(always)]
fn split<S: Simd>(s: S, [a, b, c, d]: [S::V; SEGMENTS]) -> [S::V; TILE] {
    let ((even, odd), (even_too, odd_too)) = (s.unzip_mixed(a, b), s.unzip_mixed(c, d));
    let ((first, third), (second, fourth)) = (s.unzip_mixed(even, even_too), s.unzip_mixed(odd, odd_too));
    [first, second, third, fourth]
}

/// `B^T d`
#[inline(always)]
fn input_points<S: Simd>(s: S, d: [S::V; WINDOW]) -> [S::V; WINDOW] {
    let (two, four) = (s.splat(2.0), s.splat(4.0));
    let (minus_two, minus_four, minus_five) = (s.splat(-2.0), s.splat(-4.0), s.splat(-5.0));
    let first = s.fma(four, d[0], s.fma(minus_five, d[2], d[4]));
    let last = s.fma(four, d[1], s.fma(minus_five, d[3], d[5]));
    let (even, odd) = (s.fma(minus_four, d[2], d[4]), s.fma(minus_four, d[1], d[3]));
    let (far_even, far_odd) = (s.sub(d[4], d[2]), s.sub(d[3], d[1]));
    [
        first,
        s.add(even, odd),
        s.sub(even, odd),
        s.fma(two, far_odd, far_even),
        s.fma(minus_two, far_odd, far_even),
        last,
    ]
}

/// # Safety
/// As for [`crate::call::Run::run`].
#[inline(always)]
pub(super) unsafe fn output<S: Simd>(s: S, call: &output::Call, weights: *const f32, arena: *mut f32) {
    let image = call.segments.image;
    let usual = if call.epilogue.residual.is_none() { call.epilogue.first.bounds() } else { None };
    let starts = call.starts.offsets();
    for vector in 0..call.segments.vectors() {
        let corners = call.segments.of_vector(vector, S::LANES);
        let from = call.x.vector(vector, S::LANES);
        for (f, &y) in call.y.iter().enumerate() {
            let mut down = [[s.splat(0.0); WINDOW]; TILE];
            for j in 0..WINDOW {
                let mut column = [s.splat(0.0); WINDOW];
                for (i, x) in column.iter_mut().enumerate() {
                    // SAFETY: `Extents` covers the vectors of every place and plane; there are as many starts as places.
                    *x = unsafe {
                        let start = *starts.get_unchecked(i * WINDOW + j) as usize;
                        s.load(arena.add(start + f * call.x.plane + from))
                    };
                }
                for (down, v) in down.iter_mut().zip(output_points(s, column)) {
                    down[j] = v;
                }
            }
            // SAFETY: there is a bias for each filter.
            let bias = s.splat(unsafe { *weights.add(call.bias as usize + f) });
            let mut outputs = [[s.splat(0.0); SEGMENTS]; TILE];
            for (outputs, down) in outputs.iter_mut().zip(down) {
                let mut points = output_points(s, down);
                for v in &mut points {
                    *v = s.add(*v, bias);
                    if let Some(bounds) = usual {
                        *v = clamp(s, bounds, *v);
                    }
                }
                *outputs = columns(s, points);
            }
            if usual.is_none() {
                let sums = outputs.as_mut_ptr().cast();
                s.outlined(Ending { call, corners: &corners, filter: f, sums, weights, arena });
            }
            for (row, outputs) in outputs.into_iter().enumerate() {
                for ([corner, column], v) in corners.into_iter().zip(outputs) {
                    if corner + row >= image.height {
                        continue;
                    }
                    // SAFETY: `Extents` covers the columns of every row of the image.
                    unsafe {
                        let y = arena.add(y as usize + (corner + row) * image.pitch + column);
                        if column + S::LANES <= image.width {
                            s.store(y, v);
                        } else {
                            let lanes = s.to_array(v);
                            std::ptr::copy_nonoverlapping(lanes.as_ptr(), y, image.width - column);
                        }
                    }
                }
            }
        }
    }
}

/// `A^T m`
#[inline(always)]
fn output_points<S: Simd>(s: S, m: [S::V; WINDOW]) -> [S::V; TILE] {
    let (two, four, eight) = (s.splat(2.0), s.splat(4.0), s.splat(8.0));
    let (near, near_odd) = (s.add(m[1], m[2]), s.sub(m[1], m[2]));
    let (far, far_odd) = (s.add(m[3], m[4]), s.sub(m[3], m[4]));
    [
        s.add(m[0], s.add(near, far)),
        s.fma(two, far_odd, near_odd),
        s.fma(four, far, near),
        s.add(m[5], s.fma(eight, far_odd, near_odd)),
    ]
}

/// A vector of columns for each segment, from the four columns of each tile.
#[inline(always)]
fn columns<S: Simd>(s: S, [first, second, third, fourth]: [S::V; TILE]) -> [S::V; SEGMENTS] {
    let ((even, even_too), (odd, odd_too)) = (s.zip_mixed(first, third), s.zip_mixed(second, fourth));
    let ((a, b), (c, d)) = (s.zip_mixed(even, odd), s.zip_mixed(even_too, odd_too));
    [a, b, c, d]
}

/// Any epilogue, in place.
struct Ending<'a> {
    call: &'a output::Call,
    corners: &'a [[usize; 2]; SEGMENTS],
    filter: usize,
    /// A vector for each row and segment.
    sums: *mut f32,
    weights: *const f32,
    arena: *const f32,
}

impl Task for Ending<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { call, corners, filter, sums, weights, arena } = self;
        let image = call.segments.image;
        for row in 0..TILE {
            for (q, &[corner, column]) in corners.iter().enumerate() {
                if corner + row >= image.height {
                    continue;
                }
                // SAFETY: there are as many vectors as rows and segments; `Extents` covers the residual's columns of every row of the image, and the slopes.
                unsafe {
                    let place = sums.add((row * SEGMENTS + q) * S::LANES);
                    let mut v = call.epilogue.first.apply(s, s.load(place), filter, weights);
                    if let Some(residual) = &call.epilogue.residual {
                        let residual = *residual.offsets().get_unchecked(filter) as usize;
                        let mask = s.mask(0, (image.width - column) as isize);
                        let at = residual + (corner + row) * image.pitch + column;
                        v = s.add(v, s.load_masked(arena.add(at), mask));
                        v = call.epilogue.last.apply(s, v, filter, weights);
                    }
                    s.store(place, v);
                }
            }
        }
    }
}
