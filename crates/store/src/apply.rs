//! One operation after the other, inside the writer's transaction.
//!
//! What may be refused is found out before anything is written, so that a refused operation leaves no trace
//! and the others of the batch need no savepoint.

use std::collections::HashMap;

use moongate_core::{AuditEntry, Bill, Fence, IdempotencyRow, KeyPlace, KeyRow, SessionRow, StoreError};
use moongate_protocol::{Seq, SessionId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, Row, named_params, params};

use crate::{
    asks::{change_asks, forget_asks},
    chain::{NO_ROW, log_ids},
    find::{Doc, Finder, Place},
    keys,
    prepare::{Prepared, int, is_busy, state_number},
    read::idempotency,
    waiting_turns::Session,
};

/// Most sessions whose number is remembered; then all are forgotten and looked up again.
const MAX_NUMBERS: usize = 65_536;
/// Most idempotency rows one sweep's transaction removes.
const SWEEP_ROWS: i64 = 10_000;

/// A change of the store.
#[derive(Debug)]
pub(crate) enum Op {
    Append(Box<Prepared>),
    Delete(SessionId, Fence),
    PutKey(Box<KeyRow>),
    Audit(Box<AuditEntry>),
    Bill(Box<Bill>),
    Sweep(Timestamp),
    /// Write, to see whether that works.
    Probe,
    /// Make everything written so far findable.
    Find,
}

/// How many rows an operation changed, where somebody wants to know; or why it was refused.
pub(crate) type Outcome = std::result::Result<usize, StoreError>;

/// What the writer remembers between transactions.
#[derive(Debug)]
pub(crate) struct Numbers {
    sessions: HashMap<SessionId, Known>,
    next_session: i64,
    next_log: i64,
}

/// A session's number, and its newest row of the log.
#[derive(Clone, Copy, Debug)]
struct Known {
    no: i64,
    tail: i64,
}

impl Numbers {
    pub(crate) fn load(connection: &Connection, indexed: i64) -> Result<Self> {
        let max = |sql| connection.query_row(sql, (), |row| row.get::<_, i64>(0));
        let next_session = max("SELECT coalesce(max(no), 0) + 1 FROM session")?;
        let next_log = max("SELECT coalesce(max(id), 0) + 1 FROM log")?.max(indexed + 1);
        Ok(Self { sessions: HashMap::new(), next_session, next_log })
    }

    /// Forgets what a transaction that did not happen taught.
    pub(crate) fn forget(&mut self) {
        self.sessions.clear();
    }

    /// The last row of the log.
    pub(crate) fn last_log(&self) -> i64 {
        self.next_log - 1
    }

    fn of(&mut self, connection: &Connection, id: SessionId) -> Result<Option<Known>> {
        if let Some(known) = self.sessions.get(&id) {
            return Ok(Some(*known));
        }
        let mut statement = connection.prepare_cached("SELECT no, tail FROM session WHERE id = ?1")?;
        let columns = |row: &Row<'_>| Ok(Known { no: row.get(0)?, tail: row.get(1)? });
        statement.query_row([blob(id)], columns).optional()
    }

    fn remember(&mut self, id: SessionId, known: Known) {
        if self.sessions.len() >= MAX_NUMBERS {
            self.sessions.clear();
        }
        self.sessions.insert(id, known);
    }
}

/// Everything an operation needs.
pub(crate) struct Tables<'a> {
    pub(crate) connection: &'a Connection,
    pub(crate) numbers: &'a mut Numbers,
    pub(crate) finder: &'a mut Finder,
}

impl Tables<'_> {
    pub(crate) fn apply(&mut self, op: &Op) -> Result<Outcome> {
        match op {
            Op::Append(append) => self.append(append),
            Op::Delete(session, fence) => self.delete(*session, *fence),
            Op::PutKey(key) => keys::put(self.connection, key).map(Ok),
            Op::Audit(entry) => keys::audit(self.connection, entry).map(Ok),
            Op::Bill(bill) => insert_call(self.connection, bill).map(|()| Ok(1)),
            Op::Sweep(before) => self.sweep(*before).map(Ok),
            Op::Probe => self.probe().map(Ok),
            // The batch's last step, so that the whole batch can be found.
            Op::Find => Ok(Ok(0)),
        }
    }

    fn probe(&self) -> Result<usize> {
        let write = "INSERT OR REPLACE INTO meta (name, value) VALUES ('probed', unixepoch())";
        self.connection.prepare_cached(write)?.execute(())
    }

    fn append(&mut self, append: &Prepared) -> Result<Outcome> {
        let id = append.row.view.id;
        if let Some(wanted) = &append.idempotency
            && idempotency(self.connection, &wanted.name)?.is_some_and(|known| known.session != id)
        {
            return Ok(Err(StoreError::KeyTaken));
        }
        let log = self.numbers.next_log;
        let (no, prev) = match self.numbers.of(self.connection, id)? {
            Some(known) if self.advance(known.no, log, append)? => (known.no, known.tail),
            None if append.expected == Seq::ZERO => match self.begin(log, append)? {
                Ok(no) => (no, NO_ROW),
                Err(refused) => return Ok(Err(refused)),
            },
            _ => return Ok(Err(StoreError::Conflict)),
        };
        self.connection
            .prepare_cached(
                "INSERT INTO log (id, session, prev, first, last, sum, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
            )?
            .execute((log, no, prev, int(append.first()), int(append.last()), append.sum, &append.body))?;
        self.numbers.next_log += 1;
        self.numbers.remember(id, Known { no, tail: log });
        if let Some(row) = &append.idempotency {
            insert_idempotency(self.connection, no, row)?;
        }
        self.derive(no, log, append)?;
        Ok(Ok(1))
    }

    /// Moves the session's row on; false when its head or its owner is not what the append expects.
    fn advance(&self, no: i64, log: i64, append: &Prepared) -> Result<bool> {
        let mut statement = self.connection.prepare_cached(
            "UPDATE session SET owner = ?1, namespace = ?2, agent = ?3, state = ?4, archived = ?5, busy = ?6, \
             head = ?7, fence = ?8, updated = ?9, tail = ?10, view = ?11 \
             WHERE no = ?12 AND head = ?13 AND fence <= ?8",
        )?;
        let view = &append.row.view;
        let changed = statement.execute((
            view.owner.as_str(),
            view.namespace.as_str(),
            view.agent.as_str(),
            state_number(view.state),
            view.archived,
            is_busy(&append.row),
            int(view.head.seq.0),
            int(append.fence.0),
            view.updated_at.as_millis(),
            log,
            &append.view,
            no,
            int(append.expected.0),
        ))?;
        Ok(changed == 1)
    }

    fn begin(&mut self, log: i64, append: &Prepared) -> Result<std::result::Result<i64, StoreError>> {
        if let Some(taken) = self.alias_owner(&append.row)? {
            return Ok(Err(StoreError::AliasTaken(taken)));
        }
        let no = self.numbers.next_session;
        insert_session(self.connection, no, log, append)?;
        self.numbers.next_session += 1;
        Ok(Ok(no))
    }

    fn alias_owner(&self, row: &SessionRow) -> Result<Option<SessionId>> {
        let Some(alias) = &row.view.alias else { return Ok(None) };
        let mut statement = self
            .connection
            .prepare_cached("SELECT id FROM session WHERE tenant = ?1 AND door = ?2 AND alias = ?3")?;
        statement
            .query_row((row.tenant.as_str(), &*row.door, alias.as_str()), |row| row.get(0).map(session_id))
            .optional()
    }

    fn derive(&mut self, no: i64, log: i64, append: &Prepared) -> Result<()> {
        insert_calls(self.connection, &append.row, &append.derived)?;
        self.finder.push_place(Place { session: no, last: int(append.last()), log });
        change_asks(self.connection, no, &append.derived)?;
        let SessionRow { tenant, view, .. } = &append.row;
        let session = Session { no, id: view.id, tenant, owner: &view.owner };
        self.finder.push_turns(session, &append.derived.turns);
        for (seq, text) in &append.derived.texts {
            self.finder.push(Doc::message(no, log, seq.0 - append.first(), text));
        }
        if let Some(title) = &append.derived.title {
            self.finder.push(Some(Doc::title(no, title)));
        }
        Ok(())
    }

    fn delete(&mut self, session: SessionId, fence: Fence) -> Result<Outcome> {
        let Some(Known { no, .. }) = self.numbers.of(self.connection, session)? else {
            return Ok(Err(StoreError::NotFound));
        };
        let rows = log_ids(self.connection, no)?;
        let mut statement =
            self.connection.prepare_cached("DELETE FROM session WHERE no = ?1 AND fence <= ?2")?;
        if statement.execute((no, int(fence.0)))? == 0 {
            return Ok(Err(StoreError::Conflict));
        }
        self.numbers.sessions.remove(&session);
        self.finder.delete(self.connection, no, &rows)?;
        let mut statement = self.connection.prepare_cached("DELETE FROM log WHERE id = ?1")?;
        rows.iter().try_for_each(|id| statement.execute([id]).map(|_| ()))?;
        for sql in [
            "DELETE FROM place WHERE session = ?1",
            "DELETE FROM idempotency WHERE session = ?1",
            "DELETE FROM turn WHERE session = ?1",
        ] {
            self.connection.prepare_cached(sql)?.execute([no])?;
        }
        forget_asks(self.connection, no)?;
        Ok(Ok(1))
    }

    fn sweep(&self, before: Timestamp) -> Result<usize> {
        let sql = "DELETE FROM idempotency WHERE (session, principal, key, everywhere) IN \
                   (SELECT session, principal, key, everywhere FROM idempotency WHERE at < ?1 ORDER BY at LIMIT ?2)";
        let removed = self.connection.prepare_cached(sql)?.execute((before.as_millis(), SWEEP_ROWS))?;
        self.finder.tidy(self.connection)?;
        Ok(removed)
    }
}

fn insert_session(connection: &Connection, no: i64, log: i64, append: &Prepared) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO session (no, id, tenant, door, alias, owner, namespace, agent, state, archived, busy, \
         epoch, head, fence, updated, tail, view) VALUES (:no, :id, :tenant, :door, :alias, :owner, :namespace, \
         :agent, :state, :archived, :busy, :epoch, :head, :fence, :updated, :tail, :view)",
    )?;
    let view = &append.row.view;
    statement.execute(named_params! {
        ":no": no,
        ":id": blob(view.id),
        ":tenant": append.row.tenant.as_str(),
        ":door": &*append.row.door,
        ":alias": view.alias.as_ref().map(moongate_protocol::Alias::as_str),
        ":owner": view.owner.as_str(),
        ":namespace": view.namespace.as_str(),
        ":agent": view.agent.as_str(),
        ":state": state_number(view.state),
        ":archived": view.archived,
        ":busy": is_busy(&append.row),
        ":epoch": view.head.epoch.0,
        ":head": int(view.head.seq.0),
        ":fence": int(append.fence.0),
        ":updated": view.updated_at.as_millis(),
        ":tail": log,
        ":view": append.view,
    })?;
    Ok(())
}

fn insert_idempotency(connection: &Connection, no: i64, row: &IdempotencyRow) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO idempotency (session, principal, key, everywhere, body_hash, input, seq, \
         queue_length, at) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute(params![
        no,
        row.name.by.as_str(),
        row.name.key.as_str(),
        matches!(row.name.place, KeyPlace::Door(..)),
        row.body_hash,
        row.input.bits().to_be_bytes(),
        int(row.position.seq.0),
        int(row.queue_length as u64),
        row.at.as_millis(),
    ])?;
    Ok(())
}

/// Accounts for the calls of one append, as the session's row was then.
pub(crate) fn insert_calls(
    connection: &Connection,
    row: &SessionRow,
    derived: &moongate_core::Derived,
) -> Result<()> {
    derived.calls.iter().try_for_each(|call| insert_call(connection, &Bill::of(row, call)))
}

fn insert_call(connection: &Connection, bill: &Bill) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO usage (tenant, at, session, seq, agent, model, input, output, reasoning, \
         cache_read, cache_write, cost, principal, namespace) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
    )?;
    let call = &bill.call;
    statement.execute(params![
        bill.tenant.as_str(),
        call.at.as_millis(),
        blob(bill.session),
        int(call.seq.0),
        bill.agent.as_str(),
        call.model.as_str(),
        int(call.tokens.input),
        int(call.tokens.output),
        int(call.tokens.reasoning),
        int(call.tokens.cache_read),
        int(call.tokens.cache_write),
        call.cost.map(|cost| int(cost.0)),
        bill.principal.as_str(),
        bill.namespace.as_str(),
    ])?;
    Ok(())
}

/// A session's id as it is kept.
pub(crate) fn blob(id: SessionId) -> [u8; 16] {
    id.bits().to_be_bytes()
}

/// A session's id from what was kept.
pub(crate) fn session_id(bytes: [u8; 16]) -> SessionId {
    SessionId::from_bits(u128::from_be_bytes(bytes))
}
