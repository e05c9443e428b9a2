//! Threads that run sets of calls together, set after set.
//!
//! A set is a few microseconds of work for each thread, less than it takes to wake one. So threads stay together for a whole run: one **leads**, the others **help**.
//! The leader opens a set, everybody runs the part that is theirs in every set (what they wrote is in their cache when they read it again), then parts that nobody has
//! begun; when all parts are done the leader opens the next set. Nobody waits for a thread that has not begun a part: a helper that comes late, or never, costs
//! no more than its help.

use crate::{Arena, CallSet, Weights, call::Memory};
use std::{
    hint::spin_loop,
    marker::PhantomData,
    sync::atomic::{AtomicUsize, Ordering::*},
    thread,
};

/// How often a waiting thread looks before it lets others run: some ten microseconds, more than most sets take.
const LOOKS: u32 = 1 << 10;
/// What is open when the run is over.
const OVER: usize = usize::MAX;

/// What keeps the threads of a run in step. Made once, for any number of runs, one at a time.
#[derive(Debug)]
pub struct Team {
    /// How many sets have been opened, or [`OVER`].
    open: AtomicUsize,
    parts: Box<[Part]>,
}

/// A part of every set. Two cache lines, since processors fetch pairs of them.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Part {
    /// The number of the last set in which somebody began it, counted from one.
    begun: AtomicUsize,
    /// The number of the last set in which it was done.
    done: AtomicUsize,
}

impl Team {
    /// A team of so many threads, the leader among them; at least one.
    #[must_use]
    pub fn new(threads: usize) -> Self {
        Self { open: AtomicUsize::new(0), parts: (0..threads.max(1)).map(|_| Part::default()).collect() }
    }

    /// A run of `sets`, one after another: the leader's side, and what is copied to each helper. The outputs are the same bits as those of
    /// [`CallSet::run`] for each set.
    ///
    /// # Panics
    /// If a set was made for a larger arena, other weights or a larger input.
    pub fn run<'a>(
        &'a mut self,
        sets: &'a [CallSet],
        weights: &'a Weights,
        arena: &'a mut Arena,
        input: &'a [f32],
    ) -> (Leader<'a>, Helper<'a>) {
        sets.iter().for_each(|set| set.check(weights, arena, input));
        *self.open.get_mut() = 0;
        for part in &mut self.parts {
            *part = Part::default();
        }
        let memory = Memory { weights: weights.as_slice().as_ptr(), arena: arena.as_mut_ptr(), input };
        let run = Run { team: self, sets, memory, of: PhantomData };
        (Leader(run), Helper(run))
    }
}

#[derive(Clone, Copy)]
struct Run<'a> {
    team: &'a Team,
    sets: &'a [CallSet],
    memory: Memory<'a>,
    of: PhantomData<(&'a Weights, &'a mut Arena)>,
}

// SAFETY: the pointers are those of a shared and of an exclusive borrow, used by `Run::part` alone, whose threads touch disjoint parts.
unsafe impl Send for Run<'_> {}
// SAFETY: as above.
unsafe impl Sync for Run<'_> {}

impl Run<'_> {
    /// Runs a part of the open set with this index, unless somebody has begun it.
    fn part(self, index: usize, part: usize) {
        let (number, parts) = (index + 1, &self.team.parts);
        if parts[part].begun.fetch_max(number, Relaxed) >= number {
            return;
        }
        // SAFETY: the memory is large enough (`Team::run`), and no other thread touches what these calls write: a set's calls are independent and each part
        // is begun once; while this one is not done, no later set is opened, and none was opened before the earlier ones were done.
        unsafe { self.sets[index].run_part([part, parts.len()], self.memory) }
        parts[part].done.store(number, Release);
    }
}

/// The thread that opens the sets.
pub struct Leader<'a>(Run<'a>);

impl Leader<'_> {
    /// Runs all sets, with what help there is. Calls `after` with the index of each set when that is done.
    pub fn run(self, mut after: impl FnMut(usize)) {
        let Run { team, sets, .. } = self.0;
        for (index, set) in sets.iter().enumerate() {
            if set.calls().len() < 2 {
                // SAFETY: the memory is large enough (`Team::run`), and the others have nothing to do: no set is open in which a part is not done.
                unsafe { set.run_unchecked(self.0.memory) }
                after(index);
                continue;
            }
            team.open.store(index + 1, Release);
            (0..team.parts.len()).for_each(|part| self.0.part(index, part));
            team.parts.iter().for_each(|part| wait(|| part.done.load(Acquire) > index));
            after(index);
        }
    }
}

impl Drop for Leader<'_> {
    fn drop(&mut self) {
        self.0.team.open.store(OVER, Release);
    }
}

/// The threads that help.
#[derive(Clone, Copy)]
pub struct Helper<'a>(Run<'a>);

impl Helper<'_> {
    /// Helps until the run is over, first with part `part` of each set: from one on, zero being the leader's.
    pub fn help(self, part: usize) {
        let team = self.0.team;
        let parts = team.parts.len();
        let (mut seen, mut open) = (0, 0);
        loop {
            wait(|| {
                open = team.open.load(Acquire);
                open != seen
            });
            if open == OVER {
                return;
            }
            (part..part + parts).for_each(|part| self.0.part(open - 1, part % parts));
            seen = open;
        }
    }
}

/// Returns when it `is_over`.
fn wait(mut is_over: impl FnMut() -> bool) {
    let mut looks = 0;
    while !is_over() {
        if looks < LOOKS {
            looks += 1;
            spin_loop();
        } else {
            thread::yield_now();
        }
    }
}
