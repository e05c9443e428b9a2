//! What can be wrong with an ONNX file, or missing here.

use flgc::{ModelError, PlanError};
use std::{fmt::Display, io, path::PathBuf};

/// Why a network can't be imported. Every message names the place, the value found and the value expected.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// A file can't be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// The bytes are no ONNX model.
    #[error("the file: found no ONNX model ({0}), expected one, whole")]
    Decode(#[from] prost::DecodeError),
    /// A value is not what it has to be.
    #[error("{place}: found {found}, expected {expected}")]
    Invalid {
        /// Where: a node, a constant, an input.
        place: String,
        /// The value there.
        found: String,
        /// What it has to be.
        expected: String,
    },
    /// Operators, or uses of operators, that flgc does not have.
    #[error("{} not supported: {}", count(.0), list(.0))]
    Unsupported(Vec<Unsupported>),
    /// The result is no valid model: a value that only the model's own validator looks at.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The result can't be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
}

/// An operator, or a use of one, that flgc does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unsupported {
    /// What is not supported.
    pub what: String,
    /// The nodes that need it.
    pub nodes: Vec<String>,
}

impl ImportError {
    /// Something at `place` is not what it has to be.
    pub(crate) fn invalid(place: impl Display, found: impl Display, expected: impl Display) -> Self {
        Self::Invalid { place: place.to_string(), found: found.to_string(), expected: expected.to_string() }
    }
}

/// Why one node can't be taken over.
#[derive(Debug)]
pub(crate) enum NodeError {
    /// flgc does not have it.
    Unsupported(String),
    /// It is wrong.
    Invalid {
        /// The value there.
        found: String,
        /// What it has to be.
        expected: String,
    },
}

impl NodeError {
    pub(crate) fn unsupported(what: impl Display) -> Self {
        Self::Unsupported(what.to_string())
    }

    pub(crate) fn invalid(found: impl Display, expected: impl Display) -> Self {
        Self::Invalid { found: found.to_string(), expected: expected.to_string() }
    }
}

fn count(missing: &[Unsupported]) -> String {
    let nodes: usize = missing.iter().map(|missing| missing.nodes.len()).sum();
    if nodes == 1 { "one node is".to_owned() } else { format!("{nodes} nodes are") }
}

/// Names of at most that many nodes of each kind.
const NAMED: usize = 8;

fn list(missing: &[Unsupported]) -> String {
    let one = |Unsupported { what, nodes }: &Unsupported| {
        let named: Vec<String> = nodes.iter().take(NAMED).map(|name| format!("{name:?}")).collect();
        let more = if nodes.len() > NAMED { format!(" and {} more", nodes.len() - NAMED) } else { String::new() };
        format!("{what} ({}x: {}{more})", nodes.len(), named.join(", "))
    };
    missing.iter().map(one).collect::<Vec<_>>().join("; ")
}
