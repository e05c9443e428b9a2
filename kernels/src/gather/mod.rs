//! Copies single elements to a contiguous run: the only call that merely moves data, for rearrangements that no list of planes expresses.

use crate::{
    Planes,
    call::{CallError, Extents, Memory, Run},
};

/// The name of the only variant: it is bound by loads.
pub const NAME: &str = "f32-gather-portable";

/// What a call copies: `y[i] = x[i]`.
#[derive(Clone, Debug)]
pub struct Spec {
    /// The offset of each element.
    pub x: Planes,
    /// The offset of the first copy.
    pub y: u32,
}

/// One call: its spec, proven.
#[derive(Debug)]
pub struct Call {
    x: Planes,
    y: u32,
}

impl Call {
    /// # Errors
    /// None today; the signature is that of every family.
    pub fn new(spec: Spec) -> Result<Self, CallError> {
        let Spec { x, y } = spec;
        Ok(Self { x, y })
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        extents.read(&self.x, 0, 1)?;
        extents.write(&[self.y], 0, self.x.offsets().len() as i64)
    }

    fn cost(&self) -> u64 {
        4 * self.x.offsets().len() as u64
    }

    unsafe fn run(&self, Memory { arena, .. }: Memory<'_>) {
        for (i, &x) in self.x.offsets().iter().enumerate() {
            // SAFETY: both places are covered by `extents`.
            unsafe { *arena.add(self.y as usize + i) = *arena.add(x as usize) }
        }
    }
}
