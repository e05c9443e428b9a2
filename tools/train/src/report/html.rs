//! The page for people.

use super::{
    Page,
    chart::{self, GROUPS, Lines, SERIES, Scale},
};
use crate::{
    metrics::{Epoch, LayerGroups},
    progress::clock,
};
use plotters::style::RGBColor;
use std::{
    fmt::{self, Display, Formatter, Write},
    io,
};

/// Epochs in the table.
const ROWS: usize = 20;

/// Epochs in a small chart: more would make the page large and look the same.
const POINTS: usize = 100;

const STYLE: &str = "
:root { color-scheme: light dark; --ink: #222; --soft: #666; --page: #f4f5f7; --card: #fff; --rule: #dcdfe4 }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e6e6; --soft: #a0a4ab; --page: #16181c; --card: #22252b; --rule: #3a3e46 }
}
body { margin: 0 auto; max-width: 84rem; padding: 1.5rem; background: var(--page); color: var(--ink);
  font: 15px/1.45 system-ui, sans-serif }
h1 { font-size: 1.6rem; margin: 0 0 .25rem; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2rem 0 .75rem }
p { margin: .25rem 0 1rem }
.soft { color: var(--soft) }
.grid { display: grid; gap: 1rem; grid-template-columns: repeat(auto-fill, minmax(min(25rem, 100%), 1fr)) }
figure, .table { margin: 0; border: 1px solid var(--rule); border-radius: 8px; padding: .75rem 1rem }
.table { background: var(--card); overflow-x: auto; width: fit-content; max-width: 100%; box-sizing: border-box }
figure, .white { background: #fff; color: #222; color-scheme: light; --ink: #222; --soft: #666; --rule: #dcdfe4 }
figcaption { font-weight: 600; margin-bottom: .25rem; overflow-wrap: anywhere }
figure svg { display: block; width: 100%; height: auto }
polyline { stroke-linejoin: round; stroke-linecap: round }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; font-size: .85rem }
.key { font-weight: 400; font-size: .85rem; margin-right: .75rem; white-space: nowrap }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .3em }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule) }
tr:last-child > * { border-bottom: 0 }
th { font-weight: 600; color: var(--soft) }
th:first-child { text-align: left }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere }
.sizes td { text-align: center; border: 2px solid #fff }
.sizes .empty { outline: 2px solid #d55e00; outline-offset: -3px }
";

/// Text that is safe between tags and in quotes.
pub(super) struct Text<T>(pub(super) T);

impl<T: Display> Display for Text<T> {
    fn fmt(&self, out: &mut Formatter<'_>) -> fmt::Result {
        for char in self.0.to_string().chars() {
            match char {
                '&' => out.write_str("&amp;")?,
                '<' => out.write_str("&lt;")?,
                '>' => out.write_str("&gt;")?,
                '"' => out.write_str("&quot;")?,
                '\'' => out.write_str("&#39;")?,
                '\n' | '\t' => out.write_char(char)?,
                // HTML knows no others.
                char if char.is_control() => out.write_char(char::REPLACEMENT_CHARACTER)?,
                char => out.write_char(char)?,
            }
        }
        Ok(())
    }
}

pub(super) fn page(page: &Page<'_>) -> io::Result<String> {
    let mut html = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    let title = Text(page.title);
    html += "<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n";
    html += &format!("<title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n");
    html += &format!("<p>{}</p>\n", summary(page.epochs));
    html += &facts(page.facts);
    if let Some(last) = page.epochs.last() {
        html += &curves(page.epochs, !last.layers.is_empty())?;
        if !last.layers.is_empty() {
            html += &final_sizes(last);
            html += &sizes_over_time(page.epochs, &last.layers)?;
        }
        html += &last_epochs(page.epochs, !last.layers.is_empty());
    }
    html += "</body>\n</html>\n";
    Ok(html)
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

fn facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"table\"><table class=\"facts\">\n");
    for (name, value) in facts {
        html += &format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", Text(name), Text(value));
    }
    html + "</table></div>\n"
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
        for ((name, _), color) in chart.series.iter().zip(SERIES) {
            html += &key(color, name);
        }
        html += &format!("</figcaption>\n{}</figure>\n", chart.draw(&numbers)?);
    }
    Ok(html + "</div>\n")
}

/// A table of the groups of each layer, coloured by their share of its work.
fn final_sizes(last: &Epoch) -> String {
    let most = groups(&last.layers);
    let mut html = format!("<h2>Groups after epoch {}</h2>\n", last.epoch);
    html += "<p class=\"soft\">Channels → filters of each group. The darker, the more of the layer's multiply-adds; \
        framed: empty. The last column compares the layer with one without groups.</p>\n";
    html += "<div class=\"table white\"><table class=\"sizes\">\n<tr><th scope=\"col\">layer</th>";
    for group in 0..most {
        html += &format!("<th scope=\"col\">{}{group}</th>", key(GROUPS[group % GROUPS.len()], ""));
    }
    html += "<th scope=\"col\">multiply-adds</th></tr>\n";
    for layer in &last.layers {
        html += &sizes_row(layer, most);
    }
    html + "</table></div>\n"
}

fn sizes_row(layer: &LayerGroups, most: usize) -> String {
    let sum = |sizes: &[usize]| sizes.iter().map(|&size| size as f64).sum::<f64>();
    let (all_channels, all_filters) = (sum(&layer.channels), sum(&layer.filters));
    let pairs = || layer.channels.iter().zip(&layer.filters);
    let work = pairs().map(|(&channels, &filters)| channels as f64 * filters as f64).sum::<f64>();
    let name = Text(&layer.name);
    let mut html = format!("<tr><th scope=\"row\">{name}</th>");
    for (group, (&channels, &filters)) in pairs().enumerate() {
        let (class, shade) = match channels as f64 * filters as f64 {
            0.0 => (" class=\"empty\"", 0.0),
            part => ("", 0.08 + 0.62 * part / work), // Dark text can be read on the darkest.
        };
        let of = format!("{channels} of {all_channels} channels, {filters} of {all_filters} filters");
        html += &format!("<td{class} style=\"background: rgb(0 114 178 / {shade:.3})\"");
        html += &format!(" title=\"{name}, group {group}: {of}\">{channels} → {filters}</td>");
    }
    html += &"<td></td>".repeat(most.saturating_sub(pairs().count()));
    match all_channels * all_filters {
        0.0 => html + "<td></td></tr>\n",
        dense => html + &format!("<td>{:.1} %</td></tr>\n", 100.0 * work / dense),
    }
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

/// An entry of a legend.
fn key(RGBColor(r, g, b): RGBColor, name: &str) -> String {
    format!("<span class=\"key\"><i style=\"background: rgb({r} {g} {b})\"></i>{}</span>", Text(name))
}
