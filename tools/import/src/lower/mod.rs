//! Node by node from the file's operators to layers: what only rearranges channels becomes a list of lanes, what reads only constants is computed.

mod conv;
mod elementwise;
mod pool;
mod rearrange;

use crate::{
    Options,
    constant::Constant,
    error::{ImportError, NodeError, Unsupported},
    fold::Folder,
    net::{Net, Op, View},
    proto::{self, data_type},
    shape,
    source::{Attributes, Source, at, name_of},
};
use ndarray::ArrayD;
use std::collections::HashMap;

/// Most lanes of all lists together: more than any network's, little enough to hold.
const MAX_LANES: usize = 1 << 24;
/// Most elements of an activation.
const MAX_ELEMENTS: usize = 1 << 36;

/// What a name stands for.
#[derive(Clone)]
enum Known {
    Constant(Constant),
    View(View),
    /// The output of a node that is not supported: what reads it is left out, so that all such nodes can be listed.
    Nothing,
}

/// An input of a node.
#[derive(Clone)]
pub(super) enum Arg {
    Constant(Constant),
    View(View),
}

/// One node with its inputs.
pub(super) struct Call<'a> {
    pub(super) node: &'a proto::Node,
    pub(super) attributes: Attributes<'a>,
    pub(super) inputs: Vec<Option<Arg>>,
    pub(super) opset: i64,
}

/// The layers of the network in `source`; of `options` only the sizes of inputs matter.
pub(crate) fn lower(source: &Source, options: &Options) -> Result<Net, ImportError> {
    let mut lowering = Lowering {
        source,
        folder: Folder::new(source.opset, options.plan.memory_limit),
        net: Net::default(),
        known: HashMap::new(),
        readers: HashMap::new(),
        lanes_left: MAX_LANES,
        kept: 0,
        missing: Vec::new(),
        missing_at: HashMap::new(),
    };
    let names = source.nodes.iter().flat_map(|node| &node.input).chain(&source.outputs);
    names.for_each(|name| *lowering.readers.entry(name).or_default() += 1);
    lowering.inputs(options)?;
    for node in &source.nodes {
        lowering.node(node)?;
        lowering.forget(node);
    }
    if !lowering.missing.is_empty() {
        return Err(ImportError::Unsupported(lowering.missing));
    }
    lowering.outputs()?;
    Ok(lowering.net)
}

struct Lowering<'a> {
    source: &'a Source,
    folder: Folder,
    net: Net,
    known: HashMap<String, Known>,
    /// How many nodes and outputs are still to read each name.
    readers: HashMap<&'a str, usize>,
    /// How many lanes there may still be.
    lanes_left: usize,
    /// Elements of the constants that are known.
    kept: usize,
    missing: Vec<Unsupported>,
    /// The place of each kind of node in `missing`.
    missing_at: HashMap<String, usize>,
}

impl<'a> Lowering<'a> {
    fn inputs(&mut self, options: &Options) -> Result<(), ImportError> {
        let inputs = &self.source.inputs;
        if inputs.is_empty() {
            return Err(ImportError::invalid("the graph", "no inputs", "at least one that is no constant"));
        }
        let mut asked: HashMap<&str, &[usize]> = HashMap::new();
        for (name, shape) in &options.input_shapes {
            let input = match name {
                Some(name) => inputs.iter().find(|input| input.name == *name),
                None => inputs.first().filter(|_| inputs.len() == 1),
            };
            let input = input.ok_or_else(|| {
                let known: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
                let found = name.as_ref().map_or("no name".to_owned(), |name| format!("{name:?}"));
                ImportError::invalid("the input that a shape is asked for", found, format_args!("one of {known:?}"))
            })?;
            asked.insert(&input.name, shape);
        }
        for (index, input) in inputs.iter().enumerate() {
            let crop = options.crop.filter(|_| index == 0);
            let shape = input_shape(input, asked.get(input.name.as_str()).copied(), crop)?;
            let lanes = shape.get(1).copied().unwrap_or(1);
            self.charge(lanes).map_err(|error| at(format_args!("input {:?}", input.name), error))?;
            let value = self.net.value(&input.name, &shape);
            self.known.insert(input.name.clone(), Known::View(View::whole(value, &shape)));
        }
        self.net.inputs = inputs.len();
        Ok(())
    }

    fn outputs(&mut self) -> Result<(), ImportError> {
        for name in &self.source.outputs {
            match self.known.get(name) {
                Some(Known::View(view)) => self.net.outputs.push((name.clone(), view.clone())),
                Some(_) => {
                    let expected = "something that depends on an input";
                    return Err(ImportError::invalid(format_args!("output {name:?}"), "a constant", expected));
                }
                None => {
                    let expected = "an output of one of the nodes";
                    return Err(ImportError::invalid(
                        format_args!("output {name:?}"),
                        "no node that makes it",
                        expected,
                    ));
                }
            }
        }
        if self.net.outputs.is_empty() {
            return Err(ImportError::invalid("the graph", "no outputs", "at least one"));
        }
        Ok(())
    }

    fn node(&mut self, node: &proto::Node) -> Result<(), ImportError> {
        let place = || format!("node {:?} ({})", name_of(node), node.op_type);
        let result = match self.arguments(node)? {
            Some(inputs) => self.outputs_of(node, inputs),
            // Behind something that is not supported nothing is known but the operator's name.
            None if self.is_known(node) => Ok(Vec::new()),
            None => Err(NodeError::unsupported(operator(node))),
        };
        let outputs = match result {
            Ok(outputs) => {
                let lanes = |output: &Arg| if let Arg::View(view) = output { view.channels() } else { 0 };
                self.charge(outputs.iter().map(lanes).sum()).map_err(|error| at(place(), error))?;
                outputs
            }
            Err(NodeError::Unsupported(what)) => {
                self.miss(what, name_of(node));
                Vec::new()
            }
            Err(error @ NodeError::Invalid { .. }) => return Err(at(place(), error)),
        };
        let is_done = !outputs.is_empty();
        let mut outputs = outputs.into_iter();
        for name in &node.output {
            let known = match outputs.next() {
                Some(Arg::Constant(constant)) => Known::Constant(constant),
                Some(Arg::View(view)) => Known::View(view),
                None => Known::Nothing,
            };
            let is_read = self.readers.get(name.as_str()).is_some_and(|&left| left > 0);
            if is_done && is_read && matches!(known, Known::Nothing) {
                self.miss(format!("{} with further outputs that are read", node.op_type), name_of(node));
            }
            if !name.is_empty() {
                self.know(name, known).map_err(|error| at(place(), error))?;
            }
        }
        Ok(())
    }

    /// Lets go of what nobody reads after `node`: masks and weights on their way are as large as the network.
    fn forget(&mut self, node: &'a proto::Node) {
        for name in &node.input {
            let left = self.readers.entry(name).or_default();
            *left = left.saturating_sub(1);
        }
        for name in node.input.iter().chain(&node.output) {
            if self.readers.get(name.as_str()).is_none_or(|&left| left == 0)
                && let Some(Known::Constant(constant)) = self.known.remove(name)
            {
                self.kept -= constant.shape().iter().product::<usize>();
            }
        }
    }

    /// Notes what a name stands for.
    fn know(&mut self, name: &str, known: Known) -> Result<(), NodeError> {
        if let Known::Constant(constant) = &known {
            self.kept += constant.shape().iter().product::<usize>();
            if self.kept > self.folder.most() {
                let expected = format!("at most {} elements at a time, by the limit of memory", self.folder.most());
                return Err(NodeError::invalid(format_args!("{} elements of constants", self.kept), expected));
            }
        }
        self.known.insert(name.to_owned(), known);
        Ok(())
    }

    fn miss(&mut self, what: String, node: &str) {
        let next = self.missing.len();
        let at = *self.missing_at.entry(what.clone()).or_insert(next);
        if at == next {
            self.missing.push(Unsupported { what, nodes: Vec::new() });
        }
        self.missing[at].nodes.push(node.to_owned());
    }

    /// The inputs of `node`; `None` if one of them is made by a node that is not supported.
    fn arguments(&self, node: &proto::Node) -> Result<Option<Vec<Option<Arg>>>, ImportError> {
        let mut inputs = Vec::with_capacity(node.input.len());
        for name in &node.input {
            let input = match self.known.get(name) {
                _ if name.is_empty() => None,
                Some(Known::Constant(constant)) => Some(Arg::Constant(constant.clone())),
                Some(Known::View(view)) => Some(Arg::View(view.clone())),
                Some(Known::Nothing) => return Ok(None),
                None => {
                    let constant = self.source.constant(name).transpose()?;
                    // It is decoded for each reader, and a file of one constant may have many.
                    let elements = constant.as_ref().map_or(0, |constant| constant.shape().iter().product());
                    self.folder.work(elements).map_err(|error| at(format_args!("constant {name:?}"), error))?;
                    constant.map(Arg::Constant)
                }
            };
            inputs.push(input);
        }
        Ok(Some(inputs))
    }

    fn is_known(&self, node: &proto::Node) -> bool {
        own_domain(node) && OPERATORS.split_whitespace().any(|name| name == node.op_type)
    }

    fn outputs_of(&mut self, node: &proto::Node, inputs: Vec<Option<Arg>>) -> Result<Vec<Arg>, NodeError> {
        if !self.is_known(node) {
            return Err(NodeError::unsupported(operator(node)));
        }
        let attributes = Attributes(node);
        if node.op_type == "Constant" {
            return Ok(vec![Arg::Constant(self.constant(attributes)?)]);
        }
        if inputs.iter().flatten().all(|input| matches!(input, Arg::Constant(_))) {
            let constants: Vec<Option<Constant>> = inputs
                .into_iter()
                .map(|input| match input {
                    Some(Arg::Constant(constant)) => Some(constant),
                    _ => None,
                })
                .collect();
            let outputs = self.folder.fold(attributes, &constants)?;
            let outputs =
                outputs.ok_or_else(|| NodeError::unsupported(format_args!("{} of constants", node.op_type)))?;
            return Ok(outputs.into_iter().map(Arg::Constant).collect());
        }
        self.lower(&Call { node, attributes, inputs, opset: self.source.opset })
    }

    fn lower(&mut self, call: &Call<'_>) -> Result<Vec<Arg>, NodeError> {
        let one = |view: View| Ok(vec![Arg::View(view)]);
        match call.node.op_type.as_str() {
            "Conv" => one(self.conv(call)?),
            "Gemm" => one(self.gemm(call)?),
            "MatMul" => one(self.matmul(call)?),
            "BatchNormalization" => one(self.batch_norm(call)?),
            "Relu" | "Clip" | "LeakyRelu" | "PRelu" | "Sigmoid" | "HardSigmoid" | "HardSwish" | "Swish" => {
                one(self.activation(call)?)
            }
            "Add" | "Sub" | "Mul" | "Div" | "Sum" | "Neg" | "Max" | "Min" => one(self.arithmetic(call)?),
            "Softmax" => one(self.softmax(call)?),
            "MaxPool" | "AveragePool" => one(self.pool(call)?),
            "GlobalAveragePool" | "GlobalMaxPool" | "ReduceMean" | "ReduceMax" => one(self.global_pool(call)?),
            "Resize" | "Upsample" => one(self.resize(call)?),
            "Pad" => one(self.pad(call)?),
            "Identity" => one(call.view(0)?.clone()),
            "Dropout" => {
                if self.is_read(call, 1) {
                    return Err(NodeError::unsupported("Dropout whose mask is used"));
                }
                one(call.view(0)?.clone())
            }
            "Cast" => match call.attributes.int_or("to", 0)? as i32 {
                // Activations are f32 here, whatever they were.
                data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16 => {
                    one(call.view(0)?.clone())
                }
                to => Err(NodeError::unsupported(format_args!("Cast of an activation to {}", data_type::name(to)))),
            },
            "Shape" => {
                let dims: Vec<i64> = call.view(0)?.shape().iter().map(|&dim| dim as i64).collect();
                let range = shape::shape_range(call.attributes, dims.len())?;
                Ok(vec![Arg::Constant(Constant::ints(dims[range].to_vec()))])
            }
            "Size" => {
                let elements = call.view(0)?.shape().iter().product::<usize>() as i64;
                Ok(vec![Arg::Constant(ArrayD::from_elem(ndarray::IxDyn(&[]), elements).into())])
            }
            "Split" => self.split(call),
            "Concat" | "Slice" | "Gather" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose"
            | "Expand" => one(self.rearrange(call)?),
            other => Err(NodeError::unsupported(format_args!("{other} of an activation"))),
        }
    }

    fn constant(&self, attributes: Attributes<'_>) -> Result<Constant, NodeError> {
        let scalar = ndarray::IxDyn(&[]);
        if let Some(tensor) = attributes.get("value").and_then(|attribute| attribute.t.as_ref()) {
            return self.source.decode(tensor);
        }
        if let Some(value) = attributes.float("value_float")? {
            return Ok(ArrayD::from_elem(scalar, value).into());
        }
        if let Some(value) = attributes.int("value_int")? {
            return Ok(ArrayD::from_elem(scalar, value).into());
        }
        if let Some(values) = attributes.get("value_floats") {
            return Ok(ndarray::Array1::from(values.floats.clone()).into_dyn().into());
        }
        if let Some(values) = attributes.ints("value_ints")? {
            return Ok(Constant::ints(values.to_vec()));
        }
        Err(NodeError::unsupported("Constant that is neither a dense tensor nor numbers"))
    }

    /// Whether something reads output `index`.
    fn is_read(&self, call: &Call<'_>, index: usize) -> bool {
        call.node.output.get(index).is_some_and(|name| self.readers.get(name.as_str()).is_some_and(|&left| left > 0))
    }

    /// Takes the lanes of a list from those that there may be, before it is made.
    fn charge(&mut self, lanes: usize) -> Result<(), NodeError> {
        let left = self.lanes_left.checked_sub(lanes);
        self.lanes_left = left.ok_or_else(|| {
            NodeError::invalid("more channels", format_args!("at most {MAX_LANES} in all activations together"))
        })?;
        Ok(())
    }

    /// A new layer with the name of the call's node.
    fn layer(&mut self, call: &Call<'_>, op: Op, inputs: Vec<View>, shape: &[usize]) -> Result<View, NodeError> {
        check_shape(shape)
            .map_err(|expected| NodeError::invalid(format_args!("an output of shape {shape:?}"), expected))?;
        if self.net.nodes.len() == flgc::model::graph::MAX_NODES {
            let found = format!("more than {} layers", self.net.nodes.len());
            return Err(NodeError::invalid(found, "at most as many as a model can have"));
        }
        self.charge(inputs.iter().map(View::channels).sum::<usize>() + shape.get(1).copied().unwrap_or(1))?;
        Ok(self.net.node(name_of(call.node), op, inputs, shape))
    }
}

impl Call<'_> {
    /// Input `index`, an activation.
    fn view(&self, index: usize) -> Result<&View, NodeError> {
        match self.inputs.get(index) {
            Some(Some(Arg::View(view))) => Ok(view),
            Some(Some(Arg::Constant(_))) => {
                Err(NodeError::unsupported(format_args!("{} whose input {index} is a constant", self.node.op_type)))
            }
            _ => Err(NodeError::invalid(format_args!("no input {index}"), "one")),
        }
    }

    /// Input `index`, a constant, if it is there.
    fn optional_constant(&self, index: usize) -> Result<Option<&Constant>, NodeError> {
        match self.inputs.get(index) {
            Some(Some(Arg::Constant(constant))) => Ok(Some(constant)),
            Some(Some(Arg::View(_))) => {
                Err(NodeError::unsupported(format_args!("{} whose input {index} is computed", self.node.op_type)))
            }
            _ => Ok(None),
        }
    }

    /// Input `index`, a constant.
    fn constant(&self, index: usize) -> Result<&Constant, NodeError> {
        self.optional_constant(index)?.ok_or_else(|| NodeError::invalid(format_args!("no input {index}"), "one"))
    }

    /// Integers that newer operators take as input `index`, and older ones as attribute `name`.
    fn ints(&self, index: usize, name: &str) -> Result<Option<Vec<i64>>, NodeError> {
        match self.optional_constant(index)? {
            Some(constant) => constant.to_ints().map(Some),
            None => Ok(self.attributes.ints(name)?.map(<[i64]>::to_vec)),
        }
    }

    /// `[n, c, h, w]` of input 0.
    fn map(&self) -> Result<[usize; 4], NodeError> {
        let view = self.view(0)?;
        let op = &self.node.op_type;
        match view.map() {
            Some(map) => Ok(map),
            None if view.shape().len() == 4 => {
                Err(NodeError::unsupported(format_args!("{op} of an activation whose channels and pixels are mixed")))
            }
            None => Err(NodeError::unsupported(format_args!(
                "{op} of an activation with {} dimensions",
                view.shape().len()
            ))),
        }
    }
}

/// Two sizes from 1 to 4,096 of an attribute, `[h, w]`.
fn pair(call: &Call<'_>, name: &str, default: [usize; 2]) -> Result<[usize; 2], NodeError> {
    let Some(values) = call.attributes.ints(name)? else { return Ok(default) };
    match *values {
        [h, w] if (1..=4096).contains(&h) && (1..=4096).contains(&w) => Ok([h as usize, w as usize]),
        [_, _] => Err(NodeError::invalid(format_args!("{name} {values:?}"), "two numbers from 1 to 4096")),
        _ => Err(NodeError::unsupported(format_args!("{} over {} dimensions", call.node.op_type, values.len()))),
    }
}

/// Refuses shapes that the format can't hold, or that no machine can; the error is what is expected.
fn check_shape(shape: &[usize]) -> Result<(), String> {
    match flgc::model::Shape::new(shape) {
        Some(shape) if shape.elements() <= MAX_ELEMENTS => Ok(()),
        _ => Err(format!("1 to 6 dimensions from 1 to 16777215, at most {MAX_ELEMENTS} elements")),
    }
}

/// How messages name an operator.
fn operator(node: &proto::Node) -> String {
    if own_domain(node) { node.op_type.clone() } else { format!("{}.{}", node.domain, node.op_type) }
}

fn own_domain(node: &proto::Node) -> bool {
    node.domain.is_empty() || node.domain == "ai.onnx"
}

/// Sizes of an input: those asked for, or the file's, with 1 for an open batch and `crop` for open sides.
fn input_shape(
    input: &proto::ValueInfo,
    asked: Option<&[usize]>,
    crop: Option<usize>,
) -> Result<Vec<usize>, ImportError> {
    let place = format!("input {:?}", input.name);
    let tensor = input.r#type.as_ref().and_then(|of| of.tensor_type.as_ref());
    let tensor = tensor.ok_or_else(|| ImportError::invalid(&place, "no tensor", "a tensor of floats"))?;
    let floats = [data_type::FLOAT, data_type::DOUBLE, data_type::FLOAT16, data_type::BFLOAT16];
    if !floats.contains(&tensor.elem_type) {
        return Err(ImportError::invalid(&place, data_type::name(tensor.elem_type), "float"));
    }
    let dims: Vec<Option<i64>> = match &tensor.shape {
        Some(shape) => shape.dim.iter().map(|dim| dim.dim_value).collect(),
        None => asked.map_or_else(Vec::new, |asked| vec![None; asked.len()]),
    };
    let named = |dim: &Option<i64>| dim.map_or_else(|| "?".to_owned(), |dim| dim.to_string());
    let written = || dims.iter().map(named).collect::<Vec<_>>().join(", ");
    if let Some(asked) = asked {
        let fits = asked.len() == dims.len()
            && asked.iter().zip(&dims).all(|(&asked, dim)| dim.is_none_or(|dim| dim <= 0 || dim == asked as i64));
        if !fits || check_shape(asked).is_err() {
            return Err(ImportError::invalid(
                &place,
                format_args!("shape {asked:?} asked for"),
                format_args!("[{}]", written()),
            ));
        }
        return Ok(asked.to_vec());
    }
    let mut shape = Vec::with_capacity(dims.len());
    for (index, &dim) in dims.iter().enumerate() {
        shape.push(match dim {
            Some(dim @ 1..) => usize::try_from(dim).unwrap_or(usize::MAX),
            Some(dim) if dim < -1 => {
                return Err(ImportError::invalid(&place, format_args!("a dimension of {dim}"), "one from 1"));
            }
            _ if index == 0 => 1,
            _ if let (2 | 3, Some(crop)) = (index, crop) => crop,
            _ => {
                let expected = format!("sizes; give them with --input-shape {}=N,C,H,W", input.name);
                return Err(ImportError::invalid(&place, format_args!("shape [{}]", written()), expected));
            }
        });
    }
    if let (Some(crop), Some(&[h, w])) = (crop, shape.get(2..))
        && [h, w] != [crop; 2]
    {
        return Err(ImportError::invalid(&place, format_args!("{h}x{w} pixels, and a crop of {crop}"), "the same"));
    }
    check_shape(&shape).map_err(|expected| {
        let expected = format!("{expected}; give others with --input-shape {}=N,C,H,W", input.name);
        ImportError::invalid(&place, format_args!("shape [{}]", written()), expected)
    })?;
    Ok(shape)
}

/// Every operator that is known, be it on activations or on constants only.
const OPERATORS: &str = "
    Abs Add And ArgMax ArgMin AveragePool BatchNormalization Cast CastLike Ceil Clip Concat Constant
    ConstantOfShape Conv Div Dropout Equal Exp Expand Flatten Floor Gather Gemm GlobalAveragePool GlobalMaxPool
    Greater GreaterOrEqual HardSigmoid HardSwish Identity LeakyRelu Less LessOrEqual Log MatMul Max MaxPool Min Mod
    Mul Neg Not OneHot Or PRelu Pad Pow Range Reciprocal ReduceL1 ReduceL2 ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum ReduceSumSquare Relu
    Reshape Resize Round Scatter ScatterElements Shape Sigmoid Sign Size Slice Softmax Split Sqrt Squeeze Sub Sum
    Swish Tanh Tile Transpose Unsqueeze Upsample Where Xor
";
