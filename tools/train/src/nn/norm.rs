//! Batch normalisation over a batch, and its gradient.

use super::{Act, Float, Kind, Param, rows};
use rayon::prelude::*;

/// Added to the variance.
pub const EPSILON: f64 = 1e-5;
/// Share of a batch in the running statistics.
const MOMENTUM: f64 = 0.1;

/// Two sums for each channel, in double precision.
pub type Sums = Vec<[f64; 2]>;

/// Adds the sums of parts, in their order.
#[must_use]
pub fn add_sums(parts: impl IntoIterator<Item = Sums>) -> Sums {
    let mut parts = parts.into_iter();
    let mut total = parts.next().unwrap_or_default();
    for sums in parts {
        for (total, sum) in total.iter_mut().zip(sums) {
            total[0] += sum[0];
            total[1] += sum[1];
        }
    }
    total
}

/// `y = gamma (x - mean) / sqrt(variance + epsilon) + beta` for each channel.
#[derive(Clone, Debug)]
pub struct Norm<F> {
    /// Scale, `[c]`.
    pub gamma: Param<F>,
    /// Shift, `[c]`.
    pub beta: Param<F>,
    /// Running mean, for use after training, `[c]`.
    pub mean: Vec<F>,
    /// Running variance, `[c]`.
    pub variance: Vec<F>,
}

/// A norm with the statistics of a batch, or the running ones: `y = scale x + shift`.
#[derive(Clone, Debug)]
pub struct Affine<F> {
    /// Factor, `[c]`.
    pub scale: Vec<F>,
    /// Summand, `[c]`.
    pub shift: Vec<F>,
    /// Mean, `[c]`.
    pub mean: Vec<F>,
    /// `1 / sqrt(variance + epsilon)`, `[c]`.
    pub inv_std: Vec<F>,
}

impl<F: Float> Norm<F> {
    /// Scale 1, shift 0.
    #[must_use]
    pub fn new(name: &str, c: usize) -> Self {
        Self {
            gamma: Param::new(format!("{name}.gamma"), Kind::Offset, vec![F::one(); c]),
            beta: Param::new(format!("{name}.beta"), Kind::Offset, vec![F::zero(); c]),
            mean: vec![F::zero(); c],
            variance: vec![F::one(); c],
        }
    }

    /// The function `y = scale x + shift` after training, with made-up statistics.
    #[must_use]
    pub fn function(name: &str, scale: Vec<F>, shift: Vec<F>) -> Self {
        let mut norm = Self::new(name, scale.len());
        norm.variance.fill(F::of(1.0 - EPSILON));
        (norm.gamma.value, norm.beta.value) = (scale, shift);
        norm
    }

    /// From the sums of the values and of their squares over the batch; `count` values of each channel. Updates the running statistics.
    pub fn with_batch(&mut self, sums: &Sums, count: usize) -> Affine<F> {
        let n = count as f64;
        for (i, &channel) in sums.iter().enumerate() {
            let (mean, variance) = moments(channel, n);
            let towards = |old: F, new: f64| F::of(old.f64() + MOMENTUM * (new - old.f64()));
            self.mean[i] = towards(self.mean[i], mean);
            self.variance[i] = towards(self.variance[i], variance * n / (n - 1.0).max(1.0));
        }
        self.affine(sums.iter().map(|&channel| moments(channel, n)))
    }

    /// Takes the running statistics from the sums of values and of their squares, `count` of each channel, and the scale and shift with which it stays the
    /// function that it is after training.
    pub fn move_to(&mut self, sums: &Sums, count: usize) {
        let now = self.with_running();
        for (i, &channel) in sums.iter().enumerate() {
            let (mean, variance) = moments(channel, count as f64);
            let (scale, shift) = (now.scale[i].f64(), now.shift[i].f64());
            self.gamma.value[i] = F::of(scale * (variance + EPSILON).sqrt());
            self.beta.value[i] = F::of(shift + scale * mean);
            (self.mean[i], self.variance[i]) = (F::of(mean), F::of(variance));
        }
    }

    /// From the running statistics.
    #[must_use]
    pub fn with_running(&self) -> Affine<F> {
        self.affine(self.mean.iter().zip(&self.variance).map(|(mean, variance)| (mean.f64(), variance.f64())))
    }

    fn affine(&self, statistics: impl Iterator<Item = (f64, f64)>) -> Affine<F> {
        let c = self.mean.len();
        let with_room = || Vec::with_capacity(c);
        let mut affine = Affine { scale: with_room(), shift: with_room(), mean: with_room(), inv_std: with_room() };
        for (i, (mean, variance)) in statistics.enumerate() {
            let inv_std = 1.0 / (variance + EPSILON).sqrt();
            let scale = self.gamma.value[i].f64() * inv_std;
            affine.scale.push(F::of(scale));
            affine.shift.push(F::of(self.beta.value[i].f64() - scale * mean));
            affine.mean.push(F::of(mean));
            affine.inv_std.push(F::of(inv_std));
        }
        affine
    }

    /// The gradients of `gamma` and `beta` from the sums of `g` and of `g (x - mean)`, where `g` is the gradient of `y`; and for each channel
    /// `[a, b, c]`, so that `a g + b x + c` is the gradient of `x`.
    pub fn backward(&mut self, affine: &Affine<F>, sums: &Sums, count: usize) -> Vec<[F; 3]> {
        let n = count as f64;
        let coefficients = sums.iter().enumerate().map(|(i, &[sum, product])| {
            let (inv_std, mean) = (affine.inv_std[i].f64(), affine.mean[i].f64());
            self.beta.grad[i] = F::of(sum);
            self.gamma.grad[i] = F::of(product * inv_std);
            // dx = scale (g - mean of g - xhat * mean of (g xhat)), xhat = (x - mean) inv_std
            let scale = self.gamma.value[i].f64() * inv_std;
            let slope = -scale * inv_std * inv_std * product / n;
            [F::of(scale), F::of(slope), F::of(-scale * sum / n - slope * mean)]
        });
        coefficients.collect()
    }
}

/// Mean and variance of `n` values from their sum and that of their squares.
fn moments([sum, squares]: [f64; 2], n: f64) -> (f64, f64) {
    let mean = sum / n;
    (mean, (squares / n - mean * mean).max(0.0))
}

/// The sums that [`Norm::backward`] needs, for a gradient that is complete.
#[must_use]
pub(super) fn gradient_sums<F: Float>(g: &Act<F>, x: &Act<F>, affine: &Affine<F>) -> Sums {
    let plane = g.plane();
    let parts: Vec<Sums> = (g.parts.par_iter().zip(&x.parts))
        .map(|(g, x)| {
            let channels = g.chunks_exact(plane).zip(x.chunks_exact(plane)).zip(&affine.mean);
            channels.map(|((g, x), &mean)| rows::gradient_sums(g, x, mean)).collect()
        })
        .collect();
    add_sums(parts)
}
