//! The bodies of every variant for windows of their own: 3x3 and 5x5, of stride one and two.

use super::{Call, across};
use crate::{
    ending::{Any, Bounded, Ending},
    simd::Simd,
    window::{Image, Window, strips},
};
use std::{hint::black_box, ops::Range};

/// In place of a stride: two, where the columns of each input row are dealt, the odd ones behind the even ones.
pub(super) const DEALT: usize = 0;

/// What a variant has of its own.
pub(super) trait Variant: Simd {
    /// Whether there is code of its own for strips at the edges, and for several rows at once: not worth its size where nothing is fast anyway.
    const EDGES: bool = true;

    /// Whether there are registers for [`super::across`], which then computes what it can.
    const ACROSS: bool = false;

    /// [`Strip::run`] in a function of its own, so that each kind has all registers: called through a pointer that the compiler can't see through, since
    /// an `#[inline(never)]` only counts for callers with the same features.
    ///
    /// # Safety
    /// As for [`Strip::run`].
    unsafe fn run<E: Ending<Self>, const K: usize, const STRIDE: usize, const MASKS: u8>(self, strip: &Strip<'_, E>);

    /// [`across::Run::go`] in a function of its own, too.
    ///
    /// # Safety
    /// As for [`across::Run::go`].
    unsafe fn run_across<const STRIDE: usize, const N: usize, const HALF: bool>(self, run: &across::Run<'_>)
    where
        Self::Half: Variant,
    {
        // SAFETY: the caller's promise.
        unsafe { run.go::<Self, STRIDE, N, HALF>(self) }
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

/// Whether [`own`] computes it with a window of five: without dilation, of stride one or two.
pub(super) fn is_five(window: &Window) -> bool {
    let stride = window.stride[0];
    stride <= 2 && *window == Window { kernel: [5; 2], stride: [stride; 2], dilation: [1; 2], pad: window.pad }
}

/// The windows that have a body of their own, of `K` columns, strip by strip.
///
/// With three: goes down a strip and loads each input row once, for the sums of all output rows whose windows hold it. So only weights, sums and one row of inputs
/// are in registers. With five: goes through the window's columns, with the sums of some output rows and a column of weights in registers.
///
/// # Safety
/// As for [`crate::call::Run::run`]; the call is what [`is_three`] or [`is_five`] says, with this stride.
#[inline(always)]
pub(super) unsafe fn own<S: Variant<Half: Variant<Half: Variant>>, const K: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
) {
    // SAFETY: the caller's promise.
    unsafe {
        match (call.epilogue.first.bounds(), &call.epilogue.residual) {
            (Some(bounds), None) if S::ACROSS && K == 3 && STRIDE != DEALT && across::takes(call, STRIDE) => {
                across::planes::<S, STRIDE>(s, call, weights, arena, bounds);
            }
            (Some(bounds), None) => planes::<S, _, K, STRIDE>(s, call, weights, arena, Bounded(bounds)),
            _ => planes::<S, _, K, STRIDE>(s, call, weights, arena, Any { epilogue: &call.epilogue, weights, arena }),
        }
    }
}

/// Floats of input planes that are gone through strip by strip together: they stay in the first cache.
const BLOCK: usize = 4096;

/// # Safety
/// As for [`own`].
#[inline(always)]
unsafe fn planes<S, E, const K: usize, const STRIDE: usize>(
    s: S,
    call: &Call,
    weights: *const f32,
    arena: *mut f32,
    ending: E,
) where
    S: Variant<Half: Variant>,
    E: Ending<S> + Ending<S::Half>,
{
    let (channels, block) = (call.y.len(), (BLOCK / call.input.len()).max(1));
    for begin in (0..channels).step_by(block) {
        let strip = Strip {
            call,
            weights,
            arena,
            column: 0,
            last: 0,
            left: 0,
            channels: begin..channels.min(begin + block),
            ending,
        };
        // What is left of a row may fit in half a vector.
        let rest = call.output.width % S::LANES;
        let half = S::HALVES && rest > 0 && rest <= S::Half::LANES;
        let whole = call.output.width - if half { rest } else { 0 };
        // SAFETY: the caller's promise.
        unsafe {
            strip.side_by_side::<S, K, STRIDE>(s, strips(whole, S::LANES));
            if half {
                let last = call.output.width.saturating_sub(S::Half::LANES);
                strip.side_by_side::<S::Half, K, STRIDE>(s.half(), std::iter::once(last));
            }
        }
    }
}

/// Which loads of a row are masked: a bit for each, of windows of three.
const FIRST: u8 = 0b001;
const SECOND: u8 = 0b010;
const LAST: u8 = 0b100;
const SIDES: u8 = FIRST | LAST;
const ALL: u8 = 0b111;

/// A strip of output columns, one vector wide, of some channels; or several, side by side.
pub(super) struct Strip<'a, E> {
    call: &'a Call,
    weights: *const f32,
    arena: *mut f32,
    column: usize,
    /// The first column of the last strip.
    last: usize,
    /// The column of the input under the first column of the first window; of dealt rows, that of the odd columns.
    left: isize,
    channels: Range<usize>,
    ending: E,
}

impl<E: Copy> Strip<'_, E> {
    /// Strips that begin at `columns`, of the same channels.
    ///
    /// # Safety
    /// As for [`own`]; each is a vector of output columns.
    #[inline(always)]
    unsafe fn side_by_side<S: Variant, const K: usize, const STRIDE: usize>(
        &self,
        s: S,
        columns: impl Iterator<Item = usize>,
    ) where
        E: Ending<S>,
    {
        let Self { call, weights, arena, ending, .. } = *self;
        let width = if STRIDE == DEALT { call.input.width / 2 } else { call.input.width } as isize;
        let pad = call.window.pad[1] as isize;
        let mut strips = columns.peekable();
        while let Some(column) = strips.next() {
            // Of dealt rows, the column of the odd ones.
            let left =
                |column: usize| if STRIDE == DEALT { column as isize - 1 } else { (column * STRIDE) as isize - pad };
            let ends = |column: usize, columns: usize| left(column) + columns as isize <= width;
            // Whole vectors at the window's last column; three columns of stride two take their first from the one before.
            let columns = match (STRIDE, K) {
                (DEALT, _) => S::LANES + 1,
                (_, 3) => (S::LANES - 1) * STRIDE + 3,
                _ => S::LANES * STRIDE + K - 1,
            };
            let is_whole = |column: usize| left(column) >= 0 && ends(column, columns);
            let mut last = column;
            while let Some(next) = strips.next_if(|&next| K == 3 && is_whole(column) && is_whole(next)) {
                last = next;
            }
            let strip = Strip {
                call,
                weights,
                arena,
                column,
                last,
                left: left(column),
                channels: self.channels.clone(),
                ending,
            };
            // SAFETY: the loads stay within rows of the input, or with `SIDES` within whole vectors of its columns: all lanes do, or those that the masks leave.
            unsafe {
                // With the usual padding, what is missing at the edges of an image belongs to one load each.
                let edges = K == 3 && S::EDGES && E::USUAL && !S::ACROSS;
                match (strip.left, ends(column, columns)) {
                    (0.., true) => s.run::<_, K, STRIDE, 0>(&strip),
                    (-1, true) if edges => s.run::<_, K, STRIDE, FIRST>(&strip),
                    (0.., false) if edges && (STRIDE == DEALT || STRIDE == 1 && ends(column, S::LANES + 1)) => {
                        s.run::<_, K, STRIDE, LAST>(&strip);
                    }
                    (-1, false)
                        if edges && (STRIDE == DEALT || STRIDE == 1 && call.output.width <= call.input.width) =>
                    {
                        s.run::<_, K, STRIDE, SIDES>(&strip);
                    }
                    _ => s.run::<_, K, STRIDE, ALL>(&strip),
                }
            }
        }
    }

    /// # Safety
    /// As for [`own`]; with `MASKS` zero, all lanes of all loads lie in the image.
    #[inline(always)]
    pub(super) unsafe fn run<S: Variant, const K: usize, const STRIDE: usize, const MASKS: u8>(&self, s: S)
    where
        E: Ending<S>,
    {
        // SAFETY: the caller's promise.
        unsafe {
            match (K, STRIDE) {
                (3, 1) => self.dense::<S, MASKS>(s),
                (3, _) => self.strided::<S, STRIDE, MASKS>(s),
                _ if !S::EDGES => self.columns::<S, K, STRIDE, 1, MASKS>(s),
                (_, 1) => self.columns::<S, K, STRIDE, 7, MASKS>(s),
                _ => self.columns::<S, K, STRIDE, 4, MASKS>(s),
            }
        }
    }

    /// A strip of windows of `K` columns, `R` output rows after the other: as many as divide the usual heights and the compiler still unrolls.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn columns<S: Variant, const K: usize, const STRIDE: usize, const R: usize, const MASKS: u8>(&self, s: S)
    where
        E: Ending<S>,
    {
        let height = self.call.output.height;
        for channel in self.channels.clone() {
            let whole = height / R * R;
            // SAFETY: rows of the output, and the caller's promise.
            unsafe {
                for row in (0..whole).step_by(R) {
                    self.rows::<S, K, STRIDE, R, MASKS>(s, channel, row);
                }
                for row in whole..height {
                    self.rows::<S, K, STRIDE, 1, MASKS>(s, channel, row);
                }
            }
        }
    }

    /// The `R` output rows from `row` on of a channel: for each column of the window the rows of the input, top to bottom.
    ///
    /// # Safety
    /// As for [`Self::run`]; the rows are in the output.
    #[inline(always)]
    unsafe fn rows<S: Variant, const K: usize, const STRIDE: usize, const R: usize, const MASKS: u8>(
        &self,
        s: S,
        channel: usize,
        row: usize,
    ) where
        E: Ending<S>,
    {
        let Self { call, arena, weights, .. } = *self;
        let (x_pitch, x_height) = (call.input.pitch, call.input.height as isize);
        let top = (row * STRIDE) as isize - call.window.pad[0] as isize;
        debug_assert!(MASKS != 0 || self.left + (K - 1 + STRIDE * S::LANES) as isize <= call.input.width as isize);
        // SAFETY: the caller's promise; only rows of the input are read.
        unsafe {
            let w = weights.add(call.weights as usize + channel * K * K);
            let x = arena.add(call.x.offsets()[channel] as usize).cast_const().wrapping_offset(self.left);
            let mut sums = [s.splat(*weights.add(call.bias as usize + channel)); R];
            for column in 0..K {
                let mut taps = [s.splat(0.0); K];
                for (i, tap) in taps.iter_mut().enumerate() {
                    *tap = s.splat(*w.add(i * K + column));
                }
                let masks = [self.mask(s, column as isize), self.mask(s, (column + S::LANES) as isize)];
                for r in 0..(R - 1) * STRIDE + K {
                    let at = top + r as isize;
                    if at < 0 || at >= x_height {
                        continue;
                    }
                    let p = x.wrapping_offset(at * x_pitch as isize).wrapping_add(column);
                    let mut input = load(s, p, masks[0], MASKS != 0);
                    if STRIDE == 2 {
                        input = s.unzip_mixed(input, load(s, p.wrapping_add(S::LANES), masks[1], MASKS != 0)).0;
                    }
                    for (t, sum) in sums.iter_mut().enumerate() {
                        if let Some(&tap) = r.checked_sub(t * STRIDE).and_then(|i| taps.get(i)) {
                            *sum = s.fma(input, tap, *sum);
                        }
                    }
                }
            }
            let y = arena.add(call.y[channel] as usize + self.column);
            // Rare endings are long: one copy for all rows.
            let rows = if E::USUAL { R } else { black_box(R).min(R) };
            for (t, sum) in sums[..rows].iter().enumerate() {
                let sum = if STRIDE == 2 { s.in_order(*sum) } else { *sum };
                self.store(s, y, (row + t) * call.output.pitch, (channel, self.column), sum);
            }
        }
    }

    /// Strips with stride one.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn dense<S: Simd, const MASKS: u8>(&self, s: S)
    where
        E: Ending<S>,
    {
        let masks = [self.mask(s, 0), self.mask(s, 1), self.mask(s, 2)];
        for channel in self.channels.clone() {
            // SAFETY: the caller's promise.
            unsafe {
                let channel = self.channel(s, channel);
                if MASKS != 0 {
                    self.dense_strip::<S, MASKS>(s, channel, self.column, &masks);
                    continue;
                }
                for column in self.columns_of_strips::<S>() {
                    let ahead = column - self.column;
                    let channel = Channel { x: channel.x.add(ahead), y: channel.y.add(ahead), ..channel };
                    self.dense_strip::<S, MASKS>(s, channel, column, &masks);
                }
            }
        }
    }

    /// A strip of a channel with stride one.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn dense_strip<S: Simd, const MASKS: u8>(&self, s: S, strip: Channel<S>, column: usize, masks: &[S::M; 3])
    where
        E: Ending<S>,
    {
        // Copies, which no store can change.
        let (x_pitch, y_pitch) = (self.call.input.pitch, self.call.output.pitch);
        let pad = self.call.window.pad[0];
        let whole = self.call.input.height + pad - 2;
        let (whole, cut) = (whole.min(self.call.output.height), whole < self.call.output.height);
        let Channel { channel, mut x, y, w, bias } = strip;
        // SAFETY: rows of the input and of the output, and the caller's promise.
        unsafe {
            // The sums of the output rows that still lack two rows of inputs, and one.
            let mut begun = bias;
            if pad == 0 {
                begun = chain(s, bias, columns::<S, MASKS>(s, x, masks), w[0]);
                x = x.wrapping_add(x_pitch);
            }
            let first = columns::<S, MASKS>(s, x, masks);
            x = x.wrapping_add(x_pitch);
            let mut most = chain(s, begun, first, w[1]);
            begun = chain(s, bias, first, w[0]);
            for row in 0..whole {
                let last = columns::<S, MASKS>(s, x, masks);
                x = x.wrapping_add(x_pitch);
                let done = chain(s, most, last, w[2]);
                most = chain(s, begun, last, w[1]);
                begun = chain(s, bias, last, w[0]);
                self.store(s, y, row * y_pitch, (channel, column), done);
            }
            if cut {
                self.store(s, y, whole * y_pitch, (channel, column), most);
            }
        }
    }

    /// Strips with stride two.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn strided<S: Variant, const STRIDE: usize, const MASKS: u8>(&self, s: S)
    where
        E: Ending<S>,
    {
        let masks = if STRIDE == DEALT {
            let mask = |at: isize| s.mask(-at, (self.call.input.width / 2) as isize - at);
            [mask(self.left), mask(self.left + 1)]
        } else {
            [self.mask(s, 1), self.mask(s, 1 + S::LANES as isize)]
        };
        for channel in self.channels.clone() {
            // SAFETY: the caller's promise.
            unsafe {
                let channel = self.channel(s, channel);
                if MASKS != 0 {
                    self.strided_strip::<S, STRIDE, MASKS>(s, channel, self.column, &masks);
                    continue;
                }
                for column in self.columns_of_strips::<S>() {
                    let ahead = column - self.column;
                    let x = channel.x.add(if STRIDE == DEALT { ahead } else { 2 * ahead });
                    let channel = Channel { x, y: channel.y.add(ahead), ..channel };
                    self.strided_strip::<S, STRIDE, MASKS>(s, channel, column, &masks);
                }
            }
        }
    }

    /// A strip of a channel with stride two.
    ///
    /// # Safety
    /// As for [`Self::run`].
    #[inline(always)]
    unsafe fn strided_strip<S: Variant, const STRIDE: usize, const MASKS: u8>(
        &self,
        s: S,
        strip: Channel<S>,
        column: usize,
        masks: &[S::M; 2],
    ) where
        E: Ending<S>,
    {
        let (x_pitch, y_pitch) = (self.call.input.pitch, self.call.output.pitch);
        let pad = self.call.window.pad[0];
        let whole = (self.call.input.height + pad - 1) / 2;
        let (whole, cut) = (whole.min(self.call.output.height), whole < self.call.output.height);
        let odd = (self.call.odd, (0..self.call.input.width as isize).contains(&self.left));
        let Channel { channel, mut x, y, w, bias } = strip;
        // SAFETY: rows of the input and of the output, and the caller's promise.
        unsafe {
            // The sum of the output row that still lacks two rows of inputs.
            let mut begun = bias;
            if pad == 0 {
                begun = chain(s, bias, every_second::<S, STRIDE, MASKS>(s, x, odd, masks), w[0]);
                x = x.wrapping_add(x_pitch);
            }
            for row in 0..whole {
                let most = chain(s, begun, every_second::<S, STRIDE, MASKS>(s, x, odd, masks), w[1]);
                let last = every_second::<S, STRIDE, MASKS>(s, x.wrapping_add(x_pitch), odd, masks);
                x = x.wrapping_add(2 * x_pitch);
                begun = chain(s, bias, last, w[0]);
                let done = chain(s, most, last, w[2]);
                let done = if STRIDE == DEALT { done } else { s.in_order(done) };
                self.store(s, y, row * y_pitch, (channel, column), done);
            }
            if cut {
                let most = chain(s, begun, every_second::<S, STRIDE, MASKS>(s, x, odd, masks), w[1]);
                let most = if STRIDE == DEALT { most } else { s.in_order(most) };
                self.store(s, y, whole * y_pitch, (channel, column), most);
            }
        }
    }

    /// The first column of each strip; the last one may overlap the one before.
    #[inline(always)]
    fn columns_of_strips<S: Simd>(&self) -> impl Iterator<Item = usize> {
        let last = self.last;
        (self.column..last + S::LANES).step_by(S::LANES).map(move |column| column.min(last))
    }

    /// The lanes inside the image of a load that begins `offset` columns behind the window's first.
    #[inline(always)]
    fn mask<S: Simd>(&self, s: S, offset: isize) -> S::M {
        let at = self.left + offset;
        s.mask(-at, self.call.input.width as isize - at)
    }

    /// # Safety
    /// As for [`own`].
    #[inline(always)]
    unsafe fn channel<S: Simd>(&self, s: S, channel: usize) -> Channel<S> {
        let Self { call, arena, weights, .. } = *self;
        // SAFETY: the input and the output lie in the arena, and the weights hold a window and a bias for each channel.
        unsafe {
            let w = weights.add(call.weights as usize + channel * 9);
            Channel {
                channel,
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
    /// `y` is the output of the channel from the column on, and it has this row.
    #[inline(always)]
    unsafe fn store<S: Simd>(&self, s: S, y: *mut f32, at: usize, (channel, column): (usize, usize), sum: S::V)
    where
        E: Ending<S>,
    {
        // SAFETY: `Extents` covers the output's rows and the overrun of the last one.
        unsafe { s.store(y.add(at), self.ending.apply(s, sum, channel, at + column)) }
    }
}

/// What a strip needs of a channel.
#[derive(Clone, Copy)]
struct Channel<S: Simd> {
    channel: usize,
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
pub(crate) unsafe fn load_row<S: Simd>(s: S, w: *const f32) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe { [s.splat(*w), s.splat(*w.add(1)), s.splat(*w.add(2))] }
}

/// `start` and a row's products.
#[inline(always)]
pub(super) fn chain<S: Simd>(s: S, start: S::V, x: [S::V; 3], w: [S::V; 3]) -> S::V {
    s.fma(x[2], w[2], s.fma(x[1], w[1], s.fma(x[0], w[0], start)))
}

/// # Safety
/// The vector at `p`, or if `masked` what the mask leaves of it, lies in the input.
#[inline(always)]
unsafe fn load<S: Simd>(s: S, p: *const f32, mask: S::M, masked: bool) -> S::V {
    // SAFETY: the caller's promise.
    unsafe { if masked { s.load_masked(p, mask) } else { s.load(p) } }
}

/// The columns from `p`, `p + 1` and `p + 2` on.
///
/// # Safety
/// The `LANES + 2` floats at `p`, or with `MASKS` what the masks leave of them, lie in the input.
#[inline(always)]
unsafe fn columns<S: Simd, const MASKS: u8>(s: S, p: *const f32, masks: &[S::M; 3]) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        let second = load(s, p.wrapping_add(1), masks[1], MASKS & SECOND != 0);
        let third = load(s, p.wrapping_add(2), masks[2], MASKS & LAST != 0);
        [load(s, p, masks[0], MASKS & FIRST != 0), second, third]
    }
}

/// Every second column from `p`, `p + 1` and `p + 2` on, in the order of [`Simd::unzip_mixed`]; `inside` says whether the one at `p` lies in the image. With the usual
/// padding of one the loads are aligned if the rows are. Of dealt rows: the odd columns from `p` on, and the even and the odd ones from `p + 1` on.
///
/// # Safety
/// The `2 * LANES + 1` floats at `p`, or with `MASKS` what the masks leave of them, lie in the input; of dealt rows, the vectors.
#[inline(always)]
unsafe fn every_second<S: Variant, const STRIDE: usize, const MASKS: u8>(
    s: S,
    p: *const f32,
    (odd, inside): (usize, bool),
    masks: &[S::M; 2],
) -> [S::V; 3] {
    // SAFETY: the caller's promise.
    unsafe {
        if STRIDE == DEALT {
            let first = load(s, p.wrapping_add(odd), masks[0], MASKS & FIRST != 0);
            let third = load(s, p.wrapping_add(odd + 1), masks[1], MASKS & LAST != 0);
            return [first, s.load(p.wrapping_add(1)), third];
        }
        let a = load(s, p.wrapping_add(1), masks[0], MASKS == ALL);
        let b = load(s, p.wrapping_add(1 + S::LANES), masks[1], MASKS == ALL);
        let (second, third) = s.unzip_mixed(a, b);
        let first = if MASKS & FIRST == 0 || MASKS == ALL && inside { *p } else { 0.0 };
        [s.later(third, first), second, third]
    }
}
