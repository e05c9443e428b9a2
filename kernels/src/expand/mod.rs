//! A 1x1 convolution and the 3x3 depthwise convolution over what it makes, in registers: the planes between them are never stored. For expansions of few channels,
//! each of whose outputs costs no more multiply-adds than storing it and loading it again takes.
//!
//! `e[f] = clamp(bias[f] + sum over taps t of w[f][t] * x[t])` and `y[f] = clamp(of the depthwise sums over e[f])`, in the order of sums of [`crate::pointwise`] and
//! [`crate::depthwise`]: the same bits as both of them one after another. Vector lanes lie along the columns; a vector of `e` gives two columns of `y` less than it
//! has lanes (with a stride of two, one), since the columns beside it belong to others, which compute some of `e` again.
//!
//! Outputs are made in strips, for which the columns that they read are copied first: for each tap and row a vector of them, the one before the outputs first,
//! with a stride of two a vector of odd columns and one of even ones. All filters read that from the first cache, in order. Columns outside the image
//! count as zero, whatever is there; rows outside are left out.

#[cfg(target_arch = "x86_64")]
mod avx512;
#[expect(clippy::needless_range_loop, reason = "arrays are gone through side by side")]
mod body;
mod portable;
pub mod reference;

use crate::{
    Activation, Image, Isa, Planes,
    call::{CallError, Extents, Memory, Run},
};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-expand-<filters>x<columns>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// For strides of one and two.
    by_stride: [Entry; 2],
}

/// Every variant in this build, fastest first.
static KERNELS: &[&Kernel] = &[
    #[cfg(target_arch = "x86_64")]
    &avx512::KERNEL,
    &portable::KERNEL,
];

/// The variants that this CPU runs, fastest first.
pub fn available() -> impl Iterator<Item = &'static Kernel> {
    KERNELS.iter().copied().filter(|kernel| kernel.isa.is_available())
}

impl Kernel {
    /// Floats that copies of a strip take, of `taps` inputs of so many rows; `None` beyond what a machine can address.
    #[must_use]
    pub fn scratch(&self, rows: usize, stride: usize, taps: usize) -> Option<usize> {
        rows.checked_mul(stride)?.checked_mul(self.isa.lanes())?.checked_mul(taps)
    }
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The size of each input and of what is made of it.
    pub input: Image,
    /// The size of each output: all columns of the input, or with a stride of two half of them, rounded up.
    pub output: Image,
    /// One or two, down and along.
    pub stride: usize,
    /// Rows above the input that the first window holds: none or one. Left of it there is one column.
    pub pad: usize,
    /// The offset of each input.
    pub x: Planes,
    /// Where the inputs are copied to: [`Kernel::scratch`] floats.
    pub scratch: u32,
    /// Where the weights of the 1x1 convolution start, `[filters][taps]`.
    pub expansion: u32,
    /// Where its biases start, `[filters]`.
    pub expansion_bias: u32,
    /// Applied to what it makes: a clamp or nothing.
    pub between: Activation,
    /// Where the weights of the depthwise convolution start, `[filters][3][3]`.
    pub weights: u32,
    /// Where its biases start, `[filters]`.
    pub bias: u32,
    /// The offset of each filter's output.
    pub y: &'a [u32],
    /// Applied to each output: a clamp or nothing.
    pub activation: Activation,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    input: Image,
    output: Image,
    pad: usize,
    x: Planes,
    /// A single offset.
    scratch: [u32; 1],
    /// Floats there.
    copied: usize,
    expansion: u32,
    expansion_bias: u32,
    between: [f32; 2],
    weights: u32,
    bias: u32,
    y: Box<[u32]>,
    bounds: [f32; 2],
}

impl Call {
    /// # Errors
    /// If an image is empty or narrower than its pitch says, the stride is neither one nor two, the sizes are not those of 3x3 windows with that padding, a window has
    /// less than two rows of the input, copies take more than 32 bits can address, or an activation is no clamp.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec {
            input,
            output,
            stride,
            pad,
            x,
            scratch,
            expansion,
            expansion_bias,
            between,
            weights,
            bias,
            y,
            activation,
        } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        input.check()?;
        output.check()?;
        if !(1..=2).contains(&stride) {
            return shape("the stride", stride, "one or two");
        }
        if pad > 1 {
            return shape("the padding", pad, "at most one row");
        }
        if (output.height - 1) * stride + 2 > input.height + pad {
            return shape("the rows of the output", output.height, "windows with at least two rows of the input");
        }
        if output.width != input.width.div_ceil(stride) {
            return shape("the columns of the output", output.width, "those of the input, divided by the stride");
        }
        let (Some(between), Some(bounds)) = (between.bounds(), activation.bounds()) else {
            return shape("an activation", 0, "a clamp or nothing");
        };
        let copied = kernel.scratch(input.height, stride, x.offsets().len());
        let Some(copied) = copied.filter(|&floats| u32::try_from(floats).is_ok()) else {
            return shape("the number of taps", x.offsets().len(), "copies below 2^32 floats");
        };
        Ok(Self {
            kernel,
            entry: kernel.by_stride[stride - 1],
            input,
            output,
            pad,
            x,
            scratch: [scratch],
            copied,
            expansion,
            expansion_bias,
            between,
            weights,
            bias,
            y: y.into(),
            bounds,
        })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let (taps, filters) = (self.x.offsets().len() as u64, self.y.len() as u64);
        extents.read(&self.x, 0, self.input.len() as i64)?;
        extents.write(&self.scratch, 0, self.copied as i64)?;
        extents.write(&self.y, 0, self.output.len() as i64)?;
        extents.weights(u64::from(self.expansion) + taps * filters);
        extents.weights(u64::from(self.expansion_bias) + filters);
        extents.weights(u64::from(self.weights) + 9 * filters);
        extents.weights(u64::from(self.bias) + filters);
        Ok(())
    }

    fn cost(&self) -> u64 {
        let inputs = (self.input.height * self.input.width * self.x.offsets().len()) as u64;
        self.y.len() as u64 * (inputs + (self.output.height * self.output.width) as u64 * 11)
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
