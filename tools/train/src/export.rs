//! A trained network as an flgc model: batch norm folded, only the weights inside groups.

use crate::{
    nn::{Conv, EPSILON, Shortcut, Unit, mobilenet::MobileNet},
    settings::Settings,
};
use flgc::model::{
    DType, Model, ModelError, Tensor,
    graph::{self, Channels, Fit, FlattenAxis, Graph, Image, Input, Learned, Node, Op},
};
use std::collections::BTreeMap;

/// Most pictures of a run of the model.
const MAX_BATCH: usize = 64;

/// Builds the graph.
struct Writer {
    nodes: Vec<Node>,
    tensors: BTreeMap<String, Tensor>,
    dtype: DType,
}

/// The network as a model with weights of type `dtype`; it takes a batch of 1 to 64 and pictures of up to twice the size in training.
///
/// # Errors
/// If weights are not finite, in `dtype`.
pub fn model(network: &MobileNet<f32>, settings: &Settings, dtype: DType) -> Result<Model, ModelError> {
    let mut writer = Writer { nodes: Vec::new(), tensors: BTreeMap::new(), dtype };
    let mut x = writer.unit(&network.stem, "input", true);
    for block in &network.blocks {
        let wide = writer.unit(&block.expand, &x, true);
        let wide = writer.unit(&block.depthwise, &wide, true);
        let narrow = writer.unit(&block.project, &wide, false);
        let around = match &block.shortcut {
            Shortcut::None => None,
            Shortcut::Identity => Some(x),
            Shortcut::Unit(unit) => Some(writer.unit(unit, &x, false)),
        };
        x = match around {
            None => narrow,
            Some(around) => writer.node(&format!("{narrow}.add"), Op::Add, &[&narrow, &around]),
        };
    }
    x = writer.unit(&network.last, &x, true);
    x = writer.node("pool", Op::GlobalAveragePool, &[&x]);
    x = writer.node("flatten", Op::Flatten(FlattenAxis { axis: 1 }), &[&x]);
    let head = &network.head;
    let weight = writer.floats("classifier.weight", dtype, &[head.classes, head.c], &head.weight.value);
    let bias = Some(writer.floats("classifier.bias", DType::F32, &[head.classes], &head.bias.value));
    let linear = Op::Linear(graph::Linear { features: head.classes, weight, bias }.into());
    x = writer.node("scores", linear, &[&x]);
    let [h, w] = settings.size;
    let image = Image {
        channels: Channels::Rgb,
        scale: 1.0 / 255.0,
        mean: settings.mean.to_vec(),
        std: settings.std.to_vec(),
        fit: Fit::Crop,
        resize: None,
    };
    let input = Input {
        name: "input".into(),
        shape: vec![1, 3, h, w],
        range: vec![[1, MAX_BATCH], [3, 3], [h, 2 * h], [w, 2 * w]],
        image: Some(image.into()),
    };
    let graph = Graph { inputs: vec![input], nodes: writer.nodes, outputs: vec![x], labels: settings.classes.clone() };
    Model::new(&graph, &writer.tensors)
}

impl Writer {
    fn node(&mut self, name: &str, op: Op, inputs: &[&str]) -> String {
        let inputs = inputs.iter().map(|&input| input.to_owned()).collect();
        self.nodes.push(Node { name: name.to_owned(), op, inputs, outputs: vec![name.to_owned()] });
        name.to_owned()
    }

    fn floats(&mut self, name: &str, dtype: DType, shape: &[usize], values: &[f32]) -> String {
        self.tensors.insert(name.to_owned(), Tensor::floats(dtype, shape, values));
        name.to_owned()
    }

    /// A convolution with its norm folded in, and a ReLU.
    fn unit(&mut self, unit: &Unit<f32>, x: &str, relu: bool) -> String {
        let (name, norm) = (&unit.name, &unit.norm);
        let scale =
            |filter: usize| f64::from(norm.gamma.value[filter]) / (f64::from(norm.variance[filter]) + EPSILON).sqrt();
        let scaled = |filter: usize, weight: f32| (f64::from(weight) * scale(filter)) as f32;
        let bias: Vec<f32> = (0..norm.mean.len())
            .map(|filter| (f64::from(norm.beta.value[filter]) - f64::from(norm.mean[filter]) * scale(filter)) as f32)
            .collect();
        let mut conv = graph::Conv {
            filters: bias.len(),
            kernel: [1, 1],
            stride: [1, 1],
            pad: [0; 4],
            dilation: [1, 1],
            groups: 1,
            learned: None,
            weight: format!("{name}.weight"),
            bias: Some(format!("{name}.bias")),
        };
        let (shape, weights) = match &unit.conv {
            Conv::Depthwise(layer) => {
                (conv.kernel, conv.pad, conv.stride, conv.groups) = ([3, 3], [1; 4], [layer.stride; 2], layer.c);
                let weights = layer.weight.value.iter().enumerate();
                (vec![layer.c, 1, 3, 3], weights.map(|(i, &weight)| scaled(i / 9, weight)).collect::<Vec<f32>>())
            }
            Conv::Pointwise(layer) => {
                let assignment = layer.assignment();
                // The stem: nine shifts of each channel.
                let is_stem = x == "input";
                let shape = match (is_stem, assignment.groups) {
                    (true, _) => {
                        (conv.kernel, conv.pad) = ([3, 3], [1; 4]);
                        vec![layer.n, layer.c / 9, 3, 3]
                    }
                    (false, 1) => vec![layer.n, layer.c, 1, 1],
                    (false, groups) => {
                        let mut list = |side: &str, of: &[usize]| {
                            let tensor = format!("{name}.{side}");
                            let of: Vec<u16> = of.iter().map(|&group| group as u16).collect();
                            self.tensors.insert(tensor.clone(), Tensor::groups(groups, &of));
                            tensor
                        };
                        let in_group = list("in_group", &assignment.of_channel);
                        let out_group = list("out_group", &assignment.of_filter);
                        conv.learned = Some(Learned { groups, in_group, out_group });
                        vec![layer.inside().count()]
                    }
                };
                let weights = layer.inside().map(|index| scaled(index / layer.c, layer.weight.value[index]));
                (shape, weights.collect())
            }
        };
        self.floats(&conv.weight, self.dtype, &shape, &weights);
        self.floats(&format!("{name}.bias"), DType::F32, &[bias.len()], &bias);
        let out = self.node(name, Op::Conv(conv.into()), &[x]);
        if relu { self.node(&format!("{out}.relu"), Op::Relu, &[&out]) } else { out }
    }
}
