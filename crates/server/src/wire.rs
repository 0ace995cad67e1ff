//! A socket that keeps time: a client that is slow to ask, or to read, is let go.

use std::{
    io::{self, ErrorKind, IoSlice},
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering::Relaxed},
    },
    task::{Context, Poll, ready},
};

use bytes::{Buf as _, Bytes};
use http::StatusCode;
use moongate_protocol::ErrorCode;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep_until},
};

use crate::{limits::ServerLimits, reply::Failure};

/// What a connection is doing, as its socket and its requests tell each other.
#[derive(Debug, Default)]
pub(crate) struct Pace(AtomicU8);

/// Nothing was asked.
const IDLE: u8 = 0;
/// A request's head is arriving.
const HEAD: u8 = 1;
/// A request is being answered.
const BUSY: u8 = 2;

impl Pace {
    /// A request's head has arrived.
    pub(crate) fn busy(&self) {
        self.0.store(BUSY, Relaxed);
    }

    /// The reply is complete.
    pub(crate) fn idle(&self) {
        self.0.store(IDLE, Relaxed);
    }

    fn get(&self) -> u8 {
        self.0.load(Relaxed)
    }
}

/// A socket with deadlines.
pub(crate) struct Wire<S> {
    socket: S,
    pace: Arc<Pace>,
    limits: ServerLimits,
    /// Since when the client has owed bytes, and in which phase.
    owes: Option<(u8, Instant)>,
    /// Since when the client has taken no bytes.
    stalled: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    /// What is sent instead of a refusal that has no body.
    instead: Bytes,
    /// Called once.
    on_stall: Option<OnStall>,
}

/// Called when a client is let go because it does not read.
pub(crate) type OnStall = Box<dyn FnOnce() + Send>;

impl<S> Wire<S> {
    pub(crate) fn new(socket: S, pace: Arc<Pace>, limits: ServerLimits, on_stall: OnStall) -> Self {
        let (owes, stalled, timer, instead) = (None, None, None, Bytes::new());
        Self { socket, pace, limits, owes, stalled, timer, instead, on_stall: Some(on_stall) }
    }

    /// Whether a deadline has passed; wakes the task when the next one does.
    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let owed = self.owes.map(|(phase, since)| match phase {
            HEAD => since + self.limits.head_timeout,
            _ => since + self.limits.idle_timeout,
        });
        let stalled = self.stalled.map(|since| since + self.limits.write_stall);
        let Some(deadline) = owed.into_iter().chain(stalled).min() else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        // A timer that is early only looks again: moving it with every request would cost more.
        if timer.deadline() > deadline {
            timer.as_mut().reset(deadline);
        }
        while timer.as_mut().poll(cx).is_ready() {
            if Instant::now() >= deadline {
                if stalled.is_some_and(|stalled| stalled <= deadline)
                    && let Some(tell) = self.on_stall.take()
                {
                    tell();
                }
                return true;
            }
            timer.as_mut().reset(deadline);
        }
        false
    }

    /// Notes that the client owes bytes, unless it is being answered.
    fn wait_for_client(&mut self) {
        let phase = self.pace.get();
        self.owes = match self.owes {
            _ if phase == BUSY => None,
            Some((since_phase, since)) if since_phase == phase => Some((phase, since)),
            _ => Some((phase, Instant::now())),
        };
    }

    fn note_write(&mut self, cx: &mut Context<'_>, done: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if done.is_ready() {
            self.stalled = None;
            return done;
        }
        self.stalled.get_or_insert_with(Instant::now);
        if self.is_late(cx) { Poll::Ready(Err(ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Wire<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let before = buffer.filled().len();
        if let Poll::Ready(done) = Pin::new(&mut wire.socket).poll_read(cx, buffer) {
            if wire.pace.get() == IDLE && buffer.filled().len() > before {
                wire.pace.0.store(HEAD, Relaxed);
                wire.owes = None;
            }
            return Poll::Ready(done);
        }
        wire.wait_for_client();
        if wire.is_late(cx) { Poll::Ready(Err(ErrorKind::TimedOut.into())) } else { Poll::Pending }
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    /// Sends what is sent instead; then `len` bytes count as written.
    fn poll_instead(&mut self, cx: &mut Context<'_>, len: usize) -> Poll<io::Result<usize>> {
        while !self.instead.is_empty() {
            let written = Pin::new(&mut self.socket).poll_write(cx, &self.instead);
            let written = ready!(self.note_write(cx, written))?;
            if written == 0 {
                return Poll::Ready(Err(ErrorKind::WriteZero.into()));
            }
            self.instead.advance(written);
        }
        Poll::Ready(Ok(len))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Wire<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        if wire.instead.is_empty() && wire.pace.get() == HEAD {
            wire.instead = refusal_with_body(bytes).unwrap_or_default();
        }
        if !wire.instead.is_empty() {
            return wire.poll_instead(cx, bytes.len());
        }
        let written = Pin::new(&mut wire.socket).poll_write(cx, bytes);
        wire.note_write(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let wire = &mut *self;
        if wire.pace.get() == HEAD
            && let Some(first) = slices.iter().find(|slice| !slice.is_empty())
        {
            return self.poll_write(cx, first);
        }
        let written = Pin::new(&mut wire.socket).poll_write_vectored(cx, slices);
        wire.note_write(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let wire = &mut *self;
        let flushed = Pin::new(&mut wire.socket).poll_flush(cx).map_ok(|()| 0);
        if flushed.is_ready() {
            return flushed.map_ok(|_| ());
        }
        wire.note_write(cx, flushed).map_ok(|_| ())
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

/// The HTTP library refuses a head it cannot read with a bare status: the same in our shape. Anything else
/// passes as it is.
fn refusal_with_body(bytes: &[u8]) -> Option<Bytes> {
    const LONGEST: usize = 256;
    let is_bare = bytes.len() <= LONGEST
        && bytes.ends_with(b"\r\n\r\n")
        && memchr::memmem::find(bytes, b"content-length: 0\r\n").is_some();
    let status = bytes.strip_prefix(b"HTTP/1.1 ").filter(|_| is_bare)?.get(..3)?;
    let (code, message) = match status {
        b"400" => (ErrorCode::InvalidRequest, "the request's head is not valid HTTP"),
        b"414" => (ErrorCode::HeadersTooLarge, "the URL is too long"),
        b"431" => (ErrorCode::HeadersTooLarge, "the headers are too many or too large"),
        _ => return None,
    };
    Some(raw(&Failure::new(code, message)))
}

/// A failure as bytes on the wire, for a connection that is closed after it.
pub(crate) fn raw(failure: &Failure) -> Bytes {
    let status = StatusCode::from_u16(failure.code().status()).unwrap_or(StatusCode::BAD_REQUEST);
    let body = serde_json::to_string(&failure.body()).unwrap_or_default();
    let retry = failure.body().error.retry_after_s.map_or(String::new(), |s| format!("retry-after: {s}\r\n"));
    format!(
        "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         cache-control: no-store\r\n{retry}connection: close\r\n\r\n{body}",
        body.len()
    )
    .into()
}
