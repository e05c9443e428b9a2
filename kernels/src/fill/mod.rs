//! Zeroes the border of planes: what a spatial convolution reads outside the image.
//!
//! Rows share their border: the zero columns between the end of one row and the start of the next serve both. The layer that writes a plane runs this
//! afterwards, since whole-plane kernels leave junk between the rows.

use crate::call::{CallError, Extents, Memory, Run};

/// The name of the only variant: it is bound by stores.
pub const NAME: &str = "f32-fill-portable";

/// What a call zeroes.
#[derive(Clone, Debug)]
pub struct Spec<'a> {
    /// Rows of the image, at least one.
    pub rows: usize,
    /// Columns of the image; it ends here in each row.
    pub width: usize,
    /// Floats from one row to the next, at least `width`.
    pub pitch: usize,
    /// Floats before the first pixel.
    pub before: usize,
    /// Floats behind the last row's pitch.
    pub after: usize,
    /// The offset of each plane's first pixel.
    pub y: &'a [u32],
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    rows: usize,
    width: usize,
    pitch: usize,
    before: usize,
    after: usize,
    y: Box<[u32]>,
}

impl Call {
    /// # Errors
    /// If there is no row or column, a row is longer than the pitch, or a plane does not fit in the arena.
    pub fn new(spec: Spec<'_>) -> Result<Self, CallError> {
        let Spec { rows, width, pitch, before, after, y } = spec;
        if rows == 0 || width == 0 {
            return Err(CallError::Shape { what: "the size of an image", found: 0, expected: "at least one" });
        }
        if pitch < width {
            return Err(CallError::Shape { what: "the pitch", found: pitch, expected: "at least the width" });
        }
        let plane = rows.checked_mul(pitch).and_then(|image| image.checked_add(before)?.checked_add(after));
        if plane.is_none_or(|floats| u32::try_from(floats).is_err()) {
            return Err(CallError::Shape {
                what: "the number of rows",
                found: rows,
                expected: "a plane below 2^32 floats",
            });
        }
        Ok(Self { rows, width, pitch, before, after, y: y.into() })
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        // The pixels between the border are not touched, but belong to the same plane: nobody else may write them meanwhile.
        let end = self.rows * self.pitch + self.after;
        extents.write(&self.y, -(self.before as i64), end as i64)
    }

    fn cost(&self) -> u64 {
        let border = self.before + self.after + self.rows * (self.pitch - self.width);
        (self.y.len() * border) as u64
    }

    unsafe fn run(&self, Memory { arena, .. }: Memory<'_>) {
        let zero = |at: usize, count: usize| {
            // SAFETY: every run lies within what `extents` adds as written, which is this call's alone.
            unsafe { arena.add(at).write_bytes(0, count) }
        };
        for &y in &self.y {
            let y = y as usize;
            zero(y - self.before, self.before);
            for row in 0..self.rows {
                zero(y + row * self.pitch + self.width, self.pitch - self.width);
            }
            zero(y + self.rows * self.pitch, self.after);
        }
    }
}
