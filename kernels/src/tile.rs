//! The micro-kernel of every convolution: some filters times some vectors of pixels in registers.

use crate::{
    activation::{Activation, Epilogue, clamp},
    simd::{Simd, Task},
};

/// How far ahead of their use weights are asked for, in floats: 2 KiB, often those of the next call.
const AHEAD: usize = 512;

/// How many taps ahead of their use inputs are asked for.
const TAPS_AHEAD: usize = 8;

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
    unsafe { accumulate_with::<S, F, P, STRIDE, false, false>(s, taps, w, x, std::ptr::null()).0 }
}

/// As [`accumulate`], and with `TAIL` also the pixel at `tail`, whose sums are the first `F` lanes of a vector of its own: one multiply-add for a tap instead
/// of one for each filter. With `NEXT`, inputs of the next tile are asked for, not those some taps later: further ahead, for planes that are not in the
/// second-level cache yet.
///
/// # Safety
/// As for [`accumulate`]; with `TAIL` the pixel can be read at each tap, and whole vectors at every `F`-th float of `w`, and at `bias`.
#[inline(always)]
pub(crate) unsafe fn accumulate_with<
    S: Simd,
    const F: usize,
    const P: usize,
    const STRIDE: usize,
    const TAIL: bool,
    const NEXT: bool,
>(
    s: S,
    taps: &[u32],
    (w, bias): (*const f32, *const f32),
    (x, stride): ([*const f32; P], usize),
    tail: *const f32,
) -> ([[S::V; P]; F], S::V) {
    // Loops, not closures: see `Activation`.
    let mut acc = [[s.splat(0.0); P]; F];
    let mut sums_of_tail = s.splat(0.0);
    // SAFETY: the caller's promise; there are F weights for each tap.
    unsafe {
        for (f, acc) in acc.iter_mut().enumerate() {
            *acc = [s.splat(*bias.add(f)); P];
        }
        if TAIL {
            sums_of_tail = s.load(bias);
        }
        let mut w = w;
        let far = taps.len() > TAPS_AHEAD;
        for (i, &tap) in taps.iter().enumerate() {
            s.prefetch(w.wrapping_add(AHEAD));
            if NEXT {
                for line in (0..P * S::LANES).step_by(crate::ALIGN) {
                    s.prefetch_input(x[0].wrapping_add(tap as usize + P * S::LANES + line));
                }
            } else if far {
                // Each tap lies in a plane of its own, where no prefetcher of the machine looks for it.
                let later = x[0].wrapping_add(*taps.get_unchecked((i + TAPS_AHEAD).min(taps.len() - 1)) as usize);
                s.prefetch_input(later);
                if STRIDE == 2 {
                    s.prefetch_input(later.wrapping_add(crate::ALIGN));
                }
            }
            // The fewer of inputs and weights wait in registers for the others.
            if P < F {
                let mut inputs = [s.splat(0.0); P];
                for v in 0..P {
                    inputs[v] = load::<S, STRIDE>(s, x[v].add(tap as usize), stride);
                }
                for (f, acc) in acc.iter_mut().enumerate() {
                    let weight = s.splat(*w.add(f));
                    for v in 0..P {
                        acc[v] = s.fma(weight, inputs[v], acc[v]);
                    }
                }
            } else {
                let mut weights = [s.splat(0.0); F];
                for (f, weight) in weights.iter_mut().enumerate() {
                    *weight = s.splat(*w.add(f));
                }
                for v in 0..P {
                    let input = load::<S, STRIDE>(s, x[v].add(tap as usize), stride);
                    for (acc, &weight) in acc.iter_mut().zip(&weights) {
                        acc[v] = s.fma(weight, input, acc[v]);
                    }
                }
            }
            if TAIL {
                sums_of_tail = s.fma(s.splat(*tail.add(tap as usize)), s.load(w), sums_of_tail);
            }
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
    (acc, sums_of_tail)
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

/// Where the sums of a call's tiles go, and through what.
pub(crate) struct Finish<'a, S, const F: usize> {
    s: S,
    y: &'a [u32; F],
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
        Self { s, y: planes(y), residual, first, last, weights, arena }
    }

    /// Stores `acc[f][v]` at `y[f] + at[v]`.
    ///
    /// # Safety
    /// These places, and the same places of the residual planes, lie in the arena.
    #[inline(always)]
    pub(crate) unsafe fn store<const P: usize>(&self, acc: [[S::V; P]; F], at: [usize; P]) {
        use Activation::{Clamp, HardSwish, Leaky};
        // Those that take a few instructions, in registers, each in a loop of its own. No activation is a clamp without bounds, which no layer is slower
        // for: loops of its own would be a tenth of the kernels' code.
        let clamped = |activation: Activation| activation.bounds().map(|[lo, hi]| Clamp { lo, hi });
        // SAFETY: the caller's promise.
        unsafe {
            match (clamped(self.first), self.residual, clamped(self.last)) {
                (Some(first), None, _) => self.each(acc, at, first),
                (None, None, _) if let Leaky { slope } = self.first => self.each(acc, at, Leaky { slope }),
                (None, None, _) if self.first == HardSwish => self.each(acc, at, HardSwish),
                (_, Some(residual), Some(last)) if self.first == Activation::None => {
                    self.each_with_residual(acc, at, residual, last);
                }
                _ => {
                    // Copies, so that only here they need an address.
                    let (acc, at) = (acc, at);
                    let Self { s, y, first, last, weights, arena, .. } = *self;
                    let residual = self.residual.map(|residual| &residual[..]);
                    s.outlined(Any { acc: acc.as_ptr().cast(), y, at: &at, residual, first, last, weights, arena });
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
        let Self { s, y, residual, first, last, weights, arena } = *self;
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
                unsafe { *arena.add(y[f] as usize + at) = sums[f] }
            }
            return;
        }
        let sums = s.to_array(sums);
        s.outlined(AnyTail {
            sums: &sums[..F],
            y,
            at,
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
    residual: Option<&'a [u32]>,
    first: Activation,
    last: Activation,
    weights: *const f32,
    arena: *mut f32,
}

impl Task for Any<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { mut acc, y, at, residual, first, last, weights, arena } = self;
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

/// [`Finish::store_tail`] with any activations.
struct AnyTail<'a> {
    sums: &'a [f32],
    y: &'a [u32],
    at: usize,
    residual: Option<&'a [u32]>,
    first: Activation,
    last: Activation,
    weights: *const f32,
    arena: *mut f32,
}

impl Task for AnyTail<'_> {
    #[inline(always)]
    fn run<S: Simd>(self, s: S) {
        let Self { sums, y, at, residual, first, last, weights, arena } = self;
        for (f, (&sum, &y)) in sums.iter().zip(y).enumerate() {
            // SAFETY: as for `Finish::store_tail`, which made the task.
            unsafe {
                let mut x = first.apply(s, s.splat(sum), f, weights);
                if let Some(residual) = residual {
                    x = s.add(x, s.splat(*arena.add(residual[f] as usize + at)));
                    x = last.apply(s, x, f, weights);
                }
                *arena.add(y as usize + at) = s.to_array(x)[0];
            }
        }
    }
}
