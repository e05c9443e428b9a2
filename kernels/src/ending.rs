//! The epilogue as a type: the common ones have bodies of their own, without a jump for each vector and without the registers of the others.

use crate::{
    activation::{Epilogue, clamp},
    call::Planes,
    simd::Simd,
};

/// What happens to a vector of sums before it is stored.
pub(crate) trait Ending<S: Simd>: Copy {
    /// Whether it is the usual one, which is worth more code.
    const USUAL: bool;

    /// Of `x`, at `at` in output plane `plane`.
    ///
    /// # Safety
    /// The weights hold what the epilogue reads for that plane, and the residual's vector at that place lies in the arena.
    unsafe fn apply(self, s: S, x: S::V, plane: usize, at: usize) -> S::V;
}

/// Keeps to two bounds: [`crate::Activation::bounds`].
#[derive(Clone, Copy)]
pub(crate) struct Bounded(pub(crate) [f32; 2]);

impl<S: Simd> Ending<S> for Bounded {
    const USUAL: bool = true;

    #[inline(always)]
    unsafe fn apply(self, s: S, x: S::V, _: usize, _: usize) -> S::V {
        clamp(s, self.0, x)
    }
}

/// Any epilogue.
#[derive(Clone, Copy)]
pub(crate) struct Any<'a> {
    pub(crate) epilogue: &'a Epilogue,
    pub(crate) weights: *const f32,
    pub(crate) arena: *const f32,
}

impl<S: Simd> Ending<S> for Any<'_> {
    const USUAL: bool = false;

    #[inline(always)]
    unsafe fn apply(self, s: S, x: S::V, plane: usize, at: usize) -> S::V {
        // SAFETY: the caller's promise.
        unsafe {
            let x = self.epilogue.first.apply(s, x, plane, self.weights);
            let Some(residual) = self.epilogue.residual.as_ref().map(Planes::offsets) else { return x };
            let x = s.add(x, s.load(self.arena.add(residual[plane] as usize + at)));
            self.epilogue.last.apply(s, x, plane, self.weights)
        }
    }
}
