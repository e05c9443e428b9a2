//! A folder of pictures per class: `train/<class>/<picture>` and `test/<class>/<picture>`.

use super::{Data, DataError, Dataset, MAX_CLASSES, MAX_SKIPPED_SHARE, Skipped, check_bytes, picture};
use rayon::prelude::*;
use std::{
    collections::BTreeMap,
    ffi::OsStr,
    fs, io,
    path::{Path, PathBuf},
};
use walkdir::{DirEntry, WalkDir};

pub(super) const TRAIN: &str = "train";
pub(super) const TEST: &str = "test";
/// How many of the pictures that can't be used a message shows.
const SHOWN: usize = 3;

pub(super) fn open(path: &Path, size: Option<(usize, usize)>) -> Result<Data, DataError> {
    let train = Half::list(path.join(TRAIN), "a folder of pictures to learn from, with a folder per class")?;
    let test = Half::list(path.join(TEST), "a folder of pictures to be tested on, with a folder per class")?;
    train.check_classes_of(&test)?;
    test.check_classes_of(&train)?;
    let size = match size {
        Some(size) => size,
        None => train.most_common_size()?,
    };
    check_bytes(path, (train.files.len() + test.files.len()) as u64, size)?;
    let (train, mut skipped) = train.load(size)?;
    let (test, more) = test.load(size)?;
    skipped.extend(more);
    Ok(Data { train, test, skipped })
}

/// Train or test: what there is to read.
struct Half {
    folder: PathBuf,
    /// In order of names.
    classes: Vec<String>,
    /// The files of the classes, each with its class.
    files: Vec<(PathBuf, u16)>,
}

impl Half {
    fn list(folder: PathBuf, expected: &'static str) -> Result<Self, DataError> {
        if !folder.exists() {
            return Err(DataError::Missing { path: folder, expected });
        }
        let classes = folders(&folder)?;
        if !(2..=MAX_CLASSES).contains(&classes.len()) {
            return Err(DataError::Classes { path: folder, found: classes.len() });
        }
        let mut files = Vec::new();
        for (label, class) in classes.iter().enumerate() {
            let (path, before) = (folder.join(class), files.len());
            for file in walk(&path) {
                files.push((file?, label as u16));
            }
            if files.len() == before {
                return Err(DataError::ClassEmpty { path });
            }
        }
        Ok(Self { folder, classes, files })
    }

    /// That each class of `other` is one here.
    fn check_classes_of(&self, other: &Self) -> Result<(), DataError> {
        match other.classes.iter().find(|class| self.classes.binary_search(class).is_err()) {
            Some(class) => Err(DataError::ClassMissing { path: self.folder.join(class), of: other.folder.join(class) }),
            None => Ok(()),
        }
    }

    /// The size that most pictures have, so that an odd one does not decide; the larger one of two that are as common.
    fn most_common_size(&self) -> Result<(usize, usize), DataError> {
        let sizes: Vec<_> = self.files.par_iter().map(|(path, _)| picture::size(path)).collect();
        let mut counts = BTreeMap::new();
        for size in sizes.iter().flatten() {
            *counts.entry(*size).or_insert(0) += 1;
        }
        if let Some((size, _)) = counts.into_iter().max_by_key(|&(_, count)| count) {
            return Ok(size);
        }
        let skipped = self.files.iter().zip(sizes).filter_map(|((path, _), size)| Some((path, size.err()?)));
        let skipped = skipped.map(|(path, message)| Skipped { path: path.clone(), message }).collect();
        Err(self.too_many(skipped))
    }

    /// Decodes the pictures of `size`.
    fn load(self, size: (usize, usize)) -> Result<(Dataset, Vec<Skipped>), DataError> {
        let length = 3 * size.0 * size.1;
        let mut pixels = vec![0; self.files.len() * length];
        let places = pixels.par_chunks_exact_mut(length);
        let results: Vec<_> =
            self.files.par_iter().zip(places).map(|((path, _), place)| load(path, size, place)).collect();

        // Closes the gaps that skipped pictures leave.
        let (mut labels, mut skipped) = (Vec::new(), Vec::new());
        for (i, ((path, label), result)) in self.files.iter().zip(results).enumerate() {
            match result {
                Ok(()) => {
                    if i > labels.len() {
                        pixels.copy_within(i * length..(i + 1) * length, labels.len() * length);
                    }
                    labels.push(*label);
                }
                Err(message) => skipped.push(Skipped { path: path.clone(), message }),
            }
        }
        pixels.truncate(labels.len() * length);
        if skipped.len() as f64 > MAX_SKIPPED_SHARE * self.files.len() as f64 {
            return Err(self.too_many(skipped));
        }
        // Labels are in order, as the files are.
        let empty = (0..self.classes.len()).find(|&label| labels.binary_search(&(label as u16)).is_err());
        if let Some(label) = empty {
            return Err(DataError::ClassEmpty { path: self.folder.join(&self.classes[label]) });
        }
        Ok((Dataset::new(self.classes, size.0, size.1, pixels, labels), skipped))
    }

    fn too_many(&self, mut first: Vec<Skipped>) -> DataError {
        let skipped = first.len();
        first.truncate(SHOWN);
        DataError::Skipped { path: self.folder.clone(), skipped, pictures: self.files.len(), first }
    }
}

/// Reads the picture at `path` into `place`, `[3][h][w]`.
fn load(path: &Path, size: (usize, usize), place: &mut [u8]) -> Result<(), String> {
    let picture = picture::decode(path, size)?;
    for (channel, plane) in place.chunks_exact_mut(size.0 * size.1).enumerate() {
        for (value, pixel) in plane.iter_mut().zip(picture.pixels()) {
            *value = pixel[channel];
        }
    }
    Ok(())
}

/// Whether a name says that somebody's tools put it there.
fn is_hidden(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b".")
}

/// The names of the folders in `folder`, in order. Files beside them are none of ours.
fn folders(folder: &Path) -> Result<Vec<String>, DataError> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(DataError::io(folder))? {
        let entry = entry.map_err(DataError::io(folder))?;
        let (path, name) = (entry.path(), entry.file_name());
        if !is_hidden(&name) && path.is_dir() {
            names.push(name.into_string().map_err(|_| DataError::Name { path })?);
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The files in `folder` and in its folders, links followed, in order of names. A link that leads nowhere is left to the reader of the picture.
fn walk(folder: &Path) -> impl Iterator<Item = Result<PathBuf, DataError>> {
    let is_shown = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry.file_name());
    let entries = WalkDir::new(folder).follow_links(true).sort_by_file_name().into_iter().filter_entry(is_shown);
    entries.filter_map(move |entry| match entry {
        Ok(entry) if entry.file_type().is_dir() => None,
        Ok(entry) => Some(Ok(entry.into_path())),
        Err(error) => {
            let path = error.path().unwrap_or(folder).to_owned();
            if is_hidden(path.file_name().unwrap_or_default()) {
                return None;
            }
            if !path.is_dir() {
                return Some(Ok(path));
            }
            let looped = || io::Error::other("found a link to a folder around it, expected pictures");
            Some(Err(DataError::Io { path, source: error.into_io_error().unwrap_or_else(looped) }))
        }
    })
}
