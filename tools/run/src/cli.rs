//! The arguments of the programs.

use crate::status::Stop;
use clap::{Args, Parser, ValueEnum};
use flgc::{Isa, Options, Tune, plan::Caches};
use std::{fs, num::NonZeroUsize, path::PathBuf};

/// The name of the program that runs models.
pub const RUN: &str = "flgc-run";
/// The name of the program that shows what a model consists of.
pub const INSPECT: &str = "flgc-inspect";

/// The name of the program that measures how long a model takes.
pub const BENCH: &str = "flgc-bench";

/// Run an flgc model on pictures or raw tensors.
#[derive(Debug, Parser)]
#[command(name = RUN, version, override_usage = USAGE, after_help = AFTER_HELP)]
#[command(group = clap::ArgGroup::new("work").required(true).args(["inputs", "tensor", "evaluate"]))]
pub struct RunArgs {
    /// The model, a .flgc file
    pub model: PathBuf,

    /// Pictures, folders of pictures (walked, in order of names, hidden files left out), or - for a list of paths on standard input, one on each line
    #[arg(value_name = "INPUT")]
    pub inputs: Vec<PathBuf>,

    /// How many classes to show for each picture [default: 5; as text, several pictures get a line each with the best, unless this is given]
    #[arg(long, value_name = "N")]
    pub top_k: Option<NonZeroUsize>,

    /// How to write the answers
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,

    /// Threads: pictures are spread over them; a single picture or a tensor uses them for one run
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub threads: NonZeroUsize,

    /// How to run the model
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Raw input: a .npy file of little-endian f32 in C order; its shape is the shape to run with. Repeat for several inputs
    #[arg(long, value_name = "[NAME=]FILE.npy", requires = "output")]
    pub tensor: Vec<PathBuf>,

    /// Where to write a raw output of --tensor. Repeat for several outputs
    #[arg(long, value_name = "[NAME=]FILE.npy", requires = "tensor", conflicts_with_all = ["inputs", "evaluate"])]
    pub output: Vec<PathBuf>,

    /// Which output is meant, of a model that has several: for pictures the first is the default
    #[arg(long, value_name = "NAME")]
    pub output_name: Option<String>,

    /// Top-1 and top-5 accuracy over a folder that holds a folder of pictures for each class, named by its label
    #[arg(long, value_name = "DIR")]
    pub evaluate: Option<PathBuf>,
}

const USAGE: &str = "flgc-run [OPTIONS] MODEL INPUT...
       flgc-run [OPTIONS] MODEL --tensor [NAME=]FILE.npy... --output [NAME=]FILE.npy...
       flgc-run [OPTIONS] MODEL --evaluate DIR";

const AFTER_HELP: &str = "\
Answers go to standard output: a table for a single picture, else a line each (text); an object on each line,
{\"input\", \"top\": [{\"index\", \"label\", \"probability\"}]} or {\"input\", \"error\"} (json); a row for each class shown (csv).
They come in the order of the inputs. Probabilities are the softmax of the output, unless the model ends in one.

Pictures: JPEG, PNG, BMP, GIF (first frame), PNM, TIFF, WebP, by content, up to 65535 pixels a side and 512 MiB of
memory; every file in a folder is taken for one. They are turned as their EXIF orientation says, brought to 8 bits,
and alpha is dropped; then prepared as the model says.

Exit status: 0 all done; 1 some or all inputs failed, the others were done; 2 the arguments or the model can't be
used, or the answers can't be written. Closing standard output early is no error.";

/// Show what an flgc model consists of: layers, groups, channel orders, kernels, steps that only move data.
#[derive(Debug, Parser)]
#[command(name = INSPECT, version)]
pub struct InspectArgs {
    /// The model, a .flgc file
    pub model: PathBuf,

    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: InspectFormat,

    /// Also write one HTML page with pictures: cost by layer, groups before and after reordering, sizes of groups
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,

    /// How the model would be run
    #[command(flatten)]
    pub engine: EngineArgs,
}

/// Measure how long an flgc model takes, as one core sees it: whole runs, layers, cold start, memory.
#[derive(Debug, Parser)]
#[command(name = BENCH, version, after_help = BENCH_HELP)]
pub struct BenchArgs {
    /// The model, a .flgc file
    pub model: PathBuf,

    /// Pin to this core, further threads to those behind it
    #[arg(long, value_name = "K")]
    pub core: Option<usize>,

    /// Timed runs [default: as many as take two seconds]
    #[arg(long, value_name = "N", value_parser = parse_runs)]
    pub runs: Option<NonZeroUsize>,

    /// Runs before the timed ones
    #[arg(long, value_name = "N", default_value = "10")]
    pub warmup: usize,

    /// Threads of a run
    #[arg(long, value_name = "N", default_value = "1", value_parser = parse_threads)]
    pub threads: NonZeroUsize,

    /// How to run the model
    #[command(flatten)]
    pub engine: EngineArgs,

    /// Show every layer: kernel, shape, groups, multiply-adds, time, share of the core's peak
    #[arg(long)]
    pub layers: bool,

    /// Write one run as a trace for chrome://tracing or Perfetto
    #[arg(long, value_name = "FILE.json")]
    pub trace: Option<PathBuf>,

    /// First measure the ways in which layers can run, run in the fastest, and write them to this file, for --tuning; the output is the same, bit for bit
    #[arg(long, value_name = "FILE.json", conflicts_with = "tuning")]
    pub tune: Option<PathBuf>,

    /// Most seconds of that
    #[arg(long, value_name = "S", default_value = "2", requires = "tune", value_parser = parse_seconds)]
    pub tune_seconds: f64,

    /// How to write it
    #[arg(long, value_enum, default_value_t)]
    pub format: InspectFormat,

    /// Only make the first output and say so: how a cold start is measured
    #[arg(long, hide = true)]
    pub first_output: bool,
}

const BENCH_HELP: &str = "\
Times are medians. The peak is that of independent multiply-adds in registers, measured in the same process; multiply-adds are those that the
network needs, weights inside groups, nothing padded. Layers are timed in runs of their own, since their clocks take time; those that run in bands
together as one, and the time stands at the last. A cold start runs from the start of a process to its first output, with the file in the page cache.
Notes on standard error say when the machine is too noisy to trust.";

/// Arguments of every program that makes a plan.
#[derive(Debug, Args)]
pub struct EngineArgs {
    /// Instruction set; auto is the fastest that this CPU has
    #[arg(long, value_enum, default_value_t)]
    pub isa: IsaChoice,

    /// Most memory for weights and activations, in bytes or as 8MB, 8MiB, 1.5GB ...
    #[arg(long, value_name = "BYTES", default_value = "2GiB", value_parser = parse_bytes)]
    pub memory_limit: u64,

    /// Run layer by layer: fuse none into bands of rows that stay in cache; the output is the same, bit for bit
    #[arg(long)]
    pub no_fuse: bool,

    /// Plan for a core with these caches, as 32KiB,512KiB,8MiB; the output is the same, bit for bit [default: those of this machine]
    #[arg(long, value_name = "FIRST,SECOND,LAST", value_parser = parse_caches)]
    pub caches: Option<Caches>,

    /// Compute dense 3x3 convolutions directly instead of by Winograd's method: a quarter of the memory for their weights, and other rounding
    #[arg(long)]
    pub no_winograd: bool,

    /// Run layers in the ways of this file, which flgc-bench --tune wrote for this model; the output is the same, bit for bit
    #[arg(long, value_name = "FILE.json")]
    pub tuning: Option<PathBuf>,
}

impl EngineArgs {
    /// The options of a plan that runs on the caller's thread.
    ///
    /// # Errors
    /// If the instruction set is not available, or the tuning can't be read.
    pub fn options(&self) -> Result<Options, Stop> {
        let isa = self.isa.resolve()?;
        let tune = match &self.tuning {
            Some(path) => {
                let text =
                    fs::read_to_string(path).map_err(|error| Stop::Unusable(format!("{}: {error}", path.display())))?;
                let tuning = text.parse().map_err(|error| Stop::Unusable(format!("{}: {error}", path.display())))?;
                Tune::Given(tuning)
            }
            None => Tune::Rules,
        };
        Ok(Options {
            isa,
            memory_limit: self.memory_limit,
            fuse: !self.no_fuse,
            winograd: !self.no_winograd,
            caches: self.caches,
            tune,
            ..Options::default()
        })
    }
}

/// How answers are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people.
    #[default]
    Text,
    /// A JSON object on each line.
    Json,
    /// Comma-separated values with a header (RFC 4180).
    Csv,
}

/// How a model is described.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object.
    Json,
}

/// A choice of instruction set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
#[value(rename_all = "lower")]
pub enum IsaChoice {
    /// The fastest that this CPU has.
    #[default]
    Auto,
    /// AVX-512.
    Avx512,
    /// AVX2 with FMA.
    Avx2,
    /// NEON.
    Neon,
    /// Whatever the compiler was told to use.
    Portable,
}

impl IsaChoice {
    /// The instruction set; `None` for auto.
    fn resolve(self) -> Result<Option<Isa>, Stop> {
        if self == Self::Auto {
            return Ok(None);
        }
        let value = self.to_possible_value();
        let name = value.as_ref().map_or("", |value| value.get_name());
        // A name that the library does not know is one that this build has no kernels for.
        let isa = name.parse().ok().filter(|isa: &Isa| isa.is_available());
        let missing = || {
            let there: Vec<&str> = Isa::available().map(Isa::name).collect();
            let there = there.join(", ");
            Stop::Unusable(format!(
                "--isa: found {name}, which this CPU or this build does not have, expected auto, {there}"
            ))
        };
        isa.map(Some).ok_or_else(missing)
    }
}

/// A number of bytes: `8000000`, `8MB` (10^6), `8MiB` (2^20), `1.5GB`.
fn parse_bytes(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 9] = [
        ("", 1),
        ("b", 1),
        ("kb", 1000),
        ("kib", 1 << 10),
        ("mb", 1_000_000),
        ("mib", 1 << 20),
        ("gb", 1_000_000_000),
        ("gib", 1 << 30),
        ("tb", 1_000_000_000_000),
    ];
    let end = text.find(|char: char| !char.is_ascii_digit() && char != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let unit = unit.trim().to_ascii_lowercase();
    let expected = || "expected a number of bytes such as 8000000, 8MB, 8MiB, 1.5GB".to_owned();
    let &(_, factor) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(expected)?;
    // Whole numbers exactly, others rounded down.
    if let Ok(number) = number.parse::<u64>() {
        return number.checked_mul(factor).ok_or_else(expected);
    }
    let number: f64 = number.parse().map_err(|_| expected())?;
    let bytes = number * factor as f64;
    if bytes < u64::MAX as f64 { Ok(bytes as u64) } else { Err(expected()) }
}

/// A number of seconds that makes a duration.
/// Most threads: more are a slip of a finger.
const MAX_THREADS: usize = 1024;

fn parse_threads(text: &str) -> Result<NonZeroUsize, String> {
    let threads = text.parse().ok().filter(|threads: &NonZeroUsize| threads.get() <= MAX_THREADS);
    threads.ok_or_else(|| format!("expected 1 to {MAX_THREADS} threads"))
}

/// The sizes of a core's caches.
fn parse_caches(text: &str) -> Result<Caches, String> {
    let sizes: Vec<u64> = text.split(',').map(parse_bytes).collect::<Result<_, _>>()?;
    let sizes: Vec<usize> = sizes.into_iter().filter_map(|size| usize::try_from(size).ok()).collect();
    match sizes[..] {
        [l1, l2, last] if 0 < l1 && l1 <= l2 && l2 <= last => Ok(Caches { l1, l2, last }),
        _ => Err("expected three sizes, none smaller than the one before: first, second and last level".to_owned()),
    }
}

/// Most runs: their times are kept.
const MAX_RUNS: usize = 10_000_000;

fn parse_runs(text: &str) -> Result<NonZeroUsize, String> {
    let runs = text.parse().ok().filter(|runs: &NonZeroUsize| runs.get() <= MAX_RUNS);
    runs.ok_or_else(|| format!("expected 1 to {MAX_RUNS} runs"))
}

fn parse_seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse().ok().filter(|seconds| (0.0..=86_400.0).contains(seconds));
    seconds.ok_or_else(|| "expected seconds from 0 to 86400".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        RunArgs::command().debug_assert();
        InspectArgs::command().debug_assert();
        BenchArgs::command().debug_assert();
    }

    #[test]
    fn numbers_of_bytes() {
        let cases = [
            ("0", 0),
            ("8000000", 8_000_000),
            ("8MB", 8_000_000),
            ("8MiB", 8 << 20),
            ("8 mib", 8 << 20),
            ("1GB", 1_000_000_000),
            ("2GiB", 2 << 30),
            ("1.5kb", 1500),
            ("7B", 7),
            ("18446744073709551615", u64::MAX),
        ];
        for (text, bytes) in cases {
            assert_eq!(parse_bytes(text), Ok(bytes), "{text}");
        }
        for text in ["", "MB", "8M", "-1", "1e9", "1.2.3", "1GB2", "18446744073709551616", "99999999999TB", "."] {
            assert!(parse_bytes(text).is_err(), "{text}");
        }
    }
}
