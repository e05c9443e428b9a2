//! The page for people.

use super::{
    Page,
    chart::{self, Lines, SERIES, Scale},
};
use crate::{
    metrics::{Epoch, LayerGroups},
    progress::clock,
};
use flgc_run::page::{self, GROUPS, GroupSizes, Text, facts, group_sizes, key};
use plotters::style::RGBColor;
use std::io;

/// Epochs in the table.
const ROWS: usize = 20;

/// Epochs in a small chart: more would make the page large and look the same.
const POINTS: usize = 100;

pub(super) fn page(report: &Page<'_>) -> io::Result<String> {
    let mut html = format!("<p>{}</p>\n", summary(report.epochs));
    html += &facts(report.facts);
    if let Some(last) = report.epochs.last() {
        html += &curves(report.epochs, !last.layers.is_empty())?;
        if !last.layers.is_empty() {
            html += &format!("<h2>Groups after epoch {}</h2>\n", last.epoch);
            html += &group_sizes(&last.layers.iter().map(sizes).collect::<Vec<_>>());
            html += &sizes_over_time(report.epochs, &last.layers)?;
        }
        html += &last_epochs(report.epochs, !last.layers.is_empty());
    }
    Ok(page::page(report.title, &html))
}

fn sizes(layer: &LayerGroups) -> GroupSizes<'_> {
    GroupSizes { name: &layer.name, channels: &layer.channels, filters: &layer.filters }
}

fn summary(epochs: &[Epoch]) -> String {
    let Some(last) = epochs.last() else {
        return "No epoch is done yet.".to_owned();
    };
    let count = match epochs.len() {
        1 => "1 epoch".to_owned(),
        count => format!("{count} epochs"),
    };
    let time = clock(epochs.iter().map(|epoch| epoch.seconds).sum());
    let mut text = format!("{count} in {time}; test accuracy {:.2} %", last.test_accuracy * 100.0);
    let known = epochs.iter().filter(|epoch| epoch.test_accuracy.is_finite());
    if let Some(best) = known.max_by(|a, b| a.test_accuracy.total_cmp(&b.test_accuracy)) {
        text += &format!(", at best {:.2} % in epoch {}", best.test_accuracy * 100.0, best.epoch);
    }
    text + "."
}

fn accuracy(epochs: &[Epoch]) -> Lines<'static> {
    let percent = |share: fn(&Epoch) -> f64| epochs.iter().map(|epoch| share(epoch) * 100.0).collect();
    Lines {
        title: "Accuracy",
        label: "accuracy, %",
        scale: Scale::Percent,
        series: vec![("train", percent(|epoch| epoch.train_accuracy)), ("test", percent(|epoch| epoch.test_accuracy))],
    }
}

/// The chart of accuracies on its own, an SVG file.
pub(super) fn curve(epochs: &[Epoch]) -> io::Result<String> {
    accuracy(epochs).draw(&numbers(epochs.iter()))
}

fn curves(epochs: &[Epoch], grouped: bool) -> io::Result<String> {
    let values = |value: fn(&Epoch) -> f64| epochs.iter().map(value).collect::<Vec<_>>();
    let mut charts = vec![
        Lines {
            title: "Loss",
            label: "loss",
            scale: Scale::Values,
            series: vec![("train", values(|epoch| epoch.train_loss)), ("test", values(|epoch| epoch.test_loss))],
        },
        accuracy(epochs),
        Lines {
            title: "Learning rate",
            label: "learning rate",
            scale: Scale::FromZero,
            series: vec![("learning rate", values(|epoch| epoch.learning_rate))],
        },
    ];
    if grouped {
        charts.extend([
            Lines {
                title: "Moved to another group in the epoch",
                label: "moved",
                scale: Scale::Count,
                series: vec![
                    ("channels", values(|epoch| epoch.moved_channels as f64)),
                    ("filters", values(|epoch| epoch.moved_filters as f64)),
                ],
            },
            Lines {
                title: "In another group than at the start",
                label: "channels and filters, %",
                scale: Scale::Percent,
                series: vec![("moved", values(|epoch| epoch.moved_from_start * 100.0))],
            },
            Lines {
                title: "Groups without channels or without filters",
                label: "groups",
                scale: Scale::Count,
                series: vec![("empty groups", values(|epoch| epoch.empty_groups as f64))],
            },
        ]);
    }
    let numbers = numbers(epochs.iter());
    let mut html = String::from("<h2>Course</h2>\n<div class=\"grid\">\n");
    for chart in charts {
        html += &format!("<figure><figcaption>{}<br>", Text(chart.title));
        for ((name, _), RGBColor(r, g, b)) in chart.series.iter().zip(SERIES) {
            html += &key([r, g, b], name);
        }
        html += &format!("</figcaption>\n{}</figure>\n", chart.draw(&numbers)?);
    }
    Ok(html + "</div>\n")
}

fn sizes_over_time(epochs: &[Epoch], layers: &[LayerGroups]) -> io::Result<String> {
    let mut html = String::from("<h2>Sizes of the groups over time</h2>\n<p>");
    for group in 0..groups(layers) {
        html += &key(GROUPS[group % GROUPS.len()], &format!("group {group}"));
    }
    html += "</p>\n<div class=\"grid\">\n";
    // Every n-th epoch, counted from the last.
    let step = epochs.len().div_ceil(POINTS);
    let mut epochs = epochs.iter().rev().step_by(step).collect::<Vec<_>>();
    epochs.reverse();
    for LayerGroups { name, .. } in layers {
        let known = epochs.iter().filter_map(|epoch| {
            let layer = epoch.layers.iter().find(|layer| layer.name == *name)?;
            Some((*epoch, layer))
        });
        let (epochs, layers): (Vec<_>, Vec<_>) = known.unzip();
        let numbers = numbers(epochs.into_iter());
        html += &format!("<figure><figcaption>{}</figcaption>\n<div class=\"pair\">\n", Text(name));
        let channels = layers.iter().map(|layer| &layer.channels[..]).collect::<Vec<_>>();
        let filters = layers.iter().map(|layer| &layer.filters[..]).collect::<Vec<_>>();
        for (side, sizes) in [("channels", channels), ("filters", filters)] {
            let title = format!("{name}: share of the {side} by group");
            html += &format!("<div>{side}, %\n{}</div>\n", chart::stack(&title, &numbers, &sizes)?);
        }
        html += "</div></figure>\n";
    }
    Ok(html + "</div>\n")
}

fn last_epochs(epochs: &[Epoch], grouped: bool) -> String {
    let mut html = String::from(if epochs.len() > ROWS { "<h2>Last epochs</h2>\n" } else { "<h2>Epochs</h2>\n" });
    html += "<div class=\"table\"><table>\n<tr><th scope=\"col\">epoch</th>";
    let mut heads = vec!["learning rate", "train loss", "test loss", "train accuracy", "test accuracy", "time"];
    if grouped {
        heads.extend(["moved channels", "moved filters", "moved from the start", "empty groups"]);
    }
    for head in heads {
        html += &format!("<th scope=\"col\">{head}</th>");
    }
    html += "</tr>\n";
    for epoch in epochs.iter().rev().take(ROWS) {
        html += &format!("<tr><th scope=\"row\">{}</th>", epoch.epoch);
        let percent = |share: f64| Scale::Percent.value(share * 100.0);
        let number = |value| Scale::Values.value(value);
        let mut cells = vec![
            number(epoch.learning_rate),
            number(epoch.train_loss),
            number(epoch.test_loss),
            percent(epoch.train_accuracy),
            percent(epoch.test_accuracy),
            clock(epoch.seconds),
        ];
        if grouped {
            cells.extend([
                epoch.moved_channels.to_string(),
                epoch.moved_filters.to_string(),
                percent(epoch.moved_from_start),
                epoch.empty_groups.to_string(),
            ]);
        }
        for cell in cells {
            html += &format!("<td>{cell}</td>");
        }
        html += "</tr>\n";
    }
    html + "</table></div>\n"
}

/// The largest number of groups.
fn groups(layers: &[LayerGroups]) -> usize {
    layers.iter().map(|layer| layer.channels.len()).max().unwrap_or(0)
}

fn numbers<'a>(epochs: impl Iterator<Item = &'a Epoch>) -> Vec<f64> {
    epochs.map(|epoch| epoch.epoch as f64).collect()
}
