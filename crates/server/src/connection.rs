//! One connection from its first byte to its last.

use std::{
    convert::Infallible,
    net::IpAddr,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
};

use axum::{Router, body::Body};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body::{Frame, SizeHint};
use hyper::{body::Incoming, rt::Executor, server::conn::http1, server::conn::http2, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::timeout,
};
use tokio_util::task::TaskTracker;
use tower::Service as _;

use crate::{
    address::Peer,
    limits::{H2_STREAMS, HANDSHAKE_TIMEOUT, HEADER_BYTES, URL_BYTES, WRITE_STALL},
    listen::{Permit, Shared},
    tls::Tls,
    wire::{Pace, Wire},
};

/// Bytes of a request's head the HTTP library reads: header lines, their separators, and the target.
const HEAD_BYTES: usize = 2 * HEADER_BYTES + URL_BYTES;

/// Serves a connection until it ends, or the server does.
pub(crate) async fn serve(permit: Permit, router: Router, socket: TcpStream, address: IpAddr) {
    let shared = Arc::clone(&permit.shared);
    let peer = Peer { address, _place: Arc::new(permit) };
    let served = async {
        match &shared.tls {
            None => serve_http1(&shared, router, socket, peer).await,
            // Boxed, so that plain connections do not carry the room a handshake takes.
            Some(tls) => Box::pin(serve_tls((&shared, tls), router, socket, peer)).await,
        }
    };
    tokio::select! {
        () = served => {}
        () = shared.app.kill().cancelled() => {}
    }
}

async fn serve_tls((shared, tls): (&Arc<Shared>, &Tls), router: Router, socket: TcpStream, peer: Peer) {
    let Ok(Ok(socket)) = timeout(HANDSHAKE_TIMEOUT, tls.accept(socket)).await else { return };
    match socket.get_ref().1.alpn_protocol() {
        Some(b"h2") => serve_http2(shared, router, socket, peer).await,
        _ => serve_http1(shared, router, socket, peer).await,
    }
}

async fn serve_http1<S>(shared: &Arc<Shared>, router: Router, socket: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Arc::new(Pace::default());
    let io = TokioIo::new(wire(shared, socket, Arc::clone(&pace)));
    let service =
        service_fn(move |request| answer(router.clone(), request, peer.clone(), Some(Arc::clone(&pace))));
    let mut builder = http1::Builder::new();
    // The socket keeps time itself: the library's timer would be set anew for every request.
    builder.header_read_timeout(None).max_header_size(HEAD_BYTES);
    let mut connection = pin!(builder.serve_connection(io, service).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.app.gateway().draining().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn serve_http2<S>(shared: &Arc<Shared>, router: Router, socket: S, peer: Peer)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let pace = Arc::new(Pace::default());
    // Streams come and go: pings tell whether the client lives.
    pace.busy();
    let io = TokioIo::new(wire(shared, socket, pace));
    let service = service_fn(move |request| answer(router.clone(), request, peer.clone(), None));
    let mut builder = http2::Builder::new(Owned(shared.tasks.clone()));
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(H2_STREAMS)
        .max_header_list_size(u32::try_from(HEAD_BYTES).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(20)
        .max_local_error_reset_streams(64)
        .keep_alive_interval(WRITE_STALL)
        .keep_alive_timeout(WRITE_STALL);
    let mut connection = pin!(builder.serve_connection(io, service));
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shared.app.gateway().draining().cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}

fn wire<S>(shared: &Arc<Shared>, socket: S, pace: Arc<Pace>) -> Wire<S> {
    let app = shared.app.clone();
    let on_stall = Box::new(move || app.metrics().stalled.add());
    Wire::new(socket, pace, shared.app.limits().clone(), on_stall)
}

/// Answers a request; the connection is busy until the reply's body is gone.
async fn answer(
    mut router: Router,
    request: Request<Incoming>,
    peer: Peer,
    pace: Option<Arc<Pace>>,
) -> Result<Response<Tracked>, Infallible> {
    if let Some(pace) = &pace {
        pace.busy();
    }
    let mut request = request.map(Body::new);
    request.extensions_mut().insert(peer);
    // A router is always ready.
    let response = router.call(request).await?;
    // A WebSocket is busy for ever: it keeps its own time.
    let pace = pace.filter(|_| response.status() != StatusCode::SWITCHING_PROTOCOLS);
    Ok(response.map(|body| Tracked { body, pace }))
}

/// A reply's body that says when it is gone.
struct Tracked {
    body: Body,
    pace: Option<Arc<Pace>>,
}

impl Drop for Tracked {
    fn drop(&mut self) {
        if let Some(pace) = &self.pace {
            pace.idle();
        }
    }
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Starts a connection's streams as tasks somebody waits for.
#[derive(Clone)]
struct Owned(TaskTracker);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Owned {
    fn execute(&self, stream: F) {
        self.0.spawn(stream);
    }
}
