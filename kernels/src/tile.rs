//! The micro-kernel of every convolution: some filters times some vectors of pixels in registers.

use crate::{activation::Epilogue, simd::Simd};

/// `acc[f][v] = bias[f] + sum over taps of w[tap][f] * x[tap][v]`, taps in order. `load(plane, v)` gives vector `v` of the tap at offset `plane`.
///
/// # Safety
/// `w` holds `taps.len() * F` floats, `bias` holds `F`, and `load` may be called for every tap and `v < P`.
#[inline(always)]
pub(crate) unsafe fn accumulate<S: Simd, const F: usize, const P: usize>(
    s: S,
    taps: &[u32],
    w: *const f32,
    bias: *const f32,
    load: impl Fn(usize, usize) -> S::V,
) -> [[S::V; P]; F] {
    // SAFETY: `bias` holds F floats.
    let mut acc: [[S::V; P]; F] = std::array::from_fn(|f| [s.splat(unsafe { *bias.add(f) }); P]);
    let mut w = w;
    for &tap in taps {
        let x: [S::V; P] = std::array::from_fn(|v| load(tap as usize, v));
        for (f, acc) in acc.iter_mut().enumerate() {
            // SAFETY: one row of F weights for each tap.
            let weight = s.splat(unsafe { *w.add(f) });
            for (acc, &x) in acc.iter_mut().zip(&x) {
                *acc = s.fma(weight, x, *acc);
            }
        }
        // SAFETY: as above; at the end one past the last row.
        w = unsafe { w.add(F) };
    }
    acc
}

/// Stores `acc[f][v]` at `y[f] + at[v]`, through the epilogue.
///
/// # Safety
/// These places, and the same places of the residual planes, lie in the arena; `weights` holds what the epilogue reads.
#[inline(always)]
pub(crate) unsafe fn finish<S: Simd, const F: usize, const P: usize>(
    s: S,
    acc: [[S::V; P]; F],
    (y, at): (&[u32], [usize; P]),
    epilogue: &Epilogue,
    weights: *const f32,
    arena: *mut f32,
) {
    let residual = epilogue.residual.as_ref().map(crate::Planes::offsets);
    for (f, acc) in acc.into_iter().enumerate() {
        for (x, at) in acc.into_iter().zip(at) {
            // SAFETY: the caller's promise.
            unsafe {
                let mut x = epilogue.first.apply(s, x, f, weights);
                if let Some(planes) = residual {
                    x = s.add(x, s.load(arena.add(planes[f] as usize + at)));
                    x = epilogue.last.apply(s, x, f, weights);
                }
                s.store(arena.add(y[f] as usize + at), x);
            }
        }
    }
}
