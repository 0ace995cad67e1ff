//! Sessions by id and by the names clients gave them.

use moongate_protocol::{Alias, SessionId};

use crate::{Caller, Gateway, Refusal, Scope, SessionHandle, activity::reaches, gateway::require};

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
}
