//! Everything that decides what a training computes.

use crate::{
    nn::{
        groups::{Estimator, Start},
        mobilenet::{Config, Grouping},
    },
    optim::{Logits, Sgd},
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// What decides the result of a training. Two trainings with the same settings give the same bits on the same machine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Settings {
    /// How the 1x1 convolutions are grouped.
    pub conv: Grouping,
    /// Groups of each.
    pub groups: usize,
    /// Factor of all numbers of channels.
    pub width: f64,
    /// How the gradient passes the one-hot step.
    pub estimator: Estimator,
    /// Where logits start.
    pub start: Start,
    /// Groups are fixed from this epoch on; 1: from the start.
    pub fix_groups_from: Option<u64>,
    /// How many epochs.
    pub epochs: u64,
    /// Pictures of a step.
    pub batch: usize,
    /// Learning rate of weights, before the schedule's factor.
    pub rate: f64,
    /// The result is the mean of the weights after each of so many last epochs, in which the learning rate stays where it is.
    #[serde(default)]
    pub average: Option<u64>,
    /// Rules for weights.
    pub sgd: Sgd,
    /// Rules for logits.
    pub logits: Logits,
    /// Steps in which the learning rate rises.
    pub warm_up: u64,
    /// Share of a label that goes to all classes.
    pub smoothing: f64,
    /// Pictures are shifted by up to this many pixels.
    pub crop: usize,
    /// Half of the pictures are flipped.
    pub flip: bool,
    /// Side in pixels of a square of each picture that is cut out.
    #[serde(default)]
    pub cutout: Option<usize>,
    /// Subtracted from each channel, whose values run from 0 to 1.
    pub mean: [f64; 3],
    /// Divides each channel.
    pub std: [f64; 3],
    /// Seed of weights, logits, order and augmentation.
    pub seed: u64,
    /// Rows and columns of the pictures.
    pub size: [usize; 2],
    /// Names of the classes.
    pub classes: Vec<String>,
    /// CRC-32C of the training pictures and their classes.
    pub train_data: u32,
    /// CRC-32C of the test pictures and their classes.
    pub test_data: u32,
    /// CRC-32C of the numbers of another training's checkpoint, or of the model, from which this one starts.
    #[serde(default)]
    pub from: Option<u32>,
    /// The width of that network, if it is another.
    #[serde(default)]
    pub from_width: Option<f64>,
}

impl Settings {
    /// The network.
    #[must_use]
    pub fn network(&self) -> Config {
        Config {
            width: self.width,
            size: self.size,
            classes: self.classes.len(),
            grouping: self.conv,
            groups: self.groups,
            start: self.start,
            estimator: self.estimator,
            seed: self.seed,
        }
    }

    /// Those of the training from which this one starts, as far as they describe its network.
    #[must_use]
    pub fn of_start(&self) -> Self {
        Self { width: self.from_width.unwrap_or(self.width), ..self.clone() }
    }

    /// Whether logits are learned in epoch `epoch`; the first is 1.
    #[must_use]
    pub fn learns_groups(&self, epoch: u64) -> bool {
        self.conv == Grouping::Flgc && self.fix_groups_from.is_none_or(|from| epoch < from)
    }

    /// Which of the epochs whose weights are averaged epoch `epoch` is; the first of either is 1. 0 if it is none.
    #[must_use]
    pub fn averaged(&self, epoch: u64) -> u64 {
        epoch.saturating_sub(self.falling())
    }

    /// The number of epochs before them, in which the learning rate falls.
    #[must_use]
    pub fn falling(&self) -> u64 {
        self.epochs - self.average.unwrap_or(0).min(self.epochs)
    }

    /// How other settings, given as JSON, differ: `groups: found 4, expected 8`.
    #[must_use]
    pub fn differences(&self, other: &Value) -> Vec<String> {
        self.differences_in(other, |_| true)
    }

    /// As [`Settings::differences`], of what makes the network another one.
    #[must_use]
    pub fn network_differences(&self, other: &Value) -> Vec<String> {
        self.differences_in(other, |name| ["conv", "groups", "width", "size", "classes"].contains(&name))
    }

    fn differences_in(&self, other: &Value, matters: impl Fn(&str) -> bool) -> Vec<String> {
        let own = serde_json::to_value(self).unwrap_or_default();
        let missing = Value::Null;
        let names = own.as_object().into_iter().flatten().filter(|(name, _)| matters(name));
        let differences = names.filter_map(|(name, expected)| {
            let found = other.get(name).unwrap_or(&missing);
            (found != expected).then(|| format!("{name}: found {found}, expected {expected}"))
        });
        differences.collect()
    }
}
