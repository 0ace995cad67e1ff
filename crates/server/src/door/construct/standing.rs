//! How a session stands: what lists and sockets say of it without reading its log.

use moongate_core::{SessionHandle, StoreError, TurnEnding, TurnQuery, TurnRow};
use moongate_protocol::{SessionState, SessionView, Tenant, Timestamp, TurnId};

use super::{Construct, attach, fold::Counts, frames::StateName};
use crate::door::shared::Door;

/// A session's row, and its last turn's.
pub(super) struct Standing {
    pub(super) view: SessionView,
    last: Option<TurnRow>,
}

impl Standing {
    pub(super) async fn of(
        door: &Door<Construct>,
        tenant: &Tenant,
        view: SessionView,
    ) -> Result<Self, StoreError> {
        let query = TurnQuery { session: Some(view.id), limit: 1, ..TurnQuery::default() };
        let last = door.app().gateway().store().turns(tenant, &query).await?.pop();
        Ok(Self { view, last })
    }

    pub(super) fn state(&self) -> StateName {
        match (self.view.state, self.failed()) {
            (SessionState::Running | SessionState::Waiting, _) => StateName::Running,
            (SessionState::Idle, Some(_)) => StateName::Error,
            (SessionState::Idle, None) => StateName::Idle,
        }
    }

    /// The turn that runs, or the last one where it failed.
    pub(super) fn turn(&self) -> Option<TurnId> {
        self.view.turn.or_else(|| self.failed())
    }

    /// When the turn that runs began.
    pub(super) fn turn_began(&self) -> Option<Timestamp> {
        let running = self.last.as_ref().filter(|last| Some(last.turn) == self.view.turn);
        running.map(|running| running.started_at)
    }

    /// Inputs that run or wait.
    pub(super) fn depth(&self) -> usize {
        self.view.queue.len() + usize::from(self.view.turn.is_some())
    }

    /// The event before the last turn, from where on the log says what a socket is shown.
    pub(super) fn before_last_turn(&self) -> u64 {
        self.last.as_ref().map_or(self.view.head.seq.0, |last| last.seq.0.saturating_sub(1))
    }

    fn failed(&self) -> Option<TurnId> {
        let last = self.last.as_ref()?;
        matches!(last.ended, Some((_, TurnEnding::Failed))).then_some(last.turn)
    }
}

/// What a session has of things, as its row says.
pub(super) async fn counts(handle: &SessionHandle, view: &SessionView) -> Result<Counts, StoreError> {
    Ok(Counts {
        since: view.head.seq.0,
        rows: match view.sums.messages {
            Some(messages) => messages,
            None => attach::rows(handle).await?,
        },
        queued: view.queue.len(),
        name: view.title.clone(),
    })
}
