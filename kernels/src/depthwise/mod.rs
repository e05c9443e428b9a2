//! A convolution of each channel on its own: `y[c][r][q] = bias[c] + sum over i, j of w[c][i][j] * x[c][r * stride - pad + i * dilation][..]`, vector
//! lanes along the columns.
//!
//! Planes have no border: what lies outside the image counts as zero and is not touched. A row of at least one vector is written exactly; the vector
//! of a narrower row overruns it, and the next row overwrites that. Every variant sums in the same order: `((bias + chain 0) + chain 1) + ...` with one
//! chain of multiply-adds for each row of the window, columns in order (chain 0 starts from the bias); 5x5 windows of stride one or two in one chain from the
//! bias on, column by column, rows in order. Rows outside the image are left out.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod general;
mod portable;
pub mod reference;

use crate::{
    Epilogue, Image, Isa, Planes, Window,
    call::{CallError, Extents, Run},
};

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-depthwise-1x<columns>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// For the usual 3x3 windows, of stride one and two.
    three: [Entry; 2],
    /// For 5x5 windows, of stride one and two.
    five: [Entry; 2],
    /// For all others, of a horizontal stride of one, of two, and of more.
    any: [Entry; 3],
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
    fn entry(&self, window: &Window, input: &Image, output: &Image) -> Entry {
        let stride = window.stride[1];
        if body::is_three(window, input, output) {
            self.three[stride - 1]
        } else if body::is_five(window) {
            self.five[stride - 1]
        } else {
            self.any[stride.min(3) - 1]
        }
    }
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// The size of each input.
    pub input: Image,
    /// The size of each output and residual.
    pub output: Image,
    /// Which inputs an output reads.
    pub window: Window,
    /// Where the weights start, `[channels][k_h][k_w]`.
    pub weights: u32,
    /// Where the biases start, `[channels]`.
    pub bias: u32,
    /// The offset of each channel's input.
    pub x: Planes,
    /// The offset of each channel's output.
    pub y: &'a [u32],
    /// Applied to each output.
    pub epilogue: Epilogue,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    input: Image,
    output: Image,
    window: Window,
    weights: u32,
    bias: u32,
    x: Planes,
    y: Box<[u32]>,
    epilogue: Epilogue,
}

impl Call {
    /// # Errors
    /// If an image is empty or narrower than its pitch says, a size of the window is zero, or there is not one input (and residual) for each output.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { input, output, window, weights, bias, x, y, epilogue } = spec;
        window.check(&input, &output)?;
        let one_each = |what, planes: &Planes| {
            let found = planes.offsets().len();
            (found == y.len()).then_some(()).ok_or(CallError::Shape { what, found, expected: "one for each channel" })
        };
        one_each("the number of inputs", &x)?;
        if let Some(residual) = &epilogue.residual {
            one_each("the number of residual planes", residual)?;
        }
        let entry = kernel.entry(&window, &input, &output);
        Ok(Self { kernel, entry, input, output, window, weights, bias, x, y: y.into(), epilogue })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let channels = self.y.len();
        let [k_h, k_w] = self.window.kernel;
        let written = self.output.written(self.kernel.isa.lanes()) as i64;
        extents.read(&self.x, 0, self.input.len() as i64)?;
        extents.write(&self.y, 0, written)?;
        if let Some(residual) = &self.epilogue.residual {
            extents.read(residual, 0, written)?;
        }
        extents
            .weights(u64::from(self.weights).saturating_add((channels as u64).saturating_mul(k_h as u64 * k_w as u64)));
        extents.weights(u64::from(self.bias) + channels as u64);
        extents.weights(self.epilogue.weights_end(channels));
        Ok(())
    }

    fn cost(&self) -> u64 {
        let [k_h, k_w] = self.window.kernel;
        // A store costs about as much as two multiply-adds.
        (self.y.len() * self.output.height * self.output.width) as u64 * (k_h as u64 * k_w as u64 + 2)
    }

    unsafe fn run(&self, weights: *const f32, arena: *mut f32) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
