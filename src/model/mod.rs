//! Bytes to model: reading, checking and writing `.flgc` files. The form is described in `docs/model-format.md`.

mod error;
mod format;
pub mod graph;
#[expect(unsafe_code, reason = "mapping a file is unsafe; nothing else in this crate is")]
mod map;
mod shape;
mod tensor;
mod validate;

pub use error::ModelError;
pub use graph::Graph;
pub use shape::Shape;
pub(crate) use shape::{ValueId, Values, infer};
pub use tensor::{DType, Tensor, TensorView};

use map::Bytes;
use std::{collections::BTreeMap, fs, io::Write, path::Path};
use tensor::TensorInfo;

/// A network: its graph and its tensors, checked.
///
/// Tensors stay in the mapped file until a plan packs them; a model is needed no longer once its plans are made.
pub struct Model {
    graph: Graph,
    tensors: BTreeMap<String, TensorInfo>,
    bytes: Bytes,
}

impl Model {
    /// Maps the file at `path` and checks all of it. Cost: one pass over the file.
    ///
    /// # Errors
    /// [`ModelError::Io`] if it can't be mapped, [`ModelError::File`] if it is no valid model.
    pub fn open(path: impl AsRef<Path>) -> Result<Self, ModelError> {
        let path = path.as_ref();
        let bytes = Bytes::map(path).map_err(|source| ModelError::Io { path: path.into(), source })?;
        Self::check(bytes).map_err(|source| ModelError::File { path: path.into(), source: source.into() })
    }

    /// A model from the bytes of a file.
    ///
    /// # Errors
    /// If they are no valid model.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::check(Bytes::Owned(bytes))
    }

    /// A model from its parts, checked like a file.
    ///
    /// # Errors
    /// If they are no valid model.
    ///
    /// # Panics
    /// If the graph holds a float that is not finite where JSON has no form for it.
    pub fn new(graph: &Graph, tensors: &BTreeMap<String, Tensor>) -> Result<Self, ModelError> {
        let graph = serde_json::to_string(graph).map_err(|source| ModelError::Json { place: "the graph", source })?;
        let entries = tensors.iter().map(|(name, t)| (name.as_str(), t.dtype, t.shape.as_slice(), t.bytes.as_slice()));
        Self::from_bytes(format::write(&graph, entries))
    }

    fn check(bytes: Bytes) -> Result<Self, ModelError> {
        let (graph, tensors) = {
            let container = format::parse(&bytes)?;
            let graph: Graph = serde_json::from_str(&container.graph)
                .map_err(|source| ModelError::Json { place: "the graph", source })?;
            (graph, container.tensors)
        };
        let model = Self { graph, tensors, bytes };
        validate::check(&model)?;
        Ok(model)
    }

    /// The file's bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Writes the file: to a temporary file beside `path`, which is then renamed. What is there and is no file, as a pipe, is written to.
    ///
    /// # Errors
    /// If it can't be written; a file at `path` is then as it was.
    pub fn save(&self, path: impl AsRef<Path>) -> Result<(), ModelError> {
        let path = path.as_ref();
        let write = || {
            // Through links, so that they stay.
            let target = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
            if fs::metadata(&target).is_ok_and(|there| !there.is_file() && !there.is_dir()) {
                return fs::File::options().write(true).open(&target)?.write_all(&self.bytes);
            }
            let folder = target.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
            let mut file = tempfile::NamedTempFile::new_in(folder)?;
            file.write_all(&self.bytes)?;
            file.as_file().sync_all()?;
            #[cfg(unix)]
            {
                // A temporary file is private; a model is an ordinary file.
                use std::os::unix::fs::PermissionsExt;
                file.as_file().set_permissions(fs::Permissions::from_mode(0o644))?;
            }
            file.persist(&target).map_err(|error| error.error)?;
            Ok(())
        };
        write().map_err(|source| ModelError::Io { path: path.into(), source })
    }

    /// The graph.
    #[must_use]
    pub const fn graph(&self) -> &Graph {
        &self.graph
    }

    /// The tensor of that name.
    #[must_use]
    pub fn tensor(&self, name: &str) -> Option<TensorView<'_>> {
        self.tensors.get(name).map(|info| TensorView::new(info, &self.bytes))
    }

    /// The names of all tensors, sorted.
    pub fn tensor_names(&self) -> impl Iterator<Item = &str> {
        self.tensors.keys().map(String::as_str)
    }
}
