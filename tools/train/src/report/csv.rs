//! Tables for other programs.

use crate::metrics::Epoch;
use csv::Writer;
use std::io;

pub(super) fn metrics(epochs: &[Epoch]) -> io::Result<Vec<u8>> {
    let mut table = Writer::from_writer(Vec::new());
    table.write_record([
        "epoch",
        "learning_rate",
        "train_loss",
        "train_accuracy",
        "test_loss",
        "test_accuracy",
        "seconds",
        "moved_channels",
        "moved_filters",
        "moved_from_start",
        "empty_groups",
    ])?;
    for epoch in epochs {
        // Names every field: a new one needs a column.
        let Epoch {
            epoch,
            learning_rate,
            train_loss,
            train_accuracy,
            test_loss,
            test_accuracy,
            seconds,
            moved_channels,
            moved_filters,
            moved_from_start,
            empty_groups,
            layers: _,
        } = epoch;
        table.serialize((
            epoch,
            learning_rate,
            train_loss,
            train_accuracy,
            test_loss,
            test_accuracy,
            seconds,
            moved_channels,
            moved_filters,
            moved_from_start,
            empty_groups,
        ))?;
    }
    finish(table)
}

pub(super) fn groups(epochs: &[Epoch]) -> io::Result<Vec<u8>> {
    let mut table = Writer::from_writer(Vec::new());
    table.write_record(["epoch", "layer", "group", "channels", "filters"])?;
    for epoch in epochs {
        for layer in &epoch.layers {
            for (group, (channels, filters)) in layer.channels.iter().zip(&layer.filters).enumerate() {
                table.serialize((epoch.epoch, &layer.name, group, channels, filters))?;
            }
        }
    }
    finish(table)
}

fn finish(table: Writer<Vec<u8>>) -> io::Result<Vec<u8>> {
    table.into_inner().map_err(csv::IntoInnerError::into_error)
}
