//! One run as a trace of Chrome (`chrome://tracing`, Perfetto): a span for each layer.

use super::{Layer, Span};
use serde::Serialize;
use std::{io, path::Path};

#[derive(Serialize)]
struct Event<'a> {
    name: &'a str,
    cat: &'a str,
    ph: &'static str,
    ts: f64,
    dur: f64,
    pid: u32,
    tid: u32,
    args: Args<'a>,
}

#[derive(Serialize)]
struct Args<'a> {
    kernel: &'a str,
    shape: &'a [usize],
    macs: u64,
}

/// Writes the trace: to a temporary file beside `path`, which is then renamed.
pub(super) fn write(path: &Path, spans: &[Span], layers: &[Layer]) -> io::Result<()> {
    let event = |span: &Span| {
        let layer = span.layer.map(|index| &layers[index]);
        Event {
            name: layer.map_or("input", |layer| &layer.name),
            cat: layer.map_or("input", |layer| layer.op),
            ph: "X",
            ts: span.start,
            dur: span.length,
            pid: 0,
            tid: 0,
            args: Args {
                kernel: layer.map_or("", |layer| &layer.kernel),
                shape: layer.map_or(&[], |layer| &layer.shape),
                macs: layer.map_or(0, |layer| layer.macs),
            },
        }
    };
    let events: Vec<Event<'_>> = spans.iter().map(event).collect();
    super::replace(path, &serde_json::to_vec(&events)?)
}
