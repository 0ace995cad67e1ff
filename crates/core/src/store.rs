//! The contract every engine of the durable log keeps. One conformance suite is run on all of them.

use std::{path::Path, sync::Arc};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_protocol::{
    AgentName, Alias, ApprovalId, BlobHash, ErrorCode, KeyId, Namespace, Principal, QuestionId, Seq,
    SessionId, SessionState, SessionView, Tenant, Timestamp, TurnId,
};
use serde::{Deserialize, Serialize};

use crate::{
    ApprovalRow, AskQuery, Bill, Device, IdempotencyRow, QuestionRow, Record, Scopes, SpentRow,
    SubmissionKey, TurnCounts, TurnQuery, TurnRow, Uploads, UsageQuery, UsageRow,
};

/// Owner generation: only grows. An append by an older owner is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fence(pub u64);

/// Why the store did not do something.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The session's head is not where the writer thought, or a newer owner wrote.
    #[error("another writer was first")]
    Conflict,
    /// The alias belongs to this session already.
    #[error("the alias is taken")]
    AliasTaken(SessionId),
    /// The name of the submission was used in another session, and counts there too.
    #[error("the idempotency key is taken")]
    KeyTaken,
    /// No such session.
    #[error("no such session")]
    NotFound,
    /// Part of the log cannot be read as it was written. Other sessions are not touched.
    #[error("damaged: {0}")]
    Damaged(String),
    /// There is no room on the disk. Nothing was written; writing may succeed later.
    #[error("no room on the disk")]
    DiskFull,
    /// A write failed before; nothing is written any more until the process starts anew.
    #[error("the store is read-only: {0}")]
    ReadOnly(String),
    /// The engine failed.
    #[error("the store failed: {0}")]
    Engine(String),
}

impl StoreError {
    /// The code a client sees.
    pub fn code(&self) -> ErrorCode {
        match self {
            Self::Conflict | Self::AliasTaken(_) | Self::KeyTaken => ErrorCode::Conflict,
            Self::NotFound => ErrorCode::NotFound,
            Self::DiskFull => ErrorCode::DiskFull,
            Self::ReadOnly(_) => ErrorCode::StoreReadOnly,
            Self::Damaged(_) | Self::Engine(_) => ErrorCode::Internal,
        }
    }
}

/// Which door an alias belongs to; `native` for the native door.
pub type DoorName = Arc<str>;

/// A session's row in the list: the fold of its log, and what the wall and the doors need.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionRow {
    /// Whose.
    pub tenant: Tenant,
    /// The door its alias belongs to.
    pub door: DoorName,
    /// What clients are shown. `view.head` is the head after the append this row came with.
    pub view: SessionView,
}

/// One atomic change of one session: its next events and everything derived from them.
#[derive(Clone, Debug)]
pub struct Append {
    /// The writer's generation.
    pub fence: Fence,
    /// The head before; the first record's seq is one more.
    pub expected: Seq,
    /// The events, in order; never empty.
    pub records: Vec<Arc<Record>>,
    /// The row after.
    pub row: SessionRow,
    /// The submission the events answer.
    pub idempotency: Option<IdempotencyRow>,
}

/// Which sessions to list, newest activity first.
#[derive(Clone, Debug, Default)]
pub struct ListQuery {
    /// Only sessions of this owner.
    pub owner: Option<Principal>,
    /// Only in this state.
    pub state: Option<SessionState>,
    /// Only of this agent.
    pub agent: Option<AgentName>,
    /// Only in this namespace or beneath it.
    pub namespace: Option<Namespace>,
    /// Only archived ones, or only others.
    pub archived: Option<bool>,
    /// Only those opened through this door.
    pub door: Option<DoorName>,
    /// Words to find in titles and messages.
    pub text: Option<String>,
    /// Go on after this row: its time of last activity and id.
    pub after: Option<(Timestamp, SessionId)>,
    /// Rows to leave out first.
    pub offset: usize,
    /// Most rows to return.
    pub limit: usize,
}

/// A message found by a search.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SearchHit {
    /// In which session.
    pub session: SessionId,
    /// Which event.
    pub seq: Seq,
}

/// An API key as it is kept: never the secret, only its hash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyRow {
    /// Its public part.
    pub id: KeyId,
    /// Whose.
    pub tenant: Tenant,
    /// Who acts when the key is used.
    pub principal: Principal,
    /// What a person calls it.
    pub label: String,
    /// SHA-256 of the secret.
    pub secret_hash: [u8; 32],
    /// What it may do.
    pub scopes: Scopes,
    /// Only these agents; all when empty.
    pub agents: Vec<AgentName>,
    /// Only these namespaces and beneath; all when empty.
    pub namespaces: Vec<Namespace>,
    /// Only from these networks (CIDR); all when empty.
    pub networks: Vec<String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Option<Timestamp>,
    /// When it was ended early.
    pub revoked_at: Option<Timestamp>,
    /// The device it was made for.
    pub device: Option<Device>,
}

/// Something the operator may want to know later.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditEntry {
    /// When.
    pub at: Timestamp,
    /// Whose.
    pub tenant: Tenant,
    /// Who.
    pub principal: Principal,
    /// What: `key.created`, `session.deleted`, …
    pub action: String,
    /// On what.
    pub object: String,
    /// From which address.
    pub from: Option<String>,
}

/// What an integrity check found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// Sessions looked at.
    pub sessions: u64,
    /// Events looked at.
    pub events: u64,
    /// What is wrong, in words, with the session where one can be named.
    pub faults: Vec<(Option<SessionId>, String)>,
}

/// The sessions' logs and what is derived from them.
///
/// Every method answers within a bound or fails; none panics on what it reads.
#[async_trait]
pub trait Store: Send + Sync {
    /// The generation this process writes with.
    fn fence(&self) -> Fence;

    /// Writes one session's next events and everything derived from them, all or nothing, durably.
    /// Begins a session when `expected` is zero.
    ///
    /// # Errors
    /// `Conflict` when the head is not `expected` or a newer owner wrote; `AliasTaken` when a new session's
    /// alias is another's; `KeyTaken` when the submission's name is another session's; `DiskFull`; `ReadOnly` after any other failed write.
    async fn append(&self, append: Append) -> Result<(), StoreError>;

    /// Reads a session's events after `after`, at most `limit` (and about 4 MiB), oldest first.
    ///
    /// # Errors
    /// `NotFound`; `Damaged` when the log has a gap or a checksum does not match.
    async fn read(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError>;

    /// A session's row.
    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError>;

    /// The session a door's client calls `alias`.
    async fn by_alias(
        &self,
        tenant: &Tenant,
        door: &str,
        alias: &Alias,
    ) -> Result<Option<SessionId>, StoreError>;

    /// Sessions that have a turn or a waiting input, oldest activity first.
    async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError>;

    /// Rows of one tenant, newest activity first.
    async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Vec<SessionRow>, StoreError>;

    /// How many rows a list has in all, whatever its offset and limit.
    async fn count(&self, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError>;

    /// Turns of one tenant, newest first.
    async fn turns(&self, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>, StoreError>;

    /// A turn of one tenant.
    async fn turn(&self, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>, StoreError>;

    /// How many turns of one tenant there are, whatever the query's offset and limit.
    async fn turn_counts(&self, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts, StoreError>;

    /// Messages of one tenant that hold all words of `text`, newest first.
    async fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError>;

    /// What a submission of this name became.
    async fn idempotency(&self, name: &SubmissionKey) -> Result<Option<IdempotencyRow>, StoreError>;

    /// Sums of usage.
    async fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError>;

    /// What was spent since a time, behind every wall.
    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError>;

    /// Accounts for a model call of a session that is not kept.
    ///
    /// # Errors
    /// As `append`.
    async fn bill(&self, bill: Bill) -> Result<(), StoreError>;

    /// Approvals of one tenant, in the order the query's filter names; `limit` of them at most.
    async fn approvals(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<ApprovalRow>, StoreError>;

    /// An approval of one tenant.
    async fn approval(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError>;

    /// Questions of one tenant, in the order the query's filter names; `limit` of them at most.
    async fn questions(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<QuestionRow>, StoreError>;

    /// A question of one tenant.
    async fn question(&self, tenant: &Tenant, id: QuestionId) -> Result<Option<QuestionRow>, StoreError>;

    /// Removes a session and everything derived from it.
    ///
    /// # Errors
    /// As `append`.
    async fn delete(&self, session: SessionId, fence: Fence) -> Result<(), StoreError>;

    /// Keeps a new or changed key.
    async fn put_key(&self, key: KeyRow) -> Result<(), StoreError>;

    /// A key by its public part.
    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError>;

    /// All keys of a tenant, newest first.
    async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>, StoreError>;

    /// Writes an audit entry.
    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError>;

    /// The newest audit entries of a tenant.
    async fn audit_entries(&self, tenant: &Tenant, limit: usize) -> Result<Vec<AuditEntry>, StoreError>;

    /// Keeps bytes under their hash; durable when it returns.
    async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, StoreError>;

    /// Bytes by hash.
    async fn blob(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError>;

    /// Files that are sent ahead of the inputs that use them.
    fn uploads(&self) -> &dyn Uploads;

    /// Why nothing can be written, when nothing can.
    fn fault(&self) -> Option<String>;

    /// Writes something small and waits until it is kept: that writes go through is not known otherwise.
    async fn probe(&self) -> Result<(), StoreError> {
        Ok(())
    }

    /// Forgets what has expired: idempotency rows older than `before`.
    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError>;
}

/// What an operator does with a store: only the command line and `doctor` see this.
#[async_trait]
pub trait StoreAdmin: Send + Sync {
    /// Reads everything and says what is wrong.
    async fn check(&self) -> Result<CheckReport, StoreError>;

    /// Builds everything derived from the logs anew.
    async fn rebuild(&self) -> Result<CheckReport, StoreError>;

    /// Writes a copy of the store that is a prefix of every session, while the store is in use.
    async fn backup(&self, to: &Path) -> Result<(), StoreError>;
}
