//! A store around another that fails, waits or dies where the test says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_core::{
    Append, ApprovalRow, AskQuery, AuditEntry, Bill, Fence, IdempotencyRow, KeyRow, ListQuery, QuestionRow,
    Record, SearchHit, SessionRow, SpentRow, Store, StoreError, SubmissionKey, TurnCounts, TurnQuery,
    TurnRow, Uploads, UsageQuery, UsageRow,
};
use moongate_protocol::{
    Alias, ApprovalId, BlobHash, KeyId, QuestionId, Seq, SessionId, Tenant, Timestamp, TurnId,
};
use tokio_util::sync::CancellationToken;

use crate::Gate;

/// When the process dies: what is on disk differs, what anybody was told does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Death {
    /// The append did not reach the disk.
    Before,
    /// The append is on disk and nobody was told.
    After,
}

/// A store that can be made to fail.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    faults: Mutex<Faults>,
    dead: CancellationToken,
}

#[derive(Default)]
struct Faults {
    broken: Option<&'static str>,
    appends: usize,
    events_read: usize,
    dies_at: Option<(usize, Death)>,
    refuses: Option<fn() -> StoreError>,
    refuses_at: Option<(usize, fn() -> StoreError)>,
    holds: Option<Gate>,
}

impl FaultyStore {
    /// A store that does what `inner` does.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, faults: Mutex::default(), dead: CancellationToken::new() }
    }

    /// Dies at the append of this number, counted from 1 since the store was made.
    pub fn die_at(&self, append: usize, death: Death) {
        self.faults().dies_at = Some((append, death));
    }

    /// Dies now: nothing asked of it is ever answered.
    pub fn die(&self) {
        self.dead.cancel();
    }

    /// Waits until it is dead.
    pub async fn died(&self) {
        self.dead.cancelled().await;
    }

    /// Answers every append with this error until told otherwise.
    pub fn refuse(&self, error: Option<fn() -> StoreError>) {
        self.faults().refuses = error;
    }

    /// Says from now on that it takes no writes.
    pub fn breaks(&self, why: &'static str) {
        self.faults().broken = Some(why);
    }

    /// Answers the append of this number, counted from 1 since the store was made, with this error.
    pub fn refuse_at(&self, append: usize, error: fn() -> StoreError) {
        self.faults().refuses_at = Some((append, error));
    }

    /// Makes appends wait at a gate before they reach the disk.
    pub fn hold(&self, gate: Option<Gate>) {
        self.faults().holds = gate;
    }

    /// Number of appends it was asked for.
    pub fn appends(&self) -> usize {
        self.faults().appends
    }

    /// Number of events it has handed out.
    pub fn events_read(&self) -> usize {
        self.faults().events_read
    }

    fn faults(&self) -> MutexGuard<'_, Faults> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store behind, while this one lives.
    async fn alive(&self) -> &dyn Store {
        if self.dead.is_cancelled() {
            std::future::pending::<()>().await;
        }
        &*self.inner
    }

    /// Counts a write and lets it meet what the test put in its way. Says whether it is the last one.
    async fn admit(&self) -> Result<Option<Death>, StoreError> {
        let (death, gate) = {
            let mut faults = self.faults();
            faults.appends += 1;
            let once = faults.refuses_at.filter(|(at, _)| *at == faults.appends).map(|(_, refusal)| refusal);
            if let Some(refusal) = faults.refuses.or(once) {
                return Err(refusal());
            }
            let death = faults.dies_at.filter(|(at, _)| *at == faults.appends).map(|(_, death)| death);
            (death, faults.holds.clone())
        };
        if let Some(gate) = gate {
            gate.pass().await;
        }
        if death == Some(Death::Before) {
            self.die();
        }
        Ok(death)
    }
}

#[async_trait]
impl Store for FaultyStore {
    fn fence(&self) -> Fence {
        self.inner.fence()
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.alive().await;
        let death = self.admit().await?;
        let written = self.alive().await.append(append).await;
        if death == Some(Death::After) {
            self.die();
            return std::future::pending().await;
        }
        written
    }

    async fn read(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let records = self.alive().await.read(session, after, limit).await?;
        self.faults().events_read += records.len();
        Ok(records)
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.alive().await.session(session).await
    }

    async fn by_alias(
        &self,
        tenant: &Tenant,
        door: &str,
        alias: &Alias,
    ) -> Result<Option<SessionId>, StoreError> {
        self.alive().await.by_alias(tenant, door, alias).await
    }

    async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError> {
        self.alive().await.unfinished().await
    }

    async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.alive().await.list(tenant, query).await
    }

    async fn count(&self, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError> {
        self.alive().await.count(tenant, query).await
    }

    async fn turns(&self, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>, StoreError> {
        self.alive().await.turns(tenant, query).await
    }

    async fn turn(&self, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>, StoreError> {
        self.alive().await.turn(tenant, turn).await
    }

    async fn turn_counts(&self, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts, StoreError> {
        self.alive().await.turn_counts(tenant, query).await
    }

    async fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError> {
        self.alive().await.search(tenant, text, limit).await
    }

    async fn idempotency(&self, name: &SubmissionKey) -> Result<Option<IdempotencyRow>, StoreError> {
        self.alive().await.idempotency(name).await
    }

    async fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.alive().await.usage(tenant, query).await
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        self.alive().await.spent(since).await
    }

    async fn questions(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<QuestionRow>, StoreError> {
        self.alive().await.questions(tenant, query).await
    }

    async fn question(&self, tenant: &Tenant, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        self.alive().await.question(tenant, id).await
    }

    async fn approvals(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<ApprovalRow>, StoreError> {
        self.alive().await.approvals(tenant, query).await
    }

    async fn approval(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        self.alive().await.approval(tenant, id).await
    }

    async fn delete(&self, session: SessionId, fence: Fence) -> Result<(), StoreError> {
        self.alive().await;
        let death = self.admit().await?;
        let deleted = self.alive().await.delete(session, fence).await;
        if death == Some(Death::After) {
            self.die();
            return std::future::pending().await;
        }
        deleted
    }

    async fn put_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.alive().await.put_key(key).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.alive().await.key(id).await
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>, StoreError> {
        self.alive().await.keys(tenant).await
    }

    async fn bill(&self, bill: Bill) -> Result<(), StoreError> {
        self.alive().await;
        self.admit().await?;
        self.alive().await.bill(bill).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.alive().await.audit(entry).await
    }

    async fn audit_entries(&self, tenant: &Tenant, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.alive().await.audit_entries(tenant, limit).await
    }

    async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, StoreError> {
        self.alive().await.put_blob(bytes).await
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
        self.alive().await.blob(hash).await
    }

    fn uploads(&self) -> &dyn Uploads {
        self.inner.uploads()
    }

    fn fault(&self) -> Option<String> {
        self.faults().broken.map(str::to_owned).or_else(|| self.inner.fault())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.alive().await;
        self.admit().await?;
        self.alive().await.probe().await
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        self.alive().await.sweep(before).await
    }
}
