//! The session routes.

use std::time::Duration;

use axum::extract::{Path, RawQuery, Request, State};
use http::{StatusCode, header};
use moongate_core::{Caller, ListQuery, Scope, SessionHandle};
use moongate_protocol::{Cancel, SessionId, SessionPatch, SessionState, SessionView, Timestamp, TurnId};
use serde::{Deserialize, Serialize};

use super::{
    Construct,
    asks::clean_name,
    chats::id_of,
    frames::StateName,
    handshake::{form, parse_id},
    reply::{Reply, Trouble, lacks, ok, parse},
    standing::{Standing, counts},
};
use crate::{
    caller::Authenticated,
    door::shared::{Dialect as _, Door},
};

/// Most sessions of one page, and as many as when nobody says how many.
const PAGE: usize = 500;
/// How long after its last event a session still counts as active.
const ACTIVE: Duration = Duration::from_secs(300);

type State_ = State<Door<Construct>>;

/// A session in the list.
#[derive(Serialize)]
struct Item {
    id: String,
    channel: &'static str,
    started_at: Timestamp,
    last_activity: Timestamp,
    status: &'static str,
    message_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<StateName>,
}

#[derive(Serialize)]
struct Items {
    sessions: Vec<Item>,
    #[serde(skip_serializing_if = "Option::is_none")]
    next_cursor: Option<String>,
}

pub(super) async fn list(State(door): State_, caller: Authenticated, RawQuery(query): RawQuery) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let query = query.unwrap_or_default();
    let limit = limit(&query, PAGE)?.unwrap_or(PAGE);
    let after = form(&query).find(|(name, _)| name == "cursor").map(|(_, value)| read_cursor(&value));
    let asked = ListQuery { after: after.transpose()?, limit, ..mine(&caller) };
    let page = door.app().gateway().list(&caller, asked).await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(cursor);
    let mut sessions = Vec::with_capacity(page.items.len());
    for view in &page.items {
        sessions.extend(item(&door, &caller, view).await?);
    }
    ok(&Items { sessions, next_cursor })
}

/// The caller's sessions of this door.
pub(super) fn mine(caller: &Caller) -> ListQuery {
    let door = Some(Construct::NAME.into());
    ListQuery { owner: Some(caller.principal().clone()), door, ..ListQuery::default() }
}

async fn item(door: &Door<Construct>, caller: &Authenticated, view: &SessionView) -> Reply<Option<Item>> {
    let Some(id) = view.alias.as_ref().and_then(|alias| id_of(caller, alias)) else { return Ok(None) };
    let Ok(handle) = door.app().gateway().session(caller, view.id).await else { return Ok(None) };
    let running = view.state != SessionState::Idle;
    let active = running || door.now().since(view.updated_at) < ACTIVE;
    Ok(Some(Item {
        id: id.to_string(),
        channel: "gateway",
        started_at: view.created_at,
        last_activity: view.updated_at,
        status: if active { "active" } else { "idle" },
        message_count: counts(&handle, view).await?.rows,
        name: view.title.clone(),
        state: None,
    }))
}

fn cursor(view: &SessionView) -> String {
    format!("{}.{}", view.updated_at.as_millis(), view.id)
}

fn read_cursor(text: &str) -> Reply<(Timestamp, SessionId)> {
    let read = || {
        let (at, id) = text.split_once('.')?;
        Some((Timestamp::from_millis(at.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Trouble::invalid("The cursor is not one of this route's"))
}

/// `limit`, between 1 and `most`.
pub(super) fn limit(query: &str, most: usize) -> Reply<Option<usize>> {
    let Some((_, value)) = form(query).find(|(name, _)| name == "limit") else { return Ok(None) };
    match value.parse() {
        Ok(limit) if (1..=most).contains(&limit) => Ok(Some(limit)),
        _ => Err(Trouble::invalid(format!("limit is from 1 to {most}"))),
    }
}

#[derive(Serialize)]
struct Running {
    session_id: String,
    created_at: Timestamp,
    last_activity: Timestamp,
    message_count: u64,
    turn_id: Option<TurnId>,
    turn_started_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct AllRunning {
    sessions: Vec<Running>,
}

pub(super) async fn running(State(door): State_, caller: Authenticated) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let mut sessions = Vec::new();
    for state in [SessionState::Running, SessionState::Waiting] {
        let asked = ListQuery { state: Some(state), limit: PAGE, ..mine(&caller) };
        for view in door.app().gateway().list(&caller, asked).await?.items {
            let Some(id) = view.alias.as_ref().and_then(|alias| id_of(&caller, alias)) else { continue };
            let Ok(handle) = door.app().gateway().session(&caller, view.id).await else { continue };
            let message_count = counts(&handle, &view).await?.rows;
            let standing = Standing::of(&door, caller.tenant(), view).await?;
            sessions.push(Running {
                session_id: id.to_string(),
                created_at: standing.view.created_at,
                last_activity: standing.view.updated_at,
                message_count,
                turn_id: standing.view.turn,
                turn_started_at: standing.turn_began(),
            });
        }
    }
    ok(&AllRunning { sessions })
}

pub(super) async fn one(State(door): State_, caller: Authenticated, Path(id): Path<String>) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let handle = door.session(&caller, &id).await?;
    let standing = Standing::of(&door, caller.tenant(), handle.view().await?).await?;
    let item = item(&door, &caller, &standing.view).await?.ok_or_else(Trouble::no_session)?;
    ok(&Item { state: Some(standing.state()), ..item })
}

#[derive(Serialize)]
struct StateBody {
    session_id: String,
    state: StateName,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_started_at: Option<Timestamp>,
    queue_depth: usize,
}

pub(super) async fn state(State(door): State_, caller: Authenticated, Path(id): Path<String>) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let handle = door.session(&caller, &id).await?;
    let standing = Standing::of(&door, caller.tenant(), handle.view().await?).await?;
    ok(&StateBody {
        session_id: parse_id(&id)?.to_string(),
        state: standing.state(),
        turn_id: standing.turn(),
        turn_started_at: standing.turn_began(),
        queue_depth: standing.depth(),
    })
}

#[derive(Deserialize)]
struct Rename {
    name: Option<serde_json::Value>,
}

#[derive(Serialize)]
struct Renamed {
    session_id: String,
    name: String,
}

pub(super) async fn rename(
    State(door): State_,
    caller: Authenticated,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let body: Option<Rename> = door.json(request).await?;
    let name = body.and_then(|body| clean_name(body.name?.as_str()?));
    let required = || Trouble::new(StatusCode::BAD_REQUEST, "name_required", "name is required");
    let name = name.ok_or_else(required)?;
    let handle = door.session(&caller, &id).await?;
    handle.update(SessionPatch { title: Some(name.clone()), ..SessionPatch::default() }).await?;
    ok(&Renamed { session_id: parse_id(&id)?.to_string(), name })
}

#[derive(Serialize)]
struct Deleted {
    deleted: bool,
    session_id: String,
}

pub(super) async fn delete(State(door): State_, caller: Authenticated, Path(id): Path<String>) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let handle = door.session(&caller, &id).await?;
    handle.delete().await?;
    ok(&Deleted { deleted: true, session_id: parse_id(&id)?.to_string() })
}

#[derive(Default, Deserialize)]
struct Abort {
    #[serde(default)]
    clear_queue: bool,
}

#[derive(Serialize)]
struct Aborted {
    status: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    turn_id: Option<TurnId>,
}

pub(super) async fn abort(
    State(door): State_,
    caller: Authenticated,
    Path(id): Path<String>,
    request: Request,
) -> Reply {
    require(&caller, Scope::SessionsWrite)?;
    let body: Option<Abort> = door.json(request).await?;
    let clear_queue = body.unwrap_or_default().clear_queue;
    let nothing = Aborted { status: "no_active_response", turn_id: None };
    let Some(handle) = door.find(&caller, &parse_id(&id)?).await? else { return ok(&nothing) };
    match handle.abort(Cancel { turn: None, clear_queue }).await?.turn {
        Some(turn) => ok(&Aborted { status: "aborted", turn_id: Some(turn) }),
        None => ok(&nothing),
    }
}

/// Refuses a caller without this right.
pub(super) fn require(caller: &Authenticated, scope: Scope) -> Reply<()> {
    if caller.may(scope) { Ok(()) } else { Err(lacks(scope)) }
}

impl Door<Construct> {
    /// The session of a path.
    pub(super) async fn session(&self, caller: &Caller, id: &str) -> Reply<SessionHandle> {
        self.find(caller, &parse_id(id)?).await?.ok_or_else(Trouble::no_session)
    }

    /// Everything up to this event was seen.
    pub(super) fn saw(&self, session: SessionId, seq: u64) {
        let kept = Duration::from_secs(self.settings.timing.late_answer_secs);
        self.seen.mark(session, seq, self.now(), kept);
    }

    /// A JSON body; `None` when there is none.
    pub(super) async fn json<T: serde::de::DeserializeOwned>(&self, request: Request) -> Reply<Option<T>> {
        let is_json = request.headers().get(header::CONTENT_TYPE).is_none_or(|value| {
            let essence = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default().trim();
            essence.eq_ignore_ascii_case("application/json") || essence.ends_with("+json")
        });
        let bytes =
            crate::body::read(request.into_body(), self.settings.limits.json_bytes, self.app()).await?;
        if !is_json && !bytes.is_empty() {
            let message = "Send Content-Type: application/json";
            return Err(Trouble::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, "invalid_request", message));
        }
        parse(&bytes)
    }
}
