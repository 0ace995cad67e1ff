//! What there is to talk to, who is talking, and what the operator wants to see.

use axum::{extract::State, response::Response, routing::get};
use bytes::Bytes;
use http::StatusCode;
use moongate_core::{Agent, ModelInfo, Scope, ServerState, ToolServer, UsageGroup, UsageQuery};
use moongate_protocol::{
    AgentName, ErrorCode, KeyId, MicroUsd, ModelName, Namespace, PolicyPreset, Principal, Tenant, Timestamp,
    Tokens, ToolName, ToolSpec,
};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::views::{ScopeName, usd};
use crate::{
    App,
    caller::Authenticated,
    extract::{Query, page_size},
    limits::{PAGE_ITEMS, PAGE_ITEMS_MAX},
    openapi,
    reply::{Answer, Failure, bytes, ok},
    route::{Route, Shape},
};

/// Prometheus' text format.
const PROMETHEUS: &str = "text/plain; version=0.0.4";

pub(super) fn routes() -> Vec<Route> {
    vec![
        Route::get("/agents", get(agents)).says("The agents the caller may use").ok::<AgentsBody>(200),
        Route::get("/models", get(models)).says("The models there are").ok::<ModelsBody>(200),
        Route::get("/tools", get(tools)).says("The tools there are").ok::<ToolsBody>(200),
        Route::get("/usage", get(usage)).says("Tokens and cost").query::<UsageParams>().ok::<UsageRows>(200),
        Route::get("/audit", get(audit_entries))
            .says("What was done by whom, newest first")
            .query::<AuditParams>()
            .ok::<AuditBody>(200),
        Route::get("/whoami", get(whoami)).says("Who the caller is").ok::<WhoBody>(200),
    ]
}

/// Routes that are also found outside of the door's prefix.
pub(super) fn root_routes() -> Vec<Route> {
    vec![
        Route::get("/openapi.json", get(document)).says("This document").answers(200, Shape::AnyJson),
        Route::get("/metrics", get(metrics))
            .says("Counters for Prometheus")
            .answers(200, Shape::Text("text/plain")),
    ]
}

/// An agent.
#[derive(Serialize, ToSchema)]
struct AgentBody {
    /// Its name.
    name: AgentName,
    /// The model that answers.
    model: ModelName,
    /// The models that answer when it cannot, in order.
    fallbacks: Vec<ModelName>,
    /// The tools it is shown.
    tools: Vec<ToolName>,
    /// What it may do.
    policy: PolicyPreset,
    /// Whether it answers when a client names nobody.
    default: bool,
}

/// The agents.
#[derive(Serialize, ToSchema)]
struct AgentsBody {
    /// By name.
    items: Vec<AgentBody>,
}

async fn agents(State(app): State<App>, caller: Authenticated) -> Answer {
    caller.require(Scope::SessionsRead)?;
    let catalog = app.gateway().catalog();
    let body = |agent: &Agent| AgentBody {
        name: agent.name.clone(),
        model: agent.model.clone(),
        fallbacks: agent.fallbacks.clone(),
        tools: agent.tools.clone(),
        policy: agent.policy,
        default: agent.name == catalog.default_agent,
    };
    let usable = catalog.agents.values().filter(|agent| caller.may_use(&agent.name));
    ok(&AgentsBody { items: usable.map(|agent| body(agent)).collect() })
}

/// A model.
#[derive(Serialize, ToSchema)]
struct ModelBody {
    /// As an operator names it.
    name: ModelName,
    /// Tokens its prompt and answer may have together, where known.
    context_window: Option<u64>,
    /// What a million tokens cost, where known.
    price: Option<PriceBody>,
}

/// What a million tokens cost, in millionths of a US dollar.
#[derive(Serialize, ToSchema)]
struct PriceBody {
    /// Prompt tokens that no cache held.
    input: MicroUsd,
    /// Answer tokens.
    output: MicroUsd,
    /// Prompt tokens read from the cache.
    cache_read: Option<MicroUsd>,
    /// Prompt tokens written to the cache.
    cache_write: Option<MicroUsd>,
    /// Where the price came from.
    source: String,
}

/// The models.
#[derive(Serialize, ToSchema)]
struct ModelsBody {
    /// Every model the caller may name.
    items: Vec<ModelBody>,
}

async fn models(State(app): State<App>, caller: Authenticated) -> Answer {
    caller.require(Scope::SessionsRead)?;
    let body = |info: ModelInfo| ModelBody {
        name: info.name,
        context_window: info.context_window,
        price: info.price.map(|price| PriceBody {
            input: price.input,
            output: price.output,
            cache_read: price.cache_read,
            cache_write: price.cache_write,
            source: price.source,
        }),
    };
    let catalog = app.gateway().catalog();
    let models = catalog.models.list().into_iter().filter(|info| catalog.may_name(&caller, &info.name));
    ok(&ModelsBody { items: models.map(body).collect() })
}

/// The tools.
#[derive(Serialize, ToSchema)]
struct ToolsBody {
    /// By name.
    items: Vec<ToolSpec>,
    /// The servers outside that some of them come from.
    servers: Vec<ToolServerBody>,
}

/// A server outside that tools come from.
#[derive(Serialize, ToSchema)]
struct ToolServerBody {
    /// What the operator calls it.
    name: String,
    /// How it is.
    state: ToolServerState,
    /// Why it is down.
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<String>,
    /// How many tools are its.
    tools: usize,
    /// Those whose definition changed: they are off until an operator accepts it.
    changed: Vec<ToolName>,
}

/// How a server outside is.
#[derive(Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum ToolServerState {
    /// It is being started for the first time.
    Starting,
    /// It answers.
    Up,
    /// It does not.
    Down,
}

impl From<&ToolServer> for ToolServerBody {
    fn from(server: &ToolServer) -> Self {
        let (state, why) = match &server.state {
            ServerState::Starting => (ToolServerState::Starting, None),
            ServerState::Up => (ToolServerState::Up, None),
            ServerState::Down(why) => (ToolServerState::Down, Some(why.clone())),
        };
        let (name, changed) = (server.name.clone(), server.changed.clone());
        Self { name, state, why, tools: server.tools, changed }
    }
}

async fn tools(State(app): State<App>, caller: Authenticated) -> Answer {
    caller.require(Scope::SessionsRead)?;
    let catalog = app.gateway().catalog();
    let servers = catalog.tools.servers().iter().map(ToolServerBody::from).collect();
    ok(&ToolsBody { items: catalog.tool_list(), servers })
}

/// What to sum usage by.
#[derive(Clone, Copy, Default, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum GroupBy {
    /// UTC day.
    #[default]
    Day,
    /// Agent.
    Agent,
    /// Model.
    Model,
    /// Session.
    Session,
}

/// Which usage to sum.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct UsageParams {
    /// What to sum by; by day when absent.
    #[param(inline)]
    #[serde(default)]
    group: GroupBy,
    /// From this time on; from the beginning when absent.
    #[param(inline)]
    from: Option<Timestamp>,
    /// Before this time; until now when absent.
    #[param(inline)]
    to: Option<Timestamp>,
}

/// One group's sums.
#[derive(Serialize, ToSchema)]
struct UsageRowBody {
    /// The day, agent, model or session.
    group: String,
    /// Tokens of all calls.
    #[serde(flatten)]
    tokens: Tokens,
    /// Number of calls.
    calls: u64,
    /// Cost of the calls whose price is known, in US dollars; `null` when no price is.
    cost_usd: Option<f64>,
    /// Number of calls whose price is not known.
    unpriced_calls: u64,
}

/// Usage by group.
#[derive(Serialize, ToSchema)]
struct UsageRows {
    /// One for each group.
    items: Vec<UsageRowBody>,
}

async fn usage(State(app): State<App>, caller: Authenticated, Query(params): Query<UsageParams>) -> Answer {
    caller.require(Scope::UsageRead)?;
    let group = match params.group {
        GroupBy::Day => UsageGroup::Day,
        GroupBy::Agent => UsageGroup::Agent,
        GroupBy::Model => UsageGroup::Model,
        GroupBy::Session => UsageGroup::Session,
    };
    let from = params.from.unwrap_or_default();
    let to = params.to.unwrap_or(Timestamp::from_millis(i64::MAX));
    let rows = app.gateway().store().usage(caller.tenant(), &UsageQuery::between(group, from, to)).await?;
    let items = rows.into_iter().map(|row| UsageRowBody {
        group: row.group,
        tokens: row.tokens,
        calls: row.calls,
        cost_usd: (row.unpriced_calls < row.calls).then(|| usd(row.cost)),
        unpriced_calls: row.unpriced_calls,
    });
    ok(&UsageRows { items: items.collect() })
}

/// How much of the audit log to show.
#[derive(Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
struct AuditParams {
    /// Most entries.
    #[param(minimum = 1, maximum = 200, default = 50)]
    limit: Option<usize>,
}

/// Something that was done.
#[derive(Serialize, ToSchema)]
struct AuditEntryBody {
    /// When.
    at: Timestamp,
    /// Who.
    principal: Principal,
    /// What: `key.created`, `session.deleted`, …
    action: String,
    /// On what.
    object: String,
    /// From which address.
    from: Option<String>,
}

/// The audit log's end.
#[derive(Serialize, ToSchema)]
struct AuditBody {
    /// Newest first.
    items: Vec<AuditEntryBody>,
}

async fn audit_entries(
    State(app): State<App>,
    caller: Authenticated,
    Query(params): Query<AuditParams>,
) -> Answer {
    caller.require(Scope::AuditRead)?;
    let limit = page_size(params.limit, PAGE_ITEMS, PAGE_ITEMS_MAX)?;
    let entries = app.gateway().store().audit_entries(caller.tenant(), limit).await?;
    let items = entries.into_iter().map(|entry| AuditEntryBody {
        at: entry.at,
        principal: entry.principal,
        action: entry.action,
        object: entry.object,
        from: entry.from,
    });
    ok(&AuditBody { items: items.collect() })
}

/// Who a caller is and what it may do.
#[derive(Serialize, ToSchema)]
struct WhoBody {
    /// Behind which wall.
    tenant: Tenant,
    /// Who.
    principal: Principal,
    /// With which key; the administrator's has no id.
    #[serde(skip_serializing_if = "Option::is_none")]
    key: Option<KeyId>,
    /// With which rights.
    scopes: Vec<ScopeName>,
    /// Only these agents; all when empty.
    agents: Vec<AgentName>,
    /// Only these namespaces and beneath; all when empty.
    namespaces: Vec<Namespace>,
    /// When the key ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    expires_at: Option<Timestamp>,
}

async fn whoami(caller: Authenticated) -> Answer {
    let known = &caller.0;
    ok(&WhoBody {
        tenant: caller.tenant().clone(),
        principal: caller.principal().clone(),
        key: caller.key(),
        scopes: caller.scopes().iter().map(ScopeName::from).collect(),
        agents: known.agents.clone(),
        namespaces: known.namespaces.clone(),
        expires_at: known.expires_at,
    })
}

async fn document(_: Authenticated) -> Answer<Response> {
    let document = openapi::document().map_err(|error| {
        tracing::error!(%error, "the OpenAPI document could not be written");
        Failure::new(ErrorCode::Internal, "the document could not be written")
    })?;
    Ok(bytes(StatusCode::OK, "application/json", Bytes::from(document)))
}

async fn metrics(State(app): State<App>, caller: Authenticated) -> Answer<Response> {
    caller.require(Scope::MetricsRead)?;
    Ok(bytes(StatusCode::OK, PROMETHEUS, app.metrics().render(app.gateway()).into()))
}
