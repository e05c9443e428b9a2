//! Step 3: activations become views of storages, and each storage gets the channel order that its readers want.
//!
//! A storage holds the planes that one layer writes; concat, split, slice, shuffle and the like only list planes of storages, so they leave
//! no step behind. The order of a storage's planes is free: it is chosen so that the channels of each group of the layer that
//! reads it lie side by side. Where readers want different orders the one with the most work has its way, or the sum that may replace it; the others follow their lists.

use super::{
    in_place::replaceable,
    net::{Act, Kind, Layer},
    order::sort_by_key,
    value::{self, Content, Dims, StorageId, Value},
};
use crate::model::{Shape, ValueId, Values};
use std::rc::Rc;

/// A layer that computes, with its operands.
#[derive(Debug)]
pub(super) struct Step<'m> {
    pub(super) layer: Layer<'m>,
    pub(super) inputs: Vec<Rc<Value>>,
    pub(super) residual: Option<Rc<Value>>,
    /// What it makes: a view of all of its storage.
    pub(super) output: Rc<Value>,
    pub(super) storage: StorageId,
}

impl Step<'_> {
    /// Inputs and residual.
    pub(super) fn operands(&self) -> impl Iterator<Item = &Value> {
        self.inputs.iter().chain(&self.residual).map(Rc::as_ref)
    }
}

/// The network on storages: first those of the graph's inputs, then one for each step, in order.
#[derive(Debug)]
pub(super) struct Net<'m> {
    pub(super) storages: Vec<Dims>,
    pub(super) steps: Vec<Step<'m>>,
    pub(super) inputs: usize,
    pub(super) outputs: Vec<Rc<Value>>,
}

impl Net<'_> {
    /// The graph's inputs: all of the first storages.
    pub(super) fn input_values(&self, values: &Values<'_>) -> Vec<Value> {
        let whole = |id| Value::whole(id as StorageId, self.storages[id], values.shape(id as ValueId));
        (0..self.inputs).map(whole).collect()
    }
}

/// Resolves all views.
pub(super) fn resolve<'m>(layers: Vec<Layer<'m>>, values: &Values<'_>, inputs: usize, outputs: &[ValueId]) -> Net<'m> {
    let mut resolver = Resolver {
        net: Net { storages: Vec::new(), steps: Vec::new(), inputs, outputs: Vec::new() },
        known: vec![None; values.len()],
    };
    for id in 0..inputs {
        let shape = values.shape(id as ValueId);
        resolver.known[id] = Some(resolver.store(shape).1);
    }
    for layer in layers {
        resolver.layer(layer, values);
    }
    resolver.net.outputs = outputs.iter().map(|&id| resolver.value(id)).collect();
    resolver.net
}

struct Resolver<'m> {
    net: Net<'m>,
    known: Vec<Option<Rc<Value>>>,
}

impl<'m> Resolver<'m> {
    fn value(&self, id: ValueId) -> Rc<Value> {
        self.known[id as usize].clone().expect("layers stand in execution order")
    }

    /// A new storage for an activation of that shape. One that is neither `[n, c, h, w]` nor `[n, c]` is stored as single elements.
    fn store(&mut self, shape: Shape) -> (StorageId, Rc<Value>) {
        let dims = shape.nchw().unwrap_or([1, shape.elements(), 1, 1]);
        let id = self.net.storages.len() as StorageId;
        self.net.storages.push(dims);
        (id, Value::whole(id, dims, shape).into())
    }

    fn layer(&mut self, layer: Layer<'m>, values: &Values<'_>) {
        let shapes: Vec<Shape> = layer.outputs.iter().map(|&id| values.shape(id)).collect();
        let mut inputs: Vec<Rc<Value>> = layer.inputs.iter().map(|&id| self.value(id)).collect();
        if let Kind::View(view) = &layer.kind {
            let views =
                value::view(view, &inputs.iter().map(Rc::as_ref).collect::<Vec<_>>(), &shapes, &self.net.storages);
            for (&id, view) in layer.outputs.iter().zip(views) {
                self.known[id as usize] = Some(view.into());
            }
            return;
        }
        if matches!(layer.kind, Kind::Conv(_) | Kind::Pool { .. } | Kind::GlobalPool { .. } | Kind::Resize(_)) {
            // These read planes row by row.
            inputs = inputs.into_iter().map(|input| self.in_planes(input, &layer.name)).collect();
        }
        let residual = layer.residual.map(|id| self.value(id));
        let (inputs, residual) = self.same_form(&layer, inputs, residual);
        let (storage, output) = self.store(shapes[0]);
        self.known[layer.outputs[0] as usize] = Some(Rc::clone(&output));
        self.net.steps.push(Step { layer, inputs, residual, output, storage });
    }

    /// A value in whole planes: itself, or a copy.
    fn in_planes(&mut self, value: Rc<Value>, reader: &str) -> Rc<Value> {
        if value.lanes().is_some() {
            return value;
        }
        let (storage, output) = self.store(value.shape);
        let layer = Layer {
            name: format!("{reader}.move"),
            op: "move",
            kind: Kind::Move,
            inputs: Vec::new(),
            outputs: Vec::new(),
            first: Act::NONE,
            residual: None,
            last: Act::NONE,
        };
        self.net.steps.push(Step { layer, inputs: vec![value], residual: None, output: Rc::clone(&output), storage });
        output
    }

    /// Brings the operands of an element-wise layer, or of a layer with a residual, into one form: all planes or, where pixels are single, anything.
    fn same_form(
        &mut self,
        layer: &Layer<'_>,
        inputs: Vec<Rc<Value>>,
        residual: Option<Rc<Value>>,
    ) -> (Vec<Rc<Value>>, Option<Rc<Value>>) {
        let elementwise = matches!(layer.kind, Kind::Add | Kind::Multiply | Kind::Scale { .. } | Kind::Identity);
        let single = |value: &Rc<Value>| value.shape.nchw().is_none_or(|[_, _, h, w]| h * w == 1);
        let any_form = inputs.iter().chain(&residual).all(single);
        if any_form || !(elementwise || residual.is_some()) {
            return (inputs, residual);
        }
        let inputs = inputs.into_iter().map(|value| self.in_planes(value, &layer.name)).collect();
        (inputs, residual.map(|value| self.in_planes(value, &layer.name)))
    }
}

/// The order of each storage's channels: `orders[storage][slot]` is the channel in that slot.
pub(super) fn orders(net: &Net<'_>) -> Vec<Vec<u32>> {
    let mut wishes: Vec<Option<Wish>> = net.storages.iter().map(|_| None).collect();
    let mut orders: Vec<Vec<u32>> = net.storages.iter().map(|&[_, c, ..]| (0..c as u32).collect()).collect();
    // Backwards: when a step is reached, all readers of what it makes have spoken.
    for step in net.steps.iter().rev() {
        let order = settle(wishes[step.storage as usize].take(), &mut orders[step.storage as usize]);
        speak(step, &order, &net.storages, &mut wishes);
    }
    for (wish, order) in wishes.into_iter().zip(&mut orders).take(net.inputs) {
        settle(wish, order);
    }
    orders
}

/// What a reader wants of a storage: channels sorted by these keys, one for each channel; `u32::MAX` where it does not care.
struct Wish {
    weight: u64,
    keys: Vec<u32>,
}

/// Sorts `order` as the heaviest reader wants it; returns the slot of each channel.
fn settle(wish: Option<Wish>, order: &mut [u32]) -> Vec<u32> {
    if let Some(Wish { keys, .. }) = wish {
        sort_by_key(order, |channel| keys[channel as usize].into());
    }
    let mut slots = vec![0; order.len()];
    for (slot, &channel) in order.iter().enumerate() {
        slots[channel as usize] = slot as u32;
    }
    slots
}

/// Notes what `step`, whose output has its channels in the slots `slots`, wants of the storages that it reads.
fn speak(step: &Step<'_>, slots: &[u32], storages: &[Dims], wishes: &mut [Option<Wish>]) {
    let [_, _, h, w] = storages[step.storage as usize];
    // The key of each channel of the first input, and how much depends on it.
    let (keys, weight): (Vec<u32>, u64) = match &step.layer.kind {
        Kind::Conv(conv) => {
            let mut keys = vec![u32::MAX; step.inputs[0].shape[1]];
            let depthwise = conv.is_depthwise();
            for (index, group) in conv.groups.iter().enumerate().filter(|(_, group)| !group.filters.is_empty()) {
                for &channel in group.channels {
                    // Where every filter has a channel of its own, the output's order carries over.
                    keys[channel as usize] = if depthwise { slots[group.filters[0] as usize] } else { index as u32 };
                }
            }
            (keys, conv.weights() * (h * w) as u64)
        }
        Kind::Linear(_) | Kind::Softmax { .. } | Kind::View(_) | Kind::Move => return,
        _ => (slots.to_vec(), (h * w) as u64),
    };
    let channelwise = !matches!(step.layer.kind, Kind::Conv(_));
    let operands = step.inputs.iter().map(|input| (input.as_ref(), &keys)).take(if channelwise { 2 } else { 1 });
    let residual_keys = slots.to_vec();
    // Where no reader behind has spoken, the sum may take the residual's place, if it has its order.
    let replaces = replaceable(step).is_some_and(|old| wishes[old as usize].is_none());
    let of_residual = if replaces { u64::MAX } else { weight };
    let operands = operands.map(|(value, keys)| (value, keys, weight));
    let residual = step.residual.iter().map(|value| (value.as_ref(), &residual_keys, of_residual));
    for (value, keys, weight) in operands.chain(residual) {
        let Content::Lanes(lanes) = &value.content else { continue };
        for (lane, &key) in lanes.iter().zip(keys) {
            let [_, c, ..] = storages[lane.storage as usize];
            let wish = &mut wishes[lane.storage as usize];
            if wish.as_ref().is_none_or(|wish| wish.weight < weight) {
                *wish = Some(Wish { weight, keys: vec![u32::MAX; c] });
            }
            if let Some(wish) = wish.as_mut().filter(|wish| wish.weight == weight) {
                wish.keys[lane.channel as usize] = wish.keys[lane.channel as usize].min(key);
            }
        }
    }
}
