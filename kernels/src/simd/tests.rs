//! Every operation of every vector type that this CPU has, lane by lane, against plain floats.

use super::*;

fn check<S: Simd>(s: S) {
    let n = S::LANES;
    let a: Vec<f32> = (0..2 * n).map(|i| 0.5 + i as f32 * 0.37).collect();
    let b: Vec<f32> = (0..2 * n).map(|i| 3.25 - i as f32 * 0.61).collect();
    // SAFETY: both hold 2 * LANES floats.
    let (va, vb) = unsafe { (s.load(a.as_ptr()), s.load(b.as_ptr())) };
    let equal = |v: S::V, f: &dyn Fn(usize) -> f32, what: &str| {
        for (lane, &x) in s.to_array(v).iter().take(n).enumerate() {
            assert_eq!(x, f(lane), "{what}, lane {lane} of {n}");
        }
    };
    equal(s.splat(2.5), &|_| 2.5, "splat");
    equal(s.add(va, vb), &|i| a[i] + b[i], "add");
    equal(s.sub(va, vb), &|i| a[i] - b[i], "sub");
    equal(s.mul(va, vb), &|i| a[i] * b[i], "mul");
    equal(s.div(va, vb), &|i| a[i] / b[i], "div");
    equal(s.min(va, vb), &|i| a[i].min(b[i]), "min");
    equal(s.max(va, vb), &|i| a[i].max(b[i]), "max");
    equal(s.round(vb), &|i| b[i].round_ties_even(), "round");
    equal(s.pow2(s.round(vb)), &|i| b[i].round_ties_even().exp2(), "pow2");
    for (lane, &x) in s.to_array(s.fma(va, vb, s.splat(0.1))).iter().take(n).enumerate() {
        let exact = f64::from(a[lane]) * f64::from(b[lane]) + f64::from(0.1f32);
        assert!((f64::from(x) - exact).abs() < 2e-6, "fma, lane {lane}");
    }
    if n > 1 {
        // SAFETY: `a` holds 2 * LANES floats.
        let (even, odd) = unsafe { s.unzip(s.load(a.as_ptr()), s.load(a.as_ptr().add(n))) };
        equal(even, &|i| a[2 * i], "unzip, even");
        equal(odd, &|i| a[2 * i + 1], "unzip, odd");
        // SAFETY: as above.
        equal(unsafe { s.load_even(a.as_ptr()) }, &|i| a[2 * i], "load_even");
        // SAFETY: as above.
        equal(s.in_order(unsafe { s.load_even_mixed(a.as_ptr()) }), &|i| a[2 * i], "load_even_mixed");
    }
    let (even, odd) = s.unzip_mixed(va, vb);
    let mut lanes = [s.to_array(even)[..n].to_vec(), s.to_array(odd)[..n].to_vec()].concat();
    lanes.sort_by(f32::total_cmp);
    let mut all = [&a[..n], &b[..n]].concat();
    all.sort_by(f32::total_cmp);
    assert_eq!(lanes, all, "unzip_mixed");
    let (first, second) = s.zip_mixed(even, odd);
    equal(first, &|i| a[i], "zip_mixed, first");
    equal(second, &|i| b[i], "zip_mixed, second");
    // SAFETY: as above.
    equal(unsafe { s.load_strided(a.as_ptr(), 2) }, &|i| a[2 * i], "load_strided");
    let down = s.to_array(s.down(va));
    assert_eq!(down[..n - 1], a[1..n], "down");
    let last = n as isize;
    for begin in -1..=last + 1 {
        for end in -1..=last + 1 {
            // SAFETY: as above.
            let v = unsafe { s.load_masked(a.as_ptr(), s.mask(begin, end)) };
            let inside = |i: usize| (begin..end).contains(&(i as isize));
            equal(v, &|i| if inside(i) { a[i] } else { 0.0 }, &format!("mask {begin}..{end}"));
            let v = s.keep(va, s.mask(begin, end));
            equal(v, &|i| if inside(i) { a[i] } else { 0.0 }, &format!("keep {begin}..{end}"));
        }
    }
    for begin in 0..n {
        for end in begin + 1..=n {
            let mut there = vec![-1.0; n];
            // SAFETY: the lanes lie in the list.
            unsafe { s.store_lanes(there.as_mut_ptr(), begin..end, va) }
            let inside = |i: usize| (begin..end).contains(&i);
            let expected: Vec<f32> = (0..n).map(|i| if inside(i) { a[i] } else { -1.0 }).collect();
            assert_eq!(there, expected, "store_lanes {begin}..{end}");
        }
    }
    for begin in 0..=n {
        for end in begin..=n {
            let without = s.to_array(s.without(va, begin..end));
            let expected: Vec<f32> = [&a[..begin], &a[end..n]].concat();
            assert_eq!(without[..expected.len()], expected, "without {begin}..{end}");
        }
    }
    for step in -1746..=1767 {
        let x = step as f32 * 0.05;
        let (got, exact) = (f64::from(s.to_array(s.exp(s.splat(x)))[0]), f64::from(x).exp());
        assert!((got - exact).abs() <= exact * 3e-7 + 1.2e-38, "exp({x}) is {got}, not {exact}");
    }
}

#[test]
fn portable_lanes_match_plain_floats() {
    check(Portable);
    check(Scalar);
}

#[cfg(target_arch = "x86_64")]
#[test]
fn x86_lanes_match_plain_floats() {
    #[target_feature(enable = "avx2,fma")]
    fn avx2() {
        // SAFETY: the features are enabled here.
        check(unsafe { Avx2::assume() });
    }
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn avx512() {
        // SAFETY: the features are enabled here.
        check(unsafe { Avx512::assume() });
    }
    for isa in [crate::Isa::Avx2, crate::Isa::Avx512] {
        if !isa.is_available() {
            eprintln!("not tested: this CPU has no {isa}");
            continue;
        }
        // SAFETY: `is_available` found the features.
        unsafe { if isa == crate::Isa::Avx2 { avx2() } else { avx512() } }
    }
}
