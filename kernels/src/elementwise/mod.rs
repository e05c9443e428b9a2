//! Planes element by element: activations, sums and products of two planes or of a plane and a float, batch norm that could not be folded.
//!
//! `y[c][p] = activation(op(x[c][p]))`. A plane is a run of pixels, a multiple of the vector's lanes, or a single float.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod portable;
pub mod reference;

use crate::{
    Activation, Isa, Planes,
    call::{CallError, Extents, Memory, Run},
};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-elementwise-1x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// For planes of vectors, and of single floats.
    vectors: Entry,
    single: Entry,
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

/// What happens to each element of `x`.
#[derive(Clone, Debug)]
pub enum Op {
    /// Nothing before the activation.
    Identity,
    /// Plus the same element of another plane.
    Add(Planes),
    /// Plus one float for each plane.
    AddFloat(Planes),
    /// Times the same element of another plane.
    Multiply(Planes),
    /// Times one float for each plane: squeeze-and-excite.
    MultiplyFloat(Planes),
    /// `x * scale + shift`, which the weights hold for each plane from these offsets on.
    ScaleShift {
        /// Where the factors start.
        scale: u32,
        /// Where the summands start.
        shift: u32,
    },
}

impl Op {
    /// The second operand, and whether it is a single float for each plane.
    fn operand(&self) -> Option<(&Planes, bool)> {
        match self {
            Self::Add(planes) | Self::Multiply(planes) => Some((planes, false)),
            Self::AddFloat(planes) | Self::MultiplyFloat(planes) => Some((planes, true)),
            Self::Identity | Self::ScaleShift { .. } => None,
        }
    }
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Pixels of a plane: one, or a multiple of the vector's lanes.
    pub pixels: usize,
    /// What happens to each element.
    pub op: Op,
    /// The offset of each input plane.
    pub x: Planes,
    /// The offset of each output plane.
    pub y: &'a [u32],
    /// Applied to each output.
    pub activation: Activation,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    pixels: usize,
    op: Op,
    x: Planes,
    y: Box<[u32]>,
    activation: Activation,
}

impl Call {
    /// # Errors
    /// If `pixels` is neither one nor a multiple of the kernel's lanes or does not fit 32 bits, or there is not one input (and second operand) for each output.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { pixels, op, x, y, activation } = spec;
        if (pixels != 1 && !pixels.is_multiple_of(kernel.isa.lanes())) || u32::try_from(pixels).is_err() {
            let expected = "one or a multiple of the vector's lanes, below 2^32";
            return Err(CallError::Shape { what: "the number of pixels", found: pixels, expected });
        }
        for planes in [Some(&x), op.operand().map(|(planes, _)| planes)].into_iter().flatten() {
            let found = planes.offsets().len();
            if found != y.len() {
                return Err(CallError::Shape {
                    what: "the number of input planes",
                    found,
                    expected: "one for each output",
                });
            }
        }
        Ok(Self { kernel, pixels, op, x, y: y.into(), activation })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let (pixels, planes) = (self.pixels as i64, self.y.len());
        extents.read(&self.x, 0, pixels)?;
        extents.write(&self.y, 0, pixels)?;
        if let Some((operand, single)) = self.op.operand() {
            extents.read(operand, 0, if single { 1 } else { pixels })?;
        }
        if let Op::ScaleShift { scale, shift } = self.op {
            extents.weights(u64::from(scale.max(shift)) + planes as u64);
        }
        extents.weights(self.activation.weights_end(planes));
        Ok(())
    }

    fn cost(&self) -> u64 {
        // A load and a store cost about as much as four multiply-adds.
        4 * (self.pixels * self.y.len()) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        let entry = if self.pixels == 1 { self.kernel.single } else { self.kernel.vectors };
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { entry(self, weights, arena) }
    }
}
