//! The configuration: what is in force, and changes of it.

use axum::{
    extract::State,
    routing::{get, patch},
};
use moongate_core::Scope;
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use crate::{
    App,
    body::Json,
    caller::Authenticated,
    configuration::{self, Effect, Setting, SettingChange, SettingValue},
    guard::Client,
    reply::{Answer, Failure, ok},
    route::{Route, Shape},
};

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/config", get(show))
            .says("The configuration in force, without secrets")
            .ok::<ConfigBody>(200),
        Route::patch("/config", patch(change))
            .says("Change the configuration: the fields are those of the file, null takes a change back")
            .body(Shape::AnyJson)
            .ok::<ChangedBody>(200),
    ]
}

/// A value in force.
#[derive(Serialize, ToSchema)]
struct SettingBody {
    /// Its path of keys, as in the file.
    key: String,
    /// The value as the file writes it; a secret only says that it is set.
    value: String,
    /// A line of a file, a variable, a flag, or `default`.
    from: String,
}

/// The configuration in force.
#[derive(Serialize, ToSchema)]
struct ConfigBody {
    /// In the order of the file's sections.
    settings: Vec<SettingBody>,
}

impl ConfigBody {
    fn of(app: &App) -> Self {
        let body = |Setting { key, value, from }| SettingBody { key, value, from };
        Self { settings: app.config().settings().into_iter().map(body).collect() }
    }
}

/// What became of a change.
#[derive(Serialize, ToSchema)]
struct ChangedBody {
    /// Keys whose new values are in force.
    applied: Vec<String>,
    /// Keys whose new values are kept, and in force after a restart.
    restart_required: Vec<String>,
    /// The configuration as it is now.
    #[serde(flatten)]
    now: ConfigBody,
}

async fn show(State(app): State<App>, caller: Authenticated) -> Answer {
    caller.require(Scope::ConfigWrite)?;
    ok(&ConfigBody::of(&app))
}

async fn change(
    State(app): State<App>,
    caller: Authenticated,
    client: Client,
    Json(wanted): Json<Map<String, Value>>,
) -> Answer {
    caller.require(Scope::ConfigWrite)?;
    let changes = changes(wanted)?;
    let keys: Vec<_> = changes.iter().map(|change| change.path.join(".")).collect();
    let effects = configuration::change(&app, (&caller, client), changes).await?;
    let with = |wanted| {
        let found = keys.iter().zip(&effects).filter(move |(_, effect)| **effect == wanted);
        found.map(|(key, _)| key.clone()).collect()
    };
    let (applied, restart_required) = (with(Effect::Applied), with(Effect::Restart));
    ok(&ChangedBody { applied, restart_required, now: ConfigBody::of(&app) })
}

/// The leaves of a tree, each with its path.
fn changes(wanted: Map<String, Value>) -> Answer<Vec<SettingChange>> {
    let mut changes = Vec::new();
    let mut waiting = vec![(Vec::new(), Value::Object(wanted))];
    while let Some((path, value)) = waiting.pop() {
        match value {
            Value::Object(fields) => {
                // The last one is looked at first.
                for (name, value) in fields.into_iter().rev() {
                    waiting.push((path.iter().cloned().chain([name]).collect(), value));
                }
            }
            Value::Null => changes.push(SettingChange { path, value: None }),
            value => {
                let here = path.join(".");
                let value = setting(value)
                    .ok_or_else(|| Failure::field(here, "a list holds texts, numbers or yes and no"))?;
                changes.push(SettingChange { path, value: Some(value) });
            }
        }
    }
    Ok(changes)
}

/// A leaf as the configuration's; `None` when it can be none.
fn setting(value: Value) -> Option<SettingValue> {
    Some(match value {
        Value::String(text) => SettingValue::Text(text),
        Value::Bool(flag) => SettingValue::Flag(flag),
        Value::Number(number) => match number.as_i64() {
            Some(whole) => SettingValue::Whole(whole),
            None => SettingValue::Number(number.as_f64()?),
        },
        Value::Array(items) => SettingValue::List(items.into_iter().map(setting).collect::<Option<_>>()?),
        Value::Null | Value::Object(_) => return None,
    })
}
