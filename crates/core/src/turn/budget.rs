//! Whether another model call may be paid for.

use super::Turn;
use crate::{
    Fault,
    spend::{SoFar, Spender},
};

impl Turn {
    /// Whether the operator's spend limits leave room for a model call. Looked at before each one.
    ///
    /// # Errors
    /// `budget_exceeded`.
    pub(super) fn may_spend(&self, so_far: SoFar) -> Result<(), Fault> {
        let setting = &self.setting;
        let spender = Spender {
            author: &setting.author,
            namespace: &setting.namespace,
            agent: &setting.agent.name,
            own: &setting.agent.spend,
            given: &setting.given,
        };
        let now = self.ids.now();
        setting
            .catalog
            .spending
            .check(spender, so_far, |account| self.ledger.today(now, &self.tenant, account))
    }
}
