//! A turn that waits for a person, or for another agent: no task, no share of the running turns, only the log and a time when silence
//! becomes a no.

use moongate_protocol::{
    ApprovalId, ApprovalRequested, CallId, Command, Decision, Event, Ground, Notice, Principal,
    QuestionAsked, QuestionId, Requirement, ToolFinished, ToolOutcome, TurnId, WaitingOn,
};

use super::{
    actor::{Actor, Done, Stop, refusal_for},
    approvals::{expired, voided},
    questions,
    task::Canceller,
};
use crate::{
    Refusal, ToolResult,
    asks::Ask,
    turn::{Then, Verdict},
};

/// What the model is told of a call whose turn was stopped before it ran.
pub(crate) const NOT_STARTED: &str = "The turn was stopped before.";

impl Actor {
    /// A call needs a person's word: unless somebody gave it before, they are asked.
    pub(super) async fn ask(&mut self, request: ApprovalRequested) -> Result<Verdict, Stop> {
        let state = &self.log.state;
        if let Some(rule) = state.approvals.remembered(&request) {
            return Ok(match rule.decision {
                Decision::Approve => Verdict::Run(Ground::Rule { rule: rule.text.clone() }),
                Decision::Deny => Verdict::Denied,
            });
        }
        if state.view().rules.auto_approve && request.requirement != Requirement::Always {
            return Ok(Verdict::Run(Ground::AutoApproval));
        }
        self.log.write(vec![Event::ApprovalRequested(request)]).await?;
        self.mind_expiry();
        self.show_rest();
        Ok(Verdict::Asked)
    }

    /// A call is a question to people, or the turn has one.
    pub(super) async fn inquire(
        &mut self,
        asked: QuestionAsked,
        mut events: Vec<Event>,
    ) -> Result<Verdict, Stop> {
        let is_turns = asked.call.is_none();
        events.push(Event::QuestionAsked(asked));
        self.log.write(events).await?;
        self.mind_expiry();
        self.show_rest();
        if is_turns {
            // It has nothing to do before there is an answer.
            (self.running, self.permit) = (None, None);
            return Ok(Verdict::Ended);
        }
        Ok(Verdict::Asked)
    }

    /// The turn ran all calls that may run: it goes on if there is a result for each, and else rests until a person
    /// decides or another agent is done. Somebody may have decided while it said so.
    pub(super) async fn rest_or_go_on(&mut self) -> Result<Verdict, Stop> {
        if !self.log.state.waits() {
            return self.go_on(Vec::new()).await;
        }
        if self.log.state.can_go_on() {
            return Ok(Verdict::Call(self.work()));
        }
        self.running = None;
        self.permit = None;
        self.show_rest();
        Ok(Verdict::Ended)
    }

    /// Takes up a turn that rested when its actor ended: it still does, unless somebody decided and it did not go
    /// on. That is no attempt: nothing of it was running.
    pub(super) async fn rest_on(&mut self) -> Result<(), Stop> {
        self.show_rest();
        if self.log.state.can_go_on() {
            self.go_on_decided();
        }
        self.expire().await
    }

    /// Writes a no to every call nobody decided on in time, and an end to every question nobody answered.
    pub(super) async fn expire(&mut self) -> Result<(), Stop> {
        let now = self.shared.ids.now();
        let due = self.log.state.approvals.open().filter(|request| request.expires_at <= now);
        let mut due: Vec<Event> = due.map(expired).collect();
        due.extend(questions::expired(&self.log.state, now));
        if due.is_empty() {
            self.mind_expiry();
            return Ok(());
        }
        self.log.write(due).await?;
        self.go_on_decided();
        Ok(())
    }

    /// Something was decided: the turn goes on with it, in the task it has or in a new one, unless others hold it
    /// up.
    pub(super) fn go_on_decided(&mut self) {
        self.mind_expiry();
        match &self.running {
            Some(running) => running.decided.notify_one(),
            // What was decided is on disk; the next start goes on with it.
            None if self.shared.shutdown.draining.is_cancelled() || self.log.state.rests() => {}
            None => self.begin_turn(),
        }
    }

    /// Ends a turn that has no task.
    pub(super) async fn stop_parked(&mut self, by: Canceller) -> Result<Option<(TurnId, Vec<String>)>, Stop> {
        let Some(turn) = self.log.state.turn.as_ref().map(|turn| turn.id) else { return Ok(None) };
        let state = &self.log.state;
        let asked = state.approvals.open().map(|request| &request.call);
        let questions = state.questions.open().filter_map(|asked| asked.call.as_ref());
        let handed_on = state.delegations.open().map(|started| &started.call);
        let stopped: Vec<String> = asked.chain(questions).chain(handed_on).map(ToString::to_string).collect();
        self.end_turn_by(Vec::new(), Then::Cancelled(stopped.clone()), Some(by)).await?;
        Ok(Some((turn, stopped)))
    }

    /// What is written about calls that wait for a person when their turn ends: a no, and a result.
    pub(super) fn unasked(&self, by: &Principal, events: &[Event]) -> Vec<Event> {
        let state = &self.log.state;
        let Some(turn) = state.turn.as_ref().map(|turn| turn.id) else { return Vec::new() };
        let ended = |call: &CallId| {
            events
                .iter()
                .any(|event| matches!(event, Event::ToolFinished(finished) if finished.call == *call))
        };
        let mut unasked = voided(&state.approvals, by);
        unasked.extend(questions::voided(state, by, self.shared.ids.now()));
        let calls = state.pending_calls().into_iter();
        let left = calls.filter(|call| call.asked.is_some() && call.started.is_none() && !ended(&call.call));
        unasked.extend(left.map(|call| {
            let told = ToolResult::ended(ToolOutcome::Cancelled, NOT_STARTED);
            Event::ToolFinished(ToolFinished {
                turn,
                item: call.item,
                call: call.call,
                outcome: told.outcome,
                content: told.content,
                data: None,
                truncated: false,
                output: None,
                duration_ms: 0,
            })
        }));
        unasked
    }

    /// The answer to a decision on what was decided before, and to an answer to what was answered before.
    pub(super) async fn decided_before(&self, command: &Command) -> Option<Result<Done, Refusal>> {
        let state = &self.log.state;
        match command {
            Command::Resolve(resolve) => {
                let is_open = |id: ApprovalId| state.approvals.open().any(|request| request.approval == id);
                self.closed_before(resolve.approval, is_open).await
            }
            Command::Answer(answer) => {
                let is_open = |id: QuestionId| state.questions.open().any(|asked| asked.question == id);
                self.closed_before(answer.question, is_open).await
            }
            _ => None,
        }
    }

    async fn closed_before<A: Ask>(
        &self,
        id: A,
        is_open: impl Fn(A) -> bool,
    ) -> Option<Result<Done, Refusal>> {
        if is_open(id) {
            return None;
        }
        match id.row(&**self.slot.store(), &self.slot.identity().tenant).await {
            Ok(Some(row)) if row.session == self.slot.id() => {
                Some(Ok(Done { already: true, ..self.done(None) }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(refusal_for(&error))),
        }
    }

    /// Says when the session has to be looked at again.
    pub(super) fn mind_expiry(&self) {
        self.shared.expiries.set(self.slot.id(), self.log.state.next_expiry());
    }

    fn show_rest(&self) {
        let Some(turn) = self.log.state.turn.as_ref().map(|turn| turn.id) else { return };
        let (session, since) = (self.slot.id(), self.shared.ids.now());
        let state = &self.log.state;
        let on = if state.approvals.open().next().is_some() {
            WaitingOn::Approval
        } else if state.questions.open().next().is_some() {
            WaitingOn::Question
        } else {
            WaitingOn::Tool
        };
        self.slot.feed().notify(Notice::Waiting { session, turn, on, since });
    }
}
