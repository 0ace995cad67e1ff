//! Server-sent events of the door: a turn folded into frames as it happens.

use std::{convert::Infallible, mem, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use moongate_core::Frame;
use serde::Serialize;

use super::{
    Openai,
    failure::Fault,
    run::{Source, gone},
};
use crate::{
    caller::Authenticated,
    door::shared::Door,
    life::{Life, Sign},
};

/// What a turn looks like on one of the door's streams.
pub(super) trait Tale: Send + 'static {
    /// What stands before everything else.
    fn begin(&mut self, out: &mut BytesMut);
    /// Takes the session's next frame; says whether the tale is told.
    fn take(&mut self, frame: &Frame, out: &mut BytesMut) -> bool;
    /// The tale cannot be told to its end.
    fn break_off(&mut self, fault: &Fault, out: &mut BytesMut);
}

/// A reply that tells a turn.
pub(super) fn reply<T: Tale>(
    door: &Door<Openai>,
    caller: Authenticated,
    source: Source,
    mut tale: T,
) -> Response {
    let mut first = BytesMut::new();
    tale.begin(&mut first);
    let life = Life::of_sse(door.app(), caller);
    let telling = Telling { life, source, tale, first, frames: Vec::new(), over: false };
    let mut response = Response::new(Body::from_stream(stream::unfold(telling, Telling::chunk)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream; charset=utf-8"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct Telling<T> {
    life: Life,
    source: Source,
    tale: T,
    first: BytesMut,
    frames: Vec<Arc<Frame>>,
    over: bool,
}

impl<T: Tale> Telling<T> {
    /// The next piece of the stream, and the stream after it.
    async fn chunk(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if self.over {
            return None;
        }
        let mut piece = mem::take(&mut self.first);
        while piece.is_empty() && !self.over {
            if self.life.is_over() {
                self.break_off(&gone(&self.life), &mut piece);
                break;
            }
            let mut frames = mem::take(&mut self.frames);
            tokio::select! {
                biased;
                next = self.source.next(&mut frames) => {
                    self.over = frames.drain(..).any(|frame| self.tale.take(&frame, &mut piece));
                    if let (Err(fault), false) = (next, self.over) {
                        self.break_off(&fault, &mut piece);
                    }
                }
                sign = self.life.sign() => match sign {
                    Sign::Beat => piece.extend_from_slice(b": \n\n"),
                    Sign::Draining => {}
                    Sign::Over => self.break_off(&gone(&self.life), &mut piece),
                },
            }
            self.frames = frames;
        }
        Some((Ok(piece.freeze()), self))
    }

    fn break_off(&mut self, fault: &Fault, piece: &mut BytesMut) {
        self.over = true;
        self.tale.break_off(fault, piece);
    }
}

/// Adds a frame; `event` is its name, where it has one.
pub(super) fn add<T: Serialize>(event: Option<&str>, data: &T, out: &mut BytesMut) {
    if let Some(event) = event {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(event.as_bytes());
        out.extend_from_slice(b"\n");
    }
    out.extend_from_slice(b"data: ");
    match serde_json::to_vec(data) {
        Ok(json) => out.extend_from_slice(&json),
        Err(error) => tracing::error!(%error, "a frame could not be written as JSON"),
    }
    out.extend_from_slice(b"\n\n");
}
