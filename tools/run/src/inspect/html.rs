//! The page with pictures: `flgc-inspect MODEL --html FILE`.

use super::{figures, shape, thousands};
use crate::page::{self, GROUPS, GroupSizes, Text, key};
use base64::{Engine, prelude::BASE64_STANDARD};
use flgc::{
    Report,
    plan::{LayerReport, Membership},
};
use image::{
    Rgb, RgbImage,
    codecs::png::{CompressionType, FilterType, PngEncoder},
};

/// Most groups of a layer that is drawn, and most pairs of a channel and a filter.
const MOST_GROUPS: usize = 64;
const MOST_PIXELS: u64 = 1 << 24;

/// The page of a plan.
pub(super) fn page(title: &str, report: &Report) -> String {
    let isa = ("instruction set", report.isa.to_string());
    let facts: Vec<_> =
        figures(report).into_iter().chain([isa]).map(|(name, value)| (name.to_owned(), value)).collect();
    page::page(title, &(page::facts(&facts) + &groups(&report.layers) + &costs(report)))
}

/// Multiply-adds by layer, in the order of execution.
fn costs(report: &Report) -> String {
    let most = report.layers.iter().map(|layer| layer.macs).max().unwrap_or(0).max(1);
    let mut html = String::from("<h2>Cost by layer</h2>\n<div class=\"table\"><table>\n<tr>");
    for (class, head) in [
        ("", "layer"),
        ("text", "op"),
        ("text", "kernel"),
        ("text", "output"),
        ("", "multiply-adds"),
        ("", "%"),
        ("text", ""),
    ] {
        html += &format!("<th scope=\"col\" class=\"{class}\">{head}</th>");
    }
    html += "</tr>\n";
    for layer in &report.layers {
        let share = 100.0 * layer.macs as f64 / report.macs.max(1) as f64;
        let width = 16.0 * layer.macs as f64 / most as f64;
        html += &format!("<tr><th scope=\"row\">{}</th>", Text(&layer.name));
        for text in [layer.op, &layer.kernel, &shape(layer)] {
            html += &format!("<td class=\"text\">{}</td>", Text(text));
        }
        html += &format!("<td>{}</td><td>{share:.1}</td>", thousands(layer.macs));
        html += &format!("<td class=\"text\"><span class=\"bar\" style=\"width: {width:.2}rem\"></span></td></tr>\n");
    }
    html + "</table></div>\n"
}

/// The layers with groups: sizes, and who is in which one.
fn groups(layers: &[LayerReport]) -> String {
    let read = layers.iter().filter(|layer| !layer.order.is_empty());
    let grouped = read.filter_map(|layer| Some((layer, layer.membership.as_ref()?)));
    let (grouped, large): (Vec<_>, Vec<_>) = grouped.partition(|(layer, membership)| {
        let pixels = membership.channels.len() as u64 * membership.filters.len() as u64;
        layer.groups.len() <= MOST_GROUPS && pixels <= MOST_PIXELS
    });
    let mut html = String::new();
    if !grouped.is_empty() {
        html += &drawn(&grouped);
    }
    if !large.is_empty() {
        let names = large.iter().map(|(layer, _)| format!("{} ({} groups)", Text(&layer.name), layer.groups.len()));
        html += &format!("<p>Too large to draw: {}</p>\n", names.collect::<Vec<_>>().join(", "));
    }
    html
}

fn drawn(grouped: &[(&LayerReport, &Membership)]) -> String {
    let lists: Vec<[Vec<usize>; 2]> = grouped
        .iter()
        .map(|(layer, _)| {
            [layer.groups.iter().map(|g| g.channels).collect(), layer.groups.iter().map(|g| g.filters).collect()]
        })
        .collect();
    let sizes: Vec<_> = grouped
        .iter()
        .zip(&lists)
        .map(|((layer, _), [channels, filters])| GroupSizes { name: &layer.name, channels, filters })
        .collect();
    let mut html = String::from("<h2>Sizes of the groups</h2>\n") + &page::group_sizes(&sizes);
    html += "<h2>Groups before and after reordering</h2>\n<p class=\"soft\">The weights of a layer: a column for each channel, \
        a row for each filter, coloured where both are in the same group; what is white is zero and not computed. Left in \
        the order of the model, right in the order in which their planes lie in memory: there the channels of a group come \
        side by side, unless another reader of theirs with more work wants another order. Filters lie as the next layer wants \
        its channels; those that nothing reads are left out.</p>\n<p>";
    let most = grouped.iter().map(|(layer, _)| layer.groups.len()).max().unwrap_or(0);
    for (group, color) in GROUPS.into_iter().enumerate().take(most) {
        html += &key(color, &format!("group {group}"));
    }
    if most > GROUPS.len() {
        html += "then the colours begin again";
    }
    html += "</p>\n<div class=\"grid\">\n";
    for (layer, membership) in grouped {
        html += &figure(layer, membership);
    }
    html + "</div>\n"
}

fn figure(layer: &LayerReport, membership: &Membership) -> String {
    let Membership { channels, filters, .. } = membership;
    let name = Text(&layer.name);
    let numbers = |len: usize| (0..len as u32).collect::<Vec<_>>();
    let (before, after) =
        ([numbers(channels.len()), numbers(filters.len())], [membership.channel_order(), layer.order.clone()]);
    let mut html = format!(
        "<figure><figcaption>{name} <span class=\"key\">{} groups, {} channels, {} filters</span></figcaption>\n<div class=\"pair\">",
        layer.groups.len(),
        channels.len(),
        filters.len()
    );
    for (order, what) in [(before, "in the model"), (after, "as it runs")] {
        let png = BASE64_STANDARD.encode(weights(membership, &order));
        html +=
            &format!("<div>{what}<img alt=\"groups of {name}, {what}\" src=\"data:image/png;base64,{png}\"></div>\n");
    }
    html + "</div></figure>\n"
}

/// A PNG with a pixel for each pair of a channel (columns) and a filter (rows), in this order.
fn weights(membership: &Membership, [channels, filters]: &[Vec<u32>; 2]) -> Vec<u8> {
    let mut image = RgbImage::from_pixel(channels.len() as u32, filters.len() as u32, Rgb([0xFF; 3]));
    for (x, y, pixel) in image.enumerate_pixels_mut() {
        let group = membership.channels[channels[x as usize] as usize];
        if group == membership.filters[filters[y as usize] as usize] {
            *pixel = Rgb(GROUPS[group as usize % GROUPS.len()]);
        }
    }
    let mut png = Vec::new();
    // Rows of one group are the same, and next to each other they need no filter.
    let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Best, FilterType::NoFilter);
    image.write_with_encoder(encoder).unwrap_or_else(|error| unreachable!("in memory: {error}"));
    png
}
