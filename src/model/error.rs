//! What can be wrong with a model.

use std::{fmt::Display, io, path::PathBuf};

/// Why a model can't be read, written or made. Every message names the place, the value found and the value expected.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    /// The file can't be opened, mapped or written.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The file is there, but is no usable model.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: Box<ModelError>,
    },
    /// The header or the graph is no JSON of the expected form.
    #[error("{place}: {source}; docs/model-format.md describes the form")]
    Json {
        /// The header or the graph.
        place: &'static str,
        /// What the parser says, with line and column.
        source: serde_json::Error,
    },
    /// A value is not what it has to be.
    #[error("{place}: found {found}, expected {expected}")]
    Invalid {
        /// Where: a layer, a tensor, a part of the file.
        place: String,
        /// The value there.
        found: String,
        /// What it has to be, and what to do where that is not obvious.
        expected: String,
    },
}

impl ModelError {
    /// Something at `place` is not what it has to be.
    pub(crate) fn invalid(place: impl Display, found: impl Display, expected: impl Display) -> Self {
        Self::Invalid { place: place.to_string(), found: found.to_string(), expected: expected.to_string() }
    }
}
