//! Turns on disk: one writer, one commit for all that wait.

use std::path::{Path, PathBuf};

use rusqlite::Connection;
use tokio::sync::{mpsc, oneshot};

/// Most turns of one commit.
const BATCH: usize = 4096;

const SCHEMA: &str = "\
PRAGMA journal_mode = WAL;
PRAGMA synchronous = FULL;
PRAGMA cache_size = -65536;
CREATE TABLE turn (id INTEGER PRIMARY KEY, session TEXT, body TEXT, at INTEGER);
CREATE INDEX turn_session ON turn (session, id);";

/// A turn to write.
pub(super) struct Entry {
    pub(super) session: String,
    pub(super) body: String,
    /// Told when the turn is on disk.
    pub(super) written: oneshot::Sender<()>,
}

/// Makes the database anew.
pub(super) fn create(path: &Path) -> Result<Connection, crate::Fault> {
    for suffix in ["", "-wal", "-shm"] {
        let mut file = path.as_os_str().to_owned();
        file.push(suffix);
        match std::fs::remove_file(PathBuf::from(file)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
    }
    let connection = Connection::open(path)?;
    connection.execute_batch(SCHEMA)?;
    Ok(connection)
}

/// Writes until nobody can send any more.
pub(super) fn write(database: &Connection, mut entries: mpsc::Receiver<Entry>) -> rusqlite::Result<()> {
    let mut batch = Vec::new();
    while entries.blocking_recv().map(|entry| batch.push(entry)).is_some() {
        while batch.len() < BATCH
            && let Ok(entry) = entries.try_recv()
        {
            batch.push(entry);
        }
        let commit = database.unchecked_transaction()?;
        let insert = "INSERT INTO turn (session, body, at) VALUES (?1, ?2, unixepoch())";
        let mut insert = database.prepare_cached(insert)?;
        for entry in &batch {
            insert.execute((&entry.session, &entry.body))?;
        }
        drop(insert);
        commit.commit()?;
        for entry in batch.drain(..) {
            // Nobody waits any more: the turn is written all the same.
            entry.written.send(()).ok();
        }
    }
    Ok(())
}
