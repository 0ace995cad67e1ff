//! What people are asked: approvals and questions. Both wait in a session's log until somebody or time answers, and
//! both are listed and looked up by their own ids, whatever session they are in.

use std::{cmp::Reverse, collections::BTreeMap, future::Future};

use moongate_protocol::{
    ApprovalId, Envelope, ErrorCode, Principal, QuestionId, Seq, SessionId, Tenant, Timestamp,
};

use crate::{
    Caller, Gateway, Refusal, Scope, SessionRow, Store, StoreError, activity::sees,
    caller::is_of_its_namespace, limits::ASKS_LISTED,
};

/// Where the log says what about something a person was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AskRow<Id> {
    /// Its id.
    pub id: Id,
    /// In which session.
    pub session: SessionId,
    /// The event that asks.
    pub asked: Seq,
    /// When silence becomes an answer.
    pub expires_at: Timestamp,
    /// The event that answered, or ended the turn, and when; none while it is open.
    pub closed: Option<(Seq, Timestamp)>,
}

/// Where the log says what about an approval.
pub type ApprovalRow = AskRow<ApprovalId>;
/// Where the log says what about a question.
pub type QuestionRow = AskRow<QuestionId>;

/// A change of what waits for somebody.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AskChange<Id> {
    /// Somebody is asked, since this event and until this time.
    Open(Id, Seq, Timestamp),
    /// Somebody answered, with this event and then.
    Close(Id, Seq, Timestamp),
    /// The turn is over, with this event and since then: nobody is asked anything any more.
    CloseAll(Seq, Timestamp),
}

/// Whether it waits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AskFilter {
    /// It does: soonest expiry first.
    #[default]
    Open,
    /// Somebody or time answered: latest answer first.
    Closed,
}

/// What to list of what people are asked.
#[derive(Clone, Debug, Default)]
pub struct AskQuery {
    /// What waits, or what does not any more.
    pub filter: AskFilter,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only in sessions of this owner; what the caller may see is held to in any case.
    pub owner: Option<Principal>,
    /// And in sessions that belong to their namespace.
    pub shared: bool,
    /// Most rows; 0 for as many as one answer has.
    pub limit: usize,
}

/// Something people are asked, by what names it.
pub(crate) trait Ask: Copy + Ord + Send + Sync + 'static {
    /// What a caller is shown of it.
    type View: Send;
    /// What it is called in a refusal.
    const NAME: &'static str;

    /// Those of one tenant.
    fn rows(
        store: &dyn Store,
        tenant: &Tenant,
        query: &AskQuery,
    ) -> impl Future<Output = Result<Vec<AskRow<Self>>, StoreError>> + Send;

    /// One of one tenant.
    fn row(
        self,
        store: &dyn Store,
        tenant: &Tenant,
    ) -> impl Future<Output = Result<Option<AskRow<Self>>, StoreError>> + Send;

    /// What the log says about it.
    fn view(
        store: &dyn Store,
        row: &AskRow<Self>,
    ) -> impl Future<Output = Result<Self::View, StoreError>> + Send;
}

impl Gateway {
    /// What is asked in the sessions the caller may see.
    ///
    /// # Errors
    /// When the caller may not see sessions, or the store cannot be read.
    pub(crate) async fn asks<A: Ask>(
        &self,
        caller: &Caller,
        mut query: AskQuery,
    ) -> Result<Vec<A::View>, Refusal> {
        crate::gateway::require(caller, Scope::SessionsRead)?;
        let most = if query.limit == 0 { ASKS_LISTED } else { query.limit.min(ASKS_LISTED) };
        // Rows that a narrowed caller may not see do not count.
        query.limit = if caller.is_narrowed() { ASKS_LISTED } else { most };
        if !caller.sees_all_owners() {
            query.owner = Some(caller.principal().clone());
            query.shared = !caller.grants().is_empty();
        }
        let mut found = Vec::new();
        for row in A::rows(&**self.store(), caller.tenant(), &query).await? {
            // Not the caller's, or gone meanwhile.
            if let Some(view) = self.show(caller, &row).await? {
                found.push(view);
            }
            if found.len() == most {
                break;
            }
        }
        Ok(found)
    }

    /// What is asked in a session the caller may see, answered or not.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub(crate) async fn ask<A: Ask>(&self, caller: &Caller, id: A) -> Result<A::View, Refusal> {
        crate::gateway::require(caller, Scope::SessionsRead)?;
        let row = self.ask_row(caller.tenant(), id).await?;
        self.show(caller, &row).await?.ok_or_else(|| Refusal::not_found(A::NAME))
    }

    /// The session something is asked in, for a caller who may answer there.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's; `forbidden`.
    pub(crate) async fn session_that_asks<A: Ask>(
        &self,
        caller: &Caller,
        id: A,
    ) -> Result<crate::SessionHandle, Refusal> {
        let row = self.ask_row(caller.tenant(), id).await?;
        self.session_to(caller, row.session, Scope::ApprovalsDecide).await.map_err(|refusal| {
            match refusal.code {
                ErrorCode::NotFound => Refusal::not_found(A::NAME),
                _ => refusal,
            }
        })
    }

    async fn ask_row<A: Ask>(&self, tenant: &Tenant, id: A) -> Result<AskRow<A>, Refusal> {
        id.row(&**self.store(), tenant).await?.ok_or_else(|| Refusal::not_found(A::NAME))
    }

    async fn show<A: Ask>(&self, caller: &Caller, row: &AskRow<A>) -> Result<Option<A::View>, Refusal> {
        match self.open(row.session).await {
            Ok(slot) if sees(caller, slot.identity()) => {}
            Ok(_) => return Ok(None),
            Err(refusal) if refusal.code == ErrorCode::NotFound => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        match A::view(&**self.store(), row).await {
            Ok(view) => Ok(Some(view)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// The one event of a session's log with this number.
///
/// # Errors
/// When the log cannot be read, or ends before it.
pub(crate) async fn event(store: &dyn Store, session: SessionId, seq: Seq) -> Result<Envelope, StoreError> {
    let before = Seq(seq.0.saturating_sub(1));
    let records = store.read(session, before, 1).await?;
    let record = records.first().ok_or(StoreError::NotFound)?;
    let envelope = record.envelope().map_err(|damaged| StoreError::Damaged(damaged.to_string()))?;
    Ok(envelope.clone())
}

/// What a session in memory asks, and asked.
#[derive(Debug)]
pub(crate) struct AskTable<Id>(BTreeMap<Id, AskRow<Id>>);

impl<Id> Default for AskTable<Id> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<Id: Copy + Ord> AskTable<Id> {
    pub(crate) fn change(&mut self, session: SessionId, change: AskChange<Id>) {
        match change {
            AskChange::Open(id, asked, expires_at) => {
                self.0.insert(id, AskRow { id, session, asked, expires_at, closed: None });
            }
            AskChange::Close(id, seq, at) => {
                if let Some(row) = self.0.get_mut(&id) {
                    row.closed.get_or_insert((seq, at));
                }
            }
            AskChange::CloseAll(seq, at) => {
                for row in self.0.values_mut() {
                    row.closed.get_or_insert((seq, at));
                }
            }
        }
    }

    pub(crate) fn get(&self, id: Id) -> Option<AskRow<Id>> {
        self.0.get(&id).copied()
    }

    pub(crate) fn rows(&self, filter: AskFilter) -> impl Iterator<Item = AskRow<Id>> {
        let is_open = filter == AskFilter::Open;
        self.0.values().filter(move |row| row.closed.is_none() == is_open).copied()
    }
}

/// What a query finds among what the sessions of one tenant ask.
pub(crate) fn list<'a, Id: Copy + Ord + 'a>(
    sessions: impl Iterator<Item = (&'a SessionRow, &'a AskTable<Id>)>,
    query: &AskQuery,
) -> Vec<AskRow<Id>> {
    let ours = sessions.filter(|(row, _)| {
        query.session.is_none_or(|session| row.view.id == session)
            && query.owner.as_ref().is_none_or(|owner| {
                row.view.owner == *owner || query.shared && is_of_its_namespace(&row.view.owner)
            })
    });
    let mut rows: Vec<_> = ours.flat_map(|(_, table)| table.rows(query.filter)).collect();
    sort(&mut rows, query.filter);
    rows.truncate(query.limit);
    rows
}

/// Brings rows into the order their filter names.
fn sort<Id: Copy + Ord>(rows: &mut [AskRow<Id>], filter: AskFilter) {
    match filter {
        AskFilter::Open => rows.sort_by_key(|row| (row.expires_at, row.id)),
        AskFilter::Closed => {
            rows.sort_by_key(|row| Reverse((row.closed.map(|(seq, at)| (at, seq)), row.id)));
        }
    }
}
