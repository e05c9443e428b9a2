//! Where layers can run in several ways that give the same bits: by rule, as measured before, or measured while the plan is made.

use super::{Options, Plan, PlanError, Threads, pool};
use crate::Model;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    fmt,
    str::FromStr,
    time::{Duration, Instant},
};

/// How a plan chooses between ways to run a layer. It never changes a bit of the output.
#[derive(Clone, Debug, Default)]
pub enum Tune {
    /// By rules, which come from measurements on a few machines.
    #[default]
    Rules,
    /// By measuring the candidates on this machine, for at most about so long. It takes the memory of seven plans and six sessions; a network that is not
    /// planned and run once in each way within the time is planned by rules.
    Measure(Duration),
    /// As measured before: [`Plan::tuning`].
    Given(Tuning),
}

/// The ways in which layers run, by the layers' names; text to save and to give back (JSON).
///
/// A layer without an entry runs by rule, and so does one whose entry does not fit, for example that of a plan for more threads: [`Plan::tuning`] says what a
/// plan does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tuning {
    layers: BTreeMap<String, Ways>,
    /// What holds for layers without an entry of their own.
    #[serde(skip)]
    others: Ways,
}

/// The ways of a layer; `None` where there is no choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Ways {
    /// Whether an expansion runs in bands of rows with the two layers behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) bands: Option<bool>,
    /// Whether, in bands, an expansion and the depthwise layer behind it run in registers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) registers: Option<bool>,
    /// Whether the input of a convolution with stride is dealt.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) dealt: Option<bool>,
    /// Whether a convolution's inputs are copied into panels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) panels: Option<bool>,
    /// Floats of a convolution's input that wait in cache for all tiles of filters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) block: Option<usize>,
}

impl Ways {
    /// These, and where they have none those of `others`.
    fn or(self, others: Self) -> Self {
        Self {
            bands: self.bands.or(others.bands),
            registers: self.registers.or(others.registers),
            dealt: self.dealt.or(others.dealt),
            panels: self.panels.or(others.panels),
            block: self.block.or(others.block),
        }
    }
}

impl Tuning {
    /// What is asked for of a layer.
    pub(super) fn of(&self, layer: &str) -> Ways {
        self.layers.get(layer).copied().unwrap_or_default().or(self.others)
    }

    /// Notes how a layer runs.
    pub(super) fn note(&mut self, layer: &str, ways: Ways) {
        let noted = self.layers.entry(layer.to_owned()).or_default();
        *noted = ways.or(*noted);
    }

    /// The layers with entries.
    pub(super) fn layers(&self) -> impl Iterator<Item = &str> {
        self.layers.keys().map(String::as_str)
    }
}

impl fmt::Display for Tuning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = serde_json::to_string_pretty(self).map_err(|_| fmt::Error)?;
        writeln!(f, "{text}")
    }
}

/// Why a text is no [`Tuning`].
#[derive(Debug, thiserror::Error)]
#[error("not a tuning, which is what Plan::tuning gives, as text: {0}")]
pub struct TuningError(#[from] serde_json::Error);

impl FromStr for Tuning {
    type Err = TuningError;

    fn from_str(text: &str) -> Result<Self, TuningError> {
        Ok(serde_json::from_str(text)?)
    }
}

/// Sizes of blocks that are tried, in floats: about the first-level cache, and half of a large second-level one.
const BLOCKS: [usize; 2] = [8 << 10, 256 << 10];

/// Rounds after which more would tell nothing new.
const ROUNDS: usize = 50;

/// How much faster a way has to be than the rule's: less is within the noise of a few runs.
const GAIN: f64 = 0.97;

/// The ways that were fastest, measured for at most `limit`.
///
/// # Errors
/// As [`Plan::new`].
pub(super) fn measure(model: &Model, options: &Options, limit: Duration) -> Result<Tuning, PlanError> {
    let start = Instant::now();
    let threads = pool(&options.threads)?.map_or(Threads::One, Threads::Pool);
    let options = Options { threads, ..options.clone() };
    let apart =
        Ways { bands: Some(false), registers: Some(false), dealt: Some(false), panels: Some(false), block: None };
    let joined = Ways { bands: Some(true), dealt: Some(true), panels: None, ..apart };
    let panels = Ways { panels: Some(true), ..apart };
    let mut ways = vec![apart, joined, Ways { registers: Some(true), ..joined }, panels];
    ways.extend(BLOCKS.map(|block| Ways { block: Some(block), ..apart }));
    let rules = Plan::with(model, &options, &Tuning::default())?;
    let mut tuning = rules.tuning().clone();
    let mut candidates = Vec::with_capacity(ways.len());
    for others in ways {
        if start.elapsed() > limit {
            return Ok(tuning);
        }
        // A way that takes more than the limits allow is none.
        let Ok(plan) = Plan::with(model, &options, &Tuning { others, ..Tuning::default() }) else { return Ok(tuning) };
        candidates.push(Candidate::new(plan)?);
    }
    // Once to warm up, and then in turn, so that what slows the machine down meets all alike.
    for round in 0..=ROUNDS {
        let began = Instant::now();
        candidates.iter_mut().for_each(|candidate| candidate.run(round > 0));
        if start.elapsed() + began.elapsed() > limit {
            if round == 0 {
                return Ok(tuning);
            }
            break;
        }
    }
    for (layer, by_rule) in rules.tuning().layers.clone() {
        tuning.note(&layer, fastest(&candidates, &layer, by_rule));
    }
    Ok(tuning)
}

/// The fastest ways of a layer among those that were measured.
fn fastest(candidates: &[Candidate], layer: &str, by_rule: Ways) -> Ways {
    let [apart, joined, in_registers, panels, blocks @ ..] = candidates else { return by_rule };
    let mut ways = by_rule;
    let joins = joined.plan.tuning().of(layer);
    if joins.bands == Some(true) || joins.dealt == Some(true) {
        let layers = joined.together(layer);
        let time = |candidate: &Candidate| candidate.time(layers.clone());
        let mut times = [time(apart).min(time(panels)), time(joined), time(in_registers)];
        let is_joined = by_rule.bands.or(by_rule.dealt) == Some(true);
        let has_registers = in_registers.plan.tuning().of(layer).registers == Some(true);
        let by_rule = if !is_joined {
            0
        } else if by_rule.registers == Some(true) {
            2
        } else {
            1
        };
        // What is no faster than the rule's way by more than noise is not taken.
        times[by_rule] *= GAIN;
        let best = (0..if has_registers { 3 } else { 2 }).min_by(|&a, &b| times[a].total_cmp(&times[b]));
        let best = best.unwrap_or(by_rule);
        ways.bands = joins.bands.map(|_| best > 0);
        ways.dealt = joins.dealt.map(|_| best > 0);
        ways.registers = joins.registers.map(|_| best == 2);
        if ways.dealt == Some(true) {
            return Ways { panels: joins.panels, block: joins.block, ..ways };
        }
    }
    // Apart from others: with panels, if it can have them, or without, in blocks of some size.
    let alone = |candidate: &Candidate| (candidate.time(candidate.together(layer)), candidate.plan.tuning().of(layer));
    let ((mut best, without), (with_panels, with)) = (alone(apart), alone(panels));
    (ways.panels, ways.block) = (without.panels, without.block);
    if with.panels == Some(true) {
        let [rule, other] = if by_rule.panels == Some(true) { [with_panels, best] } else { [best, with_panels] };
        if (by_rule.panels == Some(true)) == (other >= GAIN * rule) {
            (ways.panels, ways.block) = (with.panels, with.block);
            return ways;
        }
    }
    for candidate in blocks {
        let (time, of_block) = alone(candidate);
        if ways.block.is_some() && time < GAIN * best {
            best = time;
            ways.block = of_block.block;
        }
    }
    ways
}

/// A plan with the shortest time of each layer so far.
struct Candidate {
    plan: Plan,
    session: crate::Session,
    inputs: Vec<Vec<f32>>,
    outputs: Vec<Vec<f32>>,
    seconds: Vec<f64>,
}

impl Candidate {
    fn new(plan: Plan) -> Result<Self, PlanError> {
        let session = plan.try_session()?;
        let floats = |ports: &[super::Port]| -> Vec<Vec<f32>> {
            ports.iter().map(|port| vec![0.5; port.shape.iter().product()]).collect()
        };
        let (inputs, outputs) = (floats(plan.inputs()), floats(plan.outputs()));
        let seconds = vec![f64::INFINITY; plan.report().layers.len()];
        Ok(Self { plan, session, inputs, outputs, seconds })
    }

    fn run(&mut self, counts: bool) {
        let Self { session, inputs, outputs, seconds, .. } = self;
        let inputs: Vec<&[f32]> = inputs.iter().map(Vec::as_slice).collect();
        let mut outputs: Vec<&mut [f32]> = outputs.iter_mut().map(Vec::as_mut_slice).collect();
        let mut last = Instant::now();
        let after = |layer: Option<usize>| {
            // What prepares the inputs counts for the first layer: another way may need less of it.
            let (Some(layer), now) = (layer, Instant::now()) else { return };
            if counts {
                seconds[layer] = seconds[layer].min((now - last).as_secs_f64());
            }
            last = now;
        };
        session.run_observed(&inputs, &mut outputs, after).expect("lengths are the plan's");
    }

    /// A layer and those that run together with it from there on.
    fn together(&self, layer: &str) -> std::ops::Range<usize> {
        let layers = &self.plan.report().layers;
        let first = layers.iter().position(|other| other.name == layer).unwrap_or(layers.len());
        let more = layers[first..].iter().take_while(|layer| layer.fused_with_next).count();
        first..(first + more + 1).min(layers.len())
    }

    /// The time of some layers, of which those that run together with the next have none of their own.
    fn time(&self, layers: std::ops::Range<usize>) -> f64 {
        self.seconds[layers].iter().filter(|seconds| seconds.is_finite()).sum()
    }
}
