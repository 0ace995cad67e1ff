//! How a session is found: by its id, by the name a client gave it, or as soon as it begins.

use std::sync::Arc;

use moongate_protocol::{Alias, ErrorCode, Position, SessionId};

use crate::{
    Caller, Gateway, Refusal, Scope,
    activity::reaches,
    gateway::require,
    session::{Identity, Place, SessionHandle, Slot},
};

impl Gateway {
    /// A session the caller may see.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub async fn session(&self, caller: &Caller, id: SessionId) -> Result<SessionHandle, Refusal> {
        self.session_to(caller, id, Scope::SessionsRead).await
    }

    /// The same, for a caller who has this right and need not have that to read: whoever asks shows no more of it
    /// than belongs to what is done.
    ///
    /// # Errors
    /// As [`Gateway::session`].
    pub async fn session_to(
        &self,
        caller: &Caller,
        id: SessionId,
        scope: Scope,
    ) -> Result<SessionHandle, Refusal> {
        require(caller, scope)?;
        let slot = self.open(id).await?;
        if !reaches(caller, slot.identity()) {
            return Err(Refusal::not_found("session"));
        }
        Ok(self.handle(slot, caller.clone()))
    }

    /// The session a door's client calls `alias`.
    ///
    /// # Errors
    /// As [`Gateway::session`].
    pub async fn by_alias(
        &self,
        caller: &Caller,
        door: &str,
        alias: &Alias,
    ) -> Result<SessionHandle, Refusal> {
        self.by_alias_to(caller, (door, alias), Scope::SessionsRead).await
    }

    /// The same, for a caller who has this right.
    ///
    /// # Errors
    /// As [`Gateway::session_to`].
    pub async fn by_alias_to(
        &self,
        caller: &Caller,
        (door, alias): (&str, &Alias),
        scope: Scope,
    ) -> Result<SessionHandle, Refusal> {
        require(caller, scope)?;
        let found = self.store().by_alias(caller.tenant(), door, alias).await?;
        self.session_to(caller, found.ok_or_else(|| Refusal::not_found("session"))?, scope).await
    }

    /// A session that an agent begins, as soon as it has begun: the event that says so comes before it.
    ///
    /// # Errors
    /// As [`Gateway::session`], but for one that is not there yet.
    pub async fn begun(&self, caller: &Caller, id: SessionId) -> Result<SessionHandle, Refusal> {
        loop {
            let born = self.shared.activity.births.notified();
            tokio::pin!(born);
            born.as_mut().enable();
            match self.open(id).await {
                Err(refusal) if refusal.code == ErrorCode::NotFound => born.await,
                found => {
                    found?;
                    return self.session(caller, id).await;
                }
            }
        }
    }

    pub(crate) fn handle(&self, slot: Arc<Slot>, caller: Caller) -> SessionHandle {
        SessionHandle::new(Arc::clone(&self.shared), slot, caller)
    }

    /// The slot of a session, made from its row when nobody uses the session yet.
    pub(crate) async fn open(&self, id: SessionId) -> Result<Arc<Slot>, Refusal> {
        self.open_at(id, self.kept()).await
    }

    /// The same, for one whose log is elsewhere.
    pub(crate) async fn open_at(&self, id: SessionId, place: Place) -> Result<Arc<Slot>, Refusal> {
        if let Some(slot) = self.shared.slots().get(&id) {
            return Ok(Arc::clone(slot));
        }
        let row = place.store.session(id).await?.ok_or_else(|| Refusal::not_found("session"))?;
        let identity = Identity {
            tenant: row.tenant,
            owner: row.view.owner,
            namespace: row.view.namespace,
            agent: row.view.agent,
            door: row.door,
        };
        Ok(self.slot(id, identity, row.view.head, place))
    }

    /// The slot of a session whose identity is known.
    pub(crate) fn slot(&self, id: SessionId, identity: Identity, head: Position, place: Place) -> Arc<Slot> {
        let fresh = || Arc::new(Slot::new(id, identity, head, place));
        Arc::clone(self.shared.slots().entry(id).or_insert_with(fresh))
    }

    /// Where logs are that are kept.
    pub(crate) fn kept(&self) -> Place {
        Place { store: Arc::clone(&self.shared.store), over: None }
    }
}
