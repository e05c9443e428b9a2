//! Every `stride`-th column of some rows, as planes of their own: `y[t][r * y_pitch + c] = x[t][r * step + c * stride]`, and with a stride of two the columns
//! between likewise; of planes in the arena, or of the caller's input.
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
    call::{CallError, Extents, Memory, Run},
};

type Entry = unsafe fn(&Call, &[f32], *mut f32);

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
    /// The same from an input.
    input: Entry,
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
    /// Floats between neighbouring rows of a dealt plane, at least `columns`.
    pub y_pitch: usize,
    /// Floats from one dealt plane to the next.
    pub y_stride: usize,
    /// What is dealt.
    pub x: Source,
    /// The offset of the first dealt plane.
    pub y: u32,
}

/// What is dealt.
#[derive(Clone, Debug)]
pub enum Source {
    /// Planes in the arena.
    Arena {
        /// The offset of each plane's first input.
        x: Planes,
        /// Floats between the inputs of neighbouring rows.
        step: usize,
        /// Floats between the inputs of neighbouring columns, at least one.
        stride: usize,
        /// With a stride of two: how far behind the dealt columns those between them are dealt, either behind all planes or in the same rows.
        odd: Option<usize>,
    },
    /// Planes of the caller's input, which need neither a copy nor a place in the arena.
    Input(Input),
}

/// Planes of the caller's input, with a stride of two and the columns between right behind all planes. They have no border: what lies outside counts as zero.
#[derive(Clone, Debug)]
pub struct Input {
    /// The float of the input with which each plane begins.
    pub planes: Vec<usize>,
    /// Rows and columns of a plane, at least one.
    pub size: [usize; 2],
    /// The row and the column of the first pixel, which may lie outside.
    pub from: [isize; 2],
    /// Rows of a plane from one dealt row to the next.
    pub step: usize,
    /// How many of these are dealt, at least one and at most all: each to planes of its own, behind those of the one before.
    pub phases: usize,
    /// The rows that are dealt in all: the last of the dealt rows may not have all phases.
    pub lines: usize,
}

impl Source {
    /// The number of planes.
    fn len(&self) -> usize {
        match self {
            Self::Arena { x, .. } => x.offsets().len(),
            Self::Input(input) => input.planes.len(),
        }
    }

    /// How many dealt planes each becomes, how far apart these are, and how far behind the columns between are that lie in the same rows.
    fn kinds(&self, y_stride: usize) -> (usize, usize, usize) {
        match self {
            Self::Arena { odd: None, .. } => (1, 0, 0),
            &Self::Arena { odd: Some(odd), .. } if odd < self.len() * y_stride => (1, 0, odd),
            &Self::Arena { odd: Some(odd), .. } => (2, odd, 0),
            Self::Input(input) => (2 * input.phases, self.len() * y_stride, 0),
        }
    }
}

impl Input {
    /// That places in rows of at least `vectors` floats can be computed without overflow; gives the end of what is read.
    fn check(&self, rows: usize, vectors: usize) -> Option<usize> {
        let [height, width] = self.size;
        // So far that sums of two fit in any machine's words.
        let fits = |n: usize| n < 1 << 30;
        let reaches = [rows.checked_mul(self.step)?, vectors.checked_mul(2)?, height.checked_mul(width)?];
        let valid = height > 0
            && width > 0
            && (1..=self.step).contains(&self.phases)
            && self.lines <= rows * self.phases
            && reaches.into_iter().chain(self.from.map(isize::unsigned_abs)).all(fits);
        valid.then_some(())?;
        self.planes.iter().max().map_or(Some(0), |last| last.checked_add(height * width))
    }
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    kernel: &'static Kernel,
    entry: Entry,
    /// Floats of a dealt plane that are written.
    written: usize,
    /// Floats behind an offset of `x` that are read, or the end of what is read of an input.
    read: usize,
    spec: Spec,
}

impl Call {
    /// # Errors
    /// If there is no row, no column or no stride, a plane's rows overlap each other or the next plane, or a plane does not fit in the arena; if an input has no
    /// pixel, no phase or more than `step`, more lines than these make, or reaches 2^30 floats far.
    pub fn new(kernel: &'static Kernel, spec: Spec) -> Result<Self, CallError> {
        let shape = |what, found, expected| Err(CallError::Shape { what, found, expected });
        let Spec { rows, columns, y_pitch, y_stride, ref x, .. } = spec;
        if rows == 0 || columns == 0 {
            return shape("the number of rows and columns", 0, "at least one");
        }
        if y_pitch < columns {
            return shape("the pitch", y_pitch, "at least the number of columns");
        }
        let vectors = columns.max(kernel.isa.lanes());
        let end = |pitch: usize, columns: Option<usize>| {
            let end = (rows - 1).checked_mul(pitch)?.checked_add(columns?)?;
            u32::try_from(end).is_ok().then_some(end)
        };
        let (entry, read) = match *x {
            Source::Arena { step, stride, odd, .. } => {
                let entry = match stride {
                    0 => return shape("the stride", 0, "at least one"),
                    2 if odd.is_some() => kernel.both,
                    _ if odd.is_some() => return shape("the stride", stride, "two, with the columns between"),
                    1 => kernel.by_stride[0],
                    2 => kernel.by_stride[1],
                    _ => kernel.by_stride[2],
                };
                // Vectors of even columns come with the odd ones.
                let in_row = if stride == 2 {
                    vectors.checked_mul(2)
                } else {
                    (vectors - 1).checked_mul(stride).map(|end| end + 1)
                };
                (entry, end(step, in_row))
            }
            Source::Input(ref input) => match input.check(rows, vectors) {
                None => {
                    return shape("the reach of an input", rows, "rows, columns and phases that it has, below 2^30");
                }
                end => (kernel.input, end),
            },
        };
        let (Some(written), Some(read)) = (end(y_pitch, Some(vectors)), read) else {
            return shape("the number of rows", rows, "planes below 2^32 floats");
        };
        let all = match x {
            Source::Arena { x, .. } => x.offsets().len(),
            Source::Input(input) => input.planes.len().saturating_mul(2 * input.phases),
        };
        if y_stride < written || all.checked_mul(y_stride).is_none_or(|len| u32::try_from(len).is_err()) {
            return shape(
                "the distance of dealt planes",
                y_stride,
                "at least a plane with its overrun, and all within 2^32 floats",
            );
        }
        if let Source::Arena { odd: Some(odd), .. } = *x {
            let behind = odd >= x.len() * y_stride;
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
        let Spec { ref x, y, y_stride, .. } = self.spec;
        match x {
            Source::Arena { x, .. } => extents.read(x, 0, self.read as i64)?,
            Source::Input(_) => extents.input(self.read),
        }
        // Plane by plane: rows of a plane may move within it.
        let (kinds, apart, in_rows) = x.kinds(y_stride);
        for kind in 0..kinds {
            for plane in 0..x.len() {
                let at = u64::from(y) + (kind * apart + plane * y_stride) as u64;
                let at = u32::try_from(at).map_err(|_| CallError::Reach(i64::try_from(at).unwrap_or(i64::MAX)))?;
                extents.write(&[at], 0, (self.written + in_rows) as i64)?;
            }
        }
        Ok(())
    }

    fn cost(&self) -> u64 {
        let (kinds, _, in_rows) = self.spec.x.kinds(self.spec.y_stride);
        (self.written * self.spec.x.len() * (kinds + usize::from(in_rows > 0))) as u64
    }

    unsafe fn run(&self, Memory { arena, input, .. }: Memory<'_>) {
        // SAFETY: the caller's promise; the kernel came from `available`, so this CPU has its features.
        unsafe { (self.entry)(self, input, arena) }
    }
}
