//! Softmax along an axis: `y[i][p] = exp(x[i][p] - max) / sum` for each list of `n` planes (a row) and each pixel `p`, vector lanes along the pixels.
//!
//! Over single floats (a vector of class scores) the planes have one pixel each. Sums run in the order of the list.

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
};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-softmax-1x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    planes: Entry,
    /// The entry for planes of one pixel.
    elements: Entry,
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
    /// Pixels of a plane: one, or a multiple of the vector's lanes.
    pub pixels: usize,
    /// Length of the axis, at least one.
    pub n: usize,
    /// The offset of each input, `[rows][n]`.
    pub x: Planes,
    /// The offset of each output, `[rows][n]`.
    pub y: &'a [u32],
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    pixels: usize,
    n: usize,
    x: Planes,
    y: Box<[u32]>,
}

impl Call {
    /// # Errors
    /// If `pixels` is neither one nor a multiple of the kernel's lanes, `n` is zero, a list is no multiple of `n`, or their lengths differ.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { pixels, n, x, y } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let entry = if pixels == 1 { kernel.elements } else { kernel.planes };
        if pixels != 1 && !pixels.is_multiple_of(kernel.isa.lanes()) {
            return shape("the number of pixels", pixels, "one or a multiple of the vector's lanes");
        }
        if n == 0 {
            return shape("the length of the axis", n, "at least one");
        }
        if !y.len().is_multiple_of(n) {
            return shape("the number of outputs", y.len(), "a multiple of the length of the axis");
        }
        if x.offsets().len() != y.len() {
            return shape("the number of inputs", x.offsets().len(), "as many as outputs");
        }
        Ok(Self { kernel, entry, pixels, n, x, y: y.into() })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let end = i64::try_from(self.pixels).unwrap_or(i64::MAX);
        extents.read(&self.x, 0, end)?;
        extents.write(&self.y, 0, end)
    }

    fn cost(&self) -> u64 {
        // The exponential function and the division.
        32 * (self.pixels * self.y.len()) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
