//! What the door offers: each agent the caller may use is a tool.

use moongate_core::{Agent, Gateway, Scope};
use moongate_protocol::AgentName;
use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings};
use serde::{Deserialize, Serialize};

use super::{era, fault::Answer};
use crate::caller::Authenticated;

/// What a tool's name begins with; the rest is the agent's.
const ASK: &str = "ask_";
/// How long a list may be kept, in milliseconds: an operator who changes the agents wants it seen.
const FRESH_MS: u64 = 10_000;

/// What an agent is asked.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    /// What to say to the agent.
    pub(super) message: String,
    /// The `session` of an earlier answer, to go on in that conversation. A new one begins without it.
    #[serde(default)]
    pub(super) session: Option<String>,
}

/// What an agent answered.
#[derive(Debug, JsonSchema, Serialize)]
pub(super) struct Answered {
    /// The agent's words.
    pub(super) answer: String,
    /// The conversation; say it again to go on in it.
    pub(super) session: String,
}

/// Who the server is.
#[derive(Debug, Serialize)]
struct Implementation {
    name: &'static str,
    title: &'static str,
    version: &'static str,
}

const US: Implementation =
    Implementation { name: "moongate", title: "Moongate", version: env!("CARGO_PKG_VERSION") };
const INSTRUCTIONS: &str =
    "Each tool asks an agent and answers with its words. Say `session` of an answer again to go on in it.";

/// What the server can do.
#[derive(Debug, Default, Serialize)]
struct Capabilities {
    tools: Nothing,
}

/// An object without anything in it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Nothing {}

/// The parameters of `initialize`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialize {
    pub(super) protocol_version: String,
}

/// The answer to `initialize`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Initialized {
    protocol_version: &'static str,
    capabilities: Capabilities,
    server_info: Implementation,
    instructions: &'static str,
}

/// The answer to `server/discover`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Discovered {
    supported_versions: [&'static str; 4],
    capabilities: Capabilities,
    instructions: &'static str,
    ttl_ms: u64,
    cache_scope: Scoped,
    #[serde(rename = "_meta")]
    meta: About,
}

#[derive(Debug, Serialize)]
struct About {
    #[serde(rename = "io.modelcontextprotocol/serverInfo")]
    server: Implementation,
}

/// Who may keep an answer.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
enum Scoped {
    /// Nobody else: what there is depends on the key.
    Private,
}

/// One page with everything.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Listed {
    tools: Vec<Tool>,
    ttl_ms: u64,
    cache_scope: Scoped,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Tool {
    name: String,
    title: String,
    description: String,
    input_schema: Schema,
    output_schema: Schema,
    annotations: Annotations,
}

/// What an agent may do when it is asked: anything its policy and a person let it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
#[expect(clippy::struct_excessive_bools, reason = "the hints the protocol has")]
struct Annotations {
    read_only_hint: bool,
    destructive_hint: bool,
    idempotent_hint: bool,
    open_world_hint: bool,
}

const ANYTHING: Annotations = Annotations {
    read_only_hint: false,
    destructive_hint: true,
    idempotent_hint: false,
    open_world_hint: true,
};

/// Answers a handshake.
pub(super) fn initialize(wanted: &Initialize) -> Initialized {
    Initialized {
        protocol_version: era::agreed(&wanted.protocol_version),
        capabilities: Capabilities::default(),
        server_info: US,
        instructions: INSTRUCTIONS,
    }
}

/// Says what the server is.
pub(super) fn discover() -> Discovered {
    Discovered {
        supported_versions: era::VERSIONS,
        capabilities: Capabilities::default(),
        instructions: INSTRUCTIONS,
        ttl_ms: FRESH_MS,
        cache_scope: Scoped::Private,
        meta: About { server: US },
    }
}

/// The agents the caller may use, as tools.
///
/// # Errors
/// When it may not see them.
pub(super) fn list(gateway: &Gateway, caller: &Authenticated) -> Answer<Listed> {
    caller.require(Scope::SessionsRead)?;
    let catalog = gateway.catalog();
    let usable = catalog.agents.values().filter(|agent| caller.may_use(&agent.name));
    let tools = usable.map(|agent| tool(agent)).collect();
    Ok(Listed { tools, ttl_ms: FRESH_MS, cache_scope: Scoped::Private })
}

/// The agent behind a tool's name, where the caller may use it.
pub(super) fn agent(gateway: &Gateway, caller: &Authenticated, tool: &str) -> Option<AgentName> {
    let agent: AgentName = tool.strip_prefix(ASK)?.parse().ok()?;
    let is_known = gateway.catalog().agents.contains_key(&agent);
    (is_known && caller.may_use(&agent)).then_some(agent)
}

fn tool(agent: &Agent) -> Tool {
    Tool {
        name: format!("{ASK}{}", agent.name),
        title: format!("Ask {}", agent.name),
        description: format!(
            "Asks the agent {} (model {}) and answers with its words.",
            agent.name, agent.model
        ),
        input_schema: schema::<Asked>(),
        output_schema: schema::<Answered>(),
        annotations: ANYTHING,
    }
}

fn schema<T: JsonSchema>() -> Schema {
    let mut settings = SchemaSettings::draft2020_12();
    settings.inline_subschemas = true;
    settings.meta_schema = None;
    SchemaGenerator::new(settings).into_root_schema_for::<T>()
}
