//! The service itself: whether it lives, what it does, what it counts.

use std::{fmt::Write as _, sync::atomic::Ordering, time::Duration};

use axum::{extract::State, response::Response};
use http::StatusCode;
use moongate_core::{Scope, TurnQuery};
use serde::Serialize;

use super::{Oxios, User, fault::Reply};
use crate::{
    door::shared::Door,
    reply::{bytes, json},
};

/// The API level this door speaks, not the product's version.
const LEVEL: &str = "1.0.1";

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
}

/// `GET /health`.
pub(super) async fn health() -> Response {
    json(StatusCode::OK, &Health { status: "ok", version: LEVEL })
}

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    version: &'static str,
    uptime_secs: u64,
    components: ReadyParts,
}

#[derive(Serialize)]
struct ReadyParts {
    state_store: Healthy,
    git: Git,
    memory: Memory,
}

#[derive(Serialize)]
struct Healthy {
    healthy: bool,
}

#[derive(Serialize)]
struct Git {
    healthy: bool,
    enabled: bool,
}

#[derive(Serialize)]
struct Memory {
    healthy: bool,
    index_size: u64,
    total_entries: u64,
}

/// `GET /health/ready`.
pub(super) async fn ready(State(door): State<Door<Oxios>>) -> Response {
    let gateway = door.app().gateway();
    let writes = door.readiness.takes_writes(&**gateway.store()).await;
    let healthy = writes && !gateway.draining().is_cancelled();
    let (status, code) = match healthy {
        true => ("healthy", StatusCode::OK),
        false => ("degraded", StatusCode::SERVICE_UNAVAILABLE),
    };
    let components = ReadyParts {
        state_store: Healthy { healthy },
        git: Git { healthy: true, enabled: false },
        memory: Memory { healthy: true, index_size: 0, total_entries: 0 },
    };
    let uptime_secs = door.began.elapsed().as_secs();
    json(code, &Ready { status, version: LEVEL, uptime_secs, components })
}

#[derive(Serialize)]
struct Status {
    service: &'static str,
    status: &'static str,
    version: &'static str,
    channels: Vec<&'static str>,
    uptime: String,
    components: Parts,
    auth_enabled: bool,
    moongate_version: &'static str,
}

#[derive(Serialize)]
struct Parts {
    state_store: Part,
    event_bus: Part,
    memory: NoMemory,
    agents: Agents,
    spaces_active: u64,
    projects_active: u64,
}

#[derive(Serialize)]
struct Part {
    healthy: bool,
    detail: Option<String>,
}

#[derive(Serialize)]
struct NoMemory {
    enabled: bool,
    index_size: u64,
    total_entries: u64,
}

#[derive(Serialize)]
struct Agents {
    active_count: u64,
    total_forked: u64,
    total_completed: u64,
    total_failed: u64,
}

/// `GET /api/status`.
pub(super) async fn status(State(door): State<Door<Oxios>>, User(caller): User) -> Reply {
    let gateway = door.app().gateway();
    let (_, turns) = gateway.turns(&caller, TurnQuery::default()).await?;
    let fault = gateway.store().fault();
    let mut channels = vec!["web"];
    channels.extend(door.app().doors().names().filter(|name| *name != super::NAME));
    let components = Parts {
        // Which fault is for the operator's log.
        state_store: Part { healthy: fault.is_none(), detail: fault.map(|_| "takes no writes".into()) },
        event_bus: Part { healthy: true, detail: None },
        memory: NoMemory { enabled: false, index_size: 0, total_entries: 0 },
        agents: Agents {
            active_count: turns.open,
            total_forked: turns.all(),
            total_completed: turns.completed,
            total_failed: turns.failed,
        },
        spaces_active: 0,
        projects_active: 0,
    };
    let status = Status {
        service: "oxios",
        status: "running",
        version: LEVEL,
        channels,
        uptime: uptime(door.began.elapsed()),
        components,
        auth_enabled: true,
        moongate_version: env!("CARGO_PKG_VERSION"),
    };
    Ok(json(StatusCode::OK, &status))
}

/// Hours are not folded into days.
fn uptime(up: Duration) -> String {
    let secs = up.as_secs();
    format!("{}h {}m {}s", secs / 3_600, secs / 60 % 60, secs % 60)
}

/// `GET /api/metrics` and `GET /metrics`.
pub(super) async fn metrics(door: State<Door<Oxios>>, User(caller): User) -> Reply {
    caller.require(Scope::MetricsRead)?;
    Ok(public_metrics(door).await)
}

/// `GET /metrics` where the settings open it to everybody.
pub(super) async fn public_metrics(State(door): State<Door<Oxios>>) -> Response {
    let gateway = door.app().gateway();
    let totals = gateway.totals();
    let get = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    let mut text = String::with_capacity(8 << 10);
    let mut write = |name: &str, kind: &str, value: f64| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "# TYPE {name} {kind}\n{name} {value}");
    };
    #[expect(clippy::cast_precision_loss, reason = "counters beyond 2^53 are not reached")]
    let number = |n: u64| n as f64;
    let seconds = |millis: u64| number(millis) / 1e3;
    write("oxios_agents_forked_total", "counter", number(get(&totals.turns_started)));
    write("oxios_agents_completed_total", "counter", number(get(&totals.turns_completed)));
    write("oxios_agents_failed_total", "counter", number(get(&totals.turns_failed)));
    write("oxios_agents_running", "gauge", number(gateway.running_turns() as u64));
    write("oxios_messages_processed_total", "counter", number(get(&totals.inputs)));
    write("oxios_orchestration_duration_seconds", "counter", seconds(get(&totals.turn_millis)));
    write("oxios_tool_calls_total", "counter", number(get(&totals.tool_calls)));
    write("oxios_tool_errors_total", "counter", number(get(&totals.tool_errors)));
    write("oxios_tool_duration_seconds", "counter", seconds(get(&totals.tool_millis)));
    write("oxios_llm_calls_total", "counter", number(get(&totals.model_calls)));
    write("oxios_llm_errors_total", "counter", number(get(&totals.model_errors)));
    write("oxios_active_sessions", "gauge", number(gateway.open_sessions() as u64));
    write("oxios_memory_entries_total", "gauge", 0.0);
    text.push_str(&door.app().metrics().render(gateway));
    bytes(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", text.into())
}
