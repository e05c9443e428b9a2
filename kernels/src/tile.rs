//! The micro-kernel of every convolution: some filters times some vectors of pixels in registers.

use crate::{
    ALIGN,
    activation::{Activation, Epilogue, clamp},
    simd::{Simd, Task},
};
use std::ops::Range;

/// How far ahead of their use weights are asked for, in floats: 2 KiB, often those of the next call.
const AHEAD: usize = 512;

/// How many taps ahead of their use inputs are asked for.
const TAPS_AHEAD: usize = 8;

/// Taps that a tile takes at once from a panel.
const ROUND: usize = 4;

/// Whether there is code for tiles whose inputs lie in panels: those of two vectors, with AVX2 by five or six filters, with AVX-512 by nine to twelve.
pub(crate) const fn has_panels(lanes: usize, filters: usize, vectors: usize) -> bool {
    vectors == 2 && filters >= if lanes < 16 { 5 } else { 9 }
}

/// With vectors of sixteen lanes only tiles of more taps than this ask for them: fewer taps are slower, by 3 to 5 % at 14x14 with 64 and 96, and the 147 of a stem, whose
/// inputs were dealt just before.
const MANY_TAPS: usize = 192;

/// `acc[f][v] = bias[f] + sum over taps of w[tap][f] * x[v][tap + lane * STRIDE]`, taps in order; for a `STRIDE` of zero it is `stride`.
///
/// # Safety
/// `w` holds `taps.len() * F` floats, `bias` holds `F`, and `x[v]` at each tap what the lanes need; for a stride of two, `2 * LANES` floats.
#[inline(always)]
pub(crate) unsafe fn accumulate<S: Simd, const F: usize, const P: usize, const STRIDE: usize>(
    s: S,
    taps: &[u32],
    w: (*const f32, *const f32),
    x: ([*const f32; P], usize),
) -> [[S::V; P]; F] {
    // SAFETY: the caller's promise.
    unsafe { accumulate_with::<S, F, P, STRIDE, NO_TAIL, NEVER>(s, taps, w, x, (std::ptr::null(), false)).acc }
}

/// What comes behind a tile's vectors: nothing.
pub(crate) const NO_TAIL: u8 = 0;
/// One pixel, whose sums are the first `F` lanes of a vector of its own: one multiply-add for a tap instead of one for each filter.
pub(crate) const PIXEL: u8 = 1;
/// Four pixels, each as a [`PIXEL`].
pub(crate) const QUAD: u8 = 2;

/// No tile asks for the inputs of the next.
pub(crate) const NEVER: u8 = 0;
/// Every one does.
pub(crate) const ALWAYS: u8 = 1;
/// Where the call says so.
pub(crate) const MAYBE: u8 = 2;

/// Tiles that store by code that all kinds share.
pub(crate) const RARE: u8 = 0;
/// Tiles over what is left of a call, or in the first of many calls: they have code of their own for clamps, with a residual or without.
pub(crate) const SOME: u8 = 1;
/// Tiles that most of a call consists of: they have code of their own for `Leaky` and `HardSwish`, too.
pub(crate) const MAIN: u8 = 2;

/// Pixels of a tail that have vectors of their own.
pub(crate) const fn pixels_of(tail: u8) -> usize {
    match tail {
        PIXEL => 1,
        QUAD => 4,
        _ => 0,
    }
}

/// The sums of a tile.
pub(crate) struct Sums<S: Simd, const F: usize, const P: usize> {
    /// Of its vectors.
    pub(crate) acc: [[S::V; P]; F],
    /// Of the pixels behind them: [`pixels_of`] the tail.
    pub(crate) pixels: [S::V; 4],
}

/// As [`accumulate`], and also for the `TAIL` at `tail`. As `NEXT` says, inputs of the next tile are asked for, not those some taps later: further ahead, for
/// planes that are not in the second-level cache yet.
///
/// # Safety
/// As for [`accumulate`]; the tail can be read at each tap, and with a [`PIXEL`] or a [`QUAD`] whole vectors at every `F`-th float of `w`, and at `bias`.
#[inline(always)]
pub(crate) unsafe fn accumulate_with<
    S: Simd,
    const F: usize,
    const P: usize,
    const STRIDE: usize,
    const TAIL: u8,
    const NEXT: u8,
>(
    s: S,
    taps: &[u32],
    (w, bias): (*const f32, *const f32),
    (x, stride): ([*const f32; P], usize),
    (tail, next): (*const f32, bool),
) -> Sums<S, F, P> {
    // Loops, not closures: see `Activation`.
    // SAFETY: the caller's promise.
    let Sums { mut acc, mut pixels } = unsafe { biases::<S, F, P, TAIL>(s, bias) };
    // SAFETY: the caller's promise; there are F weights for each tap.
    unsafe {
        let mut w = w;
        let far = taps.len() > if S::LANES < 16 { TAPS_AHEAD } else { MANY_TAPS };
        for (i, &tap) in taps.iter().enumerate() {
            // With few taps it pays on Zen 5, with AVX-512, and costs a tenth on Zen 3.
            if far || S::LANES >= 16 {
                s.prefetch(w.wrapping_add(AHEAD));
            }
            if NEXT == ALWAYS || NEXT == MAYBE && next {
                for line in (0..P * S::LANES).step_by(ALIGN) {
                    s.prefetch(x[0].wrapping_add(tap as usize + P * S::LANES + line));
                }
            } else if far {
                ask::<S, STRIDE>(s, x[0], *taps.get_unchecked((i + TAPS_AHEAD).min(taps.len() - 1)));
            }
            step::<S, F, P, STRIDE, TAIL>(s, (&mut acc, &mut pixels), tap, w, (x, stride), tail);
            w = w.add(F);
        }
    }
    if STRIDE == 2 {
        for row in &mut acc {
            for sums in row {
                *sums = s.in_order(*sums);
            }
        }
    }
    Sums { acc, pixels }
}

/// Asks for a tap's inputs: each tap lies in a plane of its own, where no prefetcher of the machine looks for it.
#[inline(always)]
fn ask<S: Simd, const STRIDE: usize>(s: S, x: *const f32, tap: u32) {
    let inputs = x.wrapping_add(tap as usize);
    s.prefetch(inputs);
    if STRIDE == 2 {
        s.prefetch(inputs.wrapping_add(ALIGN));
    }
}

/// Adds one tap to the sums; its weights start at `w`.
///
/// # Safety
/// As for [`accumulate_with`].
#[inline(always)]
unsafe fn step<S: Simd, const F: usize, const P: usize, const STRIDE: usize, const TAIL: u8>(
    s: S,
    (acc, pixels): (&mut [[S::V; P]; F], &mut [S::V; 4]),
    tap: u32,
    w: *const f32,
    (x, stride): ([*const f32; P], usize),
    tail: *const f32,
) {
    let tap = tap as usize;
    // SAFETY: the caller's promise.
    unsafe {
        // The fewer of inputs and weights wait in registers for the others.
        if P < F {
            let mut inputs = [s.splat(0.0); P];
            for v in 0..P {
                inputs[v] = load::<S, STRIDE>(s, x[v].add(tap), stride);
            }
            add(s, acc, inputs, w);
        } else {
            let mut weights = [s.splat(0.0); F];
            for (f, weight) in weights.iter_mut().enumerate() {
                *weight = s.splat(*w.add(f));
            }
            for v in 0..P {
                let input = load::<S, STRIDE>(s, x[v].add(tap), stride);
                for (acc, &weight) in acc.iter_mut().zip(&weights) {
                    acc[v] = s.fma(weight, input, acc[v]);
                }
            }
        }
        add_tail::<S, TAIL>(s, pixels, tail.wrapping_add(tap), w);
    }
}

/// Adds one tap with these inputs to the sums; its weights start at `w`.
///
/// # Safety
/// There are `F` weights.
#[inline(always)]
unsafe fn add<S: Simd, const F: usize, const P: usize>(
    s: S,
    acc: &mut [[S::V; P]; F],
    inputs: [S::V; P],
    w: *const f32,
) {
    for (f, acc) in acc.iter_mut().enumerate() {
        // SAFETY: the caller's promise.
        let weight = unsafe { s.splat(*w.add(f)) };
        for v in 0..P {
            acc[v] = s.fma(weight, inputs[v], acc[v]);
        }
    }
}

/// Adds one tap with the tail's inputs at `x` to the sums of its pixels.
///
/// # Safety
/// The tail can be read at `x`, and with one a vector at `w`.
#[inline(always)]
unsafe fn add_tail<S: Simd, const TAIL: u8>(s: S, pixels: &mut [S::V; 4], x: *const f32, w: *const f32) {
    if pixels_of(TAIL) == 0 {
        return;
    }
    // SAFETY: the caller's promise.
    unsafe {
        let weights = s.load(w);
        for (i, pixel) in pixels.iter_mut().enumerate().take(pixels_of(TAIL)) {
            *pixel = s.fma(s.splat(*x.add(i)), weights, *pixel);
        }
    }
}

/// Sums of biases only.
///
/// # Safety
/// There are `F` biases, and with a tail a vector of them can be read.
#[inline(always)]
unsafe fn biases<S: Simd, const F: usize, const P: usize, const TAIL: u8>(s: S, bias: *const f32) -> Sums<S, F, P> {
    let mut acc = [[s.splat(0.0); P]; F];
    // SAFETY: the caller's promise.
    unsafe {
        for (f, acc) in acc.iter_mut().enumerate() {
            *acc = [s.splat(*bias.add(f)); P];
        }
        let pixels = if pixels_of(TAIL) > 0 { [s.load(bias); 4] } else { [s.splat(0.0); 4] };
        Sums { acc, pixels }
    }
}

/// As [`accumulate_with`] for vectors side by side from `x` on and the `TAIL` behind them; copies what it reads to `panel`: the vectors, tap after tap, and then the tail.
///
/// # Safety
/// As for [`accumulate_with`], and `panel` has place for `P` vectors and the tail for each tap.
#[inline(always)]
pub(crate) unsafe fn accumulate_packing<S: Simd, const F: usize, const P: usize, const TAIL: u8>(
    s: S,
    taps: &[u32],
    (mut w, bias): (*const f32, *const f32),
    x: *const f32,
    mut panel: *mut f32,
) -> Sums<S, F, P> {
    // SAFETY: the caller's promise; there are F weights for each tap.
    unsafe {
        let mut sums = biases::<S, F, P, TAIL>(s, bias);
        let (behind, tails) = (x.wrapping_add(P * S::LANES), panel.add(taps.len() * P * S::LANES));
        for (i, &tap) in taps.iter().enumerate() {
            let tap = tap as usize;
            s.prefetch(w.wrapping_add(AHEAD));
            let next = *taps.get_unchecked((i + TAPS_AHEAD).min(taps.len() - 1)) as usize;
            for line in (0..P * S::LANES).step_by(ALIGN) {
                s.prefetch(x.wrapping_add(next + line));
                s.prefetch_to_second(behind.wrapping_add(tap + line));
            }
            let mut inputs = [s.splat(0.0); P];
            for (v, input) in inputs.iter_mut().enumerate() {
                *input = s.load(x.add(tap + v * S::LANES));
                s.store(panel.add(v * S::LANES), *input);
            }
            for pixel in 0..pixels_of(TAIL) {
                *tails.add(i * pixels_of(TAIL) + pixel) = *behind.add(tap + pixel);
            }
            add(s, &mut sums.acc, inputs, w);
            add_tail::<S, TAIL>(s, &mut sums.pixels, behind.wrapping_add(tap), w);
            w = w.add(F);
            panel = panel.add(P * S::LANES);
        }
        sums
    }
}

/// As [`accumulate_with`], of inputs that lie in a `panel` as [`accumulate_packing`] leaves them. Of 21 instructions for a tap twelve are multiply-adds, for six filters
/// by two vectors.
///
/// # Safety
/// `w` holds `taps * F` floats, `bias` holds `F`, and `panel` holds `P` vectors and the tail for each tap; with a [`PIXEL`] whole vectors can be read as for
/// [`accumulate_with`].
#[inline(always)]
pub(crate) unsafe fn accumulate_from_panel<S: Simd, const F: usize, const P: usize, const TAIL: u8>(
    s: S,
    taps: usize,
    (mut w, bias): (*const f32, *const f32),
    mut panel: *const f32,
) -> Sums<S, F, P> {
    // SAFETY: the caller's promise; there are F weights for each tap.
    unsafe {
        let mut sums = biases::<S, F, P, TAIL>(s, bias);
        let mut tails = panel.add(taps * P * S::LANES);
        macro_rules! steps { ($($i:literal)*) => { $(
            // First, since it takes the one register that sums and inputs leave.
            add_tail::<S, TAIL>(s, &mut sums.pixels, tails.wrapping_add($i * pixels_of(TAIL)), w.add($i * F));
            let mut inputs = [s.splat(0.0); P];
            for (v, input) in inputs.iter_mut().enumerate() {
                *input = s.load(panel.add(($i * P + v) * S::LANES));
            }
            add(s, &mut sums.acc, inputs, w.add($i * F));
        )* } }
        for _ in 0..taps / ROUND {
            for line in (0..ROUND * F).step_by(ALIGN) {
                s.prefetch(w.wrapping_add(AHEAD + line));
            }
            // The compiler does not unroll a loop of this size.
            steps!(0 1 2 3);
            w = w.add(ROUND * F);
            panel = panel.add(ROUND * P * S::LANES);
            tails = tails.add(ROUND * pixels_of(TAIL));
        }
        for _ in 0..taps % ROUND {
            steps!(0);
            w = w.add(F);
            panel = panel.add(P * S::LANES);
            tails = tails.add(pixels_of(TAIL));
        }
        sums
    }
}

/// A vector of inputs, for a stride of two in another order.
///
/// # Safety
/// As for [`accumulate`].
#[inline(always)]
unsafe fn load<S: Simd, const STRIDE: usize>(s: S, x: *const f32, stride: usize) -> S::V {
    // SAFETY: the caller's promise.
    unsafe {
        match STRIDE {
            1 => s.load(x),
            2 => s.load_even_mixed(x),
            _ => s.load_strided(x, stride),
        }
    }
}

/// How rows lie in the outputs, where that is not as in the inputs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rows {
    /// How many; what the run has behind the last one has no place in the outputs.
    pub(crate) count: usize,
    /// Pixels of a row; what lies between rows of the inputs has no place in the outputs.
    pub(crate) columns: usize,
    /// Floats from one row of the inputs to the next.
    pub(crate) from: usize,
    /// Floats from one row of the outputs to the next.
    pub(crate) to: usize,
    /// Where the outputs of the call end.
    end: usize,
}

impl Rows {
    /// Of a call that ends before pixel `end`.
    pub(crate) fn of_call([count, columns]: [usize; 2], from: usize, to: usize, end: usize) -> Self {
        let rows = Self { count, columns, from, to, end: 0 };
        Self { end: usize::try_from(rows.place(end)).unwrap_or(0), ..rows }
    }

    /// Where in the outputs the first pixel from `pixel` on goes that has a place there, or the end of the pixels before it.
    pub(crate) fn place(self, pixel: usize) -> i64 {
        let Self { count, columns, from, to, .. } = self;
        let (row, column) = (pixel / from, (pixel % from).min(columns));
        let last = count.saturating_sub(1);
        let place = if row > last { (last, columns) } else { (row, column) };
        i64::try_from(place.0.saturating_mul(to).saturating_add(place.1)).unwrap_or(i64::MAX)
    }

    /// Of the vector from pixel `begin` on: where it goes if the lanes between two rows are taken out, and which lanes these are. Only where rows of outputs follow each
    /// other without a gap, so that what the vector then has too much is the place of later pixels, and where that is still a place of the call's outputs.
    #[inline(always)]
    fn joined(self, begin: usize, lanes: usize) -> Option<(usize, Range<usize>)> {
        let Self { columns, from, to, end, .. } = self;
        // Shorter rows may have two gaps in a vector.
        if to != columns || from < lanes {
            return None;
        }
        let (row, column) = (begin / from, begin % from);
        let gap = columns.saturating_sub(column).min(lanes)..(from - column).min(lanes);
        let place = if gap.start > 0 { row * to + column } else { (row + 1) * to };
        (place + lanes <= end).then_some((place, gap))
    }

    /// The pieces of rows in the `len` pixels from `begin` on: which of these pixels, and where the first of them goes.
    #[inline(always)]
    fn pieces(self, begin: usize, len: usize) -> impl Iterator<Item = (Range<usize>, usize)> {
        let Self { count, columns, from, to, .. } = self;
        (begin / from..((begin + len - 1) / from + 1).min(count)).filter_map(move |row| {
            let first = (row * from).max(begin);
            let end = (row * from + columns).min(begin + len);
            (first < end).then(|| (first - begin..end - begin, row * to + first - row * from))
        })
    }
}

/// Where the sums of a call's tiles go, and through what.
pub(crate) struct Finish<'a, S, const F: usize> {
    s: S,
    y: &'a [u32; F],
    rows: Option<Rows>,
    residual: Option<&'a [u32; F]>,
    first: Activation,
    last: Activation,
    weights: *const f32,
    arena: *mut f32,
}

impl<'a, S: Simd, const F: usize> Finish<'a, S, F> {
    /// # Safety
    /// There are `F` output planes and, if any, residual planes; `weights` holds what the epilogue reads.
    #[inline(always)]
    pub(crate) unsafe fn new(s: S, y: &'a [u32], epilogue: &'a Epilogue, weights: *const f32, arena: *mut f32) -> Self {
        // SAFETY: the caller's promise.
        let planes = |list: &'a [u32]| unsafe { &*list.as_ptr().cast::<[u32; F]>() };
        let residual = epilogue.residual.as_ref().map(|residual| planes(residual.offsets()));
        let (first, last) = (epilogue.first, epilogue.last);
        Self { s, y: planes(y), rows: None, residual, first, last, weights, arena }
    }

    /// To other rows. There is no residual. What is stored must be all pixels of the call, in ascending order.
    #[inline(always)]
    pub(crate) fn with_rows(self, rows: Option<Rows>) -> Self {
        Self { rows, ..self }
    }

    /// Asks for the residual of a tile whose first vector is at `at`, if there is one.
    #[inline(always)]
    pub(crate) fn ask(&self, at: usize) {
        if let (true, Some(residual)) = (S::PREFETCHES, self.residual) {
            for &plane in residual {
                self.s.prefetch(self.arena.wrapping_add(plane as usize + at));
            }
        }
    }

    /// Stores `acc[f][v]` at `y[f] + at[v]`. How `OFTEN` there are such tiles decides how much code they are worth.
    ///
    /// # Safety
    /// These places, and the same places of the residual planes, lie in the arena.
    #[inline(always)]
    pub(crate) unsafe fn store<const P: usize, const OFTEN: u8>(&self, acc: [[S::V; P]; F], at: [usize; P]) {
        use Activation::{Clamp, HardSwish, Leaky};
        // Those that take a few instructions, in registers, each in a loop of its own. No activation is a clamp without bounds, which no layer is slower
        // for: loops of its own would be a tenth of the kernels' code.
        let clamped = |activation: Activation| activation.bounds().map(|[lo, hi]| Clamp { lo, hi });
        // SAFETY: the caller's promise.
        unsafe {
            match (clamped(self.first), self.residual, clamped(self.last)) {
                (Some(first), None, _) if OFTEN > RARE && self.rows.is_none() => self.each(acc, at, first),
                (None, None, _) if let (true, Leaky { slope }, None) = (OFTEN == MAIN, self.first, self.rows) => {
                    self.each(acc, at, Leaky { slope });
                }
                (None, None, _) if OFTEN == MAIN && self.first == HardSwish && self.rows.is_none() => {
                    self.each(acc, at, HardSwish);
                }
                (_, Some(residual), Some(last)) if OFTEN > RARE && self.first == Activation::None => {
                    self.each_with_residual(acc, at, residual, last);
                }
                _ => {
                    // Copies, so that only here they need an address.
                    let (acc, at) = (acc, at);
                    let Self { s, y, rows, first, last, weights, arena, .. } = *self;
                    let residual = self.residual.map(|residual| &residual[..]);
                    s.outlined(Any {
                        acc: acc.as_ptr().cast(),
                        y,
                        at: &at,
                        rows,
                        residual,
                        first,
                        last,
                        weights,
                        arena,
                    });
                }
            }
        }
    }

    /// Stores the first `F` lanes of `sums` at `y[f] + at`, each through the same operations as any pixel.
    ///
    /// # Safety
    /// These places, and the same places of the residual planes, lie in the arena.
    #[inline(always)]
    pub(crate) unsafe fn store_tail(&self, sums: S::V, at: usize) {
        let Self { s, y, rows, residual, first, last, weights, arena } = *self;
        let to = match rows {
            Some(rows) => rows.pieces(at, 1).next().map(|(_, to)| to),
            None => Some(at),
        };
        let Some(to) = to else { return };
        // What is the same for all filters, at once.
        let simple = match (first.bounds(), residual, last.bounds()) {
            (Some(first), None, _) => Some(clamp(s, first, sums)),
            (Some(first), Some(residual), Some(last)) => {
                let mut added = [0.0; 16];
                for f in 0..F {
                    // SAFETY: the caller's promise.
                    added[f] = unsafe { *arena.add(residual[f] as usize + at) };
                }
                // SAFETY: the array holds 16 floats and no vector is longer.
                let added = unsafe { s.load(added.as_ptr()) };
                Some(clamp(s, last, s.add(clamp(s, first, sums), added)))
            }
            _ => None,
        };
        if let Some(sums) = simple {
            let sums = s.to_array(sums);
            for f in 0..F {
                // SAFETY: the caller's promise.
                unsafe { *arena.add(y[f] as usize + to) = sums[f] }
            }
            return;
        }
        let sums = s.to_array(sums);
        s.outlined(AnyTail {
            sums: &sums[..F],
            y,
            at,
            to,
            residual: residual.map(|planes| &planes[..]),
            first,
            last,
            weights,
            arena,
        });
    }

    /// # Safety
    /// As for [`Finish::store`].
    #[inline(always)]
    unsafe fn each<const P: usize>(&self, acc: [[S::V; P]; F], at: [usize; P], activation: Activation) {
        let Self { s, y, weights, arena, .. } = *self;
        for f in 0..F {
            // SAFETY: the caller's promise.
            unsafe {
                let y = arena.add(y[f] as usize);
                for v in 0..P {
                    s.store(y.add(at[v]), activation.apply(s, acc[f][v], f, weights));
                }
            }
        }
    }

    /// # Safety
    /// As for [`Finish::store`].
    #[inline(always)]
    unsafe fn each_with_residual<const P: usize>(
        &self,
        acc: [[S::V; P]; F],
        at: [usize; P],
        residual: &[u32; F],
        last: Activation,
    ) {
        let Self { s, y, weights, arena, .. } = *self;
        for f in 0..F {
            // SAFETY: the caller's promise.
            unsafe {
                let (y, residual) = (arena.add(y[f] as usize), arena.add(residual[f] as usize));
                for v in 0..P {
                    let x = s.add(acc[f][v], s.load(residual.add(at[v])));
                    s.store(y.add(at[v]), last.apply(s, x, f, weights));
                }
            }
        }
    }
}

/// [`Finish::store`] with any activations.
struct Any<'a> {
    /// `[y.len()][at.len()]` vectors.
    acc: *const f32,
    y: &'a [u32],
    at: &'a [usize],
    rows: Option<Rows>,
    residual: Option<&'a [u32]>,
    first: Activation,
    last: Activation,
    weights: *const f32,
    arena: *mut f32,
}

impl Task for Any<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut acc, y, at, rows, residual, first, last, weights, arena } = self;
        if let Some(rows) = rows {
            // SAFETY: as for `Finish::store`, which made the task.
            return unsafe { self.run_in_rows(s, rows) };
        }
        for (f, &y) in y.iter().enumerate() {
            for &at in at {
                // SAFETY: as for `Finish::store`, which made the task.
                unsafe {
                    let mut x = first.apply(s, s.load(acc), f, weights);
                    if let Some(residual) = residual {
                        x = s.add(x, s.load(arena.add(residual[f] as usize + at)));
                        x = last.apply(s, x, f, weights);
                    }
                    s.store(arena.add(y as usize + at), x);
                    acc = acc.add(S::LANES);
                }
            }
        }
    }
}

impl Any<'_> {
    /// # Safety
    /// As for [`Finish::store`], and the tiles of a call come in ascending order, up to its end.
    #[inline(always)]
    unsafe fn run_in_rows<S: Simd>(self, s: S, rows: Rows) {
        let Self { acc, y, at, first, weights, arena, .. } = self;
        let vectors = at.len();
        for (v, &at) in at.iter().enumerate() {
            let joined = if S::MASKED_STORES { None } else { rows.joined(at, S::LANES) };
            if let Some((to, gap)) = joined {
                for (f, &y) in y.iter().enumerate() {
                    // SAFETY: the caller's promise, and `joined` found that the vector ends no later than the outputs of the call.
                    unsafe {
                        let x = first.apply(s, s.load(acc.add((f * vectors + v) * S::LANES)), f, weights);
                        s.store(arena.add(y as usize + to), s.without(x, gap.clone()));
                    }
                }
                continue;
            }
            for (piece, to) in rows.pieces(at, S::LANES) {
                for (f, &y) in y.iter().enumerate() {
                    // SAFETY: the caller's promise; these lanes go to `to` and behind it, in a row of the output.
                    unsafe {
                        let x = first.apply(s, s.load(acc.add((f * vectors + v) * S::LANES)), f, weights);
                        let y = arena.add(y as usize + to).wrapping_sub(piece.start);
                        if piece.len() == S::LANES {
                            s.store(y, x);
                        } else {
                            s.store_lanes(y, piece.clone(), x);
                        }
                    }
                }
            }
        }
    }
}

/// [`Finish::store_tail`] with any activations.
struct AnyTail<'a> {
    sums: &'a [f32],
    y: &'a [u32],
    at: usize,
    /// Where that is in the outputs.
    to: usize,
    residual: Option<&'a [u32]>,
    first: Activation,
    last: Activation,
    weights: *const f32,
    arena: *mut f32,
}

impl Task for AnyTail<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, y, at, to, residual, first, last, weights, arena } = self;
        for (f, (&sum, &y)) in sums.iter().zip(y).enumerate() {
            // SAFETY: as for `Finish::store_tail`, which made the task.
            unsafe {
                let mut x = first.apply(s, s.splat(sum), f, weights);
                if let Some(residual) = residual {
                    x = s.add(x, s.splat(*arena.add(residual[f] as usize + at)));
                    x = last.apply(s, x, f, weights);
                }
                *arena.add(y as usize + to) = s.to_array(x)[0];
            }
        }
    }
}
