//! A convolution of each channel on its own: `y[c][r][q] = bias[c] + sum over i, j of w[c][i][j] * x[c][r * stride - pad + i * dilation][..]`, vector
//! lanes along the columns.
//!
//! Planes have no border: what lies outside the image counts as zero, whatever is there; a row narrower than a vector is read up to a vector. A row of at
//! least one vector is written exactly; the vector of a narrower row overruns it, and the next row overwrites that. Every variant sums in the same order, in
//! one chain of multiply-adds from the bias on: row by row of the window, columns in order; 5x5 windows of stride one or two column by column, rows in order.
//! Rows outside the image are left out.

mod across;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod general;
mod portable;
pub mod reference;
#[cfg(target_arch = "x86_64")]
mod seven;

use crate::{
    Epilogue, Image, Isa, Planes, Window,
    call::{CallError, Extents, Memory, Run},
};

pub(crate) use body::load_row;

type Entry = unsafe fn(&Call, *const f32, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-depthwise-1x<columns>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// Whether strided windows take so much less time over dealt columns that it pays to deal them.
    pub deals: bool,
    /// For the usual 3x3 windows, of stride one and two.
    three: [Entry; 2],
    /// For those of stride two whose input rows are dealt.
    dealt: Entry,
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
    /// If the columns of each input row are dealt: how far the odd ones begin behind the even ones. For 3x3 windows of stride two with a padding of one on the
    /// left, which then load no column in vain.
    pub odd: Option<usize>,
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
    /// Zero if nothing is dealt.
    odd: usize,
    weights: u32,
    bias: u32,
    x: Planes,
    y: Box<[u32]>,
    epilogue: Epilogue,
}

impl Call {
    /// # Errors
    /// If an image is empty or narrower than its pitch says, a size of the window is zero, there is not one input (and residual) for each output, or what is
    /// dealt has another window or does not fit in a row.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { input, output, window, odd, weights, bias, x, y, epilogue } = spec;
        window.check(&input, &output)?;
        let one_each = |what, planes: &Planes| {
            let found = planes.offsets().len();
            (found == y.len()).then_some(()).ok_or(CallError::Shape { what, found, expected: "one for each channel" })
        };
        one_each("the number of inputs", &x)?;
        if let Some(residual) = &epilogue.residual {
            one_each("the number of residual planes", residual)?;
        }
        let entry = match odd {
            None => kernel.entry(&window, &input, &output),
            Some(odd) => {
                let fits = window.stride == [2; 2]
                    && window.pad[1] == 1
                    && body::is_three(&window, &input, &output)
                    && output.width <= input.width.div_ceil(2);
                if !fits {
                    let expected = "3x3, two columns at a time from one before the first, outputs for the even columns";
                    return Err(CallError::Shape {
                        what: "the window over dealt columns",
                        found: output.width,
                        expected,
                    });
                }
                // Each half of a row is read in whole vectors.
                let half = input.width.div_ceil(2).max(kernel.isa.lanes());
                if odd < half || input.pitch.checked_sub(half).is_none_or(|most| most < odd) {
                    let expected = "behind a vector and all even columns, and before the end of the row";
                    return Err(CallError::Shape { what: "the place of odd columns", found: odd, expected });
                }
                kernel.dealt
            }
        };
        let odd = odd.unwrap_or(0);
        Ok(Self { kernel, entry, input, output, window, odd, weights, bias, x, y: y.into(), epilogue })
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
        // The lanes behind a narrow row are read, but count for nothing.
        let row = if self.odd > 0 { self.input.pitch } else { self.input.width.max(self.kernel.isa.lanes()) };
        extents.read(&self.x, 0, ((self.input.height - 1) * self.input.pitch + row) as i64)?;
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

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
