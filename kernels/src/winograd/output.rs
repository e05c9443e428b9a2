//! The last step: `A^T m A` of the 36 numbers `m` of each tile, with bias, activation and residual.

use super::{Between, Kernel, PLACES, SEGMENTS, Segments};
use crate::{
    Epilogue, Image, Planes,
    call::{CallError, Extents, Memory, Run},
};
use std::ops::Range;

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The output planes, and those of the residual; nothing beyond their columns is touched.
    pub output: Image,
    /// Which of the output's [`Kernel::segments`].
    pub segments: Range<usize>,
    /// The numbers of each filter.
    pub x: Between,
    /// Where the biases start, `[filters]`.
    pub bias: u32,
    /// The offset of each filter's output.
    pub y: &'a [u32],
    /// Applied to each output.
    pub epilogue: Epilogue,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    pub(super) segments: Segments,
    /// Where each place starts.
    pub(super) starts: Planes,
    /// What it reads of each place.
    runs: Vec<Range<usize>>,
    pub(super) x: Between,
    pub(super) bias: u32,
    pub(super) y: Box<[u32]>,
    pub(super) epilogue: Epilogue,
}

impl Call {
    /// # Errors
    /// If the output has no size or not these segments, planes overlap, a place lies outside any arena, or the residual has another number of planes.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { output, segments, x, bias, y, epilogue } = spec;
        let segments = Segments::new(kernel, output, segments)?;
        if let Some(residual) = &epilogue.residual
            && residual.offsets().len() != y.len()
        {
            let found = residual.offsets().len();
            return Err(CallError::Shape {
                what: "the number of residual planes",
                found,
                expected: "one for each filter",
            });
        }
        let runs = x.runs(y.len(), segments.vectors(), kernel.isa.lanes())?;
        Ok(Self { kernel, segments, starts: x.starts()?, runs, x, bias, y: y.into(), epilogue })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }

    /// The floats of a plane from the first row of the first segment to the last row of the last.
    fn written(&self) -> Range<i64> {
        let Segments { image, ref range, columns } = self.segments;
        let rows = |segment: usize| (segment / columns * super::TILE).min(image.height);
        let (first, last) = (rows(range.start), rows(range.end - 1 + columns));
        (first * image.pitch) as i64..((last - 1) * image.pitch + image.width) as i64
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let filters = self.y.len();
        if filters == 0 {
            return Ok(());
        }
        let at = |at: usize| i64::try_from(at).unwrap_or(i64::MAX);
        for run in &self.runs {
            extents.read(&self.starts, at(run.start), at(run.end))?;
        }
        let Range { start, end } = self.written();
        extents.write(&self.y, start, end)?;
        if let Some(residual) = &self.epilogue.residual {
            extents.read(residual, start, end)?;
        }
        extents.weights(u64::from(self.bias) + filters as u64);
        extents.weights(self.epilogue.weights_end(filters));
        Ok(())
    }

    fn cost(&self) -> u64 {
        // Measured: about as much as four multiply-adds for each of the 36 numbers.
        let tiles = self.segments.vectors() * SEGMENTS * self.kernel.isa.lanes() / 4;
        (self.y.len() * tiles * PLACES * 4) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.kernel.output)(self, weights, arena) }
    }
}
