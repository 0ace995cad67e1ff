//! What a socket does in its own time: inputs that waited too long, and what was seen of what it was sent.

use std::time::Duration;

use moongate_protocol::{InputId, SessionId};
use tokio::time::Instant;

use super::{Ending, Line, Own};
use crate::door::construct::{out::Out, settings::Timing};

/// When a client is one that listens, and what it was shown.
pub(super) struct Pulse {
    /// When a client that said nothing is one that listens.
    pub(super) listens_at: Option<Instant>,
    /// The end of a turn that was sent and that no sign of life followed yet, and the probe after it.
    shown: Option<(u64, (SessionId, u64))>,
    probes: u64,
}

impl Pulse {
    pub(super) fn new(timing: Timing) -> Self {
        let listens_at = Some(Instant::now() + Duration::from_secs(timing.first_frame_secs));
        Self { listens_at, shown: None, probes: 0 }
    }

    /// The end of a turn is on its way; what goes after it to learn whether it arrived.
    pub(super) fn shows(&mut self, end: (SessionId, u64)) -> Out {
        self.probes += 1;
        self.shown = Some((self.probes, end));
        Out::Probe(self.probes)
    }
}

impl Line {
    /// When something is due.
    pub(super) fn due(&self) -> Option<Instant> {
        [self.pulse.listens_at, self.chat.deadline()].into_iter().flatten().min()
    }

    /// Does what is due.
    pub(super) async fn tick(&mut self) -> Result<(), Ending> {
        let now = Instant::now();
        if self.pulse.listens_at.take_if(|at| *at <= now).is_some() {
            tracing::debug!("a chat socket only listens so far");
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

    /// A probe was answered: what was sent before it was seen.
    pub(super) fn answered(&mut self, probe: u64) {
        if let Some((_, end)) = self.pulse.shown.take_if(|(sent, _)| *sent <= probe) {
            self.seen(end);
        }
    }

    /// The client says something: it saw what was written before, as far as all of it was.
    pub(super) fn alive(&mut self) {
        if self.backlog.is_empty()
            && self.socket.is_all_written()
            && let Some((_, end)) = self.pulse.shown.take()
        {
            self.seen(end);
        }
    }

    fn seen(&self, (session, seq): (SessionId, u64)) {
        self.door.saw(session, seq);
    }
}
