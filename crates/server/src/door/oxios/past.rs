//! What came before a place in a session's log, as far as somebody who comes back to it has to know.

use moongate_core::{Record, SessionHandle, StoreError};
use moongate_protocol::{Envelope, Event, Position, Seq};
use std::sync::Arc;

use super::follow::Following;

/// Events looked at before a place: a turn with all its tool calls, and the inputs that wait.
const EVENTS: u64 = 2_048;
/// Events read at once.
const BATCH: usize = 256;

/// The events before a place, the newest ones.
pub(super) async fn before(session: &SessionHandle, to: Seq) -> Result<Vec<Arc<Record>>, StoreError> {
    let mut after = Seq(to.0.saturating_sub(EVENTS));
    let mut found = Vec::new();
    while after < to {
        let records = session.read(after, BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        found.extend(records.into_iter().filter(|record| record.position().seq <= to));
    }
    Ok(found)
}

/// The fold of a session up to a place, for a socket that follows it from there. Inputs up to `own_to` are the
/// socket's own.
pub(super) async fn fold(
    session: &SessionHandle,
    at: Position,
    own_to: Seq,
    reasoning: bool,
) -> Result<Following, StoreError> {
    let records = before(session, at.seq).await?;
    let mut following = Following::from(session.id(), at, reasoning);
    following.own_to(own_to);
    for envelope in envelopes(&records) {
        following.recall(envelope);
    }
    following.stand_at(at);
    Ok(following)
}

/// The place before the turn that runs, if one does.
pub(super) async fn before_running_turn(session: &SessionHandle) -> Result<Option<Position>, StoreError> {
    let head = session.head();
    let records = before(session, head.seq).await?;
    let mut running = None;
    for envelope in envelopes(&records) {
        match &envelope.event {
            Event::TurnStarted(_) => running = Some(Seq(envelope.seq.0.saturating_sub(1))),
            event if event.ends_turn().is_some() => running = None,
            _ => {}
        }
    }
    Ok(running.map(|seq| Position { epoch: head.epoch, seq }))
}

fn envelopes(records: &[Arc<Record>]) -> impl Iterator<Item = &Envelope> {
    records.iter().filter_map(|record| record.envelope().ok())
}
