//! The routes that are no WebSocket.

use std::time::Duration;

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::{HeaderMap, HeaderName, StatusCode, Uri};
use moongate_core::Scope;
use moongate_protocol::{Cancel, ErrorCode, SessionPatch, TurnId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::{Map, Value};
use tokio::time::{Instant, sleep, timeout, timeout_at};

use super::{
    Orra,
    chat::{self, Begun, Key, LABEL, Ready, Wish},
    fault::{Body, Code, Fault, Reply},
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
    #[serde(flatten)]
    fault: Option<Body>,
}

pub(super) async fn health(State(door): State_) -> Response {
    let gateway = door.app().gateway();
    if gateway.draining().is_cancelled() || gateway.store().fault().is_some() {
        let fault = Fault::from(Code::Unavailable);
        return fault.reply(&Health { status: "unavailable", fault: Some(fault.body()) });
    }
    reply::json(StatusCode::OK, &Health { status: "ok", fault: None })
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
    turn_id: Option<TurnId>,
    finish_reason: &'static str,
    seq: u64,
    epoch: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    idempotent: bool,
}

/// The answer to a chat whose turn has no good end, or none yet.
#[derive(Serialize)]
struct Unanswered<'a> {
    #[serde(flatten)]
    fault: Body,
    namespace: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

pub(super) async fn chat(State(door): State_, caller: Authenticated, request: Request) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let key = key(request.headers())?;
    let body: ChatBody = read(&door, request).await?;
    let ChatBody { message, namespace, metadata, model, agent } = body;
    let until = Instant::now() + Duration::from_secs(door.settings.chat_secs);
    let ready = chat::prepare(&door, &caller, Wish { message, namespace, metadata, model, agent, key })?;
    let mut begun = ready.begin(&door, &caller, &door.turns.gate(caller.key())).await?;
    let mut turn = None;
    let waited = wait(&door, &mut begun, &mut turn);
    match timeout_at(until, waited).await {
        Ok(shown) => Ok(answer(&ready, &begun, shown?)),
        Err(_) => Ok(unanswered(&ready.name, Code::Timeout.into(), turn, None)),
    }
}

/// Waits for the end; takes the input back when its turn does not begin in time.
async fn wait(door: &Door<Orra>, begun: &mut Begun, turn: &mut Option<TurnId>) -> Reply<Shown> {
    let (session, accepted, follower) = (&begun.session, &begun.accepted, &mut begun.follower);
    let ended = chat::until_ended(follower, accepted, turn);
    let Some(patience) = door.patience().filter(|_| accepted.queue_length > 0 && !accepted.again) else {
        return ended.await;
    };
    tokio::pin!(ended);
    tokio::select! {
        biased;
        shown = &mut ended => return shown,
        () = sleep(patience) => {}
    }
    // The log says whether it was taken back: it may have begun in this moment.
    let (_, shown) = tokio::join!(session.withdraw(accepted.input), ended);
    match shown? {
        Shown { tale: Tale::Withdrawn, .. } => Err(Code::QueueTimeout.into()),
        shown => Ok(shown),
    }
}

fn answer(ready: &Ready, begun: &Begun, shown: Shown) -> Response {
    let turn_id = shown.turn;
    match shown.tale {
        Tale::Frame(What::Response(response)) => reply::json(
            StatusCode::OK,
            &Answered {
                message: response.message,
                namespace: ready.name.as_str(),
                usage: response.usage,
                agent: response.agent,
                model: response.model,
                turn_id,
                finish_reason: response.finish_reason,
                seq: shown.seq,
                epoch: begun.accepted.position.epoch.to_string(),
                idempotent: begun.accepted.again,
            },
        ),
        Tale::Frame(What::Error(error)) => unanswered(&ready.name, error.fault.0, turn_id, error.usage),
        _ => unanswered(&ready.name, Code::Cancelled.into(), turn_id, None),
    }
}

fn unanswered(name: &Name, fault: Fault, turn_id: Option<TurnId>, usage: Option<Usage>) -> Response {
    fault.reply(&Unanswered { fault: fault.body(), namespace: name.as_str(), turn_id, usage })
}

fn key(headers: &HeaderMap) -> Reply<Option<Key>> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let text = value.to_str().map_err(|_| Fault::from(Code::InvalidRequest))?;
    Key::try_from(text.to_owned()).map(Some)
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
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller, Scope::SessionsRead).await?;
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
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller, Scope::SessionsWrite).await?;
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
    let session = Meaning::of(&caller, &name)?.find(door.app(), &caller, Scope::SessionsWrite).await?;
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
