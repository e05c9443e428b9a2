//! Blocks of floats that kernels address by offset: the arena and the packed weights.

use crate::ALIGN;
use memmap2::MmapMut;
use std::io;

/// Transparent huge pages need blocks aligned to their size.
const HUGE_PAGE: usize = 2 << 20;

/// A zeroed, page-aligned block straight from the operating system, with huge pages where it has them.
struct Block {
    map: MmapMut,
    /// Bytes skipped at the front for alignment.
    skip: usize,
    len: usize,
}

impl Block {
    fn new(len: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<f32>()).ok_or(io::ErrorKind::OutOfMemory)?;
        let huge = bytes >= HUGE_PAGE;
        let slack = if huge { HUGE_PAGE } else { 0 };
        let map = MmapMut::map_anon(bytes.checked_add(slack).ok_or(io::ErrorKind::OutOfMemory)?.max(1))?;
        let skip = if huge { map.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        #[cfg(target_os = "linux")]
        if huge {
            // Advice: without huge pages everything works, only slower.
            let _ = map.advise(memmap2::Advice::HugePage);
        }
        Ok(Self { map, skip, len })
    }

    fn as_ptr(&self) -> *const f32 {
        self.map[self.skip..].as_ptr().cast()
    }

    fn as_mut_ptr(&mut self) -> *mut f32 {
        self.map[self.skip..].as_mut_ptr().cast()
    }

    fn as_slice(&self) -> &[f32] {
        // SAFETY: the map holds `skip` bytes and then `len` floats, is aligned to pages, and every bit pattern is a float.
        unsafe { std::slice::from_raw_parts(self.as_ptr(), self.len) }
    }

    fn as_mut_slice(&mut self) -> &mut [f32] {
        // SAFETY: as above, and the borrow is exclusive.
        unsafe { std::slice::from_raw_parts_mut(self.as_mut_ptr(), self.len) }
    }
}

/// The memory of one run: every activation, addressed by offsets in floats. Starts zeroed.
pub struct Arena(Block);

impl Arena {
    /// An arena of `len` floats, aligned to at least 64 bytes.
    ///
    /// # Errors
    /// If the operating system does not give the memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Block::new(len).map(Self)
    }

    /// Its size in floats.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// All of it.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        self.0.as_slice()
    }

    /// All of it, to write inputs.
    pub fn as_mut_slice(&mut self) -> &mut [f32] {
        self.0.as_mut_slice()
    }

    pub(crate) fn as_mut_ptr(&mut self) -> *mut f32 {
        self.0.as_mut_ptr()
    }
}

/// The packed weights of a plan in one block, in the order of execution; never changes once made.
pub struct Weights(Block);

impl Weights {
    /// Its size in floats.
    #[must_use]
    pub const fn len(&self) -> usize {
        self.0.len
    }

    /// Whether it holds nothing.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.len == 0
    }

    /// All of it.
    #[must_use]
    pub fn as_slice(&self) -> &[f32] {
        self.0.as_slice()
    }
}

/// Collects packed weights.
#[derive(Default)]
pub struct WeightsBuilder(Vec<f32>);

impl WeightsBuilder {
    /// Appends `values` at the next multiple of [`ALIGN`] and returns where they start.
    ///
    /// # Panics
    /// If the block would exceed `u32::MAX` floats (16 GiB).
    pub fn push(&mut self, values: impl IntoIterator<Item = f32>) -> u32 {
        let at = self.0.len();
        self.0.extend(values);
        self.0.resize(self.0.len().next_multiple_of(ALIGN), 0.0);
        assert!(u32::try_from(self.0.len()).is_ok(), "packed weights exceed 16 GiB");
        at as u32
    }

    /// The finished block.
    ///
    /// # Errors
    /// If the operating system does not give the memory.
    pub fn finish(self) -> io::Result<Weights> {
        let mut block = Block::new(self.0.len())?;
        block.as_mut_slice().copy_from_slice(&self.0);
        Ok(Weights(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeroed_and_aligned() {
        for len in [0, 1, 1000, HUGE_PAGE] {
            let arena = Arena::new(len).unwrap();
            assert_eq!(arena.as_slice().len(), len);
            assert_eq!(arena.as_slice().as_ptr().align_offset(64), 0);
            assert!(arena.as_slice().iter().all(|&x| x == 0.0));
        }
        assert!(Arena::new(usize::MAX).is_err());
    }

    #[test]
    fn weights_start_at_multiples_of_the_alignment() {
        let mut builder = WeightsBuilder::default();
        assert_eq!(builder.push([1.0, 2.0]), 0);
        assert_eq!(builder.push((0..17).map(|i| i as f32)), 16);
        assert_eq!(builder.push([]), 48);
        let weights = builder.finish().unwrap();
        assert_eq!(weights.len(), 48);
        assert_eq!(&weights.as_slice()[..3], [1.0, 2.0, 0.0]);
        assert_eq!(weights.as_slice()[32], 16.0);
    }
}
