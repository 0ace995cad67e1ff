//! A session's state: the fold of its log. `apply` is pure and total; two folds of one log are equal.

use std::{collections::BTreeMap, sync::Arc};

use moongate_protocol::{
    AgentSnapshot, Envelope, Event, InputId, Overlap, Overrides, Position, Principal, SessionView, ToolSpec,
    TurnId, UsageRecorded, UsageTotal,
};

use super::{
    approvals::{Approvals, Asked},
    transcript::{PendingCall, Transcript},
};
use crate::{Spent, Summary, spend::SoFar};

/// The turn that runs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct OpenTurn {
    pub(crate) id: TurnId,
    pub(crate) attempt: u32,
    pub(crate) agent: AgentSnapshot,
    /// What its inputs change about the agent.
    pub(crate) overrides: Overrides,
    /// Tools the client runs.
    pub(crate) client_tools: Arc<[ToolSpec]>,
    /// Who set it off: whose share of running turns it counts against.
    pub(crate) author: Principal,
    pub(crate) usage: UsageTotal,
    pub(crate) spent: Spent,
    /// Answers and summaries so far; a provider need not count tokens for a call to count.
    pub(crate) model_calls: u64,
    /// Nothing of it runs, and nothing can before a person decides; or somebody decided, and nothing ran since.
    pub(crate) parked: bool,
}

/// What a waiting input carries besides its words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WaitingInput {
    pub(crate) author: Principal,
    pub(crate) overlap: Overlap,
    pub(crate) overrides: Overrides,
    pub(crate) client_tools: Arc<[ToolSpec]>,
}

/// Everything an actor knows of its session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) summary: Summary,
    pub(crate) transcript: Transcript,
    pub(crate) approvals: Approvals,
    pub(crate) turn: Option<OpenTurn>,
    pub(crate) waiting: BTreeMap<InputId, WaitingInput>,
    /// Tokens of the last model call's prompt and answer: how full the model's window is.
    pub(crate) window_used: u64,
    /// What all its turns have spent.
    pub(crate) spent: Spent,
}

impl State {
    /// The state after a log's first event; `None` unless that is `session.created`.
    pub(crate) fn begin(first: &Envelope) -> Option<Self> {
        let summary = Summary::begin(first)?;
        Some(Self {
            summary,
            transcript: Transcript::default(),
            approvals: Approvals::default(),
            turn: None,
            waiting: BTreeMap::new(),
            window_used: 0,
            spent: Spent::default(),
        })
    }

    /// Takes the next event in.
    pub(crate) fn apply(&mut self, envelope: &Envelope) {
        self.transcript.apply(envelope);
        self.approvals.apply(&envelope.event);
        match &envelope.event {
            Event::InputAccepted(input) => {
                let waiting = WaitingInput {
                    author: input.author.clone(),
                    overlap: input.overlap,
                    overrides: input.overrides.clone(),
                    client_tools: input.client_tools.as_slice().into(),
                };
                self.waiting.insert(input.input, waiting);
            }
            Event::InputWithdrawn(withdrawn) => {
                self.waiting.remove(&withdrawn.input);
            }
            Event::TurnStarted(started) => {
                let taken: Vec<_> = started.inputs.iter().filter_map(|id| self.waiting.remove(id)).collect();
                let author = taken.first().map_or_else(|| self.view().owner.clone(), |w| w.author.clone());
                let (overrides, client_tools) =
                    taken.into_iter().next_back().map(|w| (w.overrides, w.client_tools)).unwrap_or_default();
                self.turn = Some(OpenTurn {
                    id: started.turn,
                    attempt: started.attempt,
                    agent: started.agent.clone(),
                    overrides,
                    client_tools,
                    author,
                    usage: UsageTotal::default(),
                    spent: Spent::default(),
                    model_calls: 0,
                    parked: false,
                });
            }
            Event::TurnResumed(resumed) => {
                if let Some(turn) = &mut self.turn {
                    turn.attempt = resumed.attempt;
                }
            }
            Event::MessageCompleted(message) => match (message.input, &mut self.turn) {
                (Some(input), _) => {
                    self.waiting.remove(&input);
                }
                (None, Some(turn)) => turn.model_calls += 1,
                (None, None) => {}
            },
            Event::UsageRecorded(usage) => self.account(usage),
            Event::ContextCompacted(_) => {
                self.window_used = 0;
                if let Some(turn) = &mut self.turn {
                    turn.model_calls += 1;
                }
            }
            Event::SessionForked(_) => {
                self.turn = None;
                self.waiting.clear();
                self.spent = Spent::default();
            }
            event if event.ends_turn().is_some() => self.turn = None,
            _ => {}
        }
        self.summary.apply(envelope);
        self.note_rest(&envelope.event);
    }

    /// Accounts for a model call, for the turn and for the session.
    fn account(&mut self, usage: &UsageRecorded) {
        let spent = Spent::call(usage.tokens, usage.cost);
        self.spent.add(spent);
        if let Some(turn) = &mut self.turn {
            turn.usage.add_call(usage.tokens, usage.cost);
            turn.spent.add(spent);
        }
        self.window_used = usage.tokens.input.saturating_add(usage.tokens.output);
    }

    /// Notes whether the turn rests. A decision does not end its rest: what runs then does.
    fn note_rest(&mut self, event: &Event) {
        if event.turn().is_none() || matches!(event, Event::ApprovalResolved(_)) || self.turn.is_none() {
            return;
        }
        let may_rest = matches!(event, Event::ApprovalRequested(_) | Event::ToolFinished(_));
        let rests = may_rest && self.approvals.open().next().is_some() && !self.can_go_on();
        if let Some(turn) = &mut self.turn {
            turn.parked = rests;
        }
    }

    /// The calls of the last message that have no result yet, in the model's order, with what people said of them.
    pub(crate) fn pending_calls(&self) -> Vec<PendingCall> {
        let mut calls = self.transcript.pending_calls();
        for call in &mut calls {
            call.asked = self.approvals.of_call(&call.call);
        }
        calls
    }

    /// Whether a call without a result waits for anything but a person, or the client that runs it.
    pub(crate) fn can_go_on(&self) -> bool {
        let clients = self.turn.as_ref().map(|turn| Arc::clone(&turn.client_tools)).unwrap_or_default();
        let is_clients = |call: &PendingCall| clients.iter().any(|tool| tool.name.as_str() == call.tool);
        self.pending_calls().iter().any(|call| call.asked != Some(Asked::Open) && !is_clients(call))
    }

    /// What the open turn and the session have spent. A call whose provider counts no tokens is one all the same.
    pub(crate) fn spent(&self) -> SoFar {
        let turn = self.turn.as_ref().map_or_else(Spent::default, |turn| Spent {
            calls: turn.spent.calls.max(turn.model_calls),
            ..turn.spent
        });
        SoFar { turn, session: self.spent }
    }

    /// What clients are shown.
    pub(crate) fn view(&self) -> &SessionView {
        self.summary.view()
    }

    /// The last event.
    pub(crate) fn head(&self) -> Position {
        self.view().head
    }

    /// The inputs that wait, first to run first.
    pub(crate) fn queue(&self) -> impl Iterator<Item = InputId> {
        self.view().queue.iter().map(|queued| queued.input)
    }

    /// The waiting inputs that join a running turn at its next model call.
    pub(crate) fn steering(&self) -> Vec<InputId> {
        let steers = |input: &InputId| self.waiting.get(input).is_some_and(|w| w.overlap == Overlap::Steer);
        self.queue().filter(steers).collect()
    }
}
