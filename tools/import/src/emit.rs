//! The network as an flgc model: layers as nodes, lists of lanes as concats and gathers of channels, which a plan turns into addresses.

use crate::net::{Act, Conv, Lane, Net, Node, Op, ValueId, View};
use flgc::model::{
    DType, Tensor,
    graph::{self, Graph},
};
use std::collections::{BTreeMap, HashMap, HashSet};

/// Longest name that is taken over, in bytes: the format's limit with room for what is put behind it.
const MAX_NAME: usize = 200;

/// The graph and the tensors of `net`, whose weights are stored as `dtype`. The weights are moved out of `net`.
pub(crate) fn emit(net: &mut Net, dtype: DType) -> (Graph, BTreeMap<String, Tensor>) {
    let mut emitter = Emitter { dtype, ..Emitter::default() };
    emitter.name_ports(net);
    let mut nodes = std::mem::take(&mut net.nodes);
    for node in &mut nodes {
        emitter.node(net, node);
    }
    let outputs = std::mem::take(&mut net.outputs);
    emitter.outputs(net, &outputs);
    let input = |id: usize| {
        let value = &net.values[id];
        graph::Input {
            name: emitter.values[&(id as ValueId)].clone(),
            shape: value.shape.clone(),
            range: Vec::new(),
            image: None,
        }
    };
    let graph = Graph {
        inputs: (0..net.inputs).map(input).collect(),
        nodes: emitter.nodes,
        outputs: emitter.outputs,
        labels: Vec::new(),
    };
    (graph, emitter.tensors)
}

struct Emitter {
    dtype: DType,
    nodes: Vec<graph::Node>,
    tensors: BTreeMap<String, Tensor>,
    outputs: Vec<String>,
    /// Names of activations and nodes so far.
    names: HashSet<String>,
    /// The last number put behind a name.
    numbers: HashMap<String, usize>,
    /// The name of each value.
    values: HashMap<ValueId, String>,
    /// The name of each view that was written out: sources, pixels and lanes.
    views: HashMap<Written, String>,
}

impl Default for Emitter {
    fn default() -> Self {
        Self {
            dtype: DType::F32,
            nodes: Vec::new(),
            tensors: BTreeMap::new(),
            outputs: Vec::new(),
            names: HashSet::new(),
            numbers: HashMap::new(),
            values: HashMap::new(),
            views: HashMap::new(),
        }
    }
}

/// A view that nodes were made for.
#[derive(PartialEq, Eq, Hash)]
enum Written {
    /// A value with its pixels in other dimensions.
    Reshaped(ValueId, Vec<usize>),
    /// Values one behind the other.
    Joined(Vec<ValueId>, Vec<usize>),
    /// These lanes.
    Lanes(Vec<Lane>, Vec<usize>),
}

impl Emitter {
    /// Inputs and outputs keep their names; values that are outputs as they are get those of the outputs.
    fn name_ports(&mut self, net: &Net) {
        for id in 0..net.inputs {
            let name = net.values[id].name.clone();
            self.names.insert(name.clone());
            self.values.insert(id as ValueId, name);
        }
        for (name, view) in &net.outputs {
            let is_new = self.names.insert(name.clone());
            if let Some(value) = net.whole(view).filter(|value| is_new && !self.values.contains_key(value)) {
                self.values.insert(value, name.clone());
            }
        }
    }

    /// A name that nothing has yet: `name`, cut to its limit, with a number behind it if need be.
    fn unique(&mut self, name: &str) -> String {
        let mut end = name.len().min(MAX_NAME);
        while !name.is_char_boundary(end) {
            end -= 1;
        }
        let base = if name.is_empty() { "unnamed" } else { &name[..end] };
        let mut unique = base.to_owned();
        while !self.names.insert(unique.clone()) {
            let number = self.numbers.entry(base.to_owned()).or_insert(1);
            *number += 1;
            unique = format!("{base}.{number}");
        }
        unique
    }

    /// A node; returns the name of its only output, which is `output` or the node's own name.
    fn push(&mut self, name: &str, op: graph::Op, inputs: Vec<String>, output: Option<String>) -> String {
        let output = output.unwrap_or_else(|| self.unique(name));
        // A node has the name of what it makes, which is unique.
        self.nodes.push(graph::Node { name: output.clone(), op, inputs, outputs: vec![output.clone()] });
        output
    }

    fn tensor(&mut self, name: String, tensor: Tensor) -> String {
        self.tensors.insert(name.clone(), tensor);
        name
    }

    fn floats(&mut self, name: String, shape: &[usize], values: &[f32]) -> String {
        self.tensor(name, Tensor::floats(DType::F32, shape, values))
    }

    fn outputs(&mut self, net: &Net, outputs: &[(String, View)]) {
        for (name, view) in outputs {
            let made = net.whole(view).and_then(|value| self.values.get(&value));
            if made == Some(name) || self.outputs.contains(name) {
                self.outputs.push(name.clone());
                continue;
            }
            let from = self.operand(net, view, name);
            let shape = view.shape().iter().map(|&dim| dim as i64).collect();
            self.push(name, graph::Op::Reshape(graph::Reshape { shape }.into()), vec![from], Some(name.clone()));
            self.outputs.push(name.clone());
        }
    }

    /// The name of an activation; where it is no value as it stands, nodes named after `reader` put it together.
    fn operand(&mut self, net: &Net, view: &View, reader: &str) -> String {
        if let Some(value) = net.whole(view) {
            return self.values[&value].clone();
        }
        let joined = self.lanes(net, view.n, &view.flat(), &view.pixels, reader);
        if view.lanes.ndim() == 1 {
            return joined;
        }
        let shape = view.shape().iter().map(|&dim| dim as i64).collect();
        self.push(&format!("{reader}.reshape"), graph::Op::Reshape(graph::Reshape { shape }.into()), vec![joined], None)
    }

    /// The name of `[n, lanes, pixels]`.
    fn lanes(&mut self, net: &Net, n: usize, lanes: &[Lane], pixels: &[usize], reader: &str) -> String {
        let mut sources: Vec<ValueId> = Vec::new();
        let mut start: HashMap<ValueId, u32> = HashMap::new();
        let mut channels = 0;
        for lane in lanes {
            start.entry(lane.value).or_insert_with(|| {
                sources.push(lane.value);
                let begin = channels;
                channels += net.values[lane.value as usize].shape.get(1).copied().unwrap_or(1) as u32;
                begin
            });
        }
        let order: Vec<u32> = lanes.iter().map(|lane| start[&lane.value] + lane.channel).collect();
        let joined = self.joined(net, n, &sources, pixels, reader);
        if order.iter().copied().eq(0..channels) {
            return joined;
        }
        let key = Written::Lanes(lanes.to_vec(), pixels.to_vec());
        if let Some(name) = self.views.get(&key) {
            return name.clone();
        }
        let begin = order[0];
        let name = if order.iter().copied().eq(begin..begin + order.len() as u32) {
            let slice = graph::Slice { axis: 1, begin: begin as usize, end: begin as usize + order.len() };
            self.push(&format!("{reader}.slice"), graph::Op::Slice(slice), vec![joined], None)
        } else {
            let gather = graph::Op::GatherChannels(graph::GatherChannels { order }.into());
            self.push(&format!("{reader}.gather"), gather, vec![joined], None)
        };
        self.views.insert(key, name.clone());
        name
    }

    /// The name of all channels of some values, one behind the other.
    fn joined(&mut self, net: &Net, n: usize, sources: &[ValueId], pixels: &[usize], reader: &str) -> String {
        let key = Written::Joined(sources.to_vec(), pixels.to_vec());
        if let Some(name) = self.views.get(&key) {
            return name.clone();
        }
        let mut parts = Vec::with_capacity(sources.len());
        for &source in sources {
            let shape = &net.values[source as usize].shape;
            if shape.get(2..).unwrap_or_default() == pixels && shape.len() > 1 {
                parts.push(self.values[&source].clone());
                continue;
            }
            let key = Written::Reshaped(source, pixels.to_vec());
            if !self.views.contains_key(&key) {
                let channels = shape.get(1).copied().unwrap_or(1);
                let to = [&[n, channels], pixels].concat().into_iter().map(|dim| dim as i64).collect();
                let from = self.values[&source].clone();
                let op = graph::Op::Reshape(graph::Reshape { shape: to }.into());
                let name = self.push(&format!("{from}.reshape"), op, vec![from], None);
                self.views.insert(Written::Reshaped(source, pixels.to_vec()), name);
            }
            parts.push(self.views[&key].clone());
        }
        if let [only] = &parts[..] {
            return only.clone();
        }
        let name = self.push(&format!("{reader}.concat"), graph::Op::Concat(graph::Axis { axis: 1 }), parts, None);
        self.views.insert(key, name.clone());
        name
    }

    fn node(&mut self, net: &Net, node: &mut Node) {
        let output = match self.values.get(&node.output) {
            Some(name) => name.clone(),
            None => self.unique(&node.name),
        };
        self.values.insert(node.output, output.clone());
        let (op, inputs) = match &mut node.op {
            Op::Conv(conv) => {
                let operand = Operand::of(net, conv, &node.inputs[0]);
                let input = self.conv_input(net, &operand, &node.inputs[0], &output);
                (self.conv(conv, operand, &output), vec![input])
            }
            op => {
                let inputs = node.inputs.iter().map(|view| self.operand(net, view, &output)).collect();
                let shape = &net.values[node.output as usize].shape;
                (self.op(op, shape, &node.inputs, &output), inputs)
            }
        };
        self.push(&output.clone(), op, inputs, Some(output));
    }

    fn op(&mut self, op: &mut Op, shape: &[usize], inputs: &[View], name: &str) -> graph::Op {
        match op {
            Op::Conv(_) => unreachable!("has its own function"),
            Op::Linear(linear) => {
                let features = linear.bias.len();
                let columns = linear.weight.len() / features;
                let weight = std::mem::take(&mut linear.weight);
                let weight =
                    self.tensor(format!("{name}.weight"), Tensor::floats(self.dtype, &[features, columns], &weight));
                let bias = Some(self.floats(format!("{name}.bias"), &[features], &linear.bias));
                graph::Op::Linear(graph::Linear { features, weight, bias }.into())
            }
            Op::Scale { scale, shift } => {
                let count = [scale.len()];
                let norm = graph::BatchNorm {
                    scale: self.floats(format!("{name}.scale"), &count, scale),
                    shift: self.floats(format!("{name}.shift"), &count, shift),
                    mean: self.floats(format!("{name}.mean"), &count, &vec![0.0; count[0]]),
                    variance: self.floats(format!("{name}.variance"), &count, &vec![1.0; count[0]]),
                    epsilon: 0.0,
                };
                graph::Op::BatchNorm(norm.into())
            }
            Op::Act(act) => self.act(act, name),
            Op::Add => graph::Op::Add,
            Op::Multiply => graph::Op::Multiply,
            Op::Pool { pool, average: true } => graph::Op::AveragePool((*pool).into()),
            Op::Pool { pool, average: false } => graph::Op::MaxPool((*pool).into()),
            Op::GlobalPool { average: true } => graph::Op::GlobalAveragePool,
            Op::GlobalPool { average: false } => graph::Op::GlobalMaxPool,
            Op::Resize(resize) => graph::Op::Resize((*resize).into()),
            Op::Pad(pad) => {
                // Padding that no other layer takes in: a convolution that multiplies each pixel by one.
                let channels = inputs[0].channels();
                let ones = Tensor::floats(self.dtype, &[channels, 1, 1, 1], &vec![1.0; channels]);
                let weight = self.tensor(format!("{name}.weight"), ones);
                let conv = graph::Conv { pad: *pad, groups: channels, ..plain_conv(channels, weight) };
                graph::Op::Conv(conv.into())
            }
            Op::Softmax { axis } => graph::Op::Softmax(graph::SoftmaxAxis { axis: *axis as i64 }),
            Op::Reshape => {
                graph::Op::Reshape(graph::Reshape { shape: shape.iter().map(|&dim| dim as i64).collect() }.into())
            }
            Op::Transpose(axes) => graph::Op::Transpose(graph::Transpose { axes: axes.clone() }.into()),
            Op::Concat { axis } => graph::Op::Concat(graph::Axis { axis: *axis as i64 }),
            Op::Slice { axis, begin, end } => {
                graph::Op::Slice(graph::Slice { axis: *axis as i64, begin: *begin, end: *end })
            }
        }
    }

    fn act(&mut self, act: &Act, name: &str) -> graph::Op {
        match act {
            Act::Clamp { low: 0.0, high: 6.0 } => graph::Op::Relu6,
            Act::Clamp { low: 0.0, high } if high.is_infinite() => graph::Op::Relu,
            Act::Clamp { low, high } => {
                let bound = |of: f32| of.is_finite().then_some(of);
                graph::Op::Clamp(graph::Clamp { min: bound(*low), max: bound(*high) })
            }
            Act::Leaky(slope) => graph::Op::LeakyRelu(graph::LeakyRelu { slope: *slope }),
            Act::PRelu(slopes) => {
                let slope = self.floats(format!("{name}.slope"), &[slopes.len()], slopes);
                graph::Op::PRelu(graph::PRelu { slope })
            }
            Act::HardSwish => graph::Op::HardSwish,
            Act::HardSigmoid { alpha, beta } => {
                graph::Op::HardSigmoid(graph::HardSigmoid { alpha: *alpha, beta: *beta })
            }
            Act::Sigmoid => graph::Op::Sigmoid,
            Act::Silu => graph::Op::Silu,
        }
    }

    fn conv_input(&mut self, net: &Net, operand: &Operand, view: &View, reader: &str) -> String {
        match operand.whole {
            Some(value) => self.values[&value].clone(),
            None => self.lanes(net, view.n, &operand.lanes, &view.pixels, reader),
        }
    }

    fn conv(&mut self, conv: &mut Conv, operand: Operand, name: &str) -> graph::Op {
        let filters = conv.bias.len();
        let mut placed = placed_groups(conv, &operand);
        let bias = Some(self.floats(format!("{name}.bias"), &[filters], &conv.bias));
        let kernel = conv.geometry.kernel;
        let even = even_groups(&placed, operand.lanes.len(), filters);
        let weights: Vec<f32> = placed.iter_mut().flat_map(|group| std::mem::take(&mut group.weights)).collect();
        let shape = match even {
            Some(groups) => vec![filters, operand.lanes.len() / groups, kernel[0], kernel[1]],
            None => vec![weights.len()],
        };
        let weight = self.tensor(format!("{name}.weight"), Tensor::floats(self.dtype, &shape, &weights));
        let learned = even.is_none().then(|| self.assignment(&placed, operand.lanes.len(), filters, name));
        let conv = graph::Conv {
            kernel,
            stride: conv.geometry.stride,
            pad: conv.geometry.pad,
            dilation: conv.geometry.dilation,
            groups: even.unwrap_or(1),
            learned,
            bias,
            ..plain_conv(filters, weight)
        };
        graph::Op::Conv(conv.into())
    }

    fn assignment(&mut self, groups: &[Placed], channels: usize, filters: usize, name: &str) -> graph::Learned {
        // Channels that nobody reads here, but other layers may, form a group without filters.
        let unread = groups.len() as u16;
        let mut in_group = vec![unread; channels];
        let mut out_group = vec![0; filters];
        for (index, group) in groups.iter().enumerate() {
            group.channels.iter().for_each(|&channel| in_group[channel] = index as u16);
            group.filters.iter().for_each(|&filter| out_group[filter as usize] = index as u16);
        }
        let count = groups.len() + usize::from(in_group.contains(&unread));
        graph::Learned {
            groups: count,
            in_group: self.tensor(format!("{name}.in_group"), Tensor::groups(count, &in_group)),
            out_group: self.tensor(format!("{name}.out_group"), Tensor::groups(count, &out_group)),
        }
    }
}

/// A dense 1x1 convolution.
fn plain_conv(filters: usize, weight: String) -> graph::Conv {
    graph::Conv {
        filters,
        kernel: [1, 1],
        stride: [1, 1],
        pad: [0; 4],
        dilation: [1, 1],
        groups: 1,
        learned: None,
        weight,
        bias: None,
    }
}

/// What a convolution reads, as one activation.
struct Operand {
    /// The value that it is, if it is one.
    whole: Option<ValueId>,
    /// Its channels.
    lanes: Vec<Lane>,
    /// The channel of each entry of the convolution's own list of lanes.
    place: Vec<usize>,
}

impl Operand {
    /// All of the only value that is read, if groups can leave channels out; the lanes that are read, in the order in which they lie; or, where groups
    /// share a lane, the lanes group by group.
    fn of(net: &Net, conv: &Conv, input: &View) -> Self {
        let read = input.flat();
        let mut sorted = read.clone();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair[0] == pair[1]) {
            return Self { whole: None, place: (0..read.len()).collect(), lanes: read };
        }
        let value = sorted.first().map(|lane| lane.value);
        let shape = value.map(|value| &net.values[value as usize].shape);
        let own = value.zip(shape).filter(|(value, shape)| {
            let one = sorted.iter().all(|lane| lane.value == *value);
            let all = shape.get(1) == Some(&sorted.len());
            let some_groups = conv.groups.len() > 1;
            one && shape.get(2..) == Some(&input.pixels) && (all || some_groups)
        });
        match own {
            Some((value, shape)) => Self {
                whole: Some(value),
                lanes: (0..shape[1] as u32).map(|channel| Lane { value, channel }).collect(),
                place: read.iter().map(|lane| lane.channel as usize).collect(),
            },
            None => {
                let place = read.iter().map(|lane| sorted.binary_search(lane).unwrap_or(0)).collect();
                Self { whole: None, lanes: sorted, place }
            }
        }
    }
}

/// A group on its operand: channels and filters ascending, weights in that order.
struct Placed {
    channels: Vec<usize>,
    filters: Vec<u32>,
    weights: Vec<f32>,
}

/// The groups of a convolution, in the order of their first channels, those without any behind; the weights are moved out of it.
fn placed_groups(conv: &mut Conv, operand: &Operand) -> Vec<Placed> {
    let taps = conv.geometry.taps();
    let mut begin = 0;
    let mut groups = Vec::with_capacity(conv.groups.len());
    for group in &mut conv.groups {
        let mut channels: Vec<(usize, usize)> =
            operand.place[begin..begin + group.channels].iter().enumerate().map(|(from, &to)| (to, from)).collect();
        begin += group.channels;
        let mut weights = std::mem::take(&mut group.weights);
        if !channels.is_sorted() {
            channels.sort_unstable();
            weights = weights
                .chunks_exact(group.channels * taps)
                .flat_map(|row| channels.iter().flat_map(move |&(_, from)| &row[from * taps..(from + 1) * taps]))
                .copied()
                .collect();
        }
        let channels = channels.into_iter().map(|(to, _)| to).collect();
        groups.push(Placed { channels, filters: group.filters.clone(), weights });
    }
    groups.sort_by_key(|group| group.channels.first().copied().unwrap_or(usize::MAX));
    groups
}

/// The number of groups, if they are equal runs of channels and of filters.
fn even_groups(groups: &[Placed], channels: usize, filters: usize) -> Option<usize> {
    let count = groups.len();
    if count == 0 || !channels.is_multiple_of(count) || !filters.is_multiple_of(count) {
        return None;
    }
    let (c, f) = (channels / count, filters / count);
    let even = groups.iter().enumerate().all(|(g, group)| {
        group.channels.iter().copied().eq(g * c..(g + 1) * c)
            && group.filters.iter().copied().eq((g * f) as u32..((g + 1) * f) as u32)
    });
    (even && c > 0).then_some(count)
}
