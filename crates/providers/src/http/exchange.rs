//! One request and its answer on one connection.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use http::{Request, Response, response};
use http_body_util::Full;
use hyper::body::{Body, Incoming};

use super::{Connection, Pool, connection::Driver};

/// The head of an answer.
pub(crate) type Head = response::Parts;

/// What can go wrong below HTTP's meaning.
#[derive(Debug, thiserror::Error)]
pub(crate) enum TransportFault {
    /// The host's name has no address.
    #[error("no address: {0}")]
    Resolve(io::Error),
    /// No connection.
    #[error("no connection: {0}")]
    Connect(io::Error),
    /// No connection in time.
    #[error("no connection in time")]
    ConnectTimeout,
    /// The encryption could not be agreed on.
    #[error("no secure connection: {0}")]
    Tls(io::Error),
    /// The connection ended or erred before the answer's head.
    #[error("no answer: {0}")]
    Head(hyper::Error),
    /// As `Head`, on a connection that had been idle: nobody may have seen the request.
    #[error("no answer on an old connection: {0}")]
    Stale(hyper::Error),
    /// The answer's body ended early.
    #[error("half an answer: {0}")]
    Body(hyper::Error),
}

type Answer = Pin<Box<dyn Future<Output = hyper::Result<Response<Incoming>>> + Send>>;

/// One request and its answer.
pub(crate) struct Exchange {
    connection: Connection,
    /// The connection's driver has ended and must not be polled again.
    driven: bool,
    state: State,
}

enum State {
    Head(Answer),
    Body(Incoming),
    Ended,
}

impl Exchange {
    /// Puts a request on its way; it leaves when the exchange is first polled.
    pub(crate) fn new(mut connection: Connection, request: Request<Full<Bytes>>) -> Self {
        let answer = Box::pin(connection.sender.send_request(request));
        Self { connection, driven: false, state: State::Head(answer) }
    }

    /// Waits for the answer's head. Not called again after it is ready.
    pub(crate) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, TransportFault>> {
        let Self { connection: Connection { driver, relay, waker, reused, .. }, driven, state } = self;
        let State::Head(answer) = state else { return Poll::Pending };
        let result = relay.run(waker, cx, |cx| {
            drive(driver, driven, cx);
            answer.as_mut().poll(cx)
        });
        let Poll::Ready(result) = result else { return Poll::Pending };
        Poll::Ready(match result {
            Ok(response) => {
                let (head, body) = response.into_parts();
                *state = State::Body(body);
                Ok(head)
            }
            Err(error) => {
                *state = State::Ended;
                let stale = *reused && !error.is_parse();
                Err(if stale { TransportFault::Stale(error) } else { TransportFault::Head(error) })
            }
        })
    }

    /// Waits for more of the body; `None` at its end.
    pub(crate) fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, TransportFault>>> {
        let Self { connection: Connection { driver, relay, waker, .. }, driven, state } = self;
        let State::Body(body) = state else { return Poll::Ready(None) };
        let frame = relay.run(waker, cx, |cx| {
            loop {
                drive(driver, driven, cx);
                let Poll::Ready(frame) = Pin::new(&mut *body).poll_frame(cx) else { return Poll::Pending };
                match frame {
                    None => return Poll::Ready(None),
                    Some(Err(error)) => return Poll::Ready(Some(Err(error))),
                    Some(Ok(frame)) => {
                        if let Ok(data) = frame.into_data() {
                            return Poll::Ready(Some(Ok(data)));
                        }
                    }
                }
            }
        });
        let Poll::Ready(frame) = frame else { return Poll::Pending };
        if !matches!(frame, Some(Ok(_))) {
            *state = State::Ended;
        }
        Poll::Ready(frame.map(|data| data.map_err(TransportFault::Body)))
    }

    /// Gives the connection back once the answer's meaning is complete, whether or not its last bytes are here.
    pub(crate) fn release(self, pool: &Pool) {
        if self.driven {
            return;
        }
        match self.state {
            State::Head(_) => {}
            State::Body(body) => pool.keep(self.connection, Some(body)),
            State::Ended => pool.keep(self.connection, None),
        }
    }
}

/// Lets the connection read and write what it can. Its errors reach us through the answer.
fn drive(driver: &mut Driver, driven: &mut bool, cx: &mut Context<'_>) {
    if !*driven && Pin::new(driver).poll(cx).is_ready() {
        *driven = true;
    }
}
