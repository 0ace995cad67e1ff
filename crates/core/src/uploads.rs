//! Files that are sent ahead of the input that uses them: kept for the session a door's client names, also before
//! that session is there.

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use moongate_protocol::{Alias, FileId, Principal, Tenant, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{DoorName, StoreError};

/// Whose files: those for one session, by its client's name for it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UploadPlace {
    /// Behind which wall.
    pub tenant: Tenant,
    /// Who sent them.
    pub owner: Principal,
    /// Through which door.
    pub door: DoorName,
    /// For which session.
    pub alias: Alias,
}

/// What is known of a file besides its bytes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Its id, which also says when it came.
    pub id: FileId,
    /// What it was called. Shown, and nothing else.
    pub name: String,
    /// What kind it is, by its content.
    pub media_type: String,
    /// How large it is.
    pub bytes: u64,
}

/// A file that is still arriving. Dropped before it is kept, nothing of it stays.
#[async_trait]
pub trait Arriving: Send {
    /// Takes its next bytes.
    ///
    /// # Errors
    /// `DiskFull`, or the engine's.
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError>;

    /// Keeps it, durably, unless the place's files would be more than `most` bytes; says whether it did.
    ///
    /// # Errors
    /// As [`Arriving::write`].
    async fn keep(
        self: Box<Self>,
        place: &UploadPlace,
        upload: Upload,
        most: u64,
    ) -> Result<bool, StoreError>;
}

/// Files that were sent ahead. Those no input used go after a while, the others with their session.
#[async_trait]
pub trait Uploads: Send + Sync {
    /// A file begins to arrive.
    async fn begin(&self) -> Result<Box<dyn Arriving>, StoreError>;

    /// What is known of a file, and whether an input used it.
    async fn get(&self, place: &UploadPlace, id: FileId) -> Result<Option<(Upload, bool)>, StoreError>;

    /// A file's first bytes, `most` of them at most.
    async fn read(&self, place: &UploadPlace, id: FileId, most: usize) -> Result<Option<Bytes>, StoreError>;

    /// An input uses the file.
    async fn mark_used(&self, place: &UploadPlace, id: FileId) -> Result<(), StoreError>;

    /// Removes all files of a place.
    async fn forget(&self, place: &UploadPlace) -> Result<(), StoreError>;

    /// Removes files that came before this time and that no input used.
    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError>;
}

#[derive(Clone, Debug)]
struct Held {
    upload: Upload,
    bytes: Bytes,
    used: bool,
}

type Places = HashMap<UploadPlace, BTreeMap<FileId, Held>>;

/// Files in memory.
#[derive(Clone, Debug, Default)]
pub struct MemoryUploads(Arc<Mutex<Places>>);

struct Gathered {
    all: MemoryUploads,
    bytes: BytesMut,
}

impl MemoryUploads {
    fn places(&self) -> MutexGuard<'_, Places> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Arriving for Gathered {
    async fn write(&mut self, bytes: Bytes) -> Result<(), StoreError> {
        self.bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn keep(
        self: Box<Self>,
        place: &UploadPlace,
        upload: Upload,
        most: u64,
    ) -> Result<bool, StoreError> {
        let mut places = self.all.places();
        let held = places.entry(place.clone()).or_default();
        let there: u64 = held.values().map(|held| held.upload.bytes).sum();
        let fits = there.saturating_add(upload.bytes) <= most;
        if fits {
            held.insert(upload.id, Held { upload, bytes: self.bytes.freeze(), used: false });
        }
        Ok(fits)
    }
}

#[async_trait]
impl Uploads for MemoryUploads {
    async fn begin(&self) -> Result<Box<dyn Arriving>, StoreError> {
        Ok(Box::new(Gathered { all: self.clone(), bytes: BytesMut::new() }))
    }

    async fn get(&self, place: &UploadPlace, id: FileId) -> Result<Option<(Upload, bool)>, StoreError> {
        let places = self.places();
        let held = places.get(place).and_then(|held| held.get(&id));
        Ok(held.map(|held| (held.upload.clone(), held.used)))
    }

    async fn read(&self, place: &UploadPlace, id: FileId, most: usize) -> Result<Option<Bytes>, StoreError> {
        let places = self.places();
        let held = places.get(place).and_then(|held| held.get(&id));
        Ok(held.map(|held| held.bytes.slice(..held.bytes.len().min(most))))
    }

    async fn mark_used(&self, place: &UploadPlace, id: FileId) -> Result<(), StoreError> {
        if let Some(held) = self.places().get_mut(place).and_then(|held| held.get_mut(&id)) {
            held.used = true;
        }
        Ok(())
    }

    async fn forget(&self, place: &UploadPlace) -> Result<(), StoreError> {
        self.places().remove(place);
        Ok(())
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut places = self.places();
        for held in places.values_mut() {
            held.retain(|id, held| held.used || id.at() >= before);
        }
        places.retain(|_, held| !held.is_empty());
        Ok(())
    }
}
