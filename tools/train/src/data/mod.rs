//! Pictures to learn from: a data set, read whole into memory.
//!
//! [`Data::open`] tells by what is in a folder how it is laid out: `folder` reads a folder of pictures per class, `binary` the official files of
//! CIFAR-10. [`batches`] shuffles, augments and normalises pictures into what a training step takes.

pub mod batches;
mod binary;
mod folder;
mod picture;

use std::{
    fmt, fs, io,
    path::{Path, PathBuf},
};

/// Largest share of the pictures of train, or of test, that may be skipped.
pub const MAX_SKIPPED_SHARE: f64 = 0.01;
/// Most bytes of the pixels of a data set, train and test together.
pub const MAX_BYTES: u64 = 16 << 30;
/// Most classes.
pub const MAX_CLASSES: usize = flgc::model::graph::MAX_LABELS;

/// Why a folder gives no data set.
#[derive(Debug, thiserror::Error)]
pub enum DataError {
    /// A place can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The place.
        path: PathBuf,
        /// What is wrong with it.
        source: io::Error,
    },
    /// No layout is known that begins with what is there.
    #[error(
        "{}: found {found}; expected the folders train and test with a folder of pictures per class in each, or the files data_batch_1.bin ... and \
         test_batch.bin of the binary version of CIFAR-10",
        path.display()
    )]
    Layout {
        /// The folder.
        path: PathBuf,
        /// What is in it.
        found: String,
    },
    /// A part of the layout is not there.
    #[error("{}: found nothing there, expected {expected}", path.display())]
    Missing {
        /// The place.
        path: PathBuf,
        /// What belongs there.
        expected: &'static str,
    },
    /// A name is not UTF-8.
    #[error("{}: found a name that is not UTF-8, expected UTF-8; rename it", path.display())]
    Name {
        /// The place, or the file with the name.
        path: PathBuf,
    },
    /// There are too few or too many classes.
    #[error("{}: found {found} classes, expected 2 to {MAX_CLASSES}", path.display())]
    Classes {
        /// The folder of their folders, or the file of their names.
        path: PathBuf,
        /// How many there are.
        found: usize,
    },
    /// Train and test have different classes.
    #[error("{}: found no such folder, expected one for the class of {}", path.display(), of.display())]
    ClassMissing {
        /// The folder that is not there.
        path: PathBuf,
        /// The folder of the class in the other half.
        of: PathBuf,
    },
    /// A class has nothing to learn from or to be tested on.
    #[error("{}: found no picture that can be used, expected at least one; add some or remove the class", path.display())]
    ClassEmpty {
        /// The folder of the class.
        path: PathBuf,
    },
    /// Too many pictures can't be used.
    #[error(
        "{}: found {skipped} of {pictures} pictures ({:.1} %) that can't be used, expected at most {} %; repair or remove them:{}",
        path.display(), 100.0 * *skipped as f64 / *pictures as f64, 100.0 * MAX_SKIPPED_SHARE, list(first)
    )]
    Skipped {
        /// The folder of the classes.
        path: PathBuf,
        /// How many can't be used.
        skipped: usize,
        /// How many there are.
        pictures: usize,
        /// The first few that can't be used.
        first: Vec<Skipped>,
    },
    /// The data set has another size than was asked for.
    #[error("{}: found pictures of {} pixels, expected {}", path.display(), by(*found), by(*expected))]
    Size {
        /// The folder.
        path: PathBuf,
        /// Height and width of the pictures.
        found: (usize, usize),
        /// Height and width that were asked for.
        expected: (usize, usize),
    },
    /// The size that was asked for has no pixels.
    #[error("found a size of {} pixels, expected at least one pixel a side", by(*size))]
    NoPixels {
        /// Height and width.
        size: (usize, usize),
    },
    /// The data set is too large for memory.
    #[error(
        "{}: found {pictures} pictures of {} pixels, expected at most {MAX_BYTES} bytes of pixels; use smaller or fewer ones",
        path.display(), by(*size)
    )]
    TooLarge {
        /// The folder.
        path: PathBuf,
        /// How many pictures there are.
        pictures: u64,
        /// Height and width of each.
        size: (usize, usize),
    },
    /// A binary file ends inside a record.
    #[error("{}: found {found} bytes, expected a positive multiple of {record}: it is truncated; download it again", path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
        /// Its length.
        found: u64,
        /// Bytes of a record.
        record: usize,
    },
    /// A record of a binary file names no class.
    #[error("{}: record {record}: found label {found}, expected one below {classes}, the number of classes", path.display())]
    Label {
        /// The file.
        path: PathBuf,
        /// Number of the record; the first is 0.
        record: usize,
        /// Its label.
        found: u8,
        /// How many classes there are.
        classes: usize,
    },
}

impl DataError {
    /// For `map_err`: what went wrong at `path`.
    fn io(path: &Path) -> impl FnOnce(io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::Io { path, source }
    }
}

/// A picture that was left out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// Its file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub message: String,
}

impl fmt::Display for Skipped {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

fn list(skipped: &[Skipped]) -> String {
    skipped.iter().map(|skipped| format!("\n  {skipped}")).collect()
}

/// A size as people write it, width first.
fn by((height, width): (usize, usize)) -> String {
    format!("{width}x{height}")
}

/// Pictures of one size, each with its class.
#[derive(Clone, PartialEq, Eq)]
pub struct Dataset {
    classes: Vec<String>,
    height: usize,
    width: usize,
    /// `[n][3][h][w]`, red, green, blue.
    pixels: Vec<u8>,
    labels: Vec<u16>,
    fingerprint: u32,
}

impl Dataset {
    /// From `pixels`, `[n][3][h][w]` in the order red, green, blue, and a class for each picture.
    ///
    /// # Panics
    /// If there are no pixels in a picture, their number is not that of `labels`, or a label names no class.
    #[must_use]
    pub fn new(classes: Vec<String>, height: usize, width: usize, pixels: Vec<u8>, labels: Vec<u16>) -> Self {
        assert!(height > 0 && width > 0, "pictures have pixels");
        assert_eq!(pixels.len(), labels.len() * 3 * height * width, "pixels for each label");
        assert!(labels.iter().all(|&label| usize::from(label) < classes.len()), "labels below the number of classes");
        let fingerprint = fingerprint(&classes, height, width, &pixels, &labels);
        Self { classes, height, width, pixels, labels, fingerprint }
    }

    /// How many pictures there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Names of the classes, in order of labels.
    #[must_use]
    pub fn classes(&self) -> &[String] {
        &self.classes
    }

    /// Rows of a picture.
    #[must_use]
    pub fn height(&self) -> usize {
        self.height
    }

    /// Pixels of a row.
    #[must_use]
    pub fn width(&self) -> usize {
        self.width
    }

    /// The pixels of picture `i`, `[3][h][w]` in the order red, green, blue.
    ///
    /// # Panics
    /// If there is no such picture.
    #[must_use]
    pub fn picture(&self, i: usize) -> &[u8] {
        let length = 3 * self.height * self.width;
        &self.pixels[i * length..][..length]
    }

    /// The class of picture `i`.
    ///
    /// # Panics
    /// If there is no such picture.
    #[must_use]
    pub fn label(&self, i: usize) -> usize {
        self.labels[i].into()
    }

    /// CRC-32C of everything above: tells a checkpoint whether it goes on with the pictures it began with.
    #[must_use]
    pub fn fingerprint(&self) -> u32 {
        self.fingerprint
    }
}

fn fingerprint(classes: &[String], height: usize, width: usize, pixels: &[u8], labels: &[u16]) -> u32 {
    let numbers = [classes.len(), height, width, labels.len()].map(|number| (number as u64).to_le_bytes());
    let mut crc = crc32c::crc32c(numbers.as_flattened());
    for name in classes {
        // The length keeps `ab` `c` and `a` `bc` apart.
        crc = crc32c::crc32c_append(crc, &(name.len() as u64).to_le_bytes());
        crc = crc32c::crc32c_append(crc, name.as_bytes());
    }
    let labels: Vec<_> = labels.iter().map(|label| label.to_le_bytes()).collect();
    crc32c::crc32c_append(crc32c::crc32c_append(crc, labels.as_flattened()), pixels)
}

impl fmt::Debug for Dataset {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.debug_struct("Dataset")
            .field("pictures", &self.len())
            .field("classes", &self.classes.len())
            .field("height", &self.height)
            .field("width", &self.width)
            .field("fingerprint", &self.fingerprint)
            .finish()
    }
}

/// What a training needs: pictures to learn from and pictures to be tested on, of the same classes and size.
#[derive(Debug)]
pub struct Data {
    /// Pictures to learn from.
    pub train: Dataset,
    /// Pictures to be tested on.
    pub test: Dataset,
    /// Pictures that can't be used.
    pub skipped: Vec<Skipped>,
}

impl Data {
    /// Reads the data set in the folder `path`, of one of two layouts:
    ///
    /// - `train/<class>/<picture>` and `test/<class>/<picture>`: classes in order of their names, pictures in order of theirs, at any depth; what is
    ///   hidden is ignored. Pictures that can't be decoded or have another size than `size` (height, width) are skipped; without a `size`, it is that
    ///   of most pictures of train. Decodes in the current rayon pool.
    /// - `data_batch_1.bin` ..., `test_batch.bin` and perhaps `batches.meta.txt`: the binary version of CIFAR-10.
    ///
    /// # Errors
    /// If it has neither layout, or the data set is incomplete, damaged or too large.
    pub fn open(path: &Path, size: Option<(usize, usize)>) -> Result<Self, DataError> {
        if let Some(size @ ((0, _) | (_, 0))) = size {
            return Err(DataError::NoPixels { size });
        }
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(DataError::io(path))? {
            names.push(entry.map_err(DataError::io(path))?.file_name().to_string_lossy().into_owned());
        }
        names.sort_unstable();
        let has = |name: &str| names.iter().any(|found| found == name);
        if has(folder::TRAIN) || has(folder::TEST) {
            folder::open(path, size)
        } else if names.iter().any(|name| binary::is_part(name)) {
            binary::open(path, size, &names)
        } else {
            Err(DataError::Layout { path: path.to_owned(), found: some_of(&names) })
        }
    }
}

/// A few names, for a message.
fn some_of(names: &[String]) -> String {
    const MOST: usize = 5;
    match names.len() {
        0 => "nothing".to_owned(),
        1..=MOST => names.join(", "),
        more => format!("{} and {} more", names[..MOST].join(", "), more - MOST),
    }
}

/// Checks, before anything is allocated, that the pixels of a data set may be read into memory.
fn check_bytes(path: &Path, pictures: u64, size: (usize, usize)) -> Result<(), DataError> {
    let bytes = u128::from(pictures).saturating_mul(3 * size.0 as u128).saturating_mul(size.1 as u128);
    if bytes > u128::from(MAX_BYTES) || usize::try_from(bytes).is_err() {
        return Err(DataError::TooLarge { path: path.to_owned(), pictures, size });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dataset(classes: &[&str], (height, width): (usize, usize), first: u8, label: u16) -> Dataset {
        let mut pixels = vec![7; 3 * height * width];
        pixels[0] = first;
        Dataset::new(classes.iter().map(ToString::to_string).collect(), height, width, pixels, vec![label])
    }

    #[test]
    fn fingerprints_differ_with_everything() {
        let all = [
            dataset(&["ab", "c"], (2, 3), 0, 0),
            dataset(&["a", "bc"], (2, 3), 0, 0),
            dataset(&["ab", "c"], (3, 2), 0, 0),
            dataset(&["ab", "c"], (2, 3), 1, 0),
            dataset(&["ab", "c"], (2, 3), 0, 1),
        ];
        for (i, a) in all.iter().enumerate() {
            assert_eq!(a.fingerprint(), a.clone().fingerprint());
            assert!(all[..i].iter().all(|b| a.fingerprint() != b.fingerprint()), "{i}");
        }
    }

    #[test]
    fn too_many_bytes() {
        let check = |pictures, size| check_bytes(Path::new("data"), pictures, size);
        assert!(check(1 << 20, (64, 64)).is_ok());
        let error = check(1 << 21, (64, 64)).unwrap_err().to_string();
        assert!(error.contains("2097152 pictures of 64x64 pixels, expected at most 17179869184 bytes"), "{error}");
        assert!(check(u64::MAX, (usize::MAX, usize::MAX)).is_err());
    }

    #[test]
    fn names_in_messages() {
        let names: Vec<_> = ["a", "b", "c", "d", "e", "f"].map(str::to_owned).into();
        assert_eq!(some_of(&[]), "nothing");
        assert_eq!(some_of(&names[..2]), "a, b");
        assert_eq!(some_of(&names), "a, b, c, d, e and 1 more");
    }
}
