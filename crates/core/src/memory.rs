//! The log in memory only: for sessions that are not kept, and for tests.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_protocol::{
    Alias, ApprovalId, BlobHash, KeyId, MicroUsd, QuestionId, Seq, SessionId, SessionState, Tenant,
    Timestamp, TurnId,
};
use sha2::{Digest, Sha256};

use crate::{
    Append, ApprovalRow, AskQuery, AuditEntry, Bill, Derived, DoorName, Fence, IdempotencyRow, KeyRow,
    ListQuery, MemoryUploads, QuestionRow, Record, SearchHit, SessionRow, SpentRow, Store, StoreError,
    SubmissionKey, TurnCounts, TurnQuery, TurnRow, Uploads, UsageGroup, UsageQuery, UsageRow,
    asks::{self, AskTable},
    is_beneath, terms,
    turn_list::TurnTable,
    words,
};

/// Most bytes of events one read returns, as long as it returns one event.
const MAX_READ_BYTES: usize = 1 << 20;

/// A store that forgets everything when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: Mutex<State>,
    uploads: MemoryUploads,
}

#[derive(Debug, Default)]
struct State {
    sessions: HashMap<SessionId, Kept>,
    aliases: HashMap<(Tenant, DoorName, Alias), SessionId>,
    calls: Vec<Bill>,
    texts: Vec<(SessionId, Seq, Vec<String>)>,
    turns: TurnTable,
    submissions: HashMap<SubmissionKey, IdempotencyRow>,
    keys: BTreeMap<KeyId, KeyRow>,
    audit: Vec<AuditEntry>,
    blobs: HashMap<BlobHash, Bytes>,
}

#[derive(Debug)]
struct Kept {
    row: SessionRow,
    fence: Fence,
    log: Vec<Arc<Record>>,
    title: Vec<String>,
    approvals: AskTable<ApprovalId>,
    questions: AskTable<QuestionId>,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn append(&mut self, append: Append) -> Result<(), StoreError> {
        let derived = Derived::of(append.events()?);
        let id = append.row.view.id;
        let known = append.idempotency.as_ref().and_then(|wanted| self.submissions.get(&wanted.name));
        if known.is_some_and(|known| known.session != id) {
            return Err(StoreError::KeyTaken);
        }
        let kept = match self.sessions.get(&id) {
            Some(kept) if kept.row.view.head.seq != append.expected || kept.fence > append.fence => {
                return Err(StoreError::Conflict);
            }
            Some(_) => None,
            None if append.expected != Seq::ZERO => return Err(StoreError::Conflict),
            None => Some(self.begin(&append)?),
        };
        if let Some(kept) = kept {
            self.sessions.insert(id, kept);
        }
        let Append { row, fence, records, idempotency, .. } = append;
        self.calls.extend(derived.calls.iter().map(|call| Bill::of(&row, call)));
        for (seq, text) in derived.texts {
            self.texts.push((id, seq, words(&text).collect()));
        }
        self.turns.apply((&row.tenant, id, &row.view.owner), derived.turns);
        let Some(kept) = self.sessions.get_mut(&id) else { return Err(StoreError::NotFound) };
        kept.log.extend(records);
        kept.fence = fence;
        kept.row = row;
        if let Some(title) = derived.title {
            kept.title = words(&title).collect();
        }
        self.submissions.extend(idempotency.map(|row| (row.name.clone(), row)));
        for change in derived.approvals {
            kept.approvals.change(id, change);
        }
        for change in derived.questions {
            kept.questions.change(id, change);
        }
        Ok(())
    }

    fn begin(&mut self, append: &Append) -> Result<Kept, StoreError> {
        let row = &append.row;
        if let Some(alias) = &row.view.alias {
            let key = (row.tenant.clone(), row.door.clone(), alias.clone());
            if let Some(taken) = self.aliases.get(&key) {
                return Err(StoreError::AliasTaken(*taken));
            }
            self.aliases.insert(key, row.view.id);
        }
        Ok(Kept {
            row: row.clone(),
            fence: append.fence,
            log: Vec::new(),
            title: Vec::new(),
            approvals: AskTable::default(),
            questions: AskTable::default(),
        })
    }

    /// The sessions whose title or one of whose messages holds all words; `None` when nothing is asked for.
    fn holding(&self, text: &str) -> Option<BTreeSet<SessionId>> {
        let terms = terms(text);
        if terms.is_empty() {
            return None;
        }
        let titles = self.sessions.values().map(|kept| (kept.row.view.id, &kept.title));
        let messages = self.texts.iter().map(|(id, _, words)| (*id, words));
        let holds = |words: &[String]| terms.iter().all(|term| term.is_in(words));
        Some(titles.chain(messages).filter(|(_, words)| holds(words)).map(|(id, _)| id).collect())
    }

    fn matching(&self, tenant: &Tenant, query: &ListQuery) -> Vec<&SessionRow> {
        let holding = query.text.as_deref().and_then(|text| self.holding(text));
        let order = |row: &SessionRow| (row.view.updated_at, row.view.id);
        let rows = self.sessions.values().map(|kept| &kept.row).filter(|row| {
            row.tenant == *tenant
                && query.owner.as_ref().is_none_or(|owner| row.view.owner == *owner)
                && query.state.is_none_or(|state| row.view.state == state)
                && query.agent.as_ref().is_none_or(|agent| row.view.agent == *agent)
                && query.namespace.as_ref().is_none_or(|parent| is_beneath(&row.view.namespace, parent))
                && query.archived.is_none_or(|archived| row.view.archived == archived)
                && query.door.as_ref().is_none_or(|door| row.door == *door)
                && query.after.is_none_or(|after| order(row) < after)
                && holding.as_ref().is_none_or(|ids| ids.contains(&row.view.id))
        });
        let mut rows: Vec<&SessionRow> = rows.collect();
        rows.sort_by_key(|row| std::cmp::Reverse(order(row)));
        rows
    }

    fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Vec<SearchHit> {
        let terms = terms(text);
        let ours = |id: &SessionId| self.sessions.get(id).is_some_and(|kept| kept.row.tenant == *tenant);
        let found = self.texts.iter().rev().filter(|(id, _, words)| {
            !terms.is_empty() && ours(id) && terms.iter().all(|term| term.is_in(words))
        });
        found.take(limit).map(|(session, seq, _)| SearchHit { session: *session, seq: *seq }).collect()
    }

    fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Vec<UsageRow> {
        let mut groups: BTreeMap<String, UsageRow> = BTreeMap::new();
        let calls = self.calls.iter().filter(|bill| {
            bill.tenant == *tenant
                && (query.from..query.to).contains(&bill.call.at)
                && query.principal.as_ref().is_none_or(|principal| bill.principal == *principal)
                && query.session.is_none_or(|session| bill.session == session)
        });
        for Bill { session, agent, call, .. } in calls {
            let name = match query.group {
                UsageGroup::Day => call.at.day(),
                UsageGroup::Agent => agent.to_string(),
                UsageGroup::Model => call.model.to_string(),
                UsageGroup::Session => session.to_string(),
            };
            let row = groups.entry(name.clone()).or_insert_with(|| empty_usage(name));
            row.tokens.add(call.tokens);
            row.calls += 1;
            match call.cost {
                Some(cost) => row.cost = MicroUsd(row.cost.0.saturating_add(cost.0)),
                None => row.unpriced_calls += 1,
            }
        }
        groups.into_values().collect()
    }

    fn of(&self, tenant: &Tenant) -> impl Iterator<Item = &Kept> {
        self.sessions.values().filter(move |kept| kept.row.tenant == *tenant)
    }

    fn delete(&mut self, session: SessionId, fence: Fence) -> Result<(), StoreError> {
        match self.sessions.get(&session) {
            None => return Err(StoreError::NotFound),
            Some(kept) if kept.fence > fence => return Err(StoreError::Conflict),
            Some(_) => {}
        }
        self.sessions.remove(&session);
        self.aliases.retain(|_, id| *id != session);
        self.texts.retain(|(id, _, _)| *id != session);
        self.turns.forget(session);
        self.submissions.retain(|_, row| row.session != session);
        Ok(())
    }
}

fn empty_usage(group: String) -> UsageRow {
    UsageRow { group, tokens: Default::default(), calls: 0, cost: MicroUsd(0), unpriced_calls: 0 }
}

fn is_unfinished(row: &SessionRow) -> bool {
    row.view.state != SessionState::Idle || !row.view.queue.is_empty()
}

#[async_trait]
impl Store for MemoryStore {
    fn fence(&self) -> Fence {
        Fence(1)
    }

    async fn append(&self, append: Append) -> Result<(), StoreError> {
        self.state().append(append)
    }

    async fn read(
        &self,
        session: SessionId,
        after: Seq,
        limit: usize,
    ) -> Result<Vec<Arc<Record>>, StoreError> {
        let state = self.state();
        let kept = state.sessions.get(&session).ok_or(StoreError::NotFound)?;
        let mut room = MAX_READ_BYTES;
        let start = usize::try_from(after.0).unwrap_or(usize::MAX);
        let later = kept.log.iter().skip(start).take(limit).take_while(|record| {
            let fits = room > 0;
            room = room.saturating_sub(record.json().len());
            fits
        });
        Ok(later.cloned().collect())
    }

    async fn session(&self, session: SessionId) -> Result<Option<SessionRow>, StoreError> {
        Ok(self.state().sessions.get(&session).map(|kept| kept.row.clone()))
    }

    async fn by_alias(
        &self,
        tenant: &Tenant,
        door: &str,
        alias: &Alias,
    ) -> Result<Option<SessionId>, StoreError> {
        let key = (tenant.clone(), door.into(), alias.clone());
        Ok(self.state().aliases.get(&key).copied())
    }

    async fn unfinished(&self) -> Result<Vec<SessionId>, StoreError> {
        let state = self.state();
        let rows = state.sessions.values().map(|kept| &kept.row);
        let mut rows: Vec<&SessionRow> = rows.filter(|row| is_unfinished(row)).collect();
        rows.sort_by_key(|row| (row.view.updated_at, row.view.id));
        Ok(rows.iter().map(|row| row.view.id).collect())
    }

    async fn list(&self, tenant: &Tenant, query: &ListQuery) -> Result<Vec<SessionRow>, StoreError> {
        let state = self.state();
        let rows = state.matching(tenant, query).into_iter();
        Ok(rows.skip(query.offset).take(query.limit).cloned().collect())
    }

    async fn count(&self, tenant: &Tenant, query: &ListQuery) -> Result<u64, StoreError> {
        Ok(self.state().matching(tenant, query).len() as u64)
    }

    async fn turns(&self, tenant: &Tenant, query: &TurnQuery) -> Result<Vec<TurnRow>, StoreError> {
        Ok(self.state().turns.list(tenant, query))
    }

    async fn turn(&self, tenant: &Tenant, turn: TurnId) -> Result<Option<TurnRow>, StoreError> {
        Ok(self.state().turns.get(tenant, turn))
    }

    async fn turn_counts(&self, tenant: &Tenant, query: &TurnQuery) -> Result<TurnCounts, StoreError> {
        Ok(self.state().turns.count(tenant, query))
    }

    async fn search(&self, tenant: &Tenant, text: &str, limit: usize) -> Result<Vec<SearchHit>, StoreError> {
        Ok(self.state().search(tenant, text, limit))
    }

    async fn idempotency(&self, name: &SubmissionKey) -> Result<Option<IdempotencyRow>, StoreError> {
        Ok(self.state().submissions.get(name).cloned())
    }

    async fn usage(&self, tenant: &Tenant, query: &UsageQuery) -> Result<Vec<UsageRow>, StoreError> {
        Ok(self.state().usage(tenant, query))
    }

    async fn spent(&self, since: Timestamp) -> Result<Vec<SpentRow>, StoreError> {
        let state = self.state();
        Ok(state.calls.iter().filter(|bill| bill.call.at >= since).map(Bill::spent).collect())
    }

    async fn bill(&self, bill: Bill) -> Result<(), StoreError> {
        self.state().calls.push(bill);
        Ok(())
    }

    async fn approvals(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<ApprovalRow>, StoreError> {
        Ok(asks::list(self.state().of(tenant).map(|kept| (&kept.row, &kept.approvals)), query))
    }

    async fn approval(&self, tenant: &Tenant, id: ApprovalId) -> Result<Option<ApprovalRow>, StoreError> {
        Ok(self.state().of(tenant).find_map(|kept| kept.approvals.get(id)))
    }

    async fn questions(&self, tenant: &Tenant, query: &AskQuery) -> Result<Vec<QuestionRow>, StoreError> {
        Ok(asks::list(self.state().of(tenant).map(|kept| (&kept.row, &kept.questions)), query))
    }

    async fn question(&self, tenant: &Tenant, id: QuestionId) -> Result<Option<QuestionRow>, StoreError> {
        Ok(self.state().of(tenant).find_map(|kept| kept.questions.get(id)))
    }

    async fn delete(&self, session: SessionId, fence: Fence) -> Result<(), StoreError> {
        self.state().delete(session, fence)
    }

    async fn put_key(&self, key: KeyRow) -> Result<(), StoreError> {
        self.state().keys.insert(key.id, key);
        Ok(())
    }

    async fn key(&self, id: KeyId) -> Result<Option<KeyRow>, StoreError> {
        Ok(self.state().keys.get(&id).cloned())
    }

    async fn keys(&self, tenant: &Tenant) -> Result<Vec<KeyRow>, StoreError> {
        let state = self.state();
        let mut keys: Vec<KeyRow> =
            state.keys.values().filter(|key| key.tenant == *tenant).cloned().collect();
        keys.sort_by_key(|key| std::cmp::Reverse((key.created_at, key.id)));
        Ok(keys)
    }

    async fn audit(&self, entry: AuditEntry) -> Result<(), StoreError> {
        self.state().audit.push(entry);
        Ok(())
    }

    async fn audit_entries(&self, tenant: &Tenant, limit: usize) -> Result<Vec<AuditEntry>, StoreError> {
        let state = self.state();
        let newest = state.audit.iter().rev().filter(|entry| entry.tenant == *tenant);
        Ok(newest.take(limit).cloned().collect())
    }

    async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, StoreError> {
        let hash = BlobHash(Sha256::digest(&bytes).into());
        self.state().blobs.insert(hash, bytes);
        Ok(hash)
    }

    async fn blob(&self, hash: BlobHash) -> Result<Option<Bytes>, StoreError> {
        Ok(self.state().blobs.get(&hash).cloned())
    }

    fn uploads(&self) -> &dyn Uploads {
        &self.uploads
    }

    fn fault(&self) -> Option<String> {
        None
    }

    async fn sweep(&self, before: Timestamp) -> Result<(), StoreError> {
        self.state().submissions.retain(|_, row| row.at >= before);
        Ok(())
    }
}
