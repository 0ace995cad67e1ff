//! A session's whole log, append by append, with every doubt about it spoken out.

use moongate_core::{Derived, Summary};
use moongate_protocol::{Envelope, Epoch, SessionId};
use rusqlite::{Connection, Result};

use crate::{
    apply::session_id,
    prepare::{int, number},
    read::{LOG_AFTER, log_row},
};

/// A session to walk, by its row.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Walked {
    pub(crate) no: i64,
    pub(crate) id: SessionId,
    pub(crate) epoch: Epoch,
    pub(crate) head: u64,
}

/// One append of the walk, and the fold of the log up to it.
pub(crate) struct Step<'a> {
    pub(crate) log: i64,
    pub(crate) first: u64,
    pub(crate) derived: Derived,
    pub(crate) summary: &'a Summary,
}

/// All sessions.
pub(crate) fn sessions(connection: &Connection) -> Result<Vec<Walked>> {
    let mut statement = connection.prepare("SELECT no, id, epoch, head FROM session ORDER BY no")?;
    let rows = statement.query_map((), |row| {
        let (epoch, head) = (Epoch(row.get(2)?), number(row.get(3)?));
        Ok(Walked { no: row.get(0)?, id: session_id(row.get(1)?), epoch, head })
    })?;
    rows.collect()
}

/// Folds a session's log. The inner error says what is wrong with it; the outer one that the database
/// could not be read or written.
pub(crate) fn walk(
    connection: &Connection,
    session: Walked,
    mut each: impl FnMut(Step<'_>) -> Result<()>,
) -> Result<std::result::Result<Summary, String>> {
    let mut statement = connection.prepare_cached(LOG_AFTER)?;
    let mut rows = statement.query((session.no, int(0)))?;
    let mut folded: Option<Summary> = None;
    let mut last = 0_u64;
    while let Some(row) = rows.next()? {
        let log: i64 = row.get(0)?;
        let row = log_row(row)?;
        let first = row.first;
        if first != last.saturating_add(1) {
            return Ok(Err(format!("event {} is missing", last.saturating_add(1))));
        }
        last = row.last;
        let records = match row.records(session.id, session.epoch) {
            Ok(records) => records,
            Err(error) => return Ok(Err(error.to_string())),
        };
        let events: std::result::Result<Vec<&Envelope>, _> =
            records.iter().map(|record| record.envelope()).collect();
        let events = match events {
            Ok(events) if events.iter().all(|event| event.session == session.id) => events,
            Ok(_) => return Ok(Err(format!("events {first} to {last} are another session's"))),
            Err(damaged) => return Ok(Err(damaged.to_string())),
        };
        let Some(summary) = fold(&mut folded, &events) else {
            return Ok(Err("it does not begin with session.created".into()));
        };
        each(Step { log, first, derived: Derived::of(events), summary })?;
    }
    if last != session.head {
        return Ok(Err(format!("its row says it ends at {}, its log ends at {last}", session.head)));
    }
    Ok(folded.ok_or_else(|| "it has no events".into()))
}

fn fold<'a>(folded: &'a mut Option<Summary>, events: &[&Envelope]) -> Option<&'a Summary> {
    match folded {
        Some(summary) => events.iter().for_each(|event| summary.apply(event)),
        None => *folded = Summary::fold(events.iter().copied()),
    }
    folded.as_ref()
}
