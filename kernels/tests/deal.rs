//! Every variant of the deal family against a plain loop.

mod common;

use common::*;
use flgc_kernels::{
    CallSet, Planes,
    deal::{self, Call, Spec},
};
use proptest::prelude::*;

proptest! {
    #[test]
    fn every_variant_copies_the_right_columns(
        planes in 0usize..5, rows in 1usize..6, columns in 1usize..70, stride in 1usize..5, gaps in (0usize..4, 0usize..4, 0usize..4), seed: u64,
    ) {
        each(deal::available(), |kernel| {
            let mut random = Random(seed);
            let width = columns.max(kernel.isa.lanes());
            let (x_step, y_pitch) = (random.below(3 * width), columns + gaps.0);
            let y_stride = (rows - 1) * y_pitch + width + gaps.1;
            // Inputs overlap each other freely.
            let x: Planes = (0..planes).map(|_| random.below(50) as u32).collect::<Vec<_>>().into();
            let begin = 50 + (rows - 1) * x_step + width * stride + gaps.2;
            let before = random.floats(begin + planes * y_stride);
            let spec = Spec { rows, columns, stride, x_step, y_pitch, y_stride, odd: None, x, y: begin as u32 };
            let after = run(Call::new(kernel, spec.clone()).unwrap(), &weights(&[]), &before);

            let mut touched = Vec::new();
            for (plane, &x) in spec.x.offsets().iter().enumerate() {
                for row in 0..rows {
                    let to = begin + plane * y_stride + row * y_pitch;
                    let from = |column: usize| before[x as usize + row * x_step + column * stride];
                    let expected: Vec<f32> = (0..columns).map(from).collect();
                    assert_same_bits(&after[to..to + columns], &expected, kernel.name);
                    touched.push(to..to + width);
                }
            }
            assert_untouched(&before, &after, touched.into_iter(), kernel.name);
        });
    }

    #[test]
    fn the_columns_between_go_where_they_would_go_alone(
        planes in 0usize..5, rows in 1usize..6, columns in 1usize..70, in_rows: bool, gaps in (0usize..4, 0usize..4, 0usize..4), seed: u64,
    ) {
        each(deal::available(), |kernel| {
            let mut random = Random(seed);
            let width = columns.max(kernel.isa.lanes());
            let x_step = random.below(3 * width);
            let (y_pitch, last) = if in_rows { (2 * width + gaps.0 + gaps.1, width) } else { (columns + gaps.0, 0) };
            let y_stride = (rows - 1) * y_pitch + last + gaps.0 + width + gaps.1;
            let odd = if in_rows { width + gaps.0 } else { planes * y_stride + gaps.0 };
            let x: Planes = (0..planes).map(|_| random.below(50) as u32).collect::<Vec<_>>().into();
            let begin = 51 + (rows - 1) * x_step + width * 2 + gaps.2;
            let before = random.floats(begin + odd + planes * y_stride + 1);
            let both = Spec { rows, columns, stride: 2, x_step, y_pitch, y_stride, odd: Some(odd), x, y: begin as u32 };
            let after = run(Call::new(kernel, both.clone()).unwrap(), &weights(&[]), &before);

            let mut touched = Vec::new();
            for (plane, &x) in both.x.offsets().iter().enumerate() {
                for (row, part) in (0..rows).flat_map(|row| [(row, 0), (row, 1)]) {
                    let to = begin + plane * y_stride + row * y_pitch + part * odd;
                    let from = |column: usize| before[x as usize + row * x_step + column * 2 + part];
                    let expected: Vec<f32> = (0..columns).map(from).collect();
                    assert_same_bits(&after[to..to + columns], &expected, kernel.name);
                    touched.push(to..to + width);
                }
            }
            assert_untouched(&before, &after, touched.into_iter(), kernel.name);
        });
    }
}

#[test]
fn wrong_shapes_are_refused() {
    each(deal::available(), |kernel| {
        let lanes = kernel.isa.lanes();
        let spec = |rows, columns, stride, y_pitch, y_stride| Spec {
            rows,
            columns,
            stride,
            x_step: 100,
            y_pitch,
            y_stride,
            odd: None,
            x: vec![0, 7].into(),
            y: 2000,
        };
        let refused = |spec| Call::new(kernel, spec).is_err();
        assert!(!refused(spec(2, lanes, 2, lanes, 2 * lanes)));
        assert!(refused(spec(0, lanes, 2, lanes, 2 * lanes)));
        assert!(refused(spec(2, 0, 2, lanes, 2 * lanes)));
        assert!(refused(spec(2, lanes, 0, lanes, 2 * lanes)));
        assert!(refused(spec(2, lanes, 2, lanes - 1, 2 * lanes)));
        assert!(refused(spec(2, lanes, 2, lanes, 2 * lanes - 1)));
        assert!(refused(spec(2, 1, 2, 1, lanes)), "a narrow row overruns");
        let between =
            |stride, y_pitch, odd| Spec { odd: Some(odd), ..spec(2, lanes, stride, y_pitch, y_pitch + 2 * lanes) };
        assert!(!refused(between(2, lanes, 6 * lanes)));
        assert!(!refused(between(2, 2 * lanes, lanes)));
        assert!(refused(between(1, 2 * lanes, lanes)));
        assert!(refused(between(3, 2 * lanes, lanes)));
        assert!(refused(between(2, lanes, 6 * lanes - 1)), "within the other planes");
        assert!(refused(between(2, 2 * lanes, lanes - 1)), "within the other columns");
        assert!(refused(between(2, 2 * lanes, lanes + 1)), "beyond the row");
        assert!(refused(between(2, lanes, usize::MAX)));
        for huge in [1 << 32, 1 << 63, usize::MAX] {
            assert!(refused(spec(huge, lanes, 2, lanes, 2 * lanes)));
            assert!(refused(spec(2, huge, 2, huge, 2 * lanes)));
            assert!(refused(spec(2, lanes, huge, lanes, 2 * lanes)));
            assert!(refused(spec(2, lanes, 2, huge, 2 * lanes)));
            assert!(refused(spec(2, lanes, 2, lanes, huge)));
        }
        let over = Call::new(kernel, Spec { y: 150, ..spec(2, lanes, 2, lanes, 2 * lanes) }).unwrap();
        assert!(CallSet::new(vec![over.into()]).is_ok());
        let over = Call::new(kernel, Spec { y: 100, ..spec(2, lanes, 2, lanes, 2 * lanes) }).unwrap();
        assert!(CallSet::new(vec![over.into()]).is_err(), "it writes what it reads");
    });
}

#[test]
fn rows_move_within_their_planes() {
    each(deal::available(), |kernel| {
        let (lanes, planes, stride) = (kernel.isa.lanes(), 3, 7 * kernel.isa.lanes());
        let before = Random(1).floats(planes * stride);
        let moved = |rows: usize, from: usize| {
            let x: Vec<u32> = (0..planes).map(|plane| (plane * stride + from * lanes) as u32).collect();
            let spec = Spec {
                rows,
                columns: lanes,
                stride: 1,
                x_step: lanes,
                y_pitch: lanes,
                y_stride: stride,
                odd: None,
                x: x.into(),
                y: 0,
            };
            Call::new(kernel, spec).unwrap()
        };
        let after = run(moved(2, 4), &weights(&[]), &before);
        for plane in (0..planes).map(|plane| plane * stride) {
            let from = plane + 4 * lanes;
            assert_same_bits(&after[plane..plane + 2 * lanes], &before[from..from + 2 * lanes], kernel.name);
        }
        assert!(CallSet::new(vec![moved(2, 1).into()]).is_err(), "a row lands on one that is still to be moved");
    });
}
