//! What a session was like at an event.

use std::sync::Arc;

use moongate_core::SessionHandle;
use moongate_protocol::{Event, Seq};

use crate::door::orra::{fault::Reply, translate::Fold};

/// Events read at once when looking for the beginning of a turn.
const BATCH: usize = 256;

/// The fold of a session as it was at an event, and the event before its last turn.
pub(super) async fn warm(session: &SessionHandle, to: Seq) -> Reply<(Fold, Seq)> {
    let mut from = Seq(to.0.saturating_sub(BATCH as u64));
    let began = loop {
        let records = session.read(from, BATCH).await?;
        let starts = |record: &&Arc<moongate_core::Record>| {
            record.position().seq <= to
                && record.envelope().is_ok_and(|envelope| matches!(envelope.event, Event::TurnStarted(_)))
        };
        match records.iter().rev().find(starts) {
            Some(record) => break Seq(record.position().seq.0.saturating_sub(1)),
            None if from == Seq::ZERO => break Seq::ZERO,
            None => from = Seq(from.0.saturating_sub(BATCH as u64)),
        }
    };
    let (mut fold, mut after, mut nobody) = (Fold::default(), began, Vec::new());
    while after < to {
        let records = session.read(after, BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in records.iter().filter(|record| record.position().seq <= to) {
            if let Ok(envelope) = record.envelope() {
                fold.event(envelope, &mut nobody);
            }
        }
        nobody.clear();
    }
    Ok((fold, began))
}
