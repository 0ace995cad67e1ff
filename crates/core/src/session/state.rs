//! A session's state: the fold of its log. `apply` is pure and total; two folds of one log are equal.

use std::{collections::BTreeMap, sync::Arc};

use moongate_protocol::{
    AgentName, AgentSnapshot, Envelope, Event, InputId, Overlap, Overrides, PolicyPreset, Position,
    Principal, SessionView, Terms, Timestamp, ToolSpec, TurnId, TurnStarted, UsageRecorded, UsageTotal,
};

use super::{
    approvals::Approvals,
    delegations::Delegations,
    questions::Questions,
    transcript::{PendingCall, Transcript},
};
use crate::{
    Agent, Spent, Summary,
    spend::{Raised, SoFar},
};

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
    /// The only agents they may use; any when empty.
    pub(crate) agents: Vec<AgentName>,
    pub(crate) usage: UsageTotal,
    pub(crate) spent: Spent,
    /// What others spent on its behalf.
    pub(crate) handed_on: Spent,
    /// Answers and summaries so far; a provider need not count tokens for a call to count.
    pub(crate) model_calls: u64,
    /// Nothing of it runs, and nothing can before a person decides or another agent is done; or somebody decided,
    /// and nothing ran since.
    pub(crate) parked: bool,
}

impl OpenTurn {
    fn begin(started: &TurnStarted, inputs: Vec<WaitingInput>, owner: &Principal) -> Self {
        let author = inputs.first().map_or_else(|| owner.clone(), |input| input.author.clone());
        let agents = inputs.first().map(|input| input.agents.clone()).unwrap_or_default();
        let last = inputs.into_iter().next_back();
        let (overrides, client_tools) =
            last.map(|input| (input.overrides, input.client_tools)).unwrap_or_default();
        Self {
            id: started.turn,
            attempt: started.attempt,
            agent: started.agent.clone(),
            overrides,
            client_tools,
            author,
            agents,
            usage: UsageTotal::default(),
            spent: Spent::default(),
            handed_on: Spent::default(),
            model_calls: 0,
            parked: false,
        }
    }
}

/// What a waiting input carries besides its words.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct WaitingInput {
    pub(crate) author: Principal,
    pub(crate) overlap: Overlap,
    pub(crate) overrides: Overrides,
    pub(crate) client_tools: Arc<[ToolSpec]>,
    pub(crate) agents: Vec<AgentName>,
}

/// Everything an actor knows of its session.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct State {
    pub(crate) summary: Summary,
    pub(crate) transcript: Transcript,
    pub(crate) approvals: Approvals,
    pub(crate) questions: Questions,
    pub(crate) delegations: Delegations,
    /// What it may do at most, where another session delegated to it.
    pub(crate) terms: Option<Terms>,
    pub(crate) turn: Option<OpenTurn>,
    pub(crate) waiting: BTreeMap<InputId, WaitingInput>,
    /// Tokens of the last model call's prompt and answer: how full the model's window is.
    pub(crate) window_used: u64,
    /// What all its turns have spent.
    pub(crate) spent: Spent,
    /// What people let be spent besides.
    pub(crate) raised: Raised,
}

impl State {
    /// The state after a log's first event; `None` unless that is `session.created`.
    pub(crate) fn begin(first: &Envelope) -> Option<Self> {
        let summary = Summary::begin(first)?;
        let Event::SessionCreated(created) = &first.event else { return None };
        Some(Self {
            summary,
            transcript: Transcript::default(),
            approvals: Approvals::default(),
            questions: Questions::default(),
            delegations: Delegations::default(),
            terms: created.terms.clone(),
            turn: None,
            waiting: BTreeMap::new(),
            window_used: 0,
            spent: Spent::default(),
            raised: Raised::default(),
        })
    }

    /// Takes the next event in.
    pub(crate) fn apply(&mut self, envelope: &Envelope) {
        self.transcript.apply(envelope);
        self.approvals.apply(&envelope.event);
        if let Event::QuestionAnswered(answered) = &envelope.event
            && let Some(scope) = self.questions.limit_of(answered.question)
        {
            self.raised.take(scope, &answered.answers);
        }
        self.questions.apply(&envelope.event);
        self.delegations.apply(&envelope.event);
        match &envelope.event {
            Event::InputAccepted(input) => {
                let waiting = WaitingInput {
                    author: input.author.clone(),
                    overlap: input.overlap,
                    overrides: input.overrides.clone(),
                    client_tools: input.client_tools.as_slice().into(),
                    agents: input.agents.clone(),
                };
                self.waiting.insert(input.input, waiting);
            }
            Event::InputWithdrawn(withdrawn) => {
                self.waiting.remove(&withdrawn.input);
            }
            Event::TurnStarted(started) => {
                self.raised.begin_turn();
                let taken = started.inputs.iter().filter_map(|id| self.waiting.remove(id)).collect();
                self.turn = Some(OpenTurn::begin(started, taken, &self.view().owner));
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
            Event::DelegationFinished(finished) => {
                let spent = Spent::total(finished.usage);
                self.spent.add(spent);
                if let Some(turn) = &mut self.turn {
                    turn.handed_on.add(spent);
                }
            }
            Event::ContextCompacted(_) => {
                self.window_used = 0;
                if let Some(turn) = &mut self.turn {
                    turn.model_calls += 1;
                }
            }
            Event::SessionForked(_) => {
                self.turn = None;
                self.waiting.clear();
                (self.spent, self.raised) = (Spent::default(), Raised::default());
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
        let may_rest = matches!(
            event,
            Event::ApprovalRequested(_)
                | Event::QuestionAsked(_)
                | Event::DelegationStarted(_)
                | Event::ToolFinished(_)
        );
        let rests = may_rest && self.rests();
        if let Some(turn) = &mut self.turn {
            turn.parked = rests;
        }
    }

    /// The calls of the last message that have no result yet, in the model's order, with what people said of them.
    pub(crate) fn pending_calls(&self) -> Vec<PendingCall> {
        let mut calls = self.transcript.pending_calls();
        for call in &mut calls {
            call.asked = self.approvals.of_call(&call.call);
            let asks = self.questions.open().any(|asked| asked.call.as_ref() == Some(&call.call));
            call.handed_on = asks || self.delegations.awaits(&call.call);
        }
        calls
    }

    /// Whether a person, or another agent, is waited for.
    pub(crate) fn waits(&self) -> bool {
        self.approvals.open().next().is_some()
            || self.questions.open().next().is_some()
            || self.delegations.open().next().is_some()
    }

    /// When silence is the answer to the first thing people are asked.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        let approvals = self.approvals.open().map(|request| request.expires_at);
        approvals.chain(self.questions.open().map(|asked| asked.expires_at)).min()
    }

    /// Whether nothing can be done before one of them answers.
    pub(crate) fn rests(&self) -> bool {
        self.waits() && !self.can_go_on()
    }

    /// Whether a call without a result waits for nobody: neither a person nor another agent, nor the client that
    /// runs it.
    pub(crate) fn can_go_on(&self) -> bool {
        let clients = self.turn.as_ref().map(|turn| Arc::clone(&turn.client_tools)).unwrap_or_default();
        let is_clients = |call: &PendingCall| clients.iter().any(|tool| tool.name.as_str() == call.tool);
        self.pending_calls().iter().any(|call| !call.waits() && !is_clients(call))
    }

    /// What the open turn and the session have spent. A call whose provider counts no tokens is one all the same.
    pub(crate) fn spent(&self) -> SoFar {
        let mut spent = Spent::default();
        if let Some(turn) = &self.turn {
            spent = Spent { calls: turn.spent.calls.max(turn.model_calls), ..turn.spent };
            spent.add(turn.handed_on);
        }
        SoFar { turn: spent, session: self.spent, raised: self.raised }
    }

    /// The rules an agent's turn here is under: the session's or its own, and never laxer than its terms.
    pub(crate) fn policy(&self, agent: &Agent) -> PolicyPreset {
        let own = self.view().rules.policy.unwrap_or(agent.policy);
        self.terms.as_ref().map_or(own, |terms| own.min(terms.policy))
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
