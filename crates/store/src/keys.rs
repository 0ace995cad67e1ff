//! API keys and the audit log.

use std::str::FromStr;

use moongate_core::{AuditEntry, Device, KeyRow, Scopes};
use moongate_protocol::{KeyId, ParseError, Tenant, Timestamp};
use rusqlite::{
    Connection, OptionalExtension, Result, Row, named_params, params,
    types::{FromSqlError, Type},
};

use crate::prepare::int;

/// Between the items of a list kept in one column; no name and no network holds it.
const BETWEEN: &str = "\n";
const COLUMNS: &str = "id, tenant, principal, label, secret_hash, scopes, agents, namespaces, networks, \
                       created, expires, revoked, device";

pub(crate) fn put(connection: &Connection, key: &KeyRow) -> Result<usize> {
    let mut statement = connection.prepare_cached(&format!(
        "INSERT OR REPLACE INTO key ({COLUMNS}) VALUES (:id, :tenant, :principal, :label, :secret_hash, \
         :scopes, :agents, :namespaces, :networks, :created, :expires, :revoked, :device)"
    ))?;
    statement.execute(named_params! {
        ":id": key.id.bits().to_be_bytes(),
        ":tenant": key.tenant.as_str(),
        ":principal": key.principal.as_str(),
        ":label": key.label,
        ":secret_hash": key.secret_hash,
        ":scopes": key.scopes.bits(),
        ":agents": joined(&key.agents),
        ":namespaces": joined(&key.namespaces),
        ":networks": joined(&key.networks),
        ":created": key.created_at.as_millis(),
        ":expires": key.expires_at.map(Timestamp::as_millis),
        ":revoked": key.revoked_at.map(Timestamp::as_millis),
        ":device": key.device.as_ref().and_then(|device| serde_json::to_string(device).ok()),
    })
}

pub(crate) fn key(connection: &Connection, id: KeyId) -> Result<Option<KeyRow>> {
    connection
        .prepare_cached(&format!("SELECT {COLUMNS} FROM key WHERE id = ?1"))?
        .query_row([id.bits().to_be_bytes()], key_row)
        .optional()
}

pub(crate) fn keys(connection: &Connection, tenant: &Tenant) -> Result<Vec<KeyRow>> {
    let sql = format!("SELECT {COLUMNS} FROM key WHERE tenant = ?1 ORDER BY created DESC, id DESC");
    let mut statement = connection.prepare_cached(&sql)?;
    statement.query_map([tenant.as_str()], key_row)?.collect()
}

pub(crate) fn audit(connection: &Connection, entry: &AuditEntry) -> Result<usize> {
    let mut statement = connection.prepare_cached(
        "INSERT INTO audit (tenant, at, principal, action, object, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    )?;
    statement.execute(params![
        entry.tenant.as_str(),
        entry.at.as_millis(),
        entry.principal.as_str(),
        entry.action,
        entry.object,
        entry.from,
    ])
}

pub(crate) fn audit_entries(
    connection: &Connection,
    tenant: &Tenant,
    limit: usize,
) -> Result<Vec<AuditEntry>> {
    let mut statement = connection.prepare_cached(
        "SELECT tenant, at, principal, action, object, source FROM audit WHERE tenant = ?1 \
         ORDER BY no DESC LIMIT ?2",
    )?;
    let entries = statement.query_map((tenant.as_str(), int(limit as u64)), |row| {
        Ok(AuditEntry {
            tenant: parsed(row, 0)?,
            at: Timestamp::from_millis(row.get(1)?),
            principal: parsed(row, 2)?,
            action: row.get(3)?,
            object: row.get(4)?,
            from: row.get(5)?,
        })
    })?;
    entries.collect()
}

fn key_row(row: &Row<'_>) -> Result<KeyRow> {
    Ok(KeyRow {
        id: KeyId::from_bits(u128::from_be_bytes(row.get(0)?)),
        tenant: parsed(row, 1)?,
        principal: parsed(row, 2)?,
        label: row.get(3)?,
        secret_hash: row.get(4)?,
        scopes: Scopes::from_bits(row.get(5)?),
        agents: split(row, 6)?,
        namespaces: split(row, 7)?,
        networks: row.get::<_, String>(8)?.split_terminator(BETWEEN).map(str::to_owned).collect(),
        created_at: Timestamp::from_millis(row.get(9)?),
        expires_at: row.get::<_, Option<i64>>(10)?.map(Timestamp::from_millis),
        revoked_at: row.get::<_, Option<i64>>(11)?.map(Timestamp::from_millis),
        device: row.get::<_, Option<String>>(12)?.map(|text| device(&text)).transpose()?,
    })
}

fn device(text: &str) -> Result<Device> {
    let failed = |error| rusqlite::Error::FromSqlConversionFailure(12, Type::Text, Box::new(error));
    serde_json::from_str(text).map_err(failed)
}

fn joined<T: ToString>(items: &[T]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(BETWEEN)
}

fn split<T: FromStr<Err = ParseError>>(row: &Row<'_>, column: usize) -> Result<Vec<T>> {
    let text: String = row.get(column)?;
    text.split_terminator(BETWEEN).map(|item| item.parse().map_err(|error| bad(column, error))).collect()
}

fn parsed<T: FromStr<Err = ParseError>>(row: &Row<'_>, column: usize) -> Result<T> {
    row.get::<_, String>(column)?.parse().map_err(|error| bad(column, error))
}

fn bad(column: usize, error: ParseError) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, Type::Text, FromSqlError::other(error).into())
}
