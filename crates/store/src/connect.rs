//! Connections to the database, each set up the same way.

use std::{path::Path, time::Duration};

use rusqlite::{Connection, OpenFlags, Result};

/// How long a statement waits for another process that looks into the file, such as `sqlite3`.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// The writer's page cache, in KiB.
const WRITER_CACHE_KIB: i64 = 4 * 1024;
/// A reader's page cache, in KiB.
const READER_CACHE_KIB: i64 = 2 * 1024;
/// Statements kept ready on each connection; more than there are different ones.
const STATEMENTS: usize = 64;
/// What the WAL shrinks to after it had to grow, in bytes.
const WAL_SIZE_LIMIT: i64 = 64 << 20;
/// Marks the file as ours.
pub(crate) const APPLICATION_ID: i32 = 0x4d6f_6f6e;

/// The connection that writes.
pub(crate) fn writer(path: &Path) -> Result<Connection> {
    let connection = Connection::open_with_flags(
        path,
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
    )?;
    set_up(&connection, WRITER_CACHE_KIB)?;
    connection.pragma_update(None, "journal_mode", "wal")?;
    connection.pragma_update(None, "synchronous", "full")?;
    connection.pragma_update(None, "secure_delete", true)?;
    // The writer itself says when, and sees when it fails.
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "journal_size_limit", WAL_SIZE_LIMIT)?;
    Ok(connection)
}

/// A connection that reads.
pub(crate) fn reader(path: &Path) -> Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    set_up(&connection, READER_CACHE_KIB)?;
    Ok(connection)
}

fn set_up(connection: &Connection, cache_kib: i64) -> Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)?;
    connection.pragma_update(None, "temp_store", "memory")?;
    connection.pragma_update(None, "cache_size", -cache_kib)
}
