//! A turn that waits for a person, or for another agent: no task, no share of the running turns, only the log and a time when silence
//! becomes a no.

use moongate_protocol::{
    ApprovalRequested, CallId, Decision, Event, Ground, Notice, Principal, Requirement, Resolve,
    ToolFinished, ToolOutcome, TurnId, WaitingOn,
};

use super::{
    actor::{Actor, Done, Stop, refusal_for},
    approvals::{expired, voided},
    task::Canceller,
};
use crate::{
    Refusal, ToolResult,
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

    /// Writes a no for every question nobody answered in time.
    pub(super) async fn expire(&mut self) -> Result<(), Stop> {
        let now = self.shared.ids.now();
        let due = self.log.state.approvals.open().filter(|request| request.expires_at <= now);
        let due: Vec<Event> = due.map(expired).collect();
        if due.is_empty() {
            self.mind_expiry();
            return Ok(());
        }
        self.log.write(due).await?;
        self.go_on_decided();
        Ok(())
    }

    /// Something was decided: the turn goes on with it, in the task it has or in a new one.
    pub(super) fn go_on_decided(&mut self) {
        self.mind_expiry();
        match &self.running {
            Some(running) => running.decided.notify_one(),
            // What was decided is on disk; the next start goes on with it.
            None if self.shared.shutdown.draining.is_cancelled() => {}
            None => self.begin_turn(),
        }
    }

    /// Ends a turn that has no task.
    pub(super) async fn stop_parked(&mut self, by: Canceller) -> Result<Option<(TurnId, Vec<String>)>, Stop> {
        let Some(turn) = self.log.state.turn.as_ref().map(|turn| turn.id) else { return Ok(None) };
        let state = &self.log.state;
        let asked = state.approvals.open().map(|request| &request.call);
        let handed_on = state.delegations.open().map(|started| &started.call);
        let stopped: Vec<String> = asked.chain(handed_on).map(ToString::to_string).collect();
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

    /// The answer to a decision on what was decided before.
    pub(super) async fn decided_before(&self, resolve: &Resolve) -> Option<Result<Done, Refusal>> {
        if self.log.state.approvals.open().any(|request| request.approval == resolve.approval) {
            return None;
        }
        let identity = self.slot.identity();
        match self.slot.store().approval(&identity.tenant, resolve.approval).await {
            Ok(Some(row)) if row.session == self.slot.id() => {
                Some(Ok(Done { already: true, ..self.done(None) }))
            }
            Ok(_) => None,
            Err(error) => Some(Err(refusal_for(&error))),
        }
    }

    /// Says when the session has to be looked at again.
    pub(super) fn mind_expiry(&self) {
        self.shared.expiries.set(self.slot.id(), self.log.state.approvals.next_expiry());
    }

    fn show_rest(&self) {
        let Some(turn) = self.log.state.turn.as_ref().map(|turn| turn.id) else { return };
        let (session, since) = (self.slot.id(), self.shared.ids.now());
        let asked = self.log.state.approvals.open().next().is_some();
        let on = if asked { WaitingOn::Approval } else { WaitingOn::Tool };
        self.slot.feed().notify(Notice::Waiting { session, turn, on, since });
    }
}
