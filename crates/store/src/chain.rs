//! A session's rows of the log, in order: those the index of places knows, then the newest, from the tail back.

use rusqlite::{Connection, OptionalExtension, Result, Row};

use crate::{find::indexed, lines::LogRow, prepare::number};

/// Before a session's first row.
pub(crate) const NO_ROW: i64 = 0;

const PLACED: &str = "SELECT l.id, l.first, l.last, l.sum, l.body FROM place p \
     CROSS JOIN log l ON l.id = p.log AND l.session = p.session \
     WHERE p.session = ?1 AND p.last > ?2 ORDER BY p.last";
const ONE: &str = "SELECT id, first, last, sum, body FROM log WHERE id = ?1";

/// Hands over a session's rows that hold something after a number, until there are no more or `each` says
/// that it has enough. A row that cannot be found is left out; what is missing is seen by the numbers.
///
/// Call it within a transaction: the index and the tail have to be of one moment.
pub(crate) fn rows(
    connection: &Connection,
    session: i64,
    after: i64,
    mut each: impl FnMut(i64, LogRow) -> Result<bool>,
) -> Result<()> {
    let mut placed = connection.prepare_cached(PLACED)?;
    let mut rows = placed.query((session, after))?;
    while let Some(row) = rows.next()? {
        if !each(row.get(0)?, log_row(row)?)? {
            return Ok(());
        }
    }
    let mut one = connection.prepare_cached(ONE)?;
    for id in newest(connection, session, after)?.into_iter().rev() {
        let row = one.query_row([id], log_row).optional()?;
        if !row.map_or(Ok(true), |row| each(id, row))? {
            return Ok(());
        }
    }
    Ok(())
}

/// All rows of a session.
pub(crate) fn log_ids(connection: &Connection, session: i64) -> Result<Vec<i64>> {
    let mut placed = connection.prepare_cached("SELECT log FROM place WHERE session = ?1")?;
    let mut ids: Vec<i64> = placed.query_map([session], |row| row.get(0))?.collect::<Result<_>>()?;
    ids.extend(newest(connection, session, 0)?);
    Ok(ids)
}

/// The rows the index of places does not know, newest first. There are never many: the index is written when
/// there are.
fn newest(connection: &Connection, session: i64, after: i64) -> Result<Vec<i64>> {
    let indexed = indexed(connection)?;
    let mut tail = connection.prepare_cached("SELECT tail FROM session WHERE no = ?1")?;
    let mut next: i64 = tail.query_row([session], |row| row.get(0)).optional()?.unwrap_or(NO_ROW);
    let mut statement =
        connection.prepare_cached("SELECT prev, last FROM log WHERE id = ?1 AND session = ?2")?;
    let mut ids = Vec::new();
    while next > indexed {
        let found = statement.query_row((next, session), |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let Some((prev, last)): Option<(i64, i64)> = found else { break };
        if last <= after {
            break;
        }
        ids.push(next);
        // A damaged row could point forwards, for ever.
        next = if prev < next { prev } else { NO_ROW };
    }
    Ok(ids)
}

fn log_row(row: &Row<'_>) -> Result<LogRow> {
    let body = row.get_ref(4)?.as_bytes()?.to_vec();
    Ok(LogRow { first: number(row.get(1)?), last: number(row.get(2)?), sum: row.get(3)?, body })
}
