//! Charts as inline SVG.
//!
//! They are drawn at twice the size they are shown at, since plotters rounds to whole pixels. Without fonts plotters only
//! guesses how wide a text is, so the areas of the labels are set by hand and legends and titles are left to HTML.

use flgc_run::page::{GROUPS, Text};
use plotters::{
    coord::{
        Shift,
        ranged1d::{DefaultFormatting, KeyPointHint},
    },
    prelude::*,
};
use std::{
    fmt::{Display, Write},
    io,
    ops::Range,
};

/// Colours of series: blue and vermilion, which everybody can tell apart (Okabe and Ito).
pub(super) const SERIES: [RGBColor; 2] = [RGBColor(0x00, 0x72, 0xb2), RGBColor(0xd5, 0x5e, 0x00)];

const INK: RGBColor = RGBColor(0x44, 0x44, 0x44);
const GRID: RGBColor = RGBColor(0xe2, 0xe2, 0xe2);
const AXIS: RGBColor = RGBColor(0x99, 0x99, 0x99);

/// Larger values are left out like infinite ones: no axis shows them beside useful ones.
const LARGEST: f64 = 1e12;

/// What the vertical axis spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Scale {
    /// Just the values.
    Values,
    /// From zero to the largest value.
    FromZero,
    /// From zero to the largest value, in whole numbers.
    Count,
    /// Just the values, which are percentages.
    Percent,
}

/// A chart of lines over epochs.
pub(super) struct Lines<'a> {
    /// What it shows, for those who can't see it.
    pub(super) title: &'a str,
    /// Label of the vertical axis.
    pub(super) label: &'a str,
    pub(super) scale: Scale,
    /// Name and values, one for each epoch.
    pub(super) series: Vec<(&'a str, Vec<f64>)>,
}

impl Lines<'_> {
    /// Draws it over the numbers of the epochs, at least one.
    pub(super) fn draw(&self, epochs: &[f64]) -> io::Result<String> {
        let y = self.vertical();
        let shape = Shape { size: (960, 520), left: 124, bottom: 84, font: 30, label: self.label };
        let columns = shape.draw(self.title, epochs, y, |chart| {
            for ((_, values), color) in self.series.iter().zip(SERIES.iter().cycle()) {
                let mut segment = Vec::new();
                for (&epoch, &value) in epochs.iter().zip(values) {
                    if drawable(value) {
                        segment.push((epoch, value));
                    } else {
                        line(chart, std::mem::take(&mut segment), *color)?;
                    }
                }
                line(chart, segment, *color)?;
            }
            Ok(())
        })?;
        Ok(self.with_tooltips(columns, epochs))
    }

    fn vertical(&self) -> Ticks {
        let values = || self.series.iter().flat_map(|(_, values)| values).copied().filter(|value| drawable(*value));
        let (mut low, mut high) = (values().fold(f64::INFINITY, f64::min), values().fold(f64::NEG_INFINITY, f64::max));
        if low > high {
            (low, high) = (0.0, 1.0); // Nothing to show.
        }
        if matches!(self.scale, Scale::FromZero | Scale::Count) {
            low = low.min(0.0);
        }
        if high - low <= 1e-9 * high.abs() {
            let room = if high == 0.0 { 1.0 } else { high.abs() * 0.1 };
            (low, high) = (low.min(high - room).max(if low >= 0.0 { 0.0 } else { f64::NEG_INFINITY }), high + room);
        }
        let mut ticks = Ticks::over(low, high, 6.0, if self.scale == Scale::Count { 1.0 } else { 0.0 });
        if self.scale == Scale::Percent {
            ticks.high = ticks.high.min(100.0);
        }
        ticks
    }

    /// Lays a column over each epoch, which tells the values when the mouse rests on it.
    fn with_tooltips(&self, Drawing { mut svg, columns, top, bottom }: Drawing, epochs: &[f64]) -> String {
        svg.truncate(svg.trim_end().trim_end_matches("</svg>").len());
        svg.push_str("<g fill=\"transparent\">\n");
        for (index, (epoch, (left, right))) in epochs.iter().zip(columns).enumerate() {
            let (width, height) = (right - left, bottom - top);
            let _ = write!(svg, r#"<rect x="{left}" y="{top}" width="{width}" height="{height}"><title>epoch {epoch}"#);
            for (name, values) in &self.series {
                let _ = write!(svg, "\n{} {}", Text(name), self.scale.value(values[index]));
            }
            svg.push_str("</title></rect>\n");
        }
        svg.push_str("</g>\n</svg>\n");
        svg
    }
}

impl Scale {
    pub(super) fn value(self, value: f64) -> String {
        match self {
            Self::Count => format!("{value:.0}"),
            Self::Percent => format!("{value:.2} %"),
            Self::Values | Self::FromZero if value != 0.0 && !(1e-3..1e6).contains(&value.abs()) => {
                format!("{value:.3e}")
            }
            Self::Values | Self::FromZero => format!("{value:.4}"),
        }
    }
}

fn drawable(value: f64) -> bool {
    value.abs() <= LARGEST // Not if it is no number.
}

fn line(chart: &mut Chart<'_, '_>, points: Vec<(f64, f64)>, color: RGBColor) -> io::Result<()> {
    // Points that stand alone would be no line, and a few are easier to see as points.
    if points.len() <= 40 {
        chart.draw_series(points.iter().map(|&point| Circle::new(point, 5, color.filled()))).map_err(other)?;
    }
    if points.len() > 1 {
        chart.draw_series([PathElement::new(points, color.stroke_width(4))]).map_err(other)?;
    }
    Ok(())
}

/// Draws the sizes of groups, a list for each epoch, as shares of their sum that are stacked up to 100 %.
pub(super) fn stack(title: &str, epochs: &[f64], sizes: &[&[usize]]) -> io::Result<String> {
    let groups = sizes.iter().map(|sizes| sizes.len()).max().unwrap_or(0);
    let shape = Shape { size: (560, 340), left: 92, bottom: 78, font: 28, label: "" };
    let drawing = shape.draw(title, epochs, Ticks { low: 0.0, high: 100.0, step: 25.0 }, |chart| {
        // A group lies on those before it; it is drawn down to the ground and they over it, so that no gaps show.
        for group in (0..groups).rev() {
            let mut points: Vec<_> =
                epochs.iter().zip(sizes).map(|(&epoch, sizes)| (epoch, below(sizes, group))).collect();
            if let [(epoch, share)] = points[..] {
                points = vec![(epoch - 0.5, share), (epoch + 0.5, share)];
            }
            let (first, last) = (points[0].0, points[points.len() - 1].0);
            let area = points.iter().copied().chain([(last, 0.0), (first, 0.0)]).collect::<Vec<_>>();
            let [r, g, b] = GROUPS[group % GROUPS.len()];
            let color = RGBColor(r, g, b);
            chart.draw_series([Polygon::new(area, color.filled())]).map_err(other)?;
            if group + 1 < groups {
                chart.draw_series([PathElement::new(points, WHITE.stroke_width(2))]).map_err(other)?;
            }
        }
        Ok(())
    })?;
    Ok(drawing.svg)
}

/// Percentage of the groups up to `group`.
fn below(sizes: &[usize], group: usize) -> f64 {
    let sum = |sizes: &[usize]| sizes.iter().map(|&size| size as f64).sum::<f64>();
    match sum(sizes) {
        0.0 => 0.0,
        all => 100.0 * sum(&sizes[..sizes.len().min(group + 1)]) / all,
    }
}

type Chart<'a, 'b> = ChartContext<'a, SVGBackend<'b>, Cartesian2d<Ticks, Ticks>>;

/// Measures of a chart, in pixels.
struct Shape<'a> {
    size: (u32, u32),
    left: u32,
    bottom: u32,
    font: u32,
    label: &'a str,
}

struct Drawing {
    svg: String,
    /// From where to where each epoch reaches.
    columns: Vec<(i32, i32)>,
    top: i32,
    bottom: i32,
}

impl Shape<'_> {
    fn draw(
        &self,
        title: &str,
        epochs: &[f64],
        y: Ticks,
        series: impl FnOnce(&mut Chart<'_, '_>) -> io::Result<()>,
    ) -> io::Result<Drawing> {
        let mut svg = String::new();
        let root: DrawingArea<_, Shift> = SVGBackend::with_string(&mut svg, self.size).into_drawing_area();
        let x = Ticks::epochs(epochs);
        let mut chart = ChartBuilder::on(&root)
            .margin_top(18)
            .margin_right(28)
            .margin_bottom(6)
            .margin_left(10)
            .y_label_area_size(self.left)
            .x_label_area_size(self.bottom)
            .build_cartesian_2d(x, y)
            .map_err(other)?;
        let text = || ("sans-serif", self.font).into_font().color(&INK);
        chart
            .configure_mesh()
            .bold_line_style(GRID)
            .axis_style(AXIS)
            .label_style(text())
            .axis_desc_style(text())
            .x_label_formatter(&|value| x.text(*value))
            .y_label_formatter(&|value| y.text(*value))
            .x_desc("epoch")
            .y_desc(self.label)
            .draw()
            .map_err(other)?;
        series(&mut chart)?;
        let edge = |x: f64| chart.backend_coord(&(x, y.low)).0;
        let middle = |pair: &[f64]| edge((pair[0] + pair[1]) / 2.0);
        let mut columns = Vec::with_capacity(epochs.len());
        let mut left = edge(x.low);
        for right in epochs.windows(2).map(middle).chain([edge(x.high)]) {
            columns.push((left, right.max(left)));
            left = right;
        }
        let (top, bottom) = (chart.backend_coord(&(x.low, y.high)).1, chart.backend_coord(&(x.low, y.low)).1);
        root.present().map_err(other)?;
        drop((chart, root));
        let svg = svg.replacen("<svg ", &format!(r#"<svg role="img" aria-label="{}" "#, Text(title)), 1);
        Ok(Drawing { svg, columns, top, bottom })
    }
}

fn other(error: impl Display) -> io::Error {
    io::Error::other(error.to_string())
}

/// The range of an axis and its round values.
#[derive(Clone, Copy)]
struct Ticks {
    low: f64,
    high: f64,
    step: f64,
}

impl Ticks {
    /// Widened to round values, about `count` of them that are at least `least` apart.
    fn over(low: f64, high: f64, count: f64, least: f64) -> Self {
        let step = round_step(((high - low) / count).max(1e-12)).max(least);
        Self { low: (low / step).floor() * step, high: (high / step).ceil() * step, step }
    }

    /// From the first to the last epoch.
    fn epochs(epochs: &[f64]) -> Self {
        let (first, last) = (epochs[0], epochs[epochs.len() - 1]);
        if first < last {
            Self { low: first, high: last, step: round_step((last - first) / 8.0).max(1.0) }
        } else {
            Self { low: first - 0.5, high: first + 0.5, step: 1.0 }
        }
    }

    fn text(&self, value: f64) -> String {
        let value = if value.abs() < self.step / 2.0 { 0.0 } else { value }; // Never "-0".
        match -self.step.log10().floor() {
            decimals if decimals > 4.0 || value.abs() >= 1e6 => format!("{value:.1e}"),
            decimals => format!("{value:.*}", decimals.max(0.0) as usize),
        }
    }
}

impl Ranged for Ticks {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (from, to): (i32, i32)) -> i32 {
        let share = (value - self.low) / (self.high - self.low);
        from + (share * f64::from(to - from)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        if hint.weight().allow_light_points() {
            return Vec::new();
        }
        let (first, last) = ((self.low / self.step - 1e-6).ceil(), (self.high / self.step + 1e-6).floor());
        let count = (last - first).clamp(0.0, 100.0) as u32;
        (0..=count).map(|n| (first + f64::from(n)) * self.step).collect()
    }

    fn range(&self) -> Range<f64> {
        self.low..self.high
    }
}

/// The next of 1, 2, 5, 10, 20, ..., and likewise below 1.
fn round_step(step: f64) -> f64 {
    let power = 10f64.powf(step.log10().floor());
    [1.0, 2.0, 5.0].into_iter().map(|digit| digit * power).find(|round| *round >= step * 0.999).unwrap_or(10.0 * power)
}
