//! What an epoch came to.

use serde::{Deserialize, Serialize};

/// Figures of one epoch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Epoch {
    /// Its number; the first is 1.
    pub epoch: usize,
    /// Learning rate of its last step.
    pub learning_rate: f64,
    /// Mean loss over its steps, as trained: augmented pictures, label smoothing.
    pub train_loss: f64,
    /// Share of training pictures that were classified rightly during the steps, from 0 to 1.
    pub train_accuracy: f64,
    /// Mean cross-entropy on the test pictures.
    pub test_loss: f64,
    /// Share of test pictures that are classified rightly, from 0 to 1.
    pub test_accuracy: f64,
    /// Time of the epoch's steps, without the test.
    pub seconds: f64,
    /// Channels that changed their group in this epoch.
    pub moved_channels: usize,
    /// Filters that changed their group in this epoch.
    pub moved_filters: usize,
    /// Share of channels and filters whose group differs from the start, from 0 to 1.
    pub moved_from_start: f64,
    /// Groups without channels or without filters.
    pub empty_groups: usize,
    /// The groups of each grouped layer after this epoch.
    pub layers: Vec<LayerGroups>,
}

/// Sizes of the groups of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LayerGroups {
    /// Name of the layer.
    pub name: String,
    /// Channels of each group.
    pub channels: Vec<usize>,
    /// Filters of each group.
    pub filters: Vec<usize>,
}
