//! Some filters over rows of pixels, with a stride: `y[f][r * y_pitch + p] = bias[f] + sum over taps t of w[t][f] * x[t + r * x_step + p * stride]`
//! for each row `r` and column `p`, vector lanes along the columns.
//!
//! A tap is an offset in the arena: the plane of a channel, shifted by some rows and columns of the filter's window; the planes have a border of zeros
//! where windows need it. (Without a stride, and where the columns between the rows may hold anything, [`crate::pointwise`] does the same for
//! whole planes at once.) The last vector of a row of at least one vector ends with the row: nothing beyond it is touched. In a narrower row it
//! **overruns**: each row is read and written as if it had as many columns as the vector has lanes. Rows are written in ascending order, so an
//! overrun is overwritten by the next row where that begins, and only what lies between the rows and behind the last one is left with junk.
//! Every variant sums in the same order: bias, then taps in the order of the list, one fused multiply-add each (the portable variant rounds twice).

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

/// A variant: an instruction set and a shape of tile.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-spatial-<filters>x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// The entries for each number of filters, from one: for a stride of one, of two, and any.
    by_filters: &'static [[Entry; 3]],
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
        self.by_filters.len()
    }
}

/// What a call computes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Rows of the output, at least one.
    pub rows: usize,
    /// Columns of the output, at least one.
    pub columns: usize,
    /// Floats between the inputs of neighbouring columns, at least one.
    pub stride: usize,
    /// Floats between the inputs of neighbouring rows: the vertical stride times the pitch.
    pub x_step: usize,
    /// Floats between the outputs (and the residuals) of neighbouring rows.
    pub y_pitch: usize,
    /// Where the weights start, `[taps][filters]`.
    pub weights: u32,
    /// Where the biases start, `[filters]`.
    pub bias: u32,
    /// The offset of each tap's first input.
    pub x: Planes,
    /// The offset of each filter's output.
    pub y: &'a [u32],
    /// Applied to each output.
    pub epilogue: Epilogue,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    rows: usize,
    columns: usize,
    stride: usize,
    x_step: usize,
    y_pitch: usize,
    weights: u32,
    bias: u32,
    x: Planes,
    y: Box<[u32]>,
    epilogue: Epilogue,
}

impl Call {
    /// # Errors
    /// If there is no filter or more than the kernel takes, no row, no column, no stride, or the residual has another number of planes.
    pub fn new(kernel: &'static Kernel, spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { rows, columns, stride, x_step, y_pitch, weights, bias, x, y, epilogue } = spec;
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let Some(entries) = y.len().checked_sub(1).and_then(|last| kernel.by_filters.get(last)) else {
            return shape("the number of filters", y.len(), "at least one and at most what the kernel takes");
        };
        if rows == 0 || columns == 0 {
            return shape("the number of rows and columns", 0, "at least one");
        }
        let entry = match stride {
            0 => return shape("the stride", 0, "at least one"),
            1 => entries[0],
            2 => entries[1],
            _ => entries[2],
        };
        if let Some(residual) = &epilogue.residual
            && residual.offsets().len() != y.len()
        {
            return shape("the number of residual planes", residual.offsets().len(), "one for each filter");
        }
        let y = y.into();
        Ok(Self { kernel, entry, rows, columns, stride, x_step, y_pitch, weights, bias, x, y, epilogue })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let (taps, filters) = (self.x.offsets().len(), self.y.len());
        let columns = self.columns.max(self.kernel.isa.lanes());
        let inputs = match self.stride {
            // Vectors of even columns come with the odd ones.
            2 => columns.saturating_mul(2),
            stride => (columns - 1).saturating_mul(stride).saturating_add(1),
        };
        let end = |pitch: usize, columns: usize| {
            let end = (self.rows - 1).saturating_mul(pitch).saturating_add(columns);
            i64::try_from(end).unwrap_or(i64::MAX)
        };
        let outputs = end(self.y_pitch, columns);
        extents.read(&self.x, 0, end(self.x_step, inputs))?;
        extents.write(&self.y, 0, outputs)?;
        if let Some(residual) = &self.epilogue.residual {
            extents.read(residual, 0, outputs)?;
        }
        extents.weights(u64::from(self.weights) + taps as u64 * filters as u64);
        extents.weights(u64::from(self.bias) + filters as u64);
        extents.weights(self.epilogue.weights_end(filters));
        Ok(())
    }

    fn cost(&self) -> u64 {
        // A store costs about as much as two multiply-adds.
        let pixels = self.rows * self.columns.next_multiple_of(self.kernel.isa.lanes());
        (pixels * self.y.len() * (self.x.offsets().len() + 2)) as u64
    }

    unsafe fn run(&self, Memory { weights, arena, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, weights, arena) }
    }
}
