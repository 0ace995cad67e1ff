//! Oxios' agents are turns here: listed, looked into, stopped.

use axum::extract::{Path, State};
use http::StatusCode;
use moongate_core::{Gateway, SessionHandle, TurnEnding, TurnQuery, TurnRow};
use moongate_protocol::{Cancel, ErrorCode, Event, SessionState, Timestamp, ToolOutcome, TurnId};
use serde::Serialize;
use serde_json::Value;

use super::{
    Oxios, User,
    chat::wire_id,
    fault::{Fault, Reply},
    happening::{NAME_CHARS, name},
    ids::Uuid,
    pages::Page,
    turn::{Call, Turn},
};
use crate::{caller::Authenticated, door::shared::Door, reply::json};

/// Events read at once.
const BATCH: usize = 256;
/// Events before a turn's first among which its input is looked for.
const BEFORE: u64 = 256;
/// Entries of an agent's log.
const ENTRIES: usize = 500;

#[derive(Serialize)]
struct Agent {
    id: Uuid,
    name: String,
    status: &'static str,
    created_at: Timestamp,
    seed_id: (),
    session_id: String,
    outcome: Option<&'static str>,
}

/// What a turn is doing, in Oxios' words.
fn status(ending: Option<TurnEnding>, waits: bool) -> &'static str {
    match ending {
        Some(TurnEnding::Failed) => "failed",
        Some(TurnEnding::Completed | TurnEnding::Cancelled) => "stopped",
        None if waits => "idle",
        None => "running",
    }
}

fn outcome(ending: Option<TurnEnding>) -> Option<&'static str> {
    ending.map(|ending| match ending {
        TurnEnding::Completed => "completed",
        TurnEnding::Failed => "failed",
        TurnEnding::Cancelled => "cancelled",
    })
}

/// Whether a session's turn waits for a person.
async fn waits(session: &SessionHandle) -> bool {
    session.view().await.is_ok_and(|view| view.state == SessionState::Waiting)
}

/// A turn's name; of one whose input waited it stands in the log before the turn.
async fn name_of(row: &TurnRow, session: &SessionHandle) -> Reply<String> {
    if let Some(name) = &row.name {
        return Ok(name.chars().take(NAME_CHARS).collect());
    }
    let from = moongate_protocol::Seq(row.seq.0.saturating_sub(BEFORE + 1));
    let limit = usize::try_from(row.seq.0 - from.0).unwrap_or(BATCH);
    let records = session.read(from, limit).await?;
    let events: Vec<_> = records.iter().filter_map(|record| record.envelope().ok()).collect();
    let wanted = events.last().and_then(|last| match &last.event {
        Event::TurnStarted(started) => started.inputs.first().copied(),
        _ => None,
    });
    let said = events.iter().find_map(|envelope| match &envelope.event {
        Event::InputAccepted(input) if Some(input.input) == wanted => Some(name(&input.parts)),
        _ => None,
    });
    Ok(said.unwrap_or_default())
}

/// `GET /api/agents`.
pub(super) async fn list(State(door): State<Door<Oxios>>, User(caller): User, page: Page) -> Reply {
    let gateway = door.app().gateway();
    let query = TurnQuery { offset: page.offset(), limit: page.limit(), ..TurnQuery::default() };
    let (rows, counts) = gateway.turns(&caller, query).await?;
    let mut items = Vec::with_capacity(rows.len());
    for row in &rows {
        // Deleted meanwhile, then.
        let Ok(session) = gateway.session(&caller, row.session).await else { continue };
        let ending = row.ended.map(|(_, ending)| ending);
        items.push(Agent {
            id: Uuid(row.turn.bits()),
            name: name_of(row, &session).await?,
            status: status(ending, ending.is_none() && waits(&session).await),
            created_at: row.started_at,
            seed_id: (),
            session_id: wire_id(&session).await?,
            outcome: outcome(ending),
        });
    }
    Ok(json(StatusCode::OK, &page.of(items, counts.all())))
}

/// A turn by its id on the wire.
async fn find(gateway: &Gateway, caller: &Authenticated, id: &str) -> Reply<(TurnRow, SessionHandle)> {
    let not_found = || Fault::not_found("agent not found");
    let turn = Uuid::parse(id).ok_or_else(not_found)?;
    let found = gateway.turn(caller, TurnId::from_bits(turn.0)).await;
    found.map_err(|refusal| match refusal.code {
        ErrorCode::NotFound => not_found(),
        _ => refusal.into(),
    })
}

/// A turn's events, folded.
async fn fold(row: &TurnRow, session: &SessionHandle) -> Reply<Turn> {
    let mut after = moongate_protocol::Seq(row.seq.0.saturating_sub(1));
    let mut turn: Option<Turn> = None;
    loop {
        let records = session.read(after, BATCH).await?;
        let Some(last) = records.last() else { break };
        after = last.position().seq;
        for envelope in records.iter().filter_map(|record| record.envelope().ok()) {
            match (&envelope.event, &mut turn) {
                (Event::TurnStarted(started), None) => turn = Some(Turn::begin(started, envelope.at)),
                (event, Some(turn)) if event.turn() == Some(turn.id) => turn.take(envelope),
                _ => {}
            }
        }
        if turn.as_ref().is_some_and(|turn| turn.end.is_some()) {
            break;
        }
    }
    turn.ok_or_else(|| Fault::not_found("agent not found"))
}

#[derive(Serialize)]
struct Detail {
    id: Uuid,
    name: String,
    status: &'static str,
    seed_id: (),
    project_id: (),
    #[serde(flatten)]
    times: Times,
    #[serde(flatten)]
    work: Work,
}

#[derive(Serialize)]
struct Times {
    created_at: Timestamp,
    started_at: Option<Timestamp>,
    completed_at: Option<Timestamp>,
}

#[derive(Serialize)]
struct Work {
    error: Option<String>,
    steps_completed: usize,
    steps_total: (),
    tokens_used: u64,
    cost_usd: f64,
}

/// `GET /api/agents/{id}`.
pub(super) async fn show(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let (row, session) = find(door.app().gateway(), &caller, &id).await?;
    let turn = fold(&row, &session).await?;
    let ending = row.ended.map(|(_, ending)| ending);
    let tokens = turn.usage.tokens;
    let cost = turn.usage.cost.map_or(0, |cost| cost.0);
    let detail = Detail {
        id: Uuid(row.turn.bits()),
        name: name_of(&row, &session).await?,
        status: status(ending, ending.is_none() && waits(&session).await),
        seed_id: (),
        project_id: (),
        times: Times {
            created_at: row.started_at,
            started_at: Some(row.started_at),
            completed_at: row.ended.map(|(at, _)| at),
        },
        work: Work {
            error: turn.problem().map(|problem| problem.message.into_owned()),
            steps_completed: steps(&turn).iter().filter(|step| step.status != "running").count(),
            steps_total: (),
            tokens_used: tokens.input.saturating_add(tokens.output),
            cost_usd: f64::from(u32::try_from(cost).unwrap_or(u32::MAX)) / 1e6,
        },
    };
    Ok(json(StatusCode::OK, &detail))
}

#[derive(Serialize)]
struct Step {
    index: usize,
    tool_name: Option<String>,
    action: &'static str,
    input: Value,
    output: String,
    started_at: Timestamp,
    duration_ms: u64,
    status: &'static str,
}

/// The turn's model calls and tool calls, in order.
fn steps(turn: &Turn) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut before = turn.started_at;
    for (index, at) in turn.model_calls.iter().enumerate() {
        steps.push(model_step(before, at.since(before).as_millis(), "completed"));
        let calls = turn.calls.iter().filter(|call| call.asked_by == index);
        steps.extend(calls.clone().map(tool_step));
        before = calls.map(|call| call.at).max().unwrap_or(*at);
    }
    let is_calling = turn.calls.iter().all(|call| call.outcome.is_some());
    if turn.end.is_none() && is_calling {
        steps.push(model_step(before, 0, "running"));
    }
    steps.into_iter().enumerate().map(|(index, step)| Step { index, ..step }).collect()
}

fn model_step(started_at: Timestamp, took: u128, status: &'static str) -> Step {
    Step {
        index: 0,
        tool_name: None,
        action: "model",
        input: Value::Null,
        output: String::new(),
        started_at,
        duration_ms: u64::try_from(took).unwrap_or(u64::MAX),
        status,
    }
}

fn tool_step(call: &Call) -> Step {
    Step {
        index: 0,
        tool_name: Some(call.tool.clone()),
        action: "tool",
        input: super::turn::object(&call.input),
        output: call.output.clone(),
        started_at: call.at,
        duration_ms: call.duration_ms,
        status: match call.outcome {
            None => "running",
            Some(ToolOutcome::Ok) => "completed",
            Some(_) => "failed",
        },
    }
}

#[derive(Serialize)]
struct Trace {
    agent_id: Uuid,
    steps: Vec<Step>,
    completed_at: Option<Timestamp>,
}

/// `GET /api/agents/{id}/trace`.
pub(super) async fn trace(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let (row, session) = find(door.app().gateway(), &caller, &id).await?;
    let turn = fold(&row, &session).await?;
    let completed_at = row.ended.map(|(at, _)| at);
    Ok(json(StatusCode::OK, &Trace { agent_id: Uuid(row.turn.bits()), steps: steps(&turn), completed_at }))
}

#[derive(Serialize)]
struct Logs {
    agent_id: Uuid,
    entries: Vec<Entry>,
}

#[derive(Serialize)]
struct Entry {
    timestamp: Timestamp,
    level: &'static str,
    message: String,
    metadata: Option<Value>,
}

/// `GET /api/agents/{id}/logs`.
pub(super) async fn logs(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let (row, session) = find(door.app().gateway(), &caller, &id).await?;
    let turn = fold(&row, &session).await?;
    let entry = |timestamp, level, message: String| Entry { timestamp, level, message, metadata: None };
    let mut entries = vec![entry(turn.started_at, "info", format!("started with {}", turn.model))];
    for step in steps(&turn) {
        let level = if step.status == "failed" { "warn" } else { "info" };
        let what = step.tool_name.as_deref().unwrap_or(step.action);
        let words = format!("{what} {} ({} ms)", step.status, step.duration_ms);
        entries.push(entry(step.started_at, level, words));
    }
    if let Some((at, _)) = row.ended {
        entries.push(match turn.problem() {
            Some(problem) => entry(at, "error", problem.message.into_owned()),
            None => entry(at, "info", "completed".to_owned()),
        });
    }
    let first = entries.len().saturating_sub(ENTRIES);
    Ok(json(StatusCode::OK, &Logs { agent_id: Uuid(row.turn.bits()), entries: entries.split_off(first) }))
}

#[derive(Serialize)]
struct Killed {
    status: &'static str,
    id: Uuid,
}

/// `POST /api/agents/{id}/kill`.
pub(super) async fn kill(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    Path(id): Path<String>,
) -> Reply {
    let (row, session) = find(door.app().gateway(), &caller, &id).await?;
    let stopped = match row.ended {
        Some(_) => None,
        None => match session.cancel(Cancel { turn: Some(row.turn), clear_queue: false }).await {
            Ok(cancelled) => cancelled.turn,
            // It ended by itself first.
            Err(late) if late.code == ErrorCode::Conflict => None,
            Err(refusal) => return Err(refusal.into()),
        },
    };
    let status = if stopped.is_some() { "killed" } else { "already_stopped" };
    Ok(json(StatusCode::OK, &Killed { status, id: Uuid(row.turn.bits()) }))
}
