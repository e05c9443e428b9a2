//! The first step: `B^T d B` of the 6x6 inputs `d` of each tile.

use super::{Between, Kernel, PLACES, SEGMENTS, Segments};
use crate::{
    Image, Planes,
    call::{CallError, Extents, Memory, Run},
};
use std::ops::Range;

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The input planes; what lies outside counts as zero and is not read.
    pub input: Image,
    /// The size of the output.
    pub output: Image,
    /// Rows above and columns left of the input in the first window.
    pub pad: [usize; 2],
    /// Which of the output's [`Kernel::segments`].
    pub segments: Range<usize>,
    /// The offset of each input plane.
    pub x: Planes,
    /// Where they go.
    pub y: Between,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    pub(super) input: Image,
    pub(super) pad: [usize; 2],
    pub(super) segments: Segments,
    pub(super) x: Planes,
    /// Where each place starts.
    pub(super) starts: Planes,
    /// What it writes of each place.
    runs: Vec<Range<usize>>,
    pub(super) y: Between,
}

impl Call {
    /// # Errors
    /// If an image has no size, the output has not these segments, the windows lie further outside the input than they are large, planes overlap or lie outside any arena.
    pub fn new(kernel: &'static Kernel, spec: Spec) -> Result<Self, CallError> {
        let Spec { input, output, pad, segments, x, y } = spec;
        input.check()?;
        let segments = Segments::new(kernel, output, segments)?;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        if let Some(&pad) = pad.iter().find(|&&pad| pad > 2) {
            return shape("the padding", pad, "at most two");
        }
        let runs = y.runs(x.offsets().len(), segments.vectors(), kernel.isa.lanes())?;
        if runs.last().is_some_and(|run| run.end > y.place) {
            return shape("the distance of places", y.place, "at least all planes");
        }
        Ok(Self { kernel, input, pad, segments, x, starts: y.starts()?, runs, y })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        extents.read(&self.x, 0, self.input.len() as i64)?;
        if self.x.offsets().is_empty() {
            return Ok(());
        }
        let at = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
        self.runs.iter().try_for_each(|run| extents.write(self.starts.offsets(), at(run.start), at(run.end)))
    }

    fn cost(&self) -> u64 {
        // Measured: about as much as four multiply-adds for each of the 36 numbers.
        let tiles = self.segments.vectors() * SEGMENTS * self.kernel.isa.lanes() / 4;
        (self.x.offsets().len() * tiles * PLACES * 4) as u64
    }

    unsafe fn run(&self, Memory { arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.kernel.input)(self, arena) }
    }
}
