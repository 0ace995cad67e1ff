//! A session's whole log, append by append, with every doubt about it spoken out.

use moongate_core::{Derived, Summary};
use moongate_protocol::{Envelope, Epoch, SessionId};
use rusqlite::{Connection, Result};

use crate::{apply::session_id, chain::rows, lines::LogRow, prepare::number};

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
    let mut folding = Folding { session, folded: None, last: 0 };
    let mut fault = None;
    rows(connection, session.no, 0, |log, row| {
        let first = row.first;
        match folding.take(row) {
            Ok((derived, summary)) => each(Step { log, first, derived, summary }).map(|()| true),
            Err(why) => {
                fault = Some(why);
                Ok(false)
            }
        }
    })?;
    Ok(match fault {
        Some(fault) => Err(fault),
        None => folding.end(),
    })
}

/// The fold of a session's rows, one after the other.
struct Folding {
    session: Walked,
    folded: Option<Summary>,
    last: u64,
}

impl Folding {
    fn take(&mut self, row: LogRow) -> std::result::Result<(Derived, &Summary), String> {
        let (session, first, next) = (self.session, row.first, self.last.saturating_add(1));
        if first != next {
            return Err(format!("event {next} is missing"));
        }
        self.last = row.last;
        let records = row.records(session.id, session.epoch).map_err(|error| error.to_string())?;
        let events: std::result::Result<Vec<&Envelope>, _> =
            records.iter().map(|record| record.envelope()).collect();
        let events = events.map_err(|damaged| damaged.to_string())?;
        if events.iter().any(|event| event.session != session.id) {
            return Err(format!("events {first} to {} are another session's", self.last));
        }
        let derived = Derived::of(events.iter().copied());
        let summary = fold(&mut self.folded, &events).ok_or("it does not begin with session.created")?;
        Ok((derived, summary))
    }

    fn end(self) -> std::result::Result<Summary, String> {
        let (last, head) = (self.last, self.session.head);
        if last != head {
            return Err(format!("its row says it ends at {head}, its log ends at {last}"));
        }
        self.folded.ok_or_else(|| "it has no events".into())
    }
}

fn fold<'a>(folded: &'a mut Option<Summary>, events: &[&Envelope]) -> Option<&'a Summary> {
    match folded {
        Some(summary) => events.iter().for_each(|event| summary.apply(event)),
        None => *folded = Summary::fold(events.iter().copied()),
    }
    folded.as_ref()
}
