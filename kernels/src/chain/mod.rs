//! Sets of calls that run one after another as a single call: layers fused into bands of rows, whose intermediate planes live in scratch memory that each
//! band uses anew.

use crate::call::{CallError, CallSet, Extents, Memory, Run, Touched};

/// One call: sets that were proven one by one, and what they touch together.
#[derive(Debug)]
pub struct Call {
    sets: Box<[CallSet]>,
    touched: Touched,
    cost: u64,
}

impl Call {
    /// A call that runs `sets` in order. What they write they may read and write again; nobody else may touch it meanwhile.
    ///
    /// # Errors
    /// If an access would lie outside any arena.
    pub fn new(sets: Vec<CallSet>) -> Result<Self, CallError> {
        let mut extents = Extents::default();
        for set in &sets {
            set.add_extents(&mut extents)?;
        }
        let cost = sets.iter().map(CallSet::cost).sum();
        Ok(Self { sets: sets.into(), touched: extents.merged(), cost })
    }

    /// The sets, in order.
    #[must_use]
    pub const fn sets(&self) -> &[CallSet] {
        &self.sets
    }
}

impl Run for Call {
    fn extents(&self, extents: &mut Extents) -> Result<(), CallError> {
        extents.add(&self.touched);
        Ok(())
    }

    fn cost(&self) -> u64 {
        self.cost
    }

    unsafe fn run(&self, memory: Memory<'_>) {
        for set in &self.sets {
            // SAFETY: the caller's promise covers what all sets touch together, and they run one after another.
            unsafe { set.run_unchecked(memory) }
        }
    }
}
