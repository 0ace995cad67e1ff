//! Whether another model call may be paid for.

use moongate_protocol::{QuestionAsked, QuestionId};

use super::{Step, Then, Turn, Verdict};
use crate::{
    Fault, Form, OnLimit, Refusal,
    spend::{GO_ON, Reached, SoFar, Spender},
};

impl Turn {
    /// Whether the operator's spend limits leave room for a model call. Looked at before each one.
    ///
    /// # Errors
    /// The limit that is reached; or the store's fault, when a limit by day counts and what was spent cannot be read.
    pub(super) async fn may_spend(&self, so_far: SoFar) -> Result<(), Reached> {
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
                Reached { scope: None, fault: Fault::new(refusal.code, refusal.message) }
            })?;
        }
        spending.check(spender, so_far, |account| self.ledger.today(now, &self.tenant, account))
    }

    /// A limit is reached: where the operator lets people decide they are asked, once a turn until they say no, and
    /// the turn rests. Else it is over.
    pub(super) async fn over_budget(&self, reached: Reached, so_far: SoFar) -> Step<()> {
        let may_ask = self.setting.catalog.spending.on_limit == OnLimit::Ask && !so_far.raised.refused;
        let Some(limit) = reached.scope.filter(|_| may_ask) else {
            return self.fail(Vec::new(), reached.fault).await;
        };
        let asked = QuestionAsked {
            turn: self.id,
            question: self.ids.make(QuestionId::new),
            call: None,
            limit: Some(limit),
            text: format!("May the turn go on, and spend as much again? For now {}.", reached.fault.message),
            form: Some(Form::yes_or_no(GO_ON).to_value()),
            expires_at: self.expiry(),
        };
        match self.report(Vec::new(), Then::Inquire(Box::new(asked))).await? {
            Verdict::Stop => self.stop(Vec::new()).await.map(|_| ()),
            _ => Ok(()),
        }
    }
}
