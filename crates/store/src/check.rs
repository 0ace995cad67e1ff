//! Reads everything and says what is wrong with it.

use std::path::Path;

use moongate_core::{CheckReport, StoreError};
use rusqlite::{Connection, Result};

use crate::{
    connect,
    error::reading,
    folder::DATABASE,
    read::session,
    walk::{Step, Walked, sessions, walk},
};

/// What is said of a row that says something else than its log.
const NO_FOLD: &str = "its row is not the fold of its log: build it anew";

/// Most faults of the file itself that are listed.
const MAX_FILE_FAULTS: usize = 100;

/// Checks the store in a folder, also while another process owns it. Blocks.
///
/// # Errors
/// When the store cannot be read at all.
pub fn check_folder(folder: &Path) -> std::result::Result<CheckReport, StoreError> {
    let connection = connect::reader(&folder.join(DATABASE)).map_err(|error| reading(&error))?;
    check(&connection)
}

/// Looks at the file, then at each session: its sums, its numbers, its events, and its row against the fold
/// of its log. Sees one moment of the store; it may be in use.
pub(crate) fn check(connection: &Connection) -> std::result::Result<CheckReport, StoreError> {
    let mut report = CheckReport::default();
    let snapshot = connection.unchecked_transaction().map_err(|error| reading(&error))?;
    match file_faults(&snapshot) {
        Ok(faults) => report.faults.extend(faults.into_iter().map(|fault| (None, fault))),
        Err(error) => report.faults.push((None, error.to_string())),
    }
    let all = sessions(&snapshot).map_err(|error| reading(&error))?;
    let mut seen = 0_i64;
    for walked in all {
        report.sessions += 1;
        report.events += walked.head;
        if let Some(fault) = session_fault(&snapshot, walked, &mut seen) {
            report.faults.push((Some(walked.id), fault));
        }
    }
    let rows: i64 = snapshot
        .query_row("SELECT count(*) FROM log", (), |row| row.get(0))
        .map_err(|error| reading(&error))?;
    if rows > seen {
        report.faults.push((None, format!("{} rows of the log are in no readable session", rows - seen)));
    }
    Ok(report)
}

fn file_faults(connection: &Connection) -> Result<Vec<String>> {
    let mut statement = connection.prepare(&format!("PRAGMA integrity_check({MAX_FILE_FAULTS})"))?;
    let mut faults: Vec<String> =
        statement.query_map((), |row| row.get(0))?.collect::<Result<Vec<String>>>()?;
    faults.retain(|fault| fault != "ok");
    Ok(faults)
}

fn session_fault(connection: &Connection, walked: Walked, seen: &mut i64) -> Option<String> {
    let count = |_: Step<'_>| {
        *seen += 1;
        Ok(())
    };
    let summary = match walk(connection, walked, count) {
        Ok(Ok(summary)) => summary,
        Ok(Err(fault)) => return Some(fault),
        Err(error) => return Some(error.to_string()),
    };
    let mut fold = summary.view().clone();
    match session(connection, walked.id) {
        Ok(Some(row)) => {
            // What an earlier version wrote says nothing of it.
            fold.sums.messages = fold.sums.messages.filter(|_| row.view.sums.messages.is_some());
            (row.view != fold).then(|| NO_FOLD.to_owned())
        }
        Ok(None) => Some(NO_FOLD.into()),
        Err(error) => Some(error.to_string()),
    }
}
