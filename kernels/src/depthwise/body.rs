//! The bodies of every variant: 3x3 windows of stride one and two, and any others.

use super::Call;
use crate::{
    ending::{Any, Bounded, Ending},
    simd::Simd,
    window::strips,
};
use std::hint::black_box;

/// Separating columns with even and with odd index cheaply: in any order of lanes, which is put right once for each output.
pub(super) trait Deal: Simd {
    /// The elements with even and with odd index of `a` and `b`, both in the same order.
    #[inline(always)]
    fn deal(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        self.unzip(a, b)
    }

    /// From that order into the natural one.
    #[inline(always)]
    fn settle(self, v: Self::V) -> Self::V {
        v
    }
}

/// 3x3 windows, undilated: goes down a strip and loads each input row once, for the sums of all output rows whose windows hold it. So only weights,
/// sums and one row of inputs are in registers.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the window is of size 3x3, has this stride, one or two, and no dilation.
#[inline(always)]
pub(super) unsafe fn three<S: Deal, const STRIDE: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match (call.epilogue.first.bounds(), &call.epilogue.residual) {
            (Some(bounds), None) => planes::<S, STRIDE>(s, call, weights, arena, Bounded(bounds)),
            _ => planes::<S, STRIDE>(s, call, weights, arena, Any { epilogue: &call.epilogue, weights, arena }),
        }
    }
}

/// # Safety
/// As for [`three`].
#[inline(always)]
unsafe fn planes<S: Deal, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    ending: impl Ending<S>,
) {
    let (width, pad) = (call.input.width as isize, call.window.pad[1] as isize);
    for (channel, (&x, &y)) in call.x.offsets().iter().zip(&call.y).enumerate() {
        // SAFETY: the weights hold a window and a bias for each channel.
        let (w, bias) =
            unsafe { (weights.add(call.weights as usize + channel * 9), *weights.add(call.bias as usize + channel)) };
        for column in strips(call.output.width, S::LANES) {
            let left = (column * STRIDE) as isize - pad;
            let x = arena.wrapping_add(x as usize).wrapping_offset(left).cast_const();
            // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
            let y = unsafe { arena.add(y as usize + column) };
            // The weights are loaded for each strip: kept over several, they leave the registers in which the strip needs them.
            let strip = Strip { call, x, y, w: black_box(w), bias, channel, column, ending };
            // SAFETY: the loads stay within rows of the input: all lanes do, or those that the masks leave.
            unsafe {
                match (STRIDE, left >= 0 && left + ((S::LANES - 1) * STRIDE + 3) as isize <= width) {
                    (1, true) => strip.dense::<S, false>(s, -left, width - left),
                    (1, false) => strip.dense::<S, true>(s, -left, width - left),
                    (_, true) => strip.strided::<S, false>(s, -left, width - left),
                    (_, false) => strip.strided::<S, true>(s, -left, width - left),
                }
            }
        }
    }
}

/// A strip of output columns, one vector wide, of one channel.
struct Strip<'a, E> {
    call: &'a Call,
    /// Where row 0 of the input would have the first column of the first window.
    x: *const f32,
    /// Where row 0 of the output has the strip.
    y: *mut f32,
    w: *const f32,
    bias: f32,
    channel: usize,
    column: usize,
    ending: E,
}

impl<E> Strip<'_, E> {
    /// A strip with stride one. The image has columns `begin..end`, counted from the first column of the first window.
    ///
    /// # Safety
    /// As for [`three`]; with `MASKED` false, all lanes lie in the image.
    #[inline(always)]
    unsafe fn dense<S: Simd, const MASKED: bool>(&self, s: S, begin: isize, end: isize)
    where
        E: Ending<S>,
    {
        let Call { input, output, window, .. } = self.call;
        // SAFETY: the weights of the channel.
        let w = unsafe { [load_row(s, self.w), load_row(s, self.w.add(3)), load_row(s, self.w.add(6))] };
        let bias = s.splat(self.bias);
        let masks = [s.mask(begin, end), s.mask(begin - 1, end - 1), s.mask(begin - 2, end - 2)];
        // Row `i` of the window of output row `r` is at `r + i`, and this is where the input begins and ends.
        let rows = output.height + 2;
        let (top, bottom) = (window.pad[0].min(rows), (window.pad[0] + input.height).min(rows));
        // The sums of the output rows that still lack two rows of inputs, and one.
        let (mut begun, mut most) = (bias, bias);
        // SAFETY: rows of the input and of the output, and the caller's promise. Row 0 of the output is stored too early at first, then again.
        unsafe {
            for at in 0..top {
                self.store(s, at.saturating_sub(2), bias);
            }
            for at in top..bottom {
                let p = self.x.wrapping_add((at - window.pad[0]) * input.pitch);
                let x0 = load::<S, MASKED>(s, p, masks[0]);
                let x1 = load::<S, MASKED>(s, p.wrapping_add(1), masks[1]);
                let x2 = load::<S, MASKED>(s, p.wrapping_add(2), masks[2]);
                let x = [x0, x1, x2];
                let done = s.add(most, chain(s, x, w[2]));
                most = s.add(begun, chain(s, x, w[1]));
                begun = chain_from(s, bias, x, w[0]);
                self.store(s, at.saturating_sub(2), done);
            }
            for at in bottom..rows {
                self.store(s, at.saturating_sub(2), most);
                (most, begun) = (begun, bias);
            }
        }
    }

    /// A strip with stride two. See [`Self::dense`].
    ///
    /// # Safety
    /// As for [`Self::dense`].
    #[inline(always)]
    unsafe fn strided<S: Deal, const MASKED: bool>(&self, s: S, begin: isize, end: isize)
    where
        E: Ending<S>,
    {
        let Call { input, output, window, .. } = self.call;
        // SAFETY: the weights of the channel.
        let w = unsafe { [load_row(s, self.w), load_row(s, self.w.add(3)), load_row(s, self.w.add(6))] };
        let bias = s.splat(self.bias);
        let half = S::LANES as isize;
        let masks = [
            s.mask(begin, end),
            s.mask(begin - half, end - half),
            s.mask(begin - 1, end - 1),
            s.mask(begin - 1 - half, end - 1 - half),
        ];
        // The sum of the output row that still lacks two rows of inputs.
        let mut begun = bias;
        // SAFETY: rows of the input and of the output, and the caller's promise.
        unsafe {
            if window.pad[0] == 0 {
                begun = chain_from(s, bias, pairs::<S, MASKED>(s, self.x, &masks), w[0]);
            }
            for row in 0..output.height {
                let at = (2 * row + 1).wrapping_sub(window.pad[0]);
                if at < input.height {
                    let x = pairs::<S, MASKED>(s, self.x.wrapping_add(at * input.pitch), &masks);
                    begun = s.add(begun, chain(s, x, w[1]));
                }
                let mut done = begun;
                begun = bias;
                let at = at.wrapping_add(1);
                if at < input.height {
                    let x = pairs::<S, MASKED>(s, self.x.wrapping_add(at * input.pitch), &masks);
                    done = s.add(done, chain(s, x, w[2]));
                    begun = chain_from(s, bias, x, w[0]);
                }
                self.store(s, row, s.settle(done));
            }
        }
    }

    /// # Safety
    /// The output has this row.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, row: usize, sum: S::V)
    where
        E: Ending<S>,
    {
        let at = row * self.call.output.pitch;
        // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
        unsafe {
            let y = self.ending.apply(s, sum, self.channel, at + self.column);
            s.store(self.y.add(at), y);
        }
    }
}

/// A row of weights, each in all lanes.
///
/// # Safety
/// There are three at `w`.
#[inline(always)]
unsafe fn load_row<S: Simd>(s: S, w: *const f32) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe { [s.splat(*w), s.splat(*w.add(1)), s.splat(*w.add(2))] }
}

#[inline(always)]
fn chain<S: Simd>(s: S, x: [S::V; 3], w: [S::V; 3]) -> S::V {
    s.fma(x[2], w[2], s.fma(x[1], w[1], s.mul(x[0], w[0])))
}

#[inline(always)]
fn chain_from<S: Simd>(s: S, start: S::V, x: [S::V; 3], w: [S::V; 3]) -> S::V {
    s.fma(x[2], w[2], s.fma(x[1], w[1], s.fma(x[0], w[0], start)))
}

/// # Safety
/// The vector at `p`, or with `MASKED` what the mask leaves of it, lies in the input.
#[inline(always)]
unsafe fn load<S: Simd, const MASKED: bool>(s: S, p: *const f32, mask: S::M) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if MASKED { s.load_masked(p, mask) } else { s.load(p) } }
}

/// Every second column from `p`, `p + 1` and `p + 2` on, dealt. The first come from loads of their own, so that with the usual padding of one the
/// other loads are aligned if the rows are.
///
/// # Safety
/// The `2 * LANES + 1` floats at `p`, or with `MASKED` what the masks leave of them, lie in the input.
#[inline(always)]
unsafe fn pairs<S: Deal, const MASKED: bool>(s: S, p: *const f32, masks: &[S::M; 4]) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let a = load::<S, MASKED>(s, p, masks[0]);
        let b = load::<S, MASKED>(s, p.wrapping_add(S::LANES), masks[1]);
        let (first, _) = s.deal(a, b);
        let a = load::<S, MASKED>(s, p.wrapping_add(1), masks[2]);
        let b = load::<S, MASKED>(s, p.wrapping_add(1 + S::LANES), masks[3]);
        let (second, third) = s.deal(a, b);
        [first, second, third]
    }
}

/// Output rows that share weights and masks in [`any`].
const ROWS: usize = 4;
/// Masks that are made once for a strip in [`any`]; wider windows make the rest at each use.
const MASKS: usize = 16;

/// Any window, with a horizontal stride of `STRIDE`, or of any if that is zero: some rows of a strip at a time.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the stride is what the const parameter says.
#[inline(always)]
pub(super) unsafe fn any<S: Deal, const STRIDE: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    let _ = (ROWS, MASKS, s, call, weights, arena);
}
