//! The life of one socket: one task, no channels, every wait bounded.

use std::{collections::HashMap, sync::Arc, time::Duration};

use futures_util::{SinkExt as _, StreamExt as _};
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use moongate_core::{Follower, Frame, FrameBody, SessionHandle, StoreError};
use moongate_protocol::{ErrorCode, SessionId};
use tokio::time::{Instant, timeout};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, Role, frame::coding::CloseCode},
    },
};

use super::{
    Owner, Oxios,
    client::{self, Ask},
    ending::Kind,
    follow::{Emit, Following},
    frames::{Body, Client, Framed, Word, encode},
    signs::Signs,
    stream::{Options, owner},
};
use crate::{
    caller::Authenticated,
    door::{
        native::ws::settings,
        shared::{Door, following::Followings},
    },
    life::{Life, Sign},
    limits::{CLOSE_GRACE, SLOW_GRACE},
    reply::Failure,
};

/// Bytes of one message.
const MESSAGE_BYTES: usize = 1 << 20;
/// Two messages without a session this close together mean one session.
const TOGETHER: Duration = Duration::from_secs(1);

/// Why a socket is closed, as its close code says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    /// The client went away, or broke the connection.
    Gone,
    /// No sign of life, or the server stops.
    Away,
    /// The key is no longer valid, or the client talks nonsense.
    Policy,
    /// The client does not read.
    Slow,
    /// The client does not speak WebSocket.
    Protocol(CloseCode),
}

impl Ending {
    fn code(self) -> Option<CloseCode> {
        match self {
            Self::Gone => None,
            Self::Away => Some(CloseCode::Away),
            Self::Policy | Self::Slow => Some(CloseCode::Policy),
            Self::Protocol(code) => Some(code),
        }
    }
}

/// A session the socket follows.
pub(super) struct Watch {
    pub(super) fold: Following,
    /// Its id on the wire.
    pub(super) id: String,
    /// The client wants to be told when it cannot be resumed.
    pub(super) resync: bool,
}

pub(super) struct Socket {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    pub(super) door: Door<Oxios>,
    pub(super) life: Life,
    pub(super) owner: Owner,
    pub(super) options: Options,
    followings: Followings<SessionId>,
    pub(super) watches: HashMap<SessionId, Watch>,
    current: Option<SessionId>,
    /// The session a message without one opened, and when.
    opened: Option<(Instant, SessionHandle)>,
    signs: Signs,
}

/// Serves a socket until it ends.
pub(super) async fn run((door, caller): (Door<Oxios>, Authenticated), options: Options, upgrade: OnUpgrade) {
    let upgraded = match timeout(door.app().limits().head_timeout, upgrade).await {
        Ok(Ok(upgraded)) => TokioIo::new(upgraded),
        _ => return,
    };
    let config = settings::config().max_message_size(Some(MESSAGE_BYTES));
    let stream = WebSocketStream::from_raw_socket(upgraded, Role::Server, Some(config)).await;
    let owner = owner(&caller);
    let life = Life::of_websocket(door.app(), caller);
    let mut socket = Socket {
        stream,
        door,
        life,
        owner,
        options,
        followings: Followings::new(),
        watches: HashMap::new(),
        current: None,
        opened: None,
        signs: Signs::new(),
    };
    let ending = socket.live().await;
    socket.close(ending).await;
}

impl Socket {
    async fn live(&mut self) -> Ending {
        loop {
            let done = tokio::select! {
                biased;
                message = self.stream.next() => match message {
                    None => Err(Ending::Gone),
                    Some(message) => self.hear(message).await,
                },
                (session, frames) = self.followings.next() => self.tell(session, frames).await,
                sign = self.life.sign() => match sign {
                    Sign::Over if self.door.app().closing().is_cancelled() => Err(Ending::Away),
                    Sign::Over => Err(Ending::Policy),
                    Sign::Beat | Sign::Draining => Ok(()),
                },
                () = self.signs.timer.as_mut() => match self.signs.ring() {
                    Ok(true) => self.send(Message::Ping(bytes::Bytes::new())).await,
                    Ok(false) => Ok(()),
                    Err(_) => Err(Ending::Away),
                },
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    async fn hear(&mut self, message: Result<Message, tungstenite::Error>) -> Result<(), Ending> {
        self.signs.heard = Instant::now();
        let text = match message.map_err(|error| fault(&error))? {
            Message::Text(text) => text,
            Message::Binary(_) => return self.refuse(&Failure::invalid("frames are text")).await,
            Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => return Ok(()),
            // The answer goes out when the stream is read to its end.
            Message::Close(_) => return Ok(()),
        };
        if self.life.is_revoked() {
            return Err(Ending::Policy);
        }
        let ask = match client::read(&text, self.options.client()) {
            Ok(Ask::Ping) => return Ok(()),
            Ok(ask) => ask,
            Err(failure) => return self.refuse(&failure).await,
        };
        // Boxed: a socket that only listens does not carry the room commands take.
        match Box::pin(self.obey(ask)).await {
            Ok(said) => self.say_all(said).await,
            Err(failure) => self.refuse(&failure).await,
        }
    }

    /// The session the client is in.
    pub(super) fn current(&self) -> Option<SessionId> {
        self.current
    }

    /// The client goes to a session; says where it was.
    pub(super) fn goes_to(&mut self, session: SessionId) -> Option<SessionId> {
        self.door.displayed.moves(self.current, Some(session));
        self.current.replace(session)
    }

    /// The session a message without one goes to, when another one came just before.
    pub(super) fn opened_just_now(&self) -> Option<SessionHandle> {
        let (when, session) = self.opened.as_ref()?;
        (when.elapsed() <= TOGETHER).then(|| session.clone())
    }

    /// A message without a session opened one.
    pub(super) fn opens(&mut self, session: &SessionHandle) {
        self.opened = Some((Instant::now(), session.clone()));
    }

    /// Follows a session in place of how it was followed before.
    pub(super) fn watch(&mut self, (id, resync): (String, bool), fold: Following, follower: Follower) {
        let session = fold.session();
        self.watches.insert(session, Watch { fold, id, resync });
        self.followings.follow(session, follower);
    }

    /// Follows a session no longer, when nothing of it concerns the client.
    pub(super) fn unwatch(&mut self, session: SessionId) {
        if self.watches.get(&session).is_some_and(|watch| watch.fold.is_over()) {
            self.watches.remove(&session);
            self.followings.stop(&session);
        }
    }

    /// Sends what a follower has.
    async fn tell(
        &mut self,
        session: SessionId,
        frames: Result<Vec<Arc<Frame>>, StoreError>,
    ) -> Result<(), Ending> {
        let frames = match frames {
            Ok(frames) => frames,
            Err(error) => {
                tracing::warn!(session.id = %session, %error, "a session cannot be followed");
                return Err(Ending::Protocol(CloseCode::Error));
            }
        };
        let mut said = Vec::new();
        for frame in &frames {
            self.life.sent(frame);
            if matches!(frame.body, FrameBody::Reset(_)) {
                return match Box::pin(self.reset(session)).await {
                    Ok(said) => self.say_all(said).await,
                    Err(failure) => self.refuse(&failure).await,
                };
            }
            let Some(watch) = self.watches.get_mut(&session) else { return Ok(()) };
            for emit in watch.fold.take(frame) {
                let is_here = emit.client == Client::Plain || self.current == Some(session);
                let is_news = !matches!(emit.body, Body::ToolProgress { .. }) || self.signs.shows_progress();
                said.extend((is_here && is_news).then_some(emit));
            }
        }
        let said = self.encode(session, &said);
        self.unwatch(session);
        self.say_all(said).await
    }

    /// Gives frames their numbers.
    fn encode(&self, session: SessionId, emits: &[Emit]) -> Vec<String> {
        let id = self.watches.get(&session).map_or_else(|| session.to_string(), |watch| watch.id.clone());
        self.encode_as(&id, emits)
    }

    /// Gives frames of a session of this id their numbers.
    pub(super) fn encode_as(&self, id: &str, emits: &[Emit]) -> Vec<String> {
        let now = self.door.app().gateway().ids().now();
        let framed = |emit: &Emit| {
            let seq = self.door.cursors.put(&self.owner, emit.cursor.clone(), now);
            let message_id = emit.message;
            encode(&Framed { body: &emit.body, seq, message_id, session_id: id, project_id: () })
        };
        emits.iter().map(framed).collect()
    }

    async fn refuse(&mut self, failure: &Failure) -> Result<(), Ending> {
        let kind = match failure.code() {
            ErrorCode::Forbidden => Kind::PermissionDenied,
            ErrorCode::Internal | ErrorCode::Unavailable => Kind::Internal,
            ErrorCode::StoreReadOnly | ErrorCode::DiskFull => Kind::Internal,
            _ => Kind::ValidationError,
        };
        if !self.signs.forgive() {
            return Err(Ending::Policy);
        }
        let problem = kind.saying(failure.message().to_owned());
        let word = encode(&Word::Error { failed: (&problem).into(), session_id: None });
        self.say_all(vec![word]).await
    }

    /// Sends all, gathered into as few writes as possible.
    async fn say_all(&mut self, texts: Vec<String>) -> Result<(), Ending> {
        if texts.is_empty() {
            return Ok(());
        }
        let patience = self.patience();
        for text in texts {
            within(patience, self.stream.feed(Message::Text(Utf8Bytes::from(text)))).await?;
        }
        within(patience, self.stream.flush()).await
    }

    async fn send(&mut self, message: Message) -> Result<(), Ending> {
        let patience = self.patience();
        within(patience, self.stream.send(message)).await
    }

    /// How long a client may take no bytes: less than the socket allows, so that there is time to say why.
    fn patience(&self) -> Duration {
        self.door.app().limits().write_stall * 2 / 3
    }

    async fn close(mut self, ending: Ending) {
        let Some(code) = ending.code() else { return };
        if ending == Ending::Slow {
            self.door.app().metrics().stalled.add();
        }
        let goodbye = async {
            // Whether the client still hears it is its own affair.
            drop(self.stream.close(Some(CloseFrame { code, reason: Utf8Bytes::default() })).await);
            while let Some(Ok(_)) = self.stream.next().await {}
        };
        let grace = if ending == Ending::Slow { SLOW_GRACE } else { CLOSE_GRACE };
        drop(timeout(grace, goodbye).await);
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.door.displayed.moves(self.current, None);
    }
}

/// Waits for a write, as long as a client may take no bytes.
async fn within(
    patience: Duration,
    write: impl Future<Output = Result<(), tungstenite::Error>>,
) -> Result<(), Ending> {
    timeout(patience, write).await.map_err(|_| Ending::Slow)?.map_err(|_| Ending::Gone)
}

fn fault(error: &tungstenite::Error) -> Ending {
    settings::close_code(error).map_or(Ending::Gone, Ending::Protocol)
}
