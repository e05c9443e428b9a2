//! Step 4: channels that nobody reads are not computed; a declared output's are never pruned.

use super::{
    net::{Conv, Kind},
    regroup::{Net, Step},
    value::{Content, Dims, Value},
};

/// Which channels of each storage are read by something that leads to an output.
pub(super) struct Live(Vec<Vec<bool>>);

impl Live {
    /// Walks the steps backwards from the outputs. Inputs are live as a whole.
    pub(super) fn of(net: &Net<'_>) -> Self {
        let mut live = Self(net.storages.iter().map(|&[_, c, ..]| vec![false; c]).collect());
        live.0[..net.inputs].iter_mut().for_each(|channels| channels.fill(true));
        for output in &net.outputs {
            live.mark(output, &net.storages, |_| true);
        }
        for step in net.steps.iter().rev() {
            live.mark_operands(step, &net.storages);
        }
        live
    }

    /// Whether channel `channel` of `storage` is computed.
    pub(super) fn is(&self, storage: u32, channel: usize) -> bool {
        self.0[storage as usize][channel]
    }

    /// Whether any channel of `storage` is computed.
    pub(super) fn any(&self, storage: u32) -> bool {
        self.0[storage as usize].contains(&true)
    }

    /// Marks the channels of `value` that `wanted` names, counted in the value; single elements always.
    fn mark(&mut self, value: &Value, storages: &[Dims], wanted: impl Fn(usize) -> bool) {
        match &value.content {
            Content::Lanes(lanes) => {
                for (_, lane) in lanes.iter().enumerate().filter(|(channel, _)| wanted(*channel)) {
                    self.0[lane.storage as usize][lane.channel as usize] = true;
                }
            }
            Content::Elements(elements) => {
                for element in elements {
                    let [_, c, h, w] = storages[element.storage as usize];
                    self.0[element.storage as usize][element.index as usize / (h * w) % c] = true;
                }
            }
        }
    }

    fn mark_operands(&mut self, step: &Step<'_>, storages: &[Dims]) {
        if !self.any(step.storage) {
            return;
        }
        let output = self.0[step.storage as usize].clone();
        match &step.layer.kind {
            Kind::Conv(conv) => {
                let read = channels_read(conv, step.inputs[0].shape[1], &output);
                self.mark(&step.inputs[0], storages, |channel| read[channel]);
            }
            Kind::Linear(_) | Kind::Softmax { .. } | Kind::Move | Kind::View(_) => {
                step.inputs.iter().for_each(|input| self.mark(input, storages, |_| true));
            }
            Kind::Scale { .. }
            | Kind::Add
            | Kind::Multiply
            | Kind::Identity
            | Kind::Pool { .. }
            | Kind::GlobalPool { .. }
            | Kind::Resize(_) => {
                step.inputs.iter().for_each(|input| self.mark(input, storages, |channel| output[channel]));
            }
        }
        if let Some(residual) = &step.residual {
            self.mark(residual, storages, |channel| output[channel]);
        }
    }
}

/// The channels that a convolution reads when only the filters in `live` are computed.
fn channels_read(conv: &Conv<'_>, channels: usize, live: &[bool]) -> Vec<bool> {
    let mut read = vec![false; channels];
    for group in conv.groups.iter().filter(|group| group.filters.iter().any(|&filter| live[filter as usize])) {
        group.channels.iter().for_each(|&channel| read[channel as usize] = true);
    }
    read
}
