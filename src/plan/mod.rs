//! Model to plan, once: shapes, folding, channel orders, pruning, layout, kernels, memory. All thinking happens here.

mod arena;
mod cache;
mod check;
mod choose;
mod deal;
mod direct;
mod error;
mod fold;
mod fuse;
mod in_place;
mod layout;
mod lower;
mod net;
mod order;
mod panels;
mod prune;
mod regroup;
mod report;
mod scratch;
mod tune;
mod value;
mod winograd;

pub use cache::Caches;
pub use error::PlanError;
pub use report::{GroupReport, LayerReport, Membership, Memory, Report};
pub use tune::{Tune, Tuning, TuningError};

use crate::{
    exec::Session,
    model::{Model, ValueId, Values, graph},
};
use choose::Kernels;
use flgc_kernels::{CallError, CallSet, Isa, Weights, WeightsBuilder, winograd::PLACES};
use layout::Places;
use lower::Lower;
use net::Kind;
use prune::Live;
use regroup::Net;
use std::{collections::BTreeMap, num::NonZeroUsize, sync::Arc};
use value::StorageId;
use winograd::Winograd;

/// How a plan is made and run.
#[derive(Clone, Debug)]
pub struct Options {
    /// The instruction set; the fastest available one if `None`.
    pub isa: Option<Isa>,
    /// The threads that one run uses.
    pub threads: Threads,
    /// Most bytes of packed weights and activations.
    pub memory_limit: u64,
    /// Most multiply-adds (or steps of about that cost) of a run.
    pub macs_limit: u64,
    /// Whether denormal numbers are flushed to zero during a run.
    pub flush_denormals: bool,
    /// Whether layers run in bands of rows where their planes would not stay in cache: expansions, depthwise layers and projections together, and convolutions with
    /// stride over blocks of dealt columns. It never changes a bit of the output.
    pub fuse: bool,
    /// Whether dense 3x3 convolutions of stride 1 may run by Winograd's method, with a quarter of the multiplications and other rounding (a few 1e-6 of the largest
    /// output). Their weights take four times the memory.
    pub winograd: bool,
    /// The caches that decide what is fused; those of this machine if `None`.
    pub caches: Option<Caches>,
    /// How the plan chooses between ways to run a layer. It never changes a bit of the output.
    pub tune: Tune,
    /// The shape of inputs that are not to have the model's default one.
    pub input_shapes: BTreeMap<String, Vec<usize>>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            isa: None,
            threads: Threads::One,
            memory_limit: 2 << 30,
            macs_limit: 1_000_000_000_000,
            flush_denormals: true,
            fuse: true,
            winograd: true,
            caches: None,
            tune: Tune::Rules,
            input_shapes: BTreeMap::new(),
        }
    }
}

/// The threads that one run uses.
#[derive(Clone, Debug, Default)]
pub enum Threads {
    /// The caller's thread only.
    #[default]
    One,
    /// A pool of so many threads, made with the plan and shared by its sessions.
    Count(NonZeroUsize),
    /// The caller's own pool.
    Pool(Arc<rayon::ThreadPool>),
}

/// An input or output of a plan.
#[derive(Clone, Debug)]
pub struct Port {
    /// Its name in the model.
    pub name: String,
    /// Its shape, outermost first.
    pub shape: Vec<usize>,
    /// How a picture becomes this input, if the model says so.
    pub image: Option<graph::Image>,
    /// Whether this output was made by a softmax.
    pub is_softmax: bool,
}

/// A network ready to run: packed weights and a list of steps. Cheap to clone, shared between threads.
#[derive(Clone)]
pub struct Plan(pub(crate) Arc<Inner>);

pub(crate) struct Inner {
    /// What all layers run: sets of independent calls, one after another.
    pub(crate) sets: Box<[CallSet]>,
    pub(crate) steps: Box<[Step]>,
    pub(crate) weights: Weights,
    pub(crate) arena_len: usize,
    pub(crate) inputs: Box<[Binding]>,
    pub(crate) outputs: Box<[Binding]>,
    pub(crate) pool: Option<Arc<rayon::ThreadPool>>,
    pub(crate) flush_denormals: bool,
    input_ports: Vec<Port>,
    output_ports: Vec<Port>,
    labels: Vec<String>,
    report: Report,
    tuning: Tuning,
}

/// What one layer runs.
pub(crate) struct Step {
    /// Its index in the report; `None` for what prepares an input.
    pub(crate) layer: Option<usize>,
    /// How many sets have run when it is done.
    pub(crate) end: usize,
}

/// Where the elements of an input or output lie in the arena: runs of `(start, length)`, in order; none for an input that is read where the caller has it.
pub(crate) struct Binding {
    pub(crate) runs: Box<[(u32, u32)]>,
    pub(crate) len: usize,
}

impl Plan {
    /// Plans `model`: a few milliseconds for most networks, dominated by packing the weights, or with [`Tune::Measure`] the time given for that. The model is not
    /// needed afterwards.
    ///
    /// # Errors
    /// If the shapes asked for do not fit the model, a limit of `options` is exceeded, the instruction set is not available, a tuning is that of another network,
    /// or there is no memory.
    pub fn new(model: &Model, options: &Options) -> Result<Self, PlanError> {
        match &options.tune {
            Tune::Rules => Self::with(model, options, &Tuning::default()),
            Tune::Given(tuning) => Self::with(model, options, tuning),
            Tune::Measure(limit) => Self::with(model, options, &tune::measure(model, options, *limit)?),
        }
    }

    fn with(model: &Model, options: &Options, asked: &Tuning) -> Result<Self, PlanError> {
        let isa = options.isa.unwrap_or_else(Isa::best);
        let kernels = Kernels::of(isa).ok_or(PlanError::Isa(isa))?;
        let values = check::check(model, options)?;
        let graph = model.graph();
        let outputs: Vec<ValueId> = graph.outputs.iter().filter_map(|name| values.id(name)).collect();
        let layers = fold::fold(model, &values, options.winograd);
        let net = regroup::resolve(layers, &values, graph.inputs.len(), &outputs);
        if let Some(layer) = asked.layers().find(|&layer| net.steps.iter().all(|step| step.layer.name != layer)) {
            return Err(PlanError::Tuning { layer: layer.to_owned() });
        }
        let orders = regroup::orders(&net);
        let live = Live::of(&net);
        let layouts = layout::layouts(&net, &live, &orders);
        let pool = pool(&options.threads)?;
        let parts = pool.as_ref().map_or(1, |pool| pool.current_num_threads());
        let caches = options.caches.unwrap_or_else(Caches::of_this_machine);
        let filters = kernels.pointwise.max_filters();
        let (lanes, deals) = (kernels.pointwise.isa.lanes(), kernels.depthwise.deals);
        let reads_input_once = direct::has_one_reader(&net, &live);
        let target = scratch::Target { caches, lanes, filters, deals, expand: kernels.expand, parts, reads_input_once };
        let mut tuning = Tuning::default();
        let (runs, deals) = if options.fuse {
            let runs = fuse::runs(&net, &live, &layouts, target, (asked, &mut tuning));
            let deals = deal::deals(&net, &live, &layouts, &runs, target, (asked, &mut tuning));
            (runs, deals)
        } else {
            Default::default()
        };
        let together = |step: usize| runs.iter().any(|run| run.steps().contains(&step));
        let panels = panels::panels(
            &net,
            &live,
            (&layouts, &deals),
            together,
            (kernels.pointwise, target),
            (asked, &mut tuning),
        );
        let mut lifetimes = arena::lifetimes(&net, &live);
        arena::join(&mut lifetimes, runs.iter().map(fuse::Run::steps));
        let direct = direct::is_direct(&net, &live, &runs, &deals);
        if direct {
            lifetimes[direct::INPUT as usize] = None;
        }
        let mut sizes: Vec<usize> = layouts.iter().map(|layout| layout.len).collect();
        for run in &runs {
            for (step, scratch) in net.steps[run.steps()].iter().zip(run.scratch()) {
                sizes[step.storage as usize] = run.parts.len() * scratch;
            }
        }
        let at_place_of = in_place::replace(&net, &live, &layouts, (&deals, together), (&mut sizes, &mut lifetimes));
        let winograds = winograd::winograds(&net, &live, &kernels);
        let mut owners = Vec::new();
        for (index, step) in net.steps.iter().enumerate() {
            let dealt = deals.get(&step.storage).map(|deal| deal.parts.len() * deal.scratch.len);
            let paneled = panels.get(&step.storage).map(|panels| panels.parts * panels.floats);
            let by_tiles = winograds.get(&step.storage).map(|winograd| winograd.scratch);
            let floats: usize = [dealt, paneled, by_tiles].into_iter().flatten().sum();
            if floats > 0 {
                sizes.push(floats);
                lifetimes.push(Some(arena::Lifetime { first: index, last: index }));
                owners.push(step.storage);
            }
        }
        let weights = weights_of(&net, &winograds);
        check_memory(&net, weights, &sizes, &lifetimes, options)?;
        let (mut base, arena_len) = arena::place(&sizes, &lifetimes);
        let mut scratch = BTreeMap::new();
        scratch.extend(owners.into_iter().zip(base.split_off(net.storages.len())));
        let base = at_place_of.iter().map(|&storage| base[storage as usize]).collect();
        if arena_len > u32::MAX as usize {
            let layer = net.steps.first().map_or("input", |step| &step.layer.name);
            return Err(check::limit(
                layer,
                "the arena, in floats,",
                arena_len as u64,
                u32::MAX.into(),
                "memory_limit",
            ));
        }
        let places = Places { dims: net.storages.clone(), layouts, base, direct, scratch };
        let weights = WeightsBuilder::expecting(usize::try_from(weights).unwrap_or(usize::MAX));
        let mut lower = Lower {
            net: &net,
            live: &live,
            places: &places,
            deals: &deals,
            winograds: &winograds,
            panels: &panels,
            kernels,
            threads: parts,
            weights,
            asked,
            tuning,
        };
        let (lowered, layers) = lower_all(&mut lower, &runs)?;
        let Lower { weights, tuning, .. } = lower;
        let weights = weights.finish();
        let weights = weights.map_err(|source| PlanError::Memory { what: "weights", bytes: 0, source })?;
        let binding = |value: &value::Value| {
            let runs = if places.is_direct(value) { Vec::new() } else { places.runs(value) };
            Binding { len: value.shape.elements(), runs: runs.into() }
        };
        let memory = Memory {
            weights: weights.len() as u64 * 4,
            arena: arena_len as u64 * 4,
            mapped: model.as_bytes().len() as u64,
        };
        let report = Report {
            isa,
            steps: layers.iter().filter(|layer| layer.kernel != "none").count(),
            moves: layers.iter().filter(|layer| layer.moves_data).count(),
            macs: layers.iter().map(|layer| layer.macs).sum(),
            parameters: model
                .tensor_names()
                .filter_map(|name| model.tensor(name))
                .filter(|tensor| tensor.dtype.is_float())
                .map(|tensor| tensor.len() as u64)
                .sum(),
            memory,
            layers,
        };
        let (mut sets, mut steps) = (Vec::new(), Vec::with_capacity(lowered.len()));
        for (layer, of_layer) in lowered {
            sets.extend(of_layer);
            steps.push(Step { layer, end: sets.len() });
        }
        Ok(Self(Arc::new(Inner {
            sets: sets.into(),
            steps: steps.into(),
            weights,
            arena_len,
            inputs: net.input_values(&values).iter().map(binding).collect(),
            outputs: net.outputs.iter().map(|output| binding(output)).collect(),
            pool,
            flush_denormals: options.flush_denormals,
            input_ports: input_ports(model, &values),
            output_ports: output_ports(model, &values),
            labels: graph.labels.clone(),
            report,
            tuning,
        })))
    }

    /// The memory of one run, to be used by one thread at a time.
    ///
    /// # Panics
    /// If the operating system does not give the memory; [`Plan::try_session`] returns that as an error.
    #[must_use]
    pub fn session(&self) -> Session {
        self.try_session().expect("memory for a session")
    }

    /// The memory of one run, to be used by one thread at a time.
    ///
    /// # Errors
    /// If the operating system does not give the memory.
    pub fn try_session(&self) -> Result<Session, PlanError> {
        let bytes = self.0.arena_len * size_of::<f32>();
        Session::new(self).map_err(|source| PlanError::Memory { what: "a session", bytes, source })
    }

    /// The inputs, in order.
    #[must_use]
    pub fn inputs(&self) -> &[Port] {
        &self.0.input_ports
    }

    /// The outputs, in order.
    #[must_use]
    pub fn outputs(&self) -> &[Port] {
        &self.0.output_ports
    }

    /// The name of each class; empty if the model has none.
    #[must_use]
    pub fn labels(&self) -> &[String] {
        &self.0.labels
    }

    /// The ways in which its layers run, where there are several: to save and to give back as [`Tune::Given`].
    #[must_use]
    pub fn tuning(&self) -> &Tuning {
        &self.0.tuning
    }

    /// What the plan consists of.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0.report
    }
}

/// The weights of all layers, as they are packed.
fn weights_of(net: &Net<'_>, winograds: &BTreeMap<StorageId, Winograd>) -> u64 {
    let weights = net.steps.iter().map(|step| match &step.layer.kind {
        Kind::Conv(conv) if winograds.contains_key(&step.storage) => {
            conv.weights() / conv.taps() as u64 * PLACES as u64
        }
        Kind::Conv(conv) => conv.weights(),
        Kind::Linear(linear) => linear.weight.len() as u64,
        _ => 0,
    });
    weights.sum()
}

/// Refuses what would exceed the memory limit, before any of it is allocated, and names the layer with the most memory alive.
fn check_memory(
    net: &Net<'_>,
    weights: u64,
    sizes: &[usize],
    lifetimes: &[Option<arena::Lifetime>],
    options: &Options,
) -> Result<(), PlanError> {
    let (index, floats) = arena::peak(sizes, lifetimes, net.steps.len());
    let needed = weights.saturating_add(floats as u64).saturating_mul(4);
    if needed > options.memory_limit {
        let layer = net.steps.get(index).map_or("input", |step| &step.layer.name);
        return Err(check::limit(layer, "memory, in bytes,", needed, options.memory_limit, "memory_limit"));
    }
    Ok(())
}

/// The sets of a layer, which is an index in the report.
type LayerSets = (Option<usize>, Vec<CallSet>);

/// The calls of all steps, and what to say of each.
fn lower_all(lower: &mut Lower<'_, '_>, runs: &[fuse::Run]) -> Result<(Vec<LayerSets>, Vec<LayerReport>), PlanError> {
    let at = |layer: &str| {
        let layer = layer.to_owned();
        move |source: CallError| PlanError::Call { layer, source }
    };
    let mut steps = Vec::new();
    let mut reports = Vec::new();
    let is_direct = |storage: u32| lower.places.direct && storage == direct::INPUT;
    for storage in (0..lower.net.inputs as u32).filter(|&storage| !is_direct(storage)) {
        steps.extend(lower.border(storage).map_err(at("input"))?.map(|set| (None, vec![set])));
    }
    let mut runs = runs.iter().peekable();
    let mut first = 0;
    while first < lower.net.steps.len() {
        let run = runs.next_if(|run| run.first == first);
        let members = run.map_or(first..first + 1, fuse::Run::steps);
        let last = members.end - 1;
        let mut kernel = "none".to_owned();
        if lower.live.any(lower.net.steps[last].storage) {
            let lowered = match run {
                Some(run) => lower.fused(run),
                None => lower.step(&lower.net.steps[first]),
            };
            let lowered = lowered.map_err(at(&lower.net.steps[last].layer.name))?;
            kernel = lowered.kernels.into_iter().collect::<Vec<_>>().join("+");
            steps.push((Some(last), lowered.sets));
        }
        for index in members {
            let step = &lower.net.steps[index];
            let kernel = run.map_or_else(|| kernel.clone(), |run| lower.kernel_in_bands(run, step).to_owned());
            reports.push(report::layer(step, &lower.places.layouts, kernel, index < last));
        }
        first = last + 1;
    }
    Ok((steps, reports))
}

fn pool(threads: &Threads) -> Result<Option<Arc<rayon::ThreadPool>>, PlanError> {
    match threads {
        Threads::One => Ok(None),
        Threads::Pool(pool) => Ok(Some(Arc::clone(pool))),
        Threads::Count(count) if count.get() == 1 => Ok(None),
        Threads::Count(count) => {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(count.get()).build();
            let pool = pool.map_err(|source| PlanError::Threads { threads: count.get(), source })?;
            Ok(Some(Arc::new(pool)))
        }
    }
}

fn input_ports(model: &Model, values: &Values<'_>) -> Vec<Port> {
    let port = |(id, input): (usize, &graph::Input)| Port {
        name: input.name.clone(),
        shape: values.shape(id as ValueId).to_vec(),
        image: input.image.as_deref().cloned(),
        is_softmax: false,
    };
    model.graph().inputs.iter().enumerate().map(port).collect()
}

fn output_ports(model: &Model, values: &Values<'_>) -> Vec<Port> {
    let made_by_softmax = |name: &String| {
        let mut producers = model.graph().nodes.iter().filter(|node| node.outputs.contains(name));
        producers.any(|node| matches!(node.op, graph::Op::Softmax(_)))
    };
    let port = |name: &String| Port {
        name: name.clone(),
        shape: values.id(name).map_or_else(Vec::new, |id| values.shape(id).to_vec()),
        image: None,
        is_softmax: made_by_softmax(name),
    };
    model.graph().outputs.iter().map(port).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{
        DType, Tensor,
        graph::{Conv, Graph, Input, Node, Op, Pool},
    };
    use std::collections::BTreeMap;

    /// A network of few channels at high resolution.
    fn narrow() -> Model {
        let conv = |filters: usize, channels: usize, k: usize, stride: usize, groups: usize| {
            let weight = format!("{filters}x{}x{k}x{k}", channels / groups);
            let shape = [filters, channels / groups, k, k];
            let values = vec![0.25; shape.iter().product()];
            let conv = Conv {
                filters,
                kernel: [k, k],
                stride: [stride, stride],
                pad: [k / 2; 4],
                dilation: [1, 1],
                groups,
                learned: None,
                weight: weight.clone(),
                bias: None,
            };
            (Op::Conv(conv.into()), Some((weight, Tensor::floats(DType::F32, &shape, &values))))
        };
        let pool =
            Pool { kernel: [3, 3], stride: [1, 1], pad: [1; 4], dilation: [1, 1], ceil: false, count_pad: false };
        let ops = [
            conv(4, 3, 3, 2, 1),
            conv(8, 4, 1, 1, 1),
            conv(8, 8, 3, 1, 8),
            conv(48, 8, 1, 1, 4),
            (Op::Relu6, None),
            conv(48, 48, 3, 2, 48),
            (Op::Relu6, None),
            conv(8, 48, 1, 1, 1),
            conv(4, 8, 3, 1, 1),
            (Op::MaxPool(pool.into()), None),
            (Op::Sigmoid, None),
        ];
        let (mut nodes, mut tensors) = (Vec::new(), BTreeMap::new());
        let mut last = "input".to_owned();
        for (index, (op, tensor)) in ops.into_iter().enumerate() {
            tensors.extend(tensor);
            let name = format!("{index}");
            nodes.push(Node { name: name.clone(), op, inputs: vec![last], outputs: vec![name.clone()] });
            last = name;
        }
        let input = Input { name: "input".into(), shape: vec![1, 3, 128, 128], range: Vec::new(), image: None };
        Model::new(&Graph { inputs: vec![input], nodes, outputs: vec![last], labels: Vec::new() }, &tensors).unwrap()
    }

    #[test]
    fn every_thread_has_a_share_of_narrow_layers_at_high_resolution() {
        let model = narrow();
        for threads in [1, 2, 4] {
            let threads_of_plan = Threads::Count(NonZeroUsize::new(threads).unwrap());
            for isa in Isa::available() {
                for fuse in [true, false] {
                    let options =
                        Options { threads: threads_of_plan.clone(), isa: Some(isa), fuse, ..Options::default() };
                    let plan = Plan::new(&model, &options).unwrap();
                    let sets: Vec<usize> = plan.0.sets.iter().map(|set| set.calls().len()).collect();
                    let mut begin = 0;
                    for step in &plan.0.steps {
                        // One set of a layer does its work; another may zero a border.
                        let most = sets[begin..step.end].iter().copied().max().unwrap_or(0);
                        begin = step.end;
                        if let Some(layer) = step.layer.map(|layer| &plan.report().layers[layer]) {
                            assert!(most >= threads, "{}: {most} for {threads} threads, {}", layer.name, isa.name());
                        }
                    }
                }
            }
        }
    }
}
