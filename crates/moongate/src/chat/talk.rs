//! A person's side of one session: says something, follows until it is answered, comes back when the server
//! went away.

use std::time::{Duration, Instant};

use http::Method;
use moongate_core::Ids;
use moongate_protocol::{
    Delta, Effort, Envelope, Event, InputId, ModelName, Notice, Position, SessionId, TurnFailed, TurnId,
};
use tokio::{
    signal::unix::Signal,
    time::{MissedTickBehavior, interval, sleep},
};

use super::{view::View, way::Way};
use crate::{
    client::{Accepted, CallError, CancelTurn, Client, Following, InputPart, Message, NewInput},
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

/// A conversation.
pub(crate) struct Talk<'a> {
    pub(crate) client: Client,
    pub(crate) session: SessionId,
    pub(crate) model: Option<ModelName>,
    pub(crate) effort: Option<Effort>,
    /// The last event seen.
    position: Option<Position>,
    pub(crate) way: Way<'a>,
    /// The person knows that the server is away.
    told: bool,
    /// Ctrl-C.
    interrupts: Signal,
}

impl<'a> Talk<'a> {
    /// A conversation in a session, from a position on.
    pub(crate) fn new(
        client: Client,
        way: Way<'a>,
        interrupts: Signal,
        session: SessionId,
        position: Option<Position>,
    ) -> Self {
        Self { client, session, model: None, effort: None, position, way, told: false, interrupts }
    }

    /// Goes on in another session.
    pub(crate) fn switch(&mut self, session: SessionId, position: Option<Position>) {
        self.session = session;
        self.position = position;
    }

    /// Says something and follows until it is answered.
    ///
    /// # Errors
    /// When the server refuses it or stays away.
    pub(crate) async fn say(&mut self, parts: Vec<InputPart>, view: &mut dyn View) -> Outcome<Ending> {
        let input = NewInput { parts, model: self.model.clone(), effort: self.effort };
        let path = format!("/sessions/{}/inputs", self.session);
        // The same name each time: an input whose answer was lost is not said twice.
        let name = data_encoding::HEXLOWER.encode(&Ids::default().random::<16>());
        let begun = Instant::now();
        let accepted: Accepted = loop {
            match self.client.send_once(&path, &name, &input).await {
                Ok(accepted) => break accepted,
                Err(error) => self.outage(error, begun, view).await?,
            }
        };
        view.own(accepted.input);
        self.follow(Goal::Input(accepted.input), view).await
    }

    /// Follows a turn that runs already.
    ///
    /// # Errors
    /// When the server stays away.
    pub(crate) async fn watch(&mut self, turn: TurnId, view: &mut dyn View) -> Outcome<Ending> {
        self.follow(Goal::Turn(turn), view).await
    }

    /// Stops the running turn.
    ///
    /// # Errors
    /// When the server says no.
    pub(crate) async fn cancel(&self) -> Result<(), CallError> {
        let path = format!("/sessions/{}/cancel", self.session);
        self.client.send_bytes(Method::POST, &path, &CancelTurn::default()).await.map(drop)
    }

    async fn follow(&mut self, goal: Goal, view: &mut dyn View) -> Outcome<Ending> {
        let mut pursuit = Pursuit { goal, cancelled: false };
        let mut lost = Instant::now();
        loop {
            let broken = match self.client.follow(self.session, self.position).await {
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
                _ = ticks.tick() => view.tick(),
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
        if since.elapsed() > OUTAGE {
            return Err(Failure::NoServer(format!(
                "the server stayed away for {} s ({error}); `moongate chat --session {}` goes on",
                OUTAGE.as_secs(),
                self.session
            )));
        }
        if !std::mem::replace(&mut self.told, true) {
            view.aside("(the server went away; waiting for it)");
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            _ = self.interrupts.recv() => {
                let advice = format!("`moongate chat --session {}` goes on", self.session);
                return Err(Failure::NoServer(format!("the server is away; {advice}")));
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
