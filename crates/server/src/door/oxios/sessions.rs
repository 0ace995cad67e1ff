//! Sessions: listed, shown, removed, pruned.

use axum::{
    extract::{Path, State},
    response::Response,
};
use http::StatusCode;
use moongate_core::{ListQuery, SessionRow, TurnQuery};
use moongate_protocol::{Cancel, ErrorCode, SessionState, Timestamp};
use serde::Serialize;

use super::{
    NAME, Oxios, Prune, User,
    chat::{find, wire_id},
    fault::Reply,
    history::{Facts, History},
    ids::session_id,
    pages::Page,
    turn::ToolCall,
};
use crate::{caller::Authenticated, door::shared::Door, reply::json};

/// Sessions looked at in one step of pruning.
const STEP: usize = 256;

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
    let count = prune_for(&door, &caller, rule).await?;
    let config = PruneConfig { max_sessions: rule.max_sessions, ttl_hours: rule.ttl_hours };
    Ok(json(StatusCode::OK, &Pruned { status: "pruned", count, config }))
}

/// Removes the caller's own sessions of this door that are too old or too many, and that nobody needs now.
async fn prune_for(door: &Door<Oxios>, caller: &Authenticated, rule: Prune) -> Reply<u64> {
    let gateway = door.app().gateway();
    let owner = Some(caller.principal().clone());
    let mut query = ListQuery { owner, door: Some(NAME.into()), limit: STEP, ..ListQuery::default() };
    let oldest = oldest_kept(gateway.ids().now(), rule.ttl_hours);
    let (mut place, mut doomed) = (0, Vec::new());
    loop {
        let rows = gateway.store().list(caller.tenant(), &query).await?;
        query.after = rows.last().map(|row| (row.view.updated_at, row.view.id));
        for row in &rows {
            place += 1;
            let too_old = oldest.is_some_and(|oldest| row.view.updated_at < oldest);
            let too_many = rule.max_sessions > 0 && place > rule.max_sessions;
            let in_use = row.view.state != SessionState::Idle || !row.view.queue.is_empty();
            if (too_old || too_many) && !in_use && !door.displayed.holds(row.view.id) {
                doomed.push(row.view.id);
            }
        }
        if rows.len() < STEP {
            break;
        }
    }
    let mut count = 0;
    for id in doomed {
        let Ok(session) = gateway.session(caller, id).await else { continue };
        // Somebody may have said something meanwhile.
        let idle = session.view().await.is_ok_and(|v| v.state == SessionState::Idle && v.queue.is_empty());
        if idle && session.delete().await.is_ok() {
            count += 1;
        }
    }
    Ok(count)
}

fn oldest_kept(now: Timestamp, ttl_hours: u32) -> Option<Timestamp> {
    let millis = i64::from(ttl_hours).saturating_mul(3_600_000);
    (ttl_hours > 0).then(|| Timestamp::from_millis(now.as_millis().saturating_sub(millis)))
}
