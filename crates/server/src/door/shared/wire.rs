//! Both directions of one WebSocket: writes as much as its client takes, and reads at all times.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Sink as _, SinkExt as _, StreamExt as _};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, Sleep, sleep, sleep_until};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::outbox::{Outbox, Outgoing};

/// How long a client may take nothing of what waits for it while there is more to say.
const PATIENCE: Duration = Duration::from_secs(5);

/// A WebSocket and what waits to be written to it.
pub(super) struct Wire<F> {
    stream: WebSocketStream<TokioIo<Upgraded>>,
    outbox: Outbox<F>,
    /// Control frames wait for nobody.
    ping: bool,
    unflushed: bool,
    /// Set while somebody waits for room: when the client will have taken nothing for too long.
    starved: Option<Pin<Box<Sleep>>>,
    /// When a frame last went out.
    wrote: Instant,
}

/// What happened on a wire.
pub(super) enum Wired {
    /// There is room again where there was none.
    Room,
    /// The client takes nothing.
    Stuck,
    /// What was read; `None` at the end.
    Read(Option<Result<Message, tungstenite::Error>>),
}

impl<F: Outgoing> Wire<F> {
    pub(super) fn new(stream: WebSocketStream<TokioIo<Upgraded>>, outbox: Outbox<F>) -> Self {
        let (ping, unflushed, starved) = (false, false, None);
        Self { stream, outbox, ping, unflushed, starved, wrote: Instant::now() }
    }

    /// What waits to be written.
    pub(super) fn outbox(&mut self) -> &mut Outbox<F> {
        &mut self.outbox
    }

    /// Whether all that was said is on its way.
    pub(super) fn is_all_written(&self) -> bool {
        self.outbox.is_empty()
    }

    /// Pings before everything that waits.
    pub(super) fn ping(&mut self) {
        self.ping = true;
    }

    /// Whether more may be said now. When not, it is told once there is room, or that there will be none.
    pub(super) fn has_room(&mut self) -> bool {
        let has_room = self.outbox.has_room();
        if has_room {
            self.starved = None;
        } else if self.starved.is_none() {
            self.starved = Some(Box::pin(sleep(PATIENCE)));
        }
        has_room
    }

    /// Writes as much as the client takes, then reads. Cancel-safe.
    pub(super) fn drive(&mut self, cx: &mut Context<'_>) -> Poll<Wired> {
        if let Err(error) = self.write(cx) {
            return Poll::Ready(Wired::Read(Some(Err(error))));
        }
        if self.starved.is_some() && self.outbox.has_room() {
            self.starved = None;
            return Poll::Ready(Wired::Room);
        }
        if self.is_stuck(cx) {
            return Poll::Ready(Wired::Stuck);
        }
        self.stream.poll_next_unpin(cx).map(Wired::Read)
    }

    /// Writes what waits, says why it ends, and waits for the client's goodbye.
    pub(super) async fn close(mut self, code: CloseCode, reason: &'static str) {
        while let Some(frame) = self.outbox.pop() {
            let Some(message) = message(frame) else { continue };
            if self.stream.feed(message).await.is_err() {
                return;
            }
        }
        // Whether the client still hears it is its own affair.
        let reason = Utf8Bytes::from_static(reason);
        drop(self.stream.close(Some(CloseFrame { code, reason })).await);
        while let Some(Ok(_)) = self.stream.next().await {}
    }

    fn write(&mut self, cx: &mut Context<'_>) -> Result<(), tungstenite::Error> {
        let mut stream = Pin::new(&mut self.stream);
        let mut wrote = false;
        while self.ping || !self.outbox.is_empty() {
            if stream.as_mut().poll_ready(cx)?.is_pending() {
                break;
            }
            let next = match std::mem::take(&mut self.ping) {
                true => Some(Message::Ping(Bytes::new())),
                false => self.outbox.pop().and_then(message),
            };
            let Some(next) = next else { continue };
            stream.as_mut().start_send(next)?;
            wrote = true;
        }
        if wrote {
            (self.unflushed, self.wrote) = (true, Instant::now());
        }
        if self.unflushed && stream.poll_flush(cx)?.is_ready() {
            self.unflushed = false;
        }
        Ok(())
    }

    /// Whether the client took nothing for too long while somebody waited for room.
    fn is_stuck(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(over) = &mut self.starved {
            if over.as_mut().poll(cx).is_pending() {
                return false;
            }
            if self.wrote.elapsed() >= PATIENCE {
                return true;
            }
            over.set(sleep_until(self.wrote + PATIENCE));
        }
        false
    }
}

fn message<F: Outgoing>(frame: F) -> Option<Message> {
    if frame.is_probe() {
        return Some(Message::Ping(frame.encode()));
    }
    Utf8Bytes::try_from(frame.encode()).ok().map(Message::Text)
}
