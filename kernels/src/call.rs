//! Calls, and sets of calls that are proven to be independent.

use crate::{
    Arena, Weights, chain, deal, depthwise, elementwise, expand, fill, gather, linear, pointwise, pool, resize,
    softmax, spatial, winograd,
};
use std::{collections::BTreeSet, ops::Range, sync::Arc};

/// Offsets of planes in the arena, in floats; shared between the calls that read the same planes. Order and repetition are free.
#[derive(Clone, Debug)]
pub struct Planes(Arc<[u32]>);

impl Planes {
    /// The list.
    #[must_use]
    pub fn offsets(&self) -> &[u32] {
        &self.0
    }
}

impl From<Vec<u32>> for Planes {
    fn from(offsets: Vec<u32>) -> Self {
        Self(offsets.into())
    }
}

impl FromIterator<u32> for Planes {
    fn from_iter<I: IntoIterator<Item = u32>>(offsets: I) -> Self {
        Self(offsets.into_iter().collect())
    }
}

impl From<&[u32]> for Planes {
    fn from(offsets: &[u32]) -> Self {
        Self(offsets.into())
    }
}

/// Why a call or a set of calls can't be made: always a mistake of the plan.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// A list has the wrong length, or a size is not what the kernel needs.
    #[error("{what} is {found}, expected {expected}")]
    Shape {
        /// Which list or size.
        what: &'static str,
        /// What it is.
        found: usize,
        /// What it has to be.
        expected: &'static str,
    },
    /// An access would lie beyond what a 32-bit offset reaches, or before the start of the arena.
    #[error("an access at float {0} is outside any arena")]
    Reach(i64),
    /// Something that is written overlaps something else that is read or written.
    #[error("floats {written:?} are written and {other:?} are accessed at the same time")]
    Overlap {
        /// Floats written.
        written: Range<u32>,
        /// Floats read or written by another access.
        other: Range<u32>,
    },
}

/// What calls work on.
#[derive(Clone, Copy)]
pub(crate) struct Memory<'a> {
    pub(crate) weights: *const f32,
    pub(crate) arena: *mut f32,
    /// The caller's input.
    pub(crate) input: &'a [f32],
}

/// Everything that a call touches, in floats.
#[derive(Debug, Default)]
pub(crate) struct Extents {
    reads: Vec<Range<u32>>,
    writes: Vec<Range<u32>>,
    /// Lists that were already added, with the range around each offset: many calls share one.
    seen: BTreeSet<(*const u32, i64, i64)>,
    weights_end: u64,
    /// The end of what is read of the caller's input.
    input_end: usize,
}

/// What calls that run one after another touch, as seen from outside.
#[derive(Debug)]
pub(crate) struct Touched {
    /// Without what is also written.
    reads: Vec<Range<u32>>,
    /// Each float once.
    writes: Vec<Range<u32>>,
    weights_end: u64,
    input_end: usize,
}

impl Extents {
    fn range(offset: u32, begin: i64, end: i64) -> Result<Range<u32>, CallError> {
        let place = |delta: i64| {
            let at = i64::from(offset).saturating_add(delta);
            u32::try_from(at).map_err(|_| CallError::Reach(at))
        };
        Ok(place(begin)?..place(end)?)
    }

    /// Reads of `begin..end` around each of `planes`.
    pub(crate) fn read(&mut self, planes: &Planes, begin: i64, end: i64) -> Result<(), CallError> {
        if self.seen.insert((planes.0.as_ptr(), begin, end)) {
            Self::add_ranges(&mut self.reads, planes.offsets(), begin, end)?;
        }
        Ok(())
    }

    /// Reads of `len` floats from `at` on.
    pub(crate) fn read_at(&mut self, at: u32, len: i64) -> Result<(), CallError> {
        Self::add_ranges(&mut self.reads, &[at], 0, len)
    }

    /// Writes of `begin..end` around each of `planes`.
    pub(crate) fn write(&mut self, planes: &[u32], begin: i64, end: i64) -> Result<(), CallError> {
        Self::add_ranges(&mut self.writes, planes, begin, end)
    }

    fn add_ranges(ranges: &mut Vec<Range<u32>>, planes: &[u32], begin: i64, end: i64) -> Result<(), CallError> {
        ranges.reserve(planes.len());
        for &offset in planes {
            ranges.push(Self::range(offset, begin, end)?);
        }
        Ok(())
    }

    /// The weights up to `end` are read.
    pub(crate) fn weights(&mut self, end: u64) {
        self.weights_end = self.weights_end.max(end);
    }

    /// The caller's input is read up to `end`.
    pub(crate) fn input(&mut self, end: usize) {
        self.input_end = self.input_end.max(end);
    }

    /// The end of everything that is touched.
    fn reach(&self) -> usize {
        self.reads.iter().chain(&self.writes).map(|r| r.end as usize).max().unwrap_or(0)
    }

    /// Adds what a chain of calls touches.
    pub(crate) fn add(&mut self, other: &Touched) {
        self.reads.extend_from_slice(&other.reads);
        self.writes.extend_from_slice(&other.writes);
        self.weights(other.weights_end);
        self.input(other.input_end);
    }

    /// The same for calls that run one after another: each float that is written counts once, and reads of it not at all.
    pub(crate) fn merged(self) -> Touched {
        let writes = union(self.writes);
        let mut reads = Vec::new();
        for mut read in union(self.reads) {
            let first = writes.partition_point(|write| write.end <= read.start);
            for write in writes[first..].iter().take_while(|write| write.start < read.end) {
                if read.start < write.start {
                    reads.push(read.start..write.start);
                }
                read.start = read.end.min(write.end);
            }
            if !read.is_empty() {
                reads.push(read);
            }
        }
        Touched { reads, writes, weights_end: self.weights_end, input_end: self.input_end }
    }

    /// Proves that nothing is written twice, and nothing read that is written; gives the end of everything that is touched.
    fn check(mut self) -> Result<usize, CallError> {
        let by_start = |r: &Range<u32>| u64::from(r.start) << 32 | u64::from(r.end);
        self.writes.retain(|r| !r.is_empty());
        self.reads.retain(|r| !r.is_empty());
        self.writes.sort_unstable_by_key(by_start);
        if let Some(pair) = self.writes.windows(2).find(|pair| pair[0].end > pair[1].start) {
            return Err(CallError::Overlap { written: pair[0].clone(), other: pair[1].clone() });
        }
        let reach = self.reach();
        // Most sets read and write apart from each other.
        let (first, end) = (self.writes.first().map_or(0, |r| r.start), self.writes.last().map_or(0, |r| r.end));
        self.reads.retain(|r| r.start < end && first < r.end);
        self.reads.sort_unstable_by_key(by_start);
        let mut writes = self.writes.iter().peekable();
        for read in &self.reads {
            while writes.next_if(|write| write.end <= read.start).is_some() {}
            if let Some(write) = writes.peek().filter(|write| write.start < read.end) {
                return Err(CallError::Overlap { written: (*write).clone(), other: read.clone() });
            }
        }
        Ok(reach)
    }
}

/// The same floats as disjoint ranges, in order.
fn union(mut ranges: Vec<Range<u32>>) -> Vec<Range<u32>> {
    ranges.retain(|range| !range.is_empty());
    ranges.sort_unstable_by_key(|range| range.start);
    let mut union: Vec<Range<u32>> = Vec::new();
    for range in ranges {
        match union.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => union.push(range),
        }
    }
    union
}

/// What every family's call provides to the set that holds it.
pub(crate) trait Run {
    /// Adds everything that `run` touches, padding included.
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError>;

    /// Multiply-adds, or what costs about as much as one: how work is split between threads.
    fn cost(&self) -> u64;

    /// # Safety
    /// `memory` holds everything that `extents` adds, and nobody else accesses what it adds as written, or writes what it adds as read.
    unsafe fn run(&self, memory: Memory<'_>);
}

/// A call of any family.
#[derive(Debug)]
pub enum Call {
    /// Of [`depthwise`].
    Depthwise(depthwise::Call),
    /// Of [`pointwise`].
    Pointwise(pointwise::Call),
    /// Of [`spatial`].
    Spatial(spatial::Call),
    /// Of [`linear`].
    Linear(linear::Call),
    /// Of [`softmax`].
    Softmax(softmax::Call),
    /// Of [`pool`].
    Pool(pool::Call),
    /// Of [`resize`].
    Resize(resize::Call),
    /// Of [`elementwise`].
    Elementwise(elementwise::Call),
    /// Of [`expand`].
    Expand(expand::Call),
    /// Of [`fill`].
    Fill(fill::Call),
    /// Of [`gather`].
    Gather(gather::Call),
    /// Of [`deal`].
    Deal(deal::Call),
    /// Of [`winograd::input`].
    WinogradInput(winograd::input::Call),
    /// Of [`winograd::output`].
    WinogradOutput(winograd::output::Call),
    /// Of [`chain`].
    Chain(chain::Call),
}

impl From<depthwise::Call> for Call {
    fn from(call: depthwise::Call) -> Self {
        Self::Depthwise(call)
    }
}

impl From<pointwise::Call> for Call {
    fn from(call: pointwise::Call) -> Self {
        Self::Pointwise(call)
    }
}

impl From<spatial::Call> for Call {
    fn from(call: spatial::Call) -> Self {
        Self::Spatial(call)
    }
}

impl From<linear::Call> for Call {
    fn from(call: linear::Call) -> Self {
        Self::Linear(call)
    }
}

impl From<softmax::Call> for Call {
    fn from(call: softmax::Call) -> Self {
        Self::Softmax(call)
    }
}

impl From<pool::Call> for Call {
    fn from(call: pool::Call) -> Self {
        Self::Pool(call)
    }
}

impl From<resize::Call> for Call {
    fn from(call: resize::Call) -> Self {
        Self::Resize(call)
    }
}

impl From<expand::Call> for Call {
    fn from(call: expand::Call) -> Self {
        Self::Expand(call)
    }
}

impl From<elementwise::Call> for Call {
    fn from(call: elementwise::Call) -> Self {
        Self::Elementwise(call)
    }
}

impl From<fill::Call> for Call {
    fn from(call: fill::Call) -> Self {
        Self::Fill(call)
    }
}

impl From<gather::Call> for Call {
    fn from(call: gather::Call) -> Self {
        Self::Gather(call)
    }
}

impl From<deal::Call> for Call {
    fn from(call: deal::Call) -> Self {
        Self::Deal(call)
    }
}

impl From<winograd::input::Call> for Call {
    fn from(call: winograd::input::Call) -> Self {
        Self::WinogradInput(call)
    }
}

impl From<winograd::output::Call> for Call {
    fn from(call: winograd::output::Call) -> Self {
        Self::WinogradOutput(call)
    }
}

impl From<chain::Call> for Call {
    fn from(call: chain::Call) -> Self {
        Self::Chain(call)
    }
}

impl Call {
    fn as_run(&self) -> &dyn Run {
        match self {
            Self::Depthwise(call) => call,
            Self::Elementwise(call) => call,
            Self::Expand(call) => call,
            Self::Fill(call) => call,
            Self::Gather(call) => call,
            Self::Deal(call) => call,
            Self::WinogradInput(call) => call,
            Self::WinogradOutput(call) => call,
            Self::Chain(call) => call,
            Self::Pointwise(call) => call,
            Self::Spatial(call) => call,
            Self::Linear(call) => call,
            Self::Softmax(call) => call,
            Self::Pool(call) => call,
            Self::Resize(call) => call,
        }
    }

    /// # Safety
    /// As for [`Run::run`].
    #[inline]
    unsafe fn run(&self, memory: Memory<'_>) {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Depthwise(call) => call.run(memory),
                Self::Elementwise(call) => call.run(memory),
                Self::Expand(call) => call.run(memory),
                Self::Fill(call) => call.run(memory),
                Self::Gather(call) => call.run(memory),
                Self::Deal(call) => call.run(memory),
                Self::WinogradInput(call) => call.run(memory),
                Self::WinogradOutput(call) => call.run(memory),
                Self::Chain(call) => call.run(memory),
                Self::Pointwise(call) => call.run(memory),
                Self::Spatial(call) => call.run(memory),
                Self::Linear(call) => call.run(memory),
                Self::Softmax(call) => call.run(memory),
                Self::Pool(call) => call.run(memory),
                Self::Resize(call) => call.run(memory),
            }
        }
    }
}

/// Calls that may run in any order or at the same time: no output overlaps another call's output or any input.
#[derive(Debug)]
pub struct CallSet {
    calls: Box<[Call]>,
    /// The sum of the calls' costs.
    cost: u64,
    /// For each call the sum of the costs before it and of those up to its end: twice where its middle lies.
    middles: Box<[u64]>,
    arena_end: usize,
    weights_end: usize,
    input_end: usize,
}

impl CallSet {
    /// Checks the calls against each other. Cost: a sort of everything they touch.
    ///
    /// # Errors
    /// [`CallError::Overlap`] if two calls write the same floats or one reads what another (or itself) writes, but for a residual that a pointwise call replaces;
    /// [`CallError::Reach`] if an access would lie outside any arena.
    pub fn new(calls: Vec<Call>) -> Result<Self, CallError> {
        let mut extents = Extents::default();
        let mut cost = 0;
        let mut middles = Vec::with_capacity(calls.len());
        for call in &calls {
            call.as_run().extents(&mut extents)?;
            let begin = cost;
            cost += call.as_run().cost();
            middles.push(begin + cost);
        }
        let weights_end = usize::try_from(extents.weights_end).unwrap_or(usize::MAX);
        let input_end = extents.input_end;
        let arena_end = extents.check()?;
        Ok(Self { calls: calls.into(), cost, middles: middles.into(), arena_end, weights_end, input_end })
    }

    /// Adds everything that the calls touch.
    pub(crate) fn add_extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        self.calls.iter().try_for_each(|call| call.as_run().extents(extents))
    }

    /// The sum of the calls' costs.
    pub(crate) const fn cost(&self) -> u64 {
        self.cost
    }

    /// The calls, in order.
    #[must_use]
    pub fn calls(&self) -> &[Call] {
        &self.calls
    }

    /// The number of floats that an arena must have.
    #[must_use]
    pub const fn arena_end(&self) -> usize {
        self.arena_end
    }

    pub(crate) fn check(&self, weights: &Weights, arena: &Arena, input: &[f32]) {
        assert!(self.arena_end <= arena.len(), "calls made for a larger arena");
        assert!(self.weights_end <= weights.len(), "calls made for other weights");
        assert!(self.input_end <= input.len(), "calls made for a larger input");
    }

    /// Runs all calls, in order, on this thread. `input` is what a [`deal`] reads that is not from the arena; empty if none does.
    ///
    /// # Panics
    /// If the calls were made for a larger arena, other weights or a larger input.
    pub fn run(&self, weights: &Weights, arena: &mut Arena, input: &[f32]) {
        self.check(weights, arena, input);
        // SAFETY: all are large enough, and nobody else has the arena.
        unsafe { self.run_unchecked(Memory { weights: weights.as_slice().as_ptr(), arena: arena.as_mut_ptr(), input }) }
    }

    /// [`CallSet::run`] without its checks.
    ///
    /// # Safety
    /// `memory` holds everything that the calls touch, and nobody else accesses what they write, or writes what they read.
    pub(crate) unsafe fn run_unchecked(&self, memory: Memory<'_>) {
        for call in &self.calls {
            // SAFETY: the caller's promise.
            unsafe { call.run(memory) }
        }
    }

    /// One of `of` parts of the calls, of about equal cost: a call belongs to the part that has its middle.
    fn part(&self, part: usize, of: usize) -> Range<usize> {
        let begin = |part: usize| match part {
            0 => 0,
            part if part >= of => self.calls.len(),
            part => {
                let target = 2 * u128::from(self.cost) * part as u128;
                self.middles.partition_point(|&middle| u128::from(middle) * of as u128 <= target)
            }
        };
        begin(part)..begin(part + 1)
    }

    /// Runs one of `of` parts of the calls, which together are all of them.
    ///
    /// # Safety
    /// As for [`CallSet::run_unchecked`], of the calls of this part.
    pub(crate) unsafe fn run_part(&self, [part, of]: [usize; 2], memory: Memory<'_>) {
        for call in &self.calls[self.part(part, of)] {
            // SAFETY: the caller's promise.
            unsafe { call.run(memory) }
        }
    }
}
