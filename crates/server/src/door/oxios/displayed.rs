//! Which sessions some socket shows: pruning leaves them alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use moongate_protocol::SessionId;

/// Sessions and how many sockets are in them.
#[derive(Debug, Default)]
pub(super) struct Displayed(Mutex<HashMap<SessionId, usize>>);

impl Displayed {
    /// A socket goes from one session to another, or away.
    pub(super) fn moves(&self, from: Option<SessionId>, to: Option<SessionId>) {
        let mut sessions = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(to) = to {
            *sessions.entry(to).or_default() += 1;
        }
        if let Some(from) = from
            && let Some(count) = sessions.get_mut(&from)
        {
            *count -= 1;
            if *count == 0 {
                sessions.remove(&from);
            }
        }
    }

    /// Whether some socket is in a session.
    pub(super) fn holds(&self, session: SessionId) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&session)
    }
}
