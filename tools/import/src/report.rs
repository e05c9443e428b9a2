//! What was found in a network: the groups of each layer, what they save, and what could not be made free.

use crate::net::{Group, Net, Op};
use flgc::{
    Plan,
    model::graph::{self, Graph},
};
use serde::Serialize;
use std::{collections::HashMap, fmt};

/// What was found in a network.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    /// Convolutions and fully connected layers, in the order of execution.
    pub layers: Vec<Layer>,
    /// Multiply-adds of the file's own layers, as another runtime would do them.
    pub macs_before: u64,
    /// Multiply-adds that are left: weights inside groups.
    pub macs: u64,
    /// Weights and biases that are left.
    pub parameters: u64,
    /// Steps of the plan that only move data.
    pub moves: Vec<Move>,
}

/// A layer, and what was found in it.
#[derive(Clone, Debug, Serialize)]
pub struct Layer {
    /// The name of its node, the first one of several that became one layer.
    pub name: String,
    /// How many nodes became this layer.
    pub nodes: usize,
    /// What it is.
    pub kind: Kind,
    /// Groups in the file, added up over its nodes.
    pub groups_before: usize,
    /// Multiply-adds in the file.
    pub macs_before: u64,
    /// Multiply-adds that are left.
    pub macs: u64,
    /// The groups, if there is more than one; those of a depthwise layer are left out.
    pub groups: Vec<Size>,
}

/// What kind of layer was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A convolution of every channel with every filter.
    Dense,
    /// Groups of one size.
    Grouped,
    /// Groups of different sizes.
    Uneven,
    /// A filter for each channel.
    Depthwise,
    /// Fully connected.
    Linear,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Dense => "dense",
            Self::Grouped => "grouped",
            Self::Uneven => "uneven",
            Self::Depthwise => "depthwise",
            Self::Linear => "linear",
        })
    }
}

/// The size of a group.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Input channels.
    pub channels: usize,
    /// Filters.
    pub filters: usize,
}

/// A step that only moves data.
#[derive(Clone, Debug, Serialize)]
pub struct Move {
    /// The layer before which data is moved.
    pub layer: String,
    /// Why.
    pub why: String,
}

impl Report {
    /// Of the layers of `net`.
    pub(crate) fn of(net: &Net) -> Self {
        let mut report = Self { layers: Vec::new(), macs_before: net.macs, macs: 0, parameters: 0, moves: Vec::new() };
        for node in &net.nodes {
            let shape = &net.values[node.output as usize].shape;
            let pixels: usize = shape[0] * shape.get(2..).unwrap_or_default().iter().product::<usize>();
            let layer = match &node.op {
                Op::Conv(conv) => Layer {
                    name: node.name.clone(),
                    nodes: conv.origin.nodes,
                    kind: kind(&conv.groups),
                    groups_before: conv.origin.groups,
                    macs_before: conv.origin.macs,
                    macs: conv.weights().saturating_mul(pixels as u64),
                    groups: sizes(&conv.groups),
                },
                Op::Linear(linear) => Layer {
                    name: node.name.clone(),
                    nodes: 1,
                    kind: Kind::Linear,
                    groups_before: 1,
                    macs_before: linear.macs,
                    macs: (linear.weight.len() as u64).saturating_mul(pixels as u64),
                    groups: Vec::new(),
                },
                _ => continue,
            };
            report.macs = report.macs.saturating_add(layer.macs);
            report.layers.push(layer);
        }
        report
    }

    /// Adds what the plan knows.
    pub(crate) fn plan(&mut self, graph: &Graph, plan: &Plan) {
        self.parameters = plan.report().parameters;
        let makers: HashMap<&str, &graph::Node> = graph
            .nodes
            .iter()
            .flat_map(|node| node.outputs.iter().map(move |output| (output.as_str(), node)))
            .collect();
        for step in plan.report().layers.iter().filter(|layer| layer.moves_data) {
            let layer = step.name.strip_suffix(".move").unwrap_or(&step.name);
            let from = graph.nodes.iter().find(|node| node.name == layer).map(|node| rearranging(node, &makers));
            let why = match from.filter(|names| !names.is_empty()) {
                Some(names) => format!("it reads pixels that {} put in another order", names.join(", ")),
                None => "it reads pixels in another order".to_owned(),
            };
            self.moves.push(Move { layer: layer.to_owned(), why });
        }
    }
}

/// Most nodes that a reason names.
const NAMED: usize = 8;

/// The nodes before `node` that rearrange what it reads.
fn rearranging(node: &graph::Node, makers: &HashMap<&str, &graph::Node>) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    let mut waiting: Vec<&graph::Node> = vec![node];
    while let Some(node) = waiting.pop() {
        for maker in node.inputs.iter().filter_map(|input| makers.get(input.as_str())) {
            let rearranges = matches!(
                maker.op,
                graph::Op::Reshape(_)
                    | graph::Op::Flatten(_)
                    | graph::Op::Transpose(_)
                    | graph::Op::Concat(_)
                    | graph::Op::Slice(_)
                    | graph::Op::Split(_)
            );
            let named = format!("{} ({})", maker.name, maker.op.name());
            if rearranges && found.len() < NAMED && !found.contains(&named) {
                found.push(named);
                waiting.push(maker);
            }
        }
    }
    found
}

fn sizes(groups: &[Group]) -> Vec<Size> {
    if groups.len() < 2 || is_depthwise(groups) {
        return Vec::new();
    }
    groups.iter().map(|group| Size { channels: group.channels, filters: group.filters.len() }).collect()
}

fn is_depthwise(groups: &[Group]) -> bool {
    groups.len() > 1
        && groups.iter().all(|group| group.channels <= 1 && group.filters.len() == 1 || group.channels == 0)
}

fn kind(groups: &[Group]) -> Kind {
    let same = |groups: &[Group]| {
        groups
            .windows(2)
            .all(|pair| pair[0].channels == pair[1].channels && pair[0].filters.len() == pair[1].filters.len())
    };
    match groups {
        [_] => Kind::Dense,
        _ if is_depthwise(groups) => Kind::Depthwise,
        _ if same(groups) => Kind::Grouped,
        _ => Kind::Uneven,
    }
}

/// A table for people.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.layers.iter().map(|layer| layer.name.chars().count()).max().unwrap_or(0).clamp(5, 48);
        writeln!(
            f,
            "{:width$}  {:9}  {:>5}  {:>12}  {:>12}  groups (channels x filters)",
            "layer", "found", "nodes", "before", "multiply-adds"
        )?;
        for layer in &self.layers {
            let Layer { name, nodes, kind, macs_before, macs, .. } = layer;
            let name = flgc_run::status::printable(name);
            let groups: Vec<String> =
                layer.groups.iter().take(12).map(|size| format!("{}x{}", size.channels, size.filters)).collect();
            let more =
                if layer.groups.len() > 12 { format!(" and {} more", layer.groups.len() - 12) } else { String::new() };
            let line = format!(
                "{name:width$}  {kind:9}  {nodes:>5}  {macs_before:>12}  {macs:>13}  {}{more}",
                groups.join(" ")
            );
            writeln!(f, "{}", line.trim_end())?;
        }
        let share = self.macs as f64 / self.macs_before.max(1) as f64;
        writeln!(f, "\nmultiply-adds  {} of {} in the file ({:.1} %)", self.macs, self.macs_before, 100.0 * share)?;
        writeln!(f, "parameters     {}", self.parameters)?;
        writeln!(f, "steps that only move data  {}", self.moves.len())?;
        for Move { layer, why } in &self.moves {
            writeln!(f, "  before {}: {}", flgc_run::status::printable(layer), flgc_run::status::printable(why))?;
        }
        Ok(())
    }
}
