//! The arguments of `flgc-import`.

use crate::{ImportError, Imported, Options, import_file};
use clap::{Parser, ValueEnum};
use flgc::model::{
    DType,
    graph::{Channels, Fit, Image},
};
use flgc_run::{
    answers,
    status::{Status, Stop, finish, note},
};
use std::{fs, path::PathBuf, process::ExitCode};

/// The name of the program.
pub const NAME: &str = "flgc-import";

/// Turn an ONNX network into an flgc model, and find the channel groups in it.
#[derive(Debug, Parser)]
#[command(name = NAME, version, after_help = AFTER_HELP, allow_negative_numbers = true)]
pub struct Args {
    /// The network, an ONNX file
    pub input: PathBuf,

    /// The model to write
    #[arg(short, long, value_name = "OUT.flgc")]
    pub output: PathBuf,

    /// Store weights in half precision
    #[arg(long, conflicts_with = "bf16")]
    pub f16: bool,

    /// Store weights as the upper halves of floats
    #[arg(long)]
    pub bf16: bool,

    /// Names of the classes, a line each
    #[arg(long, value_name = "FILE")]
    pub labels: Option<PathBuf>,

    /// Subtracted from each channel of a picture, whose pixels run from 0 to 1
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub mean: Vec<f64>,

    /// Divides each channel of a picture, after the mean
    #[arg(long, value_name = "R,G,B", value_delimiter = ',')]
    pub std: Vec<f64>,

    /// Factor of the pixel values 0 to 255, before the mean [default: 1/255]
    #[arg(long, value_name = "X")]
    pub scale: Option<f64>,

    /// The order of a picture's channels
    #[arg(long, value_enum)]
    pub channels: Option<Order>,

    /// Bring the shorter side of a picture to N pixels, then cut the middle out
    #[arg(long, value_name = "N", requires = "crop")]
    pub resize: Option<usize>,

    /// Cut N x N pixels out of the middle: the size of the input
    #[arg(long, value_name = "N")]
    pub crop: Option<usize>,

    /// Sizes of an input that the file leaves open; the name may be left out if there is one input
    #[arg(long, value_name = "[NAME=]N,C,H,W")]
    pub input_shape: Vec<String>,

    /// Say what was found in each layer, on standard output
    #[arg(long, value_enum, value_name = "FORMAT", num_args = 0..=1, default_missing_value = "text")]
    pub report: Option<Format>,
}

const AFTER_HELP: &str = "\
Pictures: with none of --mean, --std, --scale, --channels, --resize and --crop the model says nothing about pictures and takes tensors only.
Exit status: 0 the model is written; 2 it is not.";

/// The order of a picture's channels.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Order {
    /// Red, green, blue
    Rgb,
    /// Blue, green, red
    Bgr,
    /// Luma
    Grey,
}

/// The form of a report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A table
    Text,
    /// One JSON object
    Json,
}

/// The program.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    finish(NAME, run(&args))
}

fn run(args: &Args) -> Result<Status, Stop> {
    let unusable = |error: ImportError| Stop::Unusable(format!("{}: {error}", args.input.display()));
    let options = options(args)?;
    let Imported { model, report } = import_file(&args.input, &options).map_err(|error| match error {
        error @ ImportError::Io { .. } => Stop::Unusable(error.to_string()),
        error => unusable(error),
    })?;
    model.save(&args.output)?;
    let share = 100.0 * report.macs as f64 / report.macs_before.max(1) as f64;
    note(
        NAME,
        format_args!(
            "wrote {}: {} of {} multiply-adds ({share:.1} %), {} parameters, {} steps that only move data",
            args.output.display(),
            report.macs,
            report.macs_before,
            report.parameters,
            report.moves.len()
        ),
    );
    match args.report {
        None => {}
        Some(Format::Text) => answers::print(&report.to_string())?,
        Some(Format::Json) => {
            let json = serde_json::to_string(&report).map_err(|error| Stop::Unusable(error.to_string()))?;
            answers::print(&(json + "\n"))?;
        }
    }
    Ok(Status::Done)
}

fn options(args: &Args) -> Result<Options, Stop> {
    let mut options = Options {
        dtype: match (args.f16, args.bf16) {
            (true, _) => DType::F16,
            (_, true) => DType::BF16,
            _ => DType::F32,
        },
        ..Options::default()
    };
    if let Some(path) = &args.labels {
        let text = fs::read_to_string(path).map_err(|error| Stop::Unusable(format!("{}: {error}", path.display())))?;
        options.labels = text.lines().map(str::to_owned).collect();
    }
    options.image = image(args);
    options.input_shapes = args.input_shape.iter().map(input_shape).collect::<Result<_, _>>()?;
    options.crop = args.crop;
    Ok(options)
}

/// How pictures become the input, if anything is said of that.
fn image(args: &Args) -> Option<Image> {
    let said = !args.mean.is_empty()
        || !args.std.is_empty()
        || args.scale.is_some()
        || args.channels.is_some()
        || args.crop.is_some();
    said.then(|| Image {
        channels: match args.channels {
            None | Some(Order::Rgb) => Channels::Rgb,
            Some(Order::Bgr) => Channels::Bgr,
            Some(Order::Grey) => Channels::Grey,
        },
        scale: args.scale.unwrap_or(1.0 / 255.0),
        mean: args.mean.clone(),
        std: args.std.clone(),
        fit: if args.crop.is_some() { Fit::Crop } else { Fit::Stretch },
        resize: args.resize,
    })
}

/// The name and the sizes of `[NAME=]N,C,H,W`.
fn input_shape(text: &String) -> Result<(Option<String>, Vec<usize>), Stop> {
    let (name, sizes) = text.rsplit_once('=').map_or((None, text.as_str()), |(name, sizes)| (Some(name), sizes));
    let shape: Result<Vec<usize>, _> = sizes.split(',').map(|size| size.trim().parse()).collect();
    let shape = shape.map_err(|_| {
        Stop::Unusable(format!("--input-shape {text}: found {sizes:?}, expected numbers with commas between them"))
    })?;
    Ok((name.map(str::to_owned), shape))
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
