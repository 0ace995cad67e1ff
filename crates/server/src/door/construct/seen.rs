//! Which answers were seen: what is not may be shown again to a client that comes back.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moongate_protocol::{SessionId, Timestamp};

/// Sessions that are remembered; past it the oldest marks are dropped, and their answers may be shown twice.
const SESSIONS: usize = 100_000;

/// Up to where each session's answers were seen lately.
#[derive(Default)]
pub(super) struct Seen(Mutex<HashMap<SessionId, (u64, Timestamp)>>);

impl Seen {
    /// Everything up to this event was seen. Marks older than `kept` are of no use any more.
    pub(super) fn mark(&self, session: SessionId, seq: u64, now: Timestamp, kept: Duration) {
        let mut marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if marks.len() >= SESSIONS && !marks.contains_key(&session) {
            marks.retain(|_, (_, at)| now.since(*at) < kept);
            if marks.len() >= SESSIONS {
                marks.clear();
            }
        }
        let mark = marks.entry(session).or_insert((seq, now));
        *mark = (mark.0.max(seq), now);
    }

    /// Whether this event was.
    pub(super) fn covers(&self, session: SessionId, seq: u64) -> bool {
        let marks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        marks.get(&session).is_some_and(|(seen, _)| *seen >= seq)
    }
}
