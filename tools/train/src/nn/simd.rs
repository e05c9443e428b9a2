//! Vectors of the CPU at hand for both float types, by the crate `pulp`.

use super::LANES;
use half::bf16;
use pulp::{Simd, bytemuck};

/// Vector arithmetic. `s` is the proof that the CPU has the instructions.
pub trait Vector: Copy + Sized {
    /// What an activation of these numbers is stored as.
    type Stored: Copy + std::fmt::Debug + Default + PartialEq + Send + Sync;
    /// A vector of the instruction set `S`.
    type V<S: Simd>: Copy;
    /// Vector `v` of a stored pixel.
    fn load<S: Simd>(s: S, pixel: &[Self::Stored; LANES], v: usize) -> Self::V<S>;
    /// Stores `a` as vector `v` of a pixel, each number rounded to the nearest.
    fn store<S: Simd>(s: S, a: Self::V<S>, pixel: &mut [Self::Stored; LANES], v: usize);
    /// A row as vectors; its length is a multiple of the longest.
    fn vectors<S: Simd>(row: &[Self]) -> &[Self::V<S>];
    /// A row as vectors to write.
    fn vectors_mut<S: Simd>(row: &mut [Self]) -> &mut [Self::V<S>];
    /// `x` everywhere.
    fn splat<S: Simd>(s: S, x: Self) -> Self::V<S>;
    /// `a + b`
    fn plus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a - b`
    fn minus<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>) -> Self::V<S>;
    /// `a * b + c`, rounded once where the CPU can.
    fn fused<S: Simd>(s: S, a: Self::V<S>, b: Self::V<S>, c: Self::V<S>) -> Self::V<S>;
    /// 0 where `a` is negative, else `a`: NaN stays NaN, since training must see it.
    fn relu<S: Simd>(s: S, a: Self::V<S>) -> Self::V<S>;
    /// `a` where `test` is positive, else 0.
    fn where_positive<S: Simd>(s: S, test: Self::V<S>, a: Self::V<S>) -> Self::V<S>;
    /// The sum of all elements.
    fn total<S: Simd>(s: S, a: Self::V<S>) -> Self;

    /// Vectors of a pixel.
    fn per_pixel<S: Simd>() -> usize {
        LANES * size_of::<Self>() / size_of::<Self::V<S>>()
    }
}

/// The nearest number with 16 bits, the even one of two. Infinities and the NaN that arithmetic makes stay what they are; a NaN with other bits may become any
/// number, but no computation here makes one.
#[inline(always)]
const fn round(x: f32) -> bf16 {
    let bits = x.to_bits();
    bf16::from_bits((bits.wrapping_add(0x7fff + (bits >> 16 & 1)) >> 16) as u16)
}

/// The same number.
#[inline(always)]
const fn read(x: bf16) -> f32 {
    f32::from_bits((x.to_bits() as u32) << 16)
}

macro_rules! vector {
    ($float:ty, $stored:ty, $read:expr, $round:expr, $v:ident, $as_simd:ident, $as_mut_simd:ident, $splat:ident, $add:ident, $sub:ident, $mul_add:ident, $less:ident, $greater:ident, $select:ident, $sum:ident) => {
        impl Vector for $float {
            type Stored = $stored;
            type V<S: Simd> = S::$v;
            #[inline(always)]
            fn load<S: Simd>(s: S, pixel: &[$stored; LANES], v: usize) -> S::$v {
                let mut vector = s.$splat(0.0);
                let to: &mut [$float] = bytemuck::cast_slice_mut(std::slice::from_mut(&mut vector));
                let from = &pixel[v * to.len()..][..to.len()];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = $read(from));
                vector
            }
            #[inline(always)]
            fn store<S: Simd>(_: S, a: S::$v, pixel: &mut [$stored; LANES], v: usize) {
                let from: &[$float] = bytemuck::cast_slice(std::slice::from_ref(&a));
                let to = &mut pixel[v * from.len()..][..from.len()];
                to.iter_mut().zip(from).for_each(|(to, &from)| *to = $round(from));
            }
            #[inline(always)]
            fn vectors<S: Simd>(row: &[Self]) -> &[S::$v] {
                S::$as_simd(row).0
            }
            #[inline(always)]
            fn vectors_mut<S: Simd>(row: &mut [Self]) -> &mut [S::$v] {
                S::$as_mut_simd(row).0
            }
            #[inline(always)]
            fn splat<S: Simd>(s: S, x: Self) -> S::$v {
                s.$splat(x)
            }
            #[inline(always)]
            fn plus<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
                s.$add(a, b)
            }
            #[inline(always)]
            fn minus<S: Simd>(s: S, a: S::$v, b: S::$v) -> S::$v {
                s.$sub(a, b)
            }
            #[inline(always)]
            fn fused<S: Simd>(s: S, a: S::$v, b: S::$v, c: S::$v) -> S::$v {
                s.$mul_add(a, b, c)
            }
            #[inline(always)]
            fn relu<S: Simd>(s: S, a: S::$v) -> S::$v {
                let zero = s.$splat(0.0);
                s.$select(s.$less(a, zero), zero, a)
            }
            #[inline(always)]
            fn where_positive<S: Simd>(s: S, test: S::$v, a: S::$v) -> S::$v {
                let zero = s.$splat(0.0);
                s.$select(s.$greater(test, zero), a, zero)
            }
            #[inline(always)]
            fn total<S: Simd>(s: S, a: S::$v) -> Self {
                s.$sum(a)
            }
        }
    };
}

vector!(
    f32,
    bf16,
    read,
    round,
    f32s,
    as_simd_f32s,
    as_mut_simd_f32s,
    splat_f32s,
    add_f32s,
    sub_f32s,
    mul_add_e_f32s,
    less_than_f32s,
    greater_than_f32s,
    select_f32s,
    reduce_sum_f32s
);
vector!(
    f64,
    f64,
    std::convert::identity,
    std::convert::identity,
    f64s,
    as_simd_f64s,
    as_mut_simd_f64s,
    splat_f64s,
    add_f64s,
    sub_f64s,
    mul_add_e_f64s,
    less_than_f64s,
    greater_than_f64s,
    select_f64s,
    reduce_sum_f64s
);

/// Declares a function whose body is compiled for each instruction set and runs on the best that this CPU has. A closure would do, were it
/// not for the compiler, which may leave it as a call to code for the oldest.
macro_rules! vectorised {
    ($(#[$doc:meta])* fn $name:ident<$float:ident>($simd:ident, $($arg:ident: $type:ty),* $(,)?) $(-> $out:ty)? $body:block) => {
        $(#[$doc])*
        pub(super) fn $name<'a, $float: $crate::nn::Float>($($arg: $type),*) $(-> $out)? {
            struct Op<'a, $float: $crate::nn::Float> {
                $($arg: $type,)*
                lifetime: std::marker::PhantomData<&'a $float>,
            }
            impl<'a, $float: $crate::nn::Float> pulp::WithSimd for Op<'a, $float> {
                type Output = vectorised!(@output $($out)?);
                #[inline(always)]
                fn with_simd<S: pulp::Simd>(self, $simd: S) -> Self::Output {
                    let Self { $($arg,)* lifetime: _ } = self;
                    $body
                }
            }
            pulp::Arch::new().dispatch(Op { $($arg,)* lifetime: std::marker::PhantomData })
        }
    };
    (@output) => { () };
    (@output $out:ty) => { $out };
}
pub(super) use vectorised;
