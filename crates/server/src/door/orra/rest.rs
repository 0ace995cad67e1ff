//! The routes that are no WebSocket.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderName, StatusCode, Uri, header};
use moongate_core::Scope;
use moongate_protocol::{Cancel, ErrorCode, SessionPatch};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Orra,
    chat::{self, Begun, LABEL, Ready, Wish},
    fault::{Code, Fault, Reply},
    frames::{Usage, What},
    history::{self, Page},
    name::{Meaning, Name},
    translate::{Shown, Tale},
};
use crate::{body, caller::Authenticated, door::shared::Door, reply, strict};

/// Header that names a submission.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// How long a deletion waits for the turn it stops.
const DELETE_WAIT: Duration = Duration::from_secs(5);
/// Most messages of a page.
const PAGE: usize = 1000;

type State_ = State<Door<Orra>>;

#[derive(Serialize)]
struct Health {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<&'static str>,
}

pub(super) async fn health(State(door): State_) -> Response {
    let gateway = door.app().gateway();
    if gateway.draining().is_cancelled() || gateway.store().fault().is_some() {
        let code = Code::Unavailable;
        let body = Health { status: "unavailable", error: Some(code.sentence()), code: Some(code.as_str()) };
        return reply::json(StatusCode::SERVICE_UNAVAILABLE, &body);
    }
    reply::json(StatusCode::OK, &Health { status: "ok", error: None, code: None })
}

/// Refuses a key without a right.
pub(super) fn require(caller: &Authenticated, scope: Scope) -> Reply<()> {
    if caller.may(scope) { Ok(()) } else { Err(Code::Forbidden.into()) }
}

#[derive(Deserialize)]
struct ChatBody {
    message: String,
    namespace: Option<String>,
    metadata: Option<Map<String, Value>>,
    model: Option<String>,
    agent: Option<String>,
}

/// The answer to a chat.
#[derive(Serialize)]
struct Answered<'a> {
    message: String,
    namespace: &'a str,
    usage: Usage,
    agent: String,
    model: String,
    turn_id: String,
    finish_reason: &'static str,
    seq: u64,
    epoch: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
}

/// The answer to a chat whose turn has no good end, or none yet.
#[derive(Serialize)]
struct Unanswered<'a> {
    error: &'static str,
    code: &'static str,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

pub(super) async fn chat(State(door): State_, caller: Authenticated, request: Request) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let key = key(request.headers())?;
    let body: ChatBody = read(&door, request).await?;
    let ChatBody { message, namespace, metadata, model, agent } = body;
    let until = Instant::now() + Duration::from_secs(door.settings.chat_secs);
    let ready =
        chat::prepare(&door, &caller, Wish { message, namespace, metadata, model, agent, key }).await?;
    let share = door.turns.take(caller.key());
    let _share = match door.patience() {
        Some(patience) => timeout(patience, share).await.map_err(|_| Fault::from(Code::QueueTimeout))?,
        None => share.await,
    };
    let mut begun = ready.begin().await?;
    let waited = wait(&door, &ready, &mut begun);
    match timeout_at(until, waited).await {
        Ok(shown) => Ok(answer(&ready, &begun, shown?)),
        Err(_) => {
            let turn_id = ready.session.view().await.ok().and_then(|view| view.turn);
            let turn_id = turn_id.map(|turn| turn.to_string());
            Ok(unanswered(&ready.name, Code::Timeout.into(), turn_id, None))
        }
    }
}

/// Waits for the end; takes the input back when its turn does not begin in time.
async fn wait(door: &Door<Orra>, ready: &Ready, begun: &mut Begun) -> Reply<Shown> {
    let (accepted, follower) = (&begun.accepted, &mut begun.follower);
    let ended = chat::until_ended(follower, accepted);
    let Some(patience) = door.patience().filter(|_| accepted.queue_length > 0 && !begun.again) else {
        return ended.await;
    };
    tokio::pin!(ended);
    tokio::select! {
        biased;
        shown = &mut ended => return shown,
        () = sleep(patience) => {}
    }
    // The log says whether it was taken back: it may have begun in this moment.
    let (_, shown) = tokio::join!(ready.session.withdraw(accepted.input), ended);
    match shown? {
        Shown { tale: Tale::Withdrawn, .. } => Err(Code::QueueTimeout.into()),
        shown => Ok(shown),
    }
}

fn answer(ready: &Ready, begun: &Begun, shown: Shown) -> Response {
    let turn_id = shown.turn.map(|turn| turn.to_string());
    match shown.tale {
        Tale::Frame(What::Response(response)) => reply::json(
            StatusCode::OK,
            &Answered {
                message: response.message,
                namespace: ready.name.as_str(),
                usage: response.usage,
                agent: response.agent,
                model: response.model,
                turn_id: turn_id.unwrap_or_default(),
                finish_reason: response.finish_reason,
                seq: shown.seq,
                epoch: begun.accepted.position.epoch.to_string(),
                idempotent: begun.again,
            },
        ),
        Tale::Frame(What::Error(error)) => unanswered(&ready.name, error.fault.0, turn_id, error.usage),
        _ => unanswered(&ready.name, Code::Cancelled.into(), turn_id, None),
    }
}

fn unanswered(name: &Name, fault: Fault, turn_id: Option<String>, usage: Option<Usage>) -> Response {
    let (error, code) = (fault.code.sentence(), fault.code.as_str());
    let retry_after = fault.wait();
    let body = Unanswered { error, code, namespace: name.as_str(), turn_id, usage, retry_after };
    let mut response = reply::json(fault.status(), &body);
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

fn key(headers: &HeaderMap) -> Reply<Option<String>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    match value.to_str() {
        Ok(text) if !text.is_empty() => Ok(Some(text.to_owned())),
        _ => Err(Code::InvalidRequest.into()),
    }
}

/// Reads a JSON body.
async fn read<T: DeserializeOwned>(door: &Door<Orra>, request: Request) -> Reply<T> {
    body::require_json(request.headers())?;
    let bytes = body::read(request.into_body(), door.settings.max_body_bytes, door.app()).await?;
    strict::check(&bytes).map_err(|_| Fault::from(Code::InvalidJson))?;
    if bytes.trim_ascii_start().first() != Some(&b'{') {
        return Err(Code::InvalidRequest.into());
    }
    serde_json::from_slice(&bytes).map_err(|_| Code::InvalidRequest.into())
}

/// The query of a history.
#[derive(Deserialize)]
struct Query {
    limit: Option<usize>,
    before: Option<u64>,
}

pub(super) async fn session(State(door): State_, caller: Authenticated, uri: Uri) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let name = Name::of_path(&uri)?;
    let query =
        axum::extract::Query::<Query>::try_from_uri(&uri).map_err(|_| Fault::from(Code::InvalidRequest))?;
    let Query { limit, before } = query.0;
    if limit.is_some_and(|limit| !(1..=PAGE).contains(&limit)) {
        return Err(Code::InvalidRequest.into());
    }
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller).await?;
    let body = history::session(&name, &session, Some(Page { limit, before })).await?;
    Ok(reply::json(StatusCode::OK, &body))
}

#[derive(Serialize)]
struct Deleted<'a> {
    deleted: bool,
    session_id: &'a str,
    namespace: &'a str,
}

pub(super) async fn delete(State(door): State_, caller: Authenticated, uri: Uri) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let name = Name::of_path(&uri)?;
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller).await?;
    let cancelled = session.cancel(Cancel { turn: None, clear_queue: true });
    // A turn that does not stop is removed with its session all the same.
    if let Ok(Err(refusal)) = timeout(DELETE_WAIT, cancelled).await
        && !matches!(refusal.code, ErrorCode::Conflict | ErrorCode::NotFound)
    {
        return Err(refusal.into());
    }
    session.delete().await?;
    let name = name.as_str();
    Ok(reply::json(StatusCode::OK, &Deleted { deleted: true, session_id: name, namespace: name }))
}

#[derive(Deserialize)]
struct Patch {
    metadata: Map<String, Value>,
}

pub(super) async fn patch(State(door): State_, caller: Authenticated, request: Request) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let name = Name::of_path(request.uri());
    let patch: Patch = read(&door, request).await?;
    let name = name?;
    let auto_approve = match patch.metadata.get("chaos_mode") {
        None => None,
        Some(Value::Null) => Some(false),
        Some(Value::Bool(on)) => Some(*on),
        Some(_) => return Err(Code::InvalidRequest.into()),
    };
    if auto_approve.is_some() {
        require(&caller, Scope::PolicyWrite)?;
    }
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller).await?;
    let view = session.view().await?;
    let mut merged = history::metadata(&view);
    for (key, value) in patch.metadata {
        match value {
            Value::Null => drop(merged.remove(&key)),
            value => drop(merged.insert(key, value)),
        }
    }
    merged.remove("chaos_mode");
    let mut metadata = view.metadata;
    match chat::label(&merged)? {
        Some(label) => drop(metadata.insert(LABEL.to_owned(), label)),
        None => drop(metadata.remove(LABEL)),
    }
    session
        .update(SessionPatch { metadata: Some(metadata), auto_approve, ..SessionPatch::default() })
        .await?;
    Ok(reply::json(StatusCode::OK, &history::session(&name, &session, None).await?))
}
