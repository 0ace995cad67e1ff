//! Sessions nobody came back to: removed where they are too old or too many, and nobody needs them now.

use std::collections::HashMap;

use moongate_protocol::{ErrorCode, Principal, SessionId, SessionState, Timestamp};

use crate::{
    Caller, DoorName, Gateway, ListQuery, Refusal, Scope, SessionRow, gateway::require,
    session::SessionHandle,
};

/// Sessions looked at in one step.
const STEP: usize = 256;

/// Which sessions go.
pub struct Prune<'a> {
    /// Only those opened through this door.
    pub door: DoorName,
    /// Sessions each owner keeps, the newest; 0 for all.
    pub most: u64,
    /// Those go that were last used before this.
    pub before: Option<Timestamp>,
    /// Those stay that somebody is in.
    pub is_spared: &'a (dyn Fn(SessionId) -> bool + Sync),
}

impl Gateway {
    /// Removes those of the caller's own sessions that are too old or too many. Sessions that run, wait or have
    /// waiting inputs stay, and so does what is used meanwhile. Says how many went.
    ///
    /// # Errors
    /// When the caller may not, or the store fails.
    pub async fn prune(&self, caller: &Caller, prune: &Prune<'_>) -> Result<u64, Refusal> {
        require(caller, Scope::SessionsWrite)?;
        let doomed = self.doomed(caller, Some(caller.principal()), prune).await?;
        let mut count = 0;
        for row in doomed {
            let session = self.session(caller, row.view.id).await;
            count += forget(session, row.view.updated_at).await?;
        }
        Ok(count)
    }

    /// The same for every owner, done by the gateway itself.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn prune_everybodys(&self, prune: &Prune<'_>) -> Result<u64, Refusal> {
        let gateway = Caller::gateway();
        let doomed = self.doomed(&gateway, None, prune).await?;
        let mut count = 0;
        for row in doomed {
            let slot = self.open(row.view.id).await;
            count += forget(slot.map(|slot| self.handle(slot, gateway.clone())), row.view.updated_at).await?;
        }
        Ok(count)
    }

    async fn doomed(
        &self,
        caller: &Caller,
        owner: Option<&Principal>,
        prune: &Prune<'_>,
    ) -> Result<Vec<SessionRow>, Refusal> {
        let door = Some(prune.door.clone());
        let mut query = ListQuery { owner: owner.cloned(), door, limit: STEP, ..ListQuery::default() };
        let (mut places, mut doomed) = (HashMap::<Principal, u64>::new(), Vec::new());
        loop {
            let rows = self.store().list(caller.tenant(), &query).await?;
            query.after = rows.last().map(|row| (row.view.updated_at, row.view.id));
            let is_last = rows.len() < STEP;
            for row in rows {
                let place = places.entry(row.view.owner.clone()).or_default();
                *place += 1;
                let too_old = prune.before.is_some_and(|before| row.view.updated_at < before);
                let too_many = prune.most > 0 && *place > prune.most;
                let is_idle = row.view.state == SessionState::Idle && row.view.queue.is_empty();
                if (too_old || too_many) && is_idle && !(prune.is_spared)(row.view.id) {
                    doomed.push(row);
                }
            }
            if is_last {
                return Ok(doomed);
            }
        }
    }
}

/// Removes a session unless it was used since: 1, or 0.
async fn forget(session: Result<SessionHandle, Refusal>, since: Timestamp) -> Result<u64, Refusal> {
    let done = match session {
        Ok(session) => session.forget(since).await,
        Err(refusal) => Err(refusal),
    };
    match done {
        Ok(()) => Ok(1),
        // Used, or gone, meanwhile.
        Err(refusal) if matches!(refusal.code, ErrorCode::Conflict | ErrorCode::NotFound) => Ok(0),
        Err(refusal) => Err(refusal),
    }
}
