//! Where a plan puts planes: inputs that stay where they are, sums over one of their terms. No place changes a bit.

use flgc::{Isa, Model, Options, Plan, Threads, plan::Caches};
use flgc_benches::Groups;
use std::num::NonZeroUsize;

fn input(plan: &Plan) -> Vec<f32> {
    let len: usize = plan.inputs()[0].shape.iter().product();
    (0..len).map(|i| ((i * 37 % 255) as f32 - 127.0) / 64.0).collect()
}

fn run(plan: &Plan) -> Vec<f32> {
    plan.session().run(&input(plan)).unwrap().to_vec()
}

/// A convolution with stride over an input, of whose channels it reads so many; another layer reads the input, too, if it is `shared`.
fn strided(channels: usize, shared: bool) -> Model {
    let (mut b, x) = flgc_benches::Builder::new(7, 2, [4, 63, 90]);
    let part = if channels < 4 { b.split(&x, channels).0 } else { x.clone() };
    let y = b.conv(&part, 40, 3, 2, Groups::Learned(2));
    let y = b.relu(&y);
    let z = b.conv(&x, 8, 1, 1, Groups::Even(1));
    if shared { b.finish(&[&y, &z]) } else { b.finish(&[&y]) }
}

#[test]
fn an_input_that_only_blocks_of_a_convolution_read_is_not_copied() {
    let bytes = 2 * 4 * 63 * 90 * 4;
    let small = Some(Caches { l1: 4 << 10, l2: 8 << 10, last: 8 << 10 });
    for (channels, shared) in [(4, false), (3, false), (4, true), (2, true)] {
        let model = strided(channels, shared);
        for isa in Isa::available() {
            for threads in [1, 3] {
                let threads = Threads::Count(NonZeroUsize::new(threads).unwrap());
                let what = format!("{channels} channels, shared: {shared}, {isa}, {threads:?}");
                let options = Options { isa: Some(isa), threads, caches: small, ..Options::default() };
                let apart = Plan::new(&model, &Options { fuse: false, ..options.clone() }).unwrap();
                let plan = Plan::new(&model, &options).unwrap();
                let [copied, arena] = [&apart, &plan].map(|plan| plan.report().memory.arena);
                assert_eq!(arena + bytes * 3 / 4 < copied, !shared, "{what}: {arena} bytes, {copied} with a copy");
                // Wherever it lies.
                let input: Vec<f32> = [vec![f32::NAN], input(&plan), vec![f32::NAN]].concat();
                let input = &input[1..input.len() - 1];
                let mut session = plan.session();
                let expected = apart.session().run(input).unwrap().to_vec();
                assert!(session.run(input).unwrap() == expected, "{what}");
                let error = session.run(&input[1..]).unwrap_err().to_string();
                assert!(error.contains("45359 floats, expected 45360"), "{error}");
            }
        }
    }
}

/// Shortcuts over 1x1 convolutions, whose terms are outputs of the network, too, if they are to be kept.
fn shortcuts(groups: Groups, keeps: bool) -> Model {
    let (mut b, x) = flgc_benches::Builder::new(5, 2, [3, 16, 16]);
    let mut sums = vec![b.conv(&x, 24, 1, 1, Groups::Even(1))];
    for _ in 0..3 {
        let x = sums.last().expect("one at least").clone();
        let y = b.conv(&x, 8, 1, 1, groups);
        let y = b.relu(&y);
        let y = b.conv(&y, 24, 1, 1, groups);
        let y = b.add(&y, &x);
        sums.push(b.relu(&y));
    }
    sums.reverse();
    let outputs: Vec<_> = sums.iter().take(if keeps { sums.len() } else { 1 }).collect();
    b.finish(&outputs)
}

#[test]
fn sums_take_the_place_of_a_term_that_nothing_reads_later() {
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for groups in [Groups::Even(1), Groups::Even(4), Groups::Learned(3)] {
            let options = Options { isa: Some(isa), ..Options::default() };
            let [one, all] =
                [false, true].map(|keeps| Plan::new(&shortcuts(groups, keeps), &options).expect("a valid model"));
            let threads = Threads::Count(NonZeroUsize::new(3).expect("not zero"));
            let three = Plan::new(&shortcuts(groups, false), &Options { threads, ..options }).expect("a valid model");
            // A sum and its term in places of their own would be 48 planes of each image.
            let apart = 2 * 48 * 16 * 16 * 4;
            assert!(one.report().memory.arena < apart && apart < all.report().memory.arena, "{isa:?}, {groups:?}");
            let mut outputs: Vec<Vec<f32>> =
                all.outputs().iter().map(|port| vec![0.0; port.shape.iter().product()]).collect();
            let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
            all.session().run_with(&[&input(&all)], &mut slices).expect("the right lengths");
            assert!(outputs[0] == run(&one) && outputs[0] == run(&three), "{isa:?}, {groups:?}");
        }
    }
}

/// A shortcut whose second term is a convolution with stride, of `k` columns and rows, as before the first sum of each stage of a `ResNet`; `padded` gives its rows a gap.
fn strided_shortcut(groups: Groups, size: usize, (k, padded): (usize, bool), keeps: bool) -> Model {
    let (mut b, x) = flgc_benches::Builder::new(8, 2, [12, size, size]);
    let x = b.conv(&x, 70, 1, 1, Groups::Even(1));
    let y = b.conv(&x, 8, 3, 2, Groups::Even(1));
    let y = b.conv(&y, 100, 1, 1, groups);
    let z = b.conv(&x, 100, k, 2, groups);
    let sum = b.add(&z, &y);
    let mut sum = b.relu(&sum);
    if padded {
        // Few terms run over the planes as they lie, and the window behind them wants a border.
        sum = b.conv(&sum, 8, 1, 1, Groups::Even(2));
        sum = b.conv(&sum, 4, 3, 1, Groups::Even(1));
    }
    if keeps { b.finish(&[&sum, &y]) } else { b.finish(&[&sum]) }
}

#[test]
fn sums_of_convolutions_with_stride_take_the_place_of_a_term_too() {
    let small = Some(Caches { l1: 4 << 10, l2: 16 << 10, last: 1 << 30 });
    for isa in Isa::ALL.into_iter().filter(|isa| isa.is_available()) {
        for (groups, size) in [8, 14, 15, 28, 32, 57]
            .into_iter()
            .flat_map(|size| [Groups::Even(1), Groups::Even(2), Groups::Learned(2)].map(|groups| (groups, size)))
        {
            for (window, caches) in [(1, false), (1, true), (3, true), (3, false)].map(|window| (window, [None, small]))
            {
                let model = |keeps| strided_shortcut(groups, size, window, keeps);
                let what = format!("{isa}, {groups:?}, {size}, {window:?}");
                let options = Options { isa: Some(isa), ..Options::default() };
                // Row by row some pixels are written twice, so it is not done there.
                let expected = run(&Plan::new(&model(false), &Options { fuse: false, ..options.clone() }).unwrap());
                for caches in caches {
                    let options = Options { caches, ..options.clone() };
                    let [one, all] = [false, true].map(|keeps| Plan::new(&model(keeps), &options).unwrap());
                    let planes = 2 * 100 * size.div_ceil(2).pow(2) as u64 * 4;
                    let saves = one.report().memory.arena + planes / 2 < all.report().memory.arena;
                    assert!(saves || window != (1, false), "{what}");
                    let mut session = one.session();
                    for _ in 0..3 {
                        assert!(session.run(&input(&one)).unwrap() == expected, "{what}");
                    }
                    let threads = Threads::Count(NonZeroUsize::new(3).unwrap());
                    let three = Plan::new(&model(false), &Options { threads, ..options }).unwrap();
                    assert!(run(&three) == expected, "{what}");
                }
            }
        }
    }
}

/// What lies between rows, and behind the last one, is nothing: where sums replace a term in place, it grows from run to run.
#[test]
fn what_lies_between_rows_never_reaches_an_output() {
    for (k, isa) in [1, 3].into_iter().flat_map(|k| Isa::ALL.map(|isa| (k, isa))).filter(|(_, isa)| isa.is_available())
    {
        let (mut b, x) = flgc_benches::Builder::new(6, 2, [8, 13, 13]);
        // A larger window has a border, which is between the rows of what lies alike.
        let y = b.conv(&x, 6, 1, 1, Groups::Learned(2));
        let y = b.relu(&y);
        let y = b.conv(&y, 6, k, 1, Groups::Even(2));
        let y = b.relu(&y);
        let y = b.conv(&y, 8, 1, 1, Groups::Learned(2));
        let y = b.add(&y, &x);
        let z = b.depthwise(&y, 3, 2);
        let z = b.conv(&z, 8, 3, 2, Groups::Even(1));
        let pooled = b.global_average(&y);
        let model = b.finish(&[&y, &z, &pooled]);
        for threads in 1..=3 {
            let threads = Threads::Count(NonZeroUsize::new(threads).expect("not zero"));
            let options = Options { isa: Some(isa), threads, ..Options::default() };
            let plan = Plan::new(&model, &options).expect("a valid model");
            let mut session = plan.session();
            let mut run = || {
                let mut outputs: Vec<Vec<f32>> =
                    plan.outputs().iter().map(|port| vec![0.0; port.shape.iter().product()]).collect();
                let mut slices: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
                session.run_with(&[&input(&plan)], &mut slices).expect("the right lengths");
                outputs
            };
            let first = run();
            assert!((0..300).all(|_| run() == first), "{isa:?}, {k}x{k}");
        }
    }
}
