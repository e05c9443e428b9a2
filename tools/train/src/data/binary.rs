//! The binary version of CIFAR-10, <https://www.cs.toronto.edu/~kriz/cifar.html>: records of a label and 32x32 planar pixels.

use super::{Data, DataError, Dataset, MAX_CLASSES, check_bytes};
use std::{
    fs, io,
    path::{Path, PathBuf},
    slice,
};

/// Pixels of a side.
const SIDE: usize = 32;
/// Bytes of a record: label, red, green, blue.
const RECORD: usize = 1 + 3 * SIDE * SIDE;
const TEST: &str = "test_batch.bin";
const NAMES: &str = "batches.meta.txt";
/// The classes where no file names them.
const CLASSES: [&str; 10] = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"];

/// Whether a file of this name belongs to the layout.
pub(super) fn is_part(name: &str) -> bool {
    name == TEST || number(name).is_some()
}

/// The number of a file to learn from.
fn number(name: &str) -> Option<u32> {
    name.strip_prefix("data_batch_")?.strip_suffix(".bin")?.parse().ok()
}

/// Reads the files in `folder`, of which `names` are there.
pub(super) fn open(folder: &Path, size: Option<(usize, usize)>, names: &[String]) -> Result<Data, DataError> {
    let found = (SIDE, SIDE);
    if let Some(expected) = size.filter(|&size| size != found) {
        return Err(DataError::Size { path: folder.to_owned(), found, expected });
    }
    // Counting up to the last number finds a file that is missing in between.
    let last = names.iter().filter_map(|name| number(name)).max().unwrap_or(1).max(1);
    let mut files = Vec::new();
    for name in (1..=last).map(|number| format!("data_batch_{number}.bin")).chain([TEST.to_owned()]) {
        let path = folder.join(name);
        if !path.exists() {
            return Err(DataError::Missing { path, expected: "a file of the binary version of CIFAR-10" });
        }
        files.push(path);
    }
    let mut bytes = 0u64;
    for path in &files {
        let metadata = fs::metadata(path).map_err(DataError::io(path))?;
        if !metadata.is_file() {
            let source = io::Error::other("found no regular file, expected one of the binary version of CIFAR-10");
            return Err(DataError::Io { path: path.clone(), source });
        }
        bytes = bytes.saturating_add(metadata.len());
    }
    check_bytes(folder, bytes / RECORD as u64, found)?;

    let classes = classes(folder)?;
    let dataset = |files: &[PathBuf]| {
        let (mut pixels, mut labels) = (Vec::new(), Vec::new());
        for path in files {
            read(path, classes.len(), &mut pixels, &mut labels)?;
        }
        Ok(Dataset::new(classes.clone(), SIDE, SIDE, pixels, labels))
    };
    let (test, train) = files.split_last().expect("at least the file to be tested on");
    Ok(Data { train: dataset(train)?, test: dataset(slice::from_ref(test))?, skipped: Vec::new() })
}

/// The names of the classes, one on each line; empty lines are left out.
fn classes(folder: &Path) -> Result<Vec<String>, DataError> {
    let path = folder.join(NAMES);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(CLASSES.map(str::to_owned).into()),
        bytes => bytes.map_err(DataError::io(&path))?,
    };
    let Ok(text) = String::from_utf8(bytes) else { return Err(DataError::Name { path }) };
    let classes: Vec<_> = text.lines().map(str::trim).filter(|name| !name.is_empty()).map(str::to_owned).collect();
    match classes.len() {
        2..=MAX_CLASSES => Ok(classes),
        found => Err(DataError::Classes { path, found }),
    }
}

fn read(path: &Path, classes: usize, pixels: &mut Vec<u8>, labels: &mut Vec<u16>) -> Result<(), DataError> {
    let bytes = fs::read(path).map_err(DataError::io(path))?;
    let (records, []) = bytes.as_chunks::<RECORD>() else { return Err(truncated(path, bytes.len())) };
    if records.is_empty() {
        return Err(truncated(path, 0));
    }
    pixels.reserve(bytes.len() - records.len());
    for (record, &[found, ref picture @ ..]) in records.iter().enumerate() {
        if usize::from(found) >= classes {
            return Err(DataError::Label { path: path.to_owned(), record, found, classes });
        }
        labels.push(found.into());
        pixels.extend_from_slice(picture);
    }
    Ok(())
}

fn truncated(path: &Path, found: usize) -> DataError {
    DataError::Truncated { path: path.to_owned(), found: found as u64, record: RECORD }
}
