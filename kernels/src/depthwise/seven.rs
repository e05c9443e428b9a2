//! 3x3 windows over planes of 7x7, the last ones of most networks for 224x224: the whole plane in four vectors, whose lanes lie along all pixels, so that none are
//! idle. What a tap reads are lanes of two neighbouring vectors.

use super::{Call, Image, Window};
use crate::ending::{Bounded, Ending};
use crate::simd::Avx512;
use std::arch::x86_64::*;

/// Rows and columns.
const SIDE: usize = 7;

/// Whether it computes a call, if the epilogue keeps to bounds.
pub(super) fn takes(call: &Call) -> bool {
    let image = Image { height: SIDE, width: SIDE, pitch: SIDE };
    let window = Window { kernel: [3; 2], stride: [1; 2], dilation: [1; 2], pad: [1; 2] };
    call.input == image && call.output == image && call.window == window
}

/// Of the pixels of vector `v`, those whose column is not `without`.
const fn columns(v: usize, without: usize) -> __mmask16 {
    let (mut mask, mut lane) = (0, 0);
    while lane < 16 {
        if (v * 16 + lane) % SIDE != without {
            mask |= 1 << lane;
        }
        lane += 1;
    }
    mask
}

/// The vector that begins `BY` lanes behind the start of `low`, of which `high` comes next; zero where the mask is not set.
#[inline]
#[target_feature(enable = "avx512f")]
fn from<const BY: i32>(mask: __mmask16, low: __m512, high: __m512) -> __m512 {
    let (low, high) = (_mm512_castps_si512(low), _mm512_castps_si512(high));
    _mm512_castsi512_ps(_mm512_maskz_alignr_epi32::<BY>(mask, high, low))
}

/// `start`, and in these lanes a row's products.
#[inline]
#[target_feature(enable = "avx512f")]
fn chain(start: __m512, x: [__m512; 3], w: [__m512; 3], rows: __mmask16) -> __m512 {
    let add = |sum, tap: usize| _mm512_mask3_fmadd_ps(x[tap], w[tap], sum, rows);
    add(add(add(start, 0), 1), 2)
}

/// The sums of vector `V` of a plane, from it and those before and behind it.
#[inline]
#[target_feature(enable = "avx512f")]
fn sums<const V: usize>([before, here, behind]: [__m512; 3], w: &[[__m512; 3]; 3], bias: __m512) -> __m512 {
    let (left, right) = (const { columns(V, 0) }, const { columns(V, SIDE - 1) });
    let above = [from::<8>(left, before, here), from::<9>(!0, before, here), from::<10>(right, before, here)];
    let row = [from::<15>(left, before, here), here, from::<1>(right, here, behind)];
    let below = [from::<6>(left, here, behind), from::<7>(!0, here, behind), from::<8>(right, here, behind)];
    // Rows outside the image are left out: the one above the first seven pixels, and the one below the last seven.
    let has_above: __mmask16 = if V == 0 { !0x7F } else { !0 };
    let has_below: __mmask16 = if V == 2 { 0x3FF } else { !0 };
    let sum = chain(bias, above, w[0], has_above);
    chain(chain(sum, row, w[1], !0), below, w[2], has_below)
}

/// # Safety
/// As for [`crate::call::Run::run`]; the call is what [`takes`] says, its epilogue keeps to these bounds, and the CPU has AVX-512 F, BW, DQ and VL.
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
pub(super) unsafe fn planes(call: &Call, weights: *const f32, arena: *mut f32, bounds: [f32; 2]) {
    let ending = Bounded(bounds);
    for (channel, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        // SAFETY: 49 pixels of each plane lie in the arena, and the weights hold a window and a bias for each channel.
        unsafe {
            let s = Avx512::assume();
            let (x, y) = (arena.add(x as usize).cast_const(), arena.add(y as usize));
            let taps = weights.add(call.weights as usize + channel * 9);
            let mut w = [[_mm512_setzero_ps(); 3]; 3];
            for (i, w) in w.as_flattened_mut().iter_mut().enumerate() {
                *w = _mm512_set1_ps(*taps.add(i));
            }
            let bias = _mm512_set1_ps(*weights.add(call.bias as usize + channel));
            let none = _mm512_setzero_ps();
            let [a, b, c] = [_mm512_loadu_ps(x), _mm512_loadu_ps(x.add(16)), _mm512_loadu_ps(x.add(32))];
            let d = _mm512_maskz_loadu_ps(1, x.add(48));
            let done =
                [sums::<0>([none, a, b], &w, bias), sums::<1>([a, b, c], &w, bias), sums::<2>([b, c, d], &w, bias)];
            for (v, sum) in done.into_iter().enumerate() {
                _mm512_storeu_ps(y.add(16 * v), ending.apply(s, sum, channel, 0));
            }
            // The last pixel: the row below it and the column behind it are outside.
            let (above, row) = ([from::<8>(!0, c, d), from::<9>(!0, c, d), none], [from::<15>(!0, c, d), d, none]);
            let sum = chain(chain(bias, above, w[0], !0), row, w[1], !0);
            _mm512_mask_storeu_ps(y.add(48), 1, ending.apply(s, sum, channel, 0));
        }
    }
}
