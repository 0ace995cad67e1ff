//! `/responses`: turns that can be read again, followed from any place, cancelled and gone on from.

mod events;
mod fold;
pub(super) mod items;
pub(super) mod labels;
pub(super) mod object;
pub(super) mod request;
mod socket;
mod start;

use std::sync::Arc;

use axum::extract::{Request, State};
use bytes::BytesMut;
use http::{StatusCode, Uri};
use moongate_core::{Ids, SessionHandle};
use moongate_protocol::{Cancel, ErrorCode, Event, Position, Seq, SessionPatch};
use serde::{Deserialize, Serialize};

use self::{
    fold::{Style, Tape},
    items::Items,
    object::Status,
    request::ResponseRequest,
};
use super::{
    At, Openai, body,
    failure::{Fault, Reply},
    ids::ResponseId,
    page::{Listing, page},
    rates,
    run::{self, Source},
    stream,
};
use crate::{
    caller::Authenticated,
    door::shared::{Door, Path, rate::Rate},
    reply::{Failure, json},
};

/// Events of a log that are read at once where one turn is wanted, which seldom has more.
const TURN_BATCH: usize = 32;

pub(super) fn paths(rate: &Arc<Rate>) -> Vec<Path<Door<Openai>>> {
    vec![
        rates::limited(Path::post("/responses", create), rate),
        Path::get("/responses", socket::open).socket(),
        Path::get("/responses/{id}", retrieve),
        Path::delete("/responses/{id}", delete),
        Path::post("/responses/{id}/cancel", cancel),
        Path::get("/responses/{id}/input_items", input_items),
    ]
}

/// A stream's last event when it cannot go on.
#[derive(Serialize)]
struct Broken {
    #[serde(rename = "type")]
    kind: &'static str,
    code: Option<&'static str>,
    message: String,
    param: Option<String>,
}

/// Adds a frame of a WebSocket: one line each, for JSON has none inside.
fn socket_line<T: Serialize>(frame: &T, out: &mut BytesMut) {
    match serde_json::to_vec(frame) {
        Ok(json) => {
            out.extend_from_slice(&json);
            out.extend_from_slice(b"\n");
        }
        Err(error) => tracing::error!(%error, "a frame could not be written as JSON"),
    }
}

async fn create(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let request: ResponseRequest = body::json(&door, request).await?;
    let (streams, background) = (request.stream == Some(true), request.background == Some(true));
    let begun = start::start(&door, &caller, request).await?;
    let mut tape = Tape::new(begun.id, begun.store, None, Style::Sse);
    if streams {
        return Ok(stream::reply(&door, caller, begun.run.source, tape));
    }
    if background {
        return find(begun.run.session, begun.id).await?.shown();
    }
    run::finish(&door, caller, begun.run.source, &mut tape).await?;
    let response = tape.response().ok_or_else(lost)?;
    match &response.error {
        Some(error) => {
            let code = tape.failure().unwrap_or(ErrorCode::Internal);
            Err(Failure::new(code, error.message.clone()).into())
        }
        None => Ok(json(StatusCode::OK, response)),
    }
}

fn lost() -> Fault {
    Failure::new(ErrorCode::Internal, "the response could not be read").into()
}

/// A response that was found.
struct Found {
    session: SessionHandle,
    id: ResponseId,
    tape: Tape,
    /// Where its last event stands.
    ended: Option<Seq>,
}

impl Found {
    /// The response as it was when it was read.
    fn shown(&self) -> Reply {
        let mut response = self.tape.response().ok_or_else(lost)?.clone();
        if self.ended.is_none() && self.tape.turn().is_none() {
            response.status = Status::Queued;
        }
        Ok(json(StatusCode::OK, &response))
    }

    /// Whether nothing else is in its session: it went on from nothing, and nothing goes on from it.
    async fn is_alone(&self) -> Reply<bool> {
        let (Some(mut after), false) = (self.ended, self.goes_on()) else { return Ok(false) };
        loop {
            let records = self.session.read(after, TURN_BATCH).await?;
            let Some(last) = records.last() else { return Ok(true) };
            after = last.position().seq;
            let mut events = records.iter().filter_map(|record| record.envelope().ok());
            if events.any(|envelope| matches!(envelope.event, Event::InputAccepted(_))) {
                return Ok(false);
            }
        }
    }

    fn goes_on(&self) -> bool {
        self.tape.response().is_some_and(object::Response::goes_on)
    }
}

fn not_found(id: &str) -> Fault {
    Fault::no_such("Response", id)
}

/// The response a request's path names.
async fn named(door: &Door<Openai>, caller: &Authenticated, uri: &Uri) -> Reply<Found> {
    let text = body::segment(uri, "responses")?;
    let id = ResponseId::parse(text).ok_or_else(|| not_found(text))?;
    let session = door.app().gateway().session(caller, id.session).await;
    let session = session.map_err(|refusal| match refusal.code {
        ErrorCode::NotFound => not_found(text),
        _ => refusal.into(),
    })?;
    find(session, id).await
}

/// Reads a response from its session's log, and of that no more than its turn.
async fn find(session: SessionHandle, id: ResponseId) -> Reply<Found> {
    if session.view().await?.metadata.contains_key(&labels::deleted(id.input)) {
        return Err(not_found(&id.to_string()));
    }
    let mut tape = Tape::new(id, true, None, Style::Sse);
    let mut after = id.before();
    loop {
        let records = session.read(after, TURN_BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            if tape.event(envelope) {
                return Ok(Found { session, id, tape, ended: Some(envelope.seq) });
            }
            // Its first event accepts it.
            if tape.response().is_none() {
                return Err(not_found(&id.to_string()));
            }
        }
    }
    if tape.response().is_none() {
        return Err(not_found(&id.to_string()));
    }
    Ok(Found { session, id, tape, ended: None })
}

#[derive(Deserialize)]
struct Retrieve {
    #[serde(default)]
    stream: bool,
    starting_after: Option<u64>,
}

async fn retrieve(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let query = axum::extract::Query::<Retrieve>::try_from_uri(request.uri());
    let query = query.map_err(|_| Fault::invalid("stream is true or false, starting_after a number"))?.0;
    let found = named(&door, &caller, request.uri()).await?;
    if !query.stream {
        return found.shown();
    }
    let Found { session, id, .. } = found;
    let tape = Tape::new(id, true, query.starting_after, Style::Sse);
    let before = Position { epoch: session.head().epoch, seq: id.before() };
    let source = Source { follower: session.follow(Some(before)), held: None };
    Ok(stream::reply(&door, caller, source, tape))
}

async fn cancel(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let found = stopped(named(&door, &caller, request.uri()).await?).await?;
    found.shown()
}

/// The response after its turn was stopped, where it was not over.
async fn stopped(found: Found) -> Reply<Found> {
    if found.ended.is_some() {
        return Ok(found);
    }
    stop(&found).await?;
    find(found.session, found.id).await
}

/// Stops a response's turn, or takes its input back before it has one.
async fn stop(Found { session, id, tape, .. }: &Found) -> Reply<()> {
    let stopped = match tape.turn() {
        Some(turn) => session.cancel(Cancel { turn: Some(turn), clear_queue: false }).await.map(|_| ()),
        None => session.withdraw(id.input).await,
    };
    match stopped {
        // It ended, or began, in this moment: what it is now is the answer.
        Err(refusal) if matches!(refusal.code, ErrorCode::Conflict | ErrorCode::NotFound) => Ok(()),
        other => Ok(other?),
    }
}

#[derive(Serialize)]
struct Deleted {
    id: String,
    object: &'static str,
    deleted: bool,
}

async fn delete(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let found = stopped(named(&door, &caller, request.uri()).await?).await?;
    let Found { session, id, .. } = &found;
    if found.is_alone().await? {
        session.delete().await?;
    } else {
        // Others go on from it, so the log stays; the response is not shown any more.
        let mut metadata = session.view().await?.metadata;
        metadata.insert(labels::deleted(id.input), "true".into());
        session.update(SessionPatch { metadata: Some(metadata), ..SessionPatch::default() }).await?;
    }
    Ok(json(StatusCode::OK, &Deleted { id: id.to_string(), object: "response", deleted: true }))
}

async fn input_items(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let listing = Listing::of(request.uri())?;
    let found = named(&door, &caller, request.uri()).await?;
    let Found { session, id, .. } = &found;
    // What it goes on from has its own list; what stands before a first response came with it.
    let after = if found.goes_on() { id.before() } else { Seq::ZERO };
    page(Items::between(session, after, id.at).await?, &listing)
}

/// Whether a frame is understood.
pub(super) fn understands(bytes: &[u8], ids: &Ids) -> bool {
    socket::read(bytes).is_ok_and(|request| request.read(ids).is_ok())
}
