//! Answers as text, JSON or CSV on standard output.

use crate::{
    classify::Ranked,
    cli::Format,
    status::{Stop, printable},
};
use serde::Serialize;
use std::{
    borrow::Cow,
    io::{self, Write},
    path::Path,
};

/// Widest column of labels in text; longer labels are shown whole, out of line.
const MAX_WIDTH: usize = 40;

/// Writes `text` to standard output, now: whoever reads it need not wait.
///
/// # Errors
/// If it can't be written, or nobody reads it any more.
pub fn print(text: &str) -> Result<(), Stop> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Stop::output("standard output", &error))
}

/// Writes answers.
pub struct Answers<'a> {
    format: Format,
    is_table: bool,
    labels: &'a [String],
    width: usize,
    is_first: bool,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Top { input: Cow<'a, str>, top: Vec<Class<'a>> },
    Error { input: Cow<'a, str>, error: &'a str },
}

#[derive(Serialize)]
struct Class<'a> {
    index: usize,
    label: Option<&'a str>,
    probability: f32,
}

impl<'a> Answers<'a> {
    /// In `format`, with the names of the classes, which may be none. `is_table` makes text a table for each picture instead of a line.
    #[must_use]
    pub fn new(format: Format, is_table: bool, labels: &'a [String]) -> Self {
        let width = labels.iter().map(|label| printable(label).chars().count()).max().unwrap_or(10).min(MAX_WIDTH);
        Self { format, is_table, labels, width, is_first: true }
    }

    /// Writes the answer for the input at `path`: its best classes, or why there are none.
    ///
    /// # Errors
    /// If it can't be written.
    pub fn write(&mut self, path: &Path, result: Result<&[Ranked], &str>) -> Result<(), Stop> {
        let text = match self.format {
            Format::Text => self.text(path, result),
            Format::Json => self.json(path, result),
            Format::Csv => self.csv(path, result),
        };
        self.is_first &= text.is_empty();
        print(&text)
    }

    fn label(&self, class: Ranked) -> Option<&'a str> {
        self.labels.get(class.index).map(String::as_str)
    }

    /// Failed inputs have their note on standard error.
    fn text(&self, path: &Path, result: Result<&[Ranked], &str>) -> String {
        let Ok(top) = result else { return String::new() };
        let (width, path) = (self.width, printable(path.display()));
        let name = |class: Ranked| self.label(class).map_or_else(|| format!("class {}", class.index), printable);
        let percent = |class: Ranked| f64::from(class.probability) * 100.0;
        if !self.is_table {
            let best = top.first().map(|&class| format!("{:width$}  {:6.2} %", name(class), percent(class)));
            return format!("{}  {path}\n", best.unwrap_or_default());
        }
        let mut text = format!("{}{path}\n", if self.is_first { "" } else { "\n" });
        for (place, &class) in (1..).zip(top) {
            text += &format!("{place:3}  {:width$}  {:6.2} %\n", name(class), percent(class));
        }
        text
    }

    fn json(&self, path: &Path, result: Result<&[Ranked], &str>) -> String {
        let input = path.to_string_lossy();
        let class =
            |&class: &Ranked| Class { index: class.index, label: self.label(class), probability: class.probability };
        let line = match result {
            Ok(top) => Line::Top { input, top: top.iter().map(class).collect() },
            Err(error) => Line::Error { input, error },
        };
        let json = serde_json::to_string(&line).unwrap_or_else(|error| unreachable!("strings and numbers: {error}"));
        json + "\n"
    }

    fn csv(&self, path: &Path, result: Result<&[Ranked], &str>) -> String {
        let mut text =
            if self.is_first { "input,rank,index,label,probability,error\n".to_owned() } else { String::new() };
        let input = path.to_string_lossy();
        let input = field(&input);
        match result {
            Ok(top) => {
                for (rank, &class) in (1..).zip(top) {
                    let label = field(self.label(class).unwrap_or_default());
                    text += &format!("{input},{rank},{},{label},{},\n", class.index, class.probability);
                }
            }
            Err(error) => text += &format!("{input},,,,,{}\n", field(error)),
        }
        text
    }
}

/// A field of a CSV file, quoted where it must be (RFC 4180).
fn field(text: &str) -> Cow<'_, str> {
    if text.contains(['"', ',', '\n', '\r']) {
        format!("\"{}\"", text.replace('"', "\"\"")).into()
    } else {
        text.into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TOP: [Ranked; 2] = [Ranked { index: 1, probability: 0.75 }, Ranked { index: 7, probability: 0.125 }];

    #[test]
    fn csv() {
        let labels = ["a".to_owned(), "b, \"c\"".to_owned()];
        let answers = Answers::new(Format::Csv, false, &labels);
        let header = "input,rank,index,label,probability,error\n";
        let rows = "\"x,\n.png\",1,1,\"b, \"\"c\"\"\",0.75,\n\"x,\n.png\",2,7,,0.125,\n";
        assert_eq!(answers.csv(Path::new("x,\n.png"), Ok(&TOP)), format!("{header}{rows}"));
        assert_eq!(answers.csv(Path::new("x"), Err("a, b")), format!("{header}x,,,,,\"a, b\"\n"));
    }

    #[test]
    fn json() {
        let labels = ["a".to_owned(), "b \"c\"".to_owned()];
        let answers = Answers::new(Format::Json, false, &labels);
        let line = "{\"input\":\"x\\n.png\",\"top\":[{\"index\":1,\"label\":\"b \\\"c\\\"\",\"probability\":0.75},{\"index\":7,\"label\":null,\"probability\":0.125}]}\n";
        assert_eq!(answers.json(Path::new("x\n.png"), Ok(&TOP)), line);
        assert_eq!(answers.json(Path::new("x"), Err("e")), "{\"input\":\"x\",\"error\":\"e\"}\n");
    }

    #[test]
    fn text() {
        let labels = ["airplane".to_owned(), "cat".to_owned()];
        let mut answers = Answers::new(Format::Text, false, &labels);
        assert_eq!(answers.text(Path::new("x.png"), Ok(&TOP)), "cat        75.00 %  x.png\n");
        answers.is_table = true;
        assert_eq!(
            answers.text(Path::new("x\n.png"), Ok(&TOP)),
            "x\\n.png\n  1  cat        75.00 %\n  2  class 7    12.50 %\n"
        );
        assert_eq!(answers.text(Path::new("x.png"), Err("e")), "");
    }
}
