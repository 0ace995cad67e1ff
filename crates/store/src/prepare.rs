//! An append made ready for the writer: what costs time and needs no database is done where the append
//! comes from.

use std::sync::Arc;

use moongate_core::{Append, Derived, Fence, IdempotencyRow, SessionRow, StoreError};
use moongate_protocol::{Seq, SessionState};

use crate::lines;

/// An append with its rows encoded.
#[derive(Debug)]
pub(crate) struct Prepared {
    pub(crate) fence: Fence,
    pub(crate) expected: Seq,
    pub(crate) row: SessionRow,
    pub(crate) idempotency: Option<IdempotencyRow>,
    pub(crate) derived: Derived,
    pub(crate) view: String,
    pub(crate) body: String,
    pub(crate) sum: u32,
}

impl Prepared {
    pub(crate) fn new(append: Append) -> Result<Self, StoreError> {
        let events = append.events()?;
        let derived = Derived::of(events);
        let engine = |why: &str| StoreError::Engine(format!("an append was not well formed: {why}"));
        let body = lines::join(&append.records).ok_or(engine("an event is not one line"))?;
        let view =
            serde_json::to_string(&append.row.view).map_err(|_| engine("the row cannot be encoded"))?;
        let sum = lines::sum(append.row.view.id, append.expected.next().0, body.as_bytes());
        let Append { fence, expected, row, idempotency, .. } = append;
        Ok(Self { fence, expected, row, idempotency, derived, view, body, sum })
    }

    pub(crate) fn first(&self) -> u64 {
        self.expected.next().0
    }

    pub(crate) fn last(&self) -> u64 {
        self.row.view.head.seq.0
    }
}

/// Whether a restart has something to do for the session.
pub(crate) fn is_busy(row: &SessionRow) -> bool {
    row.view.state != SessionState::Idle || !row.view.queue.is_empty()
}

/// The number a session's state is kept as.
pub(crate) fn state_number(state: SessionState) -> i64 {
    match state {
        SessionState::Idle => 0,
        SessionState::Running => 1,
        SessionState::Waiting => 2,
    }
}

/// A number as SQLite keeps it; numbers past its range stay at the largest.
pub(crate) fn int(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// A number SQLite kept; what was never written by us becomes zero.
pub(crate) fn number(int: i64) -> u64 {
    u64::try_from(int).unwrap_or(0)
}

/// A row's text as a shared name.
pub(crate) fn shared(text: &str) -> Arc<str> {
    text.into()
}
