//! Latency as one core sees it: `flgc-bench MODEL`.
//!
//! Timed runs come first, whole; then runs that are timed layer by layer, whose clocks cost something themselves. The core's peak is measured between them,
//! in the same process. A cold start is that of another process of this program, from before it is started to its first output.

mod noise;
mod text;
mod trace;

use crate::{
    answers,
    cli::{BENCH, BenchArgs, InspectFormat},
    file::replace,
    status::{Status, Stop, note},
};
use core_affinity::CoreId;
use flgc::{Model, Options, Plan, Session, Tune, plan::Threads};
use flgc_kernels::measure;
use noise::Noise;
use serde::Serialize;
use std::{
    env, fs,
    io::Read,
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

/// How long the timed runs take unless their number is given.
const TARGET: Duration = Duration::from_secs(2);
/// The fewest and the most timed runs then.
const RUNS: std::ops::RangeInclusive<usize> = 20..=10_000;
/// Runs timed layer by layer.
const LAYER_RUNS: usize = 50;
/// Cold starts, of which the median counts.
const COLD_STARTS: usize = 5;

/// What is reported; the fields and their names are a contract.
#[derive(Debug, Serialize)]
struct Report {
    model: String,
    isa: String,
    threads: usize,
    core: Option<usize>,
    cold_start_ms: Option<f64>,
    latency_ms: Latency,
    macs: u64,
    gflops: f64,
    peak_gflops: f64,
    share_of_peak: f64,
    memory: Memory,
    allocations: u64,
    peak_rss_bytes: Option<u64>,
    layers: Vec<Layer>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Latency {
    min: f64,
    p50: f64,
    p90: f64,
    p99: f64,
    max: f64,
}

#[derive(Debug, Serialize)]
struct Memory {
    weights: u64,
    arena: u64,
    mapped: u64,
}

#[derive(Debug, Serialize)]
struct Layer {
    name: String,
    kernel: String,
    shape: Vec<usize>,
    groups: usize,
    macs: u64,
    us: f64,
    gflops: f64,
    /// Its time is part of the next one's, and the rate there that of both.
    fused_with_next: bool,
    #[serde(skip)]
    op: &'static str,
}

/// `flgc-bench`, after its arguments.
///
/// # Errors
/// If the model, the instruction set, the core or the threads can't be used, or a file can't be written.
pub fn run(args: &BenchArgs) -> Result<Status, Stop> {
    if args.first_output {
        return first_output(args);
    }
    let cores = cores(args)?;
    let cold_start_ms = cold_start(args);
    let core = pin(&cores);
    let mut options = options(args, &cores, core.is_some())?;
    if args.tune.is_some() {
        options.tune = Tune::Measure(Duration::from_secs_f64(args.tune_seconds));
    }
    let model = Model::open(&args.model)?;
    let plan = Plan::new(&model, &options)?;
    drop(model);
    if let Some(path) = &args.tune {
        let text = plan.tuning().to_string();
        replace(path, text.as_bytes()).map_err(|error| Stop::output(path.display(), &error))?;
    }
    let mut bench = Bench::new(&plan)?;
    // How many runs are timed, where that is not given, one run has to tell.
    let warmup = bench.warm_up(if args.runs.is_some() { args.warmup } else { args.warmup.max(1) });
    let runs = args.runs.map_or_else(|| runs_for(warmup), |runs| runs.get());
    let mut seconds = Vec::with_capacity(runs);
    let noise = Noise::start();
    let mut allocations = 0;
    for _ in 0..runs {
        let run = bench.run(|_| {});
        seconds.push(run.seconds);
        allocations += run.allocations;
    }
    let stolen = noise.stolen();
    let latency_ms = latency(&mut seconds);
    let peak_gflops = measure::peak_flops(plan.report().isa).unwrap_or(f64::NAN) / 1e9;
    let (layers, trace) = layers(&mut bench, &plan, runs.min(LAYER_RUNS));
    let report = plan.report();
    let gflops = 2e-6 * report.macs as f64 / latency_ms.p50;
    let result = Report {
        model: args.model.display().to_string(),
        isa: report.isa.name().to_owned(),
        threads: args.threads.get(),
        core,
        cold_start_ms,
        latency_ms,
        macs: report.macs,
        gflops,
        peak_gflops,
        share_of_peak: gflops / (peak_gflops * args.threads.get() as f64),
        memory: Memory { weights: report.memory.weights, arena: report.memory.arena, mapped: report.memory.mapped },
        allocations,
        peak_rss_bytes: noise::peak_rss_bytes(),
        layers,
    };
    for warning in
        noise::warnings(latency_ms.p50, latency_ms.p90, stolen, noise::governor(core.unwrap_or(0)).as_deref())
    {
        note(BENCH, format_args!("the machine is noisy: {warning}"));
    }
    if let Some(path) = &args.trace {
        trace::write(path, &trace, &result.layers).map_err(|error| Stop::output(path.display(), &error))?;
    }
    match args.format {
        InspectFormat::Text => answers::print(&text::text(&result, runs, args.layers))?,
        InspectFormat::Json => {
            let json = serde_json::to_string(&result).map_err(|error| Stop::Unusable(error.to_string()))?;
            answers::print(&(json + "\n"))?;
        }
    }
    Ok(Status::Done)
}

/// A session with its inputs and outputs.
struct Bench {
    session: Session,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
}

/// What a run took.
struct Run {
    seconds: f64,
    allocations: u64,
}

impl Bench {
    /// Inputs that are no special case: a ramp between -1 and 1.
    fn new(plan: &Plan) -> Result<Self, Stop> {
        let elements = |shape: &[usize]| shape.iter().product::<usize>();
        // Made once and copied: a cold start should be the model's, not this.
        let once: Vec<f32> = (0..511u16).map(|i| f32::from(i) / 255.0 - 1.0).collect();
        let ramp = |count: usize| {
            let mut ramp = once.repeat(count.div_ceil(once.len()));
            ramp.truncate(count);
            ramp
        };
        Ok(Self {
            session: plan.try_session()?,
            inputs: plan.inputs().iter().map(|port| ramp(elements(&port.shape))).collect(),
            outputs: plan.outputs().iter().map(|port| vec![0.0; elements(&port.shape)]).collect(),
        })
    }

    /// Runs once. The lists of slices are made outside of what is measured.
    fn run(&mut self, after: impl FnMut(Option<usize>) + Send) -> Run {
        let inputs: Vec<&[f32]> = self.inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = self.outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let (allocations, start) = (measure::allocations(), Instant::now());
        let done = self.session.run_observed(&inputs, &mut outputs, after);
        let seconds = start.elapsed().as_secs_f64();
        let allocations = measure::allocations() - allocations;
        done.unwrap_or_else(|error| unreachable!("lengths are the plan's: {error}"));
        Run { seconds, allocations }
    }

    /// Runs `count` times; returns the seconds of the fastest.
    fn warm_up(&mut self, count: usize) -> f64 {
        (0..count).map(|_| self.run(|_| {}).seconds).fold(f64::INFINITY, f64::min)
    }
}

/// So many runs of `seconds` that they take [`TARGET`].
fn runs_for(seconds: f64) -> usize {
    ((TARGET.as_secs_f64() / seconds) as usize).clamp(*RUNS.start(), *RUNS.end())
}

fn latency(seconds: &mut [f64]) -> Latency {
    seconds.sort_by(f64::total_cmp);
    let at = |share: f64| 1e3 * seconds[((seconds.len() - 1) as f64 * share).round() as usize];
    Latency { min: at(0.0), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
}

/// A span of a run: its layer, its start and its length, in microseconds from the run's start.
struct Span {
    layer: Option<usize>,
    start: f64,
    length: f64,
}

/// The median time of each layer, and the spans of the last run.
fn layers(bench: &mut Bench, plan: &Plan, runs: usize) -> (Vec<Layer>, Vec<Span>) {
    let report = plan.report();
    let mut times: Vec<Vec<f64>> = vec![Vec::with_capacity(runs); report.layers.len()];
    let mut spans: Vec<Span> = Vec::with_capacity(report.layers.len() + plan.inputs().len());
    for _ in 0..runs {
        spans.clear();
        let start = Instant::now();
        let mut last = start;
        bench.run(|layer| {
            let now = Instant::now();
            let micros = |from: Instant, to: Instant| 1e6 * (to - from).as_secs_f64();
            spans.push(Span { layer, start: micros(start, last), length: micros(last, now) });
            last = now;
        });
        for span in &spans {
            if let Some(layer) = span.layer {
                times[layer].push(span.length);
            }
        }
    }
    let median = |times: &mut Vec<f64>| {
        times.sort_by(f64::total_cmp);
        times.get(times.len() / 2).copied().unwrap_or(0.0)
    };
    // Layers that run in bands together are timed as one: the time stands at the last, and its rate is that of all.
    let mut macs = 0;
    let layers = report.layers.iter().zip(&mut times).map(|(layer, times)| {
        let us = median(times);
        macs += layer.macs;
        let gflops = if us > 0.0 { 2e-3 * macs as f64 / us } else { 0.0 };
        if !layer.fused_with_next {
            macs = 0;
        }
        Layer {
            name: layer.name.clone(),
            kernel: layer.kernel.clone(),
            shape: layer.shape.clone(),
            groups: layer.groups.len().max(1),
            macs: layer.macs,
            us,
            gflops,
            fused_with_next: layer.fused_with_next,
            op: layer.op,
        }
    });
    (layers.collect(), spans)
}

/// The cores to pin to: the one asked for, and for further threads those behind it.
fn cores(args: &BenchArgs) -> Result<Vec<CoreId>, Stop> {
    let Some(core) = args.core else { return Ok(Vec::new()) };
    let there = cores_of_machine();
    let Some(first) = there.iter().position(|&other| other == core) else {
        return Err(Stop::Unusable(format!(
            "--core: found {core}, expected one of the cores of this machine, {there:?}"
        )));
    };
    if args.threads.get() > there.len() {
        note(BENCH, format_args!("{} threads on {} cores take turns", args.threads, there.len()));
    }
    Ok(there.iter().cycle().skip(first).take(args.threads.get()).map(|&id| CoreId { id }).collect())
}

/// The cores of this machine; those that this process may use where the system does not say.
fn cores_of_machine() -> Vec<usize> {
    let online = fs::read_to_string("/sys/devices/system/cpu/online").ok().and_then(|text| parse_list(text.trim()));
    online.unwrap_or_else(|| core_affinity::get_core_ids().unwrap_or_default().iter().map(|core| core.id).collect())
}

/// `0-2,5` as numbers.
fn parse_list(text: &str) -> Option<Vec<usize>> {
    let mut numbers = Vec::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        numbers.extend(first.parse().ok()?..=last.parse::<usize>().ok()?);
    }
    Some(numbers)
}

/// Pins this thread; returns the core, or `None` with a warning if the system refuses.
fn pin(cores: &[CoreId]) -> Option<usize> {
    let core = cores.first()?;
    if is_pinned(*core) {
        return Some(core.id);
    }
    note(BENCH, format_args!("the system refuses to pin to core {}: running unpinned", core.id));
    None
}

/// Pins this thread; whether the system let it.
fn is_pinned(core: CoreId) -> bool {
    /// Sets of cores have no place for more.
    const CORES: usize = 1024;
    core.id < CORES && core_affinity::set_for_current(core)
}

fn options(args: &BenchArgs, cores: &[CoreId], pinned: bool) -> Result<Options, Stop> {
    let mut options = args.engine.options()?;
    if args.threads.get() > 1 {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(args.threads.get()).build();
        let pool = pool.map_err(|error| Stop::Unusable(format!("--threads: {error}")))?;
        if pinned {
            let refused = pool.broadcast(|thread| !is_pinned(cores[thread.index()]));
            let refused = refused.into_iter().filter(|&refused| refused).count();
            if refused > 0 {
                note(BENCH, format_args!("the system refuses to pin {refused} of {} threads", args.threads));
            }
        }
        options.threads = Threads::Pool(Arc::new(pool));
    }
    Ok(options)
}

/// What the process of a cold start does: the first output, and a byte to say so.
fn first_output(args: &BenchArgs) -> Result<Status, Stop> {
    let cores = cores(args)?;
    let core = pin(&cores);
    let model = Model::open(&args.model)?;
    let plan = Plan::new(&model, &options(args, &cores, core.is_some())?)?;
    Bench::new(&plan)?.run(|_| {});
    answers::print("1")?;
    Ok(Status::Done)
}

/// Milliseconds from the start of a process to its first output, the median of a few; `None` if processes can't be started.
fn cold_start(args: &BenchArgs) -> Option<f64> {
    let program = env::current_exe().ok()?;
    // In the page cache, whatever was there before.
    let _ = fs::read(&args.model);
    let once = || {
        let mut command = Command::new(&program);
        command
            .args(env::args_os().skip(1))
            .arg("--first-output")
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .stdout(Stdio::piped());
        let start = Instant::now();
        let mut process = command.spawn().ok()?;
        let mut byte = [0];
        let read = process.stdout.take()?.read_exact(&mut byte);
        let milliseconds = 1e3 * start.elapsed().as_secs_f64();
        process.wait().ok()?;
        read.ok().map(|()| milliseconds)
    };
    let mut times = (0..COLD_STARTS).map(|_| once()).collect::<Option<Vec<f64>>>()?;
    times.sort_by(f64::total_cmp);
    Some(times[COLD_STARTS / 2])
}

/// A number with its lines of the file `path`, such as `VmHWM:  1234 kB`.
fn field(path: impl AsRef<Path>, name: &str) -> Option<u64> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_core_that_the_system_refuses_leaves_the_run_unpinned() {
        let there = core_affinity::get_core_ids().unwrap();
        assert_eq!(pin(&[CoreId { id: 1000 }]), None);
        assert_eq!(core_affinity::get_core_ids().unwrap(), there, "nothing was pinned");
        // On a thread of its own, which then has one core.
        let first = there[0];
        assert_eq!(std::thread::spawn(move || pin(&[first])).join().unwrap(), Some(first.id));
    }
}
