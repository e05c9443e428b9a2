//! What happens to a sum on its way from the registers to memory.

use crate::{call::Planes, simd::Simd};

/// An activation function.
#[derive(Clone, Copy, Debug, PartialEq, Default)]
pub enum Activation {
    /// `x`
    #[default]
    None,
    /// `max(lo, min(hi, x))`: `ReLU` with `hi` infinite, `ReLU6`.
    Clamp {
        /// Smallest output.
        lo: f32,
        /// Largest output.
        hi: f32,
    },
    /// `x` where positive, `slope * x` elsewhere.
    Leaky {
        /// Factor of negative values.
        slope: f32,
    },
    /// `Leaky` with a slope for each output plane.
    PRelu {
        /// Where the slopes start in the weights, one for each output plane of the call.
        slopes: u32,
    },
    /// `max(0, min(1, alpha * x + beta))`
    HardSigmoid {
        /// Slope.
        alpha: f32,
        /// Value at zero.
        beta: f32,
    },
    /// `x * max(0, min(1, x / 6 + 1/2))`
    HardSwish,
    /// `1 / (1 + exp(-x))`
    Sigmoid,
    /// `x * sigmoid(x)`
    Silu,
}

impl Activation {
    /// `max(0, x)`
    pub const RELU: Self = Self::Clamp { lo: 0.0, hi: f32::INFINITY };
    /// `max(0, min(6, x))`
    pub const RELU6: Self = Self::Clamp { lo: 0.0, hi: 6.0 };

    /// Plain arithmetic, in f64: the reference that kernels are held to. `slope` is the plane's own, for [`Activation::PRelu`].
    #[must_use]
    pub fn reference(self, x: f64, slope: f32) -> f64 {
        let leaky = |slope: f32| if x > 0.0 { x } else { f64::from(slope) * x };
        let sigmoid = 1.0 / (1.0 + (-x).exp());
        match self {
            Self::None => x,
            Self::Clamp { lo, hi } => x.max(lo.into()).min(hi.into()),
            Self::Leaky { slope } => leaky(slope),
            Self::PRelu { .. } => leaky(slope),
            Self::HardSigmoid { alpha, beta } => (f64::from(alpha) * x + f64::from(beta)).clamp(0.0, 1.0),
            Self::HardSwish => x * (x / 6.0 + 0.5).clamp(0.0, 1.0),
            Self::Sigmoid => sigmoid,
            Self::Silu => x * sigmoid,
        }
    }

    /// The smallest and the largest output, if all it does is to keep to them.
    #[inline(always)]
    pub(crate) const fn bounds(self) -> Option<[f32; 2]> {
        match self {
            Self::None => Some([f32::NEG_INFINITY, f32::INFINITY]),
            Self::Clamp { lo, hi } => Some([lo, hi]),
            _ => None,
        }
    }

    /// Of `x`, in output plane `plane` of the call.
    ///
    /// # Safety
    /// `weights` holds the slopes of [`Activation::PRelu`] up to `plane`.
    #[inline(always)]
    pub(crate) unsafe fn apply<S: Simd>(self, s: S, x: S::V, plane: usize, weights: *const f32) -> S::V {
        match self {
            Self::None => x,
            Self::Clamp { lo, hi } => clamp(s, [lo, hi], x),
            Self::Leaky { slope } => leaky(s, slope, x),
            // SAFETY: the caller's promise.
            Self::PRelu { slopes } => leaky(s, unsafe { *weights.add(slopes as usize + plane) }, x),
            Self::HardSigmoid { alpha, beta } => clamp(s, [0.0, 1.0], s.fma(x, s.splat(alpha), s.splat(beta))),
            Self::HardSwish => s.mul(x, clamp(s, [0.0, 1.0], s.fma(x, s.splat(1.0 / 6.0), s.splat(0.5)))),
            Self::Sigmoid => sigmoid(s, x),
            Self::Silu => s.mul(x, sigmoid(s, x)),
        }
    }

    /// How many floats of the weights it reads for `planes` output planes: the end of the slopes, or nothing.
    pub(crate) const fn weights_end(self, planes: usize) -> u64 {
        match self {
            Self::PRelu { slopes } => slopes as u64 + planes as u64,
            _ => 0,
        }
    }
}

// Functions, not closures: a closure that is called more than once may stay a function of its own, without the features of its caller, in which each
// operation is a call.

/// `x` kept between two bounds; not a number stays what it is.
#[inline(always)]
pub(crate) fn clamp<S: Simd>(s: S, [lo, hi]: [f32; 2], x: S::V) -> S::V {
    s.min(s.splat(hi), s.max(s.splat(lo), x))
}

#[inline(always)]
fn leaky<S: Simd>(s: S, slope: f32, x: S::V) -> S::V {
    s.fma(s.min(x, s.splat(0.0)), s.splat(slope), s.max(x, s.splat(0.0)))
}

#[inline(always)]
fn sigmoid<S: Simd>(s: S, x: S::V) -> S::V {
    let e = s.exp(s.sub(s.splat(0.0), x));
    s.div(s.splat(1.0), s.add(s.splat(1.0), e))
}

/// Applied to each output before it is stored: `last(first(x) + residual)`.
#[derive(Clone, Debug, Default)]
pub struct Epilogue {
    /// Applied first.
    pub first: Activation,
    /// Added then: a plane for each output plane, addressed like it.
    pub residual: Option<Planes>,
    /// Applied last.
    pub last: Activation,
}

impl Epilogue {
    /// Only an activation.
    #[must_use]
    pub const fn activation(first: Activation) -> Self {
        Self { first, residual: None, last: Activation::None }
    }

    /// Plain arithmetic, in f64: the value stored for the sum `x` of output plane `plane`, and a bound of its magnitude given that of `x`.
    ///
    /// # Panics
    /// If the slopes lie outside `weights`.
    #[must_use]
    pub fn reference(
        &self,
        x: f64,
        magnitude: f64,
        plane: usize,
        residual: Option<f64>,
        weights: &[f32],
    ) -> (f64, f64) {
        let slope = |activation| match activation {
            Activation::PRelu { slopes } => weights[slopes as usize + plane],
            _ => 0.0,
        };
        let y = self.first.reference(x, slope(self.first));
        match residual {
            None => (y, magnitude.max(y.abs())),
            Some(r) => {
                let z = self.last.reference(y + r, slope(self.last));
                (z, (magnitude.max(y.abs()) + r.abs()).max(z.abs()))
            }
        }
    }

    /// See [`Activation::weights_end`].
    pub(crate) fn weights_end(&self, planes: usize) -> u64 {
        self.first.weights_end(planes).max(self.last.weights_end(planes))
    }
}
