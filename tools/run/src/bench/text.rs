//! A measurement for people.

use super::{Layer, Report};
use crate::status::printable;
use std::fmt::Write;

pub(super) fn text(report: &Report, runs: usize, with_layers: bool) -> String {
    let mut text = String::new();
    if with_layers {
        layers(&mut text, report);
        text.push('\n');
    }
    let Report { latency_ms: latency, memory, .. } = report;
    let core = report.core.map_or_else(|| "unpinned".to_owned(), |core| format!("core {core}"));
    let bytes = |bytes: u64| format!("{:.2} MB", bytes as f64 / 1e6);
    let unknown = || "unknown".to_owned();
    let lines = [
        ("model", printable(&report.model)),
        ("run", format!("{}, threads {}, {core}, {runs} runs", report.isa, report.threads)),
        (
            "latency, ms",
            format!(
                "{:.3} (min {:.3}, p90 {:.3}, p99 {:.3}, max {:.3})",
                latency.p50, latency.min, latency.p90, latency.p99, latency.max
            ),
        ),
        ("cold start, ms", report.cold_start_ms.map_or_else(unknown, |ms| format!("{ms:.2}"))),
        ("multiply-adds", report.macs.to_string()),
        (
            "GFLOP/s",
            format!(
                "{:.1} of {:.1} ({:.1} %)",
                report.gflops,
                report.peak_gflops * report.threads as f64,
                100.0 * report.share_of_peak
            ),
        ),
        (
            "memory",
            format!(
                "weights {}, activations {}, file {}",
                bytes(memory.weights),
                bytes(memory.arena),
                bytes(memory.mapped)
            ),
        ),
        ("peak resident", report.peak_rss_bytes.map_or_else(unknown, bytes)),
        ("allocations", report.allocations.to_string()),
    ];
    for (name, value) in lines {
        let _ = writeln!(text, "{name:15} {value}");
    }
    text
}

fn layers(text: &mut String, report: &Report) {
    let layers: Vec<&Layer> = report.layers.iter().filter(|layer| layer.kernel != "none").collect();
    let width = |of: fn(&Layer) -> usize, least: usize| {
        layers.iter().map(|layer| of(layer)).max().unwrap_or(0).clamp(least, 40)
    };
    let (name, kernel) = (width(|layer| layer.name.chars().count(), 5), width(|layer| layer.kernel.len(), 6));
    let total: f64 = layers.iter().map(|layer| layer.us).sum();
    let _ = writeln!(
        text,
        "{:name$}  {:18}  {:kernel$}  {:>18}  {:>6}  {:>9}  {:>9}  {:>6}  {:>8}  {:>6}",
        "layer", "op", "kernel", "output", "groups", "MMAC", "us", "time", "GFLOP/s", "peak"
    );
    for layer in layers {
        let shape = layer.shape.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
        let _ = write!(
            text,
            "{:name$}  {:18}  {:kernel$}  {shape:>18}  {:>6}  {:>9.3}  ",
            printable(&layer.name),
            layer.op,
            layer.kernel,
            layer.groups,
            layer.macs as f64 / 1e6,
        );
        if layer.fused_with_next {
            let _ = writeln!(text, "{:>9}", "fused");
            continue;
        }
        let _ = writeln!(
            text,
            "{:>9.1}  {:>5.1}%  {:>8.1}  {:>5.1}%",
            layer.us,
            100.0 * layer.us / total,
            layer.gflops,
            100.0 * layer.gflops / (report.peak_gflops * report.threads as f64),
        );
    }
}
