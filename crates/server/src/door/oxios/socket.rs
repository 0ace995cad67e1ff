//! The life of one socket: one task, no channels, every wait bounded.

use std::{collections::HashMap, sync::Arc, time::Duration};

use moongate_core::{Follower, Frame, FrameBody, SessionHandle, StoreError};
use moongate_protocol::{ErrorCode, SessionId};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use super::{
    Owner, Oxios,
    client::{self, Ask},
    displayed::Current,
    ending::Kind,
    follow::{Emit, Following},
    frames::{Body, Client, Word},
    out::{Numbered, Out},
    signs::Signs,
    stream::{Options, owner},
};
use crate::{
    door::shared::{
        Door,
        backlog::Backlog,
        following::Followings,
        socket::{Bounds, End, Heard, Socket},
    },
    reply::Failure,
};

/// Two messages without a session this close together mean one session.
const TOGETHER: Duration = Duration::from_secs(1);
/// How long nobody may be heard.
const SILENCE: Duration = Duration::from_secs(60);

/// What a socket may hold.
pub(super) const BOUNDS: Bounds = Bounds {
    speaks: &[],
    message_bytes: 1 << 20,
    frames: 512,
    bytes: 4 << 20,
    ping: Duration::from_secs(20),
};

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Over(End),
    /// The client talks nonsense.
    Nonsense,
    /// A session cannot be followed.
    Fault,
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        Self::Over(end)
    }
}

impl Ending {
    fn code(self) -> Option<CloseCode> {
        Some(match self {
            Self::Over(End::Gone) => return None,
            Self::Over(End::Silent | End::GoingAway) => CloseCode::Away,
            Self::Over(End::Revoked | End::Slow) | Self::Nonsense => CloseCode::Policy,
            Self::Over(End::TooLarge) => CloseCode::Size,
            Self::Over(End::Protocol(code)) => code,
            Self::Fault => CloseCode::Error,
        })
    }
}

/// A session the socket follows.
pub(super) struct Watch {
    pub(super) fold: Following,
    /// Its id on the wire.
    pub(super) id: Arc<str>,
    /// The client wants to be told when it cannot be resumed.
    pub(super) resync: bool,
}

/// A socket, the sessions it follows, and what waits for room on it.
pub(super) struct Line {
    pub(super) socket: Socket<Out>,
    pub(super) door: Door<Oxios>,
    pub(super) owner: Owner,
    pub(super) options: Options,
    backlog: Backlog<Out>,
    followings: Followings<SessionId>,
    /// Each in a box: a table keeps more places than it uses.
    pub(super) watches: HashMap<SessionId, Box<Watch>>,
    current: Current,
    /// The session a message without one opened, and when.
    opened: Option<(Instant, SessionHandle)>,
    signs: Signs,
}

/// Serves a socket until it ends.
pub(super) async fn run(door: Door<Oxios>, options: Options, mut socket: Socket<Out>) {
    socket.ends_after(SILENCE);
    let mut line = Line {
        owner: owner(socket.caller()),
        current: Current::nowhere(&door),
        socket,
        door,
        options,
        backlog: Backlog::new(),
        followings: Followings::new(),
        watches: HashMap::new(),
        opened: None,
        signs: Signs::new(),
    };
    let ending = line.live().await;
    if let Some(code) = ending.code() {
        line.socket.close(code, "").await;
    }
}

impl Line {
    async fn live(&mut self) -> Ending {
        loop {
            self.backlog.pour(&mut self.socket);
            let flows = self.backlog.is_empty();
            let done = tokio::select! {
                biased;
                heard = self.socket.next() => self.hear(heard).await,
                (session, frames) = self.followings.next(), if flows => self.tell(session, frames).await,
            };
            if let Err(ending) = done {
                return ending;
            }
        }
    }

    async fn hear(&mut self, heard: Heard) -> Result<(), Ending> {
        let text = match heard {
            Heard::Text(text) => text,
            Heard::Binary => return self.refuse(&Failure::invalid("frames are text")),
            Heard::Pong(_) | Heard::Room | Heard::Draining => return Ok(()),
            Heard::Ended(end) => return Err(end.into()),
        };
        let ask = match client::read(&text, self.options.client()) {
            Ok(Ask::Ping) => return Ok(()),
            Ok(ask) => ask,
            Err(failure) => return self.refuse(&failure),
        };
        // Boxed: a socket that only listens does not carry the room commands take.
        match Box::pin(self.obey(ask)).await {
            Ok(said) => self.say_all(said),
            Err(failure) => self.refuse(&failure),
        }
    }

    /// The session the client is in.
    pub(super) fn current(&self) -> Option<SessionId> {
        self.current.session()
    }

    /// The client goes to a session; says where it was.
    pub(super) fn goes_to(&mut self, session: SessionId) -> Option<SessionId> {
        self.current.goes_to(session)
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
    pub(super) fn watch(&mut self, (id, resync): (Arc<str>, bool), fold: Following, follower: Follower) {
        let session = fold.session();
        self.watches.insert(session, Box::new(Watch { fold, id, resync }));
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
                return Err(Ending::Fault);
            }
        };
        for frame in &frames {
            self.socket.sent(frame);
            if matches!(frame.body, FrameBody::Reset(_)) {
                return match Box::pin(self.reset(session)).await {
                    Ok(said) => self.say_all(said),
                    Err(failure) => self.refuse(&failure),
                };
            }
            let Some(watch) = self.watches.get_mut(&session) else { return Ok(()) };
            let (id, emits) = (Arc::clone(&watch.id), watch.fold.take(frame));
            for emit in emits {
                let is_here = emit.client == Client::Plain || self.current.session() == Some(session);
                let is_news = !matches!(emit.body, Body::ToolProgress { .. }) || self.signs.shows_progress();
                if is_here && is_news {
                    let out = self.number(&id, emit);
                    self.backlog.push(out);
                }
            }
        }
        self.unwatch(session);
        Ok(())
    }

    /// Gives a frame of a session of this id its number.
    pub(super) fn number(&self, id: &Arc<str>, emit: Emit) -> Out {
        let Emit { body, message, cursor, .. } = emit;
        let seq = self.door.cursors.put(&self.owner, cursor, self.door.app().gateway().ids().now());
        Out::Turn(Box::new(Numbered { body, seq, message, session: Arc::clone(id) }))
    }

    fn refuse(&mut self, failure: &Failure) -> Result<(), Ending> {
        let kind = match failure.code() {
            ErrorCode::Forbidden => Kind::PermissionDenied,
            ErrorCode::Internal | ErrorCode::Unavailable => Kind::Internal,
            ErrorCode::StoreReadOnly | ErrorCode::DiskFull => Kind::Internal,
            _ => Kind::ValidationError,
        };
        if !self.signs.forgive() {
            return Err(Ending::Nonsense);
        }
        let problem = kind.saying(failure.message().to_owned());
        self.say_all(vec![Word::Error { failed: (&problem).into(), session_id: None }.into()])
    }

    /// Says all of it, after what waits for room.
    fn say_all(&mut self, said: Vec<Out>) -> Result<(), Ending> {
        for out in said {
            self.backlog.say(&mut self.socket, out)?;
        }
        Ok(())
    }
}
