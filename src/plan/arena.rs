//! Step 8: a place in one block of memory for each storage, reused where lifetimes do not overlap.

use super::{order::sort_by_key, prune::Live, regroup::Net};
use flgc_kernels::ALIGN;

/// Floats at the front of the arena that no storage has: reads of a border never reach before its start.
const FRONT: usize = ALIGN;

/// From the step that writes a storage to the last that reads it, both included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Lifetime {
    pub(super) first: usize,
    pub(super) last: usize,
}

impl Lifetime {
    const fn overlaps(self, other: Self) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The lifetime of each storage, in steps; `None` if it is not used at all.
pub(super) fn lifetimes(net: &Net<'_>, live: &Live) -> Vec<Option<Lifetime>> {
    let mut lifetimes: Vec<Option<Lifetime>> = vec![None; net.storages.len()];
    for input in lifetimes.iter_mut().take(net.inputs) {
        *input = Some(Lifetime { first: 0, last: 0 });
    }
    for (index, step) in net.steps.iter().enumerate().filter(|(_, step)| live.any(step.storage)) {
        lifetimes[step.storage as usize] = Some(Lifetime { first: index, last: index });
        for storage in step.operands().flat_map(|value| value.storages()) {
            if let Some(lifetime) = &mut lifetimes[storage as usize] {
                lifetime.last = index;
            }
        }
    }
    for storage in net.outputs.iter().flat_map(|output| output.storages()) {
        if let Some(lifetime) = &mut lifetimes[storage as usize] {
            lifetime.last = net.steps.len();
        }
    }
    lifetimes
}

/// Makes the steps of each of `runs` count as one: what one of them reads or writes lives through all.
pub(super) fn join(lifetimes: &mut [Option<Lifetime>], runs: impl Iterator<Item = std::ops::Range<usize>>) {
    let runs: Vec<_> = runs.collect();
    for lifetime in lifetimes.iter_mut().flatten() {
        // Runs are in order and apart.
        let run_of = |step: usize| {
            let run = &runs.get(runs.partition_point(|run| run.end <= step))?;
            run.contains(&step).then(|| (*run).clone())
        };
        lifetime.first = run_of(lifetime.first).map_or(lifetime.first, |run| run.start);
        lifetime.last = run_of(lifetime.last).map_or(lifetime.last, |run| run.end - 1);
    }
}

/// Places blocks of the given sizes; returns where each starts, and the size of the whole. The largest blocks choose first, each the lowest place that is
/// free during its lifetime; of equal ones the first or the last, whichever gives the smaller whole. Cost: quadratic in the number of blocks.
pub(super) fn place(sizes: &[usize], lifetimes: &[Option<Lifetime>]) -> (Vec<usize>, usize) {
    let mut order: Vec<usize> = (0..sizes.len()).filter(|&i| lifetimes[i].is_some()).collect();
    let by_size = |i: usize| u64::MAX - sizes[i] as u64;
    sort_by_key(&mut order, by_size);
    let first = place_in_order(&order, sizes, lifetimes);
    order.reverse();
    sort_by_key(&mut order, by_size);
    let last = place_in_order(&order, sizes, lifetimes);
    if last.1 < first.1 { last } else { first }
}

fn place_in_order(order: &[usize], sizes: &[usize], lifetimes: &[Option<Lifetime>]) -> (Vec<usize>, usize) {
    let mut base = vec![0; sizes.len()];
    let mut end = FRONT;
    let mut placed: Vec<usize> = Vec::with_capacity(order.len());
    for &i in order {
        let mut at = FRONT;
        for &other in &placed {
            let free = at + sizes[i] <= base[other] || base[other] + sizes[other] <= at;
            let together = lifetimes[i].zip(lifetimes[other]).is_some_and(|(a, b)| a.overlaps(b));
            if together && !free {
                at = (base[other] + sizes[other]).next_multiple_of(ALIGN);
            }
        }
        base[i] = at;
        end = end.max(at + sizes[i]);
        // Kept in order of their places, so that one pass over them finds the lowest gap.
        let index = placed.partition_point(|&other| base[other] <= at);
        placed.insert(index, i);
    }
    (base, end.next_multiple_of(ALIGN))
}

/// The step with the most floats alive, and how many.
pub(super) fn peak(sizes: &[usize], lifetimes: &[Option<Lifetime>], steps: usize) -> (usize, usize) {
    let mut change = vec![0isize; steps + 2];
    for (&size, lifetime) in sizes.iter().zip(lifetimes) {
        if let Some(Lifetime { first, last }) = *lifetime {
            change[first] += size as isize;
            change[last.min(steps) + 1] -= size as isize;
        }
    }
    let mut alive = 0;
    let sums = change.iter().take(steps.max(1)).map(|delta| {
        alive += delta;
        alive as usize
    });
    sums.enumerate().max_by_key(|&(_, floats)| floats).unwrap_or((0, 0))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(first: usize, last: usize) -> Option<Lifetime> {
        Some(Lifetime { first, last })
    }

    #[test]
    fn a_chain_needs_only_the_two_largest_neighbours() {
        let sizes = [160, 320, 160, 320, 16];
        let lives = [life(0, 0), life(0, 1), life(1, 2), life(2, 3), life(3, 4)];
        let (_, end) = place(&sizes, &lives);
        assert_eq!(end, FRONT + 480);
        assert_eq!(peak(&sizes, &lives, 4).1, 480);
    }

    #[test]
    fn blocks_of_one_size_leave_room_for_others() {
        // A chain with a residual over the three large blocks.
        let sizes = [16, 160, 160, 16, 160, 16];
        let lives = [life(0, 3), life(1, 2), life(2, 3), life(3, 4), life(4, 5), life(5, 6)];
        assert_eq!(place(&sizes, &lives).1, FRONT + 160 + 160 + 16);
    }

    #[test]
    fn what_a_run_touches_lives_through_it() {
        let mut lives = [life(0, 1), life(1, 2), life(2, 3), life(3, 4), life(4, 9), None];
        join(&mut lives, [2..5, 7..10].into_iter());
        assert_eq!(lives, [life(0, 1), life(1, 4), life(2, 4), life(2, 4), life(2, 9), None]);
    }

    #[test]
    fn blocks_that_live_together_never_overlap() {
        let mut state = 1u64;
        let mut random = |below: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        for _ in 0..200 {
            let count = 1 + random(40) as usize;
            let sizes: Vec<usize> = (0..count).map(|_| random(500) as usize).collect();
            let lives: Vec<_> = (0..count)
                .map(|_| {
                    let first = random(30) as usize;
                    (random(8) > 0).then(|| Lifetime { first, last: first + random(6) as usize })
                })
                .collect();
            let (base, end) = place(&sizes, &lives);
            for i in 0..count {
                let Some(life) = lives[i] else { continue };
                assert!(base[i] >= FRONT && base[i].is_multiple_of(ALIGN) && base[i] + sizes[i] <= end);
                for j in 0..i {
                    let together = lives[j].is_some_and(|other| other.overlaps(life));
                    let apart = base[i] + sizes[i] <= base[j] || base[j] + sizes[j] <= base[i];
                    assert!(!together || apart, "{i} and {j} overlap");
                }
            }
        }
    }
}
