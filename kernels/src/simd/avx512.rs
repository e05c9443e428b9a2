//! Sixteen lanes: AVX-512.

use super::{Avx2, Simd, Task};
use std::arch::{asm, x86_64::*};

/// Proof that the CPU has AVX-512 F, BW, DQ and VL.
#[derive(Clone, Copy)]
pub(crate) struct Avx512(());

impl Avx512 {
    /// # Safety
    /// The CPU has AVX-512 F, BW, DQ and VL.
    #[inline(always)]
    pub(crate) const unsafe fn assume() -> Self {
        Self(())
    }
}

// SAFETY, for every block in this file: a value of `Avx512` proves that the CPU has these instructions; a memory access is covered by the
// trait's contract for it.
impl Simd for Avx512 {
    type V = __m512;
    type M = __mmask16;
    const LANES: usize = 16;
    // Zen 4 computes whole vectors in two halves.
    type Half = Avx2;
    const HALVES: bool = true;

    #[inline(always)]
    fn half(self) -> Avx2 {
        // SAFETY: every CPU with AVX-512 has AVX2 and FMA.
        unsafe { Avx2::assume() }
    }
    #[inline(always)]
    fn first_half(self, v: __m512) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm512_castps512_ps256(v) }
    }

    #[inline(always)]
    fn outlined(self, task: impl Task) {
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        #[inline(never)]
        fn outlined(s: Avx512, task: impl Task) {
            task.run(s);
        }
        // SAFETY: see the top.
        unsafe { outlined(self, task) }
    }
    const MASKED_STORES: bool = true;
    const PREFETCHES: bool = true;
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_to_second(self, p: *const f32) {
        // SAFETY: as above.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m512) {
        // SAFETY: see the top.
        unsafe { _mm512_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn mask(self, begin: isize, end: isize) -> __mmask16 {
        let below = |lane: isize| (1u32 << lane.clamp(0, 16)) - 1;
        (below(end) & !below(begin)) as __mmask16
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: __mmask16) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_maskz_loadu_ps(mask, p) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: __mmask16, v: __m512) {
        // SAFETY: see the top.
        unsafe { _mm512_mask_storeu_ps(p, mask, v) }
    }
    #[inline(always)]
    fn unzip(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: see the top.
        unsafe {
            let even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
            let odd = _mm512_setr_epi32(1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31);
            (_mm512_permutex2var_ps(a, even, b), _mm512_permutex2var_ps(a, odd, b))
        }
    }
    #[inline(always)]
    fn unzip_mixed(self, a: __m512, b: __m512) -> (__m512, __m512) {
        // SAFETY: see the top.
        unsafe { (_mm512_shuffle_ps::<0b10_00_10_00>(a, b), _mm512_shuffle_ps::<0b11_01_11_01>(a, b)) }
    }
    #[inline(always)]
    unsafe fn load_even_mixed(self, p: *const f32) -> __m512 {
        // SAFETY: see the top.
        unsafe { self.unzip_mixed(_mm512_loadu_ps(p), _mm512_loadu_ps(p.add(16))).0 }
    }
    #[inline(always)]
    fn in_order(self, v: __m512) -> __m512 {
        // SAFETY: see the top. The shuffle works on quarters: the pairs from the first vector (even) before those from the second.
        unsafe {
            let order = _mm512_setr_epi64(0, 2, 4, 6, 1, 3, 5, 7);
            _mm512_castpd_ps(_mm512_permutexvar_pd(order, _mm512_castps_pd(v)))
        }
    }
    #[inline(always)]
    fn later(self, v: __m512, first: f32) -> __m512 {
        // SAFETY: see the top.
        unsafe {
            let order = _mm512_setr_epi32(0, 0, 13, 2, 1, 4, 3, 6, 5, 8, 7, 10, 9, 12, 11, 14);
            let first = _mm512_castps128_ps512(_mm_set_ss(first));
            _mm512_mask_permutexvar_ps(opaque(first), !1, order, opaque(v))
        }
    }
    #[inline(always)]
    fn keep(self, v: __m512, mask: __mmask16) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_maskz_mov_ps(mask, v) }
    }
    #[inline(always)]
    fn down(self, v: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe {
            let v = _mm512_castps_si512(v);
            _mm512_castsi512_ps(_mm512_alignr_epi32::<1>(v, v))
        }
    }
    #[inline(always)]
    fn zip_mixed(self, even: __m512, odd: __m512) -> (__m512, __m512) {
        // SAFETY: see the top.
        unsafe { (_mm512_unpacklo_ps(even, odd), _mm512_unpackhi_ps(even, odd)) }
    }
    #[inline(always)]
    unsafe fn load_strided(self, p: *const f32, step: usize) -> __m512 {
        // The compiler takes the general form through memory.
        // SAFETY: see the top.
        unsafe {
            let four = |i: usize| {
                let p = p.add(i * step);
                _mm_setr_ps(*p, *p.add(step), *p.add(2 * step), *p.add(3 * step))
            };
            let low = _mm512_insertf32x4::<1>(_mm512_castps128_ps512(four(0)), four(4));
            _mm512_insertf32x4::<3>(_mm512_insertf32x4::<2>(low, four(8)), four(12))
        }
    }
    #[inline(always)]
    fn total(self, v: __m512) -> f32 {
        // SAFETY: see the top.
        unsafe {
            let half = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps::<1>(v));
            self.half().total(half)
        }
    }
    #[inline(always)]
    fn add(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_div_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m512, b: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_max_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn round(self, a: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe { _mm512_roundscale_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m512) -> __m512 {
        // SAFETY: see the top.
        unsafe {
            let exponent = _mm512_add_epi32(_mm512_cvtps_epi32(n), _mm512_set1_epi32(127));
            _mm512_castsi512_ps(_mm512_slli_epi32::<23>(exponent))
        }
    }
}

/// Hides from the compiler where a vector comes from: it would merge shuffles of shuffles into others that take longer.
#[inline]
#[target_feature(enable = "avx512f")]
fn opaque(mut v: __m512) -> __m512 {
    // SAFETY: a comment.
    unsafe { asm!("/* {0} */", inout(zmm_reg) v, options(pure, nomem, nostack, preserves_flags)) }
    v
}
