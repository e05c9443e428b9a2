//! Planes resized, nearest or bilinear: `y[r][c]` lies between two rows and two columns of `x`, each with the share that an [`Axis`] gives it.
//!
//! Down the columns first, a vector of inputs at a time, then along the rows, each by `a + weight * (b - a)`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod axis;
mod body;
mod portable;
pub mod reference;

use crate::{
    Isa, Planes,
    call::{CallError, Extents, Memory, Run},
};
pub use axis::{Axis, Coordinates, Rounding};
use std::{ops::Range, sync::Arc};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-resize-1x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    entry: Entry,
}

/// Every variant in this build, fastest first.
static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    #[cfg(target_arch = "x86_64")]
    &avx2::KERNEL,
    &portable::KERNEL,
];

/// The variants that this CPU runs, fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.isa.is_available())
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Where each row of outputs comes from.
    pub rows: Arc<Axis>,
    /// Where each column of outputs comes from.
    pub columns: Arc<Axis>,
    /// Floats between rows of inputs.
    pub x_pitch: usize,
    /// Floats between rows of outputs.
    pub y_pitch: usize,
    /// The offset of each input plane.
    pub x: Planes,
    /// The offset of each output plane.
    pub y: &'a [u32],
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    rows: Arc<Axis>,
    columns: Arc<Axis>,
    blocks: Box<[Block]>,
    /// Whether every column is a copy of one.
    copies: bool,
    x_pitch: usize,
    y_pitch: usize,
    x: Planes,
    y: Box<[u32]>,
}

/// Columns whose inputs fit the buffer for the vertical step.
#[derive(Debug)]
struct Block {
    outputs: Range<usize>,
    inputs: Range<usize>,
}

/// Floats in that buffer.
const BUFFER: usize = 512;

fn blocks(columns: &Axis) -> Box<[Block]> {
    let mut blocks: Vec<Block> = Vec::new();
    for (c, (&from, &to)) in columns.from.iter().zip(&columns.to).enumerate() {
        let (from, end) = (from as usize, to as usize + 1);
        if let Some(Block { outputs, inputs }) = blocks.last_mut() {
            let both = inputs.start.min(from)..inputs.end.max(end);
            if both.len() <= BUFFER {
                (outputs.end, *inputs) = (c + 1, both);
                continue;
            }
        }
        blocks.push(Block { outputs: c..c + 1, inputs: from..end });
    }
    blocks.into()
}

impl Call {
    /// # Errors
    /// If an axis is empty, its lists have different lengths or its pairs are no neighbours, or there are not as many input as output planes.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { rows, columns, x_pitch, y_pitch, x, y } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        for axis in [&rows, &columns] {
            if axis.is_empty() {
                return shape("the number of rows or columns", 0, "at least one");
            }
            if axis.to.len() != axis.len() || axis.weight.len() != axis.len() {
                return shape("the length of an axis' list", axis.to.len(), "the same for each of its lists");
            }
            let neighbours = |(&from, &to): (&u32, &u32)| to.checked_sub(from).is_some_and(|distance| distance <= 1);
            if let Some(i) = axis.from.iter().zip(&axis.to).position(|pair| !neighbours(pair)) {
                return shape("the second input of an output", axis.to[i] as usize, "the first or the one after it");
            }
        }
        if x.offsets().len() != y.len() {
            return shape("the number of input planes", x.offsets().len(), "as many as output planes");
        }
        let copies = columns.weight.iter().all(|&weight| weight == 0.0);
        Ok(Self { kernel, blocks: blocks(&columns), copies, rows, columns, x_pitch, y_pitch, x, y: y.into() })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let end = |last_row: usize, pitch: usize, columns: usize| {
            i64::try_from(last_row.saturating_mul(pitch).saturating_add(columns)).unwrap_or(i64::MAX)
        };
        let last = |axis: &Axis| axis.to.iter().copied().max().unwrap_or(0) as usize;
        extents.read(&self.x, 0, end(last(&self.rows), self.x_pitch, last(&self.columns) + 1))?;
        extents.write(&self.y, 0, end(self.rows.len() - 1, self.y_pitch, self.columns.len()))
    }

    fn cost(&self) -> u64 {
        4 * (self.rows.len() * self.columns.len() * self.y.len()) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.kernel.entry)(self, weights, arena) }
    }
}
