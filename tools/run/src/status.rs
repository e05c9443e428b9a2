//! How the programs end and what they say on the way.
//!
//! Exit status: 0 all done; 1 some or all inputs failed, the others were done; 2 the arguments or the model can't be used, or the answers can't be
//! written. A reader that closes the programs' standard output early (`flgc-run ... | head -1`) has what it wanted: they stop quietly, with the status
//! that they had reached.

use flgc::{ModelError, PlanError};
use std::{
    fmt::{Display, Write as _},
    io::{self, Write},
    process::ExitCode,
};

/// What became of the inputs of a program that came to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// All done.
    Done,
    /// Some or all failed, each with a note; the others were done.
    SomeFailed,
}

/// Why a program stops before its end. The text is one line, without the name of the program.
#[derive(Debug, PartialEq, Eq)]
pub enum Stop {
    /// The arguments or the model can't be used, or the answers can't be written.
    Unusable(String),
    /// The only input failed.
    InputFailed(String),
    /// Nobody reads the answers any more.
    OutputClosed,
}

impl Stop {
    /// Writing answers to `place` failed.
    #[must_use]
    pub fn output(place: impl Display, error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::OutputClosed,
            _ => Self::Unusable(format!("{place}: {error}")),
        }
    }
}

impl From<ModelError> for Stop {
    fn from(error: ModelError) -> Self {
        Self::Unusable(error.to_string())
    }
}

impl From<PlanError> for Stop {
    fn from(error: PlanError) -> Self {
        // The library names its own option; here it is an argument.
        Self::Unusable(error.to_string().replace("Options::memory_limit", "--memory-limit"))
    }
}

/// The exit status of the contract, after the last note.
#[must_use]
pub fn finish(program: &str, result: Result<Status, Stop>) -> ExitCode {
    let (text, status) = match result {
        Ok(Status::Done) | Err(Stop::OutputClosed) => return ExitCode::SUCCESS,
        Ok(Status::SomeFailed) => return ExitCode::from(1),
        Err(Stop::InputFailed(text)) => (text, 1),
        Err(Stop::Unusable(text)) => (text, 2),
    };
    note(program, text);
    ExitCode::from(status)
}

/// A line on standard error. That nobody can read it is no reason to stop.
pub fn note(program: &str, text: impl Display) {
    let line = format!("{program}: {}\n", printable(text));
    let _ = io::stderr().write_all(line.as_bytes());
}

/// `text` on one line and harmless to a terminal: control characters, which names may contain, are escaped.
#[must_use]
pub fn printable(text: impl Display) -> String {
    let text = text.to_string();
    let mut line = String::with_capacity(text.len());
    for char in text.trim_end().chars() {
        if char.is_control() {
            let _ = write!(line, "{}", char.escape_default());
        } else {
            line.push(char);
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notes_are_one_harmless_line() {
        assert_eq!(printable("a\nb\x1b[2J ä\n"), "a\\nb\\u{1b}[2J ä");
    }
}
