//! Approvals as callers see them: listed, looked up and decided by their own ids.

use moongate_protocol::{
    ApprovalId, ApprovalRequested, ApprovalResolved, ApprovalState, Decision, Event, Resolve, SessionId,
    Tenant, Timestamp,
};

use crate::{
    ApprovalRow, AskQuery, Caller, Gateway, Refusal, Store, StoreError,
    asks::{Ask, event},
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

impl Ask for ApprovalId {
    type View = ApprovalView;
    const NAME: &'static str = "approval";

    async fn rows(
        store: &dyn Store,
        tenant: &Tenant,
        query: &AskQuery,
    ) -> Result<Vec<ApprovalRow>, StoreError> {
        store.approvals(tenant, query).await
    }

    async fn row(self, store: &dyn Store, tenant: &Tenant) -> Result<Option<ApprovalRow>, StoreError> {
        store.approval(tenant, self).await
    }

    async fn view(store: &dyn Store, row: &ApprovalRow) -> Result<ApprovalView, StoreError> {
        let asked = event(store, row.session, row.asked).await?;
        let Event::ApprovalRequested(request) = asked.event else {
            return Err(StoreError::Damaged("an approval is not where it was written".into()));
        };
        let mut view = ApprovalView {
            session: row.session,
            request,
            requested_at: asked.at,
            resolved: None,
            resolved_at: None,
            already: false,
        };
        if let Some((seq, _)) = row.closed {
            let closed = event(store, row.session, seq).await?;
            view.resolved_at = Some(closed.at);
            view.resolved = Some(match closed.event {
                Event::ApprovalResolved(resolved) => resolved,
                // Its turn ended before anybody decided, and nothing more was written about it.
                _ => crate::session::lapsed(&view.request),
            });
        }
        Ok(view)
    }
}

impl Gateway {
    /// The approvals of the sessions the caller may see.
    ///
    /// # Errors
    /// When the caller may not see sessions, or the store cannot be read.
    pub async fn approvals(&self, caller: &Caller, query: AskQuery) -> Result<Vec<ApprovalView>, Refusal> {
        self.asks::<ApprovalId>(caller, query).await
    }

    /// An approval in a session the caller may see, decided or not.
    ///
    /// # Errors
    /// `not_found` when there is none, or it is not the caller's: the same answer for both.
    pub async fn approval(&self, caller: &Caller, id: ApprovalId) -> Result<ApprovalView, Refusal> {
        self.ask(caller, id).await
    }

    /// Decides on an approval, whatever session it is in. The first decision counts; a later one is answered with
    /// the first.
    ///
    /// # Errors
    /// `not_found`, `forbidden`, or `unprocessable` when changed arguments or a rule are not acceptable.
    pub async fn resolve(&self, caller: &Caller, resolve: Resolve) -> Result<ApprovalView, Refusal> {
        self.session_that_asks(caller, resolve.approval).await?.resolve(resolve).await
    }
}
