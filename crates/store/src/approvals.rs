//! Where the logs say what about approvals.

use moongate_core::{ApprovalChange, ApprovalFilter, ApprovalQuery, ApprovalRow, SHARED_OWNER};
use moongate_protocol::{ApprovalId, Tenant, Timestamp};
use rusqlite::{Connection, OptionalExtension, Result, Row, named_params};

use crate::{
    apply::{blob, session_id},
    prepare::{int, number},
};

/// Keeps the approvals of a session as its events say.
pub(crate) fn change_approvals(connection: &Connection, no: i64, changes: &[ApprovalChange]) -> Result<()> {
    for change in changes {
        match change {
            ApprovalChange::Open(approval, asked, expires_at) => connection
                .prepare_cached(
                    "INSERT OR REPLACE INTO approval (id, session, asked, expires) VALUES (?1, ?2, ?3, ?4)",
                )?
                .execute((approval.bits().to_be_bytes(), no, int(asked.0), expires_at.as_millis()))?,
            ApprovalChange::Close(approval, seq, at) => connection
                .prepare_cached(
                    "UPDATE approval SET decided = ?3, decided_at = ?4 \
                     WHERE id = ?1 AND session = ?2 AND decided IS NULL",
                )?
                .execute((approval.bits().to_be_bytes(), no, int(seq.0), at.as_millis()))?,
            ApprovalChange::CloseAll(seq, at) => connection
                .prepare_cached(
                    "UPDATE approval SET decided = ?2, decided_at = ?3 WHERE session = ?1 AND decided IS NULL",
                )?
                .execute((no, int(seq.0), at.as_millis()))?,
        };
    }
    Ok(())
}

const COLUMNS: &str = "SELECT a.id, s.id, a.asked, a.expires, a.decided, a.decided_at \
                       FROM approval a JOIN session s ON s.no = a.session WHERE s.tenant = :tenant";

pub(crate) fn approvals(
    connection: &Connection,
    tenant: &Tenant,
    query: &ApprovalQuery,
) -> Result<Vec<ApprovalRow>> {
    let which = match query.filter {
        ApprovalFilter::Open => "a.decided IS NULL",
        ApprovalFilter::Decided => "a.decided IS NOT NULL",
    };
    let order = match query.filter {
        ApprovalFilter::Open => "a.expires, a.id",
        ApprovalFilter::Decided => "a.decided_at DESC, a.decided DESC, a.id DESC",
    };
    let sql = format!(
        "{COLUMNS} AND {which} AND (:session IS NULL OR s.id = :session) \
         AND (:owner IS NULL OR s.owner = :owner OR (:shared AND s.owner = :nobody)) ORDER BY {order} LIMIT :limit"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let rows = statement.query_map(
        named_params! {
            ":tenant": tenant.as_str(),
            ":session": query.session.map(blob),
            ":owner": query.owner.as_ref().map(moongate_protocol::Principal::as_str),
            ":shared": query.shared,
            ":nobody": SHARED_OWNER,
            ":limit": i64::try_from(query.limit).unwrap_or(i64::MAX),
        },
        read_row,
    )?;
    rows.collect()
}

pub(crate) fn approval(
    connection: &Connection,
    tenant: &Tenant,
    id: ApprovalId,
) -> Result<Option<ApprovalRow>> {
    let mut statement = connection.prepare_cached(&format!("{COLUMNS} AND a.id = :id"))?;
    let id = id.bits().to_be_bytes();
    statement.query_row(named_params! { ":tenant": tenant.as_str(), ":id": id }, read_row).optional()
}

fn read_row(row: &Row<'_>) -> Result<ApprovalRow> {
    let decided: Option<i64> = row.get(4)?;
    let at: Option<i64> = row.get(5)?;
    Ok(ApprovalRow {
        approval: ApprovalId::from_bits(u128::from_be_bytes(row.get(0)?)),
        session: session_id(row.get(1)?),
        asked: moongate_protocol::Seq(number(row.get(2)?)),
        expires_at: Timestamp::from_millis(row.get(3)?),
        decided: decided
            .zip(at)
            .map(|(seq, at)| (moongate_protocol::Seq(number(seq)), Timestamp::from_millis(at))),
    })
}
