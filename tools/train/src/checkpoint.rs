//! The state of a training after an epoch, as a safetensors file: `--resume` goes on from it as if nothing had happened.

use crate::{
    average::{self, Average},
    metrics::Epoch,
    nn::{Running, groups::Assignment, mobilenet::MobileNet},
    settings::Settings,
};
use flgc_run::file;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::{
    collections::{BTreeMap, HashMap},
    fs, io,
    path::{Path, PathBuf},
};

/// Changes when older files can't be read any more, and when the arithmetic changes, so that going on would give the bits of neither program.
const VERSION: u32 = 2;
/// The key of settings and state in the file's metadata.
const KEY: &str = "flgc-train";
/// The key of the checksum: of that text, and of the tensors' bytes in the order of their names.
const CHECKSUM: &str = "crc32c";
/// What the names of means of weights begin with.
const AVERAGE: &str = "average.";

/// Why a checkpoint can't be used.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It can't be read or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// It is not what a training has written.
    #[error("{}: {message}; it is no whole checkpoint: give another one, or delete it to start anew", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        message: String,
    },
    /// Another version wrote it.
    #[error("{}: found a checkpoint of version {found}, expected {VERSION}: go on with the program that wrote it, or start anew in another folder", path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
    },
    /// It has another network.
    #[error("{}: it has another network ({differences}): start from a checkpoint of the same, or give its width with --start-width", path.display())]
    OtherNetwork {
        /// The file.
        path: PathBuf,
        /// How the settings differ.
        differences: String,
    },
    /// It belongs to another training.
    #[error("{}: it belongs to another training ({differences}): give the options and the data of that one, or start anew in another folder", path.display())]
    Other {
        /// The file.
        path: PathBuf,
        /// How the settings differ.
        differences: String,
    },
}

/// What a training has come to, beside the network.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct State {
    /// Figures of the epochs so far.
    pub epochs: Vec<Epoch>,
    /// The groups of each layer with learned groups at the start: of channels, of filters.
    pub start: Vec<[Vec<usize>; 2]>,
}

impl State {
    /// Keeps the groups that training starts from.
    pub fn set_start<'a>(&mut self, assignments: impl Iterator<Item = &'a Assignment>) {
        self.start = assignments.map(|of| [of.of_channel.clone(), of.of_filter.clone()]).collect();
    }
}

#[derive(Serialize, Deserialize)]
struct Header {
    version: u32,
    settings: Settings,
    state: State,
}

/// Every list of numbers that a training changes, by name.
pub(crate) fn lists(network: &mut MobileNet<f32>) -> BTreeMap<String, &mut Vec<f32>> {
    let (params, norms) = network.state_mut();
    let params = params.into_iter().flat_map(|param| {
        let name = &param.name;
        let names = [name.clone(), format!("{name}.first"), format!("{name}.second")];
        names.into_iter().zip([&mut param.value, &mut param.first, &mut param.second])
    });
    params.chain(norms.into_iter().flat_map(Running::lists)).collect()
}

/// Writes a checkpoint: to a temporary file beside `path`, which is then renamed.
///
/// # Errors
/// If it can't be written; `path` is then as it was.
pub fn save(
    path: &Path,
    settings: &Settings,
    state: &State,
    network: &mut MobileNet<f32>,
    average: &Average,
) -> Result<(), CheckpointError> {
    let bytes = |list: &[f32]| list.iter().flat_map(|value| value.to_le_bytes()).collect();
    let own = lists(network).into_iter().map(|(name, list)| (name, bytes(list)));
    let mean = average.values.iter().map(|(name, list)| (format!("{AVERAGE}{name}"), bytes(list)));
    let bytes: BTreeMap<String, Vec<u8>> = own.chain(mean).collect();
    let header = Header { version: VERSION, settings: settings.clone(), state: state.clone() };
    let write = || -> io::Result<()> {
        let views = bytes.iter().map(|(name, bytes)| {
            let view = TensorView::new(Dtype::F32, vec![bytes.len() / 4], bytes).map_err(io::Error::other)?;
            Ok((name, view))
        });
        let views: Vec<_> = views.collect::<io::Result<_>>()?;
        let text = serde_json::to_string(&header)?;
        let crc32c = format!("{:08x}", checksum(&text, &bytes));
        let metadata = HashMap::from([(KEY.to_owned(), text), (CHECKSUM.to_owned(), crc32c)]);
        file::replace(path, &safetensors::serialize(views, Some(metadata)).map_err(io::Error::other)?)
    };
    write().map_err(|source| CheckpointError::Io { path: path.to_owned(), source })
}

fn checksum(text: &str, lists: &BTreeMap<String, Vec<u8>>) -> u32 {
    lists.values().fold(crc32c::crc32c(text.as_bytes()), |crc, list| crc32c::crc32c_append(crc, list))
}

/// A checkpoint's file, whole and of this version.
struct File {
    header: Value,
    /// The bytes of each list of numbers.
    lists: BTreeMap<String, Vec<u8>>,
    crc32c: u32,
}

impl File {
    fn read(path: &Path) -> Result<Self, CheckpointError> {
        let damaged = |message: String| CheckpointError::Damaged { path: path.to_owned(), message };
        let bytes = fs::read(path).map_err(|source| CheckpointError::Io { path: path.to_owned(), source })?;
        let (_, metadata) = SafeTensors::read_metadata(&bytes).map_err(|error| damaged(error.to_string()))?;
        let text = |key: &str| {
            let text = metadata.metadata().as_ref().and_then(|metadata| metadata.get(key));
            text.ok_or_else(|| damaged(format!("found no metadata \"{key}\"")))
        };
        let header: Value = serde_json::from_str(text(KEY)?).map_err(|error| damaged(error.to_string()))?;
        let version = header.get("version").and_then(Value::as_u64).unwrap_or(0);
        if version != u64::from(VERSION) {
            return Err(CheckpointError::Version { path: path.to_owned(), found: version });
        }
        let tensors = SafeTensors::deserialize(&bytes).map_err(|error| damaged(error.to_string()))?;
        let lists: BTreeMap<String, Vec<u8>> =
            tensors.iter().map(|(name, view)| (name.to_owned(), view.data().to_vec())).collect();
        let (crc32c, expected) = (checksum(text(KEY)?, &lists), text(CHECKSUM)?);
        if format!("{crc32c:08x}") != *expected {
            return Err(damaged(format!("found checksum {crc32c:08x}, expected {expected}")));
        }
        Ok(Self { header, lists, crc32c })
    }

    /// Whether it has a mean of weights.
    fn has_average(&self) -> bool {
        self.lists.keys().any(|name| name.starts_with(AVERAGE))
    }

    fn settings(&self) -> &Value {
        self.header.get("settings").unwrap_or(&Value::Null)
    }

    /// Fills `list`, which is empty if it was not used yet.
    fn take(&self, path: &Path, name: &str, list: &mut Vec<f32>) -> Result<(), CheckpointError> {
        let damaged = |message: String| CheckpointError::Damaged { path: path.to_owned(), message };
        let data = self.lists.get(name).ok_or_else(|| damaged(format!("found no tensor {name}")))?;
        let values: Vec<f32> = data.as_chunks().0.iter().map(|&value| f32::from_le_bytes(value)).collect();
        if values.len() != list.len() && !list.is_empty() {
            return Err(damaged(format!("tensor {name}: found {} numbers, expected {}", values.len(), list.len())));
        }
        *list = values;
        Ok(())
    }
}

/// Brings `network` to the state of a checkpoint that was written with the same settings.
///
/// # Errors
/// If it can't be read, is damaged, or belongs to another version, network, data set or training; `network` may then be partly changed.
pub fn load(
    path: &Path,
    settings: &Settings,
    network: &mut MobileNet<f32>,
) -> Result<(State, Average), CheckpointError> {
    let file = File::read(path)?;
    let differences = settings.differences(file.settings());
    if !differences.is_empty() {
        return Err(CheckpointError::Other { path: path.to_owned(), differences: differences.join("; ") });
    }
    let header: Header = serde_json::from_value(file.header.clone())
        .map_err(|error| CheckpointError::Damaged { path: path.to_owned(), message: error.to_string() })?;
    for (name, list) in lists(network) {
        file.take(path, &name, list)?;
    }
    let mut average = Average::default();
    if file.has_average() {
        for (name, list) in average::lists(network) {
            let mut mean = vec![0.0; list.len()];
            file.take(path, &format!("{AVERAGE}{name}"), &mut mean)?;
            average.values.insert(name, mean);
        }
    }
    network.refresh();
    Ok((header.state, average))
}

/// Gives `network` the weights (their mean, if there is one), groups and statistics of another training's checkpoint, but none of its momentum.
///
/// # Errors
/// If it can't be read, is damaged, or belongs to another version or network; `network` may then be partly changed.
pub fn start_from(path: &Path, settings: &Settings, network: &mut MobileNet<f32>) -> Result<(), CheckpointError> {
    let file = File::read(path)?;
    let differences = settings.network_differences(file.settings());
    if !differences.is_empty() {
        return Err(CheckpointError::OtherNetwork { path: path.to_owned(), differences: differences.join("; ") });
    }
    for (name, list) in lists(network) {
        if !name.ends_with(".first") && !name.ends_with(".second") {
            file.take(path, &name, list)?;
        }
    }
    if file.has_average() {
        for (name, list) in average::lists(network) {
            file.take(path, &format!("{AVERAGE}{name}"), list)?;
        }
    }
    network.refresh();
    Ok(())
}

/// The checksum of the numbers of the checkpoint at `path`.
///
/// # Errors
/// If it can't be read, is damaged, or belongs to another version.
pub fn fingerprint(path: &Path) -> Result<u32, CheckpointError> {
    Ok(File::read(path)?.crc32c)
}
