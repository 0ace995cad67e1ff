//! A person's side of one session: says something, follows until it is answered, comes back when the server
//! went away.

use std::time::{Duration, Instant};

use http::Method;
use moongate_core::Ids;
use moongate_protocol::{
    AgentName, Delta, Effort, Envelope, Event, InputId, ModelName, Notice, Position, SessionId, TurnFailed,
    TurnId,
};
use tokio::{
    signal::unix::Signal,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{asks::Asks, view::View, way::Way};
use crate::{
    client::{
        Accepted, CallError, CancelTurn, Client, Following, InputPart, Message, NewInput, NewSession, Session,
    },
    exit::{Failure, Outcome},
};

/// How long a server that went away is waited for.
const OUTAGE: Duration = Duration::from_secs(120);
/// Between two attempts to reach it.
const RETRY: Duration = Duration::from_millis(500);
/// How often a view is told that time goes by.
const TICK: Duration = Duration::from_millis(100);

/// How a turn that was followed ended.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Ending {
    /// Well.
    Completed,
    /// Badly.
    Failed(TurnFailed),
    /// It was stopped.
    Cancelled,
    /// The person did not wait for the end; the turn goes on.
    Left,
}

/// What is waited for.
#[derive(Debug, Clone, Copy)]
enum Goal {
    /// The turn that answers this input.
    Input(InputId),
    /// The end of this turn.
    Turn(TurnId),
}

/// How the next thing said is to be answered.
#[derive(Debug, Clone, Default)]
pub(crate) struct Settings {
    /// By whom, in a new session; the default agent when absent.
    pub(crate) agent: Option<AgentName>,
    /// By which model, instead of the agent's.
    pub(crate) model: Option<ModelName>,
    /// With how much thinking.
    pub(crate) effort: Option<Effort>,
}

/// A conversation. Its session is made when the first thing is said.
pub(crate) struct Talk<'a> {
    pub(crate) client: Client,
    pub(crate) settings: Settings,
    pub(crate) way: Way<'a>,
    session: Option<SessionId>,
    /// The last event seen.
    position: Option<Position>,
    /// The person knows that the server is away.
    told: bool,
    /// Ctrl-C.
    interrupts: Signal,
    /// Calls that wait for the person.
    pub(crate) asks: Asks,
}

impl<'a> Talk<'a> {
    /// A conversation in a new session.
    pub(crate) fn new(client: Client, way: Way<'a>, interrupts: Signal, settings: Settings) -> Self {
        let asks = Asks::default();
        Self { client, settings, way, session: None, position: None, told: false, interrupts, asks }
    }

    /// Goes on in another session, or in a new one.
    pub(crate) fn switch(&mut self, session: Option<&Session>) {
        self.session = session.map(|session| session.id);
        self.position = session.map(|session| session.head);
    }

    /// The session, once there is one.
    pub(crate) fn session(&self) -> Option<SessionId> {
        self.session
    }

    /// How to come back here, in words; nothing when nothing was said.
    pub(crate) fn hint(&self) -> Option<String> {
        Some(format!("`moongate chat --session {}` goes on", self.session?))
    }

    /// Says something and follows until it is answered.
    ///
    /// # Errors
    /// When the server refuses it or stays away.
    pub(crate) async fn say(&mut self, parts: Vec<InputPart>, view: &mut dyn View) -> Outcome<Ending> {
        let Settings { model, effort, .. } = self.settings.clone();
        let input = NewInput { parts, model, effort };
        // The same name each time: an input whose answer was lost is not said twice.
        let name = data_encoding::HEXLOWER.encode(&Ids::default().random::<16>());
        let begun = Instant::now();
        let (session, accepted) = loop {
            match self.submit(&name, &input).await {
                Ok(accepted) => break accepted,
                Err(error) => self.outage(error, begun, view).await?,
            }
        };
        view.own(accepted.input);
        self.follow(session, Goal::Input(accepted.input), view).await
    }

    async fn submit(&mut self, name: &str, input: &NewInput) -> Result<(SessionId, Accepted), CallError> {
        let session = match self.session {
            Some(session) => session,
            None => {
                let new = NewSession { agent: self.settings.agent.clone() };
                let made: Session = self.client.send(Method::POST, "/sessions", &new).await?;
                self.switch(Some(&made));
                made.id
            }
        };
        let accepted = self.client.send_once(&format!("/sessions/{session}/inputs"), name, input).await?;
        Ok((session, accepted))
    }

    /// Follows a turn that runs already.
    ///
    /// # Errors
    /// When the server stays away.
    pub(crate) async fn watch(&mut self, turn: TurnId, view: &mut dyn View) -> Outcome<Ending> {
        match self.session {
            Some(session) => {
                self.recall_asks(session, view).await?;
                self.follow(session, Goal::Turn(turn), view).await
            }
            None => Ok(Ending::Cancelled),
        }
    }

    /// Stops the running turn.
    ///
    /// # Errors
    /// When the server says no.
    pub(crate) async fn cancel(&self) -> Result<(), CallError> {
        let Some(session) = self.session else { return Ok(()) };
        let path = format!("/sessions/{session}/cancel");
        self.client.send_bytes(Method::POST, &path, &CancelTurn::default()).await.map(drop)
    }

    async fn follow(&mut self, session: SessionId, goal: Goal, view: &mut dyn View) -> Outcome<Ending> {
        let mut pursuit = Pursuit { goal, cancelled: false };
        let mut lost = Instant::now();
        loop {
            let broken = match self.client.follow(session, self.position).await {
                Err(error) => error,
                Ok(following) => match self.read(following, &mut pursuit, view).await? {
                    Ok(ending) => return Ok(ending),
                    Err(error) => {
                        lost = Instant::now();
                        error
                    }
                },
            };
            self.outage(broken, lost, view).await?;
        }
    }

    /// Reads a stream until the goal is reached or the stream breaks.
    async fn read(
        &mut self,
        mut following: Following,
        pursuit: &mut Pursuit,
        view: &mut dyn View,
    ) -> Outcome<Result<Ending, CallError>> {
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut messages = Vec::new();
        loop {
            tokio::select! {
                read = following.next(&mut messages) => {
                    if let Err(error) = read {
                        return Ok(Err(error));
                    }
                    self.told = false;
                    for message in messages.drain(..) {
                        if let Some(ending) = self.take(&message, pursuit, view)? {
                            return Ok(Ok(ending));
                        }
                    }
                }
                _ = self.interrupts.recv() => {
                    if std::mem::replace(&mut pursuit.cancelled, true) {
                        return Ok(Ok(Ending::Left));
                    }
                    view.aside("stopping; Ctrl-C again leaves it alone");
                    match self.cancel().await {
                        Ok(()) => {}
                        Err(error) if error.is_outage() => return Ok(Err(error)),
                        Err(error) => view.aside(&error.to_string()),
                    }
                }
                _ = ticks.tick() => match self.asks.open() {
                    None => view.tick(),
                    // No status is drawn where the person types.
                    Some(_) => self.listen(view).await?,
                },
            }
        }
    }

    /// Takes one message of the stream in; `Some` when the goal is reached.
    fn take(
        &mut self,
        message: &Message,
        pursuit: &mut Pursuit,
        view: &mut dyn View,
    ) -> Outcome<Option<Ending>> {
        match message.event.as_str() {
            "delta" => view.delta(&parse::<Delta>(&message.data)?)?,
            "notice" => view.notice(&parse::<Notice>(&message.data)?),
            "reset" => {
                self.position = None;
                view.aside("(the server was restored from a backup: the conversation begins anew)");
            }
            _ => {
                let envelope: Envelope = parse(&message.data)?;
                self.position = Some(envelope.position());
                view.event(&envelope, &message.data)?;
                if let Some(text) = self.asks.hear(&envelope.event) {
                    view.aside(&text);
                }
                return Ok(pursuit.judge(&envelope.event));
            }
        }
        Ok(None)
    }

    /// Waits a little when the server may come back; gives up on everything else.
    async fn outage(&mut self, error: CallError, since: Instant, view: &mut dyn View) -> Outcome {
        if !error.is_outage() {
            return Err(error.into());
        }
        let hint = self.hint().map_or_else(String::new, |hint| format!("; {hint}"));
        if since.elapsed() > OUTAGE {
            let secs = OUTAGE.as_secs();
            return Err(Failure::NoServer(format!("the server stayed away for {secs} s ({error}){hint}")));
        }
        if !std::mem::replace(&mut self.told, true) {
            view.aside("(the server went away; waiting for it)");
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = self.interrupts.recv() => {
                self.told = false;
                return Err(Failure::NoServer(format!("the server is away{hint}")));
            }
        }
        if let Some(client) = self.way.again().await? {
            self.client = client;
        }
        Ok(())
    }
}

/// What is waited for, and what was done about it.
struct Pursuit {
    goal: Goal,
    /// The turn was asked to stop.
    cancelled: bool,
}

impl Pursuit {
    /// Whether an event is what was waited for, or brings it closer.
    fn judge(&mut self, event: &Event) -> Option<Ending> {
        match (self.goal, event) {
            (Goal::Input(input), Event::TurnStarted(started)) if started.inputs.contains(&input) => {
                self.goal = Goal::Turn(started.turn);
            }
            (Goal::Input(input), Event::MessageCompleted(message)) if message.input == Some(input) => {
                self.goal = Goal::Turn(message.turn);
            }
            (Goal::Input(input), Event::InputWithdrawn(withdrawn)) if withdrawn.input == input => {
                return Some(Ending::Cancelled);
            }
            (Goal::Turn(turn), event) if event.ends_turn() == Some(turn) => {
                return Some(match event {
                    Event::TurnFailed(failed) => Ending::Failed(failed.clone()),
                    Event::TurnCancelled(_) => Ending::Cancelled,
                    _ => Ending::Completed,
                });
            }
            (_, Event::SessionDeleted(_)) => return Some(Ending::Cancelled),
            _ => {}
        }
        None
    }
}

fn parse<T: serde::de::DeserializeOwned>(text: &str) -> Outcome<T> {
    let unread = |error| Failure::Failed(format!("the stream cannot be read ({error}): versions may differ"));
    serde_json::from_str(text).map_err(unread)
}
