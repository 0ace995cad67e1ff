//! Sessions: made, listed, shown, changed, copied, removed.

use axum::{
    extract::State,
    response::Response,
    routing::{delete, get, patch, post},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::StatusCode;
use moongate_core::{ListQuery, NewSession};
use moongate_protocol::{
    AgentName, Alias, ErrorCode, Metadata, Namespace, PolicyPreset, Seq, SessionId, SessionPatch,
    SessionState, SessionView, Timestamp,
};
use serde::Deserialize;
use utoipa::{IntoParams, ToSchema};

use super::{
    DOOR,
    views::{MessagesBody, SessionBody, SessionsBody},
};
use crate::{
    App,
    audit::audit,
    body::{Json, OptionalJson},
    caller::Authenticated,
    extract::{Id, Query, page_size},
    guard::Client,
    limits::{PAGE_ITEMS, PAGE_ITEMS_MAX, SEARCH_BYTES},
    reply::{Answer, Failure, json, no_content, ok},
    route::{Route, Shape},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::post("/sessions", post(create))
            .says("Make a session, or find the one with this alias")
            .json::<CreateSession>()
            .ok::<SessionBody>(201)
            .ok::<SessionBody>(200)
            .refuses(&[ErrorCode::Unprocessable])
            .writes(),
        Route::get("/sessions", get(list))
            .says("List sessions, newest activity first")
            .query::<ListParams>()
            .ok::<SessionsBody>(200),
        Route::get("/sessions/{session}", get(show)).says("Show a session").ok::<SessionBody>(200),
        Route::patch("/sessions/{session}", patch(change))
            .says("Change a session's settings")
            .json::<ChangeSession>()
            .ok::<SessionBody>(200)
            .refuses(&[ErrorCode::Unprocessable])
            .writes(),
        Route::delete("/sessions/{session}", delete(remove))
            .says("Stop the session's turn and remove everything")
            .answers(204, Shape::Empty)
            .writes(),
        Route::post("/sessions/{session}/fork", post(fork))
            .says("Make a session whose log begins as this one's")
            .json::<ForkSession>()
            .ok::<SessionBody>(201)
            .refuses(&[ErrorCode::InvalidPosition])
            .writes(),
        Route::get("/sessions/{session}/messages", get(messages))
            .says("The transcript, paged from the end")
            .query::<MessageParams>()
            .ok::<MessagesBody>(200),
    ]
}

/// What a new session is to be.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct CreateSession {
    /// Who answers; the default agent when absent.
    agent: Option<AgentName>,
    /// What to show in a list.
    title: Option<String>,
    /// Where it belongs; the caller's own namespace when absent.
    namespace: Option<Namespace>,
    /// Labels.
    #[serde(default)]
    metadata: Metadata,
    /// The client's own name for it; the same name again finds the same session.
    alias: Option<Alias>,
}

async fn create(
    State(app): State<App>,
    caller: Authenticated,
    OptionalJson(body): OptionalJson<CreateSession>,
) -> Answer {
    let CreateSession { agent, title, namespace, metadata, alias } = body;
    let new = NewSession { agent, title, namespace, metadata, alias, shared: false };
    let created = app.gateway().create(&caller, DOOR, new).await?;
    let status = if created.existed { StatusCode::OK } else { StatusCode::CREATED };
    Ok(json(status, &SessionBody::from(created.view)))
}

/// Which sessions to list.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct ListParams {
    /// Most sessions of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
    /// `next_cursor` of the page before.
    #[param(max_length = 128)]
    cursor: Option<String>,
    /// Only in this state.
    #[param(inline)]
    state: Option<SessionState>,
    /// Only of this agent.
    #[param(inline)]
    agent: Option<AgentName>,
    /// Only in this namespace or beneath it.
    #[param(inline)]
    namespace: Option<Namespace>,
    /// Words to find in titles and messages.
    #[param(max_length = 256)]
    q: Option<String>,
    /// Only archived ones, or only others.
    archived: Option<bool>,
}

async fn list(State(app): State<App>, caller: Authenticated, Query(params): Query<ListParams>) -> Answer {
    if params.q.as_ref().is_some_and(|q| q.len() > SEARCH_BYTES) {
        return Err(Failure::field("q", format!("q has at most {SEARCH_BYTES} bytes")));
    }
    let query = ListQuery {
        owner: None,
        state: params.state,
        agent: params.agent,
        namespace: params.namespace,
        archived: params.archived,
        text: params.q,
        door: None,
        offset: 0,
        after: params.cursor.as_deref().map(read_cursor).transpose()?,
        limit: page_size(params.limit, PAGE_ITEMS, PAGE_ITEMS_MAX)?,
    };
    let page = app.gateway().list(&caller, query).await?;
    let next_cursor = page.items.last().filter(|_| page.more).map(cursor_after);
    ok(&SessionsBody { items: page.items.into_iter().map(SessionBody::from).collect(), next_cursor })
}

/// A cursor is opaque to clients: the last row's place in the order.
fn cursor_after(view: &SessionView) -> String {
    URL_SAFE_NO_PAD.encode(format!("{}.{}", view.updated_at.as_millis(), view.id))
}

fn read_cursor(text: &str) -> Answer<(Timestamp, SessionId)> {
    let read = || {
        let text = String::from_utf8(URL_SAFE_NO_PAD.decode(text).ok()?).ok()?;
        let (millis, id) = text.split_once('.')?;
        Some((Timestamp::from_millis(millis.parse().ok()?), id.parse().ok()?))
    };
    read().ok_or_else(|| Failure::field("cursor", "cursor is the next_cursor of a page"))
}

async fn show(State(app): State<App>, caller: Authenticated, Id(id): Id<SessionId>) -> Answer {
    let view = app.gateway().session(&caller, id).await?.view().await?;
    ok(&SessionBody::from(view))
}

/// What to change; absent fields stay.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ChangeSession {
    /// The new title.
    title: Option<String>,
    /// All labels.
    metadata: Option<Metadata>,
    /// Whether it is put away.
    archived: Option<bool>,
    /// Which agent answers from the next turn on.
    agent: Option<AgentName>,
    /// What the agent may do from the next turn on; needs `policy:write`.
    policy: Option<PolicyPreset>,
    /// Whether calls that would wait for a person run without one; needs `policy:write`.
    auto_approve: Option<bool>,
}

async fn change(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    Json(body): Json<ChangeSession>,
) -> Answer {
    let ChangeSession { title, metadata, archived, agent, policy, auto_approve } = body;
    let session = app.gateway().session(&caller, id).await?;
    let patch = SessionPatch { title, metadata, archived, agent, policy, auto_approve };
    let view = session.update(patch).await?;
    ok(&SessionBody::from(view))
}

async fn remove(
    State(app): State<App>,
    caller: Authenticated,
    client: Client,
    Id(id): Id<SessionId>,
) -> Answer {
    app.gateway().session(&caller, id).await?.delete().await?;
    audit(&app, &caller, client, "session.deleted", id.to_string()).await;
    Ok(no_content())
}

/// Where to fork.
#[derive(Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct ForkSession {
    /// The last event to copy; all of them when absent.
    at: Option<Seq>,
    /// The new session's title.
    title: Option<String>,
}

async fn fork(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    OptionalJson(body): OptionalJson<ForkSession>,
) -> Answer {
    let from = app.gateway().session(&caller, id).await?;
    let created = app.gateway().fork(&caller, &from, body.at, body.title).await?;
    Ok(json(StatusCode::CREATED, &SessionBody::from(created.view)))
}

/// Which messages to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct MessageParams {
    /// Only messages before this event.
    #[param(minimum = 0, value_type = Option<u64>, format = "uint64")]
    before: Option<Seq>,
    /// Most messages of a page.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

async fn messages(
    State(app): State<App>,
    caller: Authenticated,
    Id(id): Id<SessionId>,
    Query(params): Query<MessageParams>,
) -> Answer<Response> {
    let limit = page_size(params.limit, PAGE_ITEMS, PAGE_ITEMS_MAX)?;
    let session = app.gateway().session(&caller, id).await?;
    let mut items = session.messages(params.before, limit + 1).await?;
    let more = items.len() > limit;
    if more {
        items.remove(0);
    }
    ok(&MessagesBody { items, more })
}
