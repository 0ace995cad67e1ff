//! The store itself: sends changes to the writer, reads on the readers.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    thread::JoinHandle,
};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_core::{
    Append, ApprovalRow, AskQuery, AuditEntry, Bill, CheckReport, Fence, IdempotencyRow, KeyRow, ListQuery,
    QuestionRow, Record, SearchHit, SessionRow, SpentRow, Store, StoreAdmin, StoreError, SubmissionKey,
    TurnCounts, TurnQuery, TurnRow, Uploads, UsageQuery, UsageRow,
};
use moongate_protocol::{
    Alias, ApprovalId, BlobHash, KeyId, QuestionId, Seq, SessionId, Tenant, Timestamp, TurnId,
};
use rusqlite::{Connection, OptionalExtension};
use tokio::{
    sync::{mpsc, oneshot},
    task::spawn_blocking,
};

use crate::{
    OpenError,
    apply::Op,
    asks, backup, blobs, check, connect,
    error::reading,
    find,
    folder::{BLOBS, Folder, UPLOADS},
    keys, list,
    migrate::migrate,
    prepare::{Prepared, int, number},
    read,
    readers::Readers,
    turns,
    uploads::FileUploads,
    usage,
    waiting_turns::Waiting,
    writer::{self, Change, Job, Running, Status},
};

/// A store in a folder of its own, on SQLite.
///
/// [`SqliteStore::close`] leaves it tidy; dropping it does the same and waits for it.
#[derive(Debug)]
pub struct SqliteStore {
    path: PathBuf,
    fence: Fence,
    readers: Readers,
    status: Arc<Status>,
    owned: Mutex<Option<Owned>>,
    uploads: FileUploads,
    jobs: mpsc::Sender<Job>,
}

/// What is given back when the store is closed.
#[derive(Debug)]
struct Owned {
    thread: JoinHandle<()>,
    folder: Folder,
}

impl SqliteStore {
    /// Opens the store in `folder`, making it when there is none, and becomes its owner: no other process can
    /// open it, and what an earlier owner still tries to write is refused.
    ///
    /// # Errors
    /// Says what the operator can do: see [`OpenError`].
    pub fn open(folder: &Path) -> Result<Arc<Self>, OpenError> {
        let folder = Folder::claim(folder)?;
        let database = folder.database();
        let failed = |error: rusqlite::Error| OpenError::sqlite(&database, &error);
        let mut connection = connect::writer(&database).map_err(failed)?;
        migrate(&mut connection, &database)?;
        let fence = next_fence(&connection).map_err(failed)?;
        let uploads = folder.path().join(UPLOADS);
        let uploads = FileUploads::open(uploads.clone()).map_err(|error| OpenError::io(uploads, &error))?;
        let Running { jobs, status, thread } = writer::start(database.clone(), connection)?;
        tracing::debug!(store.path = %folder.path().display(), store.fence = fence.0, "the store is open");
        Ok(Arc::new(Self {
            path: folder.path().to_path_buf(),
            fence,
            readers: Readers::new(database),
            status,
            owned: Mutex::new(Some(Owned { thread, folder })),
            uploads,
            jobs,
        }))
    }

    /// Writes what queued, leaves the files tidy, and lets go of the folder. Nothing works afterwards.
    pub async fn close(&self) {
        let (reply, closed) = oneshot::channel();
        if self.jobs.send(Job::Close(reply)).await.is_ok() {
            // The writer ends either way; what matters is that it did.
            let _ = closed.await;
        }
        self.readers.close().await;
        let owned = self.owned.lock().unwrap_or_else(PoisonError::into_inner).take();
        drop(owned.map(|owned| owned.folder));
    }

    async fn change(&self, op: Op) -> Result<usize, StoreError> {
        let (reply, outcome) = oneshot::channel();
        let closed = || StoreError::ReadOnly("it is closed".into());
        self.jobs.send(Job::Change(Change { op, reply })).await.map_err(|_| closed())?;
        outcome.await.map_err(|_| closed())?
    }

    async fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.readers.run(move |connection| read(connection).map_err(|error| reading(&error))).await
    }

    /// Lets a search or a list see everything written so far, as far as writing is possible.
    async fn catch_up(&self) {
        if self.status.is_behind()
            && let Err(error) = self.change(Op::Find).await
        {
            tracing::warn!(%error, "the newest messages and turns cannot be found yet");
        }
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Path) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let path = self.path.clone();
        let done = spawn_blocking(move || work(&path)).await;
        done.map_err(|_| StoreError::Engine("file work did not end".into()))?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        let owned = self.owned.get_mut().unwrap_or_else(PoisonError::into_inner).take();
        let Some(Owned { thread, folder }) = owned else { return };
        // Without a sender the writer ends.
        self.jobs = mpsc::channel(1).0;
        if thread.join().is_err() {
            tracing::error!("the store's writer panicked");
        }
        drop(folder);
    }
}

fn next_fence(connection: &Connection) -> rusqlite::Result<Fence> {
    let kept: Option<i64> = connection
        .query_row("SELECT value FROM meta WHERE name = 'fence'", (), |row| row.get(0))
        .optional()?;
    let fence = Fence(kept.map_or(0, number) + 1);
    connection.execute("INSERT OR REPLACE INTO meta (name, value) VALUES ('fence', ?1)", [int(fence.0)])?;
    connection.execute(
        "INSERT OR IGNORE INTO meta (name, value) VALUES ('store', lower(hex(randomblob(16))))",
        (),
    )?;
    Ok(fence)
}

#[async_trait]
impl Store for SqliteStore {
    fn fence(&self) -> Fence {
        self.fence
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let prepared = Prepared::new(append)?;
        self.change(Op::Append(Box::new(prepared))).await.map(|_| ())
    }

    async fn read(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        self.readers.run(move |connection| read::events(connection, session, after, limit)).await
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.readers.run(move |connection| read::session(connection, session)).await
    }

    async fn by_alias(
        &self,
        tenant: &Tenant,
        door: &str,
        alias: &Alias,
    ) -> Result<Option<SessionId>, StoreError> {
        let (tenant, door, alias) = (tenant.clone(), door.to_owned(), alias.clone());
        self.read(move |connection| read::by_alias(connection, &tenant, &door, &alias)).await
    }

    async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError> {
        self.read(read::unfinished).await
    }

    async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Vec<SessionRow>, StoreError> {
        if query.text.is_some() {
            self.catch_up().await;
        }
        let (tenant, query) = (tenant.clone(), query.clone());
        self.readers.run(move |connection| list::list(connection, &tenant, &query)).await
    }

    async fn count(&self, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.readers.run(move |connection| list::count(connection, &tenant, &query)).await
    }

    async fn turns(&self, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>, StoreError> {
        self.catch_up().await;
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| turns::list(connection, &tenant, &query)).await
    }

    async fn turn(&self, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>, StoreError> {
        if self.status.has_unread() {
            self.catch_up().await;
        }
        let waiting = self.status.turns().get(tenant, turn);
        if let Some(row) = waiting.as_ref().and_then(Waiting::row) {
            return Ok(Some(row));
        }
        let tenant = tenant.clone();
        let row = self.read(move |connection| turns::get(connection, &tenant, turn)).await?;
        Ok(row.map(|row| match &waiting {
            Some(waiting) => waiting.complete(row),
            None => row,
        }))
    }

    async fn turn_counts(&self, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts, StoreError> {
        self.catch_up().await;
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| turns::count(connection, &tenant, &query)).await
    }

    async fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError> {
        let Some(expression) = find::expression(text) else { return Ok(Vec::new()) };
        self.catch_up().await;
        let tenant = tenant.clone();
        self.read(move |connection| find::search(connection, &tenant, &expression, limit)).await
    }

    async fn idempotency(&self, name: &SubmissionKey) -> Result<Option<IdempotencyRow>, StoreError> {
        let name = name.clone();
        self.read(move |connection| read::idempotency(connection, &name)).await
    }

    async fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| usage::usage(connection, &tenant, &query)).await
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        self.read(move |connection| usage::spent(connection, since)).await
    }

    async fn bill(&self, bill: Bill) -> Result<(), StoreError> {
        self.change(Op::Bill(Box::new(bill))).await.map(|_| ())
    }

    async fn approvals(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<ApprovalRow>, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| asks::asks(connection, &tenant, &query)).await
    }

    async fn approval(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| asks::ask(connection, &tenant, id)).await
    }

    async fn questions(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<QuestionRow>, StoreError> {
        let (tenant, query) = (tenant.clone(), query.clone());
        self.read(move |connection| asks::asks(connection, &tenant, &query)).await
    }

    async fn question(&self, tenant: &Tenant, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| asks::ask(connection, &tenant, id)).await
    }

    async fn delete(&self, session: SessionId, fence: Fence) -> Result<(), StoreError> {
        self.change(Op::Delete(session, fence)).await.map(|_| ())
    }

    async fn put_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.change(Op::PutKey(Box::new(key))).await.map(|_| ())
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.read(move |connection| keys::key(connection, id)).await
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| keys::keys(connection, &tenant)).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.change(Op::Audit(Box::new(entry))).await.map(|_| ())
    }

    async fn audit_entries(&self, tenant: &Tenant, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let tenant = tenant.clone();
        self.read(move |connection| keys::audit_entries(connection, &tenant, limit)).await
    }

    async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, StoreError> {
        self.blocking(move |path| blobs::put(&path.join(BLOBS), &bytes)).await
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
        self.blocking(move |path| blobs::get(&path.join(BLOBS), hash)).await
    }

    fn uploads(&self) -> &dyn Uploads {
        &self.uploads
    }

    fn fault(&self) -> Option<String> {
        self.status.fault().map(str::to_owned)
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.change(Op::Probe).await.map(drop)
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        while self.change(Op::Sweep(before)).await? > 0 {}
        Ok(())
    }
}

#[async_trait]
impl StoreAdmin for SqliteStore {
    async fn check(&self) -> Result<CheckReport, StoreError> {
        self.readers.run_apart(check::check).await
    }

    async fn rebuild(&self) -> Result<CheckReport, StoreError> {
        let (reply, report) = oneshot::channel();
        let closed = || StoreError::ReadOnly("it is closed".into());
        self.jobs.send(Job::Rebuild(reply)).await.map_err(|_| closed())?;
        report.await.map_err(|_| closed())?
    }

    async fn backup(&self, to: &Path) -> Result<(), StoreError> {
        let to = to.to_path_buf();
        self.blocking(move |path| backup::backup(path, &to)).await
    }
}
