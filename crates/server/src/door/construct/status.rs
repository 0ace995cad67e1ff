//! How the gateway is and what it can do.

use std::collections::BTreeMap;

use axum::extract::State;
use http::{HeaderMap, StatusCode, header};
use moongate_core::Scope;
use moongate_protocol::{ErrorCode, Timestamp};
use serde::Serialize;
use serde_json::Value;

use super::{
    Construct,
    reply::{Reply, ok, unauthorized},
    sessions::require,
    turn::split_name,
};
use crate::{caller::Authenticated, door::shared::Door, guard::Client, reply::json};

type State_ = State<Door<Construct>>;

/// What is running.
#[derive(Serialize)]
struct Runtime {
    pid: u32,
    updated_at: Timestamp,
    uptime_seconds: u64,
    components: BTreeMap<&'static str, Component>,
}

/// How a part of the gateway is.
#[derive(Serialize)]
struct Component {
    status: &'static str,
    updated_at: Timestamp,
    last_ok: Option<Timestamp>,
    last_error: Option<&'static str>,
    restart_count: u32,
}

#[derive(Serialize)]
struct Health {
    status: &'static str,
    paired: bool,
    require_pairing: bool,
    runtime: Runtime,
}

pub(super) async fn health(State(door): State_, client: Client, headers: HeaderMap) -> Reply {
    let known = door.visitor(client, &headers).await.is_ok_and(|caller| caller.is_some());
    let well = door.is_well();
    let status = if well { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let health = Health {
        status: if well { "ok" } else { "unavailable" },
        paired: door.is_paired().await,
        require_pairing: true,
        runtime: door.runtime(known),
    };
    Ok(json(status, &health))
}

#[derive(Serialize)]
struct ShortStatus {
    uptime_seconds: u64,
    paired: bool,
    health: Runtime,
}

#[derive(Serialize)]
struct Status {
    provider: Option<String>,
    model: String,
    temperature: f32,
    uptime_seconds: u64,
    gateway_port: u16,
    locale: &'static str,
    memory_backend: &'static str,
    paired: bool,
    channels: BTreeMap<&'static str, bool>,
    health: Runtime,
    version: &'static str,
    status: &'static str,
}

pub(super) async fn status(State(door): State_, client: Client, headers: HeaderMap) -> Reply {
    let caller = door.visitor(client, &headers).await?;
    let uptime_seconds = door.began.elapsed().as_secs();
    let paired = door.is_paired().await;
    let Some(caller) = caller else {
        return ok(&ShortStatus { uptime_seconds, paired, health: door.runtime(false) });
    };
    let catalog = door.app().gateway().catalog();
    let agent = door.agent(&caller, None).ok().and_then(|name| catalog.agent(&name).ok().cloned());
    let model = agent.as_ref().map_or("", |agent| agent.model.as_str());
    let (provider, model) = split_name(model);
    let port = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    let port = port.and_then(|host| host.rsplit_once(':')?.1.parse().ok());
    let port = port.or_else(|| door.app().listener().map(|(local, _)| local.port()));
    ok(&Status {
        provider: Some(provider).filter(|name| !name.is_empty()).map(str::to_owned),
        model: model.to_owned(),
        temperature: agent.and_then(|agent| agent.settings.temperature).unwrap_or(1.0),
        uptime_seconds,
        gateway_port: port.unwrap_or_default(),
        locale: "en",
        memory_backend: "log",
        paired,
        channels: door.app().doors().names().chain(["native"]).map(|door| (door, true)).collect(),
        health: door.runtime(true),
        version: env!("CARGO_PKG_VERSION"),
        status: "running",
    })
}

#[derive(Serialize)]
struct Components {
    health: Runtime,
}

pub(super) async fn components(State(door): State_, caller: Authenticated) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    ok(&Components { health: door.runtime(true) })
}

#[derive(Serialize)]
struct Tool {
    name: String,
    description: String,
    parameters: Value,
}

#[derive(Serialize)]
struct Tools {
    tools: Vec<Tool>,
}

pub(super) async fn tools(State(door): State_, caller: Authenticated) -> Reply {
    require(&caller, Scope::SessionsRead)?;
    let catalog = door.app().gateway().catalog();
    let agent = door.agent(&caller, None).ok().and_then(|name| catalog.agent(&name).ok());
    let names = agent.map(|agent| agent.tools.as_slice()).unwrap_or_default();
    let own = catalog.tool_list().into_iter().filter(|spec| names.contains(&spec.name));
    let tools = own.map(|spec| Tool {
        name: spec.name.to_string(),
        description: spec.description,
        parameters: spec.parameters,
    });
    ok(&Tools { tools: tools.collect() })
}

impl Door<Construct> {
    /// The key of a public request, when it has one; a bad one is refused.
    async fn visitor(&self, client: Client, headers: &HeaderMap) -> Reply<Option<Authenticated>> {
        let headers = headers.get_all(header::AUTHORIZATION).iter();
        let key = headers.filter_map(|value| value.to_str().ok()).find_map(|value| {
            let (scheme, key) = value.trim().split_once(' ')?;
            scheme.eq_ignore_ascii_case("bearer").then(|| key.trim()).filter(|key| !key.is_empty())
        });
        let Some(key) = key else { return Ok(None) };
        let caller = self.app().callers().at_a_door(Some(key), client.0, self.now()).await;
        caller.map(Some).map_err(|failure| match failure.code() {
            ErrorCode::Unauthorized => unauthorized(),
            _ => failure.into(),
        })
    }

    fn is_well(&self) -> bool {
        let gateway = self.app().gateway();
        gateway.store().fault().is_none() && !gateway.draining().is_cancelled()
    }

    /// Whether any device has a key.
    async fn is_paired(&self) -> bool {
        let Ok(tenant) = "default".parse() else { return false };
        let keys = self.app().gateway().store().keys(&tenant).await.unwrap_or_default();
        keys.iter().any(|key| key.device.is_some() && key.revoked_at.is_none())
    }

    fn runtime(&self, details: bool) -> Runtime {
        let now = self.now();
        let mut components = BTreeMap::new();
        if details {
            let fault = self.app().gateway().store().fault().is_some();
            let store = Component {
                status: if fault { "error" } else { "ok" },
                updated_at: now,
                last_ok: (!fault).then_some(now),
                last_error: fault.then_some("the store takes no writes"),
                restart_count: 0,
            };
            let gateway = Component {
                status: if self.is_well() { "ok" } else { "degraded" },
                updated_at: now,
                last_ok: Some(now),
                last_error: None,
                restart_count: 0,
            };
            components.extend([("store", store), ("gateway", gateway)]);
        }
        Runtime {
            pid: if details { std::process::id() } else { 0 },
            updated_at: now,
            uptime_seconds: self.began.elapsed().as_secs(),
            components,
        }
    }
}
