//! The WebSocket mode of `/responses`: the same requests and the same events, one response after the other.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use axum::extract::{Request, State};
use bytes::{Bytes, BytesMut};
use moongate_core::{Frame, Refusal};
use moongate_protocol::ErrorCode;
use serde::{Deserialize, Serialize};
use tokio_tungstenite::tungstenite::{Utf8Bytes, protocol::frame::coding::CloseCode};

use super::{
    fold::{Style, Tape},
    request::ResponseRequest,
    socket_line, start,
};
use crate::{
    body::parse,
    caller::Authenticated,
    door::{
        openai::{
            At, Openai,
            failure::{Fault, Info, Reply},
            rates,
            run::{Held, Source},
        },
        shared::{
            Door,
            socket::{Bounds, End, Heard, Socket, upgrade},
        },
    },
    limits::WS_MESSAGE_BYTES,
    reply::Failure,
};

/// Requests that wait while a response is being written.
const WAITING: usize = 16;

/// When to try again, for a client that has too many sockets.
const RETRY_AFTER: Duration = Duration::from_secs(5);

const BOUNDS: Bounds = Bounds {
    speaks: &[],
    message_bytes: WS_MESSAGE_BYTES,
    frames: 1024,
    bytes: 4 << 20,
    ping: Duration::from_secs(30),
};

pub(super) async fn open(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let share = door.sockets.try_take(caller.key()).ok_or_else(|| {
        let message = "this key has as many sockets open as it may have";
        Refusal::later(ErrorCode::RateLimited, message, RETRY_AFTER)
    })?;
    let app = door.app().clone();
    let live = move |socket| async move {
        let _share = share;
        Talk::new(door, socket).live().await;
    };
    Ok(upgrade(&app, caller, request, BOUNDS, live)?)
}

/// What a client asks for.
#[derive(Deserialize)]
#[serde(tag = "type")]
enum Ask {
    #[serde(rename = "response.create")]
    Create(Box<ResponseRequest>),
    #[serde(other)]
    Other,
}

/// Reads a client's frame.
pub(super) fn read(text: &[u8]) -> Reply<ResponseRequest> {
    match parse(text)? {
        Ask::Create(request) => Ok(*request),
        Ask::Other => Err(Fault::field("type", "a frame's type is response.create")),
    }
}

/// What went wrong.
#[derive(Serialize)]
struct Wrong {
    #[serde(rename = "type")]
    kind: &'static str,
    status: u16,
    error: Info,
}

/// A response that is being written.
struct Telling {
    source: Source,
    tape: Tape,
}

struct Talk {
    door: Door<Openai>,
    socket: Socket<Bytes>,
    waiting: VecDeque<Utf8Bytes>,
    telling: Option<Box<Telling>>,
    /// The last response, where it is not stored: the next request may go on from it.
    held: Option<Held>,
}

/// What happened.
enum News {
    Heard(Heard),
    Frames(Reply<()>),
}

impl Talk {
    fn new(door: Door<Openai>, socket: Socket<Bytes>) -> Self {
        Self { door, socket, waiting: VecDeque::new(), telling: None, held: None }
    }

    async fn live(mut self) {
        let mut frames = Vec::new();
        let end = loop {
            if self.telling.is_none()
                && !self.waiting.is_empty()
                && let Err(end) = Box::pin(self.begin_next()).await
            {
                break end;
            }
            let more = async {
                match &mut self.telling {
                    Some(telling) => telling.source.next(&mut frames).await,
                    None => std::future::pending().await,
                }
            };
            let news = tokio::select! {
                heard = self.socket.next() => News::Heard(heard),
                more = more => News::Frames(more),
            };
            let done = match news {
                News::Heard(Heard::Text(text)) => self.wait(text),
                News::Heard(Heard::Binary) => self.wrong(&Fault::invalid("frames are text")),
                News::Heard(Heard::Pong(_) | Heard::Room | Heard::Draining) => Ok(()),
                News::Heard(Heard::Ended(end)) => Err(end),
                News::Frames(more) => self.tell(&mut frames, more),
            };
            if let Err(end) = done {
                break end;
            }
        };
        let (code, reason) = match end {
            End::Gone | End::Silent => return,
            End::Revoked => (CloseCode::from(4001), "the key is no longer valid"),
            End::Slow => (CloseCode::Again, "the client does not read"),
            End::GoingAway => (CloseCode::Restart, "the server goes away"),
            End::TooLarge => (CloseCode::Size, "the message is too large"),
            End::Protocol(code) => (code, ""),
        };
        self.socket.close(code, reason).await;
    }

    fn wait(&mut self, text: Utf8Bytes) -> Result<(), End> {
        if self.waiting.len() >= WAITING {
            let message = format!("at most {WAITING} requests wait; read the responses first");
            return self.wrong(&Failure::new(ErrorCode::QueueFull, message).into());
        }
        self.waiting.push_back(text);
        Ok(())
    }

    /// Begins the next response that was asked for, when none is being written.
    async fn begin_next(&mut self) -> Result<(), End> {
        while self.telling.is_none() {
            let Some(text) = self.waiting.pop_front() else { return Ok(()) };
            match self.begin(&text).await {
                Ok(telling) => self.telling = Some(Box::new(telling)),
                Err(fault) => self.wrong(&fault)?,
            }
        }
        Ok(())
    }

    async fn begin(&mut self, text: &str) -> Reply<Telling> {
        let request = read(text.as_bytes())?;
        if request.background == Some(true) {
            return Err(Fault::field("background", "a WebSocket's responses are not in the background"));
        }
        let caller = self.socket.caller().clone();
        rates::take(&self.door.rate, &caller)?;
        let begun = start::start(&self.door, &caller, request).await?;
        let tape = Tape::new(begun.id, begun.store, None, Style::Socket);
        self.held.clone_from(&begun.run.source.held);
        Ok(Telling { source: begun.run.source, tape })
    }

    fn tell(&mut self, frames: &mut Vec<Arc<Frame>>, more: Reply<()>) -> Result<(), End> {
        let Some(telling) = &mut self.telling else { return Ok(()) };
        let mut out = BytesMut::new();
        let over = frames.drain(..).any(|frame| telling.tape.advance(&frame, &mut out));
        let failed = more.err().filter(|_| !over);
        if over || failed.is_some() {
            self.telling = None;
        }
        while let Some(end) = memchr::memchr(b'\n', &out) {
            let line = out.split_to(end + 1).freeze();
            self.socket.say(line.slice(..end))?;
        }
        failed.map_or(Ok(()), |fault| self.wrong(&fault))
    }

    fn wrong(&mut self, fault: &Fault) -> Result<(), End> {
        let mut out = BytesMut::new();
        socket_line(&Wrong { kind: "error", status: fault.status().as_u16(), error: fault.info() }, &mut out);
        out.truncate(out.len().saturating_sub(1));
        self.socket.say(out.freeze())
    }
}
