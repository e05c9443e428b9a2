//! ONNX networks as flgc models, with the channel groups that are in them.
//!
//! No framework has a layer for learned, uneven groups, so such a network arrives as dense convolutions whose weights are mostly zeros, or as a tangle of
//! gathers, small convolutions and concatenations. The path from there to a model: [`proto`] (bytes to messages) -> `source` (messages to sorted
//! nodes and constants) -> `lower` (nodes to layers; what only rearranges channels becomes lists of planes; `fold` computes what depends on constants only;
//! `groups` finds the groups) -> `simplify` (branches that are one layer become one, dead channels go) -> `emit` (layers to graph and tensors). Beside it:
//! [`report`] (what was found) and [`cli`] (the program).

pub mod cli;
mod constant;
mod emit;
mod error;
mod fold;
mod groups;
mod lower;
mod net;
pub mod proto;
pub mod report;
mod shape;
mod simplify;
mod source;

pub use error::{ImportError, Unsupported};
pub use report::Report;

use bytes::Bytes;
use flgc::{
    Model, Plan,
    model::{DType, graph::Image},
};
use source::Source;
use std::{fs, path::Path};

/// How a network is imported.
#[derive(Clone, Debug)]
pub struct Options {
    /// The type that weights are stored as.
    pub dtype: DType,
    /// A name for each class.
    pub labels: Vec<String>,
    /// How pictures become the first input.
    pub image: Option<Image>,
    /// Sizes of inputs that the file leaves open; the name may be left out where there is one input.
    pub input_shapes: Vec<(Option<String>, Vec<usize>)>,
    /// Height and width of the first input, where the file leaves them open.
    pub crop: Option<usize>,
    /// How the result is planned, to check it. Its memory limit also bounds what is computed from constants.
    pub plan: flgc::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            labels: Vec::new(),
            image: None,
            input_shapes: Vec::new(),
            crop: None,
            plan: flgc::Options::default(),
        }
    }
}

/// An imported network.
pub struct Imported {
    /// The model, checked.
    pub model: Model,
    /// What was found in it.
    pub report: Report,
}

/// Imports the ONNX file at `path`. Constants stored outside of it are looked for in its folder. Cost: a few passes over the weights, and about
/// three times their size in memory.
///
/// # Errors
/// If the file can't be read, is no valid network, or needs an operator that flgc does not have; the error lists all of those.
pub fn import_file(path: impl AsRef<Path>, options: &Options) -> Result<Imported, ImportError> {
    let path = path.as_ref();
    let bytes = fs::read(path).map_err(|source| ImportError::Io { path: path.into(), source })?;
    import_bytes(
        bytes.into(),
        path.parent().map(|folder| if folder == Path::new("") { Path::new(".") } else { folder }),
        options,
    )
}

/// Imports the bytes of an ONNX file; `folder` is where constants stored outside of it are looked for.
///
/// # Errors
/// As [`import_file`].
pub fn import_bytes(bytes: Bytes, folder: Option<&Path>, options: &Options) -> Result<Imported, ImportError> {
    let source = Source::parse(bytes, folder.map(Path::to_owned))?;
    let mut net = lower::lower(&source, options)?;
    // The file's bytes go with it.
    drop(source);
    simplify::simplify(&mut net);
    let mut report = Report::of(&net);
    let (mut graph, tensors) = emit::emit(&mut net, options.dtype);
    drop(net);
    graph.labels.clone_from(&options.labels);
    if let Some(input) = graph.inputs.first_mut() {
        input.image = options.image.clone().map(Box::new);
    }
    let model = Model::new(&graph, &tensors)?;
    drop(tensors);
    report.plan(&graph, &Plan::new(&model, &options.plan)?);
    Ok(Imported { model, report })
}
