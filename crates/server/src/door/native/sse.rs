//! Server-sent events: a follower polled by the connection itself, all frames that are ready in one piece.

use std::{convert::Infallible, mem, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use moongate_core::{Encoding, Follower, Frame, FrameBody, Record, StoreError};
use moongate_protocol::Notice;
use serde::Serialize;

use crate::{
    App,
    caller::Authenticated,
    door::shared::{InputTurn, Relation},
    life::{Life, Sign},
    reply::Failure,
};

/// Which of a follower's frames a stream shows.
pub(super) enum Select {
    /// All, with deltas or without.
    All {
        /// Whether pieces of unfinished items are shown.
        deltas: bool,
    },
    /// One input's turn; the stream ends with it.
    Turn(InputTurn),
}

/// A reply that streams a follower's frames after `first`.
pub(super) fn reply(
    app: &App,
    caller: Authenticated,
    follower: Follower,
    select: Select,
    first: Bytes,
) -> Response {
    let life = Life::of_sse(app, caller);
    let events = SessionEvents { life, follower, select, first, frames: Vec::new(), over: false };
    response(Body::from_stream(stream::unfold(events, SessionEvents::chunk)))
}

/// The headers of every stream of events.
pub(super) fn response(body: Body) -> Response {
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    response
}

struct SessionEvents {
    life: Life,
    follower: Follower,
    select: Select,
    /// What is sent before all else.
    first: Bytes,
    /// Kept between pieces for its room.
    frames: Vec<Arc<Frame>>,
    over: bool,
}

type Chunk = Result<Bytes, Infallible>;

impl SessionEvents {
    /// The next piece of the stream, and the stream after it.
    async fn chunk(mut self) -> Option<(Chunk, Self)> {
        if self.over || self.life.is_over() {
            return None;
        }
        let mut piece = Piece::default();
        if !self.first.is_empty() {
            piece.add(mem::take(&mut self.first));
            // With it what is there already: the head, the receipt and the first events are one write.
            self.gather(&mut piece).await;
        }
        while piece.is_empty() && !self.over {
            let mut frames = mem::take(&mut self.frames);
            tokio::select! {
                biased;
                next = self.follower.next(&mut frames) => self.take(next, &mut frames, &mut piece),
                sign = self.life.sign() => match sign {
                    Sign::Beat => piece.add(Bytes::from_static(b":\n\n")),
                    Sign::Draining => piece.add(named("notice", &Notice::Draining)),
                    Sign::Over => return None,
                },
            }
            self.frames = frames;
        }
        Some((Ok(piece.finish()), self))
    }

    /// Adds the frames there are without waiting for news.
    async fn gather(&mut self, piece: &mut Piece) {
        let mut frames = mem::take(&mut self.frames);
        let ready = self.follower.ready(&mut frames).await.map(|_| ());
        self.take(ready, &mut frames, piece);
        self.frames = frames;
    }

    fn take(&mut self, result: Result<(), StoreError>, frames: &mut Vec<Arc<Frame>>, piece: &mut Piece) {
        self.show(frames, piece);
        frames.clear();
        if let Err(error) = result {
            self.over = true;
            piece.add(named("error", &Failure::from(error).body()));
        }
    }

    fn show(&mut self, frames: &mut Vec<Arc<Frame>>, piece: &mut Piece) {
        for frame in frames.drain(..) {
            let shown = match &mut self.select {
                Select::All { deltas } => *deltas || !matches!(frame.body, FrameBody::Delta(_)),
                Select::Turn(turn) => match turn.relation(&frame) {
                    Relation::Foreign => false,
                    Relation::Part => true,
                    Relation::End => {
                        self.over = true;
                        true
                    }
                },
            };
            if shown {
                piece.add(frame.encoded(Encoding::NATIVE_SSE, encode).clone());
                self.life.sent(&frame);
            }
            if self.over {
                return;
            }
        }
    }
}

/// Frames on their way out as one piece; a single one is not copied.
#[derive(Default)]
struct Piece {
    first: Bytes,
    rest: BytesMut,
}

impl Piece {
    fn is_empty(&self) -> bool {
        self.first.is_empty()
    }

    fn add(&mut self, bytes: Bytes) {
        if self.first.is_empty() {
            self.first = bytes;
        } else {
            if self.rest.is_empty() {
                self.rest.reserve(self.first.len() + bytes.len());
                self.rest.put_slice(&self.first);
            }
            self.rest.put_slice(&bytes);
        }
    }

    fn finish(self) -> Bytes {
        if self.rest.is_empty() { self.first } else { self.rest.freeze() }
    }
}

fn encode(body: &FrameBody) -> Bytes {
    match body {
        FrameBody::Event(record) => event(record, true),
        FrameBody::Delta(delta) => named("delta", delta),
        FrameBody::Notice(notice) => named("notice", notice),
        FrameBody::Reset(position) => named("reset", position),
    }
}

/// An event as a stream shows it: its own text, as it is on disk.
pub(super) fn event(record: &Record, with_id: bool) -> Bytes {
    let json = record.json();
    let kind = kind(record);
    let mut out = BytesMut::with_capacity(json.len() + kind.len() + 64);
    if with_id {
        out.put_slice(format!("id: {}\n", record.position()).as_bytes());
    }
    out.put_slice(b"event: ");
    out.put_slice(kind.as_bytes());
    out.put_slice(b"\ndata: ");
    out.put_slice(json);
    out.put_slice(b"\n\n");
    out.freeze()
}

/// An event's type. Of a stored one it is found in the text, without reading all of it: before it stand only
/// the position, the time and the session.
pub(super) fn kind(record: &Record) -> &str {
    const TAG: &[u8] = b"\"type\":\"";
    let json = record.json();
    let found = memchr::memmem::find(json, TAG).and_then(|at| {
        let rest = &json[at + TAG.len()..];
        let end = memchr::memchr2(b'"', b'\\', rest)?;
        std::str::from_utf8(&rest[..end]).ok().filter(|_| rest[end] == b'"')
    });
    found.filter(|kind| kind.bytes().all(|b| b.is_ascii_graphic())).unwrap_or("message")
}

/// A frame without an id.
pub(super) fn named<T: Serialize>(name: &str, data: &T) -> Bytes {
    let mut out = Vec::with_capacity(256);
    out.extend_from_slice(b"event: ");
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\ndata: ");
    // What is sent here always serializes; an empty line would still end the frame well.
    if serde_json::to_writer(&mut out, data).is_err() {
        tracing::error!(name, "a frame could not be written as JSON");
    }
    out.extend_from_slice(b"\n\n");
    out.into()
}
