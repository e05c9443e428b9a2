//! Windows over planes, reduced to their largest value or their mean; and whole planes, reduced to a float.
//!
//! A window is reduced down its columns first, then along them: `y = op over j of (op over i of x[row i][column j])`, `i` and `j` ascending. What lies outside
//! the image does not count, or counts as zero where [`Op::AverageCountPad`] says so. Means divide the sum by the number of pixels counted; the mean of none is zero,
//! the largest of none is negative infinity. A whole plane is
//! reduced in two vectors of partial results, taken in turn by the vectors of its rows (of all its pixels if rows are contiguous), then lane by lane.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod portable;
pub mod reference;

use crate::{
    Isa, Planes,
    call::{CallError, Extents, Memory, Run},
    window::{Image, Window},
};

type Entry = unsafe fn(&Call, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-pool-1x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    windows: Entry,
    global: Entry,
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

/// How a window is reduced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Op {
    /// The largest pixel inside the image.
    Max,
    /// The mean of the pixels inside the image.
    Average,
    /// The mean of the pixels inside the padded image, those of the padding being zero.
    AverageCountPad {
        /// Rows below and columns right of the image that are padding.
        pad_end: [usize; 2],
    },
}

/// What a call over windows computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// How a window is reduced.
    pub op: Op,
    /// The size of each input.
    pub input: Image,
    /// The size of each output.
    pub output: Image,
    /// Which inputs an output reads.
    pub window: Window,
    /// The offset of each input plane.
    pub x: Planes,
    /// The offset of each output plane.
    pub y: &'a [u32],
}

/// What a call over whole planes computes.
#[derive(Clone, Debug)]
pub struct GlobalSpec<'a> {
    /// The mean of a plane, or its largest pixel.
    pub average: bool,
    /// The size of each input.
    pub input: Image,
    /// The offset of each input plane.
    pub x: Planes,
    /// The offset of each output, a single float.
    pub y: &'a [u32],
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    op: Op,
    input: Image,
    /// `None`: the whole plane.
    windows: Option<(Image, Window)>,
    x: Planes,
    y: Box<[u32]>,
}

impl Call {
    /// A call over windows.
    ///
    /// # Errors
    /// If an image or window is empty or too large, or there is not one input for each output.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { op, input, output, window, x, y } = spec;
        window.check(&input, &output)?;
        if let Op::AverageCountPad { pad_end } = op
            && let Some(&found) = pad_end.iter().find(|&&pad| u32::try_from(pad).is_err())
        {
            return Err(CallError::Shape { what: "the padding", found, expected: "below 2^32" });
        }
        Self { kernel, op, input, windows: Some((output, window)), x, y: y.into() }.checked()
    }

    /// A call over whole planes.
    ///
    /// # Errors
    /// If the image is empty, or there is not one input for each output.
    pub fn global(kernel: &'static Kernel, spec: GlobalSpec<'_>) -> Result<Self, CallError> {
        let GlobalSpec { average, input, x, y } = spec;
        let whole = Window { kernel: [1, 1], stride: [1, 1], dilation: [1, 1], pad: [0, 0] };
        whole.check(&input, &input)?;
        let op = if average { Op::Average } else { Op::Max };
        Self { kernel, op, input, windows: None, x, y: y.into() }.checked()
    }

    fn checked(self) -> Result<Self, CallError> {
        let found = self.x.offsets().len();
        if found != self.y.len() {
            return Err(CallError::Shape { what: "the number of inputs", found, expected: "one for each output" });
        }
        Ok(self)
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
        let written = self.windows.map_or(1, |(output, _)| output.written(self.kernel.isa.lanes()));
        extents.write(&self.y, 0, written as i64)
    }

    fn cost(&self) -> u64 {
        let pixels = match self.windows {
            Some((output, window)) => output.height * output.width * (window.kernel[0] + window.kernel[1]),
            None => self.input.height * self.input.width,
        };
        (pixels * self.y.len()) as u64
    }

    unsafe fn run(&self, Memory { arena, .. }: Memory<'_>) {
        let entry = if self.windows.is_some() { self.kernel.windows } else { self.kernel.global };
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { entry(self, arena) }
    }
}
