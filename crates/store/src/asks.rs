//! Where the logs say what about what people are asked: a table of approvals, and one like it of questions.

use moongate_core::{AskChange, AskFilter, AskQuery, AskRow, Derived, SHARED_OWNER};
use moongate_protocol::{ApprovalId, Principal, QuestionId, Seq, Tenant, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};

use crate::{
    apply::{blob, session_id},
    prepare::{int, number},
};

/// What has a table of its own.
pub(crate) trait Ask: Copy {
    /// The table's name.
    const TABLE: &'static str;

    fn bits(self) -> u128;

    fn of(bits: u128) -> Self;
}

impl Ask for ApprovalId {
    const TABLE: &'static str = "approval";

    fn bits(self) -> u128 {
        self.bits()
    }

    fn of(bits: u128) -> Self {
        Self::from_bits(bits)
    }
}

impl Ask for QuestionId {
    const TABLE: &'static str = "question";

    fn bits(self) -> u128 {
        self.bits()
    }

    fn of(bits: u128) -> Self {
        Self::from_bits(bits)
    }
}

/// Keeps what a session asks as its events say.
pub(crate) fn change_asks(connection: &Connection, no: i64, derived: &Derived) -> Result<()> {
    change(connection, no, &derived.approvals)?;
    change(connection, no, &derived.questions)
}

/// Forgets what a session asks and asked.
pub(crate) fn forget_asks(connection: &Connection, no: i64) -> Result<()> {
    for table in [ApprovalId::TABLE, QuestionId::TABLE] {
        connection.prepare_cached(&format!("DELETE FROM {table} WHERE session = ?1"))?.execute([no])?;
    }
    Ok(())
}

fn change<A: Ask>(connection: &Connection, no: i64, changes: &[AskChange<A>]) -> Result<()> {
    let table = A::TABLE;
    for change in changes {
        match change {
            AskChange::Open(id, asked, expires_at) => connection
                .prepare_cached(&format!(
                    "INSERT OR REPLACE INTO {table} (id, session, asked, expires) VALUES (?1, ?2, ?3, ?4)"
                ))?
                .execute((id.bits().to_be_bytes(), no, int(asked.0), expires_at.as_millis()))?,
            AskChange::Close(id, seq, at) => connection
                .prepare_cached(&format!(
                    "UPDATE {table} SET decided = ?3, decided_at = ?4 \
                     WHERE id = ?1 AND session = ?2 AND decided IS NULL"
                ))?
                .execute((id.bits().to_be_bytes(), no, int(seq.0), at.as_millis()))?,
            AskChange::CloseAll(seq, at) => connection
                .prepare_cached(&format!(
                    "UPDATE {table} SET decided = ?2, decided_at = ?3 WHERE session = ?1 AND decided IS NULL"
                ))?
                .execute((no, int(seq.0), at.as_millis()))?,
        };
    }
    Ok(())
}

fn select(table: &str) -> String {
    format!(
        "SELECT a.id, s.id, a.asked, a.expires, a.decided, a.decided_at \
         FROM {table} a JOIN session s ON s.no = a.session WHERE s.tenant = :tenant"
    )
}

pub(crate) fn asks<A: Ask>(
    connection: &Connection,
    tenant: &Tenant,
    query: &AskQuery,
) -> Result<Vec<AskRow<A>>> {
    let (which, order) = match query.filter {
        AskFilter::Open => ("a.decided IS NULL", "a.expires, a.id"),
        AskFilter::Closed => ("a.decided IS NOT NULL", "a.decided_at DESC, a.decided DESC, a.id DESC"),
    };
    let sql = format!(
        "{} AND {which} AND (:session IS NULL OR s.id = :session) \
         AND (:owner IS NULL OR s.owner = :owner OR (:shared AND s.owner = :nobody)) ORDER BY {order} LIMIT :limit",
        select(A::TABLE)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":tenant": tenant.as_str(),
            ":session": query.session.map(blob),
            ":owner": query.owner.as_ref().map(Principal::as_str),
            ":shared": query.shared,
            ":nobody": SHARED_OWNER,
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
        },
        read_row,
    )?;
    rows.collect()
}

pub(crate) fn ask<A: Ask>(connection: &Connection, tenant: &Tenant, id: A) -> Result<Option<AskRow<A>>> {
    let mut statement = connection.prepare_cached(&format!("{} AND a.id = :id", select(A::TABLE)))?;
    let id = id.bits().to_be_bytes();
    statement.query_row(named_params! { ":tenant": tenant.as_str(), ":id": id }, read_row).optional()
}

fn read_row<A: Ask>(row: &Row<'_>) -> Result<AskRow<A>> {
    let closed: Option<i64> = row.get(4)?;
    let at: Option<i64> = row.get(5)?;
    Ok(AskRow {
        id: A::of(u128::from_be_bytes(row.get(0)?)),
        session: session_id(row.get(1)?),
        asked: Seq(number(row.get(2)?)),
        expires_at: Timestamp::from_millis(row.get(3)?),
        closed: closed.zip(at).map(|(seq, at)| (Seq(number(seq)), Timestamp::from_millis(at))),
    })
}
