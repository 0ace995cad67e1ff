//! Sessions: listed, shown, removed, pruned.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use moongate_core::{ListQuery, SessionRow, TurnQuery};
use moongate_protocol::{Cancel, ErrorCode};
use serde::Serialize;

use super::{
    NAME, Oxios, User,
    chat::{find, wire_id},
    fault::Reply,
    history::{Facts, History},
    housekeeping,
    ids::session_id,
    pages::Page,
    turn::ToolCall,
};
use crate::{door::shared::Door, reply::json};

#[derive(Serialize)]
struct Row {
    id: String,
    message_count: u64,
    #[serde(flatten)]
    facts: Facts,
}

/// `GET /api/sessions`.
pub(super) async fn list(State(door): State<Door<Oxios>>, User(caller): User, page: Page) -> Reply {
    let gateway = door.app().gateway();
    let only_ours = (!door.settings.show_all_sessions).then(|| NAME.into());
    let query =
        ListQuery { door: only_ours, offset: page.offset(), limit: page.limit(), ..ListQuery::default() };
    let (rows, total) = gateway.page(&caller, query).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        let turns = TurnQuery { session: Some(row.view.id), ..TurnQuery::default() };
        let turns = gateway.store().turn_counts(caller.tenant(), &turns).await?;
        items.push(Row {
            id: session_id(&row.view, is_ours(row)),
            message_count: turns.all() + row.view.queue.len() as u64,
            facts: Facts::of(&row.view),
        });
    }
    Ok(json(StatusCode::OK, &page.of(items, total)))
}

fn is_ours(row: &SessionRow) -> bool {
    &*row.door == NAME
}

/// `GET /api/sessions/{id}`.
pub(super) async fn show(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let session = find(door.app().gateway(), &caller, &id).await?;
    let view = session.view().await?;
    let history = History::read(&session).await?;
    Ok(json(StatusCode::OK, &history.detail(&wire_id(&session).await?, &view)))
}

#[derive(Serialize)]
struct Calls<'a> {
    session_id: &'a str,
    tool_calls: Vec<ToolCall>,
}

/// `GET /api/sessions/{id}/tool-calls`.
pub(super) async fn tool_calls(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let session = find(door.app().gateway(), &caller, &id).await?;
    let tool_calls = History::read(&session).await?.tool_calls();
    let session_id = &wire_id(&session).await?;
    Ok(json(StatusCode::OK, &Calls { session_id, tool_calls }))
}

#[derive(Serialize)]
struct Deleted<'a> {
    status: &'static str,
    id: &'a str,
}

/// `DELETE /api/sessions/{id}`.
pub(super) async fn delete(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let session = find(door.app().gateway(), &caller, &id).await?;
    let named = wire_id(&session).await?;
    // What runs has to have stopped before its session is gone.
    match session.cancel(Cancel { turn: None, clear_queue: true }).await {
        Err(refusal) if refusal.code != ErrorCode::Conflict => return Err(refusal.into()),
        _ => {}
    }
    session.delete().await?;
    Ok(json(StatusCode::OK, &Deleted { status: "deleted", id: &named }))
}

#[derive(Serialize)]
struct Pruned {
    status: &'static str,
    count: u64,
    config: PruneConfig,
}

#[derive(Serialize)]
struct PruneConfig {
    max_sessions: u32,
    ttl_hours: u32,
}

/// `POST /api/sessions/prune`.
pub(super) async fn prune(State(door): State<Door<Oxios>>, User(caller): User) -> Reply<Response> {
    let rule = door.prune();
    let spared = |session| door.displayed.holds(session);
    let prune = housekeeping::prune(rule, door.app().gateway().ids().now(), &spared);
    let count = door.app().gateway().prune(&caller, &prune).await?;
    let config = PruneConfig { max_sessions: rule.max_sessions, ttl_hours: rule.ttl_hours };
    Ok(json(StatusCode::OK, &Pruned { status: "pruned", count, config }))
}
