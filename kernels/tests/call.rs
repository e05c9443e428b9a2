//! Sets of calls: what is refused, and that parts and threads never change a bit.

mod common;

use common::*;
use flgc_kernels::{
    Arena, Call, CallError, CallSet, Epilogue, Planes, Team, Weights, chain,
    pointwise::{self, Spec},
};

/// A call of one filter over sixteen pixels.
fn call(x: &[u32], y: u32, residual: Option<u32>) -> Call {
    call_of(&x.into(), y, residual, 0)
}

/// The same over a list that others may share, from the pixel `shift` on.
fn call_of(x: &Planes, y: u32, residual: Option<u32>, shift: u32) -> Call {
    let epilogue = Epilogue { residual: residual.map(|r| vec![r].into()), ..Epilogue::default() };
    let kernel = pointwise::available().last().unwrap();
    let spec = Spec {
        pixels: 16,
        weights: 16,
        bias: 0,
        x: x.clone(),
        y: &[y],
        shift,
        rows: None,
        panels: pointwise::Panels::None,
        epilogue,
    };
    pointwise::Call::new(kernel, spec).unwrap().into()
}

#[test]
fn independent_calls_are_accepted() {
    let set = CallSet::new(vec![call(&[0, 5], 32, Some(0)), call(&[0], 48, None), call(&[], 64, None)]).unwrap();
    assert_eq!(set.calls().len(), 3);
    assert_eq!(set.arena_end(), 80);
    assert_eq!(CallSet::new(vec![]).unwrap().arena_end(), 0);
}

#[test]
fn overlaps_are_refused() {
    let refused = |calls, written, other| {
        assert_eq!(CallSet::new(calls).unwrap_err(), CallError::Overlap { written, other });
    };
    // Two outputs, by one float and entirely.
    refused(vec![call(&[0], 32, None), call(&[0], 47, None)], 32..48, 47..63);
    refused(vec![call(&[0], 32, None), call(&[0], 32, None)], 32..48, 32..48);
    // A call's output and its own input or residual.
    refused(vec![call(&[0], 15, None)], 15..31, 0..16);
    refused(vec![call(&[0], 16, Some(31))], 16..32, 31..47);
    // A list that calls share: its first reader, one behind other lists, one at other pixels.
    let x = Planes::from(vec![0]);
    refused(vec![call_of(&x, 32, None, 0), call_of(&x, 8, None, 0)], 8..24, 0..16);
    refused(vec![call_of(&x, 32, Some(64), 0), call_of(&x, 48, Some(80), 0), call(&[], 8, None)], 8..24, 0..16);
    refused(vec![call_of(&x, 64, None, 0), call_of(&x, 64, None, 16), call(&[], 20, None)], 20..36, 16..32);
    // A call's output and another's input, which is among many.
    refused(vec![call(&[0, 200, 100, 300], 16, None), call(&[0], 108, None)], 108..124, 100..116);
}

/// A chain: from `x` to the scratch plane at `scratch`, from there to `y`, and the same again from sixteen floats later.
fn bands(x: u32, scratch: u32, y: u32) -> Call {
    let steps = [(x, scratch), (scratch, y), (x + 16, scratch), (scratch, y + 16)];
    let sets = steps.map(|(from, to)| CallSet::new(vec![call(&[from], to, None)]).unwrap());
    chain::Call::new(sets.into()).unwrap().into()
}

#[test]
fn chains_use_their_scratch_memory_again_and_give_what_their_calls_give() {
    let set = CallSet::new(vec![bands(0, 100, 200), bands(32, 120, 232)]).unwrap();
    assert_eq!(set.arena_end(), 264);
    let mut arena = arena(&(0..300).map(|i| i as f32).collect::<Vec<_>>());
    let weights = weights(&[1.0; 17]);
    set.run(&weights, &mut arena, &[]);
    // Each call adds one: bias one, weight one.
    let expected: Vec<f32> = (0..64).map(|i| i as f32 + 2.0).collect();
    assert_eq!(&arena.as_slice()[200..264], expected);
    run_together(&[set], 2, &weights, &mut arena);
    assert_eq!(&arena.as_slice()[200..264], expected);
}

#[test]
fn chains_that_touch_each_other_are_refused() {
    let refused = |calls: Vec<Call>, written, other| {
        assert_eq!(CallSet::new(calls).unwrap_err(), CallError::Overlap { written, other });
    };
    // One scratch memory for both, an output in the other's scratch memory, an output that the other reads.
    refused(vec![bands(0, 100, 200), bands(32, 110, 232)], 100..116, 110..126);
    refused(vec![bands(0, 100, 200), bands(32, 215, 300)], 200..232, 215..231);
    refused(vec![bands(0, 100, 200), bands(231, 120, 300)], 200..232, 231..263);
    // Beside an ordinary call: where it reads scratch memory.
    refused(vec![bands(0, 100, 200), call(&[90], 300, None)], 100..116, 90..106);
    assert!(CallSet::new(vec![bands(0, 100, 200), call(&[0, 84], 300, None)]).is_ok());
}

#[test]
fn accesses_out_of_reach_are_refused() {
    let end = i64::from(u32::MAX - 3) + 16;
    assert_eq!(CallSet::new(vec![call(&[u32::MAX - 3], 0, None)]).unwrap_err(), CallError::Reach(end));
    assert_eq!(CallSet::new(vec![call(&[0], u32::MAX - 3, None)]).unwrap_err(), CallError::Reach(end));
}

#[test]
#[should_panic(expected = "larger arena")]
fn a_smaller_arena_is_refused() {
    let set = CallSet::new(vec![call(&[0], 16, None)]).unwrap();
    set.run(&weights(&[0.0; 32]), &mut Arena::new(31).unwrap(), &[]);
}

#[test]
#[should_panic(expected = "other weights")]
fn fewer_weights_are_refused() {
    let set = CallSet::new(vec![call(&[0], 16, None)]).unwrap();
    set.run(&weights(&[0.0; 16]), &mut Arena::new(32).unwrap(), &[]);
}

#[test]
#[should_panic(expected = "larger arena")]
fn a_smaller_arena_is_refused_in_parts() {
    let set = CallSet::new(vec![call(&[0], 16, None)]).unwrap();
    run_together(&[set], 2, &weights(&[0.0; 32]), &mut Arena::new(31).unwrap());
}

/// Runs `sets` with `threads` threads, and checks that the leader says when each is done.
fn run_together(sets: &[CallSet], threads: usize, weights: &Weights, arena: &mut Arena) {
    let mut team = Team::new(threads);
    let mut done = Vec::new();
    let (leader, helper) = team.run(sets, weights, arena, &[]);
    std::thread::scope(|scope| {
        for part in 1..threads {
            scope.spawn(move || helper.help(part));
        }
        leader.run(|index| done.push(index));
    });
    assert_eq!(done, (0..sets.len()).collect::<Vec<_>>());
}

#[test]
fn parts_do_not_change_bits() {
    each(pointwise::available(), |kernel| {
        let mut random = Random(7);
        let (inputs, pixels) = (9, 3 * kernel.isa.lanes());
        let plane = |i: usize| (i * pixels) as u32;
        // Calls of uneven size: between none and eight taps, one to all filters.
        let mut calls = Vec::new();
        let mut planes = inputs;
        for taps in 0..inputs {
            let filters = 1 + random.below(kernel.max_filters());
            let x: Vec<u32> = (0..taps).map(|_| plane(random.below(inputs))).collect();
            let y: Vec<u32> = (planes..planes + filters).map(plane).collect();
            planes += filters;
            let epilogue = Epilogue::default();
            let spec = Spec {
                pixels,
                weights: 16,
                bias: 0,
                x: x.into(),
                y: &y,
                shift: 0,
                rows: None,
                panels: pointwise::Panels::None,
                epilogue,
            };
            calls.push(pointwise::Call::new(kernel, spec).unwrap().into());
        }
        let set = CallSet::new(calls).unwrap();
        let weights = weights(&random.floats(16 + inputs * kernel.max_filters()));
        let before = random.floats(planes * pixels);
        let mut serial = arena(&before);
        set.run(&weights, &mut serial, &[]);
        for parts in [1, 2, 3, 7, 100] {
            let mut parallel = arena(&before);
            run_together(std::slice::from_ref(&set), parts, &weights, &mut parallel);
            assert_same_bits(serial.as_slice(), parallel.as_slice(), &format!("{}, {parts} parts", kernel.name));
        }
    });
}

/// Sets that each add one to the planes that the one before wrote, in uneven numbers of calls: none, one, many.
fn steps(count: usize, planes: usize) -> Vec<CallSet> {
    let plane = |step: usize, i: usize| ((step % 2 * planes + i) * 16) as u32;
    let mut sets = vec![CallSet::new(Vec::new()).unwrap()];
    for step in 0..count {
        // Each reads the plane that another part of the team wrote.
        let calls =
            (0..planes).map(|i| call(&[plane(step, (i + step * 5) % planes)], plane(step + 1, i), None)).collect();
        sets.push(CallSet::new(calls).unwrap());
        sets.push(CallSet::new(vec![call(&[plane(step + 1, 0)], (2 * planes * 16) as u32, None)]).unwrap());
    }
    sets
}

#[test]
fn a_team_runs_set_after_set_again_and_again() {
    let (planes, sets) = (23, steps(200, 23));
    let weights = weights(&[1.0; 17]);
    let before: Vec<f32> = (0..(2 * planes + 1) * 16).map(|i| (i / 16) as f32).collect();
    let mut serial = arena(&before);
    sets.iter().for_each(|set| set.run(&weights, &mut serial, &[]));
    assert!(serial.as_slice()[..16].iter().all(|&x| x >= 200.0), "each set added one");
    for threads in [1, 2, 3, 5] {
        let mut team = Team::new(threads);
        // All helpers, those of some parts, none at all, several for one part.
        for helpers in [1..threads, 1..threads.min(2), 0..0, 0..threads] {
            let mut together = arena(&before);
            let (leader, helper) = team.run(&sets, &weights, &mut together, &[]);
            std::thread::scope(|scope| {
                for part in helpers.clone() {
                    scope.spawn(move || helper.help(part));
                }
                leader.run(|_| {});
            });
            assert_same_bits(
                serial.as_slice(),
                together.as_slice(),
                &format!("{threads} threads, helpers {helpers:?}"),
            );
        }
    }
}

#[test]
fn helpers_go_when_the_leader_is_gone() {
    let sets = steps(3, 5);
    let weights = weights(&[1.0; 17]);
    let mut memory = arena(&[0.0; 11 * 16]);
    let mut team = Team::new(2);
    let (leader, helper) = team.run(&sets, &weights, &mut memory, &[]);
    std::thread::scope(|scope| {
        scope.spawn(move || helper.help(1));
        let led = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| leader.run(|set| assert!(set < 2))));
        assert!(led.is_err());
    });
    // And the team can run again.
    let (leader, _) = team.run(&sets, &weights, &mut memory, &[]);
    let mut last = None;
    leader.run(|set| last = Some(set));
    assert_eq!(last, Some(sets.len() - 1));
}
