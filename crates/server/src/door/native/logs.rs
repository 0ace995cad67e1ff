//! Whole logs and what hangs on them: export, import, attachments.

use axum::{
    body::Body,
    extract::{Request, State},
    response::Response,
    routing::{get, post},
};
use bytes::{BufMut as _, Bytes, BytesMut};
use futures_util::stream;
use http::{HeaderValue, StatusCode, header};
use moongate_core::{Refusal, Scope, SessionHandle, limits::READ_BATCH};
use moongate_protocol::{BlobHash, Envelope, ErrorCode, Seq, SessionId};
use serde_json::Value;

use super::{
    parts::{find, holds_blobs},
    views::SessionBody,
};
use crate::{
    App,
    audit::audit,
    body::{parse, read, require_type},
    caller::Authenticated,
    extract::{Id, Ids},
    guard::Client,
    limits::IMPORT_BODY_BYTES,
    reply::{Answer, Failure, json},
    route::{Route, Shape},
};

/// One JSON text a line.
const LINES: &str = "application/x-ndjson";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/sessions/{session}/export", get(export))
            .says("The session's log as JSON lines")
            .answers(200, Shape::Text(LINES)),
        Route::post("/sessions/import", post(import))
            .says("Make a session from an exported log")
            .body(Shape::Text(LINES))
            .ok::<SessionBody>(201)
            .refuses(&[ErrorCode::Unprocessable])
            .writes(),
        Route::get("/sessions/{session}/blobs/{hash}", get(blob))
            .says("An attachment of the session")
            .answers(200, Shape::Text("application/octet-stream")),
    ]
}

async fn export(
    State(app): State<App>,
    caller: Authenticated,
    client: Client,
    Id(id): Id<SessionId>,
) -> Answer<Response> {
    let session = app.gateway().session(&caller, id).await?;
    audit(&app, &caller, client, "session.exported", id.to_string()).await;
    let lines = Lines { to: session.head().seq, session, after: Seq::ZERO };
    let mut response = Response::new(Body::from_stream(stream::try_unfold(lines, Lines::batch)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(LINES));
    attach(headers, &format!("{id}.jsonl"));
    Ok(response)
}

/// A log on its way out, a batch at a time.
struct Lines {
    session: SessionHandle,
    after: Seq,
    to: Seq,
}

impl Lines {
    async fn batch(mut self) -> Result<Option<(Bytes, Self)>, Refusal> {
        if self.after >= self.to {
            return Ok(None);
        }
        let records = self.session.read(self.after, READ_BATCH).await?;
        let mut text = BytesMut::new();
        for record in records.iter().filter(|record| record.position().seq <= self.to) {
            self.after = record.position().seq;
            text.put_slice(record.json());
            text.put_u8(b'\n');
        }
        if text.is_empty() { Ok(None) } else { Ok(Some((text.freeze(), self))) }
    }
}

async fn import(State(app): State<App>, caller: Authenticated, client: Client, request: Request) -> Answer {
    require_type(request.headers(), LINES)?;
    caller.require(Scope::SessionsWrite)?;
    let body = read(request.into_body(), IMPORT_BODY_BYTES, &app).await?;
    let mut log: Vec<Envelope> = Vec::new();
    for (at, line) in body.split(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii().is_empty() {
            continue;
        }
        log.push(envelope(line).map_err(|failure| failure.at(&format!("line {}", at + 1)))?);
    }
    // A log names attachments by hash, and a hash alone opens nothing.
    if !caller.may(Scope::Admin) && log.iter().any(|envelope| holds_blobs(&envelope.event)) {
        let message = "only the administrator imports a log with attachments";
        return Err(Failure::new(ErrorCode::Unprocessable, message));
    }
    let created = app.gateway().import(&caller, log).await?;
    audit(&app, &caller, client, "session.imported", created.view.id.to_string()).await;
    Ok(json(StatusCode::CREATED, &SessionBody::from(created.view)))
}

/// An event of an imported log.
fn envelope(line: &[u8]) -> Answer<Envelope> {
    let envelope: Envelope = parse(line)?;
    // Events are read through a buffer in which a list still passes for an object, field by field.
    let shapes = serde_json::from_slice(line).and_then(|sent| Ok((sent, serde_json::to_value(&envelope)?)));
    let (sent, read) =
        shapes.map_err(|_| Failure::new(ErrorCode::Internal, "an event cannot be compared"))?;
    if has_list_for_object(&sent, &read) {
        return Err(Failure::invalid("the body is not acceptable: a list is not an object"));
    }
    Ok(envelope)
}

/// Whether a list was sent where an object was read.
fn has_list_for_object(sent: &Value, read: &Value) -> bool {
    match (sent, read) {
        (Value::Array(_), Value::Object(_)) => true,
        (Value::Array(sent), Value::Array(read)) => {
            sent.iter().zip(read).any(|(sent, read)| has_list_for_object(sent, read))
        }
        (Value::Object(sent), Value::Object(read)) => {
            read.iter().any(|(key, read)| sent.get(key).is_some_and(|sent| has_list_for_object(sent, read)))
        }
        _ => false,
    }
}

async fn blob(
    State(app): State<App>,
    caller: Authenticated,
    Ids(id, hash): Ids<SessionId, BlobHash>,
) -> Answer<Response> {
    let missing = || Failure::new(ErrorCode::NotFound, "there is no such attachment in this session");
    let session = app.gateway().session(&caller, id).await?;
    let known = find(&session, hash).await?.ok_or_else(missing)?;
    let bytes = app.gateway().store().blob(hash).await?.ok_or_else(missing)?;
    let mut response = Response::new(Body::from(bytes));
    let headers = response.headers_mut();
    let media_type = HeaderValue::try_from(known.media_type);
    let unknown = HeaderValue::from_static("application/octet-stream");
    headers.insert(header::CONTENT_TYPE, media_type.unwrap_or(unknown));
    // Whatever it is, a browser neither shows nor runs it here.
    let sandbox = HeaderValue::from_static("sandbox; default-src 'none'; frame-ancestors 'none'");
    headers.insert(header::CONTENT_SECURITY_POLICY, sandbox);
    attach(headers, &hash.to_string());
    Ok(response)
}

fn attach(headers: &mut http::HeaderMap, name: &str) {
    if let Ok(value) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, value);
    }
}
