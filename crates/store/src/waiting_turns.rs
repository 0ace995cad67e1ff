//! The turns whose rows wait to be written.
//!
//! Most turns end before their row is written, which is then written once and whole. A turn is asked for by its
//! id as soon as it began, so one that waits is found here; lists have everything written first.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use moongate_core::{TurnChange, TurnEnding, TurnRow};
use moongate_protocol::{Principal, Seq, SessionId, Tenant, Timestamp, TurnId};
use rusqlite::{Connection, Result};

use crate::turns;

/// Whose turns change: the number of their session, and what their rows say of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Session<'a> {
    pub(crate) no: i64,
    pub(crate) id: SessionId,
    pub(crate) tenant: &'a Tenant,
    pub(crate) owner: &'a Principal,
}

/// What is known of a turn and is not in its row yet.
#[derive(Clone, Debug)]
pub(crate) struct Waiting {
    pub(crate) tenant: Tenant,
    /// The turn's row; absent when it is written and only its end waits.
    began: Option<TurnRow>,
    ended: Option<(Timestamp, TurnEnding)>,
}

impl Waiting {
    /// The row as it is to be, when all of it waits.
    pub(crate) fn row(&self) -> Option<TurnRow> {
        Some(TurnRow { ended: self.ended, ..self.began.clone()? })
    }

    /// The row as it is to be, by what is written of it.
    pub(crate) fn complete(&self, row: TurnRow) -> TurnRow {
        TurnRow { ended: self.ended.or(row.ended), ..row }
    }
}

/// All of them. The writer changes them, readers look.
#[derive(Debug, Default)]
pub(crate) struct WaitingTurns(Mutex<BTreeMap<(TurnId, i64), Waiting>>);

impl WaitingTurns {
    /// Takes a session's changes in.
    pub(crate) fn push(&self, session: Session<'_>, changes: &[TurnChange]) {
        if changes.is_empty() {
            return;
        }
        let mut turns = self.lock();
        for change in changes {
            let (turn, began, ended) = match change {
                TurnChange::Began { turn, seq, at, name } => {
                    (*turn, Some(begun(session, *turn, *seq, *at, name.clone())), None)
                }
                TurnChange::Ended(turn, at, ending) => (*turn, None, Some((*at, *ending))),
            };
            let tenant = session.tenant.clone();
            let waiting =
                turns.entry((turn, session.no)).or_insert(Waiting { tenant, began: None, ended: None });
            waiting.began = began.or_else(|| waiting.began.take());
            waiting.ended = ended.or(waiting.ended);
        }
    }

    /// What waits of a turn.
    pub(crate) fn get(&self, tenant: &Tenant, turn: TurnId) -> Option<Waiting> {
        let turns = self.lock();
        let mut same = turns.range((turn, i64::MIN)..=(turn, i64::MAX));
        same.find(|(_, waiting)| waiting.tenant == *tenant).map(|(_, waiting)| waiting.clone())
    }

    pub(crate) fn len(&self) -> usize {
        self.lock().len()
    }

    /// Writes them, in the order they are kept in. They wait until [`Self::clear`].
    pub(crate) fn write(&self, connection: &Connection) -> Result<()> {
        // Readers need not wait for the disk: only the writer changes what waits.
        let turns = self.lock().clone();
        for ((turn, session), waiting) in &turns {
            match (waiting.row(), waiting.ended) {
                (Some(row), _) => turns::put(connection, &waiting.tenant, *session, &row)?,
                (None, Some(ended)) => turns::end(connection, &waiting.tenant, *session, *turn, ended)?,
                (None, None) => {}
            }
        }
        Ok(())
    }

    pub(crate) fn clear(&self) {
        self.lock().clear();
    }

    /// Forgets a session's.
    pub(crate) fn forget(&self, session: i64) {
        self.lock().retain(|(_, of), _| *of != session);
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TurnId, i64), Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn begun(session: Session<'_>, turn: TurnId, seq: Seq, at: Timestamp, name: Option<String>) -> TurnRow {
    let owner = session.owner.clone();
    TurnRow { turn, session: session.id, owner, seq, name, started_at: at, ended: None }
}
