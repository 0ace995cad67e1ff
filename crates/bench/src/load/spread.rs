//! How a measure is spread.

use std::time::Duration;

use serde::Serialize;

/// Percentiles in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Spread {
    count: usize,
    p50: f64,
    p90: f64,
    p99: f64,
}

impl Spread {
    /// Nothing when nothing was measured.
    pub(super) fn of(times: impl Iterator<Item = Duration>) -> Option<Self> {
        let mut times: Vec<f64> = times.map(|time| time.as_secs_f64() * 1e3).collect();
        times.sort_by(f64::total_cmp);
        let percentile =
            |percent: usize| times.get((times.len().checked_sub(1)? * percent + 50) / 100).copied();
        Some(Self { count: times.len(), p50: percentile(50)?, p90: percentile(90)?, p99: percentile(99)? })
    }
}

/// The middle one; nothing when there is none.
pub(super) fn median(times: &[Duration]) -> Option<f64> {
    Spread::of(times.iter().copied()).map(|spread| spread.p50)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_measured_values() {
        let of = |most| Spread::of((1..=most).map(Duration::from_millis));
        assert_eq!(of(0), None);
        assert_eq!(of(1), Some(Spread { count: 1, p50: 1.0, p90: 1.0, p99: 1.0 }));
        assert_eq!(of(101), Some(Spread { count: 101, p50: 51.0, p90: 91.0, p99: 100.0 }));
    }
}
