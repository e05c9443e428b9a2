//! The body of every variant.

use super::{Call, Op};
use crate::{call::Planes, simd::Simd};

/// # Safety
/// As for [`crate::call::Run::run`]; the call's pixels are whole vectors.
#[inline(always)]
pub(super) unsafe fn run<S: Simd>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let vector = |planes: &Planes, c: usize, p: usize| {
        // SAFETY: `Extents` covers pixels `p..p + LANES` of plane `c` of an operand.
        unsafe { s.load(arena.add(planes.offsets()[c] as usize + p)) }
    };
    let float = |planes: &Planes, c: usize| {
        // SAFETY: `Extents` covers the float of plane `c` of an operand.
        s.splat(unsafe { *arena.add(planes.offsets()[c] as usize) })
    };
    let weight = |start: u32, c: usize| {
        // SAFETY: the weights hold a float for each plane from `start` on.
        s.splat(unsafe { *weights.add(start as usize + c) })
    };
    // SAFETY: the caller's promise. One loop for each operation, so that none is chosen for each vector.
    unsafe {
        match &call.op {
            Op::Identity => each(s, call, weights, arena, |_, _| (), |(), _, x| x),
            Op::Add(other) => each(s, call, weights, arena, |c, _| c, |c, p, x| s.add(x, vector(other, c, p))),
            Op::Multiply(other) => each(s, call, weights, arena, |c, _| c, |c, p, x| s.mul(x, vector(other, c, p))),
            Op::AddFloat(other) => each(s, call, weights, arena, |c, _| float(other, c), |a, _, x| s.add(x, a)),
            Op::MultiplyFloat(other) => each(s, call, weights, arena, |c, _| float(other, c), |a, _, x| s.mul(x, a)),
            &Op::ScaleShift { scale, shift } => {
                let factors = |c, _| (weight(scale, c), weight(shift, c));
                each(s, call, weights, arena, factors, |(scale, shift), _, x| s.fma(x, scale, shift));
            }
        }
    }
}

/// Every vector of every plane: `op(prepare(plane), pixel, x)`, then the activation.
///
/// # Safety
/// As for [`run`].
#[inline(always)]
unsafe fn each<S: Simd, T: Copy>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    prepare: impl Fn(usize, S) -> T,
    op: impl Fn(T, usize, S::V) -> S::V,
) {
    for (c, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        let prepared = prepare(c, s);
        for p in (0..call.pixels).step_by(S::LANES) {
            // SAFETY: `Extents` covers the pixels of both planes, and the slopes.
            unsafe {
                let v = op(prepared, p, s.load(arena.add(x as usize + p)));
                s.store(arena.add(y as usize + p), call.activation.apply(s, v, c, weights));
            }
        }
    }
}
