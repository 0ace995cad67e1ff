//! Brings a store's format up to date: numbered steps, each in one transaction with its number.

use std::path::Path;

use rusqlite::{Connection, TransactionBehavior};

use crate::{OpenError, connect::APPLICATION_ID};

/// The steps, in order; the first makes format 1 out of an empty file.
const STEPS: &[&str] = &[
    include_str!("../migrations/0001_log.sql"),
    include_str!("../migrations/0002_unfinished.sql"),
    include_str!("../migrations/0003_turns.sql"),
    include_str!("../migrations/0004_approvals.sql"),
    include_str!("../migrations/0005_devices.sql"),
    include_str!("../migrations/0006_accounts.sql"),
    include_str!("../migrations/0007_submissions.sql"),
    include_str!("../migrations/0008_questions.sql"),
];

/// Runs the steps the store has not had yet. A step that was cut off leaves no trace and runs again.
pub(crate) fn migrate(connection: &mut Connection, path: &Path) -> Result<(), OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(path, &error);
    let pragma = |name| connection.pragma_query_value(None, name, |row| row.get::<_, u32>(0));
    let (version, owner) =
        (pragma("user_version").map_err(failed)?, pragma("application_id").map_err(failed)?);
    let tables: u32 =
        connection.query_row("SELECT count(*) FROM sqlite_schema", (), |row| row.get(0)).map_err(failed)?;
    let is_new = tables == 0 && version == 0 && owner == 0;
    if !is_new && i64::from(owner) != i64::from(APPLICATION_ID) {
        return Err(OpenError::NotAStore { path: path.to_path_buf() });
    }
    let known = u32::try_from(STEPS.len()).unwrap_or(u32::MAX);
    if version > known {
        return Err(OpenError::Newer { path: path.to_path_buf(), found: version, known });
    }
    for (number, step) in (1..).zip(STEPS).filter(|(number, _)| *number > version) {
        run(connection, number, step).map_err(failed)?;
    }
    if !is_new && version < known {
        tracing::info!(store.format = known, "the store's format was brought up to date");
    }
    Ok(())
}

fn run(connection: &mut Connection, number: u32, step: &str) -> rusqlite::Result<()> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.pragma_update(None, "application_id", APPLICATION_ID)?;
    transaction.pragma_update(None, "user_version", number)?;
    transaction.commit()
}
