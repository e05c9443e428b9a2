//! The body of every variant.

use super::Call;
use crate::simd::Simd;

/// Row after row, vector after vector of pixels.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call's pixels are a multiple of `LANES`.
#[inline(always)]
pub(super) unsafe fn run<S: Simd>(s: S, call: &Call, arena: *mut f32) {
    for (x, y) in call.x.offsets().chunks_exact(call.n).zip(call.y.chunks_exact(call.n)) {
        for p in (0..call.pixels).step_by(S::LANES) {
            // SAFETY: `Extents` covers the pixels of every plane.
            unsafe {
                let x = |i: usize| s.load(arena.add(x[i] as usize + p));
                let y = |i: usize| arena.add(y[i] as usize + p);
                let max = (1..call.n).fold(x(0), |max, i| s.max(max, x(i)));
                let mut sum = s.splat(0.0);
                for i in 0..call.n {
                    let e = s.exp(s.sub(x(i), max));
                    s.store(y(i), e);
                    sum = s.add(sum, e);
                }
                let share = s.div(s.splat(1.0), sum);
                for i in 0..call.n {
                    s.store(y(i), s.mul(s.load(y(i)), share));
                }
            }
        }
    }
}
