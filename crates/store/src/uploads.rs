//! Files that were sent ahead of the input that uses them, in a folder for each session they are for. The bytes of
//! one have its id for a name, and beside them stands what is known of it: `.new` until an input uses it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_core::{Arriving, StoreError, Upload, UploadPlace, Uploads};
use moongate_protocol::{BlobHash, FileId, Timestamp};
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use crate::{
    blobs::{PARTIAL, failed},
    folder::{create_private, create_private_dir, sync_dir},
};

/// What the record of a file ends with that no input uses yet.
const NEW: &str = "new";
/// What it ends with afterwards.
const USED: &str = "used";
/// Bytes of a record that are read: a name has a bound far below.
const RECORD_BYTES: u64 = 64 << 10;

/// Makes names of files that are still arriving differ within this process; others are kept out by the folder's
/// lock.
static NEXT_PARTIAL: AtomicU64 = AtomicU64::new(0);

/// Files in a folder.
#[derive(Clone, Debug)]
pub(crate) struct FileUploads {
    root: PathBuf,
    /// Held while a place's files are counted and one is added.
    counting: Arc<Mutex<()>>,
}

impl FileUploads {
    /// Files in this folder. What was still arriving when a process ended is removed.
    pub(crate) fn open(root: PathBuf) -> io::Result<Self> {
        create_private_dir(&root)?;
        for file in fs::read_dir(&root)? {
            let path = file?.path();
            if path.to_string_lossy().ends_with(PARTIAL) {
                fs::remove_file(path)?;
            }
        }
        Ok(Self { root, counting: Arc::default() })
    }

    fn folder(&self, place: &UploadPlace) -> PathBuf {
        let mut hash = Sha256::new();
        for part in [place.tenant.as_str(), place.owner.as_str(), &*place.door, place.alias.as_str()] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        self.root.join(BlobHash(hash.finalize().into()).to_string())
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> io::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        blocking(work).await
    }
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> Result<T, StoreError> {
    let done = spawn_blocking(work).await;
    let done = done.map_err(|_| StoreError::Engine("file work did not end".into()))?;
    done.map_err(|error| failed(&error))
}

/// A file that is being written; removed when it is dropped.
struct Partial {
    path: PathBuf,
    file: File,
}

impl Drop for Partial {
    fn drop(&mut self) {
        // It has another name by now, or is of no use.
        let _ = fs::remove_file(&self.path);
    }
}

struct ArrivingFile {
    uploads: FileUploads,
    partial: Arc<Mutex<Partial>>,
}

#[async_trait]
impl Arriving for ArrivingFile {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        let partial = Arc::clone(&self.partial);
        let write = move || lock(&partial).file.write_all(&bytes);
        blocking(write).await
    }

    async fn keep(
        self: Box<Self>,
        place: &UploadPlace,
        upload: Upload,
        most: u64,
    ) -> Result<bool, StoreError> {
        let folder = self.uploads.folder(place);
        let Self { uploads, partial } = *self;
        blocking(move || {
            let partial = lock(&partial);
            partial.file.sync_all()?;
            let _counting = lock(&uploads.counting);
            if used(&folder)?.saturating_add(upload.bytes) > most {
                return Ok(false);
            }
            create_private_dir(&folder)?;
            // The record first: bytes without one would stay for ever.
            let record = serde_json::to_vec(&upload).map_err(io::Error::other)?;
            let mut file = create_private(&at(&folder, upload.id, NEW))?;
            file.write_all(&record)?;
            file.sync_all()?;
            fs::rename(&partial.path, folder.join(upload.id.to_string()))?;
            sync_dir(&folder)?;
            sync_dir(&uploads.root)?;
            Ok(true)
        })
        .await
    }
}

#[async_trait]
impl Uploads for FileUploads {
    async fn begin(&self) -> Result<Box<dyn Arriving>, StoreError> {
        let number = NEXT_PARTIAL.fetch_add(1, Ordering::Relaxed);
        let path = self.root.join(format!("{number}{PARTIAL}"));
        let partial = move || Ok(Partial { file: create_private(&path)?, path });
        let partial = Arc::new(Mutex::new(self.run(partial).await?));
        Ok(Box::new(ArrivingFile { uploads: self.clone(), partial }))
    }

    async fn get(&self, place: &UploadPlace, id: FileId) -> Result<Option<(Upload, bool)>, StoreError> {
        let folder = self.folder(place);
        self.run(move || {
            for (kind, used) in [(USED, true), (NEW, false)] {
                let Some(record) = start_of(&at(&folder, id, kind), RECORD_BYTES)? else { continue };
                if !folder.join(id.to_string()).exists() {
                    break;
                }
                return Ok(serde_json::from_slice(&record).ok().map(|upload| (upload, used)));
            }
            Ok(None)
        })
        .await
    }

    async fn read(&self, place: &UploadPlace, id: FileId, most: usize) -> Result<Option<Bytes>, StoreError> {
        let path = self.folder(place).join(id.to_string());
        self.run(move || Ok(start_of(&path, most as u64)?.map(Bytes::from))).await
    }

    async fn mark_used(&self, place: &UploadPlace, id: FileId) -> Result<(), StoreError> {
        let folder = self.folder(place);
        self.run(move || match fs::rename(at(&folder, id, NEW), at(&folder, id, USED)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => sync_dir(&folder),
        })
        .await
    }

    async fn forget(&self, place: &UploadPlace) -> Result<(), StoreError> {
        let folder = self.folder(place);
        self.run(move || match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        })
        .await
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        let uploads = self.clone();
        self.run(move || {
            for folder in fs::read_dir(&uploads.root)? {
                let folder = folder?.path();
                if folder.is_dir() {
                    let _counting = lock(&uploads.counting);
                    sweep(&folder, before)?;
                }
            }
            Ok(())
        })
        .await
    }
}

/// Removes what came before this time and no input used, and the folder when nothing is left in it.
fn sweep(folder: &Path, before: Timestamp) -> io::Result<()> {
    for file in fs::read_dir(folder)? {
        let path = file?.path();
        let id = path.file_stem().and_then(|stem| stem.to_str()?.parse::<FileId>().ok());
        let is_new = path.extension().is_some_and(|kind| kind == NEW);
        if let Some(id) = id.filter(|id| is_new && id.at() < before) {
            // The bytes first: a record without them is found again.
            remove(&folder.join(id.to_string()))?;
            remove(&path)?;
        }
    }
    match fs::remove_dir(folder) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty => Err(error),
        _ => Ok(()),
    }
}

fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Bytes of all files of a folder.
fn used(folder: &Path) -> io::Result<u64> {
    let files = match fs::read_dir(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
        files => files?,
    };
    let mut bytes = 0_u64;
    for file in files {
        let file = file?;
        if Path::new(&file.file_name()).extension().is_none() {
            bytes = bytes.saturating_add(file.metadata()?.len());
        }
    }
    Ok(bytes)
}

/// The first bytes of a file; `None` when there is none.
fn start_of(path: &Path, most: u64) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => file?,
    };
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

fn at(folder: &Path, id: FileId, kind: &str) -> PathBuf {
    folder.join(format!("{id}.{kind}"))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> usize {
        fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn a_file_that_did_not_arrive_leaves_nothing_also_when_the_process_ended() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = FileUploads::open(folder.path().to_path_buf()).unwrap();
        let mut arriving = uploads.begin().await.unwrap();
        arriving.write(Bytes::from_static(b"half of it")).await.unwrap();
        assert_eq!(files(folder.path()), 1);
        drop(arriving);
        assert_eq!(files(folder.path()), 0);
        fs::write(folder.path().join(format!("7{PARTIAL}")), b"left").unwrap();
        FileUploads::open(folder.path().to_path_buf()).unwrap();
        assert_eq!(files(folder.path()), 0);
    }

    #[tokio::test]
    async fn a_place_without_files_is_no_folder() {
        let folder = tempfile::tempdir().unwrap();
        let uploads = FileUploads::open(folder.path().to_path_buf()).unwrap();
        let place = UploadPlace {
            tenant: "default".parse().unwrap(),
            owner: "bob".parse().unwrap(),
            door: "a".into(),
            alias: "s".parse().unwrap(),
        };
        let at = Timestamp::from_millis(1_000);
        let id = FileId::new(at, &[7; 10]);
        let upload = Upload { id, name: "n".into(), media_type: "text/plain".into(), bytes: 0 };
        assert!(uploads.begin().await.unwrap().keep(&place, upload, 1).await.unwrap());
        assert_eq!(files(folder.path()), 1);
        uploads.sweep(Timestamp::from_millis(1_001)).await.unwrap();
        assert_eq!(files(folder.path()), 0);
        uploads.forget(&place).await.unwrap();
    }
}
