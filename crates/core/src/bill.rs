//! Model calls as they are accounted for.

use moongate_protocol::{AgentName, Namespace, Principal, SessionId, Tenant};

use crate::{BilledCall, SessionRow, Spent};

/// A model call as it is accounted for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Bill {
    /// Behind which wall.
    pub tenant: Tenant,
    /// The session it was made for.
    pub session: SessionId,
    /// Who set it off.
    pub principal: Principal,
    /// Where the session belongs.
    pub namespace: Namespace,
    /// The agent that made it.
    pub agent: AgentName,
    /// The call.
    pub call: BilledCall,
}

impl Bill {
    /// The account of a call of the session with this row.
    pub fn of(row: &SessionRow, call: &BilledCall) -> Self {
        let view = &row.view;
        Self {
            tenant: row.tenant.clone(),
            session: view.id,
            principal: call.author.as_ref().unwrap_or(&view.owner).clone(),
            namespace: view.namespace.clone(),
            agent: call.agent.as_ref().unwrap_or(&view.agent).clone(),
            call: call.clone(),
        }
    }

    /// What the call came to, and on whose account.
    pub fn spent(&self) -> SpentRow {
        SpentRow {
            tenant: self.tenant.clone(),
            principal: Some(self.principal.clone()),
            namespace: Some(self.namespace.clone()),
            agent: self.agent.clone(),
            spent: Spent::call(self.call.tokens, self.call.cost),
        }
    }
}

/// What was spent on one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpentRow {
    /// Behind which wall.
    pub tenant: Tenant,
    /// Who set it off; unknown of calls that an earlier version wrote down.
    pub principal: Option<Principal>,
    /// Where their sessions belong; unknown of calls that an earlier version wrote down.
    pub namespace: Option<Namespace>,
    /// The agent that made the calls.
    pub agent: AgentName,
    /// What they came to.
    pub spent: Spent,
}
