//! What a socket does in its own time: pings, inputs that waited too long, its credential's end.

use std::time::Duration;

use moongate_protocol::InputId;
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

use super::{Ending, Own, Socket};
use crate::life::Sign;

/// Pings without an answer after which a socket is given up.
const UNANSWERED: u32 = 2;
/// Longest sleep without anything due.
const LONG: Duration = Duration::from_secs(3600);

impl Socket {
    pub(super) fn due(&self) -> Instant {
        let due = [Some(self.pulse.next), self.pulse.listens_at, self.chat.deadline()];
        due.into_iter().flatten().min().unwrap_or_else(|| Instant::now() + LONG)
    }

    /// Does what is due: pings, and inputs that waited too long.
    pub(super) async fn tick(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if self.pulse.listens_at.take_if(|at| *at <= now).is_some() {
            tracing::debug!("a chat socket only listens so far");
        }
        if self.pulse.next <= now {
            if self.pulse.unanswered >= UNANSWERED {
                return Err(Ending::Gone);
            }
            self.pulse.unanswered += 1;
            self.pulse.next = now + Duration::from_secs(self.door.settings.timing.ping_secs);
            self.out.ping();
        }
        let late = |own: &Own| own.deadline.is_some_and(|deadline| deadline <= now);
        let late: Vec<InputId> =
            self.chat.own.iter().filter(|(_, own)| late(own)).map(|(input, _)| *input).collect();
        for input in late {
            if let Some(own) = self.chat.own.get_mut(&input) {
                (own.deadline, own.expired) = (None, true);
            }
            let Some(attached) = &self.chat.attached else { break };
            // One that began in this moment runs; the client is told only of one that was taken back.
            drop(attached.handle.withdraw(input).await);
        }
        Ok(())
    }

    pub(super) fn heed(&mut self, sign: Sign) -> Result<(), Ending> {
        match sign {
            Sign::Beat | Sign::Draining => Ok(()),
            Sign::Over if self.door.app().closing().is_cancelled() => Err(Ending::Away),
            Sign::Over => Err(Ending::Revoked),
        }
    }

    pub(super) fn sent(&mut self, sent: Result<Option<u64>, tungstenite::Error>) -> Result<(), Ending> {
        let ended = sent.map_err(|_| Ending::Gone)?;
        let session = self.chat.attached.as_ref().map(|attached| attached.handle.id());
        if let Some(shown) = session.zip(ended) {
            self.pulse.shown = Some(shown);
        }
        Ok(())
    }

    /// The client showed that it lives: what it was sent before was seen.
    pub(super) fn alive(&mut self) {
        self.pulse.unanswered = 0;
        if let Some((session, seq)) = self.pulse.shown.take() {
            let kept = Duration::from_secs(self.door.settings.timing.late_answer_secs);
            self.door.seen.mark(session, seq, self.door.now(), kept);
        }
    }
}
