//! The training loop.

use crate::{
    average::Average,
    checkpoint::{self, CheckpointError, State},
    data::batches::{self, Augment, Batch, LANES, Normalise},
    data::{Data, Dataset},
    export,
    metrics::{Epoch, LayerGroups},
    nn::{
        Kind, Score,
        groups::{Assignment, HEAD_START, Start},
        mobilenet::{Grouping, MobileNet},
        widen,
    },
    optim,
    progress::{Progress, clock},
    report::{self, Page, ReportError},
    restore::{self, RestoreError},
    settings::Settings,
};
use flgc::{ModelError, Options, Plan, PlanError, model::DType};
use flgc_run::file;
use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::Arc,
    time::Instant,
};

/// A training to be done.
#[derive(Debug)]
pub struct Job {
    /// What it computes.
    pub settings: Settings,
    /// The model to write.
    pub output: PathBuf,
    /// Type of the model's weights.
    pub dtype: DType,
    /// The folder for the checkpoint, the figures and the page.
    pub run: PathBuf,
    /// Go on from the checkpoint in `run`, if there is one.
    pub resume: bool,
    /// The checkpoint or model whose weights and groups it starts from, unless it goes on.
    pub start_from: Option<PathBuf>,
    /// The command, for the page.
    pub command: String,
}

/// Why a training stops before its end.
#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    /// The folder of the run can't be made.
    #[error("{}: {source}", path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// What happened.
        source: io::Error,
    },
    /// A checkpoint is there that would be lost.
    #[error("{}: found the checkpoint of an earlier training: add --resume to go on with it, delete it, or give another folder with --run", path.display())]
    Exists {
        /// The checkpoint.
        path: PathBuf,
    },
    /// The checkpoint can't be used.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The model to start from can't be used.
    #[error(transparent)]
    Restore(#[from] RestoreError),
    /// The network to start from can't become as wide.
    #[error("{}: it can't grow from --start-width {from} to --width {to}: {message}", path.display())]
    Widen {
        /// The checkpoint or model.
        path: PathBuf,
        /// Its width.
        from: f64,
        /// The width asked for.
        to: f64,
        /// Why.
        message: String,
    },
    /// The figures can't be written.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// The model can't be written.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The model can't be planned.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// Training has come apart where the loss does not show it.
    #[error(
        "found {value} in {list} after epoch {epoch}, expected finite numbers: {kept}; try smaller rates and decays (--lr, --logit-lr, --logit-decay), or a smaller --logit-scale"
    )]
    NotFiniteState {
        /// The number.
        value: f32,
        /// Where it is.
        list: String,
        /// The epoch; the first is 1.
        epoch: u64,
        /// What is left of the training.
        kept: String,
    },
    /// Training has come apart.
    #[error(
        "found a loss of {loss} at step {step} of epoch {epoch}, expected a finite one: {kept}; try a smaller learning rate (--lr), or a longer --warmup"
    )]
    NotFinite {
        /// The loss.
        loss: f64,
        /// The epoch; the first is 1.
        epoch: u64,
        /// The step in it; the first is 1.
        step: usize,
        /// What is left of the training.
        kept: String,
    },
}

/// Batches after which nothing is left in running statistics of what they were before: each leaves nine tenths.
const RENEWAL: usize = 100;

/// Name of the checkpoint in the folder of a run.
pub const CHECKPOINT: &str = "checkpoint.safetensors";

/// Trains on the current rayon pool and writes the model; after each epoch a checkpoint, the figures, the page and the model so far. `note` takes lines
/// for people. Returns the figures of all epochs.
///
/// # Errors
/// If files can't be read or written, or the loss is no longer finite. What was written before stays.
pub fn train(job: &Job, data: Data, note: &dyn Fn(&str)) -> Result<Vec<Epoch>, TrainError> {
    let Job { settings, run, .. } = job;
    fs::create_dir_all(run).map_err(|source| TrainError::Folder { path: run.clone(), source })?;
    let checkpoint = run.join(CHECKPOINT);
    remove_unfinished(run);
    let mut network = MobileNet::<f32>::new(&settings.network());
    let (train, test) = (Arc::new(data.train), Arc::new(data.test));
    let is_there = checkpoint.try_exists().map_err(|source| TrainError::Folder { path: checkpoint.clone(), source })?;
    let (mut state, mut average) = match (is_there, job.resume) {
        (true, false) => return Err(TrainError::Exists { path: checkpoint }),
        (true, true) => checkpoint::load(&checkpoint, settings, &mut network)?,
        (false, _) => {
            if let Some(from) = &job.start_from {
                start_from(from, settings, &train, &mut network)?;
            }
            let mut state = State::default();
            state.set_start(network.assignments().map(|(_, assignment)| assignment));
            (state, Average::default())
        }
    };
    if let Some(last) = state.epochs.last() {
        note(&format!("goes on after epoch {} of {}", last.epoch, settings.epochs));
    }
    check_output(job, &network)?;
    for epoch in state.epochs.len() as u64 + 1..=settings.epochs {
        let record = run_epoch((&mut network, &mut average), settings, (&train, &test), epoch, &state)?;
        check_state(&mut network, epoch)?;
        note(&summary(&record, settings));
        state.epochs.push(record);
        checkpoint::save(&checkpoint, settings, &state, &mut network, &average)?;
        average.with(&mut network, |network| write_results(job, network, &state.epochs))?;
    }
    average.with(&mut network, |network| write_results(job, network, &state.epochs))?;
    Ok(state.epochs)
}

/// Removes what an interrupted write has left in the folder of a run.
fn remove_unfinished(run: &Path) {
    let entries = fs::read_dir(run).into_iter().flatten().flatten();
    for entry in entries.filter(|entry| entry.file_name().to_string_lossy().starts_with(file::PREFIX)) {
        // It is only in the way of nobody.
        let _ = fs::remove_file(entry.path());
    }
}

/// Whether there will be a model in the end: what can be known before an epoch is spent on it.
fn check_output(job: &Job, network: &MobileNet<f32>) -> Result<(), TrainError> {
    Plan::new(&export::model(network, &job.settings, job.dtype)?, &Options::default())?;
    let folder = job.output.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let missing = |source| TrainError::Folder { path: folder.to_owned(), source };
    match fs::metadata(folder).map_err(missing)?.is_dir() {
        true => Ok(()),
        false => Err(missing(io::ErrorKind::NotADirectory.into())),
    }
}

/// Whether all numbers are finite: the loss does not show those of logits, which only say which is the largest.
fn check_state(network: &mut MobileNet<f32>, epoch: u64) -> Result<(), TrainError> {
    for (name, list) in checkpoint::lists(network) {
        if let Some(&value) = list.iter().find(|value| !value.is_finite()) {
            return Err(TrainError::NotFiniteState { value, list: name, epoch, kept: kept(epoch) });
        }
    }
    Ok(())
}

/// What is left of a training that stops in this epoch.
fn kept(epoch: u64) -> String {
    match epoch {
        1 => "no epoch was finished".to_owned(),
        _ => format!("the checkpoint of epoch {} is kept", epoch - 1),
    }
}

/// Brings a fresh network to where another training of it, or of a narrower one, has come.
fn start_from(
    from: &Path,
    settings: &Settings,
    train: &Arc<Dataset>,
    network: &mut MobileNet<f32>,
) -> Result<(), TrainError> {
    let of_start = settings.of_start();
    let mut narrow = (of_start.width != settings.width).then(|| MobileNet::new(&of_start.network()));
    let start = narrow.as_mut().unwrap_or(network);
    if restore::is_model(from) {
        restore::restore(from, start)?;
        let batches = some_batches(settings, train, Augment::none(), 1).map(|batch| batch.parts);
        restore::take_statistics(start, settings.size, batches);
    } else {
        checkpoint::start_from(from, &of_start, start)?;
    }
    let Some(narrow) = narrow else { return Ok(()) };
    let widths = (of_start.width, settings.width);
    widen(&narrow, network, settings.seed).map_err(|message| TrainError::Widen {
        path: from.to_owned(),
        from: widths.0,
        to: widths.1,
        message,
    })
}

/// As many batches of training pictures as decide running statistics, from this epoch's order on.
fn some_batches(
    settings: &Settings,
    train: &Arc<Dataset>,
    augment: Augment,
    epoch: u64,
) -> impl Iterator<Item = Batch> {
    let normalise = Normalise { mean: settings.mean, std: settings.std };
    let epochs = (epoch..)
        .flat_map(move |epoch| batches::epoch(train.clone(), normalise, augment, settings.batch, settings.seed, epoch));
    epochs.take(RENEWAL)
}

/// The model, the figures and the page.
fn write_results(job: &Job, network: &MobileNet<f32>, epochs: &[Epoch]) -> Result<(), TrainError> {
    let model = export::model(network, &job.settings, job.dtype)?;
    let plan = Plan::new(&model, &Options::default())?;
    let cost = plan.report();
    let mut facts = facts(job);
    facts.push(("multiply-adds".to_owned(), cost.macs.to_string()));
    facts.push(("parameters".to_owned(), cost.parameters.to_string()));
    let title = job.output.file_stem().map_or_else(|| "training".into(), |stem| stem.to_string_lossy());
    let in_run = |name: &str| job.run.join(name);
    report::write_metrics(in_run("metrics.csv"), epochs)?;
    report::write_groups(in_run("groups.csv"), epochs)?;
    report::write_curve(in_run("accuracy.svg"), epochs)?;
    report::write_html(in_run("report.html"), &Page { title: &title, facts: &facts, epochs })?;
    model.save(&job.output)?;
    Ok(())
}

fn facts(job: &Job) -> Vec<(String, String)> {
    let settings = &job.settings;
    let mut facts = vec![
        ("command", job.command.clone()),
        (
            "network",
            format!(
                "MobileNetV2, width {}, 1x1 convolutions: {}, {} groups",
                settings.width,
                text(settings.conv),
                settings.groups
            ),
        ),
        ("classes", settings.classes.join(", ")),
        ("pictures", format!("{}x{}, batch {}", settings.size[0], settings.size[1], settings.batch)),
        (
            "learning rate",
            format!(
                "{}, {} steps up, then a cosine down to 0{}",
                settings.rate,
                settings.warm_up,
                settings.average.map_or_else(String::new, |epochs| format!(", constant in the last {epochs} epochs"))
            ),
        ),
        ("weights", format!("momentum {}, decay {}", settings.sgd.momentum, settings.sgd.decay)),
        (
            "mean of weights",
            settings.average.map_or_else(|| "none".to_owned(), |epochs| format!("of the last {epochs} epochs")),
        ),
        ("label smoothing", settings.smoothing.to_string()),
        (
            "augmentation",
            format!(
                "shifts of up to {} pixels{}{}",
                settings.crop,
                if settings.flip { ", flips" } else { "" },
                settings.cutout.map_or_else(String::new, |side| format!(", a square of {side}x{side} cut out"))
            ),
        ),
        ("seed", settings.seed.to_string()),
    ];
    if settings.conv == Grouping::Flgc {
        let start = match settings.start {
            Start::Random { scale } => format!("random, {scale} N(0, 1)"),
            Start::Balanced { scale } => format!("balanced, {HEAD_START} + {scale} N(0, 1)"),
            Start::Scattered { scale } => format!("scattered, {HEAD_START} + {scale} N(0, 1)"),
        };
        facts.push((
            "logits",
            format!(
                "{} at {}, decay {}; start {}; gradient: {}",
                text(settings.logits.rule),
                settings.logits.rate,
                settings.logits.decay,
                start,
                text(settings.estimator)
            ),
        ));
    }
    facts.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

/// A setting as short text.
fn text(setting: impl serde::Serialize) -> String {
    serde_json::to_string(&setting).unwrap_or_default().replace('"', "")
}

fn run_epoch(
    (network, average): (&mut MobileNet<f32>, &mut Average),
    settings: &Settings,
    (train, test): (&Arc<Dataset>, &Arc<Dataset>),
    epoch: u64,
    state: &State,
) -> Result<Epoch, TrainError> {
    let begin = Instant::now();
    let normalise = Normalise { mean: settings.mean, std: settings.std };
    let augment = Augment { crop: settings.crop, flip: settings.flip, cutout: settings.cutout.unwrap_or(0) };
    let batches = batches::epoch(train.clone(), normalise, augment, settings.batch, settings.seed, epoch);
    let steps_of_epoch = batches.len();
    let progress = Progress::new(steps_of_epoch as u64, &format!("epoch {epoch}/{}", settings.epochs))
        .pictures(settings.batch as u64);
    let not_finite = |loss: f64, step: usize| TrainError::NotFinite { loss, epoch, step, kept: kept(epoch) };
    let before: Vec<Assignment> = network.assignments().map(|(_, assignment)| assignment.clone()).collect();
    network.set_learning(settings.learns_groups(epoch));
    let (mut total, mut rate) = (Score::default(), 0.0);
    let steps = settings.epochs * steps_of_epoch as u64;
    for (index, batch) in batches.enumerate() {
        let score = network.learn(&batch.parts, &batch.labels, settings.size, settings.smoothing);
        if !score.loss.is_finite() {
            return Err(not_finite(score.loss, index + 1));
        }
        total += score;
        let step = (epoch - 1) * steps_of_epoch as u64 + index as u64;
        let last = (settings.falling() * steps_of_epoch as u64).max(settings.warm_up);
        rate = settings.rate * optim::schedule(step.min(last), settings.warm_up, steps);
        update(network, settings, rate, step, epoch);
        progress.step(&format!("loss {:.3}", total.loss / total.pictures as f64));
    }
    let seconds = begin.elapsed().as_secs_f64();
    progress.finish();
    let count = settings.averaged(epoch);
    if count > 0 {
        average.add(network, count);
    }
    let tested = average.with(network, |network| {
        if count > 0 {
            renew_statistics(network, settings, train, augment, epoch);
        }
        test_accuracy(network, settings, test, normalise)
    });
    if !tested.loss.is_finite() {
        return Err(not_finite(tested.loss, steps_of_epoch));
    }
    let now: Vec<(&str, &Assignment)> = network.assignments().collect();
    let moved = |then: &mut dyn Iterator<Item = [&Vec<usize>; 2]>| {
        now.iter().zip(then).fold([0; 2], |[channels, filters], ((_, now), [of_channel, of_filter])| {
            [channels + differing(&now.of_channel, of_channel), filters + differing(&now.of_filter, of_filter)]
        })
    };
    let [moved_channels, moved_filters] = moved(&mut before.iter().map(|then| [&then.of_channel, &then.of_filter]));
    let from_start: usize =
        moved(&mut state.start.iter().map(|[of_channel, of_filter]| [of_channel, of_filter])).iter().sum();
    let members: usize = now.iter().map(|(_, now)| now.of_channel.len() + now.of_filter.len()).sum();
    let grouped = now.iter().filter(|(_, now)| now.groups > 1);
    Ok(Epoch {
        epoch: epoch as usize,
        learning_rate: rate,
        train_loss: total.loss / total.pictures as f64,
        train_accuracy: total.right as f64 / total.pictures as f64,
        test_loss: tested.loss / tested.pictures as f64,
        test_accuracy: tested.right as f64 / tested.pictures as f64,
        seconds,
        moved_channels,
        moved_filters,
        moved_from_start: from_start as f64 / members.max(1) as f64,
        empty_groups: now.iter().map(|(_, now)| now.empty()).sum(),
        layers: grouped
            .map(|(name, now)| LayerGroups {
                name: (*name).to_owned(),
                channels: now.channels(),
                filters: now.filters(),
            })
            .collect(),
    })
}

fn differing(now: &[usize], then: &[usize]) -> usize {
    now.iter().zip(then).filter(|(now, then)| now != then).count()
}

fn update(network: &mut MobileNet<f32>, settings: &Settings, rate: f64, step: u64, epoch: u64) {
    let learns_groups = settings.learns_groups(epoch);
    let rates = [rate, rate / settings.rate * settings.logits.rate];
    for param in network.params_mut() {
        if learns_groups || param.kind != Kind::Logits {
            optim::update(param, rates, settings.sgd, settings.logits, step);
        }
    }
    network.refresh();
}

/// Brings the running statistics to those of weights that no step has come by, with training pictures that are augmented as in training: as they are, the network
/// knows them too well, and test pictures have other statistics.
fn renew_statistics(
    network: &mut MobileNet<f32>,
    settings: &Settings,
    train: &Arc<Dataset>,
    augment: Augment,
    epoch: u64,
) {
    for batch in some_batches(settings, train, augment, epoch) {
        network.forward(&batch.parts, settings.size, true);
    }
}

/// How well the test pictures are classified, with the running statistics.
fn test_accuracy(
    network: &mut MobileNet<f32>,
    settings: &Settings,
    test: &Arc<Dataset>,
    normalise: Normalise,
) -> Score {
    let mut score = Score::default();
    for Batch { mut parts, labels } in batches::in_order(test.clone(), normalise, settings.batch) {
        // The network keeps its memory for a full batch.
        let len = 3 * settings.size[0] * settings.size[1] * LANES;
        parts.resize_with(settings.batch / LANES, || vec![0.0; len]);
        score += network.test(&parts, &labels, settings.size);
    }
    score
}

fn summary(epoch: &Epoch, settings: &Settings) -> String {
    let mut line = format!(
        "epoch {}/{}: loss {:.4}, test loss {:.4}, test accuracy {:.2} %, {}",
        epoch.epoch,
        settings.epochs,
        epoch.train_loss,
        epoch.test_loss,
        epoch.test_accuracy * 100.0,
        clock(epoch.seconds)
    );
    if !epoch.layers.is_empty() {
        line += &format!(
            "; moved {} channels, {} filters ({:.1} % from the start), {} groups with an empty side",
            epoch.moved_channels,
            epoch.moved_filters,
            epoch.moved_from_start * 100.0,
            epoch.empty_groups
        );
    }
    line
}

/// The folder of a run if none is given: beside the model.
#[must_use]
pub fn default_run(output: &Path) -> PathBuf {
    output.with_extension("run")
}
