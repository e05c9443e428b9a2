//! The measurements behind the rules that choose tiles and ways to run layers, as tables: `cargo bench -p flgc-benches --bench choices [-- TABLE...]`, where a
//! table is one of `tiles`, `pixels`, `next`, `dealt`, `panels`, `blocks` and `bands`; all of them without.
//!
//! What a table compares runs in turn on one core, and the shortest time of each counts: what slows the machine down meets all alike. Where a rule takes what is
//! more than a few per cent slower than the best, it is worth another look: `kernels/src/pointwise` has the rules of the first three tables, `src/plan` the others.

#![expect(clippy::print_stdout, reason = "tables are what this program is for")]

mod kernels;
mod plans;

use flgc_benches::layers;
use flgc_kernels::{Isa, measure::peak_flops};
use std::time::Instant;

/// Makes and prints a table for an instruction set.
type Table = fn(Isa, Effort);

const TABLES: [(&str, Table); 7] = [
    ("tiles", kernels::tiles),
    ("pixels", kernels::pixels),
    ("next", kernels::next),
    ("dealt", plans::dealt),
    ("panels", plans::panels),
    ("blocks", plans::blocks),
    ("bands", plans::bands),
];

/// How much is measured.
#[derive(Clone, Copy)]
struct Effort {
    /// Rounds in which each candidate has its turn.
    rounds: usize,
    /// Most shapes of a table.
    shapes: usize,
}

fn main() {
    // `cargo bench` passes `--bench`; `cargo test` doesn't, and wants to know only that it runs.
    let (tables, is_bench) = (std::env::args().skip(1), std::env::args().any(|arg| arg == "--bench"));
    let asked: Vec<String> = tables.filter(|arg| !arg.starts_with('-')).collect();
    // A word that is no table is a filter for other benchmarks.
    if !asked.is_empty() && asked.iter().all(|asked| TABLES.iter().all(|(table, _)| table != asked)) {
        eprintln!("no table asked for; there are {}", TABLES.map(|(table, _)| table).join(", "));
        return;
    }
    let effort = if is_bench { Effort { rounds: 40, shapes: usize::MAX } } else { Effort { rounds: 1, shapes: 1 } };
    layers::pin();
    for isa in [Isa::Avx512, Isa::Avx2].into_iter().filter(|isa| isa.is_available()) {
        let peak = peak_flops(isa).unwrap_or(f64::NAN) / 1e9;
        for (name, table) in TABLES {
            if asked.is_empty() || asked.iter().any(|other| other == name) {
                println!("## {name}, {}, peak {peak:.0} GFLOP/s\n", isa.name());
                table(isa, effort);
                println!();
            }
        }
    }
}

/// Prints a row of a table.
fn row(cells: impl IntoIterator<Item = impl std::fmt::Display>) {
    let cells: Vec<String> = cells.into_iter().map(|cell| cell.to_string()).collect();
    println!("| {} |", cells.join(" | "));
}

/// Prints the head of a table.
fn head<const N: usize>(cells: [&str; N]) {
    row(cells);
    row(["---"; N]);
}

/// The shortest time of each candidate in microseconds: in each round a run that counts nothing, which brings planes near, and two that count.
fn fastest<T>(candidates: &mut [T], rounds: usize, mut micros: impl FnMut(&mut T) -> f64) -> Vec<f64> {
    let mut best = vec![f64::INFINITY; candidates.len()];
    for _ in 0..rounds {
        for (candidate, best) in candidates.iter_mut().zip(&mut best) {
            micros(candidate);
            *best = best.min(micros(candidate)).min(micros(candidate));
        }
    }
    best
}

/// What `run` takes, in microseconds.
fn timed(run: impl FnOnce()) -> f64 {
    let start = Instant::now();
    run();
    start.elapsed().as_secs_f64() * 1e6
}

/// The index of the least.
fn least(times: &[f64]) -> usize {
    (0..times.len()).min_by(|&a, &b| times[a].total_cmp(&times[b])).unwrap_or(0)
}
