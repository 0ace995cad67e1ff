//! How the gateway is, what it can do and what it cost.

use std::{collections::BTreeMap, ops::ControlFlow};

use axum::extract::{RawQuery, State};
use http::{HeaderMap, StatusCode, header};
use moongate_core::{Caller, FrameBody, ListQuery, Scope, SessionHandle};
use moongate_protocol::{ErrorCode, Event, Seq, SessionId, Timestamp, UsageRecorded};
use serde::Serialize;
use serde_json::Value;

use super::{
    Construct, attach,
    handshake::{form, parse_id},
    reply::{Reply, Trouble, ok, unauthorized},
    sessions::{mine, require},
    turn::split_name,
};
use crate::{caller::Authenticated, door::shared::Door, guard::Client, reply::json};

/// Sessions that are looked at for what they cost, and for events.
const SESSIONS: usize = 5_000;
/// Sessions read from the list at once.
const PAGE: usize = 200;

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
    let tools = names.iter().filter_map(|name| catalog.tools.get(name.as_str())).map(|tool| {
        let spec = tool.spec().clone();
        Tool { name: spec.name.to_string(), description: spec.description, parameters: spec.parameters }
    });
    ok(&Tools { tools: tools.collect() })
}

/// What a model cost.
#[derive(Default, Serialize)]
struct ModelCost {
    model: String,
    cost_usd: f64,
    total_tokens: u64,
    request_count: u64,
}

#[derive(Default, Serialize)]
struct Cost {
    session_cost_usd: f64,
    daily_cost_usd: f64,
    monthly_cost_usd: f64,
    total_tokens: u64,
    request_count: u64,
    by_model: BTreeMap<String, ModelCost>,
    unpriced_requests: u64,
}

#[derive(Serialize)]
struct CostBody {
    cost: Cost,
}

pub(super) async fn cost(State(door): State_, caller: Authenticated, RawQuery(query): RawQuery) -> Reply {
    require(&caller, Scope::UsageRead)?;
    let asked = form(&query.unwrap_or_default()).find(|(name, _)| name == "session_id");
    let session = match asked {
        Some((_, id)) => Some(door.find(&caller, &parse_id(&id)?).await?.map(|handle| handle.id())),
        None => None,
    };
    let now = door.now();
    let up = i64::try_from(door.began.elapsed().as_millis()).unwrap_or(i64::MAX);
    let mut bill = Bill {
        day: start(&now.day())?,
        month: start(&format!("{}-01", &now.day()[..7]))?,
        start: Timestamp::from_millis(now.as_millis().saturating_sub(up)),
        session,
        cost: Cost::default(),
    };
    let begin = if session.is_some() { Timestamp::from_millis(0) } else { bill.month.min(bill.start) };
    for handle in door.since(&caller, begin).await? {
        let id = handle.id();
        attach::read(&handle, Seq::ZERO, |body| {
            if let FrameBody::Event(record) = body
                && let Ok(envelope) = record.envelope()
                && let Event::UsageRecorded(usage) = &envelope.event
            {
                bill.add(id, envelope.at, usage);
            }
            ControlFlow::Continue(())
        })
        .await?;
    }
    ok(&CostBody { cost: bill.cost })
}

/// The fold of usage to what it cost.
struct Bill {
    day: Timestamp,
    month: Timestamp,
    /// When the process began.
    start: Timestamp,
    /// The one session that is asked for; none when there is no such.
    session: Option<Option<SessionId>>,
    cost: Cost,
}

impl Bill {
    fn add(&mut self, session: SessionId, at: Timestamp, usage: &UsageRecorded) {
        #[expect(clippy::cast_precision_loss, reason = "an amount of money far below 2^53 micro-dollars")]
        let usd = usage.cost.map_or(0.0, |cost| cost.0 as f64 / 1_000_000.0);
        let cost = &mut self.cost;
        let counts = match self.session {
            Some(wanted) => wanted == Some(session),
            None => at >= self.start,
        };
        if counts {
            cost.session_cost_usd += usd;
        }
        if at >= self.day {
            cost.daily_cost_usd += usd;
        }
        if at < self.month {
            return;
        }
        let tokens = usage.tokens.input.saturating_add(usage.tokens.output);
        cost.monthly_cost_usd += usd;
        cost.total_tokens += tokens;
        cost.request_count += 1;
        cost.unpriced_requests += u64::from(usage.cost.is_none());
        let model = cost.by_model.entry(usage.model.to_string()).or_default();
        model.model = usage.model.to_string();
        model.cost_usd += usd;
        model.total_tokens += tokens;
        model.request_count += 1;
    }
}

fn start(day: &str) -> Reply<Timestamp> {
    format!("{day}T00:00:00Z").parse().map_err(|_| Trouble::invalid("The clock is wrong"))
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

    /// The caller's sessions that something happened in since then, newest first.
    pub(super) async fn since(&self, caller: &Caller, begin: Timestamp) -> Reply<Vec<SessionHandle>> {
        let mut handles = Vec::new();
        let mut after = None;
        while handles.len() < SESSIONS {
            let asked = ListQuery { after, limit: PAGE, ..mine(caller) };
            let page = self.app().gateway().list(caller, asked).await?;
            let recent = page.items.iter().take_while(|view| view.updated_at >= begin);
            let count = handles.len();
            for view in recent {
                handles.extend(self.app().gateway().session(caller, view.id).await.ok());
            }
            after = page.items.last().map(|view| (view.updated_at, view.id));
            if !page.more || handles.len() - count < page.items.len() {
                break;
            }
        }
        Ok(handles)
    }
}
