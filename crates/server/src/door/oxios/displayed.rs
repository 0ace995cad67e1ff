//! Which sessions some socket shows: pruning leaves them alone.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use moongate_protocol::SessionId;

use super::Oxios;
use crate::door::shared::Door;

/// Sessions and how many sockets are in them.
#[derive(Debug, Default)]
pub(super) struct Displayed(Mutex<HashMap<SessionId, usize>>);

impl Displayed {
    fn moves(&self, from: Option<SessionId>, to: Option<SessionId>) {
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

/// The session a socket is in.
pub(super) struct Current {
    door: Door<Oxios>,
    session: Option<SessionId>,
}

impl Current {
    pub(super) fn nowhere(door: &Door<Oxios>) -> Self {
        Self { door: door.clone(), session: None }
    }

    pub(super) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// Goes to a session; says where it was.
    pub(super) fn goes_to(&mut self, session: SessionId) -> Option<SessionId> {
        self.door.displayed.moves(self.session, Some(session));
        self.session.replace(session)
    }
}

impl Drop for Current {
    fn drop(&mut self) {
        self.door.displayed.moves(self.session.take(), None);
    }
}
