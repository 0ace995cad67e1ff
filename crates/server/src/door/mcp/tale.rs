//! An agent's turn as the answer to a call: followed to its end, with progress on the way where the client wants it.
//! In the newest revision a client that goes away ends the turn; before it, the turn goes on.

use std::{convert::Infallible, mem, sync::Arc};

use axum::{body::Body, response::Response};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderMap, HeaderName, HeaderValue, header};
use moongate_core::{Follower, Frame, FrameBody, SessionHandle};
use moongate_protocol::{Cancel, ErrorCode, Event, InputId, Part, Role};
use serde::Serialize;

use super::{
    Asking,
    call::CallResult,
    fault::{Answer, Fault},
    message::{ProgressNote, Reply},
    running::Entry,
};
use crate::{
    App,
    door::shared::{InputTurn, Relation},
    life::{Life, Sign},
    reply::Failure,
};

/// A turn that is followed for a client.
pub(super) struct Tale {
    /// Taken when the client goes away and the turn is to end.
    turn: Option<Turn>,
    asking: Asking,
    entry: Entry,
    life: Life,
    frames: Vec<Arc<Frame>>,
    /// How many steps were told.
    steps: u64,
    over: bool,
}

/// The turn itself.
struct Turn {
    session: SessionHandle,
    follower: Follower,
    input: InputTurn,
    /// The agent's last words.
    words: String,
}

/// What is told of a turn.
enum Told {
    Step(String),
    End(CallResult),
}

/// How a tale goes on.
enum Next {
    Told(Vec<Told>),
    Beat,
    /// The client wants it ended, and no answer.
    Stopped,
    /// It cannot be followed any more.
    Lost(Fault),
}

impl Tale {
    pub(super) fn new(
        app: &App,
        (session, follower, input): (SessionHandle, Follower, InputId),
        asking: Asking,
        entry: Entry,
    ) -> Self {
        let turn = Turn { session, follower, input: InputTurn::of(input), words: String::new() };
        let life = Life::of_sse(app, asking.caller.clone());
        Self { turn: Some(turn), asking, entry, life, frames: Vec::new(), steps: 0, over: false }
    }

    /// The headers of the request.
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.asking.headers
    }

    /// One JSON answer at the end.
    ///
    /// # Errors
    /// When the turn cannot be followed to its end.
    pub(super) async fn whole(mut self) -> Answer<Response> {
        loop {
            match self.next().await {
                Next::Told(told) => {
                    for told in told {
                        if let Told::End(result) = told {
                            return Ok(self.asking.answer(result));
                        }
                    }
                }
                Next::Beat => {}
                Next::Stopped => return Err(Fault::stopped()),
                Next::Lost(fault) => return Err(fault),
            }
        }
    }

    /// A stream that ends with the answer.
    pub(super) fn stream(self) -> Response {
        let mut response = Response::new(Body::from_stream(stream::unfold(self, Self::chunk)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
        headers.insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
        response
    }

    /// The next piece of the stream, and the stream after it.
    async fn chunk(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        let mut piece = BytesMut::new();
        while piece.is_empty() && !self.over {
            match self.next().await {
                Next::Told(told) => self.tell(told, &mut piece),
                Next::Beat => piece.extend_from_slice(b": \n\n"),
                Next::Stopped => self.over = true,
                Next::Lost(fault) => {
                    add(&Reply::error(Some(self.asking.id.clone()), fault.info()), &mut piece);
                    self.over = true;
                }
            }
        }
        (!piece.is_empty()).then(|| (Ok(piece.freeze()), self))
    }

    fn tell(&mut self, told: Vec<Told>, piece: &mut BytesMut) {
        for told in told {
            match told {
                Told::Step(words) => {
                    self.steps += 1;
                    if let Some(token) = &self.asking.message.params.meta.progress {
                        add(&ProgressNote::new(token, self.steps, &words), piece);
                    }
                }
                Told::End(result) => {
                    add(&self.asking.reply(result), piece);
                    self.over = true;
                }
            }
        }
    }

    async fn next(&mut self) -> Next {
        if self.life.is_over() {
            return Next::Lost(gone(&self.life));
        }
        let Some(turn) = &mut self.turn else { return Next::Stopped };
        let mut frames = mem::take(&mut self.frames);
        let next = tokio::select! {
            biased;
            next = turn.follower.next(&mut frames) => {
                let told: Vec<_> = frames.drain(..).filter_map(|frame| turn.take(&frame)).collect();
                let is_over = told.iter().any(|told| matches!(told, Told::End(_)));
                if is_over {
                    self.turn = None;
                }
                match next {
                    Err(error) if !is_over => Next::Lost(error.into()),
                    _ => Next::Told(told),
                }
            }
            () = self.entry.stop.cancelled() => Next::Stopped,
            sign = self.life.sign() => match sign {
                Sign::Beat => Next::Beat,
                Sign::Draining => Next::Told(Vec::new()),
                Sign::Over => Next::Lost(gone(&self.life)),
            },
        };
        self.frames = frames;
        if matches!(next, Next::Stopped)
            && let Some(turn) = self.turn.take()
        {
            turn.stop().await;
        }
        next
    }
}

impl Drop for Tale {
    fn drop(&mut self) {
        // Whoever asks in the newest revision and goes away wants no answer any more.
        if let Some(turn) =
            self.turn.take().filter(|_| self.asking.era.is_stateless() && !self.life.is_over())
        {
            self.life.app().tasks().spawn(turn.stop());
        }
    }
}

impl Turn {
    fn take(&mut self, frame: &Frame) -> Option<Told> {
        let relation = self.input.relation(frame);
        if relation == Relation::Foreign {
            return None;
        }
        let FrameBody::Event(record) = &frame.body else { return None };
        let event = &record.envelope().ok()?.event;
        match event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                let words = Part::join_text(&message.parts);
                if !words.is_empty() {
                    self.words = words;
                }
                None
            }
            Event::TurnStarted(_) => Some(Told::Step("The agent begins.".into())),
            Event::ToolCalled(called) => Some(Told::Step(format!("The agent runs {}.", called.tool))),
            Event::ApprovalRequested(asked) => {
                Some(Told::Step(format!("A person has to decide whether {} may run.", asked.tool)))
            }
            _ if relation == Relation::End => Some(Told::End(self.end(event))),
            _ => None,
        }
    }

    fn end(&mut self, event: &Event) -> CallResult {
        match event {
            Event::TurnCompleted(_) => CallResult::answered(self.session.id(), mem::take(&mut self.words)),
            Event::TurnFailed(failed) => CallResult::failed(format!("The agent failed: {}", failed.message)),
            _ => CallResult::failed("The agent was stopped before it answered."),
        }
    }

    /// Ends the turn, or takes the input back where it has none yet.
    async fn stop(mut self) {
        let mut frames = Vec::new();
        loop {
            if let Some(turn) = self.input.turn() {
                let ended = self.session.cancel(Cancel { turn: Some(turn), clear_queue: false }).await;
                if let Err(refusal) = ended {
                    tracing::debug!(%refusal, "a turn nobody waits for could not be ended");
                }
                return;
            }
            // Refused when its turn began in the meantime: then the log says which one that is.
            if self.session.withdraw(self.input.input()).await.is_ok()
                || self.follower.next(&mut frames).await.is_err()
            {
                return;
            }
            for frame in frames.drain(..) {
                if self.input.relation(&frame) == Relation::End {
                    return;
                }
            }
        }
    }
}

/// Why somebody is not served to the end.
fn gone(life: &Life) -> Fault {
    if life.is_revoked() {
        return Failure::new(ErrorCode::Unauthorized, "the key is no longer valid").into();
    }
    Failure::new(ErrorCode::Unavailable, "the server is going away; try again soon").into()
}

fn add<T: Serialize>(data: &T, out: &mut BytesMut) {
    out.extend_from_slice(b"event: message\ndata: ");
    match serde_json::to_vec(data) {
        Ok(json) => out.extend_from_slice(&json),
        Err(error) => tracing::error!(%error, "a frame could not be written as JSON"),
    }
    out.extend_from_slice(b"\n\n");
}
