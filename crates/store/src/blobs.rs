//! Attachments and long tool outputs: files named by the hash of what is in them.

use std::{
    fs::{self, File},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
};

use bytes::Bytes;
use moongate_core::StoreError;
use moongate_protocol::BlobHash;
use sha2::{Digest, Sha256};

use crate::folder::{create_private, create_private_dir, sync_dir};

/// What a file that is still being written ends with.
pub(crate) const PARTIAL: &str = ".partial";

/// Makes names of files that are still being written differ within this process; others are kept out by the
/// folder's lock.
static NEXT_PARTIAL: AtomicU64 = AtomicU64::new(0);

/// Keeps bytes; they are on disk, under their name, when this returns.
pub(crate) fn put(root: &Path, bytes: &[u8]) -> Result<BlobHash, StoreError> {
    let hash = BlobHash(Sha256::digest(bytes).into());
    let path = path_of(root, hash);
    // A file that is there was complete before it got its name; one that rotted since is written again.
    if fs::read(&path).is_ok_and(|kept| kept == bytes) {
        return Ok(hash);
    }
    write(&path, bytes).map_err(|error| failed(&error)).map(|()| hash)
}

/// The bytes of a hash.
pub(crate) fn get(root: &Path, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
    match fs::read(path_of(root, hash)) {
        Ok(bytes) if BlobHash(Sha256::digest(&bytes).into()) == hash => Ok(Some(bytes.into())),
        Ok(_) => Err(StoreError::Damaged(format!("the attachment {hash} is not what was kept"))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(failed(&error)),
    }
}

fn path_of(root: &Path, hash: BlobHash) -> PathBuf {
    let name = hash.to_string();
    root.join(&name[..2]).join(name)
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(path);
    if !folder.exists() {
        create_private_dir(folder)?;
        folder.parent().map_or(Ok(()), sync_dir)?;
    }
    let number = NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed);
    let partial = folder.join(format!("{number}{PARTIAL}"));
    let written = fill(&partial, bytes).and_then(|()| fs::rename(&partial, path));
    if written.is_err() {
        // It is of no use and takes room; the failure itself is what is reported.
        let _ = fs::remove_file(&partial);
    }
    written?;
    sync_dir(folder)
}

fn fill(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file: File = create_private(path)?;
    file.set_len(0)?;
    file.write_all(bytes)?;
    file.sync_all()
}

pub(crate) fn failed(error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::DiskFull,
        _ => StoreError::Engine(error.to_string()),
    }
}
