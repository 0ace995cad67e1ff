//! A few connections that only read, shared by everybody who does.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moongate_core::StoreError;
use rusqlite::Connection;
use tokio::{sync::Semaphore, task::spawn_blocking, time::timeout};

use crate::{connect, error::reading};

/// Reads at the same time: each may hold a page cache and a thread.
const CONNECTIONS: usize = 4;
/// How long a read waits for a connection.
const MAX_WAIT: Duration = Duration::from_secs(30);

/// The reading connections.
#[derive(Debug)]
pub(crate) struct Readers {
    path: PathBuf,
    slots: Arc<Semaphore>,
    idle: Arc<Mutex<Vec<Connection>>>,
}

impl Readers {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self { path, slots: Arc::new(Semaphore::new(CONNECTIONS)), idle: Arc::default() }
    }

    /// Runs one read on a thread for blocking work.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let slot = timeout(MAX_WAIT, self.slots.clone().acquire_owned()).await;
        let slot = slot
            .map_err(|_| StoreError::Engine("too many reads are under way".into()))?
            .map_err(|_| StoreError::Engine("the store is closed".into()))?;
        let (path, idle) = (self.path.clone(), self.idle.clone());
        let done = spawn_blocking(move || {
            let _slot = slot;
            let kept = idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = match kept {
                Some(connection) => connection,
                None => connect::reader(&path).map_err(|error| reading(&error))?,
            };
            let result = read(&connection);
            idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            result
        });
        done.await.map_err(|_| StoreError::Engine("a read did not end".into()))?
    }

    /// Runs a long read on a connection of its own: nothing is cached in it that may be out of date, and its
    /// page cache goes with it.
    pub(crate) async fn run_apart<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        self.run(move |_| read(&connect::reader(&path).map_err(|error| reading(&error))?)).await
    }

    /// Ends reading: waits for the reads under way and closes the connections.
    pub(crate) async fn close(&self) {
        let all = self.slots.acquire_many(u32::try_from(CONNECTIONS).unwrap_or(u32::MAX));
        // Past the bound the connections are closed with the store's last user.
        let _ = timeout(MAX_WAIT, all).await;
        self.slots.close();
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }
}
