//! One connection to a provider.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    body::{Body, Incoming},
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::client::TlsStream;

use super::{TransportFault, relay::Relay};

/// Most header bytes of an answer's head.
const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most bytes one read takes in.
const MAX_READ_BYTES: usize = 128 << 10;

/// Most frames read from an old answer's end before its connection is given up.
const MAX_TRAILING_FRAMES: usize = 8;

/// What reads and writes for a connection while it is polled.
pub(super) type Driver = Box<http1::Connection<TokioIo<Io>, Full<Bytes>>>;

/// A connection with the machinery that drives it. It makes progress only while it is polled.
pub(crate) struct Connection {
    pub(super) sender: SendRequest<Full<Bytes>>,
    pub(super) driver: Driver,
    /// It carried another request before: the provider may have closed it meanwhile.
    pub(super) reused: bool,
    pub(super) relay: Arc<Relay>,
    /// The relay as a waker.
    pub(super) waker: Waker,
}

impl Connection {
    pub(super) async fn handshake(io: Io) -> Result<Self, TransportFault> {
        let (sender, driver) = http1::Builder::new()
            .max_buf_size(MAX_READ_BYTES)
            .max_header_size(MAX_HEAD_BYTES)
            .handshake(TokioIo::new(io))
            .await
            .map_err(TransportFault::Head)?;
        let relay = Arc::new(Relay::default());
        let waker = Waker::from(Arc::clone(&relay));
        Ok(Self { sender, driver: Box::new(driver), reused: false, relay, waker })
    }

    /// Whether the connection can carry another request, after reading what is left of the last answer.
    /// Looks only at what has arrived; never waits.
    pub(super) fn is_free(&mut self, trailing: Option<&mut Incoming>) -> bool {
        let mut context = Context::from_waker(Waker::noop());
        if Pin::new(&mut self.driver).poll(&mut context).is_ready() {
            return false;
        }
        if let Some(body) = trailing
            && !is_drained(Pin::new(body), Pin::new(&mut self.driver), &mut context)
        {
            return false;
        }
        Pin::new(&mut self.driver).poll(&mut context).is_pending() && self.sender.is_ready()
    }
}

fn is_drained(mut body: Pin<&mut Incoming>, mut driver: Pin<&mut Driver>, context: &mut Context<'_>) -> bool {
    for _ in 0..MAX_TRAILING_FRAMES {
        match body.as_mut().poll_frame(context) {
            Poll::Ready(None) => return true,
            Poll::Ready(Some(Err(_))) | Poll::Pending => return false,
            Poll::Ready(Some(Ok(_))) => {}
        }
        if driver.as_mut().poll(context).is_ready() {
            return false;
        }
    }
    false
}

/// The bytes' way to the provider.
pub(super) enum Io {
    /// Unencrypted.
    Plain(TcpStream),
    /// Encrypted.
    Tls(Box<TlsStream<TcpStream>>),
}

impl AsyncRead for Io {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, buffer),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buffer),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(cx, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(stream) => stream.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
        }
    }
}
