//! One WebSocket of a door: read at all times, written as fast as its client reads, pinged, ended with its key.

use std::{future::poll_fn, time::Duration};

use axum::{extract::Request, response::Response};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use moongate_core::Frame;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{Role, frame::coding::CloseCode},
    },
};

use super::{
    handshake,
    outbox::{Full, Outbox, Outgoing},
    pulse::{Pulse, Silent},
    wire::{Wire, Wired},
};
use crate::{
    App,
    address::Peer,
    caller::Authenticated,
    door::native::ws::settings,
    life::{Life, Sign},
    limits::{CLOSE_GRACE, SLOW_GRACE},
    reply::Failure,
};

/// What a socket may hold, and how often it is pinged.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    /// Subprotocols the door selects where they are offered; none has to be.
    pub(crate) speaks: &'static [&'static str],
    /// Bytes of a client's message.
    pub(crate) message_bytes: usize,
    /// Frames that wait for the client.
    pub(crate) frames: usize,
    /// Their bytes.
    pub(crate) bytes: usize,
    /// How often it is pinged.
    pub(crate) ping: Duration,
}

/// What came from a socket.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A text, while the key was still valid.
    Text(Utf8Bytes),
    /// Bytes that are no text.
    Binary,
    /// The answer to a ping: a probe's bytes, or none.
    Pong(Bytes),
    /// There is room again where there was none; see [`Socket::has_room`].
    Room,
    /// The server will go away; said once.
    Draining,
    /// It is over.
    Ended(End),
}

/// Why a socket is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The client went away.
    Gone,
    /// Nobody is heard.
    Silent,
    /// The key is no longer valid.
    Revoked,
    /// The client does not read.
    Slow,
    /// The server goes away.
    GoingAway,
    /// The client's message is too large.
    TooLarge,
    /// The client does not speak WebSocket.
    Protocol(CloseCode),
}

/// A WebSocket whose frames are `F`.
pub(crate) struct Socket<F> {
    wire: Wire<F>,
    life: Life,
    pulse: Pulse,
    /// The client does not read.
    slow: bool,
}

/// Answers the upgrade and lives the socket in a task of the server's own.
///
/// # Errors
/// When the request does not become a WebSocket.
pub(crate) fn upgrade<F: Outgoing, L: Future<Output = ()> + Send + 'static>(
    app: &App,
    caller: Authenticated,
    mut request: Request,
    bounds: Bounds,
    live: impl FnOnce(Socket<F>) -> L + Send + 'static,
) -> Result<Response, Failure> {
    let accepted = handshake::accept(&mut request, bounds.speaks)?;
    let peer = request.extensions_mut().remove::<Peer>();
    let (app, upgrade) = (app.clone(), accepted.upgrade);
    let tasks = app.tasks().clone();
    tasks.spawn(async move {
        // Held as long as the socket: it still counts as one of the open connections.
        let _peer = peer;
        let kill = app.kill().clone();
        let lived = async {
            if let Some(socket) = Socket::open(&app, caller, upgrade, bounds).await {
                live(socket).await;
            }
        };
        tokio::select! {
            () = lived => {}
            () = kill.cancelled() => {}
        }
    });
    Ok(accepted.response)
}

impl<F: Outgoing> Socket<F> {
    async fn open(app: &App, caller: Authenticated, upgrade: OnUpgrade, bounds: Bounds) -> Option<Self> {
        let upgraded = timeout(app.limits().head_timeout, upgrade).await.ok()?.ok()?;
        let config = settings::config()
            .max_message_size(Some(bounds.message_bytes))
            .max_frame_size(Some(bounds.message_bytes));
        let stream =
            WebSocketStream::from_raw_socket(TokioIo::new(upgraded), Role::Server, Some(config)).await;
        Some(Self {
            wire: Wire::new(stream, Outbox::new(bounds.frames, bounds.bytes)),
            life: Life::of_websocket(app, caller),
            pulse: Pulse::new(bounds.ping),
            slow: false,
        })
    }

    /// Who is at the other end.
    pub(crate) fn caller(&self) -> &Authenticated {
        self.life.caller()
    }

    /// Queues a frame; it is written while [`Socket::next`] is waited for.
    ///
    /// # Errors
    /// `Slow` when the client does not read.
    pub(crate) fn say(&mut self, frame: F) -> Result<(), End> {
        self.wire.outbox().push(frame).map_err(|Full| self.too_slow())
    }

    /// The client does not read.
    pub(crate) fn too_slow(&mut self) -> End {
        self.slow = true;
        End::Slow
    }

    /// So long may nobody be heard, in place of two pings without an answer.
    pub(crate) fn ends_after(&mut self, silence: Duration) {
        self.pulse.ends_after(silence);
    }

    /// Counts what was sent of a session.
    pub(crate) fn sent(&self, frame: &Frame) {
        self.life.sent(frame);
    }

    /// The same, however large it is: for whoever asks for room before each.
    pub(crate) fn add(&mut self, frame: F) {
        self.wire.outbox().add(frame);
    }

    /// Whether there is room for more without asking much of the client. Who is told no says no more until
    /// [`Heard::Room`]; a client that takes nothing meanwhile does not read.
    pub(crate) fn has_room(&mut self) -> bool {
        self.wire.has_room()
    }

    /// Whether all that was said is on its way.
    pub(crate) fn is_all_written(&self) -> bool {
        self.wire.is_all_written()
    }

    /// Waits for something from the client or about its life, and writes meanwhile. Cancel-safe.
    pub(crate) async fn next(&mut self) -> Heard {
        loop {
            let heard = tokio::select! {
                biased;
                wired = poll_fn(|cx| self.wire.drive(cx)) => match wired {
                    Wired::Room => Some(Heard::Room),
                    Wired::Stuck => Some(Heard::Ended(self.too_slow())),
                    Wired::Read(message) => self.hear(message),
                },
                sign = self.life.sign() => match sign {
                    Sign::Beat => None,
                    Sign::Draining => Some(Heard::Draining),
                    Sign::Over => Some(Heard::Ended(self.over())),
                },
                () = &mut self.pulse.timer => self.ring(),
            };
            if let Some(heard) = heard {
                return heard;
            }
        }
    }

    /// Writes what waits, says why it ends, and ends. Boxed: a socket that lives does not carry the room its end
    /// takes.
    pub(crate) fn close(mut self, code: CloseCode, reason: &'static str) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let slow = self.slow;
            if slow {
                self.life.app().metrics().stalled.add();
                self.wire.outbox().clear();
            }
            let goodbye = self.wire.close(code, reason);
            drop(timeout(if slow { SLOW_GRACE } else { CLOSE_GRACE }, goodbye).await);
        })
    }

    fn hear(&mut self, message: Option<Result<Message, tungstenite::Error>>) -> Option<Heard> {
        self.pulse.hears();
        let ended = match message {
            None => End::Gone,
            Some(Err(error)) => match settings::close_code(&error) {
                None => End::Gone,
                Some(CloseCode::Size) => End::TooLarge,
                Some(code) => End::Protocol(code),
            },
            Some(Ok(_)) if self.life.is_revoked() => End::Revoked,
            Some(Ok(Message::Text(text))) => return Some(Heard::Text(text)),
            Some(Ok(Message::Binary(_))) => return Some(Heard::Binary),
            Some(Ok(Message::Pong(bytes))) => return Some(Heard::Pong(bytes)),
            // The answer to a close goes out when the stream is read to its end.
            Some(Ok(_)) => return None,
        };
        Some(Heard::Ended(ended))
    }

    fn over(&self) -> End {
        if self.life.app().closing().is_cancelled() { End::GoingAway } else { End::Revoked }
    }

    fn ring(&mut self) -> Option<Heard> {
        match self.pulse.ring() {
            Ok(asks) => {
                if asks {
                    self.wire.ping();
                }
                None
            }
            Err(Silent) => Some(Heard::Ended(End::Silent)),
        }
    }
}
