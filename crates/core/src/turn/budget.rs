//! Whether another model call may be paid for.

use super::Turn;
use crate::{
    Fault, Refusal,
    spend::{SoFar, Spender},
};

impl Turn {
    /// Whether the operator's spend limits leave room for a model call. Looked at before each one.
    ///
    /// # Errors
    /// `budget_exceeded`; or the store's, when a limit by day counts and what was spent cannot be read.
    pub(super) async fn may_spend(&self, so_far: SoFar) -> Result<(), Fault> {
        let setting = &self.setting;
        let spender = Spender {
            author: &setting.author,
            namespace: &setting.namespace,
            agent: &setting.agent.name,
            own: &setting.agent.spend,
            given: &setting.given,
        };
        let (now, spending) = (self.ids.now(), &setting.catalog.spending);
        if spending.looks_at_days(spender) {
            self.ledger.read(now).await.map_err(|error| {
                let refusal = Refusal::from(error);
                Fault::new(refusal.code, refusal.message)
            })?;
        }
        spending.check(spender, so_far, |account| self.ledger.today(now, &self.tenant, account))
    }
}
