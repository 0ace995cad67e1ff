//! What SQLite's failures mean for a store.

use std::{io, path::PathBuf};

use moongate_core::StoreError;
use rusqlite::{ErrorCode, ffi};

/// Why a store cannot be opened, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process uses the folder.
    #[error(
        "{path} is in use by another Moongate process: stop that one first, or give this one another folder"
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A later version wrote the store.
    #[error(
        "the store in {path} has format {found}, this program knows up to {known}: start the newer program \
         again, or restore a backup made before the upgrade"
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// The format found.
        found: u32,
        /// The newest format this program knows.
        known: u32,
    },
    /// The folder or a file in it may not be used, or others may read it.
    #[error("{path} cannot be used: {reason}; make it belong to this user, with `chmod 700` on the folder")]
    Permissions {
        /// The folder or file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// The file is another program's.
    #[error("{path} is not a Moongate store: move it away or choose another data folder")]
    NotAStore {
        /// The file.
        path: PathBuf,
    },
    /// The file is not readable as a store.
    #[error("the store {path} is damaged ({reason}): keep a copy of the folder and restore the last backup")]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What SQLite says.
        reason: String,
    },
    /// There is no room.
    #[error("no room on the disk of {path}: free some and start again")]
    DiskFull {
        /// The folder.
        path: PathBuf,
    },
    /// The target of a restore is not empty.
    #[error("{path} is not empty: restore into a new folder, then start with that one")]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// Something else the operating system or SQLite said.
    #[error("the store {path} cannot be opened: {reason}")]
    Other {
        /// The folder or file.
        path: PathBuf,
        /// What was said.
        reason: String,
    },
}

impl OpenError {
    /// What an operating system's error means here.
    pub(crate) fn io(path: impl Into<PathBuf>, error: &io::Error) -> Self {
        let (path, reason) = (path.into(), error.to_string());
        match error.kind() {
            io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem => {
                Self::Permissions { path, reason }
            }
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Self::DiskFull { path },
            _ => Self::Other { path, reason },
        }
    }

    /// What SQLite's error means here.
    pub(crate) fn sqlite(path: impl Into<PathBuf>, error: &rusqlite::Error) -> Self {
        let (path, reason) = (path.into(), error.to_string());
        match error.sqlite_error_code() {
            Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => Self::Damaged { path, reason },
            Some(ErrorCode::ReadOnly | ErrorCode::CannotOpen | ErrorCode::PermissionDenied) => {
                Self::Permissions { path, reason }
            }
            Some(ErrorCode::DiskFull) => Self::DiskFull { path },
            Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => Self::Locked { path },
            _ => Self::Other { path, reason },
        }
    }
}

/// What a failed statement or commit means for what comes after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Failure {
    /// No room; nothing was written, and there may be room later.
    Full,
    /// Somebody else holds the file; nothing was written.
    Busy,
    /// One operation cannot be done; others can.
    Operation,
    /// Nobody knows what is on the disk now.
    Fatal,
}

impl Failure {
    pub(crate) fn of(error: &rusqlite::Error) -> Self {
        let Some(failure) = error.sqlite_error() else { return Self::Operation };
        match failure.code {
            ErrorCode::DiskFull => Self::Full,
            // The shared index beside the WAL could not grow; it holds nothing that is not in the WAL.
            ErrorCode::SystemIoFailure if failure.extended_code == ffi::SQLITE_IOERR_SHMSIZE => Self::Full,
            ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => Self::Busy,
            ErrorCode::ConstraintViolation
            | ErrorCode::TooBig
            | ErrorCode::TypeMismatch
            | ErrorCode::ParameterOutOfRange => Self::Operation,
            _ => Self::Fatal,
        }
    }
}

/// What a reader's failure means.
pub(crate) fn reading(error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => StoreError::Damaged(error.to_string()),
        Some(_) => StoreError::Engine(error.to_string()),
        None => StoreError::Damaged(format!("a row does not have its form: {error}")),
    }
}
