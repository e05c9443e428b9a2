//! Time against the number of groups, as CSV: `cargo bench -p flgc-benches --bench groups > groups.csv`.
//!
//! For the shapes of the 1x1 convolutions of MobileNetV2, for 1 to 32 groups, equal and random ones. All plans of a shape run in turn, and the shortest time of
//! each counts: what slows the machine down meets all alike. A line has the means of some networks, and the times of the fastest and the slowest of them. `benches/charts.py groups`
//! draws the means and looks for cliffs. Takes 3 GiB of memory.

use flgc::{Options, Plan, Session};
use flgc_benches::{Builder, Groups, layers};
use std::{
    io::{self, Write},
    time::Instant,
};

/// Channels, filters, rows and columns.
const SHAPES: [[usize; 3]; 19] = [
    [32, 16, 112],
    [16, 96, 112],
    [96, 24, 56],
    [24, 144, 56],
    [144, 24, 56],
    [144, 32, 28],
    [32, 192, 28],
    [192, 32, 28],
    [192, 64, 14],
    [64, 384, 14],
    [384, 64, 14],
    [384, 96, 14],
    [96, 576, 14],
    [576, 96, 14],
    [576, 160, 7],
    [160, 960, 7],
    [960, 160, 7],
    [960, 320, 7],
    [320, 1280, 7],
];

/// Networks of each kind and number of groups. One alone says little: random groups without a filter leave their channels unread, a quarter more or less from one
/// grouping to the next, and where the system places its memory makes a third of the time of a small one.
const SEEDS: u64 = 8;
/// Most groups.
const GROUPS: usize = 32;
/// Runs of each plan.
const RUNS: usize = 40;

struct Case {
    kind: &'static str,
    groups: usize,
    macs: f64,
    /// Channels that are read, and filters.
    planes: f64,
    session: Session,
    micros: f64,
}

fn main() -> io::Result<()> {
    // `cargo bench` passes `--bench`; `cargo test` doesn't, and wants to know only that it runs.
    let (shapes, seeds, runs) =
        if std::env::args().any(|arg| arg == "--bench") { (&SHAPES[..], SEEDS, RUNS) } else { (&SHAPES[18..], 1, 1) };
    layers::pin();
    let mut out = io::stdout().lock();
    writeln!(out, "channels,filters,size,kind,groups,macs,planes,us,least_us,most_us")?;
    for &[channels, filters, size] in shapes {
        let mut cases = Vec::new();
        for groups in 1..=GROUPS {
            for seed in 1..=seeds {
                cases.push(case([channels, filters, size], "equal", Groups::Balanced(groups), groups, seed));
                cases.push(case([channels, filters, size], "random", Groups::Learned(groups), groups, seed));
            }
        }
        let input: Vec<f32> = (0..channels * size * size).map(|i| (i % 255) as f32 / 255.0 - 0.5).collect();
        for _ in 0..runs {
            for case in &mut cases {
                let mut micros = 0.0;
                let mut output = vec![0.0; filters * size * size];
                let mut start = Instant::now();
                let after = |_| {
                    // In the end, the time of the last layer.
                    micros = start.elapsed().as_secs_f64() * 1e6;
                    start = Instant::now();
                };
                // Twice: the first run brings weights and planes near.
                case.session.run(&input).expect("the right length");
                case.session.run_observed(&[&input], &mut [&mut output], after).expect("the right lengths");
                case.micros = case.micros.min(micros);
            }
        }
        for kind in ["equal", "random"] {
            for groups in 1..=GROUPS {
                let point = || cases.iter().filter(|case| (case.kind, case.groups) == (kind, groups));
                let mean = |of: fn(&Case) -> f64| point().map(of).sum::<f64>() / point().count() as f64;
                let [least, most] = [f64::min, f64::max].map(|of| point().map(|case| case.micros).reduce(of));
                let (macs, planes, us) = (mean(|case| case.macs), mean(|case| case.planes), mean(|case| case.micros));
                let (least, most) = (least.unwrap_or(us), most.unwrap_or(us));
                write!(out, "{channels},{filters},{size},{kind},{groups},{macs:.0},{planes:.1},")?;
                writeln!(out, "{us:.2},{least:.2},{most:.2}")?;
            }
        }
    }
    Ok(())
}

fn case([channels, filters, size]: [usize; 3], kind: &'static str, of: Groups, groups: usize, seed: u64) -> Case {
    let (mut b, x) = Builder::new(seed + 32 * groups as u64, 1, [channels, size, size]);
    // A layer of its own, behind which the clock starts: what copies the input into the arena does not count.
    let x = b.relu(&x);
    let y = b.conv(&x, filters, 1, 1, of);
    let y = b.relu6(&y);
    let plan = Plan::new(&b.finish(&[&y]), &Options::default()).expect("a valid model");
    let report = plan.report();
    let planes = report.layers.iter().map(|layer| layer.order.len()).sum::<usize>() as f64;
    Case { kind, groups, macs: report.macs as f64, planes, session: plan.session(), micros: f64::INFINITY }
}
