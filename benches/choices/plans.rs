//! Ways to run layers that give the same bits: what `Options::tune` chooses between.

use super::{Effort, fastest, head, least, row};
use flgc::{Model, Options, Plan, Session, Tune};
use flgc_benches::{Builder, Groups};
use flgc_kernels::Isa;
use std::time::Instant;

/// A plan of a network whose first layer only makes the input near; the others are timed.
struct Case {
    session: Session,
    input: Vec<f32>,
    output: Vec<f32>,
}

impl Case {
    /// The plan with that tuning, as text.
    fn new(model: &Model, isa: Isa, tuning: &str) -> Self {
        let options = Options { isa: Some(isa), ..Options::default() };
        let tuning = tuning.parse().expect("changed in a value only");
        let plan = Plan::new(model, &Options { tune: Tune::Given(tuning), ..options }).expect("a valid model");
        let floats = |ports: &[flgc::plan::Port]| ports[0].shape.iter().product();
        let (inputs, outputs): (usize, usize) = (floats(plan.inputs()), floats(plan.outputs()));
        let input = (0..inputs).map(|i| (i % 255) as f32 / 255.0 - 0.5).collect();
        Self { session: plan.session(), input, output: vec![0.0; outputs] }
    }

    /// What its layers but the first take, in microseconds.
    fn run(&mut self) -> f64 {
        let mut micros = 0.0;
        let mut last = Instant::now();
        let after = |layer: Option<usize>| {
            let now = Instant::now();
            if layer.is_some_and(|layer| layer > 0) {
                micros += (now - last).as_secs_f64() * 1e6;
            }
            last = now;
        };
        self.session.run_observed(&[&self.input], &mut [&mut self.output], after).expect("the right lengths");
        micros
    }
}

/// The tuning of the plan by rule, as text.
fn by_rule(model: &Model, isa: Isa) -> String {
    let options = Options { isa: Some(isa), ..Options::default() };
    Plan::new(model, &options).expect("a valid model").tuning().to_string()
}

/// `text` with another value of a field, if it has it.
fn set(text: &str, field: &str, value: bool) -> String {
    text.replace(&format!("\"{field}\": {}", !value), &format!("\"{field}\": {value}"))
}

/// Whether a field is true anywhere.
fn has(text: &str, field: &str) -> bool {
    text.contains(&format!("\"{field}\": true"))
}

/// A convolution with stride, its input dealt or not, by the filters of a group.
pub(super) fn dealt(isa: Isa, effort: Effort) {
    head(["layer", "groups", "filters of a group", "dealt, us", "not, us", "ratio", "by rule"]);
    for (channels, size, k) in
        [(3, 224, 3), (64, 56, 1), (64, 56, 3), (256, 28, 1), (128, 28, 3)].into_iter().take(effort.shapes)
    {
        for (groups, filters) in
            [(1, 4), (1, 8), (1, 12), (1, 16), (1, 32), (1, 64), (1, 128), (8, 4), (8, 8), (8, 12), (8, 16), (8, 32)]
        {
            if groups > channels {
                continue;
            }
            let (mut b, x) = Builder::new(1, 1, [channels, size, size]);
            let x = b.relu(&x);
            let y = b.conv(&x, filters * groups, k, 2, Groups::Even(groups));
            let y = b.relu6(&y);
            let model = b.finish(&[&y]);
            let rule = by_rule(&model, isa);
            let mut cases = [true, false].map(|dealt| Case::new(&model, isa, &set(&rule, "dealt", dealt)));
            let times = fastest(&mut cases, effort.rounds, Case::run);
            row([
                format!("{size}x{size} {channels}->{} {k}x{k} s2", filters * groups),
                groups.to_string(),
                filters.to_string(),
                format!("{:.1}", times[0]),
                format!("{:.1}", times[1]),
                format!("{:.2}", times[0] / times[1]),
                if has(&rule, "dealt") { "dealt" } else { "not" }.to_owned(),
            ]);
        }
    }
}

/// The floats of input that wait in cache, of a layer that has a choice.
fn block(text: &str) -> Option<usize> {
    let (_, behind) = text.split_once("\"block\": ")?;
    behind.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

/// `text` with another block.
fn with_block(text: &str, floats: usize) -> String {
    block(text).map_or_else(
        || text.to_owned(),
        |block| text.replace(&format!("\"block\": {block}"), &format!("\"block\": {floats}")),
    )
}

/// A 1x1 convolution with its inputs copied into panels or not, by its taps and filters; each way with the block of its rule.
pub(super) fn panels(isa: Isa, effort: Effort) {
    head(["layer", "groups", "taps", "filters of a group", "panels, us", "planes, us", "ratio", "by rule"]);
    for (size, groups, taps, filters) in [14, 28, 56, 112]
        .into_iter()
        .flat_map(|size| [1, 4].map(|groups| (size, groups)))
        .flat_map(|(size, groups)| [8, 16, 24, 32, 48, 64, 80, 96, 128, 192, 256].map(|taps| (size, groups, taps)))
        .flat_map(|(size, groups, taps)| {
            [12, 24, 36, 48, 64, 96, 192, 256].map(|filters| (size, groups, taps, filters))
        })
        .take(effort.shapes)
    {
        let (mut b, x) = Builder::new(1, 1, [taps * groups, size, size]);
        let x = b.relu(&x);
        let y = b.conv(&x, filters * groups, 1, 1, Groups::Even(groups));
        let y = b.relu6(&y);
        let model = b.finish(&[&y]);
        let rule = by_rule(&model, isa);
        if !rule.contains("panels") {
            continue;
        }
        let ways = [(true, PANEL_FLOATS), (false, CACHED_FLOATS)];
        let mut cases =
            ways.map(|(panels, block)| Case::new(&model, isa, &with_block(&set(&rule, "panels", panels), block)));
        let times = fastest(&mut cases, effort.rounds, Case::run);
        row([
            format!("{size}x{size} {}->{}", taps * groups, filters * groups),
            groups.to_string(),
            taps.to_string(),
            filters.to_string(),
            format!("{:.1}", times[0]),
            format!("{:.1}", times[1]),
            format!("{:.2}", times[0] / times[1]),
            if has(&rule, "panels") { "panels" } else { "planes" }.to_owned(),
        ]);
    }
}

/// Blocks of the rules, in floats, with panels and without.
const PANEL_FLOATS: usize = 32 << 10;
const CACHED_FLOATS: usize = 64 << 10;

/// Sizes of blocks, in Ki floats.
const BLOCKS: [usize; 6] = [8, 16, 32, 64, 128, 256];

/// Floats of input that wait in cache for all tiles of filters.
pub(super) fn blocks(isa: Isa, effort: Effort) {
    let sizes = BLOCKS.map(|block| format!("{block} Ki, us"));
    row(["layer".to_owned(), "groups".to_owned()].into_iter().chain(sizes).chain(["rule / best".to_owned()]));
    row(["---"; 3 + BLOCKS.len()]);
    for (channels, filters, size, groups) in [
        (64, 256, 56, 1),
        (256, 64, 56, 1),
        (512, 128, 28, 1),
        (1024, 256, 14, 1),
        (256, 1024, 14, 1),
        (144, 32, 28, 1),
        (192, 32, 28, 1),
        (576, 96, 14, 1),
        (256, 64, 56, 8),
        (512, 128, 28, 8),
    ]
    .into_iter()
    .take(effort.shapes)
    {
        let (mut b, x) = Builder::new(1, 1, [channels, size, size]);
        let x = b.relu(&x);
        let y = b.conv(&x, filters, 1, 1, Groups::Even(groups));
        let y = b.relu6(&y);
        let model = b.finish(&[&y]);
        let rule = by_rule(&model, isa);
        // With one tile of filters there is nothing to choose.
        let Some(of_rule) = block(&rule).and_then(|floats| BLOCKS.iter().position(|block| block << 10 == floats))
        else {
            continue;
        };
        let mut cases = BLOCKS.map(|block| Case::new(&model, isa, &with_block(&rule, block << 10)));
        let times = fastest(&mut cases, effort.rounds, Case::run);
        let best = times[least(&times)];
        let cells = times.iter().map(|time| format!("{time:.1}"));
        row([format!("{size}x{size} {channels}->{filters}"), groups.to_string()]
            .into_iter()
            .chain(cells)
            .chain([format!("{:.2}", times[of_rule] / best)]));
    }
}

/// Expansion, depthwise layer and projection one after another, in bands, and in bands with the first two in registers.
pub(super) fn bands(isa: Isa, effort: Effort) {
    head(["block", "groups", "expanded, MB", "apart, us", "in bands, us", "in registers, us", "by rule, us"]);
    for (from, to, size, stride) in [
        (16, 24, 112, 2),
        (24, 24, 56, 1),
        (24, 32, 56, 2),
        (32, 32, 28, 1),
        (32, 64, 28, 2),
        (64, 64, 14, 1),
        (96, 96, 14, 1),
        (96, 160, 14, 2),
        (160, 160, 7, 1),
    ]
    .into_iter()
    .take(effort.shapes)
    {
        for groups in [1, 2, 3, 4, 8, 16] {
            let (mut b, x) = Builder::new(1, 1, [from, size, size]);
            let x = b.relu(&x);
            let groups_of = if groups == 1 { Groups::Even(1) } else { Groups::Learned(groups) };
            let y = b.conv(&x, 6 * from, 1, 1, groups_of);
            let y = b.relu6(&y);
            let y = b.depthwise(&y, 3, stride);
            let y = b.relu6(&y);
            let y = b.conv(&y, to, 1, 1, groups_of);
            let model = b.finish(&[&y]);
            let rule = by_rule(&model, isa);
            let way = |bands, registers| set(&set(&rule, "bands", bands), "registers", registers);
            let ways = [way(false, false), way(true, false), way(true, true), rule.clone()];
            let has_registers = rule.contains("registers");
            let mut cases = ways.map(|way| Case::new(&model, isa, &way));
            let times = fastest(&mut cases, effort.rounds, Case::run);
            let shape = [
                format!("{size}x{size} {from}->{}->{to} s{stride}", 6 * from),
                groups.to_string(),
                format!("{:.1}", (24 * from * size * size) as f64 / 1e6),
            ];
            let ran = match (has(&rule, "bands"), has(&rule, "registers")) {
                (true, true) => "in registers",
                (true, false) => "in bands",
                _ => "apart",
            };
            let [apart, bands, registers, rule] = times[..] else { unreachable!("four cases") };
            let mut times = [apart, bands, registers].map(|time| format!("{time:.1}"));
            if !has_registers {
                times[2] = "no kernel".to_owned();
            }
            row(shape.into_iter().chain(times).chain([format!("{ran} {rule:.1}")]));
        }
    }
}
