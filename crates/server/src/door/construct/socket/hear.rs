//! What a client says on its socket, all but messages.

use moongate_core::{ApprovalView, Refusal, Scope};
use moongate_protocol::{ApprovalId, Cancel, Decision, ErrorCode, RememberRule, RememberScope, Resolve};

use super::{Capabilities, Ending, Line, Opening, below::resolve_below, observe::Observer};
use crate::door::{
    construct::{
        asks::{self, Ask, Connect, Decide, DecisionWord, Which},
        attach::Attached,
        fold::decided,
        frames::{ApprovalResolved, Connected, Problem, Word},
        out::probe_of,
        problems::plain,
    },
    shared::socket::Heard,
};

/// The capabilities there are.
const ABORTED: &str = "aborted";
const SPLIT_QUEUE_CODES: &str = "split_queue_codes";
const APPROVALS: &str = "approvals";

impl Line {
    pub(super) async fn hear(&mut self, heard: Heard) -> Result<(), Ending> {
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Pong(answer) => {
                probe_of(&answer).into_iter().for_each(|probe| self.answered(probe));
                return Ok(());
            }
            Heard::Binary | Heard::Room | Heard::Draining => return Ok(()),
            Heard::Ended(end) => return Err(end.into()),
        };
        self.alive();
        self.pulse.listens_at = None;
        match asks::read(&text) {
            // Boxed: a socket that only listens does not carry the room this takes.
            Ok(ask) => Box::pin(self.obey(ask)).await,
            Err(problem) => self.refuse(problem),
        }
    }

    pub(super) fn refuse(&mut self, problem: impl Into<Box<Problem>>) -> Result<(), Ending> {
        self.say(Word::Error(problem.into()))
    }

    async fn obey(&mut self, ask: Ask) -> Result<(), Ending> {
        match ask {
            Ask::Connect(connect) => self.connect(connect).await,
            Ask::Message(said) => self.message(said).await,
            Ask::Decide(decide) => self.decide(decide).await,
            Ask::Cancel(which) => {
                let turn = match which {
                    Which::Any => None,
                    Which::This(turn) => Some(turn),
                    Which::None => return Ok(()),
                };
                if let Some(attached) = &self.chat.attached {
                    // A turn that ended by itself needs no stopping.
                    drop(attached.handle.cancel(Cancel { turn, clear_queue: false }).await);
                }
                Ok(())
            }
            Ask::Ping => self.say(Word::Pong),
        }
    }

    async fn connect(&mut self, connect: Connect) -> Result<(), Ending> {
        let other = connect.session_id.and_then(|id| id.parse().ok()).filter(|id| *id != self.chat.id);
        if let Some(id) = other.filter(|_| !self.chat.spoken) {
            self.open(Opening { id, name: None, agent: None, resume: None }).await?;
        }
        let has = |name: &str| connect.capabilities.iter().any(|capability| capability == name);
        self.can = Capabilities {
            aborted: has(ABORTED),
            split_queue_codes: has(SPLIT_QUEUE_CODES),
            approvals: has(APPROVALS),
        };
        if let Some(name) = connect.device_name {
            self.door.name_device(self.socket.caller(), name).await;
        }
        if !self.chat.spoken {
            self.observer.get_or_insert_with(|| Observer::new(&self.door, self.socket.caller()));
        }
        let known = [ABORTED, SPLIT_QUEUE_CODES, APPROVALS].into_iter().filter(|name| has(name));
        self.say(Word::Connected(Connected {
            message: "Connection established",
            session_id: self.chat.id.to_string(),
            capabilities: known.collect(),
        }))
    }

    async fn decide(&mut self, decide: Decide) -> Result<(), Ending> {
        if !self.socket.caller().may(Scope::ApprovalsDecide) {
            return self.refuse(plain("FORBIDDEN", "Forbidden — this key lacks approvals:decide"));
        }
        let nothing = || plain("APPROVAL_NOT_FOUND", "There is no such approval in this session");
        let Some((approval, attached)) = decide.approval.zip(self.chat.attached.as_ref()) else {
            return self.refuse(nothing());
        };
        let (gateway, caller) = (self.door.app().gateway().clone(), self.socket.caller().clone());
        let resolved = match self.asked_below(approval).is_some() {
            true => resolve_below(&gateway, &caller, approval, decide.word).await,
            false => resolve(attached, approval, decide.word).await,
        };
        match resolved {
            // Somebody was first: what was decided is told again, and nothing changes.
            Ok(ApprovalView { already: true, resolved: Some(resolved), .. }) => {
                let late = ApprovalResolved { late: true, ..decided(&resolved) };
                self.say(Word::ApprovalResolved(late))
            }
            Ok(_) => Ok(()),
            Err(_) => self.refuse(nothing()),
        }
    }
}

/// Decides. A decision for always is remembered for the tool, in this session; where the tool asks each time it is
/// one for this time.
pub(super) async fn resolve(
    attached: &Attached,
    approval: ApprovalId,
    word: DecisionWord,
) -> Result<ApprovalView, Refusal> {
    let decision = if word == DecisionWord::Deny { Decision::Deny } else { Decision::Approve };
    let plain = Resolve { approval, decision, arguments: None, reason: None, remember: None };
    let tool = attached.fold.tool_of(approval).filter(|_| word == DecisionWord::Always);
    if let Some(rule) = tool {
        let remember = Some(RememberRule { scope: RememberScope::Session, rule });
        match attached.handle.resolve(Resolve { remember, ..plain.clone() }).await {
            Err(refusal) if refusal.code == ErrorCode::Unprocessable => {}
            other => return other,
        }
    }
    attached.handle.resolve(plain).await
}
