//! Every variant of the deal family against a plain loop.

mod common;

use common::*;
use flgc_kernels::{
    Arena, CallError, CallSet, Planes, Team, chain,
    deal::{self, Call, Input, Source, Spec},
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
            let source = Source::Arena { x: x.clone(), step: x_step, stride, odd: None };
            let spec = Spec { rows, columns, y_pitch, y_stride, x: source, y: begin as u32 };
            let after = run(Call::new(kernel, spec).unwrap(), &weights(&[]), &before);

            let mut touched = Vec::new();
            for (plane, &x) in x.offsets().iter().enumerate() {
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
            let source = Source::Arena { x: x.clone(), step: x_step, stride: 2, odd: Some(odd) };
            let both = Spec { rows, columns, y_pitch, y_stride, x: source, y: begin as u32 };
            let after = run(Call::new(kernel, both).unwrap(), &weights(&[]), &before);

            let mut touched = Vec::new();
            for (plane, &x) in x.offsets().iter().enumerate() {
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

    #[test]
    fn an_input_is_dealt_with_zeros_around_it(
        planes in 0usize..4, rows in 1usize..6, columns in 1usize..50, size in (1usize..9, 1usize..90), from in (-9isize..12, -70isize..99), (step, phases) in (1usize..4).prop_flat_map(|step| (Just(step), 1..=step)), seed: u64,
    ) {
        each(deal::available(), |kernel| {
            let mut random = Random(seed);
            let ((height, width), (top, left)) = (size, from);
            let lines = random.below(rows * phases + 1);
            let vectors = columns.max(kernel.isa.lanes());
            let (y_pitch, begin) = (columns + random.below(4), random.below(9));
            let y_stride = (rows - 1) * y_pitch + vectors + random.below(4);
            let odd = planes * y_stride;
            // The last plane ends where the slice does, and the first one begins there.
            let floats = random.floats((planes + 1) * height * width);
            let mut order: Vec<usize> = (0..planes).map(|plane| (planes - plane) * height * width).collect();
            if let Some(first) = order.last_mut() {
                *first = 0;
            }
            let input = Input { planes: order.clone(), size: [height, width], from: [top, left], step, phases, lines };
            let spec = Spec { rows, columns, y_pitch, y_stride, x: Source::Input(input), y: begin as u32 };
            let set = CallSet::new(vec![Call::new(kernel, spec).unwrap().into()]).unwrap();
            let before = random.floats(begin + 2 * phases * odd + 1);
            let mut arena = arena(&before);
            set.run(&weights(&[]), &mut arena, &floats);
            let after = arena.as_slice();

            let mut touched = Vec::new();
            for (plane, &x) in order.iter().enumerate() {
                for (line, part) in (0..lines).flat_map(|line| [(line, 0), (line, 1)]) {
                    let (row, phase) = (line / phases, line % phases);
                    let to = begin + plane * y_stride + row * y_pitch + (2 * phase + part) * odd;
                    let at = |row: isize, column: isize| {
                        let inside = (0..height as isize).contains(&row) && (0..width as isize).contains(&column);
                        if inside { floats[x + row as usize * width + column as usize] } else { 0.0 }
                    };
                    let from = |column: usize| at(top + (row * step + phase) as isize, left + (column * 2 + part) as isize);
                    let expected: Vec<f32> = (0..columns).map(from).collect();
                    assert_same_bits(&after[to..to + columns], &expected, kernel.name);
                    touched.push(to..to + vectors);
                }
            }
            assert_untouched(&before, after, touched.into_iter(), kernel.name);
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
            y_pitch,
            y_stride,
            x: Source::Arena { x: vec![0, 7].into(), step: 100, stride, odd: None },
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
        let between = |stride, y_pitch, odd| Spec {
            x: Source::Arena { x: vec![0, 7].into(), step: 100, stride, odd: Some(odd) },
            ..spec(2, lanes, stride, y_pitch, y_pitch + 2 * lanes)
        };
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
                y_pitch: lanes,
                y_stride: stride,
                x: Source::Arena { x: x.into(), step: lanes, stride: 1, odd: None },
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

/// A call of one plane of an input, sixteen rows of two vectors.
fn of_input(kernel: &'static deal::Kernel, change: impl FnOnce(&mut Spec, &mut Input)) -> Result<Call, CallError> {
    let lanes = kernel.isa.lanes();
    let mut input = Input { planes: vec![5], size: [16, 2 * lanes], from: [0, 0], step: 2, phases: 2, lines: 32 };
    let x = Source::Input(input.clone());
    let mut spec = Spec { rows: 16, columns: lanes, y_pitch: lanes, y_stride: 16 * lanes, x, y: 0 };
    change(&mut spec, &mut input);
    Call::new(kernel, Spec { x: Source::Input(input), ..spec })
}

#[test]
fn wrong_inputs_are_refused() {
    each(deal::available(), |kernel| {
        let refused = |change: &dyn Fn(&mut Spec, &mut Input)| of_input(kernel, change).is_err();
        assert!(!refused(&|_, _| {}));
        assert!(refused(&|_, input| input.size[0] = 0));
        assert!(refused(&|_, input| input.size[1] = 0));
        assert!(refused(&|_, input| input.phases = 0));
        assert!(refused(&|_, input| input.lines = 33), "more than there are");
        assert!(refused(&|_, input| input.phases = 3), "more than there are");
        for huge in [1 << 31, 1 << 32, 1 << 62, usize::MAX] {
            assert!(refused(&|_, input| input.size[0] = huge));
            assert!(refused(&|_, input| input.size[1] = huge));
            assert!(refused(&|_, input| input.step = huge));
        }
        let most = u32::MAX as usize / 4;
        assert!(!refused(&|spec, _| spec.y_stride = most));
        assert!(refused(&|spec, _| spec.y_stride = most + 1), "four of them");
        for huge in [1 << 31, isize::MAX, isize::MIN] {
            assert!(refused(&|_, input| input.from[0] = huge));
            assert!(refused(&|_, input| input.from[1] = huge));
        }
        assert!(!refused(&|_, input| input.planes = vec![1 << 40]));
        assert!(refused(&|_, input| input.planes = vec![usize::MAX - 3]));
    });
}

#[test]
fn smaller_inputs_are_refused() {
    each(deal::available(), |kernel| {
        let floats = vec![0.0; 5 + 16 * 2 * kernel.isa.lanes()];
        let set = |wrap: bool| {
            let call = of_input(kernel, |_, _| {}).unwrap().into();
            let alone = CallSet::new(vec![call]).unwrap();
            if wrap { CallSet::new(vec![chain::Call::new(vec![alone]).unwrap().into()]).unwrap() } else { alone }
        };
        for set in [set(false), set(true)] {
            let run = |input: &[f32], team: bool| {
                let (mut arena, weights) = (Arena::new(set.arena_end()).unwrap(), weights(&[]));
                let run = || match team {
                    false => set.run(&weights, &mut arena, input),
                    true => drop(Team::new(2).run(std::slice::from_ref(&set), &weights, &mut arena, input)),
                };
                std::panic::catch_unwind(std::panic::AssertUnwindSafe(run)).is_ok()
            };
            for team in [false, true] {
                assert!(run(&floats, team));
                assert!(!run(&floats[1..], team));
                assert!(!run(&[], team));
            }
        }
    });
}
