//! The life of one chat socket: one task, everything it waits for bounded.

mod below;
mod chat;
mod hear;
mod observe;
mod pulse;
mod say;

use std::future::pending;

use moongate_core::StoreError;
use moongate_protocol::{ErrorCode, TurnId};
use tokio::time::sleep_until;

pub(super) use self::chat::Opening;
use self::{
    below::Below,
    chat::{Chat, Ending, Own},
    observe::{Observer, watch},
    pulse::Pulse,
};
use super::{
    Construct,
    attach::{self, Arrival, Attached, Resume},
    chats,
    fold::{Audience, Told},
    frames::{Accepted, Frame, SessionStart, Word},
    out::{self, Out},
    problems::{self, Busy},
};
use crate::door::shared::{Door, backlog::Backlog, kin::Kin, socket::Socket};

/// What the client can do with frames the old one did not know.
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    aborted: bool,
    split_queue_codes: bool,
    approvals: bool,
}

/// A chat socket, the session it is for, and what waits for room on it.
pub(super) struct Line {
    socket: Socket<Out>,
    door: Door<Construct>,
    chat: Chat,
    can: Capabilities,
    pulse: Pulse,
    /// What other agents do for it.
    below: Below,
    /// What it sees of other sessions, while it only watches.
    observer: Option<Observer>,
    /// What was read of the session and did not find room yet: nothing more is read meanwhile.
    backlog: Backlog<Out>,
}

/// Serves a socket until it ends.
pub(super) async fn run(door: Door<Construct>, opening: Opening, socket: Socket<Out>) {
    let pulse = Pulse::new(door.settings.timing);
    let chat = Chat::nowhere(opening.id.clone(), door.app().gateway().catalog().default_agent.clone());
    let (can, backlog) = (Capabilities::default(), Backlog::new());
    let below = Below::new(Kin::new(door.app().gateway().clone(), socket.caller().clone()));
    let mut line = Line { socket, door, chat, can, pulse, below, observer: None, backlog };
    let ending = match Box::pin(line.open(opening)).await {
        Ok(()) => line.live().await,
        Err(ending) => ending,
    };
    if let Some((code, reason)) = ending.code() {
        line.socket.close(code, reason).await;
    }
}

impl Line {
    /// Binds the socket to a session and says how it finds it.
    async fn open(&mut self, opening: Opening) -> Result<(), Ending> {
        let caller = self.socket.caller().clone();
        let id = self.door.canonical(&caller, opening.id).await.map_err(|_| Ending::Fault)?;
        let opening = Opening { id, ..opening };
        // What waited belongs to the session before.
        self.backlog.clear();
        self.below = Below::new(Kin::new(self.door.app().gateway().clone(), caller.clone()));
        let agent = match self.door.agent(&caller, opening.agent.as_deref()) {
            Ok(agent) => Some(agent),
            // An existing session has its own.
            Err(why) => match self.door.find(&caller, &opening.id).await {
                Ok(Some(_)) => None,
                _ => return self.no_agent(why.0),
            },
        };
        let fallback = self.door.app().gateway().catalog().default_agent.clone();
        self.chat = Chat::nowhere(opening.id, agent.unwrap_or(fallback));
        let alias = chats::alias(&caller, &self.chat.id).map_err(|_| Ending::Fault)?;
        // Before looking: a session that begins in between is not missed.
        self.chat.expected = Some(self.door.births.expect(&alias));
        if let Some(name) = opening.name {
            let (id, agent) = (self.chat.id.clone(), self.chat.agent.clone());
            if self.door.begin(&caller, &id, &agent, Some(name)).await.is_err() {
                return Err(Ending::Fault);
            }
        }
        self.arrive(opening.resume.as_ref()).await
    }

    fn no_agent(&mut self, why: &str) -> Result<(), Ending> {
        let message = format!("Failed to initialise agent: {why}");
        self.say(Word::Error(Box::new(problems::plain("AGENT_INIT_FAILED", message))))?;
        Err(Ending::NoAgent)
    }

    /// Looks for the session and tells the client how it is.
    async fn arrive(&mut self, resume: Option<&Resume>) -> Result<(), Ending> {
        let caller = self.socket.caller().clone();
        let arrival = match self.door.find(&caller, &self.chat.id).await {
            Err(_) => return Err(Ending::Fault),
            Ok(None) => None,
            Ok(Some(handle)) => match Attached::arrive(&self.door, handle, &self.chat.id, resume).await {
                Ok((attached, arrival)) => {
                    self.chat.attached = Some(attached);
                    Some(arrival)
                }
                // Deleted in this moment.
                Err(refusal) if refusal.code == ErrorCode::NotFound => None,
                Err(_) => return Err(Ending::Fault),
            },
        };
        let Arrival { start, turn, replay } = arrival.unwrap_or_else(|| {
            let reset = resume.is_some_and(|resume| resume.last_seq > 0);
            let start = attach::unborn(&self.chat.id, self.chat.agent.as_str(), reset, self.door.now());
            Arrival { start, turn: None, replay: Vec::new() }
        });
        self.start(start, turn)?;
        replay.into_iter().for_each(|told| self.tell(told, true));
        self.meet();
        Ok(())
    }

    fn start(&mut self, start: SessionStart, turn_id: Option<TurnId>) -> Result<(), Ending> {
        let word = Word::SessionStart(Box::new(start));
        Ok(self.socket.say(Frame { turn_id, ..Frame::bare(word) }.into())?)
    }

    async fn live(&mut self) -> Ending {
        let mut told = Vec::new();
        loop {
            self.backlog.pour(&mut self.socket);
            let (due, flows) = (self.due(), self.backlog.is_empty());
            let is_due = async {
                match due {
                    Some(due) => sleep_until(due).await,
                    None => pending().await,
                }
            };
            let done = tokio::select! {
                biased;
                heard = self.socket.next() => self.hear(heard).await,
                // Before the session itself: what another agent did comes before what came of it.
                tidings = self.below.kin.next(), if flows => {
                    self.related(&tidings);
                    Ok(())
                }
                news = self.chat.news(&mut told), if flows => match news {
                    Ok(()) => self.news(&mut told).await,
                    Err(error) => self.lost(&error),
                },
                happening = watch(&mut self.observer), if flows => {
                    Box::pin(self.observed(happening)).await;
                    Ok(())
                }
                () = is_due => Box::pin(self.tick()).await,
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    /// Tells the client of news of the session.
    async fn news(&mut self, told: &mut Vec<Told>) -> Result<(), Ending> {
        if self.chat.attached.is_none() {
            return Box::pin(self.attach()).await;
        }
        let deleted = told.iter().any(|told| told.word == Word::SessionDeleted);
        let replay_to = self.chat.attached.as_ref().map_or(0, |attached| attached.replay_to);
        // An idle socket keeps no room for what it was once told.
        for told in std::mem::take(told) {
            let replay = told.seq.is_some_and(|seq| seq <= replay_to);
            self.tell(told, replay);
        }
        self.meet();
        if deleted { self.detach() } else { Ok(()) }
    }

    /// Follows the session from its beginning, once it is there.
    async fn attach(&mut self) -> Result<(), Ending> {
        let caller = self.socket.caller().clone();
        let found = self.door.find(&caller, &self.chat.id).await.map_err(|_| Ending::Fault)?;
        self.chat.attached = found.map(|handle| Attached::new(handle, &self.door));
        Ok(())
    }

    /// The session is gone; the next one of this name is another one.
    fn detach(&mut self) -> Result<(), Ending> {
        let alias = chats::alias(self.socket.caller(), &self.chat.id).map_err(|_| Ending::Fault)?;
        self.chat.attached = None;
        self.chat.own.clear();
        self.chat.expected = Some(self.door.births.expect(&alias));
        Ok(())
    }

    fn lost(&mut self, error: &StoreError) -> Result<(), Ending> {
        if !attach::is_gone(error) {
            return Err(Ending::Fault);
        }
        self.say(Word::SessionDeleted)?;
        self.detach()
    }

    /// Sends what a socket of this kind is told, in its order.
    fn tell(&mut self, told: Told, replay: bool) {
        let Told { to, seq, turn: turn_id, word } = told;
        let Some(word) = self.heard_by(to, word, turn_id) else { return };
        let ends = out::is_end(&word);
        self.backlog.push(Frame { word, seq, turn_id, replay }.into());
        let session = self.chat.attached.as_ref().map(|attached| attached.handle.id());
        if let Some(end) = session.zip(seq).filter(|_| ends) {
            // Its answer shows that the client is there to see it.
            self.backlog.push(self.pulse.shows(end));
        }
    }

    /// What this socket is told of it; `None` when nothing.
    fn heard_by(&mut self, to: Audience, word: Word, turn: Option<TurnId>) -> Option<Word> {
        match (to, word) {
            (Audience::WithoutAborted, _) if self.can.aborted => None,
            (Audience::WithoutApprovals, _) if self.can.approvals => None,
            (Audience::Others(input), word) => match self.chat.own.get(&input) {
                None => Some(word),
                Some(own) => Some(Word::Accepted(Accepted {
                    input_id: input,
                    position: own.position,
                    client_message_id: own.client_message_id.clone(),
                    epoch: self.epoch(),
                })),
            },
            (Audience::Withdrawn(input), _) => {
                let own = self.chat.own.remove(&input)?;
                let why = if own.expired { Busy::TimedOut } else { Busy::Cleared };
                let mut problem = problems::busy(self.chat.id.as_str(), why, self.can.split_queue_codes);
                problem.client_message_id = own.client_message_id;
                problem.input_id = Some(input);
                Some(Word::Error(Box::new(problem)))
            }
            (_, Word::TurnStart(start)) => {
                let own = start.input_id.and_then(|input| self.chat.own.remove(&input));
                self.chat.asked = turn.zip(own.map(|own| own.client_message_id));
                Some(Word::TurnStart(start))
            }
            (_, Word::Error(mut problem)) => {
                let asked = self.chat.asked.take_if(|(asked, _)| Some(*asked) == turn);
                problem.client_message_id = asked.and_then(|(_, id)| id);
                Some(Word::Error(problem))
            }
            (_, Word::AgentEvent(mut event)) => {
                event.session_id = self.chat.id.to_string();
                Some(Word::AgentEvent(event))
            }
            (_, word) => Some(word),
        }
    }

    fn epoch(&self) -> String {
        let attached = self.chat.attached.as_ref();
        attached.map_or_else(String::new, |attached| attached.handle.head().epoch.to_string())
    }

    /// Answers the client, after what waits for room.
    fn say(&mut self, word: Word) -> Result<(), Ending> {
        Ok(self.backlog.say(&mut self.socket, Frame::bare(word).into())?)
    }
}
