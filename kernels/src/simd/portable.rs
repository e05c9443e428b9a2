//! Eight lanes of the crate `wide`, whose instructions are chosen when it is compiled; and single floats, for planes of one pixel.

use super::{Simd, Task};
use wide::f32x8;

/// Needs no proof: runs everywhere.
#[derive(Clone, Copy)]
pub(crate) struct Portable;

impl Simd for Portable {
    type V = f32x8;
    type M = (u8, u8);
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

    #[inline(never)]
    fn outlined(self, task: impl Task) {
        task.run(self);
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32x8 {
        f32x8::splat(x)
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32x8 {
        // SAFETY: the caller's promise; an array of floats has the alignment of a float.
        f32x8::new(unsafe { *p.cast::<[f32; 8]>() })
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32x8) {
        // SAFETY: as for `load`.
        unsafe { *p.cast::<[f32; 8]>() = v.to_array() }
    }
    #[inline(always)]
    fn mask(self, begin: isize, end: isize) -> (u8, u8) {
        (begin.clamp(0, 8) as u8, end.clamp(0, 8) as u8)
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, (begin, end): (u8, u8)) -> f32x8 {
        let mut lanes = [0.0; 8];
        for (lane, x) in lanes.iter_mut().enumerate() {
            if (usize::from(begin)..usize::from(end)).contains(&lane) {
                // SAFETY: the caller's promise; the first lanes may lie before what `p` belongs to.
                *x = unsafe { *p.wrapping_add(lane) };
            }
        }
        f32x8::new(lanes)
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, (begin, end): (u8, u8), v: f32x8) {
        let (begin, v) = (usize::from(begin), v.to_array());
        for (lane, &x) in v.iter().enumerate().take(usize::from(end)).skip(begin) {
            // SAFETY: the caller's promise.
            unsafe { *p.add(lane) = x }
        }
    }
    #[inline(always)]
    fn unzip(self, a: f32x8, b: f32x8) -> (f32x8, f32x8) {
        let (a, b) = (a.to_array(), b.to_array());
        (
            f32x8::new([a[0], a[2], a[4], a[6], b[0], b[2], b[4], b[6]]),
            f32x8::new([a[1], a[3], a[5], a[7], b[1], b[3], b[5], b[7]]),
        )
    }
    #[inline(always)]
    fn zip_mixed(self, even: f32x8, odd: f32x8) -> (f32x8, f32x8) {
        let (a, b) = (even.to_array(), odd.to_array());
        (
            f32x8::new([a[0], b[0], a[1], b[1], a[2], b[2], a[3], b[3]]),
            f32x8::new([a[4], b[4], a[5], b[5], a[6], b[6], a[7], b[7]]),
        )
    }
    #[inline(always)]
    fn add(self, a: f32x8, b: f32x8) -> f32x8 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32x8, b: f32x8) -> f32x8 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32x8, b: f32x8) -> f32x8 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32x8, b: f32x8) -> f32x8 {
        a / b
    }
    #[inline(always)]
    fn min(self, a: f32x8, b: f32x8) -> f32x8 {
        a.fast_min(b)
    }
    #[inline(always)]
    fn max(self, a: f32x8, b: f32x8) -> f32x8 {
        a.fast_max(b)
    }
    #[inline(always)]
    fn fma(self, a: f32x8, b: f32x8, c: f32x8) -> f32x8 {
        a.mul_add(b, c)
    }
    #[inline(always)]
    fn round(self, a: f32x8) -> f32x8 {
        a.round()
    }
    #[inline(always)]
    fn pow2(self, n: f32x8) -> f32x8 {
        f32x8::new(n.to_array().map(|n| Scalar.pow2(n)))
    }
}

/// One lane: the same arithmetic as [`Portable`] for planes of a single pixel. `fma` rounds twice: it also runs where there is no such instruction.
#[derive(Clone, Copy)]
pub(crate) struct Scalar;

impl Simd for Scalar {
    type V = f32;
    type M = bool;
    const LANES: usize = 1;
    type Half = Self;

    #[inline(always)]
    fn half(self) -> Self {
        self
    }
    #[inline(always)]
    fn first_half(self, v: Self::V) -> Self::V {
        v
    }

    #[inline(never)]
    fn outlined(self, task: impl Task) {
        task.run(self);
    }
    #[inline(always)]
    fn splat(self, x: f32) -> f32 {
        x
    }
    #[inline(always)]
    unsafe fn load(self, p: *const f32) -> f32 {
        // SAFETY: the caller's promise.
        unsafe { *p }
    }
    #[inline(always)]
    unsafe fn store(self, p: *mut f32, v: f32) {
        // SAFETY: the caller's promise.
        unsafe { *p = v }
    }
    #[inline(always)]
    fn mask(self, begin: isize, end: isize) -> bool {
        begin <= 0 && end > 0
    }
    #[inline(always)]
    unsafe fn load_masked(self, p: *const f32, mask: bool) -> f32 {
        // SAFETY: the caller's promise.
        if mask { unsafe { *p } } else { 0.0 }
    }
    #[inline(always)]
    unsafe fn store_masked(self, p: *mut f32, mask: bool, v: f32) {
        if mask {
            // SAFETY: the caller's promise.
            unsafe { *p = v }
        }
    }
    #[inline(always)]
    fn unzip(self, a: f32, b: f32) -> (f32, f32) {
        (a, b)
    }
    #[inline(always)]
    fn zip_mixed(self, even: f32, odd: f32) -> (f32, f32) {
        (even, odd)
    }
    #[inline(always)]
    fn add(self, a: f32, b: f32) -> f32 {
        a + b
    }
    #[inline(always)]
    fn sub(self, a: f32, b: f32) -> f32 {
        a - b
    }
    #[inline(always)]
    fn mul(self, a: f32, b: f32) -> f32 {
        a * b
    }
    #[inline(always)]
    fn div(self, a: f32, b: f32) -> f32 {
        a / b
    }
    #[inline(always)]
    fn min(self, a: f32, b: f32) -> f32 {
        if a < b { a } else { b }
    }
    #[inline(always)]
    fn max(self, a: f32, b: f32) -> f32 {
        if a > b { a } else { b }
    }
    #[inline(always)]
    fn fma(self, a: f32, b: f32, c: f32) -> f32 {
        a * b + c
    }
    #[inline(always)]
    fn round(self, a: f32) -> f32 {
        a.round_ties_even()
    }
    #[inline(always)]
    fn pow2(self, n: f32) -> f32 {
        f32::from_bits(((n as i32 + 127) as u32) << 23)
    }
}
