//! The actor: the one writer of a session's log. It decides (pure), appends (durable), applies (pure) and
//! publishes, in this order for everybody who watches; for itself it applies while the append is under way,
//! so that a turn can start at once. When an append fails it ends, and its state with it.

use std::{sync::Arc, time::Duration};

use moongate_protocol::{
    Command as SessionCommand, Envelope, ErrorCode, Event, InputId, ItemId, MessageCompleted, Notice,
    Position, Principal, Role, SessionView, StopReason, TurnCancelled, TurnCompleted, TurnFailed, TurnId,
    TurnResumed,
};
use tokio::{
    sync::{mpsc, oneshot},
    task::JoinHandle,
    time::Instant,
};
use tokio_util::sync::CancellationToken;

use super::{
    Slot,
    decide::{Context, Decision, TurnChange, decide, start_next},
    load::load,
    state::{OpenTurn, State},
};
use crate::{
    Append, Fault, IdempotencyRow, Record, Refusal, SessionRow, StoreError,
    gateway::{Shared, TurnPermit},
    limits::{CANCEL_GRACE, TURN_ATTEMPTS},
    turn::{Report, Then, Turn, Verdict, Work, compactable, prompt},
};

/// Reports that wait for the actor: a turn and its parallel calls have at most this many under way.
const REPORTS: usize = 16;

/// A caller's command, and where the answer goes.
pub(crate) struct Command {
    pub(crate) by: Principal,
    pub(crate) command: SessionCommand,
    pub(crate) reply: oneshot::Sender<Result<Done, Refusal>>,
}

/// What a session's actor can be told from outside.
pub(crate) enum Message {
    Command(Box<Command>),
    /// Nothing: its arrival started the actor, which finishes what a restart interrupted.
    Wake,
}

/// What a command came to, once it is on disk.
#[derive(Clone, Debug)]
pub(crate) struct Done {
    pub(crate) view: SessionView,
    pub(crate) input: Option<InputId>,
    pub(crate) position: Position,
    /// The turn a cancel stopped, and what was running.
    pub(crate) stopped: Option<(TurnId, Vec<String>)>,
}

/// A turn's task.
struct Running {
    id: TurnId,
    cancel: CancellationToken,
    task: JoinHandle<()>,
    reports: mpsc::Receiver<Report>,
    /// Who wants it stopped; the first counts.
    cancelled_by: Option<Principal>,
    /// Who is answered when it has stopped.
    waiters: Vec<oneshot::Sender<Result<Done, Refusal>>>,
    /// When a turn that was told to stop is not waited for any more.
    give_up: Option<Instant>,
}

impl Drop for Running {
    fn drop(&mut self) {
        self.cancel.cancel();
        self.task.abort();
    }
}

/// Why the actor ends.
enum Stop {
    /// The store did not take an append: the state in memory is worth nothing.
    Failed(StoreError),
    /// The session is deleted, or the node stops.
    Over,
}

pub(super) struct Actor {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    state: State,
    running: Option<Running>,
    permit: Option<TurnPermit>,
}

/// Starts the actor of a session and returns its mailbox.
pub(crate) fn start(shared: &Arc<Shared>, slot: &Arc<Slot>) -> mpsc::Sender<Message> {
    let (sender, receiver) = mpsc::channel(crate::limits::MAILBOX);
    let life = run(Arc::clone(shared), Arc::clone(slot), receiver);
    shared.tasks.spawn(life);
    sender
}

async fn run(shared: Arc<Shared>, slot: Arc<Slot>, mut mailbox: mpsc::Receiver<Message>) {
    let state = match load(&*shared.store, slot.id()).await {
        Ok(state) => state,
        Err(error) => {
            refuse_all(&slot, &mut mailbox, &error).await;
            return;
        }
    };
    let mut actor = Actor { shared, slot, state, running: None, permit: None };
    let ended = match actor.recover().await {
        Ok(()) => actor.live(&mut mailbox).await,
        Err(stop) => Err(stop),
    };
    if let Err(Stop::Failed(error)) = ended {
        tracing::error!(session.id = %actor.slot.id(), %error, "a session's log took no append");
        drop(actor.running.take());
        refuse_all(&actor.slot, &mut mailbox, &error).await;
    }
}

/// Answers what is left in the mailbox of an actor that cannot go on.
async fn refuse_all(slot: &Slot, mailbox: &mut mpsc::Receiver<Message>, error: &StoreError) {
    loop {
        while let Ok(message) = mailbox.try_recv() {
            if let Message::Command(command) = message {
                let refusal = Refusal { code: error.code(), ..refusal_for(error) };
                // The caller may have gone away.
                drop(command.reply.send(Err(refusal)));
            }
        }
        if slot.retire(mailbox) {
            return;
        }
        tokio::task::yield_now().await;
    }
}

fn refusal_for(error: &StoreError) -> Refusal {
    let retry_after = error.code().retryable().then_some(Duration::from_secs(1));
    let message = match error {
        StoreError::NotFound => "there is no such session",
        StoreError::DiskFull => "there is no room on the server's disk",
        StoreError::Damaged(_) => "part of this session's log is damaged",
        _ => "the server's store takes no writes now",
    };
    Refusal { retry_after, ..Refusal::new(error.code(), message) }
}

impl Actor {
    async fn live(&mut self, mailbox: &mut mpsc::Receiver<Message>) -> Result<(), Stop> {
        loop {
            let stopped = self.shared.stopped.clone();
            let deadline = match &self.running {
                Some(running) => running.give_up,
                None => Some(Instant::now() + self.shared.limits.actor_idle),
            };
            tokio::select! {
                report = hear_from(&mut self.running) => match report {
                    Some(report) => self.hear(report).await?,
                    None => self.turn_vanished().await?,
                },
                message = mailbox.recv() => match message {
                    Some(message) => self.obey(message).await?,
                    None => return Ok(()),
                },
                () = at(deadline) => {
                    if self.running.is_some() {
                        self.end_by_force().await?;
                    } else if self.slot.retire(mailbox) {
                        return Ok(());
                    }
                }
                () = stopped.cancelled() => return Err(Stop::Over),
            }
        }
    }

    /// Finishes what a restart interrupted: a turn without an end goes on or fails, a waiting input starts.
    async fn recover(&mut self) -> Result<(), Stop> {
        let Some(turn) = &self.state.turn else { return self.start_waiting().await };
        let (id, attempt) = (turn.id, turn.attempt + 1);
        if attempt > TURN_ATTEMPTS {
            let message =
                format!("the turn was tried {TURN_ATTEMPTS} times and the server stopped each time");
            return self
                .end_turn(Vec::new(), Then::Fail(Fault::new(ErrorCode::AttemptsExhausted, message)))
                .await;
        }
        if self.state.transcript.is_answered() {
            return self.end_turn(Vec::new(), Then::Complete(StopReason::EndTurn)).await;
        }
        let fence = self.shared.store.fence().0;
        self.append(vec![Event::TurnResumed(TurnResumed { turn: id, attempt, fence })]).await?;
        self.begin_turn();
        Ok(())
    }

    async fn start_waiting(&mut self) -> Result<(), Stop> {
        if self.shared.draining.is_cancelled() {
            return Ok(());
        }
        let by = self.state.view().owner.clone();
        let Some(event) = self.with_context(&by, start_next) else { return Ok(()) };
        self.append(vec![event]).await?;
        self.begin_turn();
        Ok(())
    }

    fn with_context<T>(&self, by: &Principal, decide: impl FnOnce(&State, &Context<'_>) -> T) -> T {
        let catalog = self.shared.catalog();
        let context = Context {
            ids: &self.shared.ids,
            limits: &self.shared.limits,
            catalog: &catalog,
            fence: self.shared.store.fence(),
            by,
        };
        decide(&self.state, &context)
    }

    async fn obey(&mut self, message: Message) -> Result<(), Stop> {
        let Message::Command(command) = message else { return Ok(()) };
        let Command { by, command, reply } = *command;
        if let Some(answer) = self.already_done(&command).await {
            // The caller may have gone away.
            drop(reply.send(answer));
            return Ok(());
        }
        let decision = match self.with_context(&by, |state, context| decide(state, &command, context)) {
            Ok(decision) => decision,
            Err(refusal) => {
                drop(reply.send(Err(refusal)));
                return Ok(());
            }
        };
        match self.carry_out(by, command, decision, reply).await {
            Err(Stop::Failed(error)) => Err(Stop::Failed(error)),
            other => other,
        }
    }

    async fn carry_out(
        &mut self,
        by: Principal,
        command: SessionCommand,
        decision: Decision,
        reply: oneshot::Sender<Result<Done, Refusal>>,
    ) -> Result<(), Stop> {
        if decision.change == TurnChange::Start {
            match self.shared.turns.try_acquire(&by) {
                Ok(permit) => self.permit = Some(permit),
                Err(refusal) => {
                    drop(reply.send(Err(refusal)));
                    return Ok(());
                }
            }
        }
        let input = decision.input;
        let written = self.write(&command, decision.events, input, decision.change).await;
        let position = match written {
            Ok(position) => position,
            Err(Stop::Failed(error)) => {
                drop(reply.send(Err(refusal_for(&error))));
                return Err(Stop::Failed(error));
            }
            Err(over) => return Err(over),
        };
        if command == SessionCommand::Delete {
            return self.delete(reply).await;
        }
        if matches!(
            command,
            SessionCommand::Submit(_) | SessionCommand::Withdraw(_) | SessionCommand::Cancel(_)
        ) {
            self.notify_queue();
        }
        match (decision.change, &mut self.running) {
            (TurnChange::Stop, Some(running)) => {
                running.stop(by);
                if matches!(command, SessionCommand::Cancel(_)) {
                    running.waiters.push(reply);
                    return Ok(());
                }
            }
            // Decided to stop a turn whose task is gone: its end is written at once.
            (TurnChange::Stop, None) => self.end_turn(Vec::new(), Then::Cancelled(Vec::new())).await?,
            (TurnChange::Start | TurnChange::Keep, _) => {}
        }
        let done = self.done(input);
        let position = position.unwrap_or(done.position);
        drop(reply.send(Ok(Done { position, ..done })));
        Ok(())
    }

    /// Writes a command's events; a turn they begin starts while they are on their way to the disk. Returns
    /// where the first one stands.
    async fn write(
        &mut self,
        command: &SessionCommand,
        events: Vec<Event>,
        input: Option<InputId>,
        change: TurnChange,
    ) -> Result<Option<Position>, Stop> {
        if events.is_empty() {
            return Ok(None);
        }
        let (append, records) = self.prepare(events);
        let append = Append { idempotency: self.idempotency_row(command, input, &records), ..append };
        let committed = (change == TurnChange::Start).then(|| self.begin_turn_early());
        self.commit(append, &records).await?;
        if let Some(committed) = committed {
            // A turn that is gone already says so in its own way.
            let _gone = committed.send(());
        }
        Ok(records.first().map(|record| record.position()))
    }

    fn idempotency_row(
        &self,
        command: &SessionCommand,
        input: Option<InputId>,
        records: &[Arc<Record>],
    ) -> Option<IdempotencyRow> {
        let SessionCommand::Submit(new) = command else { return None };
        let (idempotency, input) = (new.idempotency.as_ref()?, input?);
        Some(IdempotencyRow {
            key: idempotency.key.clone(),
            body_hash: idempotency.body_hash,
            input,
            position: records.first()?.position(),
            queue_length: self.state.view().queue.len(),
            at: self.shared.ids.now(),
        })
    }

    /// The answer to a submission that was made before under the same key.
    async fn already_done(&self, command: &SessionCommand) -> Option<Result<Done, Refusal>> {
        let SessionCommand::Submit(input) = command else { return None };
        let wanted = input.idempotency.as_ref()?;
        match self.shared.store.idempotency(self.slot.id(), &wanted.key).await {
            Ok(None) => None,
            Ok(Some(row)) if row.body_hash != wanted.body_hash => {
                let message = "this idempotency key was used for another body";
                Some(Err(Refusal::new(ErrorCode::IdempotencyMismatch, message)))
            }
            Ok(Some(row)) => {
                let mut done = self.done(Some(row.input));
                done.position = row.position;
                done.view.queue.truncate(row.queue_length);
                Some(Ok(done))
            }
            Err(error) => Some(Err(refusal_for(&error))),
        }
    }

    fn done(&self, input: Option<InputId>) -> Done {
        let view = self.state.view().clone();
        Done { position: view.head, view, input, stopped: None }
    }

    async fn delete(&mut self, reply: oneshot::Sender<Result<Done, Refusal>>) -> Result<(), Stop> {
        drop(self.running.take());
        let done = self.done(None);
        let deleted = self.shared.store.delete(self.slot.id(), self.shared.store.fence()).await;
        let answer = deleted.as_ref().map(|()| done).map_err(refusal_for);
        drop(reply.send(answer));
        self.shared.forget(self.slot.id());
        deleted.map_err(Stop::Failed)?;
        Err(Stop::Over)
    }

    fn notify_queue(&self) {
        let (session, queue) = (self.slot.id(), self.state.queue().collect());
        self.slot.feed().notify(Notice::Queue { session, queue });
    }

    // --- the log ---

    /// Numbers and encodes events and applies them to the state in memory.
    fn prepare(&mut self, events: Vec<Event>) -> (Append, Vec<Arc<Record>>) {
        let expected = self.state.head();
        let at = self.shared.ids.now().max(self.state.view().updated_at);
        let mut seq = expected.seq;
        let records: Vec<_> = events
            .into_iter()
            .map(|event| {
                seq = seq.next();
                let envelope = Envelope { epoch: expected.epoch, seq, at, session: self.slot.id(), event };
                self.state.apply(&envelope);
                Arc::new(Record::new(envelope))
            })
            .collect();
        let identity = self.slot.identity();
        let row = SessionRow {
            tenant: identity.tenant.clone(),
            door: Arc::clone(&identity.door),
            view: self.state.view().clone(),
        };
        let append = Append {
            fence: self.shared.store.fence(),
            expected: expected.seq,
            records: records.clone(),
            row,
            idempotency: None,
        };
        (append, records)
    }

    async fn commit(&mut self, append: Append, records: &[Arc<Record>]) -> Result<(), Stop> {
        self.shared.store.append(append).await.map_err(Stop::Failed)?;
        self.slot.feed().publish(records);
        self.shared.activity.publish(self.slot.identity(), records);
        Ok(())
    }

    async fn append(&mut self, events: Vec<Event>) -> Result<(), Stop> {
        let (append, records) = self.prepare(events);
        self.commit(append, &records).await
    }

    // --- the turn ---

    /// Starts the task of the turn the state is in; its facts are on disk.
    fn begin_turn(&mut self) {
        let committed = self.begin_turn_early();
        // A turn that is gone already says so in its own way.
        let _gone = committed.send(());
    }

    /// Starts the task of the turn the state is in; it shows nothing until the sender fires.
    fn begin_turn_early(&mut self) -> oneshot::Sender<()> {
        let (committed, gate) = oneshot::channel();
        let Some(open) = self.state.turn.clone() else { return committed };
        let (reports, receiver) = mpsc::channel(REPORTS);
        let cancel = CancellationToken::new();
        let work = self.work();
        let turn = self.turn(&open, cancel.clone(), reports);
        let capacity = if self.permit.is_none() { Some(self.shared.turns.clone()) } else { None };
        let author = open.author;
        let task = self.shared.tasks.spawn(async move {
            // A recovered turn waits for its share of running turns; a submitted one has it already.
            let _permit = match capacity {
                Some(turns) => turns.acquire(&author).await,
                None => None,
            };
            turn.run(work, gate).await;
        });
        self.running = Some(Running {
            id: open.id,
            cancel,
            task,
            reports: receiver,
            cancelled_by: None,
            waiters: Vec::new(),
            give_up: None,
        });
        committed
    }

    fn turn(&self, open: &OpenTurn, cancel: CancellationToken, reports: mpsc::Sender<Report>) -> Turn {
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
            policy: self.state.view().policy.unwrap_or(agent.policy),
            agent,
            overrides: open.overrides.clone(),
            catalog,
            feed: Arc::clone(self.slot.feed()),
            store: Arc::clone(&self.shared.store),
            ids: self.shared.ids.clone(),
            limits: Arc::clone(&self.shared.limits),
            cancel,
            reports,
        }
    }

    fn work(&self) -> Work {
        let transcript = &self.state.transcript;
        let turn = self.state.turn.as_ref();
        Work {
            prompt: prompt::build(transcript),
            pending: transcript.pending_calls(),
            blobs: transcript.blobs().collect(),
            calls_made: turn.map_or(0, |turn| turn.usage.calls),
            window_used: turn.map_or(0, |turn| turn.window_used),
        }
    }

    /// A turn reports facts and asks what to do next.
    async fn hear(&mut self, report: Report) -> Result<(), Stop> {
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
                self.append(events).await?;
                Verdict::Go
            }
            Then::CallModel if stopping => {
                self.end_turn(events, Then::Cancelled(Vec::new())).await?;
                Verdict::Ended
            }
            Then::CallModel => self.go_on(events).await?,
            Then::Compact if stopping => Verdict::Stop,
            Then::Compact => Verdict::Compact(compactable(&self.state.transcript).map(Box::new)),
            Then::Complete(_) if !stopping && !self.state.steering().is_empty() => self.go_on(events).await?,
            over => {
                self.end_turn(events, over).await?;
                Verdict::Ended
            }
        };
        // A turn that was ended does not listen any more.
        drop(reply.send(verdict));
        Ok(())
    }

    /// Writes facts and lets waiting steering inputs join before the next model call.
    async fn go_on(&mut self, mut events: Vec<Event>) -> Result<Verdict, Stop> {
        let Some(turn) = self.state.turn.as_ref().map(|turn| turn.id) else { return Ok(Verdict::Ended) };
        let joining = self.state.steering();
        for queued in self.state.view().queue.iter().filter(|queued| joining.contains(&queued.input)) {
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
            self.append(events).await?;
        }
        if !joining.is_empty() {
            self.notify_queue();
        }
        Ok(Verdict::Call(self.work()))
    }

    /// Writes a turn's last facts, its end and the next turn's beginning at once, then starts that.
    async fn end_turn(&mut self, mut events: Vec<Event>, over: Then) -> Result<(), Stop> {
        let mut ended = self.running.take();
        let Some(open) = self.state.turn.clone() else { return Ok(()) };
        let mut usage = open.usage;
        for event in &events {
            if let Event::UsageRecorded(recorded) = event {
                usage.add_call(recorded.tokens, recorded.cost);
            }
        }
        let turn = open.id;
        let owner = self.state.view().owner.clone();
        let cancelled_by = ended.as_mut().and_then(|running| running.cancelled_by.take());
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
                let by = cancelled_by.unwrap_or_else(|| owner.clone());
                Event::TurnCancelled(TurnCancelled { turn, by, stopped, usage })
            }
            Then::Go | Then::CallModel | Then::Compact => return Ok(()),
        });
        let (mut append, mut records) = self.prepare(events);
        let next = self.with_context(&owner, start_next).filter(|_| !self.shared.draining.is_cancelled());
        if let Some(next) = next {
            let (after, more) = self.prepare(vec![next]);
            append.row = after.row;
            append.records.extend(after.records);
            records.extend(more);
        }
        let committed = self.state.turn.is_some().then(|| self.begin_turn_early());
        if committed.is_none() {
            self.permit = None;
        }
        self.commit(append, &records).await?;
        if let Some(committed) = committed {
            let _gone = committed.send(());
            self.notify_queue();
        }
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
    async fn turn_vanished(&mut self) -> Result<(), Stop> {
        tracing::error!(session.id = %self.slot.id(), "a turn ended without an end");
        let fault = Fault::new(ErrorCode::Internal, "the turn broke off inside the server");
        self.end_turn(Vec::new(), Then::Fail(fault)).await
    }

    /// The turn was told to stop and did not in time.
    async fn end_by_force(&mut self) -> Result<(), Stop> {
        tracing::warn!(session.id = %self.slot.id(), "a cancelled turn did not stop by itself");
        self.end_turn(Vec::new(), Then::Cancelled(vec!["turn".into()])).await
    }
}

impl Running {
    fn stop(&mut self, by: Principal) {
        self.cancelled_by.get_or_insert(by);
        self.give_up.get_or_insert_with(|| Instant::now() + CANCEL_GRACE);
        self.cancel.cancel();
    }
}

/// The running turn's next report; nothing ever when no turn runs.
async fn hear_from(running: &mut Option<Running>) -> Option<Report> {
    match running {
        Some(running) => running.reports.recv().await,
        None => std::future::pending().await,
    }
}

/// Waits until a time, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
