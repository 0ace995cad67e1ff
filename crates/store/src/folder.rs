//! The data folder: who may look into it, and which process owns it.

use std::{
    fs::{self, DirBuilder, File, OpenOptions, Permissions, TryLockError},
    io,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use crate::OpenError;

/// The log and its projections.
pub(crate) const DATABASE: &str = "moongate.db";
/// What was written to the database and is not in it yet.
pub(crate) const WAL: &str = "moongate.db-wal";
/// Attachments and long tool outputs, by hash.
pub(crate) const BLOBS: &str = "blobs";
/// Files that were sent ahead of the input that uses them.
pub(crate) const UPLOADS: &str = "uploads";
/// Held by the process that owns the folder.
const LOCK: &str = "lock";

const FOLDER_MODE: u32 = 0o700;
const FILE_MODE: u32 = 0o600;
const OTHERS: u32 = 0o077;

/// A folder this process owns until the value is dropped.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    _lock: File,
}

impl Folder {
    /// Makes the folder when it is missing, closes it to others, and takes its lock.
    pub(crate) fn claim(path: &Path) -> Result<Self, OpenError> {
        let io = |at: &Path| {
            let at = at.to_path_buf();
            move |error: io::Error| OpenError::io(at, &error)
        };
        let is_new = !path.exists();
        create_private_dir(path).map_err(io(path))?;
        close_to_others(path)?;
        let lock_path = path.join(LOCK);
        let lock = create_private(&lock_path).map_err(io(&lock_path))?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(OpenError::Locked { path: path.to_path_buf() }),
            Err(TryLockError::Error(error)) => return Err(OpenError::io(lock_path, &error)),
        }
        let blobs = path.join(BLOBS);
        create_private_dir(&blobs).map_err(io(&blobs))?;
        let database = path.join(DATABASE);
        // SQLite gives the files beside the database the database's own mode.
        create_private(&database).map_err(io(&database))?;
        fs::set_permissions(&database, Permissions::from_mode(FILE_MODE)).map_err(io(&database))?;
        sync_dir(path).map_err(io(path))?;
        if let Some(above) = path.parent().filter(|above| is_new && !above.as_os_str().is_empty()) {
            sync_dir(above).map_err(io(above))?;
        }
        Ok(Self { path: path.to_path_buf(), _lock: lock })
    }

    /// Whether a process owns the folder now.
    pub(crate) fn is_in_use(path: &Path) -> bool {
        let lock = File::open(path.join(LOCK));
        lock.is_ok_and(|lock| matches!(lock.try_lock(), Err(TryLockError::WouldBlock)))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn database(&self) -> PathBuf {
        self.path.join(DATABASE)
    }
}

/// Opens a file for writing that only this user can read, making it when it is missing.
pub(crate) fn create_private(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(FILE_MODE).open(path)
}

/// Makes a folder, and those above it, that only this user can enter.
pub(crate) fn create_private_dir(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(FOLDER_MODE).create(path)
}

/// Makes a rename or a new file in a folder durable.
pub(crate) fn sync_dir(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// A folder that is ours, or still empty, is closed; one that holds somebody's other things is refused, since
/// changing its mode could surprise them.
fn close_to_others(path: &Path) -> Result<(), OpenError> {
    let failed = |error: io::Error| OpenError::io(path, &error);
    let mode = fs::metadata(path).map_err(failed)?.mode();
    if mode & OTHERS == 0 {
        return Ok(());
    }
    let is_ours = path.join(DATABASE).exists();
    let is_empty = fs::read_dir(path).map_err(failed)?.next().is_none();
    if is_ours || is_empty {
        return fs::set_permissions(path, Permissions::from_mode(FOLDER_MODE)).map_err(failed);
    }
    let reason = format!("others may enter it (mode {:o}) and it holds other files", mode & 0o777);
    Err(OpenError::Permissions { path: path.to_path_buf(), reason })
}
