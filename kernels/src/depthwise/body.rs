//! The bodies of every variant: 3x3 windows of stride one and two, and any others.

use super::Call;
use crate::{
    ending::{Any, Bounded, Ending},
    simd::Simd,
    window::strips,
};
use std::ops::Range;

/// What a variant has of its own.
pub(super) trait Variant: Simd {
    /// [`Strip::run`] in a function of its own, so that each kind has all registers.
    ///
    /// # Safety
    /// As for [`Strip::run`].
    unsafe fn run<E: Ending<Self>, const STRIDE: usize, const MASKED: bool>(self, strip: Strip<'_, E>);

    /// The elements with even and with odd index of `a` and `b`, both in the same order, which may be any that is cheap.
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
pub(super) unsafe fn three<S: Variant, const STRIDE: usize>(s: S, call: &Call, weights: *const f32, arena: *mut f32) {
    // SAFETY: the caller's promise.
    unsafe {
        match (call.epilogue.first.bounds(), &call.epilogue.residual) {
            (Some(bounds), None) => planes::<S, STRIDE>(s, call, weights, arena, Bounded(bounds)),
            _ => planes::<S, STRIDE>(s, call, weights, arena, Any { epilogue: &call.epilogue, weights, arena }),
        }
    }
}

/// Floats of input planes that are gone through strip by strip together: they stay in the first cache.
const BLOCK: usize = 4096;

/// # Safety
/// As for [`three`].
#[inline(always)]
unsafe fn planes<S: Variant, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    ending: impl Ending<S>,
) {
    let (width, pad) = (call.input.width as isize, call.window.pad[1] as isize);
    let (channels, block) = (call.y.len(), (BLOCK / call.input.len()).max(1));
    for begin in (0..channels).step_by(block) {
        let channels = begin..channels.min(begin + block);
        for column in strips(call.output.width, S::LANES) {
            let left = (column * STRIDE) as isize - pad;
            let strip = Strip { call, weights, arena, column, left, channels: channels.clone(), ending };
            let whole = left >= 0 && left + ((S::LANES - 1) * STRIDE + 3) as isize <= width;
            // SAFETY: the loads stay within rows of the input: all lanes do, or those that the masks leave.
            unsafe {
                if whole {
                    s.run::<_, STRIDE, false>(strip);
                } else {
                    s.run::<_, STRIDE, true>(strip);
                }
            }
        }
    }
}

/// A strip of output columns, one vector wide, of some channels.
pub(super) struct Strip<'a, E> {
    call: &'a Call,
    weights: *const f32,
    arena: *mut f32,
    column: usize,
    /// The column of the input under the first column of the first window.
    left: isize,
    channels: Range<usize>,
    ending: E,
}

impl<E> Strip<'_, E> {
    /// # Safety
    /// As for [`three`]; with `MASKED` false, all lanes of all loads lie in the image.
    #[inline(always)]
    pub(super) unsafe fn run<S: Variant, const STRIDE: usize, const MASKED: bool>(self, s: S)
    where
        E: Ending<S>,
    {
        // SAFETY: the caller's promise.
        unsafe { if STRIDE == 1 { self.dense::<S, MASKED>(s) } else { self.strided::<S, MASKED>(s) } }
    }

    /// A strip with stride one.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn dense<S: Simd, const MASKED: bool>(self, s: S)
    where
        E: Ending<S>,
    {
        let Call { input, output, window, .. } = self.call;
        let masks = [self.mask(s, 0), self.mask(s, 1), self.mask(s, 2)];
        // Row `i` of the window of output row `r` is at `r + i`; the input is at `top..bottom`.
        let rows = output.height + 2;
        let (top, bottom) = (window.pad[0].min(rows), (window.pad[0] + input.height).min(rows));
        for channel in self.channels.clone() {
            // SAFETY: rows of the input and of the output, and the caller's promise.
            unsafe {
                let (mut x, mut y, w, bias) = self.channel(s, channel);
                // The sums of the output rows that still lack two rows of inputs, and one.
                let mut sums = [bias; 2];
                for _ in 2..top {
                    y = self.store(s, y, channel, bias);
                }
                for _ in top..bottom.min(2) {
                    step::<S, MASKED>(s, x, &masks, &w, bias, &mut sums);
                    x = x.wrapping_add(input.pitch);
                }
                for _ in top.max(2)..bottom {
                    let done = step::<S, MASKED>(s, x, &masks, &w, bias, &mut sums);
                    x = x.wrapping_add(input.pitch);
                    y = self.store(s, y, channel, done);
                }
                for at in bottom..rows {
                    let done = sums[1];
                    sums = [bias, sums[0]];
                    if at >= 2 {
                        y = self.store(s, y, channel, done);
                    }
                }
            }
        }
    }

    /// A strip with stride two.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn strided<S: Variant, const MASKED: bool>(self, s: S)
    where
        E: Ending<S>,
    {
        let Call { input, output, window, .. } = self.call;
        let half = S::LANES as isize;
        let masks = [self.mask(s, 0), self.mask(s, half), self.mask(s, 1), self.mask(s, 1 + half)];
        for channel in self.channels.clone() {
            // SAFETY: rows of the input and of the output, and the caller's promise.
            unsafe {
                let (x, mut y, w, bias) = self.channel(s, channel);
                // The sum of the output row that still lacks two rows of inputs.
                let mut begun = bias;
                if window.pad[0] == 0 {
                    begun = chain_from(s, bias, pairs::<S, MASKED>(s, x, &masks), w[0]);
                }
                for row in 0..output.height {
                    let at = (2 * row + 1).wrapping_sub(window.pad[0]);
                    if at < input.height {
                        let x = pairs::<S, MASKED>(s, x.wrapping_add(at * input.pitch), &masks);
                        begun = s.add(begun, chain(s, x, w[1]));
                    }
                    let mut done = begun;
                    begun = bias;
                    let at = at.wrapping_add(1);
                    if at < input.height {
                        let x = pairs::<S, MASKED>(s, x.wrapping_add(at * input.pitch), &masks);
                        done = s.add(done, chain(s, x, w[2]));
                        begun = chain_from(s, bias, x, w[0]);
                    }
                    y = self.store(s, y, channel, s.settle(done));
                }
            }
        }
    }

    /// The lanes inside the image of a load that begins `offset` columns behind the window's first.
    #[inline(always)]
    fn mask<S: Simd>(&self, s: S, offset: isize) -> S::M {
        let at = self.left + offset;
        s.mask(-at, self.call.input.width as isize - at)
    }

    /// Where row 0 of a channel's input has the first column of the first window, where row 0 of its output has the strip, the weights and the bias.
    ///
    /// # Safety
    /// As for [`three`].
    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, s: S, channel: usize) -> (*const f32, *mut f32, [[S::V; 3]; 3], S::V) {
        let call = self.call;
        // SAFETY: lists and weights are as long as there are channels; the output lies in the arena.
        unsafe {
            let x =
                self.arena.wrapping_add(*call.x.offsets().get_unchecked(channel) as usize).wrapping_offset(self.left);
            let y = self.arena.add(*call.y.get_unchecked(channel) as usize + self.column);
            let w = self.weights.add(call.weights as usize + channel * 9);
            let w = [load_row(s, w), load_row(s, w.add(3)), load_row(s, w.add(6))];
            (x, y, w, s.splat(*self.weights.add(call.bias as usize + channel)))
        }
    }

    /// Stores the sums of a row at `y` and gives the place of the next row.
    ///
    /// # Safety
    /// `y` is in the output of the channel.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, y: *mut f32, channel: usize, sum: S::V) -> *mut f32
    where
        E: Ending<S>,
    {
        // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
        unsafe {
            let at = y.offset_from(self.arena) as usize - self.call.y[channel] as usize;
            s.store(y, self.ending.apply(s, sum, channel, at));
            y.wrapping_add(self.call.output.pitch)
        }
    }
}

/// Adds the row at `p`, with stride one, to the `sums` of output rows that lack two rows and one, and to those that lacked three, which are `bias`
/// so far. Gives the sums that lack none.
///
/// # Safety
/// The `LANES + 2` floats at `p`, or with `MASKED` what the masks leave of them, lie in the input.
#[inline(always)]
unsafe fn step<S: Simd, const MASKED: bool>(
    s: S,
    p: *const f32,
    masks: &[S::M; 3],
    w: &[[S::V; 3]; 3],
    bias: S::V,
    [begun, most]: &mut [S::V; 2],
) -> S::V {
    // SAFETY: the caller's promise.
    let x = unsafe {
        [
            load::<S, MASKED>(s, p, masks[0]),
            load::<S, MASKED>(s, p.wrapping_add(1), masks[1]),
            load::<S, MASKED>(s, p.wrapping_add(2), masks[2]),
        ]
    };
    let done = s.add(*most, chain(s, x, w[2]));
    *most = s.add(*begun, chain(s, x, w[1]));
    *begun = chain_from(s, bias, x, w[0]);
    done
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
unsafe fn pairs<S: Variant, const MASKED: bool>(s: S, p: *const f32, masks: &[S::M; 4]) -> [S::V; 3] {
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
