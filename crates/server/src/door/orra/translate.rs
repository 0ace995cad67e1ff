//! From a session's events to the door's frames: one fold, for sockets, for callers that wait, live and replayed.

use std::collections::{BTreeMap, HashMap};

use moongate_core::{Frame as CoreFrame, FrameBody};
use moongate_protocol::{
    AgentSnapshot, ApprovalId, ApprovalRequested, ApprovalResolved, CallId, DelegationStarted, Delta,
    DeltaKind, Envelope, Event, InputId, ItemId, MessageCompleted, Part, Role, Timestamp, TurnId, UsageTotal,
};

use super::{
    fault::{Code, Fault},
    frames::{Error, Question, Response, What, finish_reason},
};

/// What a session's followers may be shown.
#[derive(Debug)]
pub(super) struct Shown {
    /// The inputs it is about.
    pub(super) inputs: Vec<InputId>,
    pub(super) turn: Option<TurnId>,
    /// The last event before it, or its own.
    pub(super) seq: u64,
    pub(super) tale: Tale,
}

/// What is shown.
#[derive(Debug)]
pub(super) enum Tale {
    /// A frame.
    Frame(What),
    /// A question to people.
    Question(ApprovalId, Question),
    /// The input was taken back before its turn began.
    Withdrawn,
    /// The session is gone.
    Deleted,
}

impl Shown {
    /// Whether nothing comes after it for its inputs.
    pub(super) fn is_last(&self) -> bool {
        matches!(self.tale, Tale::Frame(What::Response(_) | What::Error(_)) | Tale::Withdrawn | Tale::Deleted)
    }
}

/// What is known of a session so far.
#[derive(Debug, Default)]
pub(super) struct Fold {
    seq: u64,
    waiting: Vec<InputId>,
    running: Option<Running>,
    failed: bool,
}

#[derive(Debug)]
struct Running {
    turn: TurnId,
    inputs: Vec<InputId>,
    agent: AgentSnapshot,
    /// Bytes of text shown.
    shown: u64,
    /// Characters shown of items not complete yet.
    items: HashMap<ItemId, u64>,
    /// Characters of reasoning shown.
    thoughts: HashMap<ItemId, u64>,
    tools: HashMap<CallId, String>,
    /// Questions that are open.
    questions: BTreeMap<ApprovalId, ApprovalRequested>,
    /// Calls that other agents are at work on.
    delegated: HashMap<CallId, DelegationStarted>,
    /// The last message.
    message: String,
}

impl Fold {
    /// The last event taken.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    /// Takes a frame of the session.
    pub(super) fn take(&mut self, frame: &CoreFrame, out: &mut Vec<Shown>) {
        match &frame.body {
            FrameBody::Event(record) => match record.envelope() {
                Ok(envelope) => self.event(envelope, out),
                Err(error) => tracing::error!(%error, "an event cannot be read"),
            },
            FrameBody::Delta(delta) => self.delta(delta, out),
            FrameBody::Notice(_) => {}
            FrameBody::Reset(_) => *self = Self::default(),
        }
    }

    /// The questions that are open.
    pub(super) fn questions(&self) -> impl Iterator<Item = &ApprovalRequested> {
        self.running.iter().flat_map(|running| running.questions.values())
    }

    /// Whether a turn runs.
    pub(super) fn is_running(&self) -> bool {
        self.running.is_some()
    }

    /// The turn that runs, and its inputs.
    pub(super) fn turn(&self) -> Option<(TurnId, &[InputId])> {
        self.running.as_ref().map(|running| (running.turn, running.inputs.as_slice()))
    }

    /// What other agents are at work on for it.
    pub(super) fn delegated(&self) -> impl Iterator<Item = &DelegationStarted> {
        self.running.iter().flat_map(|running| running.delegated.values())
    }

    /// What the session is doing, in the door's words.
    pub(super) fn state(&self) -> &'static str {
        match (&self.running, self.failed) {
            (Some(_), _) => "running",
            (None, true) => "error",
            (None, false) => "idle",
        }
    }

    /// Takes an event of the session.
    pub(super) fn event(&mut self, envelope: &Envelope, out: &mut Vec<Shown>) {
        self.seq = envelope.seq.0;
        match &envelope.event {
            Event::InputAccepted(accepted) => {
                let position = self.waiting.len() + usize::from(self.running.is_some());
                self.waiting.push(accepted.input);
                out.push(self.about(vec![accepted.input], Tale::Frame(What::Accepted { position })));
            }
            Event::InputWithdrawn(gone) => {
                self.waiting.retain(|input| *input != gone.input);
                out.push(self.about(vec![gone.input], Tale::Withdrawn));
            }
            Event::TurnStarted(started) => {
                self.waiting.retain(|input| !started.inputs.contains(input));
                self.running =
                    Some(Running::new(started.turn, started.inputs.clone(), started.agent.clone()));
                self.say(What::TurnStarted, out);
            }
            Event::SessionDeleted(_) => {
                let mut inputs = std::mem::take(&mut self.waiting);
                inputs.extend(self.running.take().into_iter().flat_map(|running| running.inputs));
                out.push(self.about(inputs, Tale::Deleted));
            }
            event if event.ends_turn().is_some() => self.end(event, out),
            event => self.go_on(event, envelope.at, out),
        }
    }

    fn go_on(&mut self, event: &Event, at: Timestamp, out: &mut Vec<Shown>) {
        let Some(running) = &mut self.running else { return };
        let tale = match event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                let whats = running.complete(message);
                whats.into_iter().for_each(|what| self.say(what, out));
                return;
            }
            Event::ToolCalled(called) => {
                let what = What::ToolStarted {
                    call_id: called.call.to_string(),
                    tool_name: called.tool.to_string(),
                    arguments: called.arguments.clone(),
                };
                Some(Tale::Frame(what))
            }
            Event::ToolFinished(finished) => {
                let what = What::ToolFinished {
                    call_id: finished.call.to_string(),
                    tool_name: running.tools.get(&finished.call).cloned().unwrap_or_default(),
                    content: Part::join_text(&finished.content),
                    is_error: finished.outcome != moongate_protocol::ToolOutcome::Ok,
                };
                Some(Tale::Frame(what))
            }
            Event::DelegationStarted(started) => {
                running.delegated.insert(started.call.clone(), started.clone());
                None
            }
            Event::DelegationFinished(finished) => {
                running.delegated.remove(&finished.call);
                None
            }
            Event::ApprovalRequested(asked) => {
                running.questions.insert(asked.approval, asked.clone());
                Some(Tale::Question(asked.approval, question(asked, at)))
            }
            Event::ApprovalResolved(resolved) => {
                let late = running.questions.remove(&resolved.approval).is_none();
                Some(Tale::Frame(decided(resolved, late)))
            }
            _ => None,
        };
        let (inputs, turn) = (running.inputs.clone(), Some(running.turn));
        out.extend(tale.map(|tale| Shown { inputs, turn, seq: self.seq, tale }));
    }

    fn end(&mut self, event: &Event, out: &mut Vec<Shown>) {
        let Some(running) = self.running.take() else { return };
        self.failed = matches!(event, Event::TurnFailed(_));
        let failed =
            |code: Code, usage: UsageTotal| What::Error(Error::of(Fault::from(code), Some(usage.into())));
        let what = match event {
            Event::TurnCompleted(end) => What::Response(Response {
                message: running.message,
                usage: end.usage.into(),
                agent: running.agent.agent.to_string(),
                model: running.agent.model.to_string(),
                finish_reason: finish_reason(end.stop_reason),
            }),
            Event::TurnFailed(end) => failed(Code::of(end.code), end.usage),
            Event::TurnCancelled(end) => failed(Code::Cancelled, end.usage),
            _ => return,
        };
        out.push(Shown {
            inputs: running.inputs,
            turn: Some(running.turn),
            seq: self.seq,
            tale: Tale::Frame(what),
        });
    }

    fn delta(&mut self, delta: &Delta, out: &mut Vec<Shown>) {
        let Some(running) = self.running.as_mut().filter(|running| running.turn == delta.turn) else {
            return;
        };
        let what = match delta.kind {
            DeltaKind::Text => running.text(delta.item, delta.offset, &delta.text),
            DeltaKind::Reasoning => running.reasoning(delta.item, delta.offset, &delta.text),
            DeltaKind::ToolArguments | DeltaKind::ToolOutput => None,
        };
        if let Some(what) = what {
            self.say(what, out);
        }
    }

    fn say(&self, what: What, out: &mut Vec<Shown>) {
        let Some(running) = &self.running else { return };
        let (inputs, turn) = (running.inputs.clone(), Some(running.turn));
        out.push(Shown { inputs, turn, seq: self.seq, tale: Tale::Frame(what) });
    }

    fn about(&self, inputs: Vec<InputId>, tale: Tale) -> Shown {
        Shown { inputs, turn: None, seq: self.seq, tale }
    }
}

impl Running {
    fn new(turn: TurnId, inputs: Vec<InputId>, agent: AgentSnapshot) -> Self {
        Self {
            turn,
            inputs,
            agent,
            shown: 0,
            items: HashMap::new(),
            thoughts: HashMap::new(),
            tools: HashMap::new(),
            questions: BTreeMap::new(),
            delegated: HashMap::new(),
            message: String::new(),
        }
    }

    /// What of a piece of text was not shown yet.
    fn text(&mut self, item: ItemId, offset: u64, text: &str) -> Option<What> {
        let known = self.items.entry(item).or_default();
        let content = fresh(known, offset, text);
        if content.is_empty() {
            return None;
        }
        let offset = self.shown;
        self.shown += content.len() as u64;
        Some(What::TextDelta { content, offset })
    }

    /// What of a piece of reasoning was not shown yet.
    fn reasoning(&mut self, item: ItemId, offset: u64, text: &str) -> Option<What> {
        let content = fresh(self.thoughts.entry(item).or_default(), offset, text);
        (!content.is_empty()).then_some(What::ReasoningDelta { content })
    }

    /// A message is complete: what of it was not shown as deltas.
    fn complete(&mut self, message: &MessageCompleted) -> Vec<What> {
        let mut rest = Vec::new();
        for part in &message.parts {
            match part {
                Part::ToolCall { call, tool, .. } => {
                    self.tools.insert(call.clone(), tool.clone());
                }
                Part::Reasoning { item, text, .. } => {
                    rest.extend(self.reasoning(*item, 0, text));
                    self.thoughts.remove(item);
                }
                _ => {}
            }
        }
        let text = Part::join_text(&message.parts);
        rest.extend(self.text(message.item, 0, &text));
        self.items.remove(&message.item);
        self.message = text;
        rest
    }
}

/// What was decided.
pub(super) fn decided(resolved: &ApprovalResolved, late: bool) -> What {
    What::ToolApprovalResolved {
        call_id: resolved.approval.to_string(),
        approved: resolved.decision == moongate_protocol::Decision::Approve,
        by: resolved.by.to_string(),
        late,
    }
}

/// A question to people, as it is asked at a time.
pub(super) fn question(asked: &ApprovalRequested, now: Timestamp) -> Question {
    Question {
        call_id: asked.approval.to_string(),
        tool_name: asked.tool.to_string(),
        arguments: asked.arguments.clone(),
        tool_call_id: asked.call.to_string(),
        requirement: asked.requirement,
        timeout_secs: asked.expires_at.since(now).as_secs(),
        expires_at: asked.expires_at.to_string(),
    }
}

/// What of a piece at `offset` comes after the first `known` characters, which it then is counted among.
fn fresh(known: &mut u64, offset: u64, text: &str) -> String {
    let skip = usize::try_from(known.saturating_sub(offset)).unwrap_or(usize::MAX);
    let content: String = text.chars().skip(skip).collect();
    *known = (*known).max(offset + text.chars().count() as u64);
    content
}
