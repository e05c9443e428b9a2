//! The bytes of a model: a mapped file or a buffer.

use memmap2::Mmap;
use std::{fs::File, io, ops::Deref, path::Path};

pub(super) enum Bytes {
    Mapped(Mmap),
    Owned(Vec<u8>),
}

impl Bytes {
    /// Maps the file at `path`. Nothing is read yet.
    pub(super) fn map(path: &Path) -> io::Result<Self> {
        let file = File::open(path)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
        }
        if metadata.len() == 0 {
            // There is nothing to map, which some systems refuse.
            return Ok(Self::Owned(Vec::new()));
        }
        // SAFETY: the map is read-only, every access goes through a bounds-checked slice of bytes or, where weights lie as such, of floats, which may
        // have any bits, and no reference into it outlives the model, which is dropped once its weights are packed. Another process that writes to the
        // file meanwhile can change values, which the plan treats as numbers only (lengths and indices are copied out once, then checked); one that
        // truncates the file can stop this process with a bus error, which no reader of a mapped file can prevent: models are replaced by renaming, as
        // our writer does.
        let map = unsafe { Mmap::map(&file)? };
        Ok(Self::Mapped(map))
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(map) => map,
            Self::Owned(bytes) => bytes,
        }
    }
}
