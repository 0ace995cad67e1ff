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
        let envelope = parse(line).map_err(|failure| failure.at(&format!("line {}", at + 1)))?;
        log.push(envelope);
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
