//! Fully connected: `y[f] = bias[f] + sum over inputs i of w[i][f] * x[i]`, vector lanes along the outputs `f`.
//!
//! Inputs and outputs are lists of single floats, each with its own offset, in any order; so a 1x1 convolution on a map of one pixel is the same, with
//! learned groups a call for each group. What bounds it is reading the weights: a call streams through one panel of them, which lies in one piece.
//! Every variant sums in the same order: the bias and the inputs with even index, the inputs with odd index, then the one sum plus the other.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod portable;
pub mod reference;

use crate::{
    Epilogue, Isa, Planes,
    call::{CallError, Extents, Memory, Run},
};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set and a width of panel.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-linear-<filters>x1-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// The entry for each number of vectors of filters, from one.
    by_vectors: &'static [Entry],
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

impl Kernel {
    /// The most filters in one call.
    #[must_use]
    pub const fn max_filters(&self) -> usize {
        self.by_vectors.len() * self.isa.lanes()
    }

    /// The floats in a row of weights for so many filters: the next multiple of the vector's lanes.
    #[must_use]
    pub const fn padded(&self, filters: usize) -> usize {
        filters.next_multiple_of(self.isa.lanes())
    }
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Where the weights start, `[inputs][padded filters]` ([`Kernel::padded`]); the padding may hold anything.
    pub weights: u32,
    /// Where the biases start, `[padded filters]`.
    pub bias: u32,
    /// The offset of each input.
    pub x: Planes,
    /// The offset of each filter's output.
    pub y: &'a [u32],
    /// Applied to each output; slopes and residuals are not padded.
    pub epilogue: Epilogue,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    weights: u32,
    bias: u32,
    x: Planes,
    y: Box<[u32]>,
    epilogue: Epilogue,
}

impl Call {
    /// # Errors
    /// If there is no filter or more than the kernel takes, or the residual has another number of elements.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { weights, bias, x, y, epilogue } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let vectors = y.len().div_ceil(kernel.isa.lanes());
        let Some(&entry) = vectors.checked_sub(1).and_then(|last| kernel.by_vectors.get(last)) else {
            return shape("the number of filters", y.len(), "at least one and at most what the kernel takes");
        };
        if let Some(residual) = &epilogue.residual
            && residual.offsets().len() != y.len()
        {
            return shape("the number of residual elements", residual.offsets().len(), "one for each filter");
        }
        Ok(Self { kernel, entry, weights, bias, x, y: y.into(), epilogue })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let padded = self.kernel.padded(self.y.len()) as u64;
        extents.read(&self.x, 0, 1)?;
        extents.write(&self.y, 0, 1)?;
        if let Some(residual) = &self.epilogue.residual {
            extents.read(residual, 0, 1)?;
        }
        extents.weights(u64::from(self.weights) + self.x.offsets().len() as u64 * padded);
        extents.weights(u64::from(self.bias) + padded);
        extents.weights(self.epilogue.weights_end(self.y.len()));
        Ok(())
    }

    fn cost(&self) -> u64 {
        // Each weight is used once: reading it costs as much as several multiply-adds.
        4 * (self.kernel.padded(self.y.len()) * (self.x.offsets().len() + 2)) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
