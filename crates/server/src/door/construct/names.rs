//! What a client calls its sessions, remembered for as long as one stream or answer needs it.

use std::collections::HashMap;

use moongate_protocol::{AgentName, SessionId};

use super::{Construct, chats::id_of, feed::Named};
use crate::{
    caller::Authenticated,
    door::shared::{Dialect as _, Door},
};

/// Sessions whose names are remembered.
const NAMES: usize = 10_000;

/// Names of one caller's sessions.
#[derive(Default)]
pub(super) struct Names(HashMap<SessionId, Option<Known>>);

struct Known {
    id: String,
    title: String,
    agent: Option<AgentName>,
}

impl Names {
    /// What the caller calls a session, or the one whose turn had it begun; `None` when that is not one of its own
    /// in this door.
    pub(super) async fn of(
        &mut self,
        door: &Door<Construct>,
        caller: &Authenticated,
        session: SessionId,
    ) -> Option<Named<'_>> {
        if !self.0.contains_key(&session) {
            let name = look(door, caller, session).await;
            if self.0.len() >= NAMES {
                self.0.clear();
            }
            self.0.insert(session, name);
        }
        let Known { id, title, agent } = self.0.get(&session)?.as_ref()?;
        Some(Named { id, title, agent: agent.as_ref() })
    }
}

async fn look(door: &Door<Construct>, caller: &Authenticated, session: SessionId) -> Option<Known> {
    let store = door.app().gateway().store();
    let mut row = store.session(session).await.ok().flatten()?;
    let agent = row.view.parent.as_ref().map(|_| row.view.agent.clone());
    while let Some(parent) = &row.view.parent {
        row = store.session(parent.session).await.ok().flatten()?;
    }
    let own = *row.door == *Construct::NAME
        && row.tenant == *caller.tenant()
        && row.view.owner == *caller.principal();
    let id = id_of(caller, row.view.alias.as_ref().filter(|_| own)?)?.to_string();
    let title = row.view.title.unwrap_or_else(|| id.clone());
    Some(Known { id, title, agent })
}
