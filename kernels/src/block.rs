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
    /// A block of `len` floats, of which about the first `used` will be.
    fn new(len: usize, used: usize) -> io::Result<Self> {
        let bytes = len.checked_mul(size_of::<f32>()).ok_or(io::ErrorKind::OutOfMemory)?;
        // Where less is used than half of one, the rest would be zeroed in vain.
        let huge = cfg!(target_os = "linux") && used.saturating_mul(size_of::<f32>()) >= HUGE_PAGE / 2;
        // Whole pages, and room to align them.
        let pages = |bytes: usize| bytes.checked_next_multiple_of(HUGE_PAGE)?.checked_add(HUGE_PAGE);
        let room = if huge { pages(bytes) } else { Some(bytes.max(1)) };
        let map = MmapMut::map_anon(room.ok_or(io::ErrorKind::OutOfMemory)?)?;
        let skip = if huge { map.as_ptr().align_offset(HUGE_PAGE) } else { 0 };
        #[cfg(target_os = "linux")]
        if huge {
            use memmap2::Advice;
            // Advice: without huge pages everything works, only slower.
            let _ = map.advise(Advice::HugePage);
            // The system zeroes a page as a whole: the last one is not worth that where most of it stays untouched.
            let (last, rest) = (used * size_of::<f32>() / HUGE_PAGE * HUGE_PAGE, used * size_of::<f32>() % HUGE_PAGE);
            if rest < HUGE_PAGE / 2 {
                let _ = map.advise_range(Advice::NoHugePage, skip + last, HUGE_PAGE.min(map.len() - skip - last));
            }
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

/// The memory of one run: its activations, addressed by offsets in floats. Starts zeroed.
pub struct Arena(Block);

impl Arena {
    /// An arena of `len` floats, aligned to at least 64 bytes.
    ///
    /// # Errors
    /// If the operating system does not give the memory.
    pub fn new(len: usize) -> io::Result<Self> {
        Block::new(len, len).map(Self)
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

/// Collects packed weights, in their final place. Where the memory does not suffice, [`WeightsBuilder::finish`] says so.
pub struct WeightsBuilder {
    /// Zero behind `len`.
    block: io::Result<Block>,
    len: usize,
}

impl WeightsBuilder {
    /// A builder for about `floats`. It has room for twice as many, for padding and biases, which costs nothing where it stays untouched; more costs a copy of
    /// what is there.
    #[must_use]
    pub fn expecting(floats: usize) -> Self {
        Self { block: Block::new(floats.saturating_mul(2), floats), len: 0 }
    }

    /// Appends `len` zeros at the next multiple of [`ALIGN`], lets `write` fill them, and returns where they start.
    pub fn push_with(&mut self, len: usize, write: impl FnOnce(&mut [f32])) -> u32 {
        let begin = self.len;
        match self.grow(len) {
            Ok(block) => write(&mut block.as_mut_slice()[begin..begin + len]),
            Err(error) => self.block = Err(error),
        }
        begin as u32
    }

    /// Appends `values` at the next multiple of [`ALIGN`] and returns where they start.
    pub fn push(&mut self, values: &[f32]) -> u32 {
        self.push_with(values.len(), |place| place.copy_from_slice(values))
    }

    /// Makes room for `len` floats behind the others.
    fn grow(&mut self, len: usize) -> io::Result<&mut Block> {
        let begin = self.len;
        let block = self.block.as_mut().map_err(|error| io::Error::from(error.kind()))?;
        let end = len.checked_next_multiple_of(ALIGN).and_then(|len| begin.checked_add(len));
        let end = end.filter(|&end| u32::try_from(end).is_ok()).ok_or(io::ErrorKind::OutOfMemory)?;
        if end > block.len {
            let room = end.max(2 * block.len);
            let mut larger = Block::new(room, room)?;
            larger.as_mut_slice()[..begin].copy_from_slice(&block.as_slice()[..begin]);
            *block = larger;
        }
        self.len = end;
        Ok(block)
    }

    /// The finished block.
    ///
    /// # Errors
    /// If the operating system did not give the memory, or the block would exceed `u32::MAX` floats (16 GiB).
    pub fn finish(self) -> io::Result<Weights> {
        let mut block = self.block?;
        block.len = self.len;
        Ok(Weights(block))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_are_zeroed_and_aligned() {
        // The last ones end a float or so before and behind a huge page, and in the middle of one.
        let huge = HUGE_PAGE / size_of::<f32>();
        for len in [0, 1, 1000, huge / 2 - 1, huge / 2, huge - 1, huge, huge + 1, huge * 3 / 2, 4 * huge] {
            let arena = Arena::new(len).unwrap();
            assert_eq!(arena.as_slice().len(), len);
            assert_eq!(arena.as_slice().as_ptr().align_offset(64), 0);
            assert!(arena.as_slice().iter().all(|&x| x == 0.0));
        }
        assert!(Arena::new(usize::MAX).is_err());
    }

    #[test]
    fn weights_start_at_multiples_of_the_alignment() {
        // With and without growing.
        for expected in [0, 20, 100] {
            let mut builder = WeightsBuilder::expecting(expected);
            assert_eq!(builder.push(&[1.0, 2.0]), 0);
            let at = builder.push_with(17, |place| {
                assert_eq!(place, [0.0; 17]);
                place[16] = 16.0;
            });
            assert_eq!(at, 16);
            assert_eq!(builder.push(&[]), 48);
            let weights = builder.finish().unwrap();
            assert_eq!(weights.len(), 48);
            assert_eq!(&weights.as_slice()[..3], [1.0, 2.0, 0.0]);
            assert_eq!(weights.as_slice()[32], 16.0);
        }
    }

    #[test]
    fn weights_that_do_not_fit_are_an_error_in_the_end() {
        let mut builder = WeightsBuilder::expecting(0);
        builder.push_with(usize::MAX, |_| panic!("there is no such place"));
        builder.push(&[1.0]);
        assert!(builder.finish().is_err());
        assert!(WeightsBuilder::expecting(usize::MAX).finish().is_err());
    }
}
