//! `/responses`: turns that can be read again, followed from any place, cancelled and gone on from.

mod events;
mod fold;
pub(super) mod items;
pub(super) mod labels;
pub(super) mod object;
pub(super) mod request;
mod socket;
mod start;

use axum::extract::{Request, State};
use bytes::BytesMut;
use http::{StatusCode, Uri};
use moongate_core::{SessionHandle, limits::READ_BATCH};
use moongate_protocol::{Cancel, ErrorCode, Event, Seq, SessionPatch};
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
    run::{self, Source},
    stream,
};
use crate::{
    caller::Authenticated,
    door::shared::{Door, Path},
    reply::{Failure, json},
};

pub(super) fn paths() -> Vec<Path<Door<Openai>>> {
    vec![
        Path::post("/responses", create),
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
        return shown(&begun.run.session, begun.id).await;
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

/// The response as it is now.
async fn shown(session: &SessionHandle, id: ResponseId) -> Reply {
    let Found { tape, ended, .. } = find(session.clone(), id).await?;
    let mut response = tape.response().ok_or_else(lost)?.clone();
    if ended.is_none() && tape.turn().is_none() {
        response.status = Status::Queued;
    }
    Ok(json(StatusCode::OK, &response))
}

/// A response that was found.
struct Found {
    session: SessionHandle,
    tape: Tape,
    /// Where its last event stands.
    ended: Option<Seq>,
}

fn not_found(id: &str) -> Fault {
    Fault::not_found(format!("Response with id '{id}' not found."))
}

/// The response a request's path names.
async fn named(door: &Door<Openai>, caller: &Authenticated, uri: &Uri) -> Reply<(Found, ResponseId)> {
    let text = body::segment(uri, "responses")?;
    let id = ResponseId::parse(text).ok_or_else(|| not_found(text))?;
    let session = door.app().gateway().session(caller, id.session).await;
    let session = session.map_err(|refusal| match refusal.code {
        ErrorCode::NotFound => not_found(text),
        _ => refusal.into(),
    })?;
    Ok((find(session, id).await?, id))
}

/// Reads a response from its session's log.
async fn find(session: SessionHandle, id: ResponseId) -> Reply<Found> {
    if session.view().await?.metadata.contains_key(&labels::deleted(id.input)) {
        return Err(not_found(&id.to_string()));
    }
    let mut tape = Tape::new(id, true, None, Style::Sse);
    let mut after = Seq::ZERO;
    loop {
        let records = session.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for record in &records {
            let Ok(envelope) = record.envelope() else { continue };
            if tape.event(envelope) {
                return Ok(Found { session, tape, ended: Some(envelope.seq) });
            }
        }
    }
    if tape.response().is_none() {
        return Err(not_found(&id.to_string()));
    }
    Ok(Found { session, tape, ended: None })
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
    let (found, id) = named(&door, &caller, request.uri()).await?;
    if !query.stream {
        return shown(&found.session, id).await;
    }
    let tape = Tape::new(id, true, query.starting_after, Style::Sse);
    let source = Source { follower: found.session.follow(None), held: None };
    Ok(stream::reply(&door, caller, source, tape))
}

async fn cancel(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let (Found { session, tape, ended }, id) = named(&door, &caller, request.uri()).await?;
    if ended.is_none() {
        stop(&session, &tape, id).await?;
    }
    shown(&session, id).await
}

/// Stops a response's turn, or takes its input back before it has one.
async fn stop(session: &SessionHandle, tape: &Tape, id: ResponseId) -> Reply<()> {
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
    let (Found { session, tape, ended }, id) = named(&door, &caller, request.uri()).await?;
    if ended.is_none() {
        stop(&session, &tape, id).await?;
    }
    if is_alone(&session).await? && !tape.response().is_some_and(object::Response::is_in_conversation) {
        session.delete().await?;
    } else {
        // Others go on from it, so the log stays; the response is not shown any more.
        let mut metadata = session.view().await?.metadata;
        metadata.insert(labels::deleted(id.input), "true".into());
        session.update(SessionPatch { metadata: Some(metadata), ..SessionPatch::default() }).await?;
    }
    Ok(json(StatusCode::OK, &Deleted { id: id.to_string(), object: "response", deleted: true }))
}

/// Whether a session holds one turn only.
async fn is_alone(session: &SessionHandle) -> Reply<bool> {
    let (mut turns, mut after) = (0, Seq::ZERO);
    loop {
        let records = session.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Ok(turns <= 1) };
        after = last.position().seq;
        let events = records.iter().filter_map(|record| record.envelope().ok());
        turns += events.filter(|envelope| matches!(envelope.event, Event::InputAccepted(_))).count();
    }
}

async fn input_items(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let listing = Listing::of(request.uri())?;
    let (Found { session, tape, .. }, id) = named(&door, &caller, request.uri()).await?;
    // What it goes on from has its own list.
    let only_own = tape.response().is_some_and(object::Response::goes_on);
    let (mut items, mut after) = (Items::default(), Seq::ZERO);
    loop {
        let records = session.read(after, READ_BATCH).await?;
        let Some(last) = records.last() else { return Err(not_found(&id.to_string())) };
        after = last.position().seq;
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            let own = matches!(&envelope.event, Event::InputAccepted(input) if input.input == id.input);
            if own && only_own {
                items.items.clear();
            }
            items.take(&envelope.event);
            if own {
                return page(items.items, &listing);
            }
        }
    }
}
