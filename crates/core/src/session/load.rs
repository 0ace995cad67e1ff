//! Reading a session's state back from its log.

use moongate_protocol::{Seq, SessionId};

use super::state::State;
use crate::{Store, StoreError, limits::READ_BATCH};

/// Folds a session's whole log.
///
/// # Errors
/// `NotFound`, or `Damaged` when the log cannot be folded.
pub(crate) async fn load(store: &dyn Store, session: SessionId) -> Result<State, StoreError> {
    let mut state: Option<State> = None;
    let mut after = Seq::ZERO;
    // A read may return fewer events than asked for, because they are large: only an empty one is the end.
    loop {
        let records = store.read(session, after, READ_BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in &records {
            let envelope = record.envelope().map_err(|damaged| StoreError::Damaged(damaged.to_string()))?;
            match &mut state {
                Some(state) => state.apply(envelope),
                None => state = State::begin(envelope),
            }
        }
        if state.is_none() {
            return Err(StoreError::Damaged(format!("{session} does not begin with session.created")));
        }
    }
    state.ok_or(StoreError::NotFound)
}
