//! What agents do that the turn of a socket's session handed tasks to.

use std::collections::HashMap;

use moongate_core::{ApprovalView, Caller, Gateway, Refusal};
use moongate_protocol::{ApprovalId, Decision, Event, Resolve, ToolName};

use super::Line;
use crate::door::{
    construct::{
        agents::Agents,
        asks::DecisionWord,
        fold::{Audience, Told, approval, decided},
        frames::Word,
    },
    shared::kin::{Kin, Tidings},
};

/// The sessions beneath a socket's own.
pub(super) struct Below {
    pub(super) kin: Kin,
    agents: Agents,
    /// What people are asked there, by the tool.
    asked: HashMap<ApprovalId, ToolName>,
}

impl Below {
    pub(super) fn new(kin: Kin) -> Self {
        Self { kin, agents: Agents::default(), asked: HashMap::new() }
    }

    /// What clients are told of it.
    fn told(&mut self, tidings: &Tidings) -> Vec<Told> {
        let mut out = Vec::new();
        let mut tell = |to, word| out.push(Told { to, seq: None, turn: None, word });
        for envelope in &tidings.events {
            for said in self.agents.take(envelope, Some(&tidings.child.agent)) {
                tell(Audience::Everyone, said.word());
            }
            match &envelope.event {
                Event::ApprovalRequested(asked) => {
                    self.asked.insert(asked.approval, asked.tool.clone());
                    tell(Audience::Everyone, approval(asked, envelope.at).0);
                }
                Event::ApprovalResolved(resolved) => {
                    self.asked.remove(&resolved.approval);
                    tell(Audience::Everyone, Word::ApprovalResolved(decided(resolved)));
                }
                _ => {}
            }
        }
        out
    }
}

impl Line {
    /// Follows what the running turn of the session handed on.
    pub(super) fn meet(&mut self) {
        let Some(attached) = &self.chat.attached else { return };
        let (session, kin) = (attached.handle.id(), &mut self.below.kin);
        attached.fold.delegated().for_each(|started| kin.meet(session, started));
    }

    pub(super) fn related(&mut self, tidings: &Tidings) {
        let here = self.chat.attached.as_ref().map(|attached| attached.handle.id());
        if here == Some(tidings.root) {
            let told = self.below.told(tidings);
            told.into_iter().for_each(|told| self.tell(told, false));
        }
    }

    /// The tool an agent beneath asks people about.
    pub(super) fn asked_below(&self, approval: ApprovalId) -> Option<&ToolName> {
        self.below.asked.get(&approval)
    }
}

/// Decides on what an agent beneath asks. A decision for always is one for this time: its session ends with its
/// task.
pub(super) async fn resolve_below(
    gateway: &Gateway,
    caller: &Caller,
    approval: ApprovalId,
    word: DecisionWord,
) -> Result<ApprovalView, Refusal> {
    let decision = if word == DecisionWord::Deny { Decision::Deny } else { Decision::Approve };
    let resolve = Resolve { approval, decision, arguments: None, reason: None, remember: None };
    gateway.resolve(caller, resolve).await
}
