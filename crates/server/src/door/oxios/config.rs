//! The configuration as Oxios shows and changes it: what Moongate has no live setting for is the file's.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State};
use http::StatusCode;
use moongate_core::Scope;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Oxios, User, chat, fault::Reply, settings::Settings};
use crate::{
    door::shared::Door,
    reply::{Failure, json},
};

/// Sessions of a caller that pruning keeps.
const MAX_SESSIONS: u64 = 100;
/// Hours without activity after which pruning removes a session.
const TTL_HOURS: u64 = 168;
/// The one secret of the tree.
const API_KEY: &str = "engine.api_key";

/// What of the configuration the door itself acts on.
#[derive(Debug, Default)]
pub(super) struct Config;

impl Config {
    /// Sessions to keep, and hours to keep them.
    #[expect(clippy::unused_self, reason = "both become changeable with the file")]
    pub(super) fn pruning(&self) -> (u64, u64) {
        (MAX_SESSIONS, TTL_HOURS)
    }
}

/// What a change did.
#[derive(Serialize)]
struct Changed {
    #[serde(flatten)]
    tree: Map<String, Value>,
    _moongate: Effects,
}

#[derive(Default, Serialize)]
struct Effects {
    applied: Vec<String>,
    restart_required: Vec<String>,
    ignored: Vec<String>,
}

/// `GET /api/config`.
pub(super) async fn show(State(door): State<Door<Oxios>>, User(caller): User) -> Reply {
    caller.require(Scope::ConfigWrite)?;
    Ok(json(StatusCode::OK, &tree(values(&door))))
}

/// `PUT` and `PATCH /api/config`: merged, never replaced.
pub(super) async fn change(State(door): State<Door<Oxios>>, User(caller): User, body: Body) -> Reply {
    caller.require(Scope::ConfigWrite)?;
    let asked: Map<String, Value> = chat::read(&door, body).await?;
    let values = values(&door);
    let (mut effects, mut faults) = (Effects::default(), Vec::new());
    let mut leaves = Vec::new();
    flatten(String::new(), Value::Object(asked), &values, &mut leaves);
    for (key, value) in leaves {
        judge(&key, &value, &values, (&mut effects, &mut faults));
    }
    if !faults.is_empty() {
        return Err(Failure::invalid(faults.join("; ")).into());
    }
    Ok(json(StatusCode::OK, &Changed { tree: tree(values), _moongate: effects }))
}

/// Finds out what a wish for one key leads to.
fn judge(
    key: &str,
    wanted: &Value,
    values: &BTreeMap<&'static str, Value>,
    (effects, faults): (&mut Effects, &mut Vec<String>),
) {
    if key == API_KEY {
        let unchanged = wanted.is_null() || matches!(wanted.as_str(), Some("" | "***"));
        faults.extend((!unchanged).then(|| "secrets cannot be set here".to_owned()));
        return;
    }
    let Some(present) = values.get(key) else {
        effects.ignored.push(key.to_owned());
        return;
    };
    if wanted.is_null() || wanted == present || is_same_number(wanted, present) {
        return;
    }
    faults.push(match key {
        "security.auth_enabled" => "authentication cannot be turned off".to_owned(),
        _ => format!("{key} is set in the server's configuration file and cannot be changed here"),
    });
}

fn is_same_number(a: &Value, b: &Value) -> bool {
    a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

/// The leaves of a tree, by their dotted keys. What is a value here is a leaf, whatever it holds.
fn flatten(
    prefix: String,
    value: Value,
    known: &BTreeMap<&'static str, Value>,
    out: &mut Vec<(String, Value)>,
) {
    match value {
        Value::Object(fields) if !known.contains_key(prefix.as_str()) && !fields.is_empty() => {
            for (name, value) in fields {
                let key = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                flatten(key, value, known, out);
            }
        }
        Value::Object(fields) if fields.is_empty() && prefix.is_empty() => {}
        value => out.push((prefix, value)),
    }
}

fn tree(values: BTreeMap<&'static str, Value>) -> Map<String, Value> {
    let mut tree = Map::new();
    for (key, value) in values {
        let Some((section, name)) = key.split_once('.') else { continue };
        let section = tree.entry(section).or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(fields) = section {
            fields.insert(name.to_owned(), value);
        }
    }
    tree
}

/// Every key with its effective value.
fn values(door: &Door<Oxios>) -> BTreeMap<&'static str, Value> {
    let catalog = door.app().gateway().catalog();
    let agent = door.settings.agent().unwrap_or_else(|| catalog.default_agent.clone());
    let model = catalog.agents.get(&agent).map(|agent| agent.model.clone());
    let has_model = model.as_ref().is_some_and(|model| catalog.models.get(model).is_some());
    let mut values = constants();
    values.extend([
        ("engine.default_model", model.map_or(Value::Null, |model| Value::from(model.as_str()))),
        ("engine.api_key_set", Value::from(has_model)),
    ]);
    values.extend(of_door(&door.settings));
    values
}

fn of_door(settings: &Settings) -> [(&'static str, Value); 4] {
    let origins: Vec<Value> = settings.allowed_origins.iter().map(|o| Value::from(o.as_str())).collect();
    [
        ("gateway.host", settings.listen.map_or(Value::Null, |listen| Value::from(listen.ip().to_string()))),
        ("gateway.port", settings.listen.map_or(Value::Null, |listen| Value::from(listen.port()))),
        ("security.rate_limit_per_minute", Value::from(settings.requests_per_minute)),
        ("security.cors_origins", Value::from(origins)),
    ]
}

/// What the contract's keys are where Moongate has nothing that changes them.
fn constants() -> BTreeMap<&'static str, Value> {
    let none = || Value::from(Vec::<Value>::new());
    BTreeMap::from([
        ("context.active_limit_tokens", Value::from(100_000)),
        ("context.cache_limit_entries", Value::from(0)),
        ("engine.provider_options", Value::Object(Map::new())),
        ("exec.allow_shell_mode", Value::from(false)),
        ("exec.allowed_commands", none()),
        ("exec.allowlist_mode", Value::from("deny_all")),
        ("exec.default_mode", Value::from("structured")),
        ("exec.default_timeout_secs", Value::from(120)),
        ("exec.max_timeout_secs", Value::from(600)),
        ("kernel.event_bus_capacity", Value::from(1_024)),
        ("kernel.max_agents", Value::from(10)),
        ("kernel.workspace", Value::from("")),
        ("logging.format", Value::from("pretty")),
        ("memory.enabled", Value::from(false)),
        ("memory.max_recall", Value::from(0)),
        ("orchestrator.eval_cache_enabled", Value::from(false)),
        ("orchestrator.max_evolution_iterations", Value::from(0)),
        ("orchestrator.min_evaluation_score", Value::from(0.8)),
        ("persona.default_persona_id", Value::from("")),
        ("scheduler.max_concurrent", Value::from(5)),
        ("scheduler.rate_limit_per_minute", Value::from(60)),
        ("scheduler.zombie_timeout_secs", Value::from(300)),
        ("security.allowed_tools", none()),
        ("security.auth_enabled", Value::from(true)),
        ("security.can_fork", Value::from(false)),
        ("security.max_execution_time_secs", Value::from(300)),
        ("security.max_memory_mb", Value::from(512)),
        ("security.network_access", Value::from(false)),
        ("session.auto_prune", Value::from(false)),
        ("session.max_sessions", Value::from(MAX_SESSIONS)),
        ("session.ttl_hours", Value::from(TTL_HOURS)),
    ])
}
