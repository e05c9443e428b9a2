//! Any window: one vector of outputs after the other, each tap loaded where it lies.

use super::Call;
use crate::{
    ending::{Any, Ending},
    simd::Simd,
    window::strips,
};

/// Any window, with a horizontal stride of `STRIDE`, or of any if that is zero. Sums in the same order as [`super::body::own`] with three columns.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the stride is what the const parameter says.
#[inline(always)]
pub(super) unsafe fn any<S: Simd, const STRIDE: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let ending = Any { epilogue: &call.epilogue, weights, arena };
    let [k_h, k_w] = call.window.kernel;
    for (channel, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        // SAFETY: the weights hold a window and a bias for each channel; the planes lie in the arena.
        let (w, bias, x) = unsafe {
            let w = weights.add(call.weights as usize + channel * k_h * k_w);
            (w, s.splat(*weights.add(call.bias as usize + channel)), arena.add(x as usize).cast_const())
        };
        for row in 0..call.output.height {
            for column in strips(call.output.width, S::LANES) {
                let mut sum = bias;
                for i in 0..k_h {
                    let at =
                        (row * call.window.stride[0] + i * call.window.dilation[0]).wrapping_sub(call.window.pad[0]);
                    if at < call.input.height {
                        // SAFETY: row `at` of the input, row `i` of the window.
                        unsafe {
                            let (x, w) = (x.add(at * call.input.pitch), w.add(i * k_w));
                            sum = add_row::<S, STRIDE>(s, call, x, w, column, sum);
                        }
                    }
                }
                let at = row * call.output.pitch + column;
                // SAFETY: `Extents` covers the output's rows, the overrun of the last one, and the same places of the residual.
                unsafe { s.store(arena.add(y as usize + at), ending.apply(s, sum, channel, at)) };
            }
        }
    }
}

/// `sum` and the products of one row of the window.
///
/// # Safety
/// `x` is a row of the input, `w` a row of weights.
#[inline(always)]
unsafe fn add_row<S: Simd, const STRIDE: usize>(
    s: S,
    call: &Call,
    x: *const f32,
    w: *const f32,
    column: usize,
    mut sum: S::V,
) -> S::V {
    for j in 0..call.window.kernel[1] {
        let left =
            (column * call.window.stride[1] + j * call.window.dilation[1]) as isize - call.window.pad[1] as isize;
        // SAFETY: the caller's promise.
        let (weight, inputs) = unsafe { (s.splat(*w.add(j)), columns::<S, STRIDE>(s, call, x, left)) };
        sum = s.fma(inputs, weight, sum);
    }
    sum
}

/// The inputs of a vector of outputs, the first in column `left`; zero outside the row.
///
/// # Safety
/// `x` is a row of the input.
#[inline(always)]
unsafe fn columns<S: Simd, const STRIDE: usize>(s: S, call: &Call, x: *const f32, left: isize) -> S::V {
    let (width, lanes) = (call.input.width as isize, S::LANES as isize);
    let p = x.wrapping_offset(left);
    // SAFETY: vectors that lie inside the row are loaded whole, of others only what lies inside.
    unsafe {
        match STRIDE {
            1 if left >= 0 && left + lanes <= width => s.load(p),
            1 => s.load_masked(p, s.mask(-left, width - left)),
            2 if left >= 0 && left + 2 * lanes <= width => s.load_even(p),
            2 => {
                let a = s.load_masked(p, s.mask(-left, width - left));
                let b = s.load_masked(p.wrapping_offset(lanes), s.mask(-left - lanes, width - left - lanes));
                s.unzip(a, b).0
            }
            _ => {
                let mut inputs = [0.0; 16];
                for (lane, input) in inputs.iter_mut().enumerate().take(S::LANES) {
                    let at = left + (lane * call.window.stride[1]) as isize;
                    if (0..width).contains(&at) {
                        *input = *x.offset(at);
                    }
                }
                s.load(inputs.as_ptr())
            }
        }
    }
}
