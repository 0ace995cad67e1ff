//! Copies of a store: made while it is in use, and made into a store again.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use moongate_core::StoreError;
use rusqlite::{Connection, OpenFlags};

use crate::{
    OpenError, blobs, connect,
    error::reading,
    folder::{BLOBS, DATABASE, Folder, WAL, create_private, create_private_dir, sync_dir},
    migrate::migrate,
};

/// What a folder that is still being filled is called beside its name.
const UNFINISHED: &str = "unfinished";

/// What a restore brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Restored {
    /// How many sessions.
    pub sessions: u64,
}

/// Copies a store into a new folder: one moment of it, so a prefix of every session, then the attachments,
/// which are written before the events that name them. The folder appears when it is complete.
///
/// # Errors
/// When the store cannot be read, the folder is not empty, or there is no room.
pub fn backup(source: &Path, to: &Path) -> Result<(), StoreError> {
    let failed = |error: io::Error| StoreError::Engine(format!("{}: {error}", to.display()));
    if !is_empty(to).map_err(failed)? {
        return Err(StoreError::Engine(format!("{} is not empty: name a new folder", to.display())));
    }
    let part = unfinished(to);
    start_over(&part).map_err(failed)?;
    let database = part.join(DATABASE);
    create_private(&database).map_err(failed)?;
    let connection = connect::reader(&source.join(DATABASE)).map_err(|error| reading(&error))?;
    let target = database.to_str().ok_or(StoreError::Engine("the folder's name is not UTF-8".into()))?;
    connection.execute("VACUUM INTO ?1", [target]).map_err(|error| copying(&error))?;
    fs::File::open(&database).and_then(|file| file.sync_all()).map_err(failed)?;
    copy_blobs(&source.join(BLOBS), &part.join(BLOBS)).map_err(failed)?;
    finish(&part, to).map_err(failed)
}

fn copying(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::DiskFull) => StoreError::DiskFull,
        _ => reading(error),
    }
}

/// Makes a store of a backup, in a new or empty folder. Every session begins a new epoch: what came after the
/// backup is lost, and no client may go on as if it were not.
///
/// # Errors
/// `NotEmpty`; `Locked` when `from` is a store in use; `NotAStore`, `Newer` or `Damaged` when the backup is not one of ours; the operating system's.
pub fn restore(from: &Path, to: &Path) -> Result<Restored, OpenError> {
    let failed = |error: io::Error| OpenError::io(to, &error);
    if !is_empty(to).map_err(failed)? {
        return Err(OpenError::NotEmpty { path: to.to_path_buf() });
    }
    let source = from.join(DATABASE);
    if !source.is_file() {
        return Err(OpenError::NotAStore { path: source });
    }
    // A folder that was in use, and not a backup, may hold its newest events beside the database.
    if Folder::is_in_use(from) {
        return Err(OpenError::Locked { path: from.to_path_buf() });
    }
    let part = unfinished(to);
    start_over(&part).map_err(failed)?;
    let database = part.join(DATABASE);
    for name in [DATABASE, WAL] {
        if from.join(name).exists() {
            copy_file(&from.join(name), &part.join(name)).map_err(failed)?;
        }
    }
    let restored = begin_new_epochs(&database)?;
    fs::File::open(&database).and_then(|file| file.sync_all()).map_err(failed)?;
    copy_blobs(&from.join(BLOBS), &part.join(BLOBS)).map_err(failed)?;
    finish(&part, to).map_err(failed)?;
    Ok(restored)
}

/// Checks the copied file, and gives every session an epoch that differs from the one it had.
fn begin_new_epochs(database: &Path) -> Result<Restored, OpenError> {
    let failed = |error: rusqlite::Error| OpenError::sqlite(database, &error);
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let mut connection = Connection::open_with_flags(database, flags).map_err(failed)?;
    let verdict: String =
        connection.query_row("PRAGMA quick_check(1)", (), |row| row.get(0)).map_err(failed)?;
    if verdict != "ok" {
        return Err(OpenError::Damaged { path: database.to_path_buf(), reason: verdict });
    }
    migrate(&mut connection, database)?;
    // 1 to 2^32 - 1, moved on by 1 to 2^32 - 2 places in that circle: never 0, never the same.
    let sessions = connection
        .execute(
            "UPDATE session SET epoch = 1 + (max(epoch, 1) + (random() & 9223372036854775807) % 4294967294) \
             % 4294967295",
            (),
        )
        .map_err(failed)?;
    connection
        .execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('restored', unixepoch())", ())
        .map_err(failed)?;
    connection.close().map_err(|(_, error)| failed(error))?;
    Ok(Restored { sessions: sessions as u64 })
}

/// Copies a file, durably; the copy is this user's alone, whatever the original was.
fn copy_file(from: &Path, to: &Path) -> io::Result<()> {
    let copy = create_private(to)?;
    io::copy(&mut fs::File::open(from)?, &mut &copy)?;
    copy.sync_all()
}

fn is_empty(path: &Path) -> io::Result<bool> {
    match fs::read_dir(path) {
        Ok(mut entries) => Ok(entries.next().is_none()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
    }
}

fn unfinished(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".");
    name.push(UNFINISHED);
    name.into()
}

fn start_over(part: &Path) -> io::Result<()> {
    match fs::remove_dir_all(part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => create_private_dir(part),
    }
}

/// Gives the complete folder its name.
fn finish(part: &Path, to: &Path) -> io::Result<()> {
    sync_dir(part)?;
    fs::rename(part, to)?;
    match to.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => sync_dir(Path::new(".")),
    }
}

/// Copies the attachments, two levels of folders deep.
fn copy_blobs(from: &Path, to: &Path) -> io::Result<()> {
    create_private_dir(to)?;
    let folders = match fs::read_dir(from) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        folders => folders?,
    };
    for folder in folders {
        let folder = folder?;
        let target = to.join(folder.file_name());
        create_private_dir(&target)?;
        for file in fs::read_dir(folder.path())? {
            let file = file?;
            if file.file_name().to_string_lossy().ends_with(blobs::PARTIAL) {
                continue;
            }
            copy_file(&file.path(), &target.join(file.file_name()))?;
        }
        sync_dir(&target)?;
    }
    sync_dir(to)
}
