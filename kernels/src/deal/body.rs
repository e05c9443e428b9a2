//! The body of every variant.

use super::{Call, Spec};
use crate::{simd::Simd, window::strips};

/// In place of a stride: two, and the columns between are dealt too.
pub(super) const BOTH: usize = usize::MAX;

/// `STRIDE` is the call's stride, or zero for any.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call has stride `STRIDE`.
#[inline(always)]
pub(super) unsafe fn run<S: Simd, const STRIDE: usize>(s: S, call: &Call, arena: *mut f32) {
    let Spec { rows, columns, stride, x_step, y_pitch, y_stride, odd, ref x, y } = call.spec;
    let odd = odd.unwrap_or(0);
    for (plane, &x) in x.offsets().iter().enumerate() {
        for row in 0..rows {
            // SAFETY: `Extents` covers whole vectors of inputs and outputs in rows of at least one vector.
            unsafe {
                let x = arena.add(x as usize + row * x_step).cast_const();
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
