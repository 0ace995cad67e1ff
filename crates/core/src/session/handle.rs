//! What doors hold of a session: submit commands, read, follow.

use std::{collections::VecDeque, sync::Arc};

use bytes::Bytes;
use moongate_protocol::{
    Answer, BlobHash, Cancel, Command, Envelope, Event, InputId, MessageView, NewInput, Position, Principal,
    Resolve, Role, Said, Seq, SessionPatch, SessionView, Timestamp, TurnId,
};
use tokio::sync::oneshot;

use super::{
    Gate, Identity, Slot,
    actor::{Command as ActorCommand, Done, Message, start},
};
use crate::{
    ApprovalView, Caller, Follower, QuestionView, Record, Refusal, Scope, StoreError, asks::Ask,
    gateway::Shared, limits::READ_BATCH,
};

/// A submission that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Accepted {
    /// What it became.
    pub input: InputId,
    /// Where its event stands.
    pub position: Position,
    /// Inputs that wait, this one included if it does.
    pub queue_length: usize,
    /// It was made before, under the same name.
    pub again: bool,
}

/// Where the log has what was taken in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TakenIn {
    /// Its first event.
    pub first: Seq,
    /// Its last event.
    pub last: Seq,
}

/// A cancel that is on disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cancelled {
    /// The turn that was stopped; none when nothing ran or it ended by itself first.
    pub turn: Option<TurnId>,
    /// What was running.
    pub stopped: Vec<String>,
}

/// A session a caller may use.
#[derive(Clone)]
pub struct SessionHandle {
    shared: Arc<Shared>,
    slot: Arc<Slot>,
    caller: Caller,
}

impl SessionHandle {
    pub(crate) fn new(shared: Arc<Shared>, slot: Arc<Slot>, caller: Caller) -> Self {
        Self { shared, slot, caller }
    }

    /// Which session.
    pub fn id(&self) -> moongate_protocol::SessionId {
        self.slot.id()
    }

    /// Whether it is kept: one that is not lives only as long as its [`crate::Ephemeral`].
    pub fn is_kept(&self) -> bool {
        self.slot.is_kept()
    }

    /// Whose it is.
    pub fn identity(&self) -> &Identity {
        self.slot.identity()
    }

    /// What clients are shown of it.
    ///
    /// # Errors
    /// When it is gone or the store fails.
    pub async fn view(&self) -> Result<SessionView, Refusal> {
        let row = self.slot.store().session(self.slot.id()).await?;
        row.map(|row| row.view).ok_or_else(|| Refusal::not_found("session"))
    }

    /// Says something. Answered when it is on disk.
    ///
    /// # Errors
    /// See the closed table: the queue is full, the session busy, the input not acceptable, the store failing.
    pub async fn submit(&self, input: NewInput) -> Result<Accepted, Refusal> {
        self.submit_behind(input, None).await
    }

    /// The same; its turn begins when there is a share of this gate, which it holds to its end.
    ///
    /// # Errors
    /// As [`SessionHandle::submit`].
    pub async fn submit_behind(&self, mut input: NewInput, gate: Option<Gate>) -> Result<Accepted, Refusal> {
        self.require(Scope::SessionsWrite)?;
        if self.shared.shutdown.draining.is_cancelled() {
            return Err(crate::gateway::going_away());
        }
        if let Some(agent) = &input.overrides.agent
            && !self.caller.may_use(agent)
        {
            return Err(crate::gateway::forbidden("this key may not use that agent"));
        }
        if let Some(model) = &input.overrides.model
            && !self.shared.catalog().may_name(&self.caller, model)
        {
            return Err(crate::gateway::forbidden("this key may not use that model"));
        }
        input.agents = self.caller.agents().to_vec();
        let done = self.command_behind(Command::Submit(Box::new(input)), gate).await?;
        let input = done.input.ok_or_else(lost)?;
        Ok(Accepted { input, position: done.position, queue_length: done.queue_length, again: done.already })
    }

    /// Takes in what was said elsewhere, after all that is there. Nothing of it is answered; it is on disk when
    /// this is.
    ///
    /// # Errors
    /// `busy` while a turn runs or an input waits, `invalid_request` when somebody says what only others can.
    pub async fn take_in(&self, said: Vec<Said>) -> Result<TakenIn, Refusal> {
        self.require(Scope::SessionsWrite)?;
        if self.shared.shutdown.draining.is_cancelled() {
            return Err(crate::gateway::going_away());
        }
        let done = self.command(Command::TakeIn(said)).await?;
        Ok(TakenIn { first: done.position.seq, last: done.view.head.seq })
    }

    /// Takes a waiting input back.
    ///
    /// # Errors
    /// `not_found` when it does not wait (any more).
    pub async fn withdraw(&self, input: InputId) -> Result<(), Refusal> {
        self.require(Scope::SessionsWrite)?;
        self.command(Command::Withdraw(input)).await.map(|_| ())
    }

    /// Stops the running turn. Answered when its end is on disk.
    ///
    /// # Errors
    /// `conflict` when another turn than the named one runs.
    pub async fn cancel(&self, cancel: Cancel) -> Result<Cancelled, Refusal> {
        self.stop(Command::Cancel(cancel)).await
    }

    /// The same, asked for from outside the conversation: those who watch are told so.
    ///
    /// # Errors
    /// As [`SessionHandle::cancel`].
    pub async fn abort(&self, cancel: Cancel) -> Result<Cancelled, Refusal> {
        self.stop(Command::Abort(cancel)).await
    }

    async fn stop(&self, command: Command) -> Result<Cancelled, Refusal> {
        self.require(Scope::SessionsWrite)?;
        let done = self.command(command).await?;
        let (turn, stopped) = done.stopped.map_or((None, Vec::new()), |(turn, what)| (Some(turn), what));
        Ok(Cancelled { turn, stopped })
    }

    /// Changes settings.
    ///
    /// # Errors
    /// When a value is not acceptable.
    pub async fn update(&self, patch: SessionPatch) -> Result<SessionView, Refusal> {
        self.require(Scope::SessionsWrite)?;
        if patch.policy.is_some() || patch.auto_approve.is_some() {
            self.require(Scope::PolicyWrite)?;
        }
        if let Some(agent) = &patch.agent
            && !self.caller.may_use(agent)
        {
            return Err(crate::gateway::forbidden("this key may not use that agent"));
        }
        Ok(self.command(Command::Update(patch)).await?.view)
    }

    /// Stops the turn and removes everything.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn delete(&self) -> Result<(), Refusal> {
        self.require(Scope::SessionsWrite)?;
        self.command(Command::Delete).await.map(|_| ())
    }

    /// Removes everything, unless something runs, waits, or happened after this time. Who may is for whoever
    /// calls this.
    pub(crate) async fn forget(&self, since: Timestamp) -> Result<(), Refusal> {
        self.command(Command::Forget(since)).await.map(|_| ())
    }

    /// Decides on an approval. The first decision counts; a later one is answered with the first.
    ///
    /// # Errors
    /// `not_found` when there is none, `unprocessable` when changed arguments or a rule are not acceptable.
    pub async fn resolve(&self, resolve: Resolve) -> Result<ApprovalView, Refusal> {
        self.require(Scope::ApprovalsDecide)?;
        let id = resolve.approval;
        let done = self.command(Command::Resolve(resolve)).await?;
        Ok(ApprovalView { already: done.already, ..self.asked(id).await? })
    }

    /// Answers a question. The first answer counts; a later one is answered with the first.
    ///
    /// # Errors
    /// `not_found` when there is none, `too_large` or `unprocessable` when the answers are not acceptable.
    pub async fn answer(&self, answer: Answer) -> Result<QuestionView, Refusal> {
        self.require(Scope::ApprovalsDecide)?;
        let id = answer.question;
        let done = self.command(Command::Answer(answer)).await?;
        Ok(QuestionView { already: done.already, ..self.asked(id).await? })
    }

    /// What the log says about what people were asked.
    async fn asked<A: Ask>(&self, id: A) -> Result<A::View, Refusal> {
        let store = &**self.slot.store();
        let row = id.row(store, &self.slot.identity().tenant).await?;
        let row = row.ok_or_else(|| Refusal::not_found(A::NAME))?;
        Ok(A::view(store, &row).await?)
    }

    /// Keeps an attachment's bytes where the session's log is.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn put_blob(&self, bytes: Bytes) -> Result<BlobHash, Refusal> {
        self.require(Scope::SessionsWrite)?;
        Ok(self.slot.store().put_blob(bytes).await?)
    }

    /// Follows after `after`; from the start when absent. A position that cannot be served gets a reset frame.
    pub fn follow(&self, after: Option<Position>) -> Follower {
        Follower::after(Arc::clone(&self.slot), after)
    }

    /// Follows what comes from now on.
    pub fn follow_live(&self) -> Follower {
        Follower::live(Arc::clone(&self.slot))
    }

    /// Events after `after`, at most `limit`, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn read(&self, after: Seq, limit: usize) -> Result<Vec<Arc<Record>>, StoreError> {
        self.slot.store().read(self.slot.id(), after, limit).await
    }

    /// The last published event.
    pub fn head(&self) -> Position {
        self.slot.feed().head()
    }

    /// The transcript before an event (all of it when absent), its last `limit` messages, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub async fn messages(&self, before: Option<Seq>, limit: usize) -> Result<Vec<MessageView>, Refusal> {
        let mut messages = Messages { found: VecDeque::new(), limit };
        let mut after = Seq::ZERO;
        loop {
            let records = self.read(after, READ_BATCH).await?;
            let Some(last) = records.last() else { break };
            after = last.position().seq;
            for record in &records {
                let envelope = record.envelope().map_err(|e| StoreError::Damaged(e.to_string()))?;
                if before.is_none_or(|before| envelope.seq < before) {
                    messages.take(envelope);
                }
            }
            if before.is_some_and(|before| after >= before) {
                break;
            }
        }
        Ok(messages.found.into())
    }

    fn require(&self, scope: Scope) -> Result<(), Refusal> {
        if self.caller.may(scope) {
            return Ok(());
        }
        Err(crate::gateway::forbidden(&format!("this key lacks the scope {}", scope.as_str())))
    }

    /// Makes the actor finish what a restart interrupted.
    pub(crate) async fn wake(&self) {
        let mailbox = self.slot.mailbox(|| start(&self.shared, &self.slot));
        // An actor that ends at once had nothing to finish.
        drop(mailbox.send(Message::Wake).await);
    }

    /// Lets the actor look at the time, if it can be told at once.
    pub(crate) fn nudge(&self) {
        let mailbox = self.slot.mailbox(|| start(&self.shared, &self.slot));
        // A full mailbox: there is another look soon.
        drop(mailbox.try_send(Message::Wake));
    }

    async fn command(&self, command: Command) -> Result<Done, Refusal> {
        self.command_behind(command, None).await
    }

    async fn command_behind(&self, command: Command, gate: Option<Gate>) -> Result<Done, Refusal> {
        self.send(self.caller.principal().clone(), command, gate).await
    }

    /// A command of the gateway's own, on somebody's behalf whose rights were looked at elsewhere.
    pub(crate) async fn tell(&self, by: Principal, command: Command) -> Result<Done, Refusal> {
        self.send(by, command, None).await
    }

    async fn send(&self, by: Principal, command: Command, gate: Option<Gate>) -> Result<Done, Refusal> {
        let (reply, answer) = oneshot::channel();
        let mut message = Message::Command(Box::new(ActorCommand { by, command, gate, reply }));
        loop {
            if self.shared.shutdown.stopped.is_cancelled() {
                return Err(crate::gateway::going_away());
            }
            let mailbox = self.slot.mailbox(|| start(&self.shared, &self.slot));
            match mailbox.send(message).await {
                Ok(()) => break,
                // The actor ended in this moment; the next one takes it.
                Err(back) => message = back.0,
            }
        }
        answer.await.map_err(|_| lost())?
    }
}

/// The actor ended before it answered.
fn lost() -> Refusal {
    use moongate_protocol::ErrorCode;
    let wait = std::time::Duration::from_secs(1);
    Refusal::later(ErrorCode::Unavailable, "the session was closed meanwhile; ask again", wait)
}

/// The fold of a log to its last messages.
struct Messages {
    found: VecDeque<MessageView>,
    limit: usize,
}

impl Messages {
    fn take(&mut self, envelope: &Envelope) {
        let (seq, at) = (envelope.seq, envelope.at);
        match &envelope.event {
            Event::InputAccepted(input) => self.push(MessageView {
                seq,
                item: None,
                input: Some(input.input),
                turn: None,
                role: Role::User,
                parts: input.parts.clone(),
                at,
                partial: false,
            }),
            Event::TurnStarted(started) => self.assign(&started.inputs, started.turn),
            Event::InputWithdrawn(gone) => self.found.retain(|message| message.input != Some(gone.input)),
            Event::MessageCompleted(message) => match message.input {
                Some(input) => self.assign(&[input], message.turn),
                None => self.push(MessageView {
                    seq,
                    item: Some(message.item),
                    input: None,
                    turn: Some(message.turn),
                    role: message.role,
                    parts: message.parts.clone(),
                    at,
                    partial: message.partial,
                }),
            },
            _ => {}
        }
    }

    fn push(&mut self, message: MessageView) {
        if self.found.len() >= self.limit {
            self.found.pop_front();
        }
        self.found.push_back(message);
    }

    fn assign(&mut self, inputs: &[InputId], turn: TurnId) {
        for message in &mut self.found {
            if message.input.is_some_and(|input| inputs.contains(&input)) {
                message.turn = Some(turn);
            }
        }
    }
}
