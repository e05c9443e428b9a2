//! Step 2: the graph as layers, with batch norm, bias, activation and residual add folded into the layer before them.

use super::net::{Act, Conv, Groups, Kind, Layer, Linear, View};
use crate::model::{
    Model, TensorView, ValueId, Values,
    graph::{self, BatchNorm, Node, Op},
};
use flgc_kernels::Activation;

/// The layers of the model's graph, in execution order, folded.
pub(super) fn fold<'m>(model: &'m Model, values: &Values<'_>, winograd: bool) -> Vec<Layer<'m>> {
    let layers: Vec<Layer<'m>> = model.graph().nodes.iter().map(|node| layer(model, values, node, winograd)).collect();
    let mut readers = vec![0u32; values.len()];
    for &id in layers.iter().flat_map(|layer| &layer.inputs) {
        readers[id as usize] += 1;
    }
    for id in model.graph().outputs.iter().filter_map(|name| values.id(name)) {
        readers[id as usize] += 1;
    }
    Fold { readers, producer: vec![None; values.len()], done: Vec::with_capacity(layers.len()) }.run(layers, values)
}

struct Fold<'m> {
    /// Readers of each activation, graph outputs included.
    readers: Vec<u32>,
    /// The place in `done` of the layer that makes each activation.
    producer: Vec<Option<usize>>,
    /// Layers so far; one that was moved behind another one leaves a gap.
    done: Vec<Option<Layer<'m>>>,
}

impl<'m> Fold<'m> {
    fn run(mut self, layers: Vec<Layer<'m>>, values: &Values<'_>) -> Vec<Layer<'m>> {
        for layer in layers {
            let folded = match &layer.kind {
                Kind::Scale { .. } => self.fold_scale(&layer),
                Kind::Identity => self.fold_activation(&layer),
                Kind::Add => self.fold_add(&layer, values),
                _ => false,
            };
            if !folded {
                self.push(layer);
            }
        }
        self.done.into_iter().flatten().collect()
    }

    fn push(&mut self, layer: Layer<'m>) {
        for &id in &layer.outputs {
            self.producer[id as usize] = Some(self.done.len());
        }
        self.done.push(Some(layer));
    }

    /// The place of the layer that makes `id`, if nobody else reads that.
    fn only_reader_of(&self, id: ValueId) -> Option<usize> {
        self.producer[id as usize].filter(|_| self.readers[id as usize] == 1)
    }

    /// Makes the layer at `place` produce `layer`'s output instead of its own.
    fn replace_output(&mut self, place: usize, layer: &Layer<'m>) {
        self.producer[layer.outputs[0] as usize] = Some(place);
        if let Some(producer) = &mut self.done[place] {
            producer.outputs.clone_from(&layer.outputs);
        }
    }

    fn fold_scale(&mut self, layer: &Layer<'m>) -> bool {
        let Kind::Scale { scale, shift } = &layer.kind else { return false };
        let Some(place) = self.only_reader_of(layer.inputs[0]) else { return false };
        let Some(producer) = &mut self.done[place] else { return false };
        if producer.residual.is_some() || !producer.first.is_none() {
            return false;
        }
        let (own, bias) = match &mut producer.kind {
            Kind::Conv(conv) => (&mut conv.scale, &mut conv.bias),
            Kind::Linear(linear) => (&mut linear.scale, &mut linear.bias),
            _ => return false,
        };
        for ((bias, scale), shift) in bias.iter_mut().zip(scale).zip(shift) {
            *bias = *bias * scale + shift;
        }
        match own {
            Some(own) => own.iter_mut().zip(scale).for_each(|(own, scale)| *own *= scale),
            None => *own = Some(scale.clone()),
        }
        self.replace_output(place, layer);
        true
    }

    fn fold_activation(&mut self, layer: &Layer<'m>) -> bool {
        let Some(place) = self.only_reader_of(layer.inputs[0]) else { return false };
        let Some(producer) = &mut self.done[place] else { return false };
        if !matches!(producer.kind, Kind::Conv(_) | Kind::Linear(_) | Kind::Scale { .. } | Kind::Add | Kind::Multiply) {
            return false;
        }
        let slot = if producer.residual.is_some() { &mut producer.last } else { &mut producer.first };
        if !slot.is_none() {
            return false;
        }
        slot.clone_from(&layer.first);
        self.replace_output(place, layer);
        true
    }

    /// An addition goes into the later of the two layers before it that can take it; that layer then runs in its place, when both operands are there.
    fn fold_add(&mut self, layer: &Layer<'m>, values: &Values<'_>) -> bool {
        let [a, b] = layer.inputs[..] else { return false };
        if values.shape(a) != values.shape(b) || a == b {
            return false;
        }
        let takes = |id: ValueId| {
            self.only_reader_of(id).filter(|&place| {
                let takes = |producer: &Layer<'m>| {
                    matches!(producer.kind, Kind::Conv(_) | Kind::Linear(_)) && producer.residual.is_none()
                };
                self.done[place].as_ref().is_some_and(takes)
            })
        };
        let (place, other) = match (takes(a), takes(b)) {
            (Some(at_a), Some(at_b)) if at_b > at_a => (at_b, a),
            (Some(at_a), _) => (at_a, b),
            (None, Some(at_b)) => (at_b, a),
            (None, None) => return false,
        };
        let Some(mut producer) = self.done[place].take() else { return false };
        producer.residual = Some(other);
        producer.outputs.clone_from(&layer.outputs);
        self.push(producer);
        true
    }
}

/// One node as a layer of its own.
fn layer<'m>(model: &'m Model, values: &Values<'_>, node: &'m Node, winograd: bool) -> Layer<'m> {
    let ids = |names: &[String]| names.iter().filter_map(|name| values.id(name)).collect::<Vec<ValueId>>();
    let inputs = ids(&node.inputs);
    let input = values.shape(inputs[0]);
    let channels = input.get(1).copied().unwrap_or(1);
    let rank = input.len();
    let axis = |axis: i64, rank: usize| if axis < 0 { (axis + rank as i64) as usize } else { axis as usize };
    let mut first = Act::NONE;
    let mut activation = |activation| {
        first = Act::Same(activation);
        Kind::Identity
    };
    let kind = match &node.op {
        Op::Conv(op) => Kind::Conv(Conv { winograd, ..conv(model, op, channels) }),
        Op::Linear(op) => Kind::Linear(Linear {
            weight: tensor(model, &op.weight),
            scale: None,
            bias: bias(model, op.bias.as_deref(), op.features),
        }),
        Op::BatchNorm(op) => scale(model, op),
        Op::Add => Kind::Add,
        Op::Multiply => Kind::Multiply,
        Op::Concat(op) => Kind::View(View::Concat { axis: axis(op.axis, rank) }),
        Op::Split(op) => Kind::View(View::Split { axis: axis(op.axis, rank), sizes: op.sizes.clone() }),
        Op::Slice(op) => Kind::View(View::Slice { axis: axis(op.axis, rank), begin: op.begin, end: op.end }),
        Op::GatherChannels(op) => Kind::View(View::Channels { order: op.order.clone() }),
        Op::ShuffleChannels(op) => {
            let size = channels / op.groups;
            let order = (0..channels).map(|i| (i % op.groups * size + i / op.groups) as u32).collect();
            Kind::View(View::Channels { order })
        }
        Op::MaxPool(pool) => Kind::Pool { pool: **pool, average: false },
        Op::AveragePool(pool) => Kind::Pool { pool: **pool, average: true },
        Op::GlobalMaxPool => Kind::GlobalPool { average: false },
        Op::GlobalAveragePool => Kind::GlobalPool { average: true },
        Op::Relu => activation(Activation::RELU),
        Op::Relu6 => activation(Activation::RELU6),
        Op::Clamp(op) => activation(Activation::Clamp {
            lo: op.min.unwrap_or(f32::NEG_INFINITY),
            hi: op.max.unwrap_or(f32::INFINITY),
        }),
        Op::LeakyRelu(op) => activation(Activation::Leaky { slope: op.slope }),
        Op::PRelu(op) => {
            let slopes = tensor(model, &op.slope);
            first = Act::PRelu((0..channels).map(|c| slopes.get(if slopes.len() == 1 { 0 } else { c })).collect());
            Kind::Identity
        }
        Op::HardSwish => activation(Activation::HardSwish),
        Op::HardSigmoid(op) => activation(Activation::HardSigmoid { alpha: op.alpha, beta: op.beta }),
        Op::Sigmoid => activation(Activation::Sigmoid),
        Op::Silu => activation(Activation::Silu),
        Op::Softmax(op) => Kind::Softmax { axis: axis(op.axis, rank) },
        Op::Flatten(_) | Op::Reshape(_) => Kind::View(View::Reshape),
        Op::Transpose(op) => Kind::View(View::Transpose { axes: op.axes.clone() }),
        Op::Resize(op) => Kind::Resize(**op),
    };
    Layer {
        name: node.name.clone(),
        op: node.op.name(),
        kind,
        inputs,
        outputs: ids(&node.outputs),
        first,
        residual: None,
        last: Act::NONE,
    }
}

/// A tensor that the validator has found.
fn tensor<'m>(model: &'m Model, name: &str) -> TensorView<'m> {
    model.tensor(name).expect("the validator found every tensor")
}

fn bias(model: &Model, name: Option<&str>, count: usize) -> Vec<f32> {
    name.map_or_else(|| vec![0.0; count], |name| tensor(model, name).to_vec())
}

fn conv<'m>(model: &'m Model, op: &graph::Conv, channels: usize) -> Conv<'m> {
    let taps = op.kernel[0] * op.kernel[1];
    let (groups, [in_group, out_group]) = match &op.learned {
        None => {
            let even = |count: usize| (0..count).map(|i| (i / (count / op.groups)) as u32).collect::<Vec<_>>();
            (op.groups, [even(channels), even(op.filters)])
        }
        Some(learned) => {
            let indices = |name: &str| tensor(model, name).indices().into_iter().map(u32::from).collect::<Vec<_>>();
            (learned.groups, [indices(&learned.in_group), indices(&learned.out_group)])
        }
    };
    Conv {
        groups: Groups::new(groups, [&in_group, &out_group], taps),
        filters: op.filters,
        kernel: op.kernel,
        stride: op.stride,
        pad: op.pad,
        dilation: op.dilation,
        weight: tensor(model, &op.weight),
        scale: None,
        bias: bias(model, op.bias.as_deref(), op.filters),
        winograd: true,
    }
}

/// Batch norm as a factor and a summand, computed in f64.
fn scale<'m>(model: &Model, op: &BatchNorm) -> Kind<'m> {
    let [gamma, beta, mean, variance] = [&op.scale, &op.shift, &op.mean, &op.variance].map(|name| tensor(model, name));
    let (mut scale, mut shift) = (Vec::with_capacity(gamma.len()), Vec::with_capacity(gamma.len()));
    for c in 0..gamma.len() {
        let factor = f64::from(gamma.get(c)) / (f64::from(variance.get(c)) + op.epsilon).sqrt();
        scale.push(factor as f32);
        shift.push((f64::from(beta.get(c)) - f64::from(mean.get(c)) * factor) as f32);
    }
    Kind::Scale { scale, shift }
}
