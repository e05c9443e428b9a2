//! The arguments of `flgc-train`.

use crate::{
    checkpoint,
    data::{Data, batches::LANES},
    nn::{
        groups::{Estimator, Start},
        mobilenet::{self, Grouping},
    },
    optim::{LogitRule, Logits, Sgd},
    restore,
    settings::Settings,
    train::{Job, default_run, train},
};
use clap::{Parser, ValueEnum};
use flgc::model::DType;
use std::{
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// The name of the program.
pub const NAME: &str = "flgc-train";

/// Train a network with learned channel groups on pictures, and write it as an flgc model.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP, allow_negative_numbers = true)]
pub struct Args {
    /// The pictures: a folder with train/CLASS/PICTURE and test/CLASS/PICTURE, or with the binary files of CIFAR-10
    pub data: PathBuf,

    /// The model to write; it is written anew after each epoch
    #[arg(short, long, value_name = "MODEL.flgc")]
    pub output: PathBuf,

    /// Folder for the checkpoint, metrics.csv, groups.csv and report.html [default: the model's name, ending in .run]
    #[arg(long, value_name = "DIR")]
    pub run: Option<PathBuf>,

    /// Go on from the checkpoint of an interrupted training; the options must be the same
    #[arg(long)]
    pub resume: bool,

    /// Start from the weights and groups of another training of the same network, or of a narrower one: its checkpoint, or its model (MODEL.flgc)
    #[arg(long, value_name = "FILE")]
    pub start_from: Option<PathBuf>,

    /// Width of the network in that file, if --width is larger: its channels become several each, and the network at first computes the same
    #[arg(long, value_name = "WIDTH", requires = "start_from", value_parser = positive)]
    pub start_width: Option<f64>,

    /// How the 1x1 convolutions are grouped
    #[arg(long, value_enum, default_value_t = Conv::Flgc)]
    pub conv: Conv,

    /// Groups of each 1x1 convolution
    #[arg(long, value_name = "G", default_value = "8")]
    pub groups: NonZeroUsize,

    /// Factor of all numbers of channels, which are rounded to multiples of 8
    #[arg(long, default_value_t = 1.0, value_parser = positive)]
    pub width: f64,

    /// How many times all pictures are seen
    #[arg(long, value_name = "N", default_value = "40")]
    pub epochs: NonZeroUsize,

    /// Pictures of a step, a multiple of 16
    #[arg(long, value_name = "N", default_value = "128")]
    pub batch: NonZeroUsize,

    /// Learning rate
    #[arg(long, default_value_t = 0.1, value_parser = positive)]
    pub lr: f64,

    /// Share of the last change that is made again
    #[arg(long, default_value_t = 0.9, value_parser = below_one)]
    pub momentum: f64,

    /// Decay of weights
    #[arg(long, value_name = "DECAY", default_value_t = 1e-4, value_parser = not_negative)]
    pub weight_decay: f64,

    /// Steps in which the learning rate rises
    #[arg(long, value_name = "STEPS", default_value_t = 200)]
    pub warmup: u64,

    /// The model is the mean of the weights after each of the last N epochs, in which the learning rate stays where it is; 0: it is the weights at the end
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub average: u64,

    /// Share of each label that goes to all classes
    #[arg(long, value_name = "SHARE", default_value_t = 0.05, value_parser = below_one)]
    pub label_smoothing: f64,

    /// Pictures are shifted by up to this many pixels
    #[arg(long, value_name = "PIXELS", default_value_t = 4)]
    pub crop: usize,

    /// Side of a square that is cut out of each picture, in pixels; 0: none
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    pub cutout: usize,

    /// Do not flip pictures
    #[arg(long)]
    pub no_flip: bool,

    /// Gradient of the one-hot step: over the whole row, or only at the chosen entry
    #[arg(long, value_enum, default_value_t = EstimatorChoice::Row)]
    pub estimator: EstimatorChoice,

    /// Where logits start: balanced (groups dealt out in turn), scattered (dealt out in random order), random (N(0, 1): uneven from the start)
    #[arg(long, value_enum, default_value_t = StartChoice::Balanced)]
    pub logit_start: StartChoice,

    /// Standard deviation of the logits' start [default: 1 for random, else 0.1]
    #[arg(long, value_name = "SCALE", value_parser = not_negative)]
    pub logit_scale: Option<f64>,

    /// Optimiser of logits
    #[arg(long, value_enum, default_value_t = RuleChoice::Sgd)]
    pub logit_optimizer: RuleChoice,

    /// Learning rate of logits
    #[arg(long, value_name = "LR", default_value_t = 0.1, value_parser = not_negative)]
    pub logit_lr: f64,

    /// Decay of logits
    #[arg(long, value_name = "DECAY", default_value_t = 0.0, value_parser = not_negative)]
    pub logit_decay: f64,

    /// Groups are fixed from this epoch on; 1: from the start, for comparison
    #[arg(long, value_name = "EPOCH")]
    pub fix_groups_from: Option<NonZeroUsize>,

    /// Mean of each channel, whose values run from 0 to 1
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1, default_values_t = [0.4914, 0.4822, 0.4465])]
    pub mean: Vec<f64>,

    /// Standard deviation of each channel
    #[arg(long, value_name = "R,G,B", value_delimiter = ',', num_args = 1, default_values_t = [0.247, 0.2435, 0.2616])]
    pub std: Vec<f64>,

    /// Seed of weights, logits, order and augmentation
    #[arg(long, default_value_t = 1)]
    pub seed: u64,

    /// Threads [default: all cores]; results do not depend on it
    #[arg(long, value_name = "N")]
    pub threads: Option<NonZeroUsize>,

    /// Type of the model's weights
    #[arg(long, value_enum, default_value_t = DTypeChoice::F16)]
    pub dtype: DTypeChoice,
}

const AFTER_HELP: &str = "\
The network is MobileNetV2 for small pictures: a 3x3 stem with stride 1, 17 blocks, 1x1 to 1280 channels, mean, linear.
All pictures must have one size. Training can be interrupted at any moment: after --resume it gives the same bits.

Exit status: 0 done; 2 the arguments, the data or a file can't be used, or the loss is no longer finite.";

/// How the 1x1 convolutions are grouped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Conv {
    /// Not at all.
    Dense,
    /// Standard groups.
    Group,
    /// Standard groups with a channel shuffle.
    GroupShuffle,
    /// Learned groups.
    Flgc,
}

/// How the gradient passes the one-hot step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum EstimatorChoice {
    /// Over the whole row.
    Row,
    /// Only at the chosen entry.
    Chosen,
}

/// Where logits start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StartChoice {
    /// Even groups, dealt out in turn.
    Balanced,
    /// Even groups, dealt out in random order.
    Scattered,
    /// Groups of random sizes.
    Random,
}

/// Optimiser of logits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum RuleChoice {
    /// With the momentum of the weights.
    Sgd,
    /// Adam.
    Adam,
}

/// Type of the model's weights.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum DTypeChoice {
    /// 32 bits.
    F32,
    /// IEEE half precision.
    F16,
    /// The upper half of an f32.
    Bf16,
}

fn number(text: &str, holds: fn(f64) -> bool, expected: &str) -> Result<f64, String> {
    let number = text.parse().ok().filter(|&number: &f64| number.is_finite() && holds(number));
    number.ok_or_else(|| format!("expected {expected}"))
}

fn positive(text: &str) -> Result<f64, String> {
    number(text, |number| number > 0.0, "a number above 0")
}

fn not_negative(text: &str) -> Result<f64, String> {
    number(text, |number| number >= 0.0, "a number of at least 0")
}

fn below_one(text: &str) -> Result<f64, String> {
    number(text, |number| (0.0..1.0).contains(&number), "a number from 0 to below 1")
}

/// Largest width: a larger one is a slip of a finger.
const MAX_WIDTH: f64 = 16.0;
/// Most epochs, for the same reason.
const MAX_EPOCHS: u64 = 1_000_000;

impl Args {
    /// The settings for that data.
    ///
    /// # Errors
    /// If options do not fit the data or each other.
    pub fn settings(&self, data: &Data) -> Result<Settings, String> {
        let three = |name: &str, values: &[f64]| {
            <[f64; 3]>::try_from(values).map_err(|_| format!("--{name}: found {} numbers, expected 3", values.len()))
        };
        let (batch, pictures) = (self.batch.get(), data.train.len());
        let (mean, std) = (three("mean", &self.mean)?, three("std", &self.std)?);
        let expect = |holds: bool, message: String| if holds { Ok(()) } else { Err(message) };
        expect(batch % LANES == 0, format!("--batch: found {batch}, expected a multiple of {LANES}"))?;
        expect(
            batch <= pictures,
            format!("--batch: found {batch}, expected at most the {pictures} training pictures"),
        )?;
        expect(
            std.iter().all(|&std| std > 0.0 && std.is_finite()),
            format!("--std: found {std:?}, expected numbers above 0"),
        )?;
        expect(mean.iter().all(|mean| mean.is_finite()), format!("--mean: found {mean:?}, expected finite numbers"))?;
        expect(self.width <= MAX_WIDTH, format!("--width: found {}, expected at most {MAX_WIDTH}", self.width))?;
        if let Some(start) = self.start_width {
            let message = format!("--start-width: found {start}, expected at most the {} of --width", self.width);
            expect(start <= self.width, message)?;
        }
        let groups = self.groups.get();
        let widest = mobilenet::widest(self.width);
        expect(
            groups <= widest,
            format!("--groups: found {groups}, expected at most the {widest} channels of the widest layer"),
        )?;
        let (h, w) = (data.train.height(), data.train.width());
        expect(
            self.crop <= h.min(w),
            format!("--crop: found {}, expected at most the {} pixels of a picture", self.crop, h.min(w)),
        )?;
        expect(
            self.cutout <= h.min(w),
            format!("--cutout: found {}, expected at most the {} pixels of a picture", self.cutout, h.min(w)),
        )?;
        let epochs = self.epochs.get() as u64;
        expect(epochs <= MAX_EPOCHS, format!("--epochs: found {epochs}, expected at most {MAX_EPOCHS}"))?;
        let from = self.fix_groups_from.map_or(1, NonZeroUsize::get) as u64;
        expect(
            from <= epochs,
            format!("--fix-groups-from: found epoch {from}, expected at most the {epochs} of the training"),
        )?;
        expect(
            self.average <= epochs,
            format!("--average: found {} epochs, expected at most the {epochs} of the training", self.average),
        )?;
        let first = epochs - self.average + 1;
        let fixed = self.fix_groups_from.is_some_and(|from| from.get() as u64 <= first);
        expect(
            self.average == 0 || self.conv != Conv::Flgc || fixed,
            format!(
                "--average: found groups that are learned in epoch {first}, expected fixed ones: the mean of weights of other groups means nothing (add --fix-groups-from {first})"
            ),
        )?;
        let steps = (pictures / batch) as u64 * self.epochs.get() as u64;
        expect(
            self.warmup <= steps,
            format!("--warmup: found {} steps, expected at most the {steps} of the training", self.warmup),
        )?;
        let scale = self.logit_scale.unwrap_or(if self.logit_start == StartChoice::Random { 1.0 } else { 0.1 });
        Ok(Settings {
            conv: match self.conv {
                Conv::Dense => Grouping::Dense,
                Conv::Group => Grouping::Group,
                Conv::GroupShuffle => Grouping::GroupShuffle,
                Conv::Flgc => Grouping::Flgc,
            },
            groups,
            width: self.width,
            estimator: match self.estimator {
                EstimatorChoice::Row => Estimator::Row,
                EstimatorChoice::Chosen => Estimator::Chosen,
            },
            start: match self.logit_start {
                StartChoice::Balanced => Start::Balanced { scale },
                StartChoice::Scattered => Start::Scattered { scale },
                StartChoice::Random => Start::Random { scale },
            },
            fix_groups_from: self.fix_groups_from.map(|epoch| epoch.get() as u64),
            epochs: self.epochs.get() as u64,
            batch,
            rate: self.lr,
            sgd: Sgd { momentum: self.momentum, decay: self.weight_decay },
            logits: Logits {
                rule: match self.logit_optimizer {
                    RuleChoice::Sgd => LogitRule::Sgd,
                    RuleChoice::Adam => LogitRule::Adam,
                },
                rate: self.logit_lr,
                decay: self.logit_decay,
            },
            warm_up: self.warmup,
            smoothing: self.label_smoothing,
            crop: self.crop,
            flip: !self.no_flip,
            cutout: (self.cutout > 0).then_some(self.cutout),
            average: (self.average > 0).then_some(self.average),
            mean,
            std,
            seed: self.seed,
            size: [h, w],
            classes: data.train.classes().to_vec(),
            train_data: data.train.fingerprint(),
            test_data: data.test.fingerprint(),
            from: self.start_from.as_deref().map(fingerprint).transpose()?,
            from_width: self.start_width.filter(|&width| width != self.width),
        })
    }
}

/// The checksum of what a training starts from.
fn fingerprint(path: &Path) -> Result<u32, String> {
    if restore::is_model(path) {
        restore::fingerprint(path).map_err(|error| error.to_string())
    } else {
        checkpoint::fingerprint(path).map_err(|error| error.to_string())
    }
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            note(&message);
            ExitCode::from(2)
        }
    }
}

/// A line on standard error. That nobody can read it is no reason to stop.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "{NAME}: {text}");
}

fn run(args: &Args) -> Result<(), String> {
    let mut pool = rayon::ThreadPoolBuilder::new();
    if let Some(threads) = args.threads {
        pool = pool.num_threads(threads.get());
    }
    let pool = pool.build().map_err(|error| format!("--threads: {error}"))?;
    pool.install(|| {
        let data = Data::open(&args.data, None).map_err(|error| error.to_string())?;
        for skipped in &data.skipped {
            note(&format!("left out {skipped}"));
        }
        note(&format!(
            "{} training and {} test pictures of {} classes, {}x{}; {} left out",
            data.train.len(),
            data.test.len(),
            data.train.classes().len(),
            data.train.height(),
            data.train.width(),
            data.skipped.len()
        ));
        let job = Job {
            settings: args.settings(&data)?,
            output: args.output.clone(),
            dtype: match args.dtype {
                DTypeChoice::F32 => DType::F32,
                DTypeChoice::F16 => DType::F16,
                DTypeChoice::Bf16 => DType::BF16,
            },
            run: args.run.clone().unwrap_or_else(|| default_run(&args.output)),
            resume: args.resume,
            start_from: args.start_from.clone(),
            command: std::env::args().collect::<Vec<_>>().join(" "),
        };
        train(&job, data, &note).map_err(|error| error.to_string())?;
        note(&format!("wrote {} and {}", job.output.display(), job.run.join("report.html").display()));
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn arguments_are_consistent() {
        Args::command().debug_assert();
    }
}
