//! What a plan consists of: `flgc-inspect MODEL`.

mod html;

use crate::{
    answers,
    cli::{InspectArgs, InspectFormat},
    file,
    status::{Status, Stop, printable},
};
use flgc::{
    Model, Plan, Port, Report,
    model::graph::{Channels, Fit, Graph, Image, Input},
    plan::{GroupReport, LayerReport},
};
use serde::Serialize;
use std::{fmt::Write, iter};

/// Widest lines of lists of channels.
const WIDTH: usize = 120;

/// `flgc-inspect`, after its arguments.
///
/// # Errors
/// If the model can't be used or the description can't be written.
pub fn run(args: &InspectArgs) -> Result<Status, Stop> {
    let options = args.engine.options()?;
    let model = Model::open(&args.model)?;
    let plan = Plan::new(&model, &options)?;
    if let Some(path) = &args.html {
        let title = args.model.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
        file::replace(path, html::page(&title, plan.report()).as_bytes())
            .map_err(|error| Stop::output(path.display(), &error))?;
    }
    let text = match args.format {
        InspectFormat::Text => text(model.graph(), &plan),
        InspectFormat::Json => json(plan.report()),
    };
    answers::print(&text)?;
    Ok(Status::Done)
}

fn json(report: &Report) -> String {
    #[derive(Serialize)]
    struct Whole<'a> {
        steps: usize,
        moves: usize,
        macs: u64,
        parameters: u64,
        memory: Memory,
        layers: Vec<Layer<'a>>,
    }
    #[derive(Serialize)]
    struct Memory {
        weights: u64,
        arena: u64,
        mapped: u64,
    }
    #[derive(Serialize)]
    struct Layer<'a> {
        name: &'a str,
        op: &'a str,
        kernel: &'a str,
        macs: u64,
        groups: Vec<Group>,
    }
    #[derive(Serialize)]
    struct Group {
        channels: usize,
        filters: usize,
    }
    let group = |group: &GroupReport| Group { channels: group.channels, filters: group.filters };
    let layer = |layer: &'_ LayerReport| layer.groups.iter().map(group).collect();
    let whole = Whole {
        steps: report.steps,
        moves: report.moves,
        macs: report.macs,
        parameters: report.parameters,
        memory: Memory { weights: report.memory.weights, arena: report.memory.arena, mapped: report.memory.mapped },
        layers: report
            .layers
            .iter()
            .map(|l| Layer { name: &l.name, op: l.op, kernel: &l.kernel, macs: l.macs, groups: layer(l) })
            .collect(),
    };
    let json = serde_json::to_string(&whole).unwrap_or_else(|error| unreachable!("strings and numbers: {error}"));
    json + "\n"
}

fn text(graph: &Graph, plan: &Plan) -> String {
    let report = plan.report();
    let mut text = String::new();
    for (input, port) in graph.inputs.iter().zip(plan.inputs()) {
        let _ = writeln!(text, "input   {}{}", describe(port), describe_input(input));
    }
    for port in plan.outputs() {
        let _ = writeln!(text, "output  {}{}", describe(port), if port.is_softmax { ", softmax" } else { "" });
    }
    if !plan.labels().is_empty() {
        let _ = writeln!(text, "labels  {}", plan.labels().len());
    }
    let _ = writeln!(text, "isa     {}", report.isa);
    text.push('\n');
    text += &layers(&report.layers);
    text.push('\n');
    for (name, value) in figures(report) {
        let _ = writeln!(text, "{name:26}{value:>15}");
    }
    text + &orders(&report.layers)
}

/// What a plan comes to as a whole.
fn figures(report: &Report) -> [(&'static str, String); 7] {
    let memory = report.memory;
    [
        ("steps", report.steps.to_string()),
        ("steps that only move data", report.moves.to_string()),
        ("multiply-adds", thousands(report.macs)),
        ("parameters", thousands(report.parameters)),
        ("bytes of packed weights", thousands(memory.weights)),
        ("bytes of activations", thousands(memory.arena)),
        ("bytes of the model file", thousands(memory.mapped)),
    ]
}

fn shape(layer: &LayerReport) -> String {
    layer.shape.iter().map(ToString::to_string).collect::<Vec<_>>().join("x")
}

fn describe(port: &Port) -> String {
    format!("{}  {:?}", printable(&port.name), port.shape)
}

/// The sizes that an input allows, and how pictures become it.
fn describe_input(input: &Input) -> String {
    let mut text = String::new();
    if input.range.iter().any(|[min, max]| min != max) {
        let range = |&[min, max]: &[usize; 2]| if min == max { min.to_string() } else { format!("{min} to {max}") };
        let _ = write!(text, ", any of [{}]", input.range.iter().map(range).collect::<Vec<_>>().join(", "));
    }
    if let Some(image) = &input.image {
        let Image { channels, scale, mean, std, fit, resize } = &**image;
        let channels = match channels {
            Channels::Rgb => "rgb",
            Channels::Bgr => "bgr",
            Channels::Grey => "grey",
        };
        let fit = match fit {
            Fit::Stretch => "stretched",
            Fit::Crop => "cropped",
            Fit::Pad => "padded",
        };
        let _ = write!(text, "; pictures: {channels}, {fit}");
        if let Some(side) = resize {
            let _ = write!(text, " from a shorter side of {side}");
        }
        let _ = write!(text, ", times {scale:.6}");
        if !mean.is_empty() {
            let _ = write!(text, ", minus {mean:?}");
        }
        if !std.is_empty() {
            let _ = write!(text, ", over {std:?}");
        }
    }
    text
}

/// The table of layers. Groups come last: they may be many.
fn layers(layers: &[LayerReport]) -> String {
    let head = ["layer", "op", "kernel", "output", "multiply-adds", "moves", "fused", "groups (channels->filters)"]
        .map(str::to_owned);
    let row = |layer: &LayerReport| {
        [
            printable(&layer.name),
            layer.op.to_owned(),
            layer.kernel.clone(),
            shape(layer),
            thousands(layer.macs),
            if layer.moves_data { "yes" } else { "" }.to_owned(),
            if layer.fused_with_next { "with next" } else { "" }.to_owned(),
            groups(&layer.groups),
        ]
    };
    let rows: Vec<_> = iter::once(head).chain(layers.iter().map(row)).collect();
    let widths: [usize; 8] =
        std::array::from_fn(|column| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for row in &rows {
        let mut line = String::new();
        for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
            // Numbers to the right.
            let _ = if column == 4 { write!(line, "{cell:>width$}  ") } else { write!(line, "{cell:width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// The sizes of groups, equal neighbours together: `8: 3x 4->2, 0->5, ...`
fn groups(groups: &[GroupReport]) -> String {
    if groups.is_empty() {
        return String::new();
    }
    let runs = groups.chunk_by(|a, b| a == b).map(|run| {
        let GroupReport { channels, filters } = run[0];
        if run.len() == 1 { format!("{channels}->{filters}") } else { format!("{}x {channels}->{filters}", run.len()) }
    });
    format!("{}: {}", groups.len(), runs.collect::<Vec<_>>().join(", "))
}

/// The channel in each slot of a layer's output, of the layers where it is not the channel of that number.
fn orders(layers: &[LayerReport]) -> String {
    // Layers with the same order, in the order of the first of them.
    let mut orders: Vec<(&[u32], String)> = Vec::new();
    for layer in layers.iter().filter(|layer| layer.order.iter().zip(0..).any(|(&channel, slot)| channel != slot)) {
        let name = printable(&layer.name);
        match orders.iter_mut().find(|(order, _)| *order == layer.order) {
            Some((_, names)) => *names = format!("{names}, {name}"),
            None => orders.push((&layer.order, name)),
        }
    }
    let mut text = String::new();
    if !orders.is_empty() {
        text += "\nChannel orders: the channel in each slot of a layer's output, where the plan changed it or left channels out\n";
    }
    for (order, names) in orders {
        let _ = writeln!(text, "  {names}");
        let mut line = "   ".to_owned();
        for channel in order {
            if line.len() > WIDTH - 8 {
                let _ = writeln!(text, "{line}");
                line = "   ".to_owned();
            }
            let _ = write!(line, " {channel}");
        }
        let _ = writeln!(text, "{line}");
    }
    text
}

/// `1665280` as `1,665,280`.
fn thousands(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (1_665_280, "1,665,280"), (10_000, "10,000")] {
            assert_eq!(thousands(number), text);
        }
    }

    #[test]
    fn groups_in_a_line() {
        let sizes = |sizes: &[(usize, usize)]| {
            groups(&sizes.iter().map(|&(channels, filters)| GroupReport { channels, filters }).collect::<Vec<_>>())
        };
        assert_eq!(sizes(&[]), "");
        assert_eq!(sizes(&[(4, 2), (2, 3), (2, 3), (0, 1)]), "4: 4->2, 2x 2->3, 0->1");
    }
}
