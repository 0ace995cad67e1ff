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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_client_is_asked_every_twenty_seconds_and_let_go_after_sixty_of_silence() {
        let (mut signs, began) = (Signs::new(), Instant::now());
        let mut asked = Vec::new();
        let silent = loop {
            signs.timer.as_mut().await;
            match signs.ring() {
                Ok(asks) => asked.extend(asks.then(|| began.elapsed().as_secs())),
                Err(Silent) => break began.elapsed().as_secs(),
            }
            // It says something once, and never again.
            if began.elapsed().as_secs() == 40 {
                signs.heard = Instant::now();
            }
        };
        assert_eq!((asked, silent), (vec![20, 40, 60, 80], 100));
    }

    #[tokio::test(start_paused = true)]
    async fn a_hundred_faults_a_minute_are_forgiven() {
        let mut signs = Signs::new();
        assert!((0..100).all(|_| signs.forgive()));
        assert!(!signs.forgive());
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(signs.forgive());
    }
}
