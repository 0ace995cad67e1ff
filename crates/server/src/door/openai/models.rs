//! The models of the door: agents, and the models behind them.

use axum::{
    extract::{Request, State},
    response::Response,
};
use http::StatusCode;
use moongate_core::Gateway;
use moongate_protocol::{AgentName, ModelName};
use serde::Serialize;

use super::{
    At,
    failure::{Fault, Reply, quoted},
};
use crate::{caller::Authenticated, guard::percent, reply::json};

/// What an agent's name begins with.
const AGENT: &str = "moongate/";

/// Who answers a request.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Choice {
    /// The agent; the default one when absent.
    pub(super) agent: Option<AgentName>,
    /// In place of the agent's own model.
    pub(super) model: Option<ModelName>,
}

#[derive(Serialize)]
struct List {
    object: &'static str,
    data: Vec<Model>,
}

#[derive(Serialize)]
struct Model {
    id: String,
    object: &'static str,
    created: i64,
    owned_by: &'static str,
}

/// Finds who answers to a name.
///
/// # Errors
/// 404 when nobody does, or the caller may not ask them.
pub(super) fn choose(gateway: &Gateway, caller: &Authenticated, name: &str) -> Reply<Choice> {
    let catalog = gateway.catalog();
    let agent: Option<AgentName> = name.strip_prefix(AGENT).unwrap_or(name).parse().ok();
    if let Some(agent) = agent.filter(|agent| catalog.agents.contains_key(agent) && caller.may_use(agent)) {
        return Ok(Choice { agent: Some(agent), model: None });
    }
    let model: Option<ModelName> = name.parse().ok();
    let model = model.filter(|model| sees_models(gateway, caller) && catalog.models.get(model).is_some());
    match model {
        Some(model) => Ok(Choice { agent: None, model: Some(model) }),
        None => Err(unknown(name)),
    }
}

/// The name under which an agent, or a model in place of its own, is asked.
pub(super) fn name(agent: &AgentName, model: Option<&ModelName>) -> String {
    model.map_or_else(|| format!("{AGENT}{agent}"), ToString::to_string)
}

fn unknown(name: &str) -> Fault {
    let message = format!("The model `{}` does not exist or you do not have access to it.", quoted(name));
    Fault::known(StatusCode::NOT_FOUND, "model_not_found", message)
}

/// A key that is narrowed to some agents is narrowed to their models too.
fn sees_models(gateway: &Gateway, caller: &Authenticated) -> bool {
    gateway.catalog().agents.keys().all(|agent| caller.may_use(agent))
}

fn all(gateway: &Gateway, caller: &Authenticated) -> Vec<Model> {
    let catalog = gateway.catalog();
    let model = |id, owned_by| Model { id, object: "model", created: 0, owned_by };
    let agents = catalog.agents.keys().filter(|agent| caller.may_use(agent));
    let mut all: Vec<_> = agents.map(|agent| model(name(agent, None), "moongate")).collect();
    if sees_models(gateway, caller) {
        let models = catalog.models.list().into_iter();
        all.extend(models.map(|info| model(info.name.to_string(), "provider")));
    }
    all
}

pub(super) async fn list(State(door): At, caller: Authenticated) -> Response {
    let data = all(door.app().gateway(), &caller);
    json(StatusCode::OK, &List { object: "list", data })
}

pub(super) async fn retrieve(State(door): At, caller: Authenticated, request: Request) -> Reply {
    let id = request.uri().path().split_once("/models/").map_or("", |(_, id)| id);
    let id = percent::once(id);
    let found = all(door.app().gateway(), &caller).into_iter().find(|model| model.id == id);
    Ok(json(StatusCode::OK, &found.ok_or_else(|| unknown(&id))?))
}
