//! The turn that runs, as its session's actor sees it: begun, heard, ended.

use std::sync::Arc;

use moongate_protocol::{
    CancelReason, ErrorCode, Event, ItemId, MessageCompleted, Notice, Role, StopReason, TurnCancelled,
    TurnCompleted, TurnFailed, TurnId, UsageTotal, WaitingOn,
};
use tokio::sync::{Notify, mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::{
    actor::{Actor, Done, Stop},
    approvals::gateway as gateway_principal,
    decide::start_next,
    state::OpenTurn,
    task::{Canceller, Running, refuse_waiters},
    transcript::calls_in,
};
use crate::{
    Fault,
    gateway::TurnPermit,
    turn::{Report, Setting, Then, Turn, Verdict, Work, compactable},
};

/// Reports that wait for the actor: a turn and its parallel calls have at most this many under way.
const REPORTS: usize = 16;

fn asks_for_tools(event: &Event) -> bool {
    match event {
        Event::MessageCompleted(message) => calls_in(&message.parts).next().is_some(),
        _ => false,
    }
}

/// A turn's total with the model calls among its last facts.
fn with_calls(mut usage: UsageTotal, events: &[Event]) -> UsageTotal {
    for event in events {
        if let Event::UsageRecorded(recorded) = event {
            usage.add_call(recorded.tokens, recorded.cost);
        }
    }
    usage
}

impl Actor {
    /// Starts the task of the turn the state is in; its facts are on disk.
    pub(super) fn begin_turn(&mut self) {
        let committed = self.begin_turn_early();
        // A turn that is gone already says so in its own way.
        let _gone = committed.send(());
    }

    /// Starts the task of the turn the state is in; it shows nothing until the sender fires.
    pub(super) fn begin_turn_early(&mut self) -> oneshot::Sender<()> {
        let (committed, gate) = oneshot::channel();
        let Some(open) = self.log.state.turn.clone() else { return committed };
        let (reports, receiver) = mpsc::channel(REPORTS);
        let cancel = CancellationToken::new();
        let work = self.work();
        let decided = Arc::new(Notify::new());
        let turn = self.turn(&open, cancel.clone(), Arc::clone(&decided), reports);
        // A recovered turn waits for its share of running turns; a submitted one has it already.
        let capacity = self.permit.is_none().then(|| self.capacity(&open, cancel.clone()));
        let task = self.shared.tasks.spawn(async move {
            let _permit = match capacity {
                Some(capacity) => capacity.await,
                None => None,
            };
            turn.run(work, gate).await;
        });
        self.running = Some(Running {
            id: open.id,
            cancel,
            task,
            reports: receiver,
            decided,
            cancelled_by: None,
            waiters: Vec::new(),
            give_up: None,
            share: self.gates.take(),
        });
        committed
    }

    /// Waits for a turn's share of the running turns, or until the turn is told to stop.
    fn capacity(
        &self,
        open: &OpenTurn,
        stopped: CancellationToken,
    ) -> impl Future<Output = Option<TurnPermit>> + use<> {
        let (turns, author, feed) =
            (self.shared.turns.clone(), open.author.clone(), Arc::clone(self.slot.feed()));
        let (session, turn, since) = (self.slot.id(), open.id, self.shared.ids.now());
        async move {
            if let Ok(permit) = turns.try_acquire(&author) {
                return Some(permit);
            }
            feed.notify(Notice::Waiting { session, turn, on: WaitingOn::Capacity, since });
            tokio::select! {
                permit = turns.acquire(&author) => permit,
                () = stopped.cancelled() => None,
            }
        }
    }

    fn turn(
        &self,
        open: &OpenTurn,
        cancel: CancellationToken,
        decided: Arc<Notify>,
        reports: mpsc::Sender<Report>,
    ) -> Turn {
        let catalog = self.shared.catalog();
        let agents = &catalog.agents;
        let agent = agents.get(&open.agent.agent).or_else(|| agents.get(&catalog.default_agent)).cloned();
        let agent = agent.unwrap_or_else(|| {
            Arc::new(crate::Agent::new(open.agent.agent.clone(), open.agent.model.clone()))
        });
        Turn {
            id: open.id,
            session: self.slot.id(),
            tenant: self.slot.identity().tenant.clone(),
            setting: Setting {
                policy: self.log.state.policy(&agent),
                given: self.log.state.terms.as_ref().map(|terms| terms.spend).unwrap_or_default(),
                agent,
                overrides: open.overrides.clone(),
                client_tools: Arc::clone(&open.client_tools),
                namespace: self.slot.identity().namespace.clone(),
                author: open.author.clone(),
                catalog,
            },
            feed: Arc::clone(self.slot.feed()),
            store: Arc::clone(self.slot.store()),
            ids: self.shared.ids.clone(),
            limits: self.shared.limits.get(),
            ledger: Arc::clone(&self.shared.ledger),
            cancel,
            decided,
            reports,
        }
    }

    pub(super) fn work(&mut self) -> Work {
        let transcript = &self.log.state.transcript;
        let turn = self.log.state.turn.as_ref();
        Work {
            prompt: self.prompt.next(transcript),
            pending: self.log.state.pending_calls(),
            blobs: transcript.blobs.clone(),
            calls_made: turn.map_or(0, |turn| turn.model_calls),
            window_used: self.log.state.window_used,
            spent: self.log.state.spent(),
        }
    }

    /// A turn reports facts and asks what to do next.
    pub(super) async fn hear(&mut self, report: Report) -> Result<(), Stop> {
        if self.running.as_ref().is_none_or(|running| running.id != report.turn) {
            return Ok(());
        }
        let stopping = self.running.as_ref().is_some_and(|running| running.cancelled_by.is_some());
        let Report { events, then, reply, .. } = report;
        let verdict = match then {
            Then::Go if stopping && events.iter().any(|event| matches!(event, Event::ToolCalled(_))) => {
                Verdict::Stop
            }
            Then::Go => {
                self.log.write(events).await?;
                Verdict::Go
            }
            Then::CallModel | Then::Called if stopping => {
                self.end_turn(events, Then::Cancelled(Vec::new())).await?;
                Verdict::Ended
            }
            Then::CallModel => self.go_on(events).await?,
            Then::Called => self.rest_or_go_on().await?,
            Then::Ask(_) | Then::Inquire(_) | Then::Delegate(_) | Then::Look | Then::Compact { .. }
                if stopping =>
            {
                Verdict::Stop
            }
            Then::Ask(request) => self.ask(*request).await?,
            Then::Inquire(asked) => self.inquire(*asked, events).await?,
            Then::Delegate(wish) => self.delegate(*wish, events).await?,
            Then::Look => Verdict::Call(self.work()),
            Then::Compact { halvings } => {
                let range = compactable(&self.log.state.transcript, halvings).map(Box::new);
                Verdict::Compact(range, self.log.state.spent())
            }
            Then::Complete(_)
                if !stopping && !self.clients_turn() && !self.log.state.steering().is_empty() =>
            {
                self.go_on(events).await?
            }
            over => {
                self.end_turn(events, over).await?;
                Verdict::Ended
            }
        };
        // A turn that was ended does not listen any more.
        drop(reply.send(verdict));
        Ok(())
    }

    /// Whether calls of the last message are all that is left, and the client's to run.
    fn clients_turn(&self) -> bool {
        !self.log.state.transcript.pending_calls().is_empty()
    }

    /// Writes facts and lets waiting steering inputs join before the next model call. While calls wait to be run
    /// that is not what comes next.
    pub(super) async fn go_on(&mut self, mut events: Vec<Event>) -> Result<Verdict, Stop> {
        let Some(turn) = self.log.state.turn.as_ref().map(|turn| turn.id) else { return Ok(Verdict::Ended) };
        let calls_wait = events.iter().any(asks_for_tools) || self.clients_turn();
        let joining = if calls_wait { Vec::new() } else { self.log.state.steering() };
        for queued in self.log.state.view().queue.iter().filter(|queued| joining.contains(&queued.input)) {
            events.push(Event::MessageCompleted(MessageCompleted {
                turn,
                item: self.shared.ids.make(ItemId::new),
                role: Role::User,
                parts: queued.parts.clone(),
                stop_reason: None,
                input: Some(queued.input),
                partial: false,
            }));
        }
        if !events.is_empty() {
            self.log.write(events).await?;
        }
        if !joining.is_empty() {
            self.log.show_queue();
        }
        Ok(Verdict::Call(self.work()))
    }

    /// Writes a turn's last facts, its end and the next turn's beginning at once, then starts that.
    pub(super) async fn end_turn(&mut self, events: Vec<Event>, over: Then) -> Result<(), Stop> {
        self.end_turn_by(events, over, None).await
    }

    /// The same, with who stopped it where no task was told to.
    pub(super) async fn end_turn_by(
        &mut self,
        mut events: Vec<Event>,
        over: Then,
        by: Option<Canceller>,
    ) -> Result<(), Stop> {
        let mut ended = self.running.take();
        // The next turn may be behind the same gate.
        drop(ended.as_mut().and_then(|ended| ended.share.take()));
        let Some(open) = self.log.state.turn.clone() else { return Ok(()) };
        let usage = with_calls(open.usage, &events);
        let turn = open.id;
        let owner = self.log.state.view().owner.clone();
        let cancelled_by = by.or_else(|| ended.as_mut().and_then(|running| running.cancelled_by.take()));
        let ended_by = cancelled_by.as_ref().map_or_else(gateway_principal, |canceller| canceller.by.clone());
        events.extend(self.call_back(&ended_by).await);
        let unasked = self.unasked(&ended_by, &events);
        events.extend(unasked);
        let stopped = match &over {
            Then::Cancelled(stopped) => Some((turn, stopped.clone())),
            _ => None,
        };
        events.push(match over {
            Then::Complete(stop_reason) => Event::TurnCompleted(TurnCompleted { turn, usage, stop_reason }),
            Then::Fail(fault) => Event::TurnFailed(TurnFailed {
                turn,
                code: fault.code,
                message: fault.message,
                retryable: fault.code.retryable(),
                usage,
            }),
            Then::Cancelled(stopped) => {
                let Canceller { by, reason } = cancelled_by
                    .unwrap_or_else(|| Canceller { by: owner.clone(), reason: CancelReason::Cancel });
                Event::TurnCancelled(TurnCancelled { turn, by, stopped, reason, usage })
            }
            Then::Go
            | Then::Ask(_)
            | Then::Inquire(_)
            | Then::Delegate(_)
            | Then::Look
            | Then::Called
            | Then::CallModel
            | Then::Compact { .. } => return Ok(()),
        });
        let mut draft = self.log.draft(events);
        let goes_on = !self.shared.shutdown.draining.is_cancelled();
        let next = self.log.decide(&owner, start_next).filter(|_| goes_on && self.admits_next());
        if let Some(next) = next {
            self.log.extend(&mut draft, vec![next]);
        }
        let committed = self.log.state.turn.is_some().then(|| self.begin_turn_early());
        if committed.is_none() {
            self.permit = None;
        }
        if let Err(stop) = self.log.commit(draft).await {
            refuse_waiters(ended, &stop);
            return Err(stop);
        }
        if let Some(committed) = committed {
            let _gone = committed.send(());
            self.log.show_queue();
        }
        self.mind_expiry();
        self.answer_waiters(ended, stopped.as_ref());
        Ok(())
    }

    fn answer_waiters(&self, ended: Option<Running>, stopped: Option<&(TurnId, Vec<String>)>) {
        let Some(mut ended) = ended else { return };
        for waiter in ended.waiters.drain(..) {
            let done = Done { stopped: stopped.cloned(), ..self.done(None) };
            // Whoever asked may have gone away.
            drop(waiter.send(Ok(done)));
        }
    }

    /// The turn's task ended without saying how: it panicked.
    pub(super) async fn turn_vanished(&mut self) -> Result<(), Stop> {
        tracing::error!(session.id = %self.slot.id(), "a turn ended without an end");
        let fault = Fault::new(ErrorCode::Internal, "the turn broke off inside the server");
        let shown = self.broken_off(StopReason::Cut);
        self.end_turn(shown, Then::Fail(fault)).await
    }

    /// The turn was told to stop and did not in time.
    pub(super) async fn end_by_force(&mut self) -> Result<(), Stop> {
        tracing::warn!(session.id = %self.slot.id(), "a cancelled turn did not stop by itself");
        let shown = self.broken_off(StopReason::Cancelled);
        self.end_turn(shown, Then::Cancelled(vec!["turn".into()])).await
    }

    /// What the running turn showed of a message it does not complete any more, to be kept.
    fn broken_off(&self, stop_reason: StopReason) -> Vec<Event> {
        let Some(turn) = self.running.as_ref().map(|running| running.id) else { return Vec::new() };
        let (item, parts) = self.slot.feed().cut_off(turn);
        if parts.is_empty() {
            return Vec::new();
        }
        let item = item.unwrap_or_else(|| self.shared.ids.make(ItemId::new));
        let (role, stop_reason) = (Role::Assistant, Some(stop_reason));
        let message = MessageCompleted { turn, item, role, parts, stop_reason, input: None, partial: true };
        vec![Event::MessageCompleted(message)]
    }
}
