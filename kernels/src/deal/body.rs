//! The body of every variant.

use super::{Call, Input, Source, Spec};
use crate::{ALIGN, simd::Simd, window::strips};

/// In place of a stride: two, and the columns between are dealt too.
pub(super) const BOTH: usize = usize::MAX;

/// `STRIDE` is the call's stride, or zero for any.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has stride `STRIDE`.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const STRIDE: usize>(s: S, call: &Call, arena: *mut f32) {
    let Spec { rows, columns, y_pitch, y_stride, ref x, y } = call.spec;
    let &Source::Arena { ref x, step, stride, odd } = x else { return };
    let odd = odd.unwrap_or(0);
    for (plane, &x) in x.offsets().iter().enumerate() {
        for row in 0..rows {
            // SAFETY: `Extents` covers whole vectors of inputs and outputs in rows of at least one vector.
            unsafe {
                let x = arena.add(x as usize + row * step).cast_const();
                let y = arena.add(y as usize + plane * y_stride + row * y_pitch);
                for column in strips(columns, S::LANES) {
                    if STRIDE == BOTH {
                        let x = x.add(2 * column);
                        let (even_columns, odd_columns) = s.unzip(s.load(x), s.load(x.add(S::LANES)));
                        s.store(y.add(column), even_columns);
                        s.store(y.add(odd + column), odd_columns);
                        continue;
                    }
                    let v = match STRIDE {
                        1 => s.load(x.add(column)),
                        2 => s.load_even(x.add(2 * column)),
                        _ => s.load_strided(x.add(column * stride), stride),
                    };
                    s.store(y.add(column), v);
                }
            }
        }
    }
}

/// Even and odd columns of planes of the caller's input, row after row, as they lie in memory.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call deals planes of `input`.
#[inline(always)]
pub(super) unsafe fn run_input<S: Simd>(s: S, call: &Call, input: &[f32], arena: *mut f32) {
    let Spec { rows, columns, y_pitch, y_stride, ref x, y } = call.spec;
    let &Source::Input(Input { ref planes, size: [height, width], from: [top, left], step, phases, lines }) = x else {
        return;
    };
    let odd = planes.len() * y_stride;
    // A block like this one lies below it, and most often comes next.
    let next = (rows * step).wrapping_mul(width);
    for (plane, &begin) in planes.iter().enumerate() {
        for line in 0..lines {
            let (row, phase) = (line / phases, line % phases);
            let at = top + (row * step + phase) as isize;
            let x =
                input.as_ptr().wrapping_add(begin).wrapping_offset(at.wrapping_mul(width as isize).wrapping_add(left));
            let end = if (0..height as isize).contains(&at) { width as isize } else { 0 };
            for column in strips(columns, S::LANES) {
                let (x, begin, end) =
                    (x.wrapping_add(2 * column), -left - 2 * column as isize, end - left - 2 * column as isize);
                for line in (0..2 * S::LANES).step_by(ALIGN) {
                    s.prefetch_to_second(x.wrapping_add(next + line));
                }
                let lanes = S::LANES as isize;
                // SAFETY: lanes from `begin` to `end` lie in the row, whose plane `Extents` covers, as it does whole vectors of outputs in rows of at least one vector.
                unsafe {
                    let (a, b) = if begin <= 0 && end >= 2 * lanes {
                        (s.load(x), s.load(x.add(S::LANES)))
                    } else {
                        let b = s.load_masked(x.wrapping_add(S::LANES), s.mask(begin - lanes, end - lanes));
                        (s.load_masked(x, s.mask(begin, end)), b)
                    };
                    let (even, between) = s.unzip(a, b);
                    let y = arena.add(y as usize + phase * 2 * odd + plane * y_stride + row * y_pitch + column);
                    s.store(y, even);
                    s.store(y.add(odd), between);
                }
            }
        }
    }
}
