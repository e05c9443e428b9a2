//! Every `stride`-th column of some rows, as planes of their own: `y[t][r * y_pitch + c] = x[t][r * x_step + c * stride]`, and with a stride of two the columns
//! between likewise.
//!
//! What a convolution with stride reads lies apart: each vector of inputs is two loads of which half is thrown away, for each tile of filters anew. So a block
//! of its input is dealt once, into scratch memory that stays in cache, for all filters; over the dealt planes the convolution has a stride of one. A row of
//! at least one vector ends with its last column; a narrower one **overruns** like those of [`crate::spatial`], within its plane's `y_stride`.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod body;
mod portable;

use crate::{
    Isa, Planes,
    call::{CallError, Extents, Run},
};

type Entry = unsafe fn(&Call, *mut f32);

/// A variant: an instruction set.
#[derive(Debug)]
pub struct Kernel {
    /// `f32-deal-1x<pixels>-<isa>`.
    pub name: &'static str,
    /// The instruction set it needs.
    pub isa: Isa,
    /// The entries for a stride of one, of two, and any.
    by_stride: [Entry; 3],
    /// For a stride of two and the columns between.
    both: Entry,
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

/// What a call writes.
#[derive(Clone, Debug)]
pub struct Spec {
    /// Rows of a dealt plane, at least one.
    pub rows: usize,
    /// Columns of a dealt plane, at least one.
    pub columns: usize,
    /// Floats between the inputs of neighbouring columns, at least one.
    pub stride: usize,
    /// Floats between the inputs of neighbouring rows.
    pub x_step: usize,
    /// Floats between neighbouring rows of a dealt plane, at least `columns`.
    pub y_pitch: usize,
    /// Floats from one dealt plane to the next.
    pub y_stride: usize,
    /// With a stride of two: how far behind the dealt columns those between them are dealt, either behind all planes or in the same rows.
    pub odd: Option<usize>,
    /// The offset of each plane's first input.
    pub x: Planes,
    /// The offset of the first dealt plane.
    pub y: u32,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    /// Floats of a dealt plane that are written.
    written: usize,
    /// Floats behind an offset of `x` that are read.
    read: usize,
    spec: Spec,
}

impl Call {
    /// # Errors
    /// If there is no row, no column or no stride, a plane's rows overlap each other or the next plane, or a plane does not fit in the arena.
    pub fn new(kernel: &'static Kernel, spec: Spec) -> Result<Self, CallError> {
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let Spec { rows, columns, stride, x_step, y_pitch, y_stride, odd, .. } = spec;
        if rows == 0 || columns == 0 {
            return shape("the number of rows and columns", 0, "at least one");
        }
        let entry = match stride {
            0 => return shape("the stride", 0, "at least one"),
            2 if odd.is_some() => kernel.both,
            _ if odd.is_some() => return shape("the stride", stride, "two, with the columns between"),
            1 => kernel.by_stride[0],
            2 => kernel.by_stride[1],
            _ => kernel.by_stride[2],
        };
        if y_pitch < columns {
            return shape("the pitch", y_pitch, "at least the number of columns");
        }
        let vectors = columns.max(kernel.isa.lanes());
        // Vectors of even columns come with the odd ones.
        let inputs =
            if stride == 2 { vectors.checked_mul(2) } else { (vectors - 1).checked_mul(stride).map(|end| end + 1) };
        let end = |pitch: usize, columns: Option<usize>| {
            let end = (rows - 1).checked_mul(pitch)?.checked_add(columns?)?;
            u32::try_from(end).is_ok().then_some(end)
        };
        let (Some(written), Some(read)) = (end(y_pitch, Some(vectors)), end(x_step, inputs)) else {
            return shape("the number of rows", rows, "planes below 2^32 floats");
        };
        if y_stride < written
            || spec.x.offsets().len().checked_mul(y_stride).is_none_or(|len| u32::try_from(len).is_err())
        {
            return shape(
                "the distance of dealt planes",
                y_stride,
                "at least a plane with its overrun, and all within 2^32 floats",
            );
        }
        if let Some(odd) = odd {
            let behind = odd >= spec.x.offsets().len() * y_stride;
            let in_rows = odd >= vectors && y_pitch.checked_sub(vectors).is_some_and(|last| odd <= last);
            if u32::try_from(odd).is_err() || !behind && !in_rows {
                return shape("the place of the columns between", odd, "behind all dealt planes, or within their rows");
            }
        }
        Ok(Self { kernel, entry, written, read, spec })
    }

    /// The variant it was made for.
    #[must_use]
    pub const fn kernel(&self) -> &'static Kernel {
        self.kernel
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        let Spec { ref x, y, y_stride, odd, .. } = self.spec;
        extents.read(x, 0, self.read as i64)?;
        // Plane by plane: rows of a plane may move within it.
        let place = |from: usize| {
            let at = u64::from(y) + from as u64;
            u32::try_from(at).map_err(|_| CallError::Reach(i64::try_from(at).unwrap_or(i64::MAX)))
        };
        let planes = x.offsets().len();
        let (in_rows, behind) = match odd {
            Some(odd) if odd < planes * y_stride => (odd, None),
            odd => (0, odd),
        };
        for begin in [Some(0), behind].into_iter().flatten() {
            for plane in 0..planes {
                extents.write(&[place(begin + plane * y_stride)?], 0, (self.written + in_rows) as i64)?;
            }
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        let columns = if self.spec.odd.is_some() { 2 } else { 1 };
        (self.written * self.spec.x.offsets().len() * columns) as u64
    }

    unsafe fn run(&self, _weights: *const f32, arena: *mut f32) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, arena) }
    }
}
