//! What the HTML pages of the programs have in common: each is one file that needs no other.

use std::fmt::{self, Display, Formatter, Write};

/// A colour: red, green, blue.
pub type Color = [u8; 3];

/// Colours of groups, from the start again if there are more ("muted" of Paul Tol, for the colour-blind too).
pub const GROUPS: [Color; 9] = [
    [0x33, 0x22, 0x88],
    [0x88, 0xcc, 0xee],
    [0x44, 0xaa, 0x99],
    [0xdd, 0xcc, 0x77],
    [0xcc, 0x66, 0x77],
    [0x11, 0x77, 0x33],
    [0xaa, 0x44, 0x99],
    [0x99, 0x99, 0x33],
    [0x88, 0x22, 0x55],
];

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
figure img { display: block; width: 100%; height: 9rem; image-rendering: pixelated; border: 1px solid var(--rule) }
polyline { stroke-linejoin: round; stroke-linecap: round }
.pair { display: grid; grid-template-columns: 1fr 1fr; gap: .5rem; font-size: .85rem }
.key { font-weight: 400; font-size: .85rem; margin-right: .75rem; white-space: nowrap }
.key i { display: inline-block; width: .8em; height: .8em; border-radius: 2px; margin-right: .3em }
.bar { display: inline-block; height: .8em; background: #0072b2; border-radius: 0 2px 2px 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums }
th, td { padding: .2rem .6rem; text-align: right; white-space: nowrap; border-bottom: 1px solid var(--rule) }
tr:last-child > * { border-bottom: 0 }
th { font-weight: 600; color: var(--soft) }
th:first-child, .text { text-align: left }
.facts td { text-align: left; white-space: normal; overflow-wrap: anywhere }
.sizes td { text-align: center; border: 2px solid #fff }
.sizes .empty { outline: 2px solid #d55e00; outline-offset: -3px }
";

/// Text that is safe between tags and in quotes.
#[derive(Clone, Copy, Debug)]
pub struct Text<T>(pub T);

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

/// A page: its heading, and `body` in HTML below it.
#[must_use]
pub fn page(title: &str, body: &str) -> String {
    let title = Text(title);
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
        <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
        <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n{body}</body>\n</html>\n"
    )
}

/// A table of names and values; nothing if there are none.
#[must_use]
pub fn facts(facts: &[(String, String)]) -> String {
    if facts.is_empty() {
        return String::new();
    }
    let mut html = String::from("<div class=\"table\"><table class=\"facts\">\n");
    for (name, value) in facts {
        html += &format!("<tr><th scope=\"row\">{}</th><td>{}</td></tr>\n", Text(name), Text(value));
    }
    html + "</table></div>\n"
}

/// An entry of a legend.
#[must_use]
pub fn key([r, g, b]: Color, name: &str) -> String {
    format!("<span class=\"key\"><i style=\"background: rgb({r} {g} {b})\"></i>{}</span>", Text(name))
}

/// The groups of a layer.
#[derive(Clone, Copy, Debug)]
pub struct GroupSizes<'a> {
    /// The layer.
    pub name: &'a str,
    /// Channels of each group.
    pub channels: &'a [usize],
    /// Filters of each group, as many groups.
    pub filters: &'a [usize],
}

/// A table of the groups of each layer, coloured by their share of its work.
#[must_use]
pub fn group_sizes(layers: &[GroupSizes<'_>]) -> String {
    let most = layers.iter().map(|layer| layer.channels.len()).max().unwrap_or(0);
    let mut html = String::from(
        "<p class=\"soft\">Channels → filters of each group. The darker, the more of the layer's multiply-adds; \
        framed: empty. The last column compares the layer with one without groups.</p>\n\
        <div class=\"table white\"><table class=\"sizes\">\n<tr><th scope=\"col\">layer</th>",
    );
    for group in 0..most {
        html += &format!("<th scope=\"col\">{}{group}</th>", key(GROUPS[group % GROUPS.len()], ""));
    }
    html += "<th scope=\"col\">multiply-adds</th></tr>\n";
    for layer in layers {
        html += &sizes_row(layer, most);
    }
    html + "</table></div>\n"
}

fn sizes_row(layer: &GroupSizes<'_>, most: usize) -> String {
    let sum = |sizes: &[usize]| sizes.iter().map(|&size| size as f64).sum::<f64>();
    let (all_channels, all_filters) = (sum(layer.channels), sum(layer.filters));
    let pairs = || layer.channels.iter().zip(layer.filters);
    let work = pairs().map(|(&channels, &filters)| channels as f64 * filters as f64).sum::<f64>();
    let name = Text(layer.name);
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
