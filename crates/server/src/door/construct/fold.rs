//! From a session's events and deltas to what sockets are told: one pure fold, the same live, for a replay
//! and in tests.

use std::sync::Arc;

use moongate_core::{FrameBody, Models};
use moongate_protocol::{
    ApprovalId, ApprovalRequested, ApprovalResolved, Decision, DelegationStarted, Envelope, Event,
    InputAccepted, InputId, Part, StopReason, Timestamp, TurnCancelled, TurnCompleted, TurnFailed, TurnId,
};

use super::{
    agents::{Agents, Said},
    frames::{
        Aborted, ApprovalRequest, ApprovalResolved as Resolved, Done, FinishReason, HistoryTrimmed,
        OperatorStatus, Phase, StateName, UserMessage, Word,
    },
    problems, summary,
    turn::TurnFold,
};

/// Where an input's attachments are named among its labels.
pub(super) const ATTACHMENTS: &str = "attachments";
/// What a stopped turn that had said nothing answers.
const STOPPED: &str = "[stopped]";
/// Who decides when time does.
const GATEWAY: &str = "gateway";
/// Who decides when a rule does.
const POLICY: &str = "policy";

/// Who is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Audience {
    Everyone,
    /// All but the socket that sent this input: that one is told that it was accepted.
    Others(InputId),
    /// The socket that sent this input: it was taken back.
    Withdrawn(InputId),
    /// Sockets that do not know `aborted`.
    WithoutAborted,
    /// Sockets that do not know `approval_request`.
    WithoutApprovals,
}

/// Something sockets are told.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) to: Audience,
    pub(super) seq: Option<u64>,
    pub(super) turn: Option<TurnId>,
    pub(super) word: Word,
}

/// How the last turn ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) turn: TurnId,
    pub(super) seq: u64,
    pub(super) at: Timestamp,
    pub(super) failed: bool,
    /// The frames that end it.
    pub(super) told: Vec<Told>,
}

/// What a session has of things.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Counts {
    /// Events up to this one are counted already.
    pub(super) since: u64,
    /// Rows of the messages route.
    pub(super) rows: u64,
    /// Inputs that wait.
    pub(super) queued: usize,
    pub(super) name: Option<String>,
}

/// A session's log as a socket has been told it, from the beginning of a turn on.
pub(super) struct SessionFold {
    models: Arc<dyn Models>,
    /// The last event.
    seq: u64,
    counts: Counts,
    turn: Option<TurnFold>,
    agents: Agents,
    approvals: Vec<Told>,
    ending: Option<Ending>,
    /// What the next summary stands for.
    trimmed: Option<HistoryTrimmed>,
}

impl SessionFold {
    /// Goes on from these counts; the log may be taken in from any turn's beginning before.
    pub(super) fn new(models: Arc<dyn Models>, counts: Counts) -> Self {
        let (turn, agents, approvals, ending, trimmed) = (None, Agents::default(), Vec::new(), None, None);
        Self { models, seq: 0, counts, turn, agents, approvals, ending, trimmed }
    }

    /// The last event that was taken in.
    pub(super) fn seq(&self) -> u64 {
        self.seq
    }

    pub(super) fn counts(&self) -> &Counts {
        &self.counts
    }

    /// What the summary that comes next stands for.
    pub(super) fn trims(&mut self, trimmed: HistoryTrimmed) {
        self.trimmed = Some(trimmed);
    }

    /// The turn that runs.
    pub(super) fn turn(&self) -> Option<&TurnFold> {
        self.turn.as_ref()
    }

    /// What it handed to other agents that are not done.
    pub(super) fn delegated(&self) -> impl Iterator<Item = &DelegationStarted> {
        self.turn.iter().flat_map(TurnFold::delegated)
    }

    /// How the last turn ended, when none runs.
    pub(super) fn ending(&self) -> Option<&Ending> {
        self.ending.as_ref().filter(|_| self.turn.is_none())
    }

    pub(super) fn state(&self) -> StateName {
        match (&self.turn, &self.ending) {
            (Some(_), _) => StateName::Running,
            (None, Some(ending)) if ending.failed => StateName::Error,
            (None, _) => StateName::Idle,
        }
    }

    /// Inputs that run or wait.
    pub(super) fn depth(&self) -> usize {
        self.counts.queued + usize::from(self.turn.is_some())
    }

    /// What a socket that comes while a turn runs is told of it.
    pub(super) fn snapshot(&self) -> Vec<Told> {
        let Some(turn) = &self.turn else { return Vec::new() };
        let to = Audience::Everyone;
        let words = turn.snapshot(self.seq).into_iter();
        let told = words.map(|word| Told { to, seq: None, turn: Some(turn.id), word });
        told.chain(self.approvals.iter().cloned()).collect()
    }

    /// The tool an open approval is about.
    pub(super) fn tool_of(&self, approval: ApprovalId) -> Option<String> {
        self.approvals.iter().find_map(|told| match &told.word {
            Word::ApprovalRequest(request) if request.request_id == approval => Some(request.tool.clone()),
            _ => None,
        })
    }

    /// Takes what a follower is handed; appends what sockets are told of it.
    pub(super) fn take(&mut self, body: &FrameBody, out: &mut Vec<Told>) {
        match body {
            FrameBody::Event(record) => {
                if let Ok(envelope) = record.envelope() {
                    self.event(envelope, out);
                }
            }
            FrameBody::Delta(delta) => {
                let Some(turn) = self.turn.as_mut().filter(|turn| turn.id == delta.turn) else { return };
                if let Some(word) = turn.delta(delta) {
                    out.push(Told { to: Audience::Everyone, seq: None, turn: Some(delta.turn), word });
                }
            }
            FrameBody::Notice(_) | FrameBody::Reset(_) => {}
        }
    }

    fn event(&mut self, envelope: &Envelope, out: &mut Vec<Told>) {
        self.seq = envelope.seq.0;
        self.counts.take(envelope);
        let (seq, turn) = (Some(envelope.seq.0), envelope.event.turn());
        let mut tell = |to, word| out.push(Told { to, seq, turn, word });
        match &envelope.event {
            Event::InputAccepted(input) => {
                tell(Audience::Others(input.input), Word::UserMessage(user_message(input)));
            }
            Event::InputWithdrawn(gone) => {
                let problem = problems::plain("SESSION_BUSY", "");
                tell(Audience::Withdrawn(gone.input), Word::Error(Box::new(problem)));
            }
            Event::SessionUpdated(updated) => {
                if let Some(name) = updated.title.clone() {
                    tell(Audience::Everyone, Word::SessionRenamed { name });
                }
            }
            Event::SessionDeleted(_) => tell(Audience::Everyone, Word::SessionDeleted),
            Event::SessionForked(_) => self.turn = None,
            Event::TurnStarted(started) => {
                let turn = TurnFold::begin(started, envelope.at);
                tell(Audience::Everyone, turn.start_word());
                (self.turn, self.ending) = (Some(turn), None);
            }
            event => self.in_turn(event, envelope, out),
        }
    }

    fn in_turn(&mut self, event: &Event, envelope: &Envelope, out: &mut Vec<Told>) {
        let Some(turn) = self.turn.as_mut().filter(|turn| event.turn() == Some(turn.id)) else { return };
        let (seq, id) = (envelope.seq.0, turn.id);
        let mut words = Vec::new();
        words.extend(self.agents.take(envelope, None).into_iter().map(Said::word));
        turn.event(event, &mut words);
        let told = |to, word| Told { to, seq: Some(seq), turn: Some(id), word };
        out.extend(words.drain(..).map(|word| told(Audience::Everyone, word)));
        match event {
            Event::ApprovalRequested(asked) => {
                turn.asked(asked, &mut words);
                out.extend(words.into_iter().map(|word| told(Audience::Everyone, word)));
                let (request, status) = approval(asked, envelope.at);
                let request = [told(Audience::Everyone, request), told(Audience::WithoutApprovals, status)];
                self.approvals.extend(request.iter().cloned());
                out.extend(request);
            }
            Event::ApprovalResolved(resolved) => {
                self.forget_approval(resolved);
                out.push(told(Audience::Everyone, Word::ApprovalResolved(decided(resolved))));
            }
            Event::ContextCompacted(_) => {
                let trimmed = self.trimmed.take().map(Word::HistoryTrimmed);
                out.extend(trimmed.map(|word| told(Audience::Everyone, word)));
            }
            _ => {}
        }
        if event.ends_turn().is_some() {
            self.end(event, envelope, out);
        }
    }

    fn forget_approval(&mut self, resolved: &ApprovalResolved) {
        let id = resolved.approval.to_string();
        self.approvals.retain(|told| match &told.word {
            Word::ApprovalRequest(request) => request.request_id != resolved.approval,
            Word::OperatorStatus(status) => !status.detail.contains(&id),
            _ => false,
        });
    }

    fn end(&mut self, event: &Event, envelope: &Envelope, out: &mut Vec<Told>) {
        let Some(mut turn) = self.turn.take() else { return };
        let (seq, id) = (Some(envelope.seq.0), turn.id);
        let told = |to, word| Told { to, seq, turn: Some(id), word };
        for open in std::mem::take(&mut self.approvals) {
            if let Word::ApprovalRequest(request) = open.word {
                let (request_id, decision, by) = (request.request_id, "deny", "cancelled");
                let resolved = Resolved { request_id, decision, by, late: false };
                out.push(told(Audience::Everyone, Word::ApprovalResolved(resolved)));
            }
        }
        let mut words = Vec::new();
        turn.interrupt(&mut words);
        out.extend(words.into_iter().map(|word| told(Audience::Everyone, word)));
        let (has_row, ending) = match event {
            Event::TurnCompleted(end) => (true, self.completed(&turn, end, envelope)),
            Event::TurnFailed(end) => (turn.has_text(), failed(&turn, end)),
            Event::TurnCancelled(end) => (turn.has_text(), self.cancelled(&turn, end, envelope)),
            _ => return,
        };
        self.counts.end(envelope, has_row);
        let ending: Vec<_> = ending.into_iter().map(|(to, word)| told(to, word)).collect();
        out.extend(ending.iter().cloned());
        self.ending = Some(Ending {
            turn: turn.id,
            seq: envelope.seq.0,
            at: envelope.at,
            failed: matches!(event, Event::TurnFailed(_)),
            told: ending,
        });
    }

    fn completed(&self, turn: &TurnFold, end: &TurnCompleted, envelope: &Envelope) -> Vec<(Audience, Word)> {
        let done = Word::Done(Box::new(Done {
            full_response: turn.answer(),
            finish_reason: finish_reason(end.stop_reason),
            bill: turn.bill(&end.usage, &self.models),
            duration_ms: duration_ms(turn, envelope),
            aborted: false,
        }));
        vec![(Audience::Everyone, Word::ChunkReset), (Audience::Everyone, done)]
    }

    fn cancelled(&self, turn: &TurnFold, end: &TurnCancelled, envelope: &Envelope) -> Vec<(Audience, Word)> {
        let said = turn.all_text();
        let aborted = Word::Aborted(Aborted { reason: end.reason, partial_response: said.clone() });
        let done = Word::Done(Box::new(Done {
            full_response: if said.is_empty() { STOPPED.to_owned() } else { said },
            finish_reason: FinishReason::Aborted,
            bill: turn.bill(&end.usage, &self.models),
            duration_ms: duration_ms(turn, envelope),
            aborted: true,
        }));
        let old = Audience::WithoutAborted;
        vec![(Audience::Everyone, aborted), (old, Word::ChunkReset), (old, done)]
    }
}

impl Counts {
    fn take(&mut self, envelope: &Envelope) {
        if envelope.seq.0 <= self.since {
            return;
        }
        match &envelope.event {
            Event::InputAccepted(_) => self.queued += 1,
            Event::InputWithdrawn(_) => self.dequeue(1),
            Event::TurnStarted(started) => {
                self.rows += started.inputs.len() as u64;
                self.dequeue(started.inputs.len());
            }
            Event::MessageCompleted(message) if message.input.is_some() => {
                self.rows += 1;
                self.dequeue(1);
            }
            Event::SessionUpdated(updated) if updated.title.is_some() => self.name.clone_from(&updated.title),
            _ => {}
        }
    }

    fn dequeue(&mut self, count: usize) {
        self.queued = self.queued.saturating_sub(count);
    }

    fn end(&mut self, envelope: &Envelope, has_row: bool) {
        self.rows += u64::from(has_row && envelope.seq.0 > self.since);
    }
}

fn failed(turn: &TurnFold, end: &TurnFailed) -> Vec<(Audience, Word)> {
    let problem = problems::turn_failed(end.code, turn.has_text());
    vec![(Audience::Everyone, Word::Error(Box::new(problem)))]
}

fn duration_ms(turn: &TurnFold, envelope: &Envelope) -> u64 {
    u64::try_from(envelope.at.since(turn.began).as_millis()).unwrap_or(u64::MAX)
}

fn finish_reason(reason: StopReason) -> FinishReason {
    match reason {
        StopReason::MaxTokens => FinishReason::Length,
        StopReason::Refusal => FinishReason::ContentFilter,
        StopReason::Cancelled => FinishReason::Aborted,
        StopReason::EndTurn | StopReason::ToolUse | StopReason::StopSequence | StopReason::Cut => {
            FinishReason::Stop
        }
    }
}

fn user_message(input: &InputAccepted) -> UserMessage {
    UserMessage {
        input_id: input.input,
        content: Part::join_text(&input.parts),
        attachments: attachments(&input.metadata),
    }
}

/// The attachments an input names.
pub(super) fn attachments(metadata: &moongate_protocol::Metadata) -> Vec<String> {
    let named = metadata.get(ATTACHMENTS).map(String::as_str).unwrap_or_default();
    named.split(',').filter(|id| !id.is_empty()).map(str::to_owned).collect()
}

/// A question as it is told: to those who know such frames, and to all others.
pub(super) fn approval(asked: &ApprovalRequested, at: Timestamp) -> (Word, Word) {
    let (id, tool, summary) = (asked.approval, &asked.tool, summary::of(&asked.arguments));
    let detail = format!("Approval needed for {tool}: {summary}. Reply /approve {id} or /deny {id}");
    let request = ApprovalRequest {
        request_id: id,
        tool: tool.to_string(),
        arguments_summary: summary,
        timeout_secs: asked.expires_at.since(at).as_secs(),
        tool_call_id: asked.call.to_string(),
        arguments: asked.arguments.clone(),
        expires_at: asked.expires_at,
    };
    let status = OperatorStatus { phase: Phase::Blocked, detail, agent_id: None };
    (Word::ApprovalRequest(Box::new(request)), Word::OperatorStatus(status))
}

/// A decision as it is told.
pub(super) fn decided(resolved: &ApprovalResolved) -> Resolved {
    let decision = match (resolved.decision, &resolved.remember) {
        (Decision::Approve, Some(_)) => "always",
        (Decision::Approve, None) => "approve",
        (Decision::Deny, _) => "deny",
    };
    let by = match resolved.by.as_str() {
        GATEWAY => "timeout",
        POLICY => "policy",
        _ => "user",
    };
    Resolved { request_id: resolved.approval, decision, by, late: false }
}
