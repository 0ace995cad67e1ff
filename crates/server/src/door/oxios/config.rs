//! The configuration as Oxios shows and changes it: what Moongate has a setting for can be changed, the rest is
//! the operator's file's.

use std::collections::BTreeMap;

use axum::{body::Body, extract::State};
use http::{HeaderMap, StatusCode};
use moongate_core::Scope;
use serde::Serialize;
use serde_json::{Map, Value};

use super::{Oxios, User, chat, fault::Reply, settings::Settings};
use crate::{
    configuration::{self, Effect, SettingChange, SettingValue},
    door::shared::Door,
    guard::Client,
    reply::{Answer, Failure, json},
};

/// The one secret of the tree.
const API_KEY: &str = "engine.api_key";
/// The longest time a setting may ask to wait, in seconds.
const MAX_SECS: i64 = 86_400;
/// How long a tool may take that says nothing of its own, in seconds.
const TOOL_SECS: u64 = 120;

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

/// What is wished for, as far as it is acceptable.
#[derive(Default)]
struct Wishes {
    keys: Vec<String>,
    changes: Vec<SettingChange>,
    effects: Effects,
    faults: Vec<String>,
}

/// `GET /api/config`.
pub(super) async fn show(State(door): State<Door<Oxios>>, User(caller): User) -> Reply {
    caller.require(Scope::ConfigWrite)?;
    Ok(json(StatusCode::OK, &tree(values(&door))))
}

/// `PUT` and `PATCH /api/config`: merged, never replaced.
pub(super) async fn change(
    State(door): State<Door<Oxios>>,
    User(caller): User,
    client: Client,
    headers: HeaderMap,
    body: Body,
) -> Reply {
    caller.require(Scope::ConfigWrite)?;
    let asked: Map<String, Value> = chat::read(&door, &headers, body).await?;
    let mut wishes = Wishes::default();
    let present = values(&door);
    for (key, value) in leaves(asked, &present) {
        wishes.judge(&door, key, &value, &present);
    }
    if !wishes.faults.is_empty() {
        return Err(Failure::invalid(wishes.faults.join("; ")).into());
    }
    let Wishes { keys, changes, mut effects, .. } = wishes;
    if !changes.is_empty() {
        let done = configuration::change(door.app(), (&caller, client), changes).await?;
        for (key, effect) in keys.into_iter().zip(done) {
            match effect {
                Effect::Same => {}
                Effect::Applied => effects.applied.push(key),
                Effect::Restart => effects.restart_required.push(key),
            }
        }
    }
    Ok(json(StatusCode::OK, &Changed { tree: tree(values(&door)), _moongate: effects }))
}

impl Wishes {
    /// Finds out what a wish for one key leads to.
    fn judge(
        &mut self,
        door: &Door<Oxios>,
        key: String,
        wanted: &Value,
        present: &BTreeMap<&'static str, Value>,
    ) {
        if key == API_KEY {
            let unchanged = wanted.is_null() || matches!(wanted.as_str(), Some("" | "***"));
            self.faults.extend((!unchanged).then(|| "secrets cannot be set here".to_owned()));
            return;
        }
        let Some(present) = present.get(key.as_str()) else {
            self.effects.ignored.push(key);
            return;
        };
        if wanted == present || is_same_number(wanted, present) {
            return;
        }
        match changeable(door, &key) {
            Some((path, kind)) => match kind.read(wanted) {
                Ok(value) => {
                    self.keys.push(key);
                    self.changes.push(SettingChange { path, value });
                }
                Err(fault) => self.faults.push(format!("{key} {}", fault.message())),
            },
            // What it is by itself is what the file says.
            None if wanted.is_null() => {}
            None if key == "security.auth_enabled" => {
                self.faults.push("authentication cannot be turned off".into());
            }
            None => self
                .faults
                .push(format!("{key} is set in the server's configuration file and cannot be changed here")),
        }
    }
}

/// What a value has to be.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Whole(i64, i64),
    Flag,
    Model,
    /// How log lines look, in Oxios' words.
    Format,
}

impl Kind {
    /// The value as the configuration's; `None` goes back to what the file says.
    fn read(self, wanted: &Value) -> Answer<Option<SettingValue>> {
        if wanted.is_null() {
            return Ok(None);
        }
        let read = match self {
            Self::Whole(least, most) => {
                let number = wanted.as_i64().filter(|number| (least..=most).contains(number));
                let number = number.map(SettingValue::Whole);
                number.ok_or_else(|| format!("has to be a whole number from {least} to {most}"))
            }
            Self::Flag => {
                wanted.as_bool().map(SettingValue::Flag).ok_or_else(|| "has to be true or false".to_owned())
            }
            Self::Model => {
                let text = wanted.as_str().map(|text| SettingValue::Text(text.to_owned()));
                text.ok_or_else(|| "has to be a model, as provider/model".to_owned())
            }
            Self::Format => match wanted.as_str() {
                Some("pretty") => Ok(SettingValue::Text("plain".into())),
                Some("json") => Ok(SettingValue::Text("json".into())),
                _ => Err("is pretty or json on this server".to_owned()),
            },
        };
        read.map(Some).map_err(Failure::invalid)
    }
}

/// The setting a key stands for, where it stands for one, and what its value has to be.
fn changeable(door: &Door<Oxios>, key: &str) -> Option<(Vec<String>, Kind)> {
    let count = Kind::Whole(1, i64::from(u32::MAX));
    let count_or_none = Kind::Whole(0, i64::from(u32::MAX));
    let secs = Kind::Whole(1, MAX_SECS);
    let (path, kind): (&[&str], Kind) = match key {
        "engine.default_model" => {
            let path = ["agents".into(), agent(door).to_string(), "model".into()];
            return Some((path.into(), Kind::Model));
        }
        "exec.max_timeout_secs" => (&["limits", "tool_secs"], secs),
        "kernel.max_agents" => (&["limits", "turns_per_node"], count),
        "logging.format" => (&["telemetry", "format"], Kind::Format),
        "scheduler.max_concurrent" => (&["limits", "turns_per_caller"], count),
        "security.max_execution_time_secs" => (&["limits", "turn_secs"], secs),
        "security.rate_limit_per_minute" => (&["doors", "oxios", "requests_per_minute"], count_or_none),
        "session.auto_prune" => (&["doors", "prune", "auto"], Kind::Flag),
        "session.max_sessions" => (&["doors", "prune", "max_sessions"], count_or_none),
        "session.ttl_hours" => (&["doors", "prune", "ttl_hours"], count_or_none),
        _ => return None,
    };
    Some((path.iter().map(|key| (*key).to_owned()).collect(), kind))
}

/// Who answers here.
fn agent(door: &Door<Oxios>) -> moongate_protocol::AgentName {
    door.settings.agent().unwrap_or_else(|| door.app().gateway().catalog().default_agent.clone())
}

fn is_same_number(a: &Value, b: &Value) -> bool {
    a.as_f64().is_some_and(|a| b.as_f64() == Some(a))
}

/// The leaves of a tree, by their dotted keys. What is a value here is a leaf, whatever it holds.
fn leaves(asked: Map<String, Value>, known: &BTreeMap<&'static str, Value>) -> Vec<(String, Value)> {
    let mut leaves = Vec::new();
    let mut waiting = vec![(String::new(), Value::Object(asked))];
    while let Some((prefix, value)) = waiting.pop() {
        match value {
            Value::Object(fields) if !known.contains_key(prefix.as_str()) => {
                let key = |name| if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                waiting.extend(fields.into_iter().rev().map(|(name, value)| (key(name), value)));
            }
            value => leaves.push((prefix, value)),
        }
    }
    leaves
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
    let gateway = door.app().gateway();
    let catalog = gateway.catalog();
    let model = catalog.agents.get(&agent(door)).map(|agent| agent.model.clone());
    let has_model = model.as_ref().is_some_and(|model| catalog.models.get(model).is_some());
    let (limits, prune) = (gateway.limits(), door.prune());
    let mut values = constants();
    values.extend([
        ("engine.default_model", model.map_or(Value::Null, |model| Value::from(model.as_str()))),
        ("engine.api_key_set", Value::from(has_model)),
        ("exec.default_timeout_secs", Value::from(limits.tool_duration.as_secs().min(TOOL_SECS))),
        ("exec.max_timeout_secs", Value::from(limits.tool_duration.as_secs())),
        ("kernel.max_agents", Value::from(limits.turns_per_node)),
        ("logging.format", Value::from(log_format(door))),
        ("scheduler.max_concurrent", Value::from(limits.turns_per_caller)),
        ("security.max_execution_time_secs", Value::from(limits.turn_duration.as_secs())),
        ("security.rate_limit_per_minute", Value::from(door.rates.per_minute())),
        ("session.auto_prune", Value::from(prune.auto)),
        ("session.max_sessions", Value::from(prune.max_sessions)),
        ("session.ttl_hours", Value::from(prune.ttl_hours)),
    ]);
    values.extend(of_door(&door.settings));
    values
}

fn log_format(door: &Door<Oxios>) -> &'static str {
    let settings = door.app().config().settings();
    let is_json = |value: &str| value.trim_matches('"') == "json";
    match settings.iter().find(|setting| setting.key == "telemetry.format") {
        Some(setting) if is_json(&setting.value) => "json",
        _ => "pretty",
    }
}

fn of_door(settings: &Settings) -> [(&'static str, Value); 3] {
    let origins: Vec<Value> = settings.allowed_origins.iter().map(|o| Value::from(o.as_str())).collect();
    [
        ("gateway.host", settings.listen.map_or(Value::Null, |listen| Value::from(listen.ip().to_string()))),
        ("gateway.port", settings.listen.map_or(Value::Null, |listen| Value::from(listen.port()))),
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
        ("kernel.event_bus_capacity", Value::from(1_024)),
        ("kernel.workspace", Value::from("")),
        ("memory.enabled", Value::from(false)),
        ("memory.max_recall", Value::from(0)),
        ("orchestrator.eval_cache_enabled", Value::from(false)),
        ("orchestrator.max_evolution_iterations", Value::from(0)),
        ("orchestrator.min_evaluation_score", Value::from(0.8)),
        ("persona.default_persona_id", Value::from("")),
        ("scheduler.rate_limit_per_minute", Value::from(60)),
        ("scheduler.zombie_timeout_secs", Value::from(300)),
        ("security.allowed_tools", none()),
        ("security.auth_enabled", Value::from(true)),
        ("security.can_fork", Value::from(false)),
        ("security.max_memory_mb", Value::from(512)),
        ("security.network_access", Value::from(false)),
    ])
}
