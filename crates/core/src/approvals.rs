//! Approvals as callers see them: listed, looked up and decided by their own ids.

use moongate_protocol::{
    ApprovalId, ApprovalRequested, ApprovalResolved, ApprovalState, Decision, Event, Principal, Resolve, Seq,
    SessionId, Tenant, Timestamp,
};

use crate::{
    ApprovalRow, Caller, Gateway, Refusal, Scope, StoreError, activity::sees, limits::APPROVALS_LISTED,
    session::gateway_principal,
};

/// An approval, with the decision once there is one.
#[derive(Clone, Debug, PartialEq)]
pub struct ApprovalView {
    /// In which session.
    pub session: SessionId,
    /// What a person is asked.
    pub request: ApprovalRequested,
    /// Since when.
    pub requested_at: Timestamp,
    /// What was decided.
    pub resolved: Option<ApprovalResolved>,
    /// When.
    pub resolved_at: Option<Timestamp>,
    /// It was decided before whoever is answered this decided.
    pub already: bool,
}

impl ApprovalView {
    /// What became of it.
    pub fn state(&self) -> ApprovalState {
        match &self.resolved {
            None => ApprovalState::Open,
            Some(resolved) if resolved.decision == Decision::Approve => ApprovalState::Approved,
            Some(resolved) if resolved.by == gateway_principal() => ApprovalState::Expired,
            Some(_) => ApprovalState::Denied,
        }
    }
}

/// Which approvals to list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ApprovalFilter {
    /// Those that wait for a decision, soonest expiry first.
    #[default]
    Open,
    /// Those that were decided, latest decision first.
    Decided,
}

/// Which approvals to list.
#[derive(Clone, Debug, Default)]
pub struct ApprovalQuery {
    /// Decided or not.
    pub filter: ApprovalFilter,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Only in sessions of this owner; what the caller may see is held to in any case.
    pub owner: Option<Principal>,
    /// And in sessions that belong to their namespace.
    pub shared: bool,
    /// Most rows; 0 for as many as one answer has.
    pub limit: usize,
}

impl Gateway {
    /// The approvals of the sessions the caller may see.
    ///
    /// # Errors
    /// When the caller may not see sessions, or the store cannot be read.
    pub async fn approvals(
        &self,
        caller: &Caller,
        mut query: ApprovalQuery,
    ) -> Result<Vec<ApprovalView>, Refusal> {
        crate::gateway::require(caller, Scope::SessionsRead)?;
        let most = if query.limit == 0 { APPROVALS_LISTED } else { query.limit.min(APPROVALS_LISTED) };
        // Rows that a narrowed caller may not see do not count.
        query.limit = if caller.is_narrowed() { APPROVALS_LISTED } else { most };
        if !caller.sees_all_owners() {
            query.owner = Some(caller.principal().clone());
            query.shared = !caller.grants().is_empty();
        }
        let mut found = Vec::new();
        for row in self.store().approvals(caller.tenant(), &query).await? {
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

    /// An approval in a session the caller may see, decided or not.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub async fn approval(&self, caller: &Caller, id: ApprovalId) -> Result<ApprovalView, Refusal> {
        crate::gateway::require(caller, Scope::SessionsRead)?;
        let row = self.approval_row(caller.tenant(), id).await?;
        self.show(caller, &row).await?.ok_or_else(not_found)
    }

    /// Decides on an approval, whatever session it is in. The first decision counts; a later one is answered with
    /// the first.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or `unprocessable` when changed arguments or a rule are not acceptable.
    pub async fn resolve(&self, caller: &Caller, resolve: Resolve) -> Result<ApprovalView, Refusal> {
        let row = self.approval_row(caller.tenant(), resolve.approval).await?;
        match self.session_to(caller, row.session, Scope::ApprovalsDecide).await {
            Ok(session) => session.resolve(resolve).await,
            Err(refusal) if refusal.code == moongate_protocol::ErrorCode::NotFound => Err(not_found()),
            Err(refusal) => Err(refusal),
        }
    }

    async fn approval_row(&self, tenant: &Tenant, id: ApprovalId) -> Result<ApprovalRow, Refusal> {
        self.store().approval(tenant, id).await?.ok_or_else(not_found)
    }

    async fn show(&self, caller: &Caller, row: &ApprovalRow) -> Result<Option<ApprovalView>, Refusal> {
        match self.open(row.session).await {
            Ok(slot) if sees(caller, slot.identity()) => {}
            Ok(_) => return Ok(None),
            Err(refusal) if refusal.code == moongate_protocol::ErrorCode::NotFound => return Ok(None),
            Err(refusal) => return Err(refusal),
        }
        match view(&**self.store(), row).await {
            Ok(view) => Ok(Some(view)),
            Err(StoreError::NotFound) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

fn not_found() -> Refusal {
    Refusal::not_found("approval")
}

/// What the log says about an approval whose events' places are known.
///
/// # Errors
/// When the log cannot be read, or says something else.
pub(crate) async fn view(store: &dyn crate::Store, row: &ApprovalRow) -> Result<ApprovalView, StoreError> {
    let (requested_at, Event::ApprovalRequested(request)) = event(store, row.session, row.asked).await?
    else {
        return Err(StoreError::Damaged("an approval is not where it was written".into()));
    };
    let mut view = ApprovalView {
        session: row.session,
        request,
        requested_at,
        resolved: None,
        resolved_at: None,
        already: false,
    };
    if let Some((seq, _)) = row.decided {
        let (at, said) = event(store, row.session, seq).await?;
        view.resolved_at = Some(at);
        view.resolved = Some(match said {
            Event::ApprovalResolved(resolved) => resolved,
            // Its turn ended before anybody decided, and nothing more was written about it.
            _ => crate::session::lapsed(&view.request),
        });
    }
    Ok(view)
}

async fn event(
    store: &dyn crate::Store,
    session: SessionId,
    seq: Seq,
) -> Result<(Timestamp, Event), StoreError> {
    let before = Seq(seq.0.saturating_sub(1));
    let records = store.read(session, before, 1).await?;
    let record = records.first().ok_or(StoreError::NotFound)?;
    let envelope = record.envelope().map_err(|damaged| StoreError::Damaged(damaged.to_string()))?;
    Ok((envelope.at, envelope.event.clone()))
}
