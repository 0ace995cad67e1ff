//! The list of turns.

use moongate_core::{TurnCounts, TurnEnding, TurnQuery, TurnRow};
use moongate_protocol::{Principal, Seq, Tenant, Timestamp, TurnId};
use rusqlite::{Connection, OptionalExtension, Result, Row, named_params, types::Type};

use crate::{
    apply::{blob, session_id},
    prepare::{int, number},
};

/// The columns [`turn_row`] reads.
const COLUMNS: &str = "t.id, s.id, t.owner, t.seq, t.name, t.started, t.ended, t.ending";
/// Turns of a tenant, by the tenant's own order.
const OF_TENANT: &str = "FROM turn t JOIN session s ON s.no = t.session \
     WHERE t.tenant = :tenant AND (:owner IS NULL OR t.owner = :owner) AND :session IS NULL";
/// Turns of one session, by the session's index.
const OF_SESSION: &str = "FROM session s JOIN turn t INDEXED BY turn_session ON t.session = s.no \
     WHERE s.id = :session AND t.tenant = :tenant AND (:owner IS NULL OR t.owner = :owner)";

/// Writes a turn's row, instead of what was written of it.
pub(crate) fn put(connection: &Connection, tenant: &Tenant, session: i64, row: &TurnRow) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "INSERT OR REPLACE INTO turn (tenant, id, session, owner, seq, name, started, ended, ending) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    statement.execute((
        tenant.as_str(),
        bytes(row.turn),
        session,
        row.owner.as_str(),
        int(row.seq.0),
        &row.name,
        row.started_at.as_millis(),
        row.ended.map(|(at, _)| at.as_millis()),
        row.ended.map(|(_, how)| ending_number(how)),
    ))?;
    Ok(())
}

/// Says of a turn's row when and how the turn ended.
pub(crate) fn end(
    connection: &Connection,
    tenant: &Tenant,
    session: i64,
    turn: TurnId,
    (at, how): (Timestamp, TurnEnding),
) -> Result<()> {
    let mut statement = connection.prepare_cached(
        "UPDATE turn SET ended = ?4, ending = ?5 WHERE tenant = ?1 AND id = ?2 AND session = ?3",
    )?;
    statement.execute((tenant.as_str(), bytes(turn), session, at.as_millis(), ending_number(how)))?;
    Ok(())
}

/// A tenant's turns, newest first.
pub(crate) fn list(connection: &Connection, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>> {
    let sql = format!("SELECT {COLUMNS} {} ORDER BY t.id DESC LIMIT :limit OFFSET :offset", matching(query));
    let mut statement = connection.prepare_cached(&sql)?;
    let parameters = named_params! {
        ":tenant": tenant.as_str(),
        ":owner": query.owner.as_ref().map(Principal::as_str),
        ":session": query.session.map(blob),
        ":limit": int(query.limit as u64),
        ":offset": int(query.offset as u64),
    };
    statement.query_map(parameters, turn_row)?.collect()
}

/// One turn.
pub(crate) fn get(connection: &Connection, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>> {
    let sql = format!(
        "SELECT {COLUMNS} FROM turn t JOIN session s ON s.no = t.session WHERE t.tenant = ?1 AND t.id = ?2"
    );
    connection.prepare_cached(&sql)?.query_row((tenant.as_str(), bytes(turn)), turn_row).optional()
}

/// How many turns there are, by how they ended.
pub(crate) fn count(connection: &Connection, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts> {
    let sql = format!("SELECT t.ending, count(*) {} GROUP BY t.ending", matching(query));
    let mut statement = connection.prepare_cached(&sql)?;
    let parameters = named_params! {
        ":tenant": tenant.as_str(),
        ":owner": query.owner.as_ref().map(Principal::as_str),
        ":session": query.session.map(blob),
    };
    let mut counts = TurnCounts::default();
    let mut rows = statement.query(parameters)?;
    while let Some(row) = rows.next()? {
        counts.add(row.get::<_, Option<i64>>(0)?.map(ending), number(row.get(1)?));
    }
    Ok(counts)
}

fn matching(query: &TurnQuery) -> &'static str {
    if query.session.is_some() { OF_SESSION } else { OF_TENANT }
}

fn turn_row(row: &Row<'_>) -> Result<TurnRow> {
    let owner: String = row.get(2)?;
    let (ended, how): (Option<i64>, Option<i64>) = (row.get(6)?, row.get(7)?);
    Ok(TurnRow {
        turn: TurnId::from_bits(u128::from_be_bytes(row.get(0)?)),
        session: session_id(row.get(1)?),
        owner: owner.parse().map_err(|_| {
            rusqlite::Error::FromSqlConversionFailure(2, Type::Text, "not a principal".into())
        })?,
        seq: Seq(number(row.get(3)?)),
        name: row.get(4)?,
        started_at: Timestamp::from_millis(row.get(5)?),
        ended: ended.zip(how).map(|(at, how)| (Timestamp::from_millis(at), ending(how))),
    })
}

fn bytes(turn: TurnId) -> [u8; 16] {
    turn.bits().to_be_bytes()
}

fn ending_number(ending: TurnEnding) -> i64 {
    match ending {
        TurnEnding::Completed => 0,
        TurnEnding::Failed => 1,
        TurnEnding::Cancelled => 2,
    }
}

fn ending(number: i64) -> TurnEnding {
    match number {
        0 => TurnEnding::Completed,
        1 => TurnEnding::Failed,
        _ => TurnEnding::Cancelled,
    }
}
