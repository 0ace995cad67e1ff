//! What a socket knows of its client's life, by one timer.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// How often the socket is asked whether anybody is there.
const PING: Duration = Duration::from_secs(20);
/// How long nobody may answer.
const SILENCE: Duration = Duration::from_secs(60);
/// Unacceptable frames a socket may send in a minute.
const FAULTS: u32 = 100;
/// How often a tool's progress is shown.
const PROGRESS: Duration = Duration::from_millis(500);

/// Nobody was heard for too long.
#[derive(Debug)]
pub(super) struct Silent;

/// What the socket knows of its client's life.
pub(super) struct Signs {
    pub(super) timer: Pin<Box<Sleep>>,
    pub(super) heard: Instant,
    asked: Instant,
    faults: (Instant, u32),
    progress: Option<Instant>,
}

impl Signs {
    pub(super) fn new() -> Self {
        let now = Instant::now();
        Self { timer: Box::pin(sleep(PING)), heard: now, asked: now, faults: (now, 0), progress: None }
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

    /// The timer went off: whether it is time to ask; nobody was heard for too long.
    pub(super) fn ring(&mut self) -> Result<bool, Silent> {
        if self.heard.elapsed() >= SILENCE {
            return Err(Silent);
        }
        let asks = self.asked.elapsed() >= PING;
        if asks {
            self.asked = Instant::now();
        }
        let next = (self.asked + PING).min(self.heard + SILENCE);
        self.timer.as_mut().reset(next);
        Ok(asks)
    }
}
