//! What on this machine can make times worthless.

use std::{fs, time::Instant};

/// How much slower than the median a tenth of the runs may be.
const SPREAD: f64 = 1.15;
/// The share of a core's time that others may take.
const STOLEN: f64 = 0.01;

/// A stretch of time under watch.
pub(super) struct Noise {
    start: Instant,
    stolen: Option<f64>,
}

impl Noise {
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), stolen: stolen_seconds() }
    }

    /// The share of one core's time that the hypervisor gave to others meanwhile; `None` if the system does not say.
    pub(super) fn stolen(&self) -> Option<f64> {
        Some((stolen_seconds()? - self.stolen?) / self.start.elapsed().as_secs_f64())
    }
}

/// Stolen time of all cores so far; the kernel counts it in hundredths of a second.
fn stolen_seconds() -> Option<f64> {
    let text = fs::read_to_string("/proc/stat").ok()?;
    // cpu user nice system idle iowait irq softirq steal
    let ticks: f64 = text.lines().next()?.split_whitespace().nth(8)?.parse().ok()?;
    Some(ticks / 100.0)
}

/// The most memory that this process has had resident; `None` if the system does not say.
pub(super) fn peak_rss_bytes() -> Option<u64> {
    super::field("/proc/self/status", "VmHWM:").map(|kib| kib * 1024)
}

/// How a core chooses its frequency; `None` if the system does not say.
pub(super) fn governor(core: usize) -> Option<String> {
    let path = format!("/sys/devices/system/cpu/cpu{core}/cpufreq/scaling_governor");
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// What is to be said of a measurement with that median and that ninth decile, in milliseconds.
pub(super) fn warnings(p50: f64, p90: f64, stolen: Option<f64>, governor: Option<&str>) -> Vec<String> {
    let mut warnings = Vec::new();
    if p90 > SPREAD * p50 {
        warnings.push(format!("a tenth of the runs took {:.0} % more than the median", 100.0 * (p90 / p50 - 1.0)));
    }
    if let Some(share) = stolen.filter(|&share| share > STOLEN) {
        warnings.push(format!("{:.1} % of a core's time went to other virtual machines", 100.0 * share));
    }
    if let Some(governor) = governor.filter(|&governor| governor != "performance") {
        warnings.push(format!("the frequency governor is {governor:?}, expected \"performance\""));
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spread_and_stolen_time_are_noise() {
        let said = |p90: f64, stolen: Option<f64>| warnings(1.0, p90, stolen, None).join("; ");
        assert!(said(1.5, None).contains("50 % more"));
        assert!(said(1.0, Some(0.25)).contains("25.0 % of a core's time"));
        assert_eq!(said(1.1, Some(0.001)), "");
        assert_eq!(warnings(1.0, 1.0, None, Some("performance")), [""; 0]);
        assert!(warnings(1.0, 1.0, None, Some("powersave"))[0].contains("\"powersave\""));
    }
}
