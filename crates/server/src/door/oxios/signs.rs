//! How often a socket may send nonsense, and how often it is shown a tool's progress.

use std::time::Duration;

use tokio::time::Instant;

/// Unacceptable frames a socket may send in a minute.
const FAULTS: u32 = 100;
/// How often a tool's progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

/// What happened on the socket lately.
pub(super) struct Signs {
    faults: (Instant, u32),
    progress: Option<Instant>,
}

impl Signs {
    pub(super) fn new() -> Self {
        Self { faults: (Instant::now(), 0), progress: None }
    }

    /// Whether the client may go on after one more unacceptable frame.
    pub(super) fn forgive(&mut self) -> bool {
        if self.faults.0.elapsed() >= Duration::from_secs(60) {
            self.faults = (Instant::now(), 0);
        }
        self.faults.1 += 1;
        self.faults.1 <= FAULTS
    }

    /// Whether a tool's progress may be shown again: it is no more than a sign of life.
    pub(super) fn shows_progress(&mut self) -> bool {
        let due = self.progress.is_none_or(|last| last.elapsed() >= PROGRESS);
        if due {
            self.progress = Some(Instant::now());
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_hundred_faults_a_minute_are_forgiven() {
        let mut signs = Signs::new();
        assert!((0..100).all(|_| signs.forgive()));
        assert!(!signs.forgive());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(signs.forgive());
    }
}
