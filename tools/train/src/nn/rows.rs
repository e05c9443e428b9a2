//! Loops over rows of numbers, whole pixels of [`LANES`](super::LANES). Numbers of activations are read from their stored form and rounded to it when they are
//! written; all arithmetic is in the float type, sums are in double precision from one row to the next.

use super::simd::vectorised;

vectorised! {
    /// `y = x`
    fn read<F>(s, x: &'a [F::Stored], y: &'a mut [F]) {
        let n = F::per_pixel::<S>();
        for (x, y) in x.as_chunks().0.iter().zip(F::vectors_mut::<S>(y).chunks_exact_mut(n)) {
            y.iter_mut().enumerate().for_each(|(v, y)| *y = F::load(s, x, v));
        }
    }
}

vectorised! {
    /// `y = x`
    fn round<F>(s, x: &'a [F], y: &'a mut [F::Stored]) {
        let n = F::per_pixel::<S>();
        for (x, y) in F::vectors::<S>(x).chunks_exact(n).zip(y.as_chunks_mut().0) {
            x.iter().enumerate().for_each(|(v, &x)| F::store(s, x, y, v));
        }
    }
}

vectorised! {
    /// `y = scale x + shift`
    fn affine<F>(s, x: &'a [F::Stored], scale: F, shift: F, y: &'a mut [F]) {
        let n = F::per_pixel::<S>();
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (x, y) in x.as_chunks().0.iter().zip(F::vectors_mut::<S>(y).chunks_exact_mut(n)) {
            for (v, y) in y.iter_mut().enumerate() {
                *y = F::fused(s, F::load(s, x, v), scale, shift);
            }
        }
    }
}

vectorised! {
    /// `y = max(0, scale x + shift)`
    fn affine_relu<F>(s, x: &'a [F::Stored], scale: F, shift: F, y: &'a mut [F]) {
        let n = F::per_pixel::<S>();
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (x, y) in x.as_chunks().0.iter().zip(F::vectors_mut::<S>(y).chunks_exact_mut(n)) {
            for (v, y) in y.iter_mut().enumerate() {
                *y = F::relu(s, F::fused(s, F::load(s, x, v), scale, shift));
            }
        }
    }
}

vectorised! {
    /// `y += scale x + shift`
    fn affine_add<F>(s, x: &'a [F::Stored], scale: F, shift: F, y: &'a mut [F]) {
        let n = F::per_pixel::<S>();
        let (scale, shift) = (F::splat(s, scale), F::splat(s, shift));
        for (x, y) in x.as_chunks().0.iter().zip(F::vectors_mut::<S>(y).chunks_exact_mut(n)) {
            for (v, y) in y.iter_mut().enumerate() {
                *y = F::plus(s, *y, F::fused(s, F::load(s, x, v), scale, shift));
            }
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
    /// `y += x`
    fn add_to_stored<F>(s, x: &'a [F], y: &'a mut [F::Stored]) {
        let n = F::per_pixel::<S>();
        for (x, y) in F::vectors::<S>(x).chunks_exact(n).zip(y.as_chunks_mut().0) {
            for (v, &x) in x.iter().enumerate() {
                let sum = F::plus(s, F::load(s, y, v), x);
                F::store(s, sum, y, v);
            }
        }
    }
}

vectorised! {
    /// `y = a g + b x + c`
    fn combine<F>(s, g: &'a [F::Stored], x: &'a [F::Stored], factors: [F; 3], y: &'a mut [F]) {
        let n = F::per_pixel::<S>();
        let [a, b, c] = factors.map(|factor| F::splat(s, factor));
        let rows = g.as_chunks().0.iter().zip(x.as_chunks().0).zip(F::vectors_mut::<S>(y).chunks_exact_mut(n));
        for ((g, x), y) in rows {
            for (v, y) in y.iter_mut().enumerate() {
                *y = F::fused(s, a, F::load(s, g, v), F::fused(s, b, F::load(s, x, v), c));
            }
        }
    }
}

vectorised! {
    /// `y = x`, rounded; returns the sum of `y` and that of its squares: statistics belong to what is stored, or a channel that hardly varies would be off by its rounding.
    fn round_with_moments<F>(s, x: &'a [F], y: &'a mut [F::Stored]) -> [f64; 2] {
        let n = F::per_pixel::<S>();
        let (mut sum, mut squares) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        for (x, y) in F::vectors::<S>(x).chunks_exact(n).zip(y.as_chunks_mut().0) {
            for (v, &x) in x.iter().enumerate() {
                F::store(s, x, y, v);
                let y = F::load(s, y, v);
                sum = F::plus(s, sum, y);
                squares = F::fused(s, y, y, squares);
            }
        }
        [F::total(s, sum).f64(), F::total(s, squares).f64()]
    }
}

vectorised! {
    /// Sum of `g`, and of `g (x - mean)`.
    fn gradient_sums<F>(s, g: &'a [F::Stored], x: &'a [F::Stored], mean: F) -> [f64; 2] {
        let (mut sum, mut product) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        let mean = F::splat(s, mean);
        for (g, x) in g.as_chunks().0.iter().zip(x.as_chunks().0) {
            for v in 0..F::per_pixel::<S>() {
                let g = F::load(s, g, v);
                sum = F::plus(s, sum, g);
                product = F::fused(s, g, F::minus(s, F::load(s, x, v), mean), product);
            }
        }
        [F::total(s, sum).f64(), F::total(s, product).f64()]
    }
}

vectorised! {
    /// `g = d` where `a` is positive, else 0: the gradient before a ReLU that gave `a`. Returns the sums of [`gradient_sums`].
    fn relu_gradient<F>(s, d: &'a [F], a: &'a [F], x: &'a [F::Stored], mean: F, g: &'a mut [F::Stored]) -> [f64; 2] {
        let n = F::per_pixel::<S>();
        let (mut sum, mut product) = (F::splat(s, F::zero()), F::splat(s, F::zero()));
        let mean = F::splat(s, mean);
        let read = F::vectors::<S>(d).chunks_exact(n).zip(F::vectors::<S>(a).chunks_exact(n)).zip(x.as_chunks().0);
        for (((d, a), x), g) in read.zip(g.as_chunks_mut().0) {
            for (v, (&d, &a)) in d.iter().zip(a).enumerate() {
                F::store(s, F::where_positive(s, a, d), g, v);
                let g = F::load(s, g, v);
                sum = F::plus(s, sum, g);
                product = F::fused(s, g, F::minus(s, F::load(s, x, v), mean), product);
            }
        }
        [F::total(s, sum).f64(), F::total(s, product).f64()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::LANES;
    use half::bf16;
    use proptest::prelude::*;

    fn stored(bits: &[u16]) -> Vec<bf16> {
        // Finite ones of moderate size, so that no product is infinite.
        bits.iter().map(|&bits| bf16::from_bits(bits & 0x83ff | 0x3c00)).collect()
    }

    fn floats(stored: &[bf16]) -> Vec<f32> {
        stored.iter().map(|x| x.to_f32()).collect()
    }

    fn close(found: f32, expected: f64, scale: f64) -> bool {
        (f64::from(found) - expected).abs() <= 1e-6 * scale
    }

    #[test]
    fn numbers_are_rounded_to_the_nearest_even() {
        let mut x: Vec<f32> = (0..64 * LANES as u32).map(|i| f32::from_bits(i.wrapping_mul(0x9e37_79b9))).collect();
        x.retain(|x| !x.is_nan());
        x.truncate(48 * LANES - 4);
        x.extend([f32::INFINITY, f32::NEG_INFINITY, f32::from_bits(0x3f80_8000), f32::from_bits(0x3f81_8000)]);
        let mut y = vec![bf16::ZERO; x.len()];
        round(&x, &mut y);
        let expected: Vec<bf16> = x.iter().map(|&x| bf16::from_f32(x)).collect();
        assert_eq!(y, expected);
        round(&[f32::INFINITY - f32::INFINITY; LANES], &mut y[..LANES]);
        assert!(y[..LANES].iter().all(|y| y.is_nan()), "NaN stays NaN");
    }

    #[test]
    fn statistics_are_those_of_what_is_stored() {
        let x = [1.003_f32; 8 * LANES];
        let mut y = [bf16::ZERO; 8 * LANES];
        let [sum, squares] = round_with_moments(&x, &mut y);
        let stored = f64::from(y[0].to_f32());
        assert_ne!(stored, f64::from(x[0]));
        assert_eq!([sum, squares], [stored, stored * stored].map(|value| value * y.len() as f64));
        let [sum, product] = relu_gradient(&x, &x, &y, 0.5, &mut y.clone());
        assert_eq!([sum, product], [stored, stored * (stored - 0.5)].map(|value| value * y.len() as f64));
    }

    proptest! {
        #[test]
        fn rows_of_stored_numbers_are_computed_in_single_precision(
            pixels in 1..5usize,
            bits in prop::collection::vec(any::<u16>(), 3 * 4 * LANES),
            [a, b, c] in prop::array::uniform3(-2.0f32..2.0),
        ) {
            let n = pixels * LANES;
            let [g, x, z] = [0, 1, 2].map(|i| stored(&bits[i * 4 * LANES..][..n]));
            let [gf, xf, zf] = [&g, &x, &z].map(|list| floats(list));
            let wide = |x: f32| f64::from(x);
            let mut y = vec![0.0f32; n];
            read(&x, &mut y);
            prop_assert_eq!(&y, &xf);
            affine(&x, a, b, &mut y);
            for (&y, &x) in y.iter().zip(&xf) {
                prop_assert!(close(y, wide(a) * wide(x) + wide(b), 8.0));
            }
            affine_relu(&x, a, b, &mut y);
            for (&y, &x) in y.iter().zip(&xf) {
                prop_assert!(close(y, (wide(a) * wide(x) + wide(b)).max(0.0), 8.0));
            }
            y.clone_from(&gf);
            affine_add(&x, a, b, &mut y);
            for ((&y, &x), &g) in y.iter().zip(&xf).zip(&gf) {
                prop_assert!(close(y, wide(a) * wide(x) + wide(b) + wide(g), 8.0));
            }
            combine(&g, &x, [a, b, c], &mut y);
            for ((&y, &x), &g) in y.iter().zip(&xf).zip(&gf) {
                prop_assert!(close(y, wide(a) * wide(g) + wide(b) * wide(x) + wide(c), 8.0));
            }
            let mut sum = g.clone();
            add_to_stored(&xf, &mut sum);
            for (i, sum) in sum.iter().enumerate() {
                prop_assert_eq!(*sum, bf16::from_f32(gf[i] + xf[i]));
            }
            let scale = 8.0 * n as f64;
            let mut out = vec![bf16::ZERO; n];
            let [total, squares] = round_with_moments(&xf, &mut out);
            prop_assert_eq!(&out, &x);
            prop_assert!(close(total as f32, xf.iter().map(|&x| wide(x)).sum(), scale));
            prop_assert!(close(squares as f32, xf.iter().map(|&x| wide(x) * wide(x)).sum(), scale));
            let product = |g: &[f32]| g.iter().zip(&xf).map(|(&g, &x)| wide(g) * (wide(x) - wide(a))).sum::<f64>();
            let [total, products] = gradient_sums(&g, &x, a);
            prop_assert!(close(total as f32, gf.iter().map(|&g| wide(g)).sum(), scale));
            prop_assert!(close(products as f32, product(&gf), scale));
            // Where z is positive.
            let [total, products] = relu_gradient(&gf, &zf, &x, a, &mut out);
            let kept: Vec<f32> = gf.iter().zip(&zf).map(|(&g, &z)| if z > 0.0 { g } else { 0.0 }).collect();
            prop_assert_eq!(&floats(&out), &kept);
            prop_assert!(close(total as f32, kept.iter().map(|&g| wide(g)).sum(), scale));
            prop_assert!(close(products as f32, product(&kept), scale));
        }
    }
}
