//! The life of one chat socket: one task, everything it waits for bounded.

mod chat;
mod hear;
mod pulse;
mod say;
mod wire;

use std::time::Duration;

use futures_util::{
    SinkExt as _, StreamExt as _,
    stream::{SplitSink, SplitStream},
};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use moongate_core::StoreError;
use moongate_protocol::TurnId;
use tokio::time::{Instant, sleep_until, timeout, timeout_at};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        Message, Utf8Bytes,
        protocol::{CloseFrame, Role, WebSocketConfig},
    },
};

pub(super) use self::chat::Opening;
use self::{
    chat::{Chat, Ending, Own, Pulse},
    wire::{Wire, fault, send},
};
use super::{
    Construct,
    attach::{self, Arrival, Attached, Resume},
    chats,
    fold::{Audience, Told},
    frames::{Accepted, Frame, SessionStart, Word},
    outbox::{self, Outbox},
    problems::{self, Busy},
};
use crate::{
    App,
    caller::Authenticated,
    door::{native::ws::settings::config, shared::Door},
    life::Life,
};

/// How long a socket may take to hear why it is closed.
const GOODBYE: Duration = Duration::from_secs(1);
/// The same for a client that did not read: it has to catch up before.
const SLOW_GOODBYE: Duration = Duration::from_secs(10);
/// How long a client with too much waiting for it may take to read some of it.
const PATIENCE: Duration = Duration::from_secs(5);
/// What the client can do with frames the old one did not know.
#[derive(Clone, Copy, Debug, Default)]
struct Capabilities {
    aborted: bool,
    split_queue_codes: bool,
    approvals: bool,
}

struct Socket {
    source: SplitStream<Wire>,
    sink: SplitSink<Wire, Message>,
    /// Something was written and not flushed.
    unflushed: bool,
    out: Outbox,
    life: Life,
    door: Door<Construct>,
    chat: Chat,
    can: Capabilities,
    pulse: Pulse,
}

/// Serves a socket until it ends.
pub(super) async fn run(door: Door<Construct>, caller: Authenticated, opening: Opening, upgrade: OnUpgrade) {
    let app: &App = door.app();
    let upgraded = match timeout(app.limits().head_timeout, upgrade).await {
        Ok(Ok(upgraded)) => TokioIo::new(upgraded),
        _ => return,
    };
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(bounds(&door))).await;
    let (sink, source) = stream.split();
    let life = Life::of_websocket(app, caller.clone());
    let pulse = Pulse::new(door.settings.timing);
    let out = Outbox::new(&door.settings.limits);
    let chat = Chat::nowhere(opening.id.clone(), app.gateway().catalog().default_agent.clone());
    let can = Capabilities::default();
    let mut socket = Socket { source, sink, unflushed: false, out, life, door, chat, can, pulse };
    let ending = match socket.open(opening).await {
        Ok(()) => socket.live().await,
        Err(ending) => ending,
    };
    socket.close(ending).await;
}

fn bounds(door: &Door<Construct>) -> WebSocketConfig {
    let most = door.settings.limits.json_bytes;
    config().max_message_size(Some(most)).max_frame_size(Some(most))
}

impl Socket {
    /// Binds the socket to a session and says how it finds it.
    async fn open(&mut self, opening: Opening) -> Result<(), Ending> {
        let caller = self.life.caller().clone();
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
        let caller = self.life.caller().clone();
        let found = Attached::find(&self.door, &caller, &self.chat.id).await.map_err(|_| Ending::Fault)?;
        let arrival = match found {
            Some(mut attached) => {
                let (id, door) = (&self.chat.id, &self.door);
                let arrival = attached.arrive(id, resume, |attached| late(door, attached)).await;
                match arrival {
                    Ok(arrival) if arrival.start.last_seq > 0 => {
                        self.chat.attached = Some(attached);
                        Some(arrival)
                    }
                    Ok(_) => None,
                    Err(error) if attach::is_gone(&error) => None,
                    Err(_) => return Err(Ending::Fault),
                }
            }
            None => None,
        };
        let Arrival { start, turn, replay } = arrival.unwrap_or_else(|| {
            let reset = resume.is_some_and(|resume| resume.last_seq > 0);
            let start = attach::unborn(&self.chat.id, self.chat.agent.as_str(), reset, self.door.now());
            Arrival { start, turn: None, replay: Vec::new() }
        });
        self.start(start, turn)?;
        for told in replay {
            self.tell(told, true)?;
        }
        Ok(())
    }

    fn start(&mut self, start: SessionStart, turn_id: Option<TurnId>) -> Result<(), Ending> {
        let word = Word::SessionStart(Box::new(start));
        self.out.push(Frame { turn_id, ..Frame::bare(word) });
        Ok(())
    }

    async fn live(&mut self) -> Ending {
        let mut told = Vec::new();
        loop {
            if self.out.is_full()
                && let Err(ending) = self.drain().await
            {
                return ending;
            }
            let due = self.due();
            let has_output = self.unflushed || !self.out.is_empty();
            let done = tokio::select! {
                message = self.source.next() => match message {
                    None => Err(Ending::Gone),
                    Some(message) => self.hear(message).await,
                },
                sent = send(&mut self.sink, &mut self.out, &mut self.unflushed), if has_output => {
                    self.sent(sent)
                }
                news = self.chat.news(&mut told) => match news {
                    Ok(()) => self.news(&mut told).await,
                    Err(error) => self.lost(&error),
                },
                sign = self.life.sign() => self.heed(sign),
                () = sleep_until(due) => self.tick().await,
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    /// Sends until little enough waits. A client that does not take it in time does not read.
    async fn drain(&mut self) -> Result<(), Ending> {
        let over = Instant::now() + PATIENCE;
        while self.out.is_full() {
            let sent = timeout_at(over, send(&mut self.sink, &mut self.out, &mut self.unflushed)).await;
            self.sent(sent.map_err(|_| Ending::Slow)?)?;
        }
        Ok(())
    }

    /// Tells the client of news of the session.
    async fn news(&mut self, told: &mut Vec<Told>) -> Result<(), Ending> {
        if self.chat.attached.is_none() {
            return self.attach().await;
        }
        let deleted = told.iter().any(|told| told.word == Word::SessionDeleted);
        for told in told.drain(..) {
            self.tell(told, false)?;
        }
        if deleted { self.detach() } else { Ok(()) }
    }

    /// Follows the session from its beginning, once it is there.
    async fn attach(&mut self) -> Result<(), Ending> {
        let caller = self.life.caller().clone();
        match Attached::find(&self.door, &caller, &self.chat.id).await {
            Ok(attached) => self.chat.attached = attached,
            Err(_) => return Err(Ending::Fault),
        }
        Ok(())
    }

    /// The session is gone; the next one of this name is another one.
    fn detach(&mut self) -> Result<(), Ending> {
        let alias = chats::alias(self.life.caller(), &self.chat.id).map_err(|_| Ending::Fault)?;
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

    /// Sends what a socket of this kind is told.
    fn tell(&mut self, told: Told, replay: bool) -> Result<(), Ending> {
        let Told { to, seq, turn: turn_id, word } = told;
        let Some(word) = self.heard_by(to, word, turn_id) else { return Ok(()) };
        let ends = outbox::is_end(&word);
        self.out.push(Frame { word, seq, turn_id, replay });
        if ends {
            // Its answer shows that the client is there to see it.
            self.out.ping();
        }
        Ok(())
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
            (_, word) => Some(word),
        }
    }

    fn epoch(&self) -> String {
        let view = self.chat.attached.as_ref().and_then(|attached| attached.fold.view());
        view.map_or_else(String::new, |view| view.head.epoch.to_string())
    }

    fn say(&mut self, word: Word) -> Result<(), Ending> {
        self.out.push(Frame::bare(word));
        Ok(())
    }

    async fn close(mut self, ending: Ending) {
        let Some((code, reason)) = ending.code() else { return };
        let slow = ending == Ending::Slow;
        if slow {
            self.door.app().metrics().stalled.add();
            self.out.clear();
        }
        let patience = if slow { SLOW_GOODBYE } else { GOODBYE };
        let goodbye = async {
            while !self.out.is_empty() {
                if send(&mut self.sink, &mut self.out, &mut self.unflushed).await.is_err() {
                    return;
                }
            }
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            // Whether the client still hears it is its own affair.
            drop(self.sink.send(Message::Close(Some(frame))).await);
            while let Some(Ok(_)) = self.source.next().await {}
        };
        drop(timeout(patience, goodbye).await);
    }
}

/// The last answer, when nobody saw it and it is not old.
fn late(door: &Door<Construct>, attached: &Attached) -> Vec<Told> {
    let Some(ending) = attached.fold.ending() else { return Vec::new() };
    let kept = Duration::from_secs(door.settings.timing.late_answer_secs);
    let fresh = door.now().since(ending.at) < kept;
    if !fresh || door.seen.covers(attached.handle.id(), ending.seq) {
        return Vec::new();
    }
    attach::late_answer(&ending.told)
}
