//! Eight lanes: AVX2 with FMA.

use super::{Simd, Task};
use std::{arch::x86_64::*, ops::Range};

/// Proof that the CPU has AVX2 and FMA.
#[derive(Clone, Copy)]
pub(crate) struct Avx2(());

impl Avx2 {
    /// # Safety
    /// The CPU has AVX2 and FMA.
    #[inline(always)]
    pub(crate) const unsafe fn assume() -> Self {
        Self(())
    }
}

/// A window into this table at `8 - begin` has its lanes from `begin` on set.
static RAMP: [i32; 24] = [0, 0, 0, 0, 0, 0, 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, 0, 0, 0, 0, 0, 0, 0, 0];

// SAFETY, for every block in this file: a value of `Avx2` proves that the CPU has AVX2 and FMA, which these instructions belong to; a memory
// access is covered by the trait's contract for it.
impl Simd for Avx2 {
    type V = __m256;
    type M = __m256i;
    const LANES: usize = 8;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn first_half(self, v: Self::V) -> Self::V {
        v
    }

    #[inline(always)]
    fn outlined(self, task: impl Task) {
        #[target_feature(enable = "avx2,fma")]
        #[inline(never)]
        fn outlined(s: Avx2, task: impl Task) {
            task.run(s);
        }
        // SAFETY: see the top.
        unsafe { outlined(self, task) }
    }
    const PREFETCHES: bool = true;
    #[inline(always)]
    fn prefetch(self, p: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(p.cast()) }
    }
    #[inline(always)]
    fn prefetch_to_second(self, p: *const f32) {
        // SAFETY: every x86-64 CPU has the instruction, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T1>(p.cast()) }
    }
    #[inline(always)]
    fn splat(self, x: f32) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_set1_ps(x) }
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_loadu_ps(p) }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: __m256) {
        // SAFETY: see the top.
        unsafe { _mm256_storeu_ps(p, v) }
    }
    #[inline(always)]
    fn mask(self, begin: isize, end: isize) -> __m256i {
        let (begin, end) = (begin.clamp(0, 8) as usize, end.clamp(0, 8) as usize);
        // SAFETY: see the top; both windows of eight start in 0..=16 and the table holds 24.
        unsafe {
            let from = _mm256_loadu_si256(RAMP.as_ptr().add(8 - begin).cast());
            let until = _mm256_loadu_si256(RAMP.as_ptr().add(16 - end).cast());
            _mm256_and_si256(from, until)
        }
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: __m256i) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_maskload_ps(p, mask) }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: __m256i, v: __m256) {
        // SAFETY: see the top.
        unsafe { _mm256_maskstore_ps(p, mask, v) }
    }
    /// A copy in two overlapping halves: a masked store takes 16 cycles on Zen 3, beside multiply-adds.
    #[inline(always)]
    unsafe fn store_lanes(self, p: *mut f32, lanes: Range<usize>, v: __m256) {
        let all = self.to_array(v);
        let (from, to) = (all.as_ptr().wrapping_add(lanes.start), p.wrapping_add(lanes.start));
        // SAFETY: see the top; the lanes lie in the array, and the halves within them.
        unsafe {
            match lanes.len() {
                4.. => {
                    let last = lanes.len() - 4;
                    let halves = [_mm_loadu_ps(from), _mm_loadu_ps(from.add(last))];
                    _mm_storeu_ps(to, halves[0]);
                    _mm_storeu_ps(to.add(last), halves[1]);
                }
                2.. => {
                    let last = lanes.len() - 2;
                    let (from, to) = (from.cast::<[f32; 2]>(), to.cast::<[f32; 2]>());
                    let halves = [*from, *from.byte_add(4 * last)];
                    *to = halves[0];
                    *to.byte_add(4 * last) = halves[1];
                }
                _ => *to = *from,
            }
        }
    }
    #[inline(always)]
    fn without(self, v: __m256, gap: Range<usize>) -> __m256 {
        // SAFETY: see the top.
        unsafe {
            let lanes = _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7);
            let behind = _mm256_cmpgt_epi32(lanes, _mm256_set1_epi32(gap.start as i32 - 1));
            let further = _mm256_and_si256(behind, _mm256_set1_epi32(gap.len() as i32));
            _mm256_permutevar8x32_ps(v, _mm256_add_epi32(lanes, further))
        }
    }
    #[inline(always)]
    fn unzip(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: see the top.
        unsafe {
            let even = _mm256_castps_pd(_mm256_shuffle_ps::<0b10_00_10_00>(a, b));
            let odd = _mm256_castps_pd(_mm256_shuffle_ps::<0b11_01_11_01>(a, b));
            // The shuffle works on halves: put the pairs from a (0 and 2) before those from b.
            let order = |v| _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(v));
            (order(even), order(odd))
        }
    }
    #[inline(always)]
    fn unzip_mixed(self, a: __m256, b: __m256) -> (__m256, __m256) {
        // SAFETY: see the top.
        unsafe { (_mm256_shuffle_ps::<0b10_00_10_00>(a, b), _mm256_shuffle_ps::<0b11_01_11_01>(a, b)) }
    }
    #[inline(always)]
    fn later(self, v: __m256, first: f32) -> __m256 {
        // SAFETY: see the top.
        unsafe {
            let order = _mm256_setr_epi32(0, 0, 5, 2, 1, 4, 3, 6);
            let first = _mm256_castps128_ps256(_mm_set_ss(first));
            _mm256_blend_ps::<1>(_mm256_permutevar8x32_ps(v, order), first)
        }
    }
    #[inline(always)]
    fn zip_mixed(self, even: __m256, odd: __m256) -> (__m256, __m256) {
        // SAFETY: see the top.
        unsafe { (_mm256_unpacklo_ps(even, odd), _mm256_unpackhi_ps(even, odd)) }
    }
    #[inline(always)]
    unsafe fn load_even_mixed(self, p: *const f32) -> __m256 {
        // The first half of `unzip`: the other one, across halves, takes a cycle of the units that multiply.
        // SAFETY: see the top.
        unsafe { _mm256_shuffle_ps::<0b10_00_10_00>(_mm256_loadu_ps(p), _mm256_loadu_ps(p.add(8))) }
    }
    #[inline(always)]
    fn in_order(self, v: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_castpd_ps(_mm256_permute4x64_pd::<0b11_01_10_00>(_mm256_castps_pd(v))) }
    }
    #[inline(always)]
    fn total(self, v: __m256) -> f32 {
        // SAFETY: see the top.
        unsafe {
            let four = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps::<1>(v));
            let two = _mm_add_ps(four, _mm_movehl_ps(four, four));
            _mm_cvtss_f32(_mm_add_ss(two, _mm_movehdup_ps(two)))
        }
    }
    #[inline(always)]
    fn add(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_add_ps(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_sub_ps(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_mul_ps(a, b) }
    }
    #[inline(always)]
    fn div(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_div_ps(a, b) }
    }
    #[inline(always)]
    fn min(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_min_ps(a, b) }
    }
    #[inline(always)]
    fn max(self, a: __m256, b: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_max_ps(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }
    #[inline(always)]
    fn round(self, a: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe { _mm256_round_ps::<{ _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC }>(a) }
    }
    #[inline(always)]
    fn pow2(self, n: __m256) -> __m256 {
        // SAFETY: see the top.
        unsafe {
            let exponent = _mm256_add_epi32(_mm256_cvtps_epi32(n), _mm256_set1_epi32(127));
            _mm256_castsi256_ps(_mm256_slli_epi32::<23>(exponent))
        }
    }
}
