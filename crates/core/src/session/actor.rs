//! The actor: the one writer of a session's log. It decides (pure), appends (durable), applies (pure) and
//! publishes, in this order for everybody who watches; for itself it applies while the append is under way,
//! so that a turn can start at once. When an append fails it ends, and its state with it.

use std::{
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use moongate_protocol::{
    Command as SessionCommand, ErrorCode, Event, InputId, Position, Principal, SessionView, StopReason,
    TurnId, TurnResumed,
};
use tokio::{
    sync::{mpsc, oneshot},
    time::Instant,
};

use super::{
    Slot,
    decide::{Decision, TurnChange, decide},
    delegations::Children,
    gates::{Gate, Gates},
    log::Log,
    task::{Canceller, Running, hear_from},
};
use crate::{
    Fault, Refusal, StoreError,
    gateway::{Shared, TurnPermit},
    limits::TURN_ATTEMPTS,
    turn::{Then, prompt::Draft},
};

/// Where a command's answer goes.
pub(super) type Reply = oneshot::Sender<Result<Done, Refusal>>;

/// A caller's command, and where the answer goes.
pub(crate) struct Command {
    pub(crate) by: Principal,
    pub(crate) command: SessionCommand,
    /// What the turn of an input begins behind.
    pub(crate) gate: Option<Gate>,
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
    /// Inputs that waited then.
    pub(crate) queue_length: usize,
    /// The turn a cancel stopped, and what was running.
    pub(crate) stopped: Option<(TurnId, Vec<String>)>,
    /// Somebody else did it before.
    pub(crate) already: bool,
}

/// Why the actor ends.
pub(super) enum Stop {
    /// The store did not take an append: the state in memory is worth nothing.
    Failed(StoreError),
    /// The session is deleted, or the node stops.
    Over,
}

pub(super) struct Actor {
    pub(super) shared: Arc<Shared>,
    pub(super) slot: Arc<Slot>,
    pub(super) log: Log,
    pub(super) prompt: Draft,
    pub(super) running: Option<Running>,
    /// The running turn's share of the node, where a command took it.
    pub(super) permit: Option<TurnPermit>,
    /// What the turns of inputs that wait begin behind.
    pub(super) gates: Gates,
    /// The sessions that calls of its turn wait for.
    pub(super) children: Children,
}

/// Starts the actor of a session and returns its mailbox.
pub(crate) fn start(shared: &Arc<Shared>, slot: &Arc<Slot>) -> mpsc::Sender<Message> {
    let (sender, receiver) = mpsc::channel(crate::limits::MAILBOX);
    let life = run(Arc::clone(shared), Arc::clone(slot), receiver);
    shared.tasks.spawn(life);
    sender
}

async fn run(shared: Arc<Shared>, slot: Arc<Slot>, mut mailbox: mpsc::Receiver<Message>) {
    if slot.is_over() {
        return refuse_all(&slot, &mut mailbox, &StoreError::NotFound).await;
    }
    let log = match Log::open(Arc::clone(&shared), Arc::clone(&slot)).await {
        Ok(log) => log,
        Err(error) => {
            refuse_all(&slot, &mut mailbox, &error).await;
            return;
        }
    };
    let (prompt, gates, children) = (Draft::default(), Gates::default(), Children::default());
    let mut actor = Actor { shared, slot, log, prompt, running: None, permit: None, gates, children };
    let ended = match actor.recover().await {
        Ok(()) => actor.live(&mut mailbox).await,
        Err(stop) => Err(stop),
    };
    if matches!(ended, Err(Stop::Failed(_))) {
        // What is not kept cannot be taken up again.
        actor.slot.end();
    }
    if actor.slot.is_over() {
        drop(actor.running.take());
        actor.shared.forget(actor.slot.id());
        return refuse_all(&actor.slot, &mut mailbox, &StoreError::NotFound).await;
    }
    if let Err(Stop::Failed(error)) = ended {
        tracing::error!(session.id = %actor.slot.id(), %error, "a session's log took no append");
        drop(actor.running.take());
        refuse_all(&actor.slot, &mut mailbox, &error).await;
        // From here on whoever wakes the session gets a new actor.
        actor.shared.broken_off.store(true, Ordering::Relaxed);
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

pub(super) fn refusal_for(error: &StoreError) -> Refusal {
    let retry_after = error.code().retryable().then_some(Duration::from_secs(1));
    let message = match error {
        StoreError::NotFound => "there is no such session",
        StoreError::KeyTaken => "this was submitted in another session already",
        StoreError::DiskFull => "there is no room on the server's disk",
        StoreError::Damaged(_) => "part of this session's log is damaged",
        _ => "the server's store takes no writes now",
    };
    Refusal { retry_after, ..Refusal::new(error.code(), message) }
}

impl Actor {
    async fn live(&mut self, mailbox: &mut mpsc::Receiver<Message>) -> Result<(), Stop> {
        loop {
            let stopped = self.shared.shutdown.stopped.clone();
            let deadline = match &self.running {
                Some(running) => running.give_up,
                None if self.gates.are_closed() || self.children.are_awaited() => None,
                None => Some(Instant::now() + self.shared.limits.get().actor_idle),
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
                () = self.gates.open() => self.start_waiting().await?,
                (call, returned) = self.children.next() => self.take_back(call, returned).await?,
                () = at(deadline) => {
                    if self.running.is_some() {
                        self.end_by_force().await?;
                    } else if self.slot.retire(mailbox) {
                        return Ok(());
                    }
                }
                () = stopped.cancelled() => return Err(Stop::Over),
                () = self.slot.over() => return Err(Stop::Over),
            }
        }
    }

    /// Finishes what a restart interrupted: a turn without an end goes on or fails, a waiting input starts.
    async fn recover(&mut self) -> Result<(), Stop> {
        self.mind_children();
        let Some(turn) = &self.log.state.turn else { return self.start_waiting().await };
        if turn.parked {
            return self.rest_on().await;
        }
        let (id, attempt) = (turn.id, turn.attempt + 1);
        if attempt > TURN_ATTEMPTS {
            let message =
                format!("the turn was tried {TURN_ATTEMPTS} times and the server stopped each time");
            return self
                .end_turn(Vec::new(), Then::Fail(Fault::new(ErrorCode::AttemptsExhausted, message)))
                .await;
        }
        if self.log.state.transcript.is_answered() {
            return self.end_turn(Vec::new(), Then::Complete(StopReason::EndTurn)).await;
        }
        let fence = self.shared.store.fence().0;
        self.log.write(vec![Event::TurnResumed(TurnResumed { turn: id, attempt, fence })]).await?;
        self.begin_turn();
        Ok(())
    }

    async fn obey(&mut self, message: Message) -> Result<(), Stop> {
        let Message::Command(command) = message else { return self.expire().await };
        let Command { by, command, gate, reply } = *command;
        if let Some(answer) = self.already_done(&by, &command).await {
            // The caller may have gone away.
            drop(reply.send(answer));
            return Ok(());
        }
        let mut decision = match self.log.decide(&by, |state, context| decide(state, &command, context)) {
            Ok(decision) => decision,
            Err(refusal) => {
                drop(reply.send(Err(refusal)));
                return Ok(());
            }
        };
        self.pass_gate(&mut decision, gate);
        self.carry_out(by, command, decision, reply).await?;
        self.mind_gates().await
    }

    async fn carry_out(
        &mut self,
        by: Principal,
        command: SessionCommand,
        mut decision: Decision,
        reply: Reply,
    ) -> Result<(), Stop> {
        if matches!(command, SessionCommand::Delete | SessionCommand::Forget(_)) {
            return self.delete(&by, decision.events, reply).await;
        }
        if decision.change == TurnChange::Start {
            match self.shared.turns.try_acquire(&by) {
                Ok(permit) => self.permit = Some(permit),
                Err(refusal) => {
                    drop(self.gates.take());
                    drop(reply.send(Err(refusal)));
                    return Ok(());
                }
            }
        }
        let input = decision.input;
        let written = self.write(&by, &command, &mut decision).await;
        let position = match written {
            Ok(position) => position,
            Err(Stop::Failed(error)) => {
                drop(reply.send(Err(refusal_for(&error))));
                return Err(Stop::Failed(error));
            }
            Err(over) => return Err(over),
        };
        let queues = matches!(
            command,
            SessionCommand::Submit(_)
                | SessionCommand::Withdraw(_)
                | SessionCommand::Cancel(_)
                | SessionCommand::Abort(_)
        );
        // An input that starts its turn at once never waited.
        if queues && decision.change != TurnChange::Start {
            self.log.show_queue();
        }
        let mut stopped = None;
        match (decision.change, &mut self.running) {
            (TurnChange::Stop, Some(running)) => {
                running.stop(Canceller::of(by, &command));
                if matches!(command, SessionCommand::Cancel(_) | SessionCommand::Abort(_)) {
                    running.waiters.push(reply);
                    return Ok(());
                }
            }
            // Decided to stop a turn that has no task: its end is written at once.
            (TurnChange::Stop, None) => stopped = self.stop_parked(Canceller::of(by, &command)).await?,
            (TurnChange::Resume, _) => self.go_on_decided(),
            (TurnChange::Start | TurnChange::Keep, _) => {}
        }
        let done = self.done(input);
        let position = position.unwrap_or(done.position);
        drop(reply.send(Ok(Done { position, stopped, already: decision.already, ..done })));
        Ok(())
    }

    /// Writes a command's events; a turn they begin starts while they are on their way to the disk. Returns
    /// where the first one stands.
    async fn write(
        &mut self,
        by: &Principal,
        command: &SessionCommand,
        decision: &mut Decision,
    ) -> Result<Option<Position>, Stop> {
        if decision.events.is_empty() {
            return Ok(None);
        }
        let (change, input) = (decision.change, decision.input);
        let mut draft = self.log.draft(std::mem::take(&mut decision.events));
        draft.idempotency = self.idempotency_row(by, command, input, &draft);
        let first = draft.records.first().map(|record| record.position());
        let committed = (change == TurnChange::Start).then(|| self.begin_turn_early());
        self.log.commit(draft).await?;
        if let Some(committed) = committed {
            // A turn that is gone already says so in its own way.
            let _gone = committed.send(());
        }
        Ok(first)
    }

    pub(super) fn done(&self, input: Option<InputId>) -> Done {
        let view = self.log.state.view().clone();
        let queue_length = view.queue.len();
        Done { position: view.head, view, input, queue_length, stopped: None, already: false }
    }

    /// Removes the log. Its last events are told to followers but not written: nobody could read them any more, and
    /// so a crash leaves the whole session or nothing of it.
    async fn delete(&mut self, by: &Principal, events: Vec<Event>, reply: Reply) -> Result<(), Stop> {
        drop(self.running.take());
        self.delete_children(by).await;
        let deleted = self.log.remove(events).await;
        let answer = deleted.as_ref().map(|()| self.done(None)).map_err(refusal_for);
        // The caller may have gone away.
        drop(reply.send(answer));
        deleted.map_err(Stop::Failed)?;
        self.shared.forget(self.slot.id());
        Err(Stop::Over)
    }
}

/// Waits until a time, or for ever.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => tokio::time::sleep_until(time).await,
        None => std::future::pending().await,
    }
}
