//! The bodies of every variant: 3x3 windows of stride one and two, and any others.

use super::Call;
use crate::{
    ending::{Any, Bounded, Ending},
    simd::Simd,
    window::{Image, Window, strips},
};
use std::ops::Range;

/// What a variant has of its own.
pub(super) trait Variant: Simd {
    /// [`Strip::run`] in a function of its own, so that each kind has all registers: called through a pointer that the compiler can't see through, since
    /// an `#[inline(never)]` only counts for callers with the same features.
    ///
    /// # Safety
    /// As for [`Strip::run`].
    unsafe fn run<E: Ending<Self>, const STRIDE: usize, const MASKED: bool>(self, strip: &Strip<'_, E>);

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

/// Whether [`three`] computes it: 3x3 windows without dilation, of stride one or two, of which at most the first output row's lack the first row and
/// the last one's the last. With few cases less of the time goes into telling them apart.
pub(super) fn is_three(window: &Window, input: &Image, output: &Image) -> bool {
    let stride = window.stride[0];
    *window == Window { kernel: [3; 2], stride: [stride; 2], dilation: [1; 2], pad: window.pad }
        && stride <= 2
        && window.pad[0] <= 1
        && (output.height - 1) * stride + 2 <= input.height + window.pad[0]
}

/// Goes down a strip and loads each input row once, for the sums of all output rows whose windows hold it. So only weights, sums and one row of inputs
/// are in registers.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call is what [`is_three`] says, with this stride.
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
                    s.run::<_, STRIDE, false>(&strip);
                } else {
                    s.run::<_, STRIDE, true>(&strip);
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
    pub(super) unsafe fn run<S: Variant, const STRIDE: usize, const MASKED: bool>(&self, s: S)
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
    unsafe fn dense<S: Simd, const MASKED: bool>(&self, s: S)
    where
        E: Ending<S>,
    {
        // Copies, which no store can change.
        let (x_pitch, y_pitch) = (self.call.input.pitch, self.call.output.pitch);
        let pad = self.call.window.pad[0];
        let whole = self.call.input.height + pad - 2;
        let (whole, cut) = (whole.min(self.call.output.height), whole < self.call.output.height);
        let masks = [self.mask(s, 0), self.mask(s, 1), self.mask(s, 2)];
        for channel in self.channels.clone() {
            // SAFETY: rows of the input and of the output, and the caller's promise.
            unsafe {
                let Channel { mut x, y, w, bias } = self.channel(s, channel);
                // The sums of the output rows that still lack two rows of inputs, and one.
                let mut begun = bias;
                if pad == 0 {
                    begun = chain_from(s, bias, columns::<S, MASKED>(s, x, &masks), w[0]);
                    x = x.wrapping_add(x_pitch);
                }
                let first = columns::<S, MASKED>(s, x, &masks);
                x = x.wrapping_add(x_pitch);
                let mut most = s.add(begun, chain(s, first, w[1]));
                begun = chain_from(s, bias, first, w[0]);
                for row in 0..whole {
                    let last = columns::<S, MASKED>(s, x, &masks);
                    x = x.wrapping_add(x_pitch);
                    let done = s.add(most, chain(s, last, w[2]));
                    most = s.add(begun, chain(s, last, w[1]));
                    begun = chain_from(s, bias, last, w[0]);
                    self.store(s, y, row * y_pitch, channel, done);
                }
                if cut {
                    self.store(s, y, whole * y_pitch, channel, most);
                }
            }
        }
    }

    /// A strip with stride two.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn strided<S: Variant, const MASKED: bool>(&self, s: S)
    where
        E: Ending<S>,
    {
        let (x_pitch, y_pitch) = (self.call.input.pitch, self.call.output.pitch);
        let pad = self.call.window.pad[0];
        let whole = (self.call.input.height + pad - 1) / 2;
        let (whole, cut) = (whole.min(self.call.output.height), whole < self.call.output.height);
        let half = S::LANES as isize;
        let masks = [self.mask(s, 0), self.mask(s, half), self.mask(s, 1), self.mask(s, 1 + half)];
        for channel in self.channels.clone() {
            // SAFETY: rows of the input and of the output, and the caller's promise.
            unsafe {
                let Channel { mut x, y, w, bias } = self.channel(s, channel);
                // The sum of the output row that still lacks two rows of inputs.
                let mut begun = bias;
                if pad == 0 {
                    begun = chain_from(s, bias, pairs::<S, MASKED>(s, x, &masks), w[0]);
                    x = x.wrapping_add(x_pitch);
                }
                for row in 0..whole {
                    let most = s.add(begun, chain(s, pairs::<S, MASKED>(s, x, &masks), w[1]));
                    let last = pairs::<S, MASKED>(s, x.wrapping_add(x_pitch), &masks);
                    x = x.wrapping_add(2 * x_pitch);
                    begun = chain_from(s, bias, last, w[0]);
                    self.store(s, y, row * y_pitch, channel, s.settle(s.add(most, chain(s, last, w[2]))));
                }
                if cut {
                    let most = s.add(begun, chain(s, pairs::<S, MASKED>(s, x, &masks), w[1]));
                    self.store(s, y, whole * y_pitch, channel, s.settle(most));
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

    /// # Safety
    /// As for [`three`].
    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, s: S, channel: usize) -> Channel<S> {
        let Self { call, arena, weights, .. } = *self;
        // SAFETY: the input and the output lie in the arena, and the weights hold a window and a bias for each channel.
        unsafe {
            let w = weights.add(call.weights as usize + channel * 9);
            Channel {
                x: arena.add(call.x.offsets()[channel] as usize).wrapping_offset(self.left),
                y: arena.add(call.y[channel] as usize + self.column),
                w: [load_row(s, w), load_row(s, w.add(3)), load_row(s, w.add(6))],
                bias: s.splat(*weights.add(call.bias as usize + channel)),
            }
        }
    }

    /// Stores the sums of the row at `at` in the output.
    ///
    /// # Safety
    /// `y` is the output of the channel, and it has this row.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, y: *mut f32, at: usize, channel: usize, sum: S::V)
    where
        E: Ending<S>,
    {
        // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
        unsafe { s.store(y.add(at), self.ending.apply(s, sum, channel, at + self.column)) }
    }
}

/// What a strip needs of a channel.
struct Channel<S: Simd> {
    /// Where row 0 of the input would have the first column of the first window.
    x: *const f32,
    /// Where row 0 of the output has the strip.
    y: *mut f32,
    w: [[S::V; 3]; 3],
    bias: S::V,
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

/// The columns from `p`, `p + 1` and `p + 2` on.
///
/// # Safety
/// The `LANES + 2` floats at `p`, or with `MASKED` what the masks leave of them, lie in the input.
#[inline(always)]
unsafe fn columns<S: Simd, const MASKED: bool>(s: S, p: *const f32, masks: &[S::M; 3]) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let second = load::<S, MASKED>(s, p.wrapping_add(1), masks[1]);
        let third = load::<S, MASKED>(s, p.wrapping_add(2), masks[2]);
        [load::<S, MASKED>(s, p, masks[0]), second, third]
    }
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
