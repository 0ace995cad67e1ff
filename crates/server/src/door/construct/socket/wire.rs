//! Writing to a socket, as much as it takes.

use std::{
    future::poll_fn,
    task::{Context, Poll},
};

use futures_util::{SinkExt as _, stream::SplitSink};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{self, Message},
};

use super::Ending;
use crate::door::{construct::outbox::Outbox, native::ws::settings::close_code};

/// The socket itself.
pub(super) type Wire = WebSocketStream<TokioIo<Upgraded>>;

/// Sends what waits, as much as the socket takes, and says when the end of a turn is on its way.
pub(super) async fn send(
    sink: &mut SplitSink<Wire, Message>,
    out: &mut Outbox,
    unflushed: &mut bool,
) -> Result<Option<u64>, tungstenite::Error> {
    poll_fn(|cx: &mut Context<'_>| {
        loop {
            if !out.is_empty() {
                match sink.poll_ready_unpin(cx) {
                    Poll::Ready(Ok(())) => {}
                    Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                    Poll::Pending => return Poll::Pending,
                }
                let Some((message, ends)) = out.pop() else { continue };
                if let Err(error) = sink.start_send_unpin(message) {
                    return Poll::Ready(Err(error));
                }
                *unflushed = true;
                if ends.is_some() {
                    return Poll::Ready(Ok(ends));
                }
                continue;
            }
            return sink.poll_flush_unpin(cx).map_ok(|()| {
                *unflushed = false;
                None
            });
        }
    })
    .await
}

/// What a socket is closed with after this error.
pub(super) fn fault(error: &tungstenite::Error) -> Ending {
    close_code(error).map_or(Ending::Gone, Ending::Protocol)
}
