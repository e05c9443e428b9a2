//! How far an epoch is, on standard error: a bar if that is a terminal, else now and then a line.

use indicatif::{ProgressBar, ProgressState, ProgressStyle};
use std::{
    fmt,
    io::{self, Write},
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

/// Time between lines, where there is no terminal.
const PAUSE: Duration = Duration::from_secs(30);

/// Progress over the steps of an epoch.
#[derive(Debug)]
pub struct Progress {
    label: String,
    bar: ProgressBar,
    pictures: Option<u64>,
    /// When the last line was written.
    last: Mutex<Instant>,
}

impl Progress {
    /// `label` says which part of the work has these steps: `epoch 3/40`.
    #[must_use]
    pub fn new(total_steps: u64, label: &str) -> Self {
        let progress = Self {
            label: label.to_owned(),
            bar: ProgressBar::new(total_steps),
            pictures: None,
            last: Mutex::new(Instant::now()),
        };
        progress.style();
        progress
    }

    /// Tells the rate in pictures instead of steps.
    #[must_use]
    pub fn pictures(mut self, per_step: u64) -> Self {
        self.pictures = Some(per_step);
        self.style();
        self
    }

    /// One more step is done; `message` says how it goes, such as the running loss.
    pub fn step(&self, message: &str) {
        if !self.bar.is_hidden() {
            self.bar.set_message(message.to_owned());
            self.bar.inc(1);
            return;
        }
        self.bar.inc(1);
        let mut last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        if last.elapsed() >= PAUSE {
            *last = Instant::now();
            self.println(&self.line(message, self.bar.elapsed().as_secs_f64()));
        }
    }

    /// Writes a line without tearing the bar. That nobody can read it is no reason to stop.
    pub fn println(&self, text: &str) {
        self.bar.suspend(|| {
            let _ = io::stderr().write_all(format!("{text}\n").as_bytes());
        });
    }

    /// Takes the bar away.
    pub fn finish(self) {
        self.bar.finish_and_clear();
    }

    fn style(&self) {
        if self.bar.is_hidden() {
            return;
        }
        let pictures = self.pictures;
        let style = ProgressStyle::with_template("{label} [{bar:24}] {pos}/{len} {msg}, {rate}, {elapsed}, {eta} left")
            .unwrap_or_else(|error| unreachable!("a fixed template: {error}"))
            .progress_chars("=> ")
            .with_key("rate", move |state: &ProgressState, out: &mut dyn fmt::Write| {
                let _ = out.write_str(&rate(pictures, state.per_sec()));
            });
        let label = self.label.clone();
        self.bar.set_style(style.with_key("label", move |_: &ProgressState, out: &mut dyn fmt::Write| {
            let _ = out.write_str(&label);
        }));
    }

    fn line(&self, message: &str, seconds: f64) -> String {
        let (done, total) = (self.bar.position(), self.bar.length().unwrap_or(0));
        let per_second = if seconds > 0.0 { done as f64 / seconds } else { 0.0 };
        let left = clock(total.saturating_sub(done) as f64 / per_second);
        format!("{}: step {done}/{total}, {message}, {}, {left} left", self.label, rate(self.pictures, per_second))
    }
}

fn rate(pictures: Option<u64>, steps: f64) -> String {
    match pictures {
        Some(pictures) => format!("{:.0} pictures/s", steps * pictures as f64),
        None => format!("{steps:.1} steps/s"),
    }
}

/// `2:13` or `1:02:13`.
pub(crate) fn clock(seconds: f64) -> String {
    if !(0.0..1e9).contains(&seconds) {
        return "?".to_owned();
    }
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
        (0, minutes, seconds) => format!("{minutes}:{seconds:02}"),
        (hours, minutes, seconds) => format!("{hours}:{minutes:02}:{seconds:02}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_tell_rate_and_time_left() {
        let progress = Progress::new(390, "epoch 3/40");
        assert_eq!(progress.line("loss 1.234", 0.0), "epoch 3/40: step 0/390, loss 1.234, 0.0 steps/s, ? left");
        progress.bar.set_position(200);
        assert_eq!(progress.line("loss 1.234", 100.0), "epoch 3/40: step 200/390, loss 1.234, 2.0 steps/s, 1:35 left");
        let progress = progress.pictures(256);
        assert_eq!(
            progress.line("loss 1.234", 100.0),
            "epoch 3/40: step 200/390, loss 1.234, 512 pictures/s, 1:35 left"
        );
    }

    #[test]
    fn clocks() {
        assert_eq!([0.0, 59.6, 3733.0, -1.0, f64::NAN].map(clock), ["0:00", "1:00", "1:02:13", "?", "?"]);
    }
}
