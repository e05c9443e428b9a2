//! The bodies of every variant: one for small square windows, one for any.

use super::Call;
use crate::{
    Activation, Epilogue, Planes,
    simd::Simd,
    window::{Image, strips},
};

/// The most vectors that a row of a square window is loaded from.
const MAX_LOADS: usize = 6;

/// `K` x `K` windows, undilated: goes down a strip of columns and loads each input row once. A row adds to the sums of all output rows whose windows
/// hold it; those sums and the weights stay in registers, the inputs need not.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the window is what the const parameters say, without dilation.
#[inline(always)]
pub(super) unsafe fn square<S: Simd, const K: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
) {
    // The common epilogues have their own copies, which saves a jump for each vector and the registers of the others.
    // SAFETY: the caller's promise.
    unsafe {
        match call.epilogue {
            Epilogue { first: Activation::None, residual: None, .. } => {
                planes::<S, K, STRIDE>(s, call, weights, arena, |x, _, _| x);
            }
            Epilogue { first: Activation::Clamp { lo, hi }, residual: None, .. } => {
                planes::<S, K, STRIDE>(s, call, weights, arena, |x, _, _| s.min(s.max(x, s.splat(lo)), s.splat(hi)));
            }
            _ => planes::<S, K, STRIDE>(s, call, weights, arena, |x, c, at| finish(s, call, weights, arena, x, c, at)),
        }
    }
}

/// # Safety
/// As for [`square`]; `finish` may be called for every place of the outputs.
#[inline(always)]
unsafe fn planes<S: Simd, const K: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    finish: impl Fn(S::V, usize, usize) -> S::V,
) {
    let width = call.input.width as isize;
    for (c, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        // SAFETY: the weights hold K * K floats and a bias for each channel.
        let (w, bias) = unsafe {
            let w = weights.add(call.weights as usize + c * K * K);
            let w: [[S::V; K]; K] = std::array::from_fn(|i| std::array::from_fn(|j| s.splat(*w.add(i * K + j))));
            (w, s.splat(*weights.add(call.bias as usize + c)))
        };
        for column in strips(call.output.width, S::LANES) {
            let left = (column * STRIDE) as isize - call.window.pad[1] as isize;
            let x = arena.wrapping_add(x as usize).wrapping_offset(left).cast_const();
            // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
            let store = |row: usize, v: S::V| unsafe {
                let at = row * call.output.pitch + column;
                s.store(arena.add(y as usize + at), finish(v, c, at));
            };
            // SAFETY: the loads stay within rows of the input: all lanes do, or those that the masks leave.
            unsafe {
                if left >= 0 && left + ((S::LANES - 1) * STRIDE + K) as isize <= width {
                    strip::<S, K, STRIDE>(s, call, x, &w, bias, |p, _| s.load(p), store);
                } else {
                    let masks: [S::M; MAX_LOADS] = std::array::from_fn(|i| {
                        let first = left + place::<S, STRIDE>(i) as isize;
                        s.mask(-first, width - first)
                    });
                    strip::<S, K, STRIDE>(s, call, x, &w, bias, |p, i| s.load_masked(p, masks[i]), store);
                }
            }
        }
    }
}

/// All rows of a strip of output columns. `x` is where row 0 of the input would have the first column of the window.
///
/// # Safety
/// `load` may be called for each row of the input and each load of [`place`], `store` for each row of the output.
#[inline(always)]
unsafe fn strip<S: Simd, const K: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    x: *const f32,
    w: &[[S::V; K]; K],
    bias: S::V,
    load: impl Fn(*const f32, usize) -> S::V,
    store: impl Fn(usize, S::V),
) {
    // How many rows of outputs are begun before the first is done, not counting it.
    let behind = const { (K - 1) / STRIDE };
    // The sums of the output row begun last, of that before it, and so on.
    let mut sums = [bias; K];
    for row in 0..call.output.height + behind {
        for i in (1..=behind).rev() {
            sums[i] = sums[i - 1];
        }
        sums[0] = bias;
        for phase in 0..STRIDE {
            let at = (row * STRIDE + phase).wrapping_sub(call.window.pad[0]);
            if at < call.input.height {
                let x = columns::<S, K, STRIDE>(s, x.wrapping_add(at * call.input.pitch), &load);
                for i in (0..=behind).filter(|i| i * STRIDE + phase < K) {
                    let w = &w[i * STRIDE + phase];
                    sums[i] = if i + phase == 0 { chain(s, s.fma(x[0], w[0], bias), &x, w) } else { s.add(sums[i], chain(s, s.mul(x[0], w[0]), &x, w)) };
                }
            }
            if phase == const { (K - 1) % STRIDE } && row >= behind {
                store(row - behind, sums[behind]);
            }
        }
    }
}

/// The rest of a chain of multiply-adds that `start` begins.
#[inline(always)]
fn chain<S: Simd, const K: usize>(s: S, start: S::V, x: &[S::V; K], w: &[S::V; K]) -> S::V {
    x.iter().zip(w).skip(1).fold(start, |sum, (&x, &w)| s.fma(x, w, sum))
}

/// Where load `i` of a row begins, counted from the window's first column. With a stride of two, loads come in pairs that give two columns of
/// the window; only the first pair gives one, so that with the usual odd padding the others are aligned if the rows are.
#[inline(always)]
const fn place<S: Simd, const STRIDE: usize>(i: usize) -> usize {
    match STRIDE {
        1 => i,
        _ => (i / 2 * 2).saturating_sub(1) + i % 2 * S::LANES,
    }
}

/// The inputs of one row under each column of the window.
#[inline(always)]
fn columns<S: Simd, const K: usize, const STRIDE: usize>(
    s: S,
    p: *const f32,
    load: impl Fn(*const f32, usize) -> S::V,
) -> [S::V; K] {
    let load = |i| load(p.wrapping_add(place::<S, STRIDE>(i)), i);
    if STRIDE == 1 {
        return std::array::from_fn(load);
    }
    let mut x = [s.splat(0.0); K];
    x[0] = s.unzip(load(0), load(1)).0;
    for j in (1..K).step_by(2) {
        (x[j], x[j + 1]) = s.unzip(load(j + 1), load(j + 2));
    }
    x
}

/// The epilogue of `x`, at `at` in channel `c`.
///
/// # Safety
/// That place of the residual lies in the arena; `weights` holds what the epilogue reads.
#[inline(always)]
unsafe fn finish<S: Simd>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *const f32,
    x: S::V,
    c: usize,
    at: usize,
) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        let x = call.epilogue.first.apply(s, x, c, weights);
        let Some(residual) = call.epilogue.residual.as_ref().map(Planes::offsets) else { return x };
        let x = s.add(x, s.load(arena.add(residual[c] as usize + at)));
        call.epilogue.last.apply(s, x, c, weights)
    }
}

/// Any window, one vector of outputs after the other.
///
/// # Safety
/// As for [`crate::call::Run::run`].
#[inline(always)]
pub(super) unsafe fn any<S: Simd>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let ([k_h, k_w], [step_h, step_w]) = (call.window.kernel, call.window.dilation);
    for (c, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        // SAFETY: the weights hold a window and a bias for each channel; the rows read are rows of the input; `Extents` covers the output's rows
        // and the overrun of the last one.
        unsafe {
            let w = weights.add(call.weights as usize + c * k_h * k_w);
            let bias = s.splat(*weights.add(call.bias as usize + c));
            for row in 0..call.output.height {
                let top = row * call.window.stride[0];
                for column in strips(call.output.width, S::LANES) {
                    let left = (column * call.window.stride[1]) as isize - call.window.pad[1] as isize;
                    let mut sum = bias;
                    for i in 0..k_h {
                        let at = (top + i * step_h).wrapping_sub(call.window.pad[0]);
                        if at >= call.input.height {
                            continue;
                        }
                        let x = arena.add(x as usize + at * call.input.pitch);
                        let term = |j: usize| {
                            let x = gather(s, x, &call.input, left + (j * step_w) as isize, call.window.stride[1]);
                            (x, s.splat(*w.add(i * k_w + j)))
                        };
                        let (first, weight) = term(0);
                        let start = if i == 0 { s.fma(first, weight, sum) } else { s.mul(first, weight) };
                        let chain = (1..k_w).map(term).fold(start, |sum, (x, weight)| s.fma(x, weight, sum));
                        sum = if i == 0 { chain } else { s.add(sum, chain) };
                    }
                    let at = row * call.output.pitch + column;
                    s.store(arena.add(y as usize + at), finish(s, call, weights, arena, sum, c, at));
                }
            }
        }
    }
}

/// The columns `at`, `at + stride`, ... of the row at `row`; zero beyond its ends.
///
/// # Safety
/// `row` is a row of `image`.
#[inline(always)]
unsafe fn gather<S: Simd>(s: S, row: *const f32, image: &Image, at: isize, stride: usize) -> S::V {
    let width = image.width as isize;
    let p = row.wrapping_offset(at);
    // SAFETY: the loads stay within the row: all lanes do, or those that the masks leave.
    unsafe {
        match stride {
            1 => s.load_masked(p, s.mask(-at, width - at)),
            2 => {
                let half = S::LANES as isize;
                let a = s.load_masked(p, s.mask(-at, width - at));
                let b = s.load_masked(p.wrapping_offset(half), s.mask(-at - half, width - at - half));
                s.unzip(a, b).0
            }
            _ => {
                let mut lanes = [0.0; 16];
                for (lane, x) in lanes.iter_mut().enumerate().take(S::LANES) {
                    let at = at + (lane * stride) as isize;
                    if (0..width).contains(&at) {
                        *x = *row.offset(at);
                    }
                }
                s.load(lanes.as_ptr())
            }
        }
    }
}
