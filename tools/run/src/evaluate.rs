//! Accuracy over a folder that holds a folder of pictures for each class: `flgc-run MODEL --evaluate DIR`.

use crate::{
    answers,
    classify::{Answer, Classifier},
    cli,
    cli::{Format, RunArgs},
    inputs,
    status::{Status, Stop, note},
};
use flgc::{Model, Options};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// How far down the ranking a picture may stand to count for `top5`.
const TOP: usize = 5;

#[derive(Serialize)]
struct Accuracy {
    images: u64,
    top1: f64,
    top5: f64,
}

/// `flgc-run MODEL --evaluate DIR`
///
/// # Errors
/// If the model can't be used, a folder is named by no label, there is no picture, or the answer can't be written.
pub fn run(args: &RunArgs, folder: &Path, model: Model, options: Options) -> Result<Status, Stop> {
    let classifier = Classifier::new(model, options, args.output_name.as_deref())?;
    let classes = classes(folder, classifier.labels())?;
    let mut team = classifier.team(args.threads)?;
    let files = || classes.iter().flat_map(|(path, label)| inputs::walk(path).map(|file| (file, *label)));
    let bar = ProgressBar::no_length();
    if !bar.is_hidden() {
        // On a terminal. Counting first costs little beside decoding.
        bar.set_length(files().count() as u64);
        bar.set_style(ProgressStyle::default_bar());
    }
    let (mut images, mut top1, mut top5) = (0u64, 0u64, 0u64);
    let mut status = Status::Done;
    let sink = |Answer { path, result }: Answer<usize>| {
        match result {
            Ok(rank) => {
                images += 1;
                top1 += u64::from(rank < 1);
                top5 += u64::from(rank < TOP);
            }
            Err(message) => {
                bar.suspend(|| note(cli::RUN, format_args!("{}: {message}", path.display())));
                status = Status::SomeFailed;
            }
        }
        bar.inc(1);
        Ok(())
    };
    team.scores(files(), |scores, label| scores.rank(label), sink)?;
    bar.finish_and_clear();
    if images == 0 {
        return Err(failed(folder, "no picture that can be read, expected at least one"));
    }
    let share = |count: u64| count as f64 / images as f64;
    let accuracy = Accuracy { images, top1: share(top1), top5: share(top5) };
    answers::print(&accuracy.to_text(args.format))?;
    Ok(status)
}

fn failed(folder: &Path, found: &str) -> Stop {
    Stop::InputFailed(format!("{}: found {found}", folder.display()))
}

/// The folders in `folder`, in order of names, each with the index of its label.
fn classes(folder: &Path, labels: &[String]) -> Result<Vec<(PathBuf, usize)>, Stop> {
    if labels.is_empty() {
        return Err(Stop::Unusable(
            "--evaluate: found no labels in the model for this output, expected one for each class".to_owned(),
        ));
    }
    let (mut classes, mut others) = (Vec::new(), 0);
    let read = |error: io::Error| Stop::InputFailed(format!("{}: {error}", folder.display()));
    for entry in fs::read_dir(folder).map_err(read)? {
        let entry = entry.map_err(read)?;
        let (path, name) = (entry.path(), entry.file_name());
        if name.as_encoded_bytes().starts_with(b".") {
            continue;
        }
        if !path.is_dir() {
            others += 1;
            continue;
        }
        let Some(label) = labels.iter().position(|label| name == *label.as_str()) else {
            let expected = format!("one of the labels, {}", labels.join(", "));
            return Err(Stop::Unusable(format!(
                "{}: found a folder of that name, expected {expected}",
                path.display()
            )));
        };
        classes.push((path, label));
    }
    if others > 0 {
        note(cli::RUN, format_args!("{}: {others} files beside the folders are left out", folder.display()));
    }
    if classes.is_empty() {
        return Err(failed(folder, "no folders, expected one for each class, named by its label"));
    }
    classes.sort();
    Ok(classes)
}

impl Accuracy {
    fn to_text(&self, format: Format) -> String {
        let Self { images, top1, top5 } = self;
        match format {
            Format::Text => format!("images  {images}\ntop-1   {:.2} %\ntop-5   {:.2} %\n", top1 * 100.0, top5 * 100.0),
            Format::Json => {
                let json = serde_json::to_string(self).unwrap_or_else(|error| unreachable!("three numbers: {error}"));
                json + "\n"
            }
            Format::Csv => format!("images,top1,top5\n{images},{top1},{top5}\n"),
        }
    }
}
