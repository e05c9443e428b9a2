//! The ONNX file as it stands: nodes in an order in which they can be run, constants by name, everything else checked.

use crate::{
    constant::{self, Constant},
    error::{ImportError, NodeError},
    proto,
};
use bytes::Bytes;
use prost::Message;
use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Component, Path, PathBuf},
};

/// The versions of ONNX's own operators that are read.
pub(crate) const OPSETS: std::ops::RangeInclusive<i64> = 7..=28;

/// Most nodes of a file: ten times what a model can have, since many only compute constants.
const MAX_NODES: usize = 100_000;

/// A network as its file describes it.
pub(crate) struct Source {
    /// Version of the operators.
    pub(crate) opset: i64,
    /// Inputs that are no constants.
    pub(crate) inputs: Vec<proto::ValueInfo>,
    pub(crate) outputs: Vec<String>,
    /// In an order in which they can be run.
    pub(crate) nodes: Vec<proto::Node>,
    constants: HashMap<String, proto::Tensor>,
    /// Where external data may lie.
    folder: Option<PathBuf>,
}

impl Source {
    /// The network in `bytes`; `folder` is where the file lies, for constants stored beside it.
    pub(crate) fn parse(bytes: Bytes, folder: Option<PathBuf>) -> Result<Self, ImportError> {
        if bytes.is_empty() {
            return Err(ImportError::invalid("the file", "nothing in it", "an ONNX model"));
        }
        let model = proto::Model::decode(bytes)?;
        let opset = opset(&model)?;
        let graph = model.graph.ok_or_else(|| {
            ImportError::invalid("the file", "no graph", "an ONNX model, which has one (is this another kind of file?)")
        })?;
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", |values| values.name.as_str());
            return Err(ImportError::invalid(format_args!("constant {name:?}"), "a sparse tensor", "a dense one"));
        }
        let mut constants = HashMap::new();
        for tensor in graph.initializer {
            let name = tensor.name.clone();
            if constants.insert(name.clone(), tensor).is_some() {
                return Err(ImportError::invalid(format_args!("constant {name:?}"), "that name again", "it once"));
            }
        }
        let inputs: Vec<proto::ValueInfo> =
            graph.input.into_iter().filter(|input| !constants.contains_key(&input.name)).collect();
        let known = inputs.iter().map(|input| input.name.as_str()).chain(constants.keys().map(String::as_str));
        let nodes = in_order(graph.node, known)?;
        let outputs = graph.output.into_iter().map(|output| output.name).collect();
        Ok(Self { opset, inputs, outputs, nodes, constants, folder })
    }

    /// The constant of that name.
    pub(crate) fn constant(&self, name: &str) -> Option<Result<Constant, ImportError>> {
        let tensor = self.constants.get(name)?;
        Some(self.decode(tensor).map_err(|error| at(format_args!("constant {name:?}"), error)))
    }

    /// What `tensor`, of the file or of an attribute, holds.
    pub(crate) fn decode(&self, tensor: &proto::Tensor) -> Result<Constant, NodeError> {
        // Before anything of that size is read.
        let elements: usize = constant::shape_of(&tensor.dims)?.iter().product();
        let bytes = constant::element_bytes(tensor.data_type).map(|bytes| bytes * elements as u64);
        let external = match bytes {
            Some(bytes) if tensor.data_location == 1 => Some(self.external(tensor, bytes)?),
            _ => None,
        };
        constant::decode(tensor, external)
    }

    /// The `needed` bytes of a tensor that lie outside of the file: in the file's own folder or below, never elsewhere.
    fn external(&self, tensor: &proto::Tensor, needed: u64) -> Result<Bytes, NodeError> {
        let value = |key: &str| tensor.external_data.iter().find(|entry| entry.key == key).map(|e| e.value.as_str());
        let location = value("location").unwrap_or_default();
        let number = |key: &str| match value(key).map(str::parse::<u64>) {
            None => Ok(None),
            Some(Ok(number)) => Ok(Some(number)),
            Some(Err(_)) => Err(NodeError::invalid(format_args!("{key} {:?}", value(key)), "a number of bytes")),
        };
        let (offset, length) = (number("offset")?.unwrap_or(0), number("length")?);
        let Some(folder) = &self.folder else {
            return Err(NodeError::invalid(
                "data outside of the file",
                "a file to be read by its path, beside its data",
            ));
        };
        let path = inside(folder, location).ok_or_else(|| {
            NodeError::invalid(format_args!("data in {location:?}"), "a file in the model's own folder or below it")
        })?;
        let failed = |error: std::io::Error| {
            NodeError::invalid(format_args!("data in {location:?}: {error}"), "the file that came with the model")
        };
        let there = path.metadata().map_err(failed)?;
        let rest = there.len().saturating_sub(offset);
        let length = length.unwrap_or(rest);
        if !there.is_file() || length > rest {
            return Err(NodeError::invalid(
                format_args!("{length} bytes from {offset} on in {location:?}, which has {}", there.len()),
                "a range inside the file",
            ));
        }
        if length != needed {
            return Err(NodeError::invalid(format_args!("{length} bytes of elements in {location:?}"), needed));
        }
        let mut file = File::open(&path).map_err(failed)?;
        file.seek(SeekFrom::Start(offset)).map_err(failed)?;
        let mut bytes = Vec::new();
        file.take(length).read_to_end(&mut bytes).map_err(failed)?;
        Ok(bytes.into())
    }
}

/// `location` below `folder`, if it does not leave it: no absolute path, no `..`, no link that leads out.
fn inside(folder: &Path, location: &str) -> Option<PathBuf> {
    let location = Path::new(location);
    let plain = location.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    if location.as_os_str().is_empty() || !plain {
        return None;
    }
    let path = folder.join(location);
    match (folder.canonicalize(), path.canonicalize()) {
        (Ok(folder), Ok(real)) => real.starts_with(folder).then_some(path),
        // It does not exist: opening it says so.
        _ => Some(path),
    }
}

/// A node's error with its place.
pub(crate) fn at(place: impl std::fmt::Display, error: NodeError) -> ImportError {
    match error {
        NodeError::Unsupported(found) => ImportError::invalid(place, found, "something that flgc supports"),
        NodeError::Invalid { found, expected } => ImportError::invalid(place, found, expected),
    }
}

fn opset(model: &proto::Model) -> Result<i64, ImportError> {
    let own = |domain: &str| domain.is_empty() || domain == "ai.onnx";
    let version = model.opset_import.iter().find(|set| own(&set.domain)).map(|set| set.version);
    let version = version.ok_or_else(|| {
        ImportError::invalid("the file", "no version of ONNX's operators", "an ONNX model, which names one")
    })?;
    if !OPSETS.contains(&version) {
        let expected = format!("{} to {} (onnx.version_converter can convert it)", OPSETS.start(), OPSETS.end());
        return Err(ImportError::invalid("the version of the operators", version, expected));
    }
    Ok(version)
}

/// How messages name a node: its own name, or that of its first output.
pub(crate) fn name_of(node: &proto::Node) -> &str {
    match (&*node.name, node.output.first()) {
        ("", Some(output)) => output,
        (name, _) => name,
    }
}

/// `nodes` sorted so that each stands behind those that it reads; their order is kept where it can be.
fn in_order<'a>(
    nodes: Vec<proto::Node>,
    known: impl Iterator<Item = &'a str>,
) -> Result<Vec<proto::Node>, ImportError> {
    if nodes.len() > MAX_NODES {
        return Err(ImportError::invalid(
            "the graph",
            format_args!("{} nodes", nodes.len()),
            format_args!("at most {MAX_NODES}"),
        ));
    }
    let place = |node: &proto::Node| format!("node {:?} ({})", name_of(node), node.op_type);
    let mut maker: HashMap<&str, usize> = HashMap::new();
    let known: HashSet<&str> = known.collect();
    for (index, node) in nodes.iter().enumerate() {
        for output in node.output.iter().filter(|output| !output.is_empty()) {
            if known.contains(output.as_str()) || maker.insert(output, index).is_some() {
                return Err(ImportError::invalid(
                    place(node),
                    format_args!("output {output:?} again"),
                    "a name that nothing else has",
                ));
            }
        }
    }
    // Nodes that wait for others, and how many each waits for.
    let mut waiting: Vec<Vec<usize>> = vec![Vec::new(); nodes.len()];
    let mut missing = vec![0usize; nodes.len()];
    for (index, node) in nodes.iter().enumerate() {
        for input in node.input.iter().filter(|input| !input.is_empty()) {
            match maker.get(input.as_str()) {
                Some(&maker) => {
                    waiting[maker].push(index);
                    missing[index] += 1;
                }
                None if known.contains(input.as_str()) => {}
                None => {
                    return Err(ImportError::invalid(
                        place(node),
                        format_args!("input {input:?}"),
                        "an input, a constant or an output of another node",
                    ));
                }
            }
        }
    }
    let mut ready: std::collections::BTreeSet<usize> = (0..nodes.len()).filter(|&index| missing[index] == 0).collect();
    let mut order = Vec::with_capacity(nodes.len());
    while let Some(index) = ready.pop_first() {
        order.push(index);
        for &next in &waiting[index] {
            missing[next] -= 1;
            if missing[next] == 0 {
                ready.insert(next);
            }
        }
    }
    if let Some(index) = missing.iter().position(|&missing| missing > 0) {
        return Err(ImportError::invalid(
            place(&nodes[index]),
            "a cycle of nodes that wait for each other",
            "none that needs its own output",
        ));
    }
    let mut nodes: Vec<Option<proto::Node>> = nodes.into_iter().map(Some).collect();
    Ok(order.into_iter().filter_map(|index| nodes[index].take()).collect())
}

/// Attributes of a node.
#[derive(Clone, Copy)]
pub(crate) struct Attributes<'a>(pub(crate) &'a proto::Node);

impl<'a> Attributes<'a> {
    pub(crate) fn get(self, name: &str) -> Option<&'a proto::Attribute> {
        self.0.attribute.iter().find(|attribute| attribute.name == name)
    }

    fn typed<T>(
        self,
        name: &str,
        kind: &str,
        of: impl Fn(&'a proto::Attribute) -> Option<T>,
    ) -> Result<Option<T>, NodeError> {
        let Some(attribute) = self.get(name) else { return Ok(None) };
        let wrong = || NodeError::invalid(format_args!("attribute {name:?} of another type"), kind);
        of(attribute).map(Some).ok_or_else(wrong)
    }

    pub(crate) fn int(self, name: &str) -> Result<Option<i64>, NodeError> {
        // Some writers leave zeros out.
        self.typed(name, "an integer", |attribute| attribute.i.or((attribute.r#type == 2).then_some(0)))
    }

    pub(crate) fn float(self, name: &str) -> Result<Option<f32>, NodeError> {
        self.typed(name, "a float", |attribute| attribute.f.or((attribute.r#type == 1).then_some(0.0)))
    }

    pub(crate) fn ints(self, name: &str) -> Result<Option<&'a [i64]>, NodeError> {
        self.typed(name, "integers", |attribute| {
            let other = attribute.i.is_some() || attribute.f.is_some() || attribute.s.is_some();
            (!other).then_some(&*attribute.ints)
        })
    }

    pub(crate) fn string(self, name: &str) -> Result<Option<&'a str>, NodeError> {
        self.typed(name, "text", |attribute| std::str::from_utf8(attribute.s.as_ref()?).ok())
    }

    pub(crate) fn int_or(self, name: &str, default: i64) -> Result<i64, NodeError> {
        Ok(self.int(name)?.unwrap_or(default))
    }

    pub(crate) fn float_or(self, name: &str, default: f32) -> Result<f32, NodeError> {
        Ok(self.float(name)?.unwrap_or(default))
    }

    pub(crate) fn string_or(self, name: &str, default: &'a str) -> Result<&'a str, NodeError> {
        Ok(self.string(name)?.unwrap_or(default))
    }
}
