//! Steps to calls: packs weights and turns planes into addresses.

mod channelwise;
mod conv;
mod dealt;
mod elements;
mod flat;
mod fused;
mod registers;
mod winograd;

use super::{
    choose::{FEWEST_SHARING, Kernels},
    deal::Deal,
    layout::Places,
    net::{Act, Kind},
    panels::Panels,
    prune::Live,
    regroup::{Net, Step},
    tune::Tuning,
    value::{Lane, StorageId, Value},
    winograd::Winograd,
};
use flgc_kernels::{Activation, Call, CallError, CallSet, Epilogue, Planes, WeightsBuilder, fill, pointwise};
use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

/// The calls of one step: sets that run one after another.
pub(super) struct Lowered {
    pub(super) sets: Vec<CallSet>,
    /// The names of its kernels, without the one that zeroes borders.
    pub(super) kernels: BTreeSet<&'static str>,
}

/// Makes calls; collects the packed weights in the order of execution.
pub(super) struct Lower<'a, 'm> {
    pub(super) net: &'a Net<'m>,
    pub(super) live: &'a Live,
    pub(super) places: &'a Places,
    /// The convolutions that are dealt, by what they write.
    pub(super) deals: &'a BTreeMap<StorageId, Deal>,
    /// The convolutions by Winograd's method, by what they write.
    pub(super) winograds: &'a BTreeMap<StorageId, Winograd>,
    /// The convolutions whose inputs are copied into panels, by what they write.
    pub(super) panels: &'a BTreeMap<StorageId, Panels>,
    pub(super) kernels: Kernels,
    /// Threads.
    pub(super) threads: usize,
    pub(super) weights: WeightsBuilder,
    /// The ways asked for.
    pub(super) asked: &'a Tuning,
    /// The ways in which layers run.
    pub(super) tuning: Tuning,
}

/// The calls of a step while they are collected.
#[derive(Default)]
struct Calls {
    /// Those that run before the others.
    sets: Vec<CallSet>,
    /// The others: a list for each share of the work that a thread should do, most often one.
    shares: Vec<Vec<Call>>,
    kernels: BTreeSet<&'static str>,
}

impl Calls {
    fn add(&mut self, kernel: &'static str, call: impl Into<Call>) {
        self.add_to(0, kernel, call);
    }

    /// Adds a call behind those of the shares before.
    fn add_to(&mut self, share: usize, kernel: &'static str, call: impl Into<Call>) {
        self.kernels.insert(kernel);
        self.shares.resize_with(self.shares.len().max(share + 1), Vec::new);
        self.shares[share].push(call.into());
    }

    /// Whatever is added from now on runs behind what is there.
    ///
    /// # Errors
    /// If the calls since the last barrier depend on each other.
    fn barrier(&mut self) -> Result<(), CallError> {
        self.sets.push(CallSet::new(self.shares.drain(..).flatten().collect())?);
        Ok(())
    }
}

impl Lower<'_, '_> {
    /// The calls of `step`.
    ///
    /// # Errors
    /// If the plan contradicts itself.
    pub(super) fn step(&mut self, step: &Step<'_>) -> Result<Lowered, CallError> {
        let mut calls = Calls::default();
        match &step.layer.kind {
            Kind::Conv(conv) => self.conv(step, conv, &mut calls)?,
            Kind::Linear(linear) => self.linear(step, linear, &mut calls)?,
            Kind::Scale { scale, shift } => self.scale(step, scale, shift, &mut calls)?,
            Kind::Add | Kind::Multiply => self.binary(step, matches!(step.layer.kind, Kind::Add), &mut calls)?,
            Kind::Identity => self.unary(step, &mut calls)?,
            Kind::Pool { pool, average } => self.pool(step, pool, *average, &mut calls)?,
            Kind::GlobalPool { average } => self.global_pool(step, *average, &mut calls)?,
            Kind::Softmax { axis } => self.softmax(step, *axis, &mut calls)?,
            Kind::Resize(resize) => self.resize(step, resize, &mut calls)?,
            Kind::Move => self.gather(step, &mut calls)?,
            Kind::View(_) => {}
        }
        calls.barrier()?;
        calls.sets.extend(self.border(step.storage)?);
        Ok(Lowered { sets: calls.sets, kernels: calls.kernels })
    }

    /// What zeroes the border of a storage, if it has one.
    ///
    /// # Errors
    /// As for [`Lower::step`].
    pub(super) fn border(&self, storage: u32) -> Result<Option<CallSet>, CallError> {
        let layout = &self.places.layouts[storage as usize];
        let Some([before, after]) = layout.border else { return Ok(None) };
        let [n, _, rows, width] = self.places.dims[storage as usize];
        let mut calls = Vec::with_capacity(n);
        for image in 0..n {
            let y = self.planes(&self.live_lanes(storage), image);
            let call = fill::Call::new(fill::Spec { rows, width, pitch: layout.pitch, before, after, y: &y })?;
            calls.push(call.into());
        }
        CallSet::new(calls).map(Some)
    }

    /// The computed channels of a storage, in the order of their slots.
    fn live_lanes(&self, storage: u32) -> Vec<Lane> {
        let channels = self.places.layouts[storage as usize].channels();
        channels.into_iter().map(|channel| Lane { storage, channel }).collect()
    }

    /// The computed channels of the step's output, in the order of their slots.
    fn outputs(&self, step: &Step<'_>) -> Vec<Lane> {
        self.live_lanes(step.storage)
    }

    /// How many of `channels` channels go to one call: at most `most`, and at most a thread's share.
    fn channels_of_call(&self, channels: usize, most: usize) -> usize {
        channels.div_ceil(self.threads).clamp(1, most)
    }

    /// The addresses of planes.
    fn planes(&self, lanes: &[Lane], image: usize) -> Vec<u32> {
        self.planes_from(lanes, image, 0)
    }

    /// The addresses of planes from their float `begin` on.
    fn planes_from(&self, lanes: &[Lane], image: usize, begin: usize) -> Vec<u32> {
        lanes.iter().map(|&lane| self.places.plane(lane, image) + begin as u32).collect()
    }

    /// The addresses of the planes of `value` for the output channels `channels`.
    fn planes_of(&self, value: &Value, channels: &[Lane], image: usize) -> Planes {
        let lanes = value.lanes().unwrap_or_default();
        channels.iter().map(|output| self.places.plane(lanes[output.channel as usize], image)).collect()
    }

    /// The activations of a call that writes `channels`, first and last.
    fn acts(&mut self, step: &Step<'_>, channels: &[Lane]) -> [Activation; 2] {
        let channels = channels.iter().map(|lane| lane.channel as usize);
        [self.act(&step.layer.first, channels.clone()), self.act(&step.layer.last, channels)]
    }

    /// What a call that writes `channels` does to each output.
    fn epilogue(&self, step: &Step<'_>, [first, last]: [Activation; 2], channels: &[Lane], image: usize) -> Epilogue {
        let residual = step.residual.as_ref().map(|value| match value.lanes() {
            Some(_) => self.planes_of(value, channels, image),
            None => {
                // Single elements: the output is `[n, c]` or `[n, c, 1, 1]`.
                let c = step.output.shape[1];
                let all = self.places.elements(value);
                channels.iter().map(|output| all[image * c + output.channel as usize]).collect()
            }
        });
        Epilogue { first, residual, last }
    }

    /// Appends the values of some channels to the weights.
    fn push_of(&mut self, values: &[f32], channels: impl Iterator<Item = usize>) -> u32 {
        self.weights.push(&channels.map(|channel| values[channel]).collect::<Vec<_>>())
    }

    /// The activation of a call whose outputs are those channels.
    fn act(&mut self, act: &Act, channels: impl Iterator<Item = usize>) -> Activation {
        match act {
            Act::Same(activation) => *activation,
            Act::PRelu(slopes) => Activation::PRelu { slopes: self.push_of(slopes, channels) },
        }
    }
}

/// Pixels of a run over whole planes, in whole vectors.
pub(super) fn run_of([h, w]: [usize; 2], pitch: usize, lanes: usize) -> usize {
    ((h - 1) * pitch + w).next_multiple_of(lanes)
}

/// The blocks of `block` pixels of a run that ends after `exact`: what is left, if less than a vector, joins the block before it.
fn blocks(exact: usize, block: usize, lanes: usize) -> impl Iterator<Item = Range<usize>> + Clone {
    let last = match exact % block {
        rest if rest < lanes && rest < exact => rest + block,
        rest => rest,
    };
    let end = move |begin: usize| if begin + last == exact { exact } else { begin + block };
    (0..=exact - last).step_by(block).map(move |begin| begin..end(begin))
}

/// Whether tiles of so many filters can share panels.
fn share_panels(kernel: &pointwise::Kernel, mut tiles: impl ExactSizeIterator<Item = usize>) -> bool {
    tiles.len() >= FEWEST_SHARING && tiles.all(|filters| kernel.has_panels(filters))
}

/// The sets of some tiles' calls, which `call` makes: all at once, or, with panels at `panels`, the first one, which packs them, and then those that read them.
fn sets_of_tiles(
    tiles: Range<usize>,
    panels: Option<u32>,
    call: impl Fn(usize, pointwise::Panels) -> Result<Call, CallError>,
    sets: &mut Vec<CallSet>,
) -> Result<(), CallError> {
    let Some(at) = panels else {
        sets.push(CallSet::new(tiles.map(|tile| call(tile, pointwise::Panels::None)).collect::<Result<_, _>>()?)?);
        return Ok(());
    };
    sets.push(CallSet::new(vec![call(tiles.start, pointwise::Panels::Pack(at))?])?);
    let others = tiles.skip(1).map(|tile| call(tile, pointwise::Panels::Read(at)));
    sets.push(CallSet::new(others.collect::<Result<_, _>>()?)?);
    Ok(())
}

/// The same planes from a later float on.
fn moved(planes: &Planes, floats: usize) -> Planes {
    planes.offsets().iter().map(|&offset| offset + floats as u32).collect()
}
