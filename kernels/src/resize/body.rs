//! The body of every variant.

use super::{BUFFER, Block, Call};
use crate::{
    ALIGN,
    simd::{Scalar, Simd},
};

/// Plane after plane, row after row.
///
/// # Safety
/// As for [`crate::call::Run::run`].
#[inline(always)]
pub(super) unsafe fn run<S: Simd>(s: S, call: &Call, arena: *mut f32) {
    let mut buffer = [0.0; BUFFER + ALIGN];
    for (&x, &y) in call.x.offsets().iter().zip(&call.y) {
        for r in 0..call.rows.len() {
            let row = |input: u32| x as usize + input as usize * call.x_pitch;
            let weight = call.rows.weight[r];
            for block in &call.blocks {
                // SAFETY: `Extents` covers the inputs of all blocks in all input rows, and the outputs in all output rows; the buffer holds a
                // block's inputs, and a vector more.
                unsafe {
                    let a = arena.add(row(call.rows.from[r]) + block.inputs.start).cast_const();
                    let inputs = if weight == 0.0 {
                        a
                    } else {
                        let b = arena.add(row(call.rows.to[r]) + block.inputs.start);
                        vertical(s, (a, b), weight, block.inputs.len(), buffer.as_mut_ptr());
                        buffer.as_ptr()
                    };
                    horizontal(call, block, inputs, arena.add(y as usize + r * call.y_pitch));
                }
            }
        }
    }
}

/// # Safety
/// `n` floats can be read at `a` and `b`, and `n` rounded up to whole vectors written at `y`.
#[inline(always)]
unsafe fn vertical<S: Simd>(s: S, (a, b): (*const f32, *const f32), weight: f32, n: usize, y: *mut f32) {
    for i in (0..n).step_by(S::LANES) {
        let mask = s.mask(0, (n - i) as isize);
        // SAFETY: the caller's promise.
        unsafe {
            let (a, b) = (s.load_masked(a.add(i), mask), s.load_masked(b.add(i), mask));
            s.store(y.add(i), s.fma(s.splat(weight), s.sub(b, a), a));
        }
    }
}

/// # Safety
/// `inputs` holds the block's inputs; its outputs can be written in the row at `y`.
#[inline(always)]
unsafe fn horizontal(call: &Call, block: &Block, inputs: *const f32, y: *mut f32) {
    let columns = &*call.columns;
    let outputs = block.outputs.clone();
    let (from, to, weight) = (&columns.from[outputs.clone()], &columns.to[outputs.clone()], &columns.weight[outputs]);
    // SAFETY: the caller's promise; the block's inputs include those of its columns.
    unsafe {
        let input = |i: u32| *inputs.add(i as usize - block.inputs.start);
        let y = y.add(block.outputs.start);
        if call.copies {
            for (c, &from) in from.iter().enumerate() {
                *y.add(c) = input(from);
            }
        } else {
            for (c, ((&from, &to), &weight)) in from.iter().zip(to).zip(weight).enumerate() {
                let (a, b) = (input(from), input(to));
                *y.add(c) = Scalar.fma(weight, b - a, a);
            }
        }
    }
}
