//! Loops over rows of numbers. Sums are in double precision from one row to the next.

use super::simd::vectorised;

vectorised! {
    /// `y = scale x + shift`
    fn affine<F>(s, x: &'a [F], scale: F, shift: F, y: &'a mut [F]) {
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (y, &x) in F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(x)) {
            *y = F::fused(s, x, scale, shift);
        }
    }
}

vectorised! {
    /// `y = max(0, scale x + shift)`
    fn affine_relu<F>(s, x: &'a [F], scale: F, shift: F, y: &'a mut [F]) {
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (y, &x) in F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(x)) {
            *y = F::relu(s, F::fused(s, x, scale, shift));
        }
    }
}

vectorised! {
    /// `y += scale x + shift`
    fn affine_add<F>(s, x: &'a [F], scale: F, shift: F, y: &'a mut [F]) {
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (y, &x) in F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(x)) {
            *y = F::plus(s, *y, F::fused(s, x, scale, shift));
        }
    }
}

vectorised! {
    /// `y += x`
    fn add<F>(s, x: &'a [F], y: &'a mut [F]) {
        for (y, &x) in F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(x)) {
            *y = F::plus(s, *y, x);
        }
    }
}

vectorised! {
    /// `y = a g + b x + c`
    fn combine<F>(s, g: &'a [F], x: &'a [F], factors: [F; 3], y: &'a mut [F]) {
        let [a, b, c] = factors.map(|factor| F::splat(s, factor));
        let rows = F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(g)).zip(F::vectors::<S>(x));
        for ((y, &g), &x) in rows {
            *y = F::fused(s, a, g, F::fused(s, b, x, c));
        }
    }
}

vectorised! {
    /// Copies `x` to `y`; returns its sum and that of its squares.
    fn copy_with_moments<F>(s, x: &'a [F], y: &'a mut [F]) -> [f64; 2] {
        let (mut sum, mut squares) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        for (y, &x) in F::vectors_mut::<S>(y).iter_mut().zip(F::vectors::<S>(x)) {
            *y = x;
            sum = F::plus(s, sum, x);
            squares = F::fused(s, x, x, squares);
        }
        [F::total(s, sum).f64(), F::total(s, squares).f64()]
    }
}

vectorised! {
    /// Sum of `x` and of its squares.
    fn moments<F>(s, x: &'a [F]) -> [f64; 2] {
        let (mut sum, mut squares) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        for &x in F::vectors::<S>(x) {
            sum = F::plus(s, sum, x);
            squares = F::fused(s, x, x, squares);
        }
        [F::total(s, sum).f64(), F::total(s, squares).f64()]
    }
}

vectorised! {
    /// Sum of `g`, and of `g (x - mean)`.
    fn gradient_sums<F>(s, g: &'a [F], x: &'a [F], mean: F) -> [f64; 2] {
        let (mut sum, mut product) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        let mean = F::splat(s, mean);
        for (&g, &x) in F::vectors::<S>(g).iter().zip(F::vectors::<S>(x)) {
            sum = F::plus(s, sum, g);
            product = F::fused(s, g, F::minus(s, x, mean), product);
        }
        [F::total(s, sum).f64(), F::total(s, product).f64()]
    }
}

vectorised! {
    /// `g = d` where `a` is positive, else 0: the gradient before a ReLU that gave `a`. Returns the sums of [`gradient_sums`].
    fn relu_gradient<F>(s, d: &'a [F], a: &'a [F], x: &'a [F], mean: F, g: &'a mut [F]) -> [f64; 2] {
        let (mut sum, mut product) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        let mean = F::splat(s, mean);
        let rows = F::vectors_mut::<S>(g).iter_mut().zip(F::vectors::<S>(d)).zip(F::vectors::<S>(a)).zip(F::vectors::<S>(x));
        for (((g, &d), &a), &x) in rows {
            let value = F::where_positive(s, a, d);
            *g = value;
            sum = F::plus(s, sum, value);
            product = F::fused(s, value, F::minus(s, x, mean), product);
        }
        [F::total(s, sum).f64(), F::total(s, product).f64()]
    }
}

vectorised! {
    /// As [`relu_gradient`], in place.
    fn relu_gradient_in_place<F>(s, g: &'a mut [F], a: &'a [F], x: &'a [F], mean: F) -> [f64; 2] {
        let (mut sum, mut product) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        let mean = F::splat(s, mean);
        for ((g, &a), &x) in F::vectors_mut::<S>(g).iter_mut().zip(F::vectors::<S>(a)).zip(F::vectors::<S>(x)) {
            let value = F::where_positive(s, a, *g);
            *g = value;
            sum = F::plus(s, sum, value);
            product = F::fused(s, value, F::minus(s, x, mean), product);
        }
        [F::total(s, sum).f64(), F::total(s, product).f64()]
    }
}
