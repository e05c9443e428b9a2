//! Times training steps of MobileNetV2 on random pictures: `step [dense|group|flgc|flgc-chosen] [THREADS] [STEPS] [WIDTH]`.
//! Prints the median and the least time of a step in milliseconds: forward, loss, backward, update.

use flgc_train::{
    nn::{
        LANES,
        groups::{Estimator, Start},
        mobilenet::{Config, Grouping, MobileNet},
    },
    optim::{LogitRule, Logits, Sgd, update},
};
use rand::{RngExt, SeedableRng};
use rand_pcg::Pcg64;
use std::time::Instant;

const BATCH: usize = 128;
const SIZE: [usize; 2] = [32, 32];
const SGD: Sgd = Sgd { momentum: 0.9, decay: 1e-4 };
const LOGITS: Logits = Logits { rule: LogitRule::Sgd, rate: 1e-3, decay: 0.0 };

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let arg = |index: usize, default: &str| args.get(index).cloned().unwrap_or_else(|| default.to_owned());
    let (grouping, estimator) = match arg(0, "flgc").as_str() {
        "dense" => (Grouping::Dense, Estimator::Row),
        "group" => (Grouping::Group, Estimator::Row),
        "flgc-chosen" => (Grouping::Flgc, Estimator::Chosen),
        _ => (Grouping::Flgc, Estimator::Row),
    };
    let number = |index: usize, default: &str| arg(index, default).parse().unwrap_or(1.0);
    let (threads, steps) = (number(1, "2") as usize, number(2, "10") as usize);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().expect("threads");
    let start = Start::Balanced { scale: 0.1 };
    let config =
        Config { width: number(3, "1"), size: SIZE, classes: 10, grouping, groups: 8, start, estimator, seed: 1 };
    let mut rng = Pcg64::seed_from_u64(1);
    let mut network = MobileNet::<f32>::new(&config);
    let part = |_| (0..3 * SIZE[0] * SIZE[1] * LANES).map(|_| rng.random_range(-1.0f32..1.0)).collect();
    let pictures: Vec<Vec<f32>> = (0..BATCH / LANES).map(part).collect();
    let labels: Vec<u16> = (0..BATCH as u16).map(|i| i % 10).collect();
    let mut times: Vec<f64> = (0..steps + 1)
        .map(|_| {
            let begin = Instant::now();
            pool.install(|| {
                network.learn(&pictures, &labels, SIZE, 0.1);
                for param in network.params_mut() {
                    update(param, [1e-3; 2], SGD, LOGITS, 0);
                }
                network.refresh();
            });
            begin.elapsed().as_secs_f64() * 1e3
        })
        .collect();
    times.remove(0);
    times.sort_by(f64::total_cmp);
    eprintln!("median {:.0} ms, least {:.0} ms, {threads} threads", times[times.len() / 2], times[0]);
}
