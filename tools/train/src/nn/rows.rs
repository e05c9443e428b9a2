//! Loops over rows of numbers, compiled for the instruction sets that the CPU may have.
//!
//! Rows are whole numbers of lanes. Sums run over [`LANES`] running sums that are added in order at the end, in double precision.

use super::{Float, LANES};
use pulp::Arch;

type Lanes<F> = [F; LANES];

fn lanes<F>(row: &[F]) -> &[Lanes<F>] {
    row.as_chunks().0
}

fn lanes_mut<F>(row: &mut [F]) -> &mut [Lanes<F>] {
    row.as_chunks_mut().0
}

fn total<F: Float>(sums: Lanes<F>) -> f64 {
    sums.iter().map(|sum| sum.f64()).sum()
}

/// `y = scale x + shift`, and `max(0, y)` with `relu`.
pub(super) fn affine<F: Float>(x: &[F], scale: F, shift: F, relu: bool, y: &mut [F]) {
    let (x, y) = (lanes(x), lanes_mut(y));
    Arch::new().dispatch(|| {
        if relu {
            for (y, x) in y.iter_mut().zip(x) {
                for l in 0..LANES {
                    let value = x[l] * scale + shift;
                    // NaN stays NaN: training must see it.
                    y[l] = if value < F::zero() { F::zero() } else { value };
                }
            }
        } else {
            for (y, x) in y.iter_mut().zip(x) {
                for l in 0..LANES {
                    y[l] = x[l] * scale + shift;
                }
            }
        }
    });
}

/// `y += scale x + shift`
pub(super) fn affine_add<F: Float>(x: &[F], scale: F, shift: F, y: &mut [F]) {
    let (x, y) = (lanes(x), lanes_mut(y));
    Arch::new().dispatch(|| {
        for (y, x) in y.iter_mut().zip(x) {
            for l in 0..LANES {
                y[l] += x[l] * scale + shift;
            }
        }
    });
}

/// `y += x`
pub(super) fn add<F: Float>(x: &[F], y: &mut [F]) {
    let (x, y) = (lanes(x), lanes_mut(y));
    Arch::new().dispatch(|| {
        for (y, x) in y.iter_mut().zip(x) {
            for l in 0..LANES {
                y[l] += x[l];
            }
        }
    });
}

/// `a g + b x + c`
pub(super) fn combine<F: Float>(g: &[F], x: &[F], [a, b, c]: [F; 3], y: &mut [F]) {
    let (g, x, y) = (lanes(g), lanes(x), lanes_mut(y));
    Arch::new().dispatch(|| {
        for ((y, g), x) in y.iter_mut().zip(g).zip(x) {
            for l in 0..LANES {
                y[l] = a * g[l] + (b * x[l] + c);
            }
        }
    });
}

/// Sum of `x` and of its squares.
pub(super) fn moments<F: Float>(x: &[F]) -> [f64; 2] {
    let x = lanes(x);
    Arch::new().dispatch(|| {
        let (mut sum, mut squares) = ([F::zero(); LANES], [F::zero(); LANES]);
        for x in x {
            for l in 0..LANES {
                sum[l] += x[l];
                squares[l] += x[l] * x[l];
            }
        }
        [total(sum), total(squares)]
    })
}

/// Sum of `g`, and of `g (x - mean)`.
pub(super) fn gradient_sums<F: Float>(g: &[F], x: &[F], mean: F) -> [f64; 2] {
    let (g, x) = (lanes(g), lanes(x));
    Arch::new().dispatch(|| {
        let (mut sum, mut product) = ([F::zero(); LANES], [F::zero(); LANES]);
        for (g, x) in g.iter().zip(x) {
            for l in 0..LANES {
                sum[l] += g[l];
                product[l] += g[l] * (x[l] - mean);
            }
        }
        [total(sum), total(product)]
    })
}

/// `g = d` where `a` is positive, else 0: the gradient before a ReLU that gave `a`. Returns the sums of [`gradient_sums`].
pub(super) fn relu_gradient<F: Float>(d: &[F], a: &[F], x: &[F], mean: F, g: &mut [F]) -> [f64; 2] {
    let (d, a, x, g) = (lanes(d), lanes(a), lanes(x), lanes_mut(g));
    Arch::new().dispatch(|| {
        let (mut sum, mut product) = ([F::zero(); LANES], [F::zero(); LANES]);
        for (((g, d), a), x) in g.iter_mut().zip(d).zip(a).zip(x) {
            for l in 0..LANES {
                let value = if a[l] > F::zero() { d[l] } else { F::zero() };
                g[l] = value;
                sum[l] += value;
                product[l] += value * (x[l] - mean);
            }
        }
        [total(sum), total(product)]
    })
}
