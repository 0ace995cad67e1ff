//! Reads of one session, or of a few rows.

use std::sync::Arc;

use moongate_core::{IdempotencyRow, KeyPlace, Record, SessionRow, StoreError, SubmissionKey};
use moongate_protocol::{Alias, Epoch, InputId, Position, Seq, SessionId, SessionView, Tenant, Timestamp};
use rusqlite::{Connection, OptionalExtension, Row};

use crate::{
    apply::{blob, session_id},
    chain::rows,
    error::reading,
    lines::LogRow,
    prepare::{int, number, shared},
};

/// Most bytes of events one read returns, unless one append alone has more: a client that takes nothing holds what was
/// read for it, and what its door made of that.
const MAX_READ_BYTES: usize = 1 << 20;
/// The columns [`session_row`] reads.
pub(crate) const SESSION_COLUMNS: &str = "s.tenant, s.door, s.epoch, s.head, s.view";

type Result<T> = std::result::Result<T, StoreError>;

/// A session's events after `after`.
pub(crate) fn events(
    connection: &Connection,
    session: SessionId,
    after: Seq,
    limit: usize,
) -> Result<Vec<Arc<Record>>> {
    // One snapshot for the session's row and its log.
    let snapshot = connection.unchecked_transaction().map_err(|error| reading(&error))?;
    let found = snapshot
        .prepare_cached("SELECT no, epoch, head FROM session WHERE id = ?1")
        .and_then(|mut statement| {
            let columns = |row: &Row<'_>| Ok((row.get(0)?, Epoch(row.get(1)?), number(row.get(2)?)));
            statement.query_row([blob(session)], columns).optional()
        })
        .map_err(|error| reading(&error))?;
    let (no, epoch, head): (i64, Epoch, u64) = found.ok_or(StoreError::NotFound)?;
    let mut page = Page { session, epoch, log: Vec::new(), last: after.0, room: MAX_READ_BYTES, fault: None };
    if limit > 0 {
        rows(&snapshot, no, int(after.0), |_, row| Ok(page.take(row, after.0) && page.log.len() < limit))
            .map_err(|error| reading(&error))?;
    }
    let Page { mut log, last, room, fault, .. } = page;
    if let Some(fault) = fault {
        return Err(fault);
    }
    if last < head && log.len() < limit && room > 0 {
        return Err(gap(session, last.saturating_add(1)));
    }
    log.truncate(limit);
    Ok(log)
}

/// The events of one read, as they are gathered.
struct Page {
    session: SessionId,
    epoch: Epoch,
    log: Vec<Arc<Record>>,
    last: u64,
    room: usize,
    fault: Option<StoreError>,
}

impl Page {
    /// Takes a row's events after `after`; false when there is no room for more, or when the row is not the
    /// one that has to follow.
    fn take(&mut self, row: LogRow, after: u64) -> bool {
        let next = self.last.saturating_add(1);
        if row.first > next || (row.first < next && self.last != after) {
            self.fault = Some(gap(self.session, next));
            return false;
        }
        self.room = self.room.saturating_sub(row.body.len());
        self.last = row.last;
        let skipped = usize::try_from(next - row.first).unwrap_or(usize::MAX);
        match row.records(self.session, self.epoch) {
            Ok(records) => self.log.extend(records.into_iter().skip(skipped)),
            Err(fault) => self.fault = Some(fault),
        }
        self.fault.is_none() && self.room > 0
    }
}

fn gap(session: SessionId, seq: u64) -> StoreError {
    StoreError::Damaged(format!("{session}: event {seq} is missing"))
}

/// A session's row, as clients and doors see it.
pub(crate) fn session(connection: &Connection, session: SessionId) -> Result<Option<SessionRow>> {
    let sql = format!("SELECT {SESSION_COLUMNS} FROM session s WHERE s.id = ?1");
    let found = connection
        .prepare_cached(&sql)
        .and_then(|mut statement| statement.query_row([blob(session)], |row| Ok(session_row(row))).optional())
        .map_err(|error| reading(&error))?;
    found.transpose()
}

/// A row of [`SESSION_COLUMNS`]. The columns know the position; the view is from before a restore.
pub(crate) fn session_row(row: &Row<'_>) -> Result<SessionRow> {
    let read = |row: &Row<'_>| -> rusqlite::Result<_> {
        let text = |i| row.get_ref(i).and_then(|value| value.as_str().map_err(Into::into));
        let tenant = text(0)?.parse::<Tenant>().ok();
        let view = serde_json::from_str::<SessionView>(text(4)?).ok();
        let head = Position { epoch: Epoch(row.get(2)?), seq: Seq(number(row.get(3)?)) };
        Ok((tenant, shared(text(1)?), head, view))
    };
    match read(row).map_err(|error| reading(&error))? {
        (Some(tenant), door, head, Some(view)) => {
            Ok(SessionRow { tenant, door, view: SessionView { head, ..view } })
        }
        _ => Err(StoreError::Damaged("a session's row cannot be read".into())),
    }
}

pub(crate) fn by_alias(
    connection: &Connection,
    tenant: &Tenant,
    door: &str,
    alias: &Alias,
) -> rusqlite::Result<Option<SessionId>> {
    connection
        .prepare_cached("SELECT id FROM session WHERE tenant = ?1 AND door = ?2 AND alias = ?3")?
        .query_row((tenant.as_str(), door, alias.as_str()), |row| row.get(0).map(session_id))
        .optional()
}

pub(crate) fn unfinished(connection: &Connection) -> rusqlite::Result<Vec<SessionId>> {
    let mut statement =
        connection.prepare_cached("SELECT id FROM session WHERE busy = 1 ORDER BY updated, id")?;
    statement.query_map((), |row| row.get(0).map(session_id))?.collect()
}

/// The columns [`idempotency`] reads.
const SUBMITTED: &str = "SELECT s.id, i.body_hash, i.input, s.epoch, i.seq, i.queue_length, i.at FROM idempotency i \
     JOIN session s ON s.no = i.session";

pub(crate) fn idempotency(
    connection: &Connection,
    name: &SubmissionKey,
) -> rusqlite::Result<Option<IdempotencyRow>> {
    let columns = |row: &Row<'_>| {
        Ok(IdempotencyRow {
            name: name.clone(),
            session: session_id(row.get(0)?),
            body_hash: row.get(1)?,
            input: InputId::from_bits(u128::from_be_bytes(row.get(2)?)),
            position: Position { epoch: Epoch(row.get(3)?), seq: Seq(number(row.get(4)?)) },
            queue_length: usize::try_from(number(row.get(5)?)).unwrap_or(usize::MAX),
            at: Timestamp::from_millis(row.get(6)?),
        })
    };
    let (by, key) = (name.by.as_str(), name.key.as_str());
    let row = match &name.place {
        KeyPlace::Session(session) => connection
            .prepare_cached(&format!(
                "{SUBMITTED} WHERE s.id = ?1 AND i.principal = ?2 AND i.key = ?3 AND i.everywhere = 0"
            ))?
            .query_row((blob(*session), by, key), columns),
        KeyPlace::Door(tenant, door) => connection
            .prepare_cached(&format!(
                "{SUBMITTED} WHERE i.principal = ?1 AND i.key = ?2 AND i.everywhere = 1 \
                 AND s.tenant = ?3 AND s.door = ?4"
            ))?
            .query_row((by, key, tenant.as_str(), &**door), columns),
    };
    row.optional()
}
