//! Every variant of the softmax family against the naive one.

mod common;

use common::*;
use flgc_kernels::softmax::{self, Call, Spec, reference};
use proptest::prelude::*;

fn check(kernel: &'static softmax::Kernel, pixels: usize, rows: usize, n: usize, scale: f32, seed: u64) {
    let what = format!("{}, {rows} rows of {n}, {pixels} pixels", kernel.name);
    let mut random = Random(seed);
    let pitch = pixels + 1;
    let mut places: Vec<u32> = (0..2 * rows * n).map(|i| (i * pitch) as u32).collect();
    random.shuffle(&mut places);
    let (x, y) = places.split_at(rows * n);
    let before: Vec<f32> = random.floats(places.len() * pitch).iter().map(|x| scale * x).collect();
    let spec = Spec { pixels, n, x: x.into(), y };
    let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights(&[]), &before);

    let places = y.iter().flat_map(|&plane| plane as usize..plane as usize + pixels);
    for (place, expected) in places.clone().zip(reference::run(&spec, &before)) {
        assert_close(after[place], expected, n, &what);
    }
    assert_untouched(&before, &after, places.map(|place| place..place + 1), &what);
}

proptest! {
    #[test]
    fn every_variant_matches_the_reference(
        vectors in 0usize..4,
        rows in 0usize..4,
        n in 1usize..40,
        scale in 0.1f32..40.0,
        seed: u64,
    ) {
        each(softmax::available(), |kernel| {
            let pixels = if vectors == 0 { 1 } else { vectors * kernel.isa.lanes() };
            check(kernel, pixels, rows, n, scale, seed);
        });
    }
}

#[test]
fn large_inputs_neither_overflow_nor_vanish() {
    each(softmax::available(), |kernel| {
        for pixels in [1, kernel.isa.lanes()] {
            let before = [1e30f32, -1e30, 1e30, 0.0].map(|x| vec![x; pixels]).concat();
            let planes: Vec<u32> = (0..8).map(|i| i * pixels as u32).collect();
            let spec = Spec { pixels, n: 4, x: planes[..4].into(), y: &planes[4..] };
            let before = [before, vec![0.0; 4 * pixels]].concat();
            let after = run(Call::new(kernel, spec).unwrap(), &weights(&[]), &before);
            let y: Vec<f32> = planes[4..].iter().map(|&plane| after[plane as usize]).collect();
            assert_eq!((y[0], y[2]), (0.5, 0.5));
            assert!(y[1] < 1e-37 && y[3] < 1e-37);
        }
    });
}

#[test]
fn wrong_shapes_are_refused() {
    each(softmax::available(), |kernel| {
        let spec = |pixels, n, x: &[u32], y| Call::new(kernel, Spec { pixels, n, x: x.into(), y });
        assert!(spec(kernel.isa.lanes(), 1, &[0], &[16]).is_ok());
        assert!(spec(1, 2, &[0, 1], &[2, 3]).is_ok());
        assert!(spec(2, 1, &[0], &[16]).is_err());
        assert!(spec(1, 0, &[], &[]).is_err());
        assert!(spec(1, 2, &[0, 1, 2], &[3, 4, 5]).is_err());
        assert!(spec(1, 1, &[0, 1], &[2]).is_err());
    });
}
