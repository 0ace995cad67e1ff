//! The session a call was handed to: begun once, followed to the end of its first turn, stopped and deleted with
//! the one that delegated.

use std::{sync::Arc, time::Duration};

use moongate_protocol::{
    AgentName, Cancel, Command, DelegationStarted, ErrorCode, Event, InputAccepted, InputId, Metadata,
    Overlap, Overrides, Parent, Part, Principal, Role, SessionCreated, SessionId, ToolOutcome, TurnId,
    UsageTotal,
};

use crate::{
    Caller, FrameBody, Gateway, Refusal, SessionHandle, StoreError, birth::Birth, limits::CHILD_GRACE,
    session::Slot,
};

/// The door of sessions that agents begin: no client gave them a name.
const DOOR: &str = "delegate";
/// How long to wait before a log that could not be read is read again.
const READ_AGAIN: Duration = Duration::from_secs(1);

/// A session that a call waits for.
pub(crate) struct Child {
    pub(crate) gateway: Gateway,
    /// The session that delegates.
    pub(crate) from: Arc<Slot>,
    pub(crate) started: DelegationStarted,
    pub(crate) author: Principal,
    /// The only agents the author may use; any when empty.
    pub(crate) agents: Vec<AgentName>,
    /// How long people have to decide, where the author said so.
    pub(crate) approval_secs: Option<u32>,
}

/// What came of it.
pub(crate) struct Returned {
    pub(crate) outcome: ToolOutcome,
    /// What the model that delegated is told.
    pub(crate) text: String,
    pub(crate) usage: UsageTotal,
}

impl Child {
    /// Begins the session unless it was begun before, and waits for the end of its first turn. Dropping this ends
    /// the waiting and nothing else.
    pub(crate) async fn run(self) -> Returned {
        let failed = |message: String| Returned {
            outcome: ToolOutcome::Error,
            text: format!("The agent {} could not be asked: {message}.", self.started.agent),
            usage: UsageTotal::default(),
        };
        let handle = match self.begun().await {
            Ok(handle) => handle,
            Err(refusal) => return failed(refusal.message),
        };
        let mut follower = handle.follow(None);
        handle.wake().await;
        let mut errand = Errand::new(&self.started);
        let mut frames = Vec::new();
        loop {
            match follower.next(&mut frames).await {
                Ok(()) => {}
                Err(StoreError::NotFound | StoreError::Damaged(_)) => {
                    return failed("its log cannot be read".into());
                }
                Err(error) => {
                    tracing::warn!(session.id = %self.started.child, %error, "a delegated session cannot be read now");
                    tokio::time::sleep(READ_AGAIN).await;
                }
            }
            for frame in frames.drain(..) {
                let FrameBody::Event(record) = &frame.body else { continue };
                let Ok(envelope) = record.envelope() else { return failed("its log cannot be read".into()) };
                if let Some((outcome, text)) = errand.take(&envelope.event) {
                    return Returned { outcome, text, usage: errand.usage };
                }
            }
        }
    }

    async fn begun(&self) -> Result<SessionHandle, Refusal> {
        let (id, place) = (self.started.child, || self.from.place());
        let slot = match self.gateway.open_at(id, place()).await {
            Err(refusal) if refusal.code == ErrorCode::NotFound => {
                self.birth().begin(&self.gateway, place()).await?;
                self.gateway.open_at(id, place()).await?
            }
            found => found?,
        };
        Ok(self.gateway.handle(slot, Caller::gateway()))
    }

    /// The session and its first input are one append: a crash leaves both or nothing.
    fn birth(&self) -> Birth {
        let (identity, started) = (self.from.identity(), &self.started);
        let parent = Parent { session: self.from.id(), turn: started.turn, call: started.call.clone() };
        let created = Event::SessionCreated(SessionCreated {
            owner: identity.owner.clone(),
            namespace: identity.namespace.clone(),
            agent: started.agent.clone(),
            alias: None,
            title: None,
            metadata: Metadata::new(),
            parent: Some(parent),
            terms: Some(started.terms.clone()),
        });
        let said = Event::InputAccepted(InputAccepted {
            input: started.input,
            author: self.author.clone(),
            parts: vec![Part::text(started.task.as_str())],
            overlap: Overlap::Queue,
            idempotency_key: None,
            overrides: Overrides { approval_secs: self.approval_secs, ..Overrides::default() },
            client_tools: Vec::new(),
            metadata: Metadata::new(),
            agents: self.agents.clone(),
        });
        Birth {
            session: started.child,
            tenant: identity.tenant.clone(),
            door: DOOR.into(),
            events: vec![(None, created), (None, said)],
        }
    }
}

/// What is known of the task so far.
struct Errand<'a> {
    agent: &'a AgentName,
    input: InputId,
    turn: Option<TurnId>,
    said: String,
    usage: UsageTotal,
}

impl<'a> Errand<'a> {
    fn new(started: &'a DelegationStarted) -> Self {
        let (said, usage) = (String::new(), UsageTotal::default());
        Self { agent: &started.agent, input: started.input, turn: None, said, usage }
    }

    /// Takes an event of the session; how the task ended, once it has.
    fn take(&mut self, event: &Event) -> Option<(ToolOutcome, String)> {
        match event {
            Event::TurnStarted(started) if started.inputs.contains(&self.input) => {
                self.turn = Some(started.turn);
                return None;
            }
            Event::InputWithdrawn(withdrawn) if withdrawn.input == self.input => return Some(self.stopped()),
            Event::SessionDeleted(_) => return Some(self.stopped()),
            event if self.turn.is_none() || event.turn() != self.turn => return None,
            _ => {}
        }
        match event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.said = Part::join_text(&message.parts);
                None
            }
            Event::UsageRecorded(usage) => {
                self.usage.add_call(usage.tokens, usage.cost);
                None
            }
            Event::DelegationFinished(finished) => {
                self.usage.add(finished.usage);
                None
            }
            Event::TurnCompleted(_) => Some((ToolOutcome::Ok, std::mem::take(&mut self.said))),
            Event::TurnFailed(failed) => {
                let text = format!("The agent {} failed: {}.", self.agent, failed.message);
                Some((ToolOutcome::Error, text))
            }
            Event::TurnCancelled(_) => Some(self.stopped()),
            _ => None,
        }
    }

    fn stopped(&self) -> (ToolOutcome, String) {
        (ToolOutcome::Cancelled, format!("The agent {} was stopped before it was done.", self.agent))
    }
}

/// Stops what runs and waits in a delegated session.
pub(crate) async fn stop(gateway: &Gateway, from: &Slot, child: SessionId, by: &Principal) {
    let cancel = Cancel { turn: None, clear_queue: true };
    tell(gateway, from, child, by, Command::Cancel(cancel)).await;
}

/// Deletes a delegated session, and with it those it began itself.
pub(crate) async fn delete(gateway: &Gateway, from: &Slot, child: SessionId, by: &Principal) {
    tell(gateway, from, child, by, Command::Delete).await;
}

/// What cannot be told is gone, or ends by its own bounds.
async fn tell(gateway: &Gateway, from: &Slot, child: SessionId, by: &Principal, command: Command) {
    let told = async {
        let slot = gateway.open_at(child, from.place()).await?;
        gateway.handle(slot, Caller::gateway()).tell(by.clone(), command).await
    };
    match tokio::time::timeout(CHILD_GRACE, told).await {
        Ok(Err(refusal)) if refusal.code != ErrorCode::NotFound => {
            tracing::warn!(session.id = %child, %refusal, "a delegated session could not be told");
        }
        Ok(_) => {}
        Err(_) => tracing::warn!(session.id = %child, "a delegated session did not answer"),
    }
}
