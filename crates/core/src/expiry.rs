//! When open approvals become a no: a list of sessions, and the one task that wakes them.
//!
//! The wall clock says when. It may be moved while somebody waits, and a test moves it by hand: so the task looks at
//! it again and again while something is open, and not at all otherwise.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use moongate_protocol::{SessionId, Timestamp};
use tokio::sync::Notify;

use crate::{Caller, Gateway, gateway::Shared};

/// How often the clock is looked at: how late an expiry may be.
const TICK: Duration = Duration::from_secs(1);
/// Sessions woken at one look: after a long stop all may be due, and each is read back from its log.
const WOKEN_AT_ONCE: usize = 64;

/// The sessions that wait for a person, by the time their first open approval expires.
#[derive(Default)]
pub(crate) struct Expiries {
    sessions: Mutex<Sessions>,
    news: Notify,
}

#[derive(Default)]
struct Sessions {
    by_time: BTreeSet<(Timestamp, SessionId)>,
    times: HashMap<SessionId, Timestamp>,
}

impl Expiries {
    fn sessions(&self) -> MutexGuard<'_, Sessions> {
        self.sessions.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Says when a session's first open approval expires; `None` when none is open.
    pub(crate) fn set(&self, session: SessionId, at: Option<Timestamp>) {
        let mut sessions = self.sessions();
        if let Some(before) = sessions.times.remove(&session) {
            sessions.by_time.remove(&(before, session));
        }
        if let Some(at) = at {
            sessions.times.insert(session, at);
            sessions.by_time.insert((at, session));
            drop(sessions);
            self.news.notify_one();
        }
    }

    fn is_empty(&self) -> bool {
        self.sessions().times.is_empty()
    }

    fn due(&self, now: Timestamp) -> Vec<SessionId> {
        let sessions = self.sessions();
        let due = sessions.by_time.iter().take_while(|(at, _)| *at <= now);
        due.take(WOKEN_AT_ONCE).map(|(_, session)| *session).collect()
    }
}

/// Wakes sessions whose approvals are due, until the gateway stops. A session stays on the list until its actor
/// has written that nobody answered.
pub(crate) async fn watch(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            () = shared.shutdown.draining.cancelled() => return,
            () = shared.expiries.news.notified() => {}
        }
        while !shared.expiries.is_empty() {
            tokio::select! {
                () = shared.shutdown.draining.cancelled() => return,
                () = tokio::time::sleep(TICK) => {}
            }
            wake_due(&shared).await;
        }
    }
}

async fn wake_due(shared: &Arc<Shared>) {
    let gateway = Gateway { shared: Arc::clone(shared) };
    for session in shared.expiries.due(shared.ids.now()) {
        match gateway.open(session).await {
            Ok(slot) => gateway.handle(slot, Caller::gateway()).nudge(),
            // Deleted, or not to be read: nobody is asked any more.
            Err(refusal) => {
                tracing::warn!(session.id = %session, %refusal, "an approval expired in a session that cannot be opened");
                shared.expiries.set(session, None);
            }
        }
    }
}
