//! What the programs `flgc-run`, `flgc-bench` and `flgc-inspect` are made of.
//!
//! The path of a picture: [`inputs`] (arguments to paths) -> [`picture`] (file to pixels) -> [`classify`] (pixels to scores), spread over threads by
//! [`batch`] -> [`answers`] (scores to text, JSON or CSV). Beside it: [`evaluate`] (accuracy over a folder per class), [`tensors`] (raw `.npy` in and out,
//! read and written by [`npy`]), [`inspect`] (what a plan consists of) and [`mod@bench`] (how long it takes). [`cli`] has the arguments, [`status`] errors
//! and exit statuses; [`mod@file`] writes files safely, and [`page`] is what HTML pages have in common.
//!
//! Answers go to standard output, everything else to standard error, a line for each note.

pub mod answers;
pub mod batch;
pub mod bench;
pub mod classify;
pub mod cli;
pub mod evaluate;
pub mod file;
pub mod inputs;
pub mod inspect;
pub mod npy;
pub mod page;
pub mod picture;
pub mod status;
pub mod tensors;

use clap::Parser;
use cli::RunArgs;
use status::{Status, Stop};

/// `flgc-run`, from its arguments to its exit status.
#[must_use]
pub fn run_main() -> std::process::ExitCode {
    let args = RunArgs::parse();
    status::finish(cli::RUN, run(&args))
}

fn run(args: &RunArgs) -> Result<Status, Stop> {
    let options = args.engine.options()?;
    let model = flgc::Model::open(&args.model)?;
    if !args.tensor.is_empty() {
        return tensors::run(args, model, options);
    }
    match &args.evaluate {
        Some(folder) => evaluate::run(args, folder, model, options),
        None => classify::run(args, model, options),
    }
}

/// `flgc-bench`, from its arguments to its exit status.
#[must_use]
pub fn bench_main() -> std::process::ExitCode {
    let args = cli::BenchArgs::parse();
    status::finish(cli::BENCH, bench::run(&args))
}

/// `flgc-inspect`, from its arguments to its exit status.
#[must_use]
pub fn inspect_main() -> std::process::ExitCode {
    let args = cli::InspectArgs::parse();
    status::finish(cli::INSPECT, inspect::run(&args))
}
