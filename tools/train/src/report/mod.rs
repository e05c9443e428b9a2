//! Writes what a training came to: CSV files and one HTML page.
//!
//! Each call writes a whole file anew beside the old one and then takes its place: whatever fails, the old report stays.

mod chart;
mod csv;
mod html;

use crate::metrics::Epoch;
use flgc_run::file;
use std::{
    io,
    path::{Path, PathBuf},
};

/// A report can't be written; the file is then as it was.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", path.display())]
pub struct ReportError {
    /// The report.
    pub path: PathBuf,
    /// What went wrong.
    pub source: io::Error,
}

/// What the HTML page tells.
#[derive(Clone, Copy, Debug)]
pub struct Page<'a> {
    /// Its heading.
    pub title: &'a str,
    /// Names and values of settings: data, command, seed, multiply-adds.
    pub facts: &'a [(String, String)],
    /// The epochs so far, in order.
    pub epochs: &'a [Epoch],
}

/// Writes a CSV file with a header and the figures of each epoch, without its groups.
///
/// # Errors
/// If it can't be written.
pub fn write_metrics(path: impl AsRef<Path>, epochs: &[Epoch]) -> Result<(), ReportError> {
    replace(path.as_ref(), || csv::metrics(epochs))
}

/// Writes a CSV file with a header and the size of each group of each layer in each epoch.
///
/// # Errors
/// If it can't be written.
pub fn write_groups(path: impl AsRef<Path>, epochs: &[Epoch]) -> Result<(), ReportError> {
    replace(path.as_ref(), || csv::groups(epochs))
}

/// Writes an HTML page with charts and tables, which needs no other file.
///
/// # Errors
/// If it can't be written.
pub fn write_html(path: impl AsRef<Path>, page: &Page<'_>) -> Result<(), ReportError> {
    replace(path.as_ref(), || Ok(html::page(page)?.into_bytes()))
}

/// Writes the curves of accuracy, train in blue and test in vermilion, as an SVG file for use elsewhere.
///
/// # Errors
/// If it can't be written.
pub fn write_curve(path: impl AsRef<Path>, epochs: &[Epoch]) -> Result<(), ReportError> {
    replace(path.as_ref(), || Ok(html::curve(epochs)?.into_bytes()))
}

fn replace(path: &Path, content: impl FnOnce() -> io::Result<Vec<u8>>) -> Result<(), ReportError> {
    content()
        .and_then(|content| file::replace(path, &content))
        .map_err(|source| ReportError { path: path.into(), source })
}
