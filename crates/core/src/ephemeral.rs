//! Sessions that are not kept: the same log, actor and turns, in memory only. What stays is what they cost.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use moongate_protocol::{
    Alias, ApprovalId, BlobHash, KeyId, QuestionId, Seq, SessionId, Tenant, Timestamp, TurnId,
};
use tokio_util::sync::{CancellationToken, DropGuard};

use crate::{
    Append, ApprovalRow, AskQuery, AuditEntry, Beginning, Bill, Caller, Derived, Fence, Gateway,
    IdempotencyRow, KeyRow, ListQuery, MemoryStore, QuestionRow, Record, Refusal, SearchHit, SessionHandle,
    SessionRow, SpentRow, Store, StoreError, SubmissionKey, TurnCounts, TurnQuery, TurnRow, Uploads,
    UsageQuery, UsageRow, session::Place,
};

/// A session that ends with this value: its turn is stopped, its log forgotten.
pub struct Ephemeral {
    handle: SessionHandle,
    over: CancellationToken,
    _life: DropGuard,
}

impl Ephemeral {
    /// The session.
    pub fn handle(&self) -> &SessionHandle {
        &self.handle
    }

    /// Waits until the session broke down: its running turn ends without an end then.
    pub async fn broken(&self) {
        self.over.cancelled().await;
    }
}

impl Gateway {
    /// A session that is not kept. Nobody finds it but by its id, and nobody after the value is dropped.
    ///
    /// # Errors
    /// As [`Gateway::create`].
    pub async fn ephemeral(
        &self,
        caller: &Caller,
        door: &str,
        beginning: Beginning,
    ) -> Result<Ephemeral, Refusal> {
        self.may_begin(caller)?;
        let (place, over) = self.not_kept();
        let mut beginning = beginning;
        beginning.new.alias = None;
        let view = crate::birth::begin_with(self, caller, door, beginning, place).await?.view;
        let handle = self.session(caller, view.id).await?;
        Ok(Ephemeral { handle, _life: over.clone().drop_guard(), over })
    }

    /// A session that is not kept and whose log begins as another's up to `at`.
    ///
    /// # Errors
    /// As [`Gateway::fork`].
    pub async fn fork_ephemeral(
        &self,
        caller: &Caller,
        from: &SessionHandle,
        at: Seq,
    ) -> Result<Ephemeral, Refusal> {
        let (place, over) = self.not_kept();
        let view = self.fork_to(caller, from, Some(at), None, place).await?.view;
        let handle = self.session(caller, view.id).await?;
        Ok(Ephemeral { handle, _life: over.clone().drop_guard(), over })
    }

    fn not_kept(&self) -> (Place, CancellationToken) {
        let over = CancellationToken::new();
        let store = Fleeting { log: MemoryStore::new(), kept: Arc::clone(self.store()) };
        (Place { store: Arc::new(store), over: Some(over.clone()) }, over)
    }
}

/// One session's log in memory, and what it costs in the store.
struct Fleeting {
    log: MemoryStore,
    kept: Arc<dyn Store>,
}

#[async_trait]
impl Store for Fleeting {
    fn fence(&self) -> Fence {
        self.kept.fence()
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        let derived = Derived::of(append.events()?);
        let row = &append.row;
        for call in &derived.calls {
            self.kept.bill(Bill::of(row, call)).await?;
        }
        self.log.append(append).await
    }

    async fn read(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        self.log.read(session, after, limit).await
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        self.log.session(session).await
    }

    async fn by_alias(
        &self,
        tenant: &Tenant,
        door: &str,
        alias: &Alias,
    ) -> Result<Option<SessionId>, StoreError> {
        self.log.by_alias(tenant, door, alias).await
    }

    async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError> {
        self.log.unfinished().await
    }

    async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Vec<SessionRow>, StoreError> {
        self.log.list(tenant, query).await
    }

    async fn count(&self, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError> {
        self.log.count(tenant, query).await
    }

    async fn turns(&self, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>, StoreError> {
        self.log.turns(tenant, query).await
    }

    async fn turn(&self, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>, StoreError> {
        self.log.turn(tenant, turn).await
    }

    async fn turn_counts(&self, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts, StoreError> {
        self.log.turn_counts(tenant, query).await
    }

    async fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError> {
        self.log.search(tenant, text, limit).await
    }

    async fn idempotency(&self, name: &SubmissionKey) -> Result<Option<IdempotencyRow>, StoreError> {
        self.log.idempotency(name).await
    }

    async fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        self.kept.usage(tenant, query).await
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        self.kept.spent(since).await
    }

    async fn bill(&self, bill: Bill) -> Result<(), StoreError> {
        self.kept.bill(bill).await
    }

    async fn approvals(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<ApprovalRow>, StoreError> {
        self.log.approvals(tenant, query).await
    }

    async fn questions(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<QuestionRow>, StoreError> {
        self.log.questions(tenant, query).await
    }

    async fn question(&self, tenant: &Tenant, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        self.log.question(tenant, id).await
    }

    async fn approval(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        self.log.approval(tenant, id).await
    }

    async fn delete(&self, session: SessionId, fence: Fence) -> Result<(), StoreError> {
        self.log.delete(session, fence).await
    }

    async fn put_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.kept.put_key(key).await
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        self.kept.key(id).await
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>, StoreError> {
        self.kept.keys(tenant).await
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.kept.audit(entry).await
    }

    async fn audit_entries(&self, tenant: &Tenant, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        self.kept.audit_entries(tenant, limit).await
    }

    async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, StoreError> {
        self.log.put_blob(bytes).await
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
        match self.log.blob(hash).await? {
            Some(bytes) => Ok(Some(bytes)),
            None => self.kept.blob(hash).await,
        }
    }

    fn uploads(&self) -> &dyn Uploads {
        self.log.uploads()
    }

    fn fault(&self) -> Option<String> {
        self.kept.fault()
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        self.log.sweep(before).await
    }
}
