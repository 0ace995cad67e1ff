//! What the kernel says about a process: memory and processor time.

use std::{fs, process};

/// The kernel counts processor time in hundredths of a second, whatever its own tick is.
const TICK_MS: f64 = 10.0;

/// A process with all its descendants.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tree(pub(super) u32);

impl Tree {
    /// This process.
    pub(super) fn own() -> Self {
        Self(process::id())
    }

    /// Memory in KiB.
    pub(super) fn rss_kib(self) -> f64 {
        self.members().into_iter().filter_map(rss_kib).sum()
    }

    /// Processor time used so far, in milliseconds.
    pub(super) fn cpu_ms(self) -> f64 {
        let ticks = |pid| {
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            let user: f64 = field(&stat, 11)?.parse().ok()?;
            let system: f64 = field(&stat, 12)?.parse().ok()?;
            Some(user + system)
        };
        self.members().into_iter().filter_map(ticks).sum::<f64>() * TICK_MS
    }

    fn members(self) -> Vec<u32> {
        let Ok(entries) = fs::read_dir("/proc") else { return vec![self.0] };
        let pids = entries.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
        let parent = |pid| field(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?, 1)?.parse().ok();
        let pairs: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
        let mut members = vec![self.0];
        let mut next = 0;
        while let Some(member) = members.get(next).copied() {
            members.extend(pairs.iter().filter(|(_, parent)| *parent == member).map(|(pid, _)| pid));
            next += 1;
        }
        members
    }
}

/// The exact sum over all mappings; `statm` is kept per processor and lags behind.
fn rss_kib(pid: u32) -> Option<f64> {
    let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Rss:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// A field of `/proc/PID/stat`, counted from the one after the name, which may hold anything.
fn field(stat: &str, at: usize) -> Option<&str> {
    stat.rsplit_once(") ")?.1.split(' ').nth(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_counted_from_behind_the_name() {
        let stat = "7 (a) b) S 3 7 7 0 -1 4 0 0 0 0 12 34 0 0 20 0";
        assert_eq!((field(stat, 1), field(stat, 11), field(stat, 12)), (Some("3"), Some("12"), Some("34")));
    }
}
