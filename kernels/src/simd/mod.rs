//! The small vector trait that kernel bodies are written over.
//!
//! A value of a type that implements [`Simd`] is the proof that this CPU has its instructions: the methods that only compute are therefore safe.
//! Bodies and methods are `#[inline(always)]`, so that they end up inside an entry point with the right `#[target_feature]`.

use std::ops::Range;

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

#[cfg(target_arch = "x86_64")]
pub(crate) use avx2::Avx2;
#[cfg(target_arch = "x86_64")]
pub(crate) use avx512::Avx512;
pub(crate) use portable::{Portable, Scalar};

/// Work over vectors of any kind.
pub(crate) trait Task {
    /// Implementations are `#[inline(always)]`, like every body.
    fn run<S: Simd>(self, s: S);
}

/// Vectors of `LANES` floats.
pub(crate) trait Simd: Copy {
    /// A vector.
    type V: Copy;
    /// A choice of lanes.
    type M: Copy;
    /// Floats in a vector.
    const LANES: usize;

    /// Vectors of half the length, where they cost less than whole ones; else the same.
    type Half: Simd;
    /// Whether they are.
    const HALVES: bool = false;

    /// Leave to use them.
    fn half(self) -> Self::Half;

    /// The first lanes of a vector.
    fn first_half(self, v: Self::V) -> <Self::Half as Simd>::V;

    /// Runs `task` in a function of its own: for what is not worth its code and registers in every kernel.
    fn outlined(self, task: impl Task);

    /// Whether [`Simd::store_masked`] is as fast as a whole store.
    const MASKED_STORES: bool = false;

    /// Whether [`Simd::prefetch`] does anything.
    const PREFETCHES: bool = false;

    /// Asks for the cache line at `p`, which need not be valid. Of weights it takes a tenth off layers whose weights come from far: on Zen 5 with AVX-512; on an Intel Xeon,
    /// model 167, with AVX2, where products of Winograd's method with 256 channels at 14x14 take 1.1 ms instead of 1.9. Of inputs it takes a twelfth off ResNet50 on Zen 3,
    /// and 3 % off ResNet50-FLGC8 and ResNeXt50 with AVX-512 on that Xeon.
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        let _ = p;
    }

    /// As [`Simd::prefetch`], with the hint that the second-level cache is near enough.
    #[inline(always)]
    fn prefetch_to_second(self, p: *const f32) {
        let _ = p;
    }

    fn splat(self, x: f32) -> Self::V;

    /// # Safety
    /// `LANES` floats can be read at `p`.
    unsafe fn load(self, p: *const f32) -> Self::V;

    /// # Safety
    /// `LANES` floats can be written at `p`.
    unsafe fn store(self, p: *mut f32, v: Self::V);

    /// The lanes `begin..end`, cut to `0..LANES`.
    fn mask(self, begin: isize, end: isize) -> Self::M;

    /// The lanes of `mask` from memory, zero in the others, whose memory is not touched.
    ///
    /// # Safety
    /// The lanes of `mask` can be read at `p`.
    unsafe fn load_masked(self, p: *const f32, mask: Self::M) -> Self::V;

    /// Stores the lanes of `mask`; the memory of others is not touched.
    ///
    /// # Safety
    /// The lanes of `mask` can be written at `p`.
    unsafe fn store_masked(self, p: *mut f32, mask: Self::M, v: Self::V);

    /// Stores these lanes; `p` is where lane zero would go, and the memory of other lanes is not touched. As [`Simd::store_masked`], but fast wherever vectors are.
    ///
    /// # Safety
    /// `lanes` is not empty and within `0..LANES`, and they can be written.
    #[inline(always)]
    unsafe fn store_lanes(self, p: *mut f32, lanes: Range<usize>, v: Self::V) {
        // SAFETY: the caller's promise.
        unsafe { self.store_masked(p, self.mask(lanes.start as isize, lanes.end as isize), v) }
    }

    /// The lanes before and behind `gap`, in order; then anything.
    #[inline(always)]
    fn without(self, v: Self::V, gap: Range<usize>) -> Self::V {
        let (all, mut lanes) = (self.to_array(v), [0.0; 16]);
        for (lane, x) in lanes.iter_mut().enumerate() {
            *x = all[(if lane < gap.start { lane } else { lane + gap.len() }) % 16];
        }
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { self.load(lanes.as_ptr()) }
    }

    /// The elements with even and with odd index of the `2 * LANES` elements of `a` and `b`, in order.
    fn unzip(self, a: Self::V, b: Self::V) -> (Self::V, Self::V);

    /// [`Simd::unzip`] with the lanes of both in another order where that is faster, the same for all vectors: [`Simd::in_order`] repairs it.
    #[inline(always)]
    fn unzip_mixed(self, a: Self::V, b: Self::V) -> (Self::V, Self::V) {
        self.unzip(a, b)
    }

    /// The vectors that [`Simd::unzip_mixed`] makes these of.
    fn zip_mixed(self, even: Self::V, odd: Self::V) -> (Self::V, Self::V);

    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    fn div(self, a: Self::V, b: Self::V) -> Self::V;
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a * b + c`, in one rounding where the instruction set has it.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The nearest integer, ties to even.
    fn round(self, a: Self::V) -> Self::V;
    /// `2^n` for an integral `n` in -126..=127.
    fn pow2(self, n: Self::V) -> Self::V;

    /// Every second element of the `2 * LANES - 1` from `p` on.
    ///
    /// # Safety
    /// `2 * LANES` floats can be read at `p`.
    #[inline(always)]
    unsafe fn load_even(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { self.unzip(self.load(p), self.load(p.add(Self::LANES))).0 }
    }

    /// [`Simd::load_even`] with the lanes in the order of [`Simd::unzip_mixed`]: [`Simd::in_order`] repairs it, once for many that are added up.
    ///
    /// # Safety
    /// As for [`Simd::load_even`].
    #[inline(always)]
    unsafe fn load_even_mixed(self, p: *const f32) -> Self::V {
        // SAFETY: the caller's promise.
        unsafe { self.load_even(p) }
    }

    /// The lanes of [`Simd::unzip_mixed`] in order.
    #[inline(always)]
    fn in_order(self, v: Self::V) -> Self::V {
        v
    }

    /// Lanes in the order of [`Simd::unzip_mixed`], each one place later, and `first` in front.
    #[inline(always)]
    fn later(self, v: Self::V, first: f32) -> Self::V {
        let mut later = [first; 16];
        later[1..].copy_from_slice(&self.to_array(v)[..15]);
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { self.load(later.as_ptr()) }
    }

    /// The lanes of `mask`, zero in the others.
    #[inline(always)]
    fn keep(self, v: Self::V, mask: Self::M) -> Self::V {
        let lanes = self.to_array(v);
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { self.load_masked(lanes.as_ptr(), mask) }
    }

    /// Each lane one place earlier; the last one is anything.
    #[inline(always)]
    fn down(self, v: Self::V) -> Self::V {
        let mut down = [0.0; 16];
        down[..Self::LANES - 1].copy_from_slice(&self.to_array(v)[1..Self::LANES]);
        // SAFETY: as above.
        unsafe { self.load(down.as_ptr()) }
    }

    /// Every `step`-th element from `p` on.
    ///
    /// # Safety
    /// The `LANES` floats `p[0]`, `p[step]`, ... can be read.
    #[inline(always)]
    unsafe fn load_strided(self, p: *const f32, step: usize) -> Self::V {
        let mut lanes = [0.0; 16];
        for (lane, x) in lanes.iter_mut().enumerate().take(Self::LANES) {
            // SAFETY: the caller's promise.
            *x = unsafe { *p.add(lane * step) };
        }
        // SAFETY: the array holds 16 floats and no vector is longer.
        unsafe { self.load(lanes.as_ptr()) }
    }

    /// The lanes, in the first `LANES` places.
    #[inline(always)]
    fn to_array(self, v: Self::V) -> [f32; 16] {
        let mut lanes = [0.0; 16];
        // SAFETY: as above.
        unsafe { self.store(lanes.as_mut_ptr(), v) };
        lanes
    }

    /// The sum of all lanes, by halves.
    #[inline(always)]
    fn total(self, v: Self::V) -> f32 {
        let mut lanes = self.to_array(v);
        let mut half = Self::LANES / 2;
        while half > 0 {
            for lane in 0..half {
                lanes[lane] += lanes[lane + half];
            }
            half /= 2;
        }
        lanes[0]
    }

    /// `e^x` within two units in the last place; inputs beyond -87.33..88.37 give the value at that end. Cephes' `expf`.
    #[inline(always)]
    fn exp(self, x: Self::V) -> Self::V {
        let x = self.min(self.max(x, self.splat(-87.336_54)), self.splat(88.37));
        let n = self.round(self.mul(x, self.splat(std::f32::consts::LOG2_E)));
        // ln 2 in two parts, the first with few enough bits that n * LN2_HIGH is exact.
        let r = self.fma(n, self.splat(-0.693_359_4), x);
        let r = self.fma(n, self.splat(2.121_944_4e-4), r);
        let mut y = self.splat(1.987_569_1e-4);
        for c in [1.398_2e-3, 8.333_452e-3, 4.166_579_6e-2, 1.666_666_5e-1, 5e-1] {
            y = self.fma(y, r, self.splat(c));
        }
        let y = self.add(self.fma(y, self.mul(r, r), r), self.splat(1.0));
        self.mul(y, self.pow2(n))
    }
}

#[cfg(test)]
mod tests;
