//! Whether somebody is at the other end of a socket: when it is asked, and how long nobody may answer.

use std::{pin::Pin, time::Duration};

use tokio::time::{Instant, Sleep, sleep};

/// Pings a client may leave unanswered where nothing else is said.
const UNANSWERED: u8 = 2;

/// Nobody was heard for too long.
#[derive(Debug)]
pub(super) struct Silent;

/// What a socket knows of its client's life, by one timer.
pub(super) struct Pulse {
    pub(super) timer: Pin<Box<Sleep>>,
    every: Duration,
    /// How long nobody may be heard, where that counts and not pings without an answer.
    silence: Option<Duration>,
    heard: Instant,
    asked: Instant,
    unanswered: u8,
}

impl Pulse {
    pub(super) fn new(every: Duration) -> Self {
        let now = Instant::now();
        Self { timer: Box::pin(sleep(every)), every, silence: None, heard: now, asked: now, unanswered: 0 }
    }

    /// So long may nobody be heard, however many pings that are.
    pub(super) fn ends_after(&mut self, silence: Duration) {
        self.silence = Some(silence);
    }

    /// Something was heard.
    pub(super) fn hears(&mut self) {
        (self.heard, self.unanswered) = (Instant::now(), 0);
    }

    /// The timer went off: whether it is time to ask; nobody was heard for too long.
    pub(super) fn ring(&mut self) -> Result<bool, Silent> {
        let is_over = match self.silence {
            Some(silence) => self.heard.elapsed() >= silence,
            None => self.unanswered >= UNANSWERED,
        };
        if is_over {
            return Err(Silent);
        }
        let asks = self.asked.elapsed() >= self.every;
        if asks {
            (self.asked, self.unanswered) = (Instant::now(), self.unanswered.saturating_add(1));
        }
        let next = self.asked + self.every;
        let over = self.silence.map(|silence| self.heard + silence);
        self.timer.as_mut().reset(over.map_or(next, |over| next.min(over)));
        Ok(asks)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The seconds at which it asks, and the one at which it gives up; the client says something at 40.
    async fn life(mut pulse: Pulse) -> (Vec<u64>, u64) {
        let (began, mut asked) = (Instant::now(), Vec::new());
        loop {
            pulse.timer.as_mut().await;
            match pulse.ring() {
                Ok(asks) => asked.extend(asks.then(|| began.elapsed().as_secs())),
                Err(Silent) => return (asked, began.elapsed().as_secs()),
            }
            if began.elapsed().as_secs() == 40 {
                pulse.hears();
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_client_is_let_go_after_silence_or_after_two_pings_without_an_answer() {
        let every = Duration::from_secs(20);
        let mut patient = Pulse::new(every);
        patient.ends_after(Duration::from_secs(65));
        assert_eq!(life(patient).await, (vec![20, 40, 60, 80, 100], 105));
        assert_eq!(life(Pulse::new(every)).await, (vec![20, 40, 60, 80], 100));
    }
}
