//! Graphs node by node, with random tensors.

use flgc::model::{
    DType, Model, Tensor,
    graph::{self, Graph, Input, Learned, Node, Op},
};
use std::collections::BTreeMap;

/// An activation under construction: its name and `[c, h, w]`.
#[derive(Clone, Debug)]
pub struct Act {
    name: String,
    /// Channels.
    pub c: usize,
    /// Rows.
    pub h: usize,
    /// Columns.
    pub w: usize,
}

/// How the channels of a convolution are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Groups {
    /// So many equal groups.
    Even(usize),
    /// So many groups, as equal as the numbers allow.
    Balanced(usize),
    /// So many groups; the group of each channel and of each filter is random, as learning leaves them: uneven, some perhaps empty.
    Learned(usize),
}

/// Collects nodes and tensors.
pub struct Builder {
    graph: Graph,
    tensors: BTreeMap<String, Tensor>,
    state: u64,
    batch: usize,
}

impl Builder {
    /// A network on `[batch, c, h, w]`, and its input. The same `seed` gives the same weights.
    #[must_use]
    pub fn new(seed: u64, batch: usize, [c, h, w]: [usize; 3]) -> (Self, Act) {
        let input = Input { name: "input".into(), shape: vec![batch, c, h, w], range: Vec::new(), image: None };
        let graph = Graph { inputs: vec![input], nodes: Vec::new(), outputs: Vec::new(), labels: Vec::new() };
        let state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
        (Self { graph, tensors: BTreeMap::new(), state, batch }, Act { name: "input".into(), c, h, w })
    }

    /// The model, with these outputs.
    ///
    /// # Panics
    /// If the graph is no valid model: a mistake in its description.
    #[must_use]
    pub fn finish(mut self, outputs: &[&Act]) -> Model {
        self.graph.outputs = outputs.iter().map(|act| act.name.clone()).collect();
        Model::new(&self.graph, &self.tensors).unwrap_or_else(|error| panic!("{error}"))
    }

    /// A random number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.state ^= self.state << 13;
        self.state ^= self.state >> 7;
        self.state ^= self.state << 17;
        ((self.state >> 33) % n as u64) as usize
    }

    /// `count` random numbers around zero, of that standard deviation.
    fn normal(&mut self, count: usize, deviation: f64) -> Vec<f32> {
        // The sum of four uniform numbers is close enough to normal for weights.
        let uniform = |builder: &mut Self| builder.below(1 << 24) as f64 / f64::from(1 << 24) - 0.5;
        let scale = deviation * 3f64.sqrt();
        (0..count).map(|_| ((0..4).map(|_| uniform(self)).sum::<f64>() * scale) as f32).collect()
    }

    fn tensor(&mut self, name: &str, shape: &[usize], values: &[f32]) -> String {
        self.tensors.insert(name.to_owned(), Tensor::floats(DType::F32, shape, values));
        name.to_owned()
    }

    /// Adds a node with one output of size `[c, h, w]`.
    pub fn node(&mut self, op: Op, inputs: &[&Act], [c, h, w]: [usize; 3]) -> Act {
        let name = format!("{}{}", op.name(), self.graph.nodes.len());
        let inputs = inputs.iter().map(|act| act.name.clone()).collect();
        self.graph.nodes.push(Node { name: name.clone(), op, inputs, outputs: vec![name.clone()] });
        Act { name, c, h, w }
    }

    /// A convolution with bias, padded to keep the size but for the stride.
    pub fn conv(&mut self, x: &Act, filters: usize, k: usize, stride: usize, groups: Groups) -> Act {
        let id = self.graph.nodes.len();
        let mut conv = graph::Conv {
            filters,
            kernel: [k, k],
            stride: [stride, stride],
            pad: [k / 2; 4],
            dilation: [1, 1],
            groups: 1,
            learned: None,
            weight: format!("{id}.weight"),
            bias: Some(format!("{id}.bias")),
        };
        let fan_in = match groups {
            Groups::Even(g) | Groups::Balanced(g) | Groups::Learned(g) => (x.c / g).max(1) * k * k,
        };
        let deviation = (2.0 / fan_in as f64).sqrt();
        let shape = match groups {
            Groups::Even(g) => {
                conv.groups = g;
                vec![filters, x.c / g, k, k]
            }
            Groups::Balanced(g) | Groups::Learned(g) => {
                let mut assign = |count: usize| -> Vec<u16> {
                    let group = |i| if matches!(groups, Groups::Balanced(_)) { i * g / count } else { self.below(g) };
                    (0..count).map(group).map(|group| group as u16).collect()
                };
                let (of_channels, of_filters) = (assign(x.c), assign(filters));
                let size = |of: &[u16], group: usize| of.iter().filter(|&&g| usize::from(g) == group).count();
                let pairs: usize = (0..g).map(|group| size(&of_channels, group) * size(&of_filters, group)).sum();
                let (in_group, out_group) = (format!("{id}.in_group"), format!("{id}.out_group"));
                self.tensors.insert(in_group.clone(), Tensor::groups(g, &of_channels));
                self.tensors.insert(out_group.clone(), Tensor::groups(g, &of_filters));
                conv.learned = Some(Learned { groups: g, in_group, out_group });
                vec![pairs * k * k]
            }
        };
        let weights = self.normal(shape.iter().product(), deviation);
        self.tensor(&conv.weight, &shape, &weights);
        let bias = self.normal(filters, 0.1);
        self.tensor(&format!("{id}.bias"), &[filters], &bias);
        let size = |n: usize| (n + 2 * (k / 2) - k) / stride + 1;
        self.node(Op::Conv(conv.into()), &[x], [filters, size(x.h), size(x.w)])
    }

    /// A depthwise convolution.
    pub fn depthwise(&mut self, x: &Act, k: usize, stride: usize) -> Act {
        self.conv(x, x.c, k, stride, Groups::Even(x.c))
    }

    /// Batch norm with random statistics.
    pub fn batch_norm(&mut self, x: &Act) -> Act {
        let id = self.graph.nodes.len();
        let values = |builder: &mut Self, what: &str, mean: f32| {
            let values: Vec<f32> = builder.normal(x.c, 0.1).into_iter().map(|v| mean + v).collect();
            builder.tensor(&format!("{id}.{what}"), &[x.c], &values)
        };
        let norm = graph::BatchNorm {
            scale: values(self, "scale", 1.0),
            shift: values(self, "shift", 0.0),
            mean: values(self, "mean", 0.0),
            variance: values(self, "variance", 1.0),
            epsilon: 1e-5,
        };
        self.node(Op::BatchNorm(norm.into()), &[x], [x.c, x.h, x.w])
    }

    /// A fully connected layer on a `1 x 1` map.
    pub fn linear(&mut self, x: &Act, features: usize) -> Act {
        let flat = self.node(Op::Flatten(graph::FlattenAxis { axis: 1 }), &[x], [x.c * x.h * x.w, 1, 1]);
        let id = self.graph.nodes.len();
        let weights = self.normal(features * flat.c, (1.0 / flat.c as f64).sqrt());
        let weight = self.tensor(&format!("{id}.weight"), &[features, flat.c], &weights);
        let bias = self.normal(features, 0.1);
        let bias = Some(self.tensor(&format!("{id}.bias"), &[features], &bias));
        self.node(Op::Linear(graph::Linear { features, weight, bias }.into()), &[&flat], [features, 1, 1])
    }

    /// An operator without attributes that keeps the shape of its first input.
    pub fn apply(&mut self, op: Op, inputs: &[&Act]) -> Act {
        self.node(op, inputs, [inputs[0].c, inputs[0].h, inputs[0].w])
    }

    /// `max(0, x)`
    pub fn relu(&mut self, x: &Act) -> Act {
        self.apply(Op::Relu, &[x])
    }

    /// `max(0, min(6, x))`
    pub fn relu6(&mut self, x: &Act) -> Act {
        self.apply(Op::Relu6, &[x])
    }

    /// Sum.
    pub fn add(&mut self, a: &Act, b: &Act) -> Act {
        self.apply(Op::Add, &[a, b])
    }

    /// Joins channels.
    pub fn concat(&mut self, parts: &[&Act]) -> Act {
        let c = parts.iter().map(|part| part.c).sum();
        self.node(Op::Concat(graph::Axis { axis: 1 }), parts, [c, parts[0].h, parts[0].w])
    }

    /// Cuts channels in two.
    pub fn split(&mut self, x: &Act, first: usize) -> (Act, Act) {
        let slice = |begin, end| Op::Slice(graph::Slice { axis: 1, begin, end });
        let a = self.node(slice(0, first), &[x], [first, x.h, x.w]);
        let b = self.node(slice(first, x.c), &[x], [x.c - first, x.h, x.w]);
        (a, b)
    }

    /// Channel shuffle.
    pub fn shuffle(&mut self, x: &Act, groups: usize) -> Act {
        self.apply(Op::ShuffleChannels(graph::ShuffleChannels { groups }), &[x])
    }

    /// A random order of the channels.
    pub fn permute(&mut self, x: &Act) -> Act {
        let mut order: Vec<u32> = (0..x.c as u32).collect();
        for i in (1..order.len()).rev() {
            order.swap(i, self.below(i + 1));
        }
        self.apply(Op::GatherChannels(graph::GatherChannels { order }.into()), &[x])
    }

    /// Max or average pool, padded to keep the size but for the stride if `k` is odd.
    pub fn pool(&mut self, x: &Act, k: usize, stride: usize, average: bool) -> Act {
        let pad = if k % 2 == 1 { k / 2 } else { 0 };
        let pool = graph::Pool {
            kernel: [k, k],
            stride: [stride, stride],
            pad: [pad; 4],
            dilation: [1, 1],
            ceil: false,
            count_pad: false,
        };
        let size = |n: usize| (n + 2 * pad - k) / stride + 1;
        let op = if average { Op::AveragePool(pool.into()) } else { Op::MaxPool(pool.into()) };
        self.node(op, &[x], [x.c, size(x.h), size(x.w)])
    }

    /// Mean of each plane.
    pub fn global_average(&mut self, x: &Act) -> Act {
        self.node(Op::GlobalAveragePool, &[x], [x.c, 1, 1])
    }

    /// The batch of the input.
    #[must_use]
    pub const fn batch(&self) -> usize {
        self.batch
    }
}
