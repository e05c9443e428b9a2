//! The caches of this machine, which decide what is worth fusing.

use std::fs;

/// The sizes of a core's caches, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Caches {
    /// First level, data.
    pub l1: usize,
    /// Second level.
    pub l2: usize,
    /// Last level: a third one, or the second again.
    pub last: usize,
}

impl Default for Caches {
    /// Those of a small core, for where the machine does not tell.
    fn default() -> Self {
        Self { l1: 32 << 10, l2: 512 << 10, last: 512 << 10 }
    }
}

impl Caches {
    /// Those of this machine's first core, as Linux tells them; elsewhere the default.
    #[must_use]
    pub fn of_this_machine() -> Self {
        let mut caches = Self::default();
        let mut third = None;
        for index in 0..4 {
            let read = |name| {
                let path = format!("/sys/devices/system/cpu/cpu0/cache/index{index}/{name}");
                fs::read_to_string(path).ok().map(|text| text.trim().to_owned())
            };
            let (Some(level), Some(kind), Some(size)) = (read("level"), read("type"), read("size")) else { continue };
            let Some(bytes) = size.strip_suffix('K').and_then(|kib| kib.parse::<usize>().ok()) else { continue };
            match (level.as_str(), kind.as_str()) {
                ("1", "Data" | "Unified") => caches.l1 = bytes << 10,
                ("2", "Data" | "Unified") => caches.l2 = bytes << 10,
                ("3", "Data" | "Unified") => third = Some(bytes << 10),
                _ => {}
            }
        }
        caches.last = third.unwrap_or(caches.l2);
        caches
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_have_plausible_sizes() {
        let Caches { l1, l2, last } = Caches::of_this_machine();
        assert!((4 << 10..1 << 20).contains(&l1) && l1 <= l2 && l2 <= last && last <= 8 << 30, "{l1} {l2} {last}");
    }
}
