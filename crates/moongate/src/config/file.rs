//! The configuration file as it is written. Everything may be left out; what a value means is decided in
//! `check`.

use std::{collections::BTreeMap, fmt, path::PathBuf, str::FromStr};

use moongate_protocol::{Effort, PolicyPreset};
use schemars::JsonSchema;
use serde::{Deserialize, Deserializer};

use super::{
    limits::LimitsTable,
    mcp::McpTable,
    policy::PolicyTable,
    spend::{ScopeTable, SpendTable},
    tools::ToolsTable,
};
use crate::cli::LogFormat;

/// A whole `moongate.toml`.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct File {
    /// The agent that answers when a client names none. Not needed with one agent, or with one named `default`.
    pub(crate) default_agent: Option<String>,
    /// Where to listen and whom to answer.
    pub(crate) server: ServerTable,
    /// Where the log is kept.
    pub(crate) store: StoreTable,
    /// Where models are reached; their names begin with the provider's: `NAME/model`.
    pub(crate) providers: BTreeMap<String, ProviderTable>,
    /// Who answers.
    pub(crate) agents: BTreeMap<String, AgentTable>,
    /// What agents may do that do not say it themselves.
    pub(crate) policy: PolicyTable,
    /// The built-in tools.
    pub(crate) tools: ToolsTable,
    /// MCP servers whose tools agents may have, named `NAME__tool`.
    pub(crate) mcp: BTreeMap<String, McpTable>,
    /// Doors besides the native one.
    pub(crate) doors: moongate_server::Doors,
    /// The bounds an operator may change.
    pub(crate) limits: LimitsTable,
    /// What may be spent on models.
    pub(crate) spend: SpendTable,
    /// Logs.
    pub(crate) telemetry: TelemetryTable,
    /// Prices in US dollars for a million tokens, by `provider/model`; they win over the built-in table.
    pub(crate) prices: BTreeMap<String, PriceTable>,
}

/// Where to listen and whom to answer.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ServerTable {
    /// Address and port, `127.0.0.1:8137` by default. Any other than loopback needs `tls` or `behind_proxy`.
    #[schemars(extend("default" = super::LISTEN))]
    pub(crate) listen: Option<String>,
    /// Names clients may use for this server besides the addresses it listens on.
    pub(crate) hosts: Option<Vec<String>>,
    /// Web origins whose pages may call, for example `https://chat.example.com`.
    pub(crate) origins: Option<Vec<String>>,
    /// Certificate and key, where the server itself ends TLS.
    pub(crate) tls: Option<TlsTable>,
    /// A proxy in front ends TLS; says that plain HTTP on another address than loopback is meant.
    #[schemars(extend("default" = false))]
    pub(crate) behind_proxy: Option<bool>,
    /// Networks whose `X-Forwarded-For` is believed, for example `10.0.0.0/8`.
    pub(crate) trusted_proxies: Option<Vec<String>>,
    /// How long running turns may go on after the signal to stop, 30 seconds by default.
    #[schemars(range(min = 0, max = 86400), extend("default" = super::DRAIN.as_secs()))]
    pub(crate) drain_secs: Option<u64>,
}

/// Certificate and key in PEM files.
#[derive(Debug, Clone, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct TlsTable {
    /// The certificate, with those above it.
    pub(crate) cert: PathBuf,
    /// Its private key.
    pub(crate) key: PathBuf,
}

/// Where the log is kept.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct StoreTable {
    /// The folder of the database and the attachments; the data folder by default. Not a network drive.
    pub(crate) path: Option<PathBuf>,
}

/// One provider.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ProviderTable {
    /// A well-known provider that fills in everything left out; the table's own name where that is one.
    pub(crate) preset: Option<String>,
    /// The protocol it speaks: `openai-chat`, `openai-responses` or `anthropic`.
    pub(crate) kind: Option<Kind>,
    /// Its address up to and without `/chat/completions`, `/responses` or `/messages`.
    pub(crate) base_url: Option<String>,
    /// Where its key is: `env:VARIABLE` or `file:/path`. Never the key itself.
    pub(crate) key: Option<SecretRef>,
    /// Headers sent with every call; a value may be `env:VARIABLE` or `file:/path`.
    pub(crate) headers: BTreeMap<String, String>,
    /// Models to list besides the known ones.
    pub(crate) models: Vec<String>,
    /// Where it differs from the protocol's inventor.
    pub(crate) quirks: QuirksTable,
    /// How long to wait for what.
    pub(crate) timeouts: TimeoutsTable,
}

/// The protocol a provider speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// OpenAI chat completions and everything compatible with it.
    OpenaiChat,
    /// OpenAI Responses.
    OpenaiResponses,
    /// Anthropic Messages.
    Anthropic,
}

/// Where a provider differs from the protocol's inventor.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct QuirksTable {
    /// The field that bounds the answer.
    pub(crate) max_tokens_field: Option<MaxTokens>,
    /// The field that says how much to think.
    pub(crate) effort_field: Option<EffortIn>,
    /// Its key is sent as a bearer token, whatever the protocol's usual way is.
    pub(crate) bearer: Option<bool>,
    /// It takes `stream_options.include_usage`.
    pub(crate) usage_option: Option<bool>,
    /// It wants `reasoning_content` back with the tool calls that followed it.
    pub(crate) reasoning_back: Option<bool>,
    /// Which ids of tool calls it takes.
    pub(crate) call_ids: Option<CallIdsIn>,
    /// It refuses `content: null` beside tool calls and gets an empty text there.
    pub(crate) empty_content: Option<bool>,
    /// It takes `prompt_cache_key`.
    pub(crate) cache_key: Option<bool>,
    /// It takes images.
    pub(crate) images: Option<bool>,
    /// It takes PDF files.
    pub(crate) files: Option<bool>,
}

/// The field that bounds an answer.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MaxTokens {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// The field that says how much to think.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EffortIn {
    /// `reasoning_effort`.
    ReasoningEffort,
    /// `reasoning.effort`.
    Reasoning,
    /// None: it is never sent.
    None,
}

/// Which ids of tool calls a provider takes.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CallIdsIn {
    /// Up to 64 letters, digits, `_` and `-`.
    Usual,
    /// Exactly nine letters and digits.
    Nine,
}

/// How long to wait for what, in seconds.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TimeoutsTable {
    /// For a connection.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) connect_secs: Option<u64>,
    /// For the answer to begin.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) header_secs: Option<u64>,
    /// Between two pieces of the answer.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) idle_secs: Option<u64>,
    /// For the whole answer.
    #[schemars(range(min = 1, max = 86400))]
    pub(crate) total_secs: Option<u64>,
}

/// One agent.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AgentTable {
    /// The model that answers: `provider/model`.
    pub(crate) model: Option<String>,
    /// The models that answer when it cannot, in order.
    pub(crate) fallbacks: Vec<String>,
    /// The system prompt.
    pub(crate) system: Option<String>,
    /// A file that holds the system prompt; relative to the configuration file.
    pub(crate) system_file: Option<PathBuf>,
    /// The tools it may use, by name; `*` for all there are, `NAME__*` for those of an MCP server.
    pub(crate) tools: Vec<String>,
    /// The agents it may hand tasks to, each in a session of its own.
    pub(crate) delegates: Vec<String>,
    /// What it may do: `read-only`, `ask`, `workspace-write` or `full`.
    #[schemars(with = "Option<Policy>")]
    pub(crate) policy: Option<PolicyPreset>,
    /// How much it thinks: `minimal`, `low`, `medium` or `high`.
    #[schemars(with = "Option<Thinking>")]
    pub(crate) effort: Option<Effort>,
    /// Sampling temperature.
    #[schemars(range(min = 0.0, max = 2.0))]
    pub(crate) temperature: Option<f32>,
    /// Most tokens an answer may have.
    #[schemars(range(min = 1))]
    pub(crate) max_output_tokens: Option<u32>,
    /// What it may spend, besides what `[spend]` says of everything.
    pub(crate) spend: ScopeTable,
    /// How a turn proceeds; only `direct` is built.
    pub(crate) program: Option<Program>,
}

/// How a turn proceeds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Program {
    /// The agent loop.
    Direct,
}

/// The schema of `PolicyPreset`.
#[derive(JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[expect(dead_code, reason = "only its schema is used")]
pub(crate) enum Policy {
    /// Tools that change nothing run; all others are denied.
    ReadOnly,
    /// Tools that change nothing run; a person decides on all others.
    Ask,
    /// As `ask`, and files of the workspace may be changed.
    WorkspaceWrite,
    /// Everything runs.
    Full,
}

/// The schema of `Effort`.
#[derive(JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(dead_code, reason = "only its schema is used")]
enum Thinking {
    /// As little as the model allows.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
}

/// Logs.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct TelemetryTable {
    /// How much: `error`, `warn`, `info` (the default), `debug`, `trace`, or per module such as
    /// `info,moongate_core=debug`.
    #[schemars(extend("default" = "info"))]
    pub(crate) log: Option<String>,
    /// How lines look.
    pub(crate) format: Option<LogFormat>,
}

/// Prices in US dollars for a million tokens.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct PriceTable {
    /// Prompt tokens.
    #[schemars(range(min = 0.0))]
    pub(crate) input: f64,
    /// Answer tokens.
    #[schemars(range(min = 0.0))]
    pub(crate) output: f64,
    /// Prompt tokens read from the provider's cache; as `input` by default.
    #[schemars(range(min = 0.0))]
    pub(crate) cache_read: Option<f64>,
    /// Prompt tokens written to the provider's cache; as `input` by default.
    #[schemars(range(min = 0.0))]
    pub(crate) cache_write: Option<f64>,
}

/// Where a secret is. Never the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(transparent)]
pub(crate) struct SecretRef(
    #[schemars(with = "String", regex(pattern = r"^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+)$"))]
    pub(crate)  SecretPlace,
);

/// The two places a secret can be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum SecretPlace {
    /// A variable of the environment.
    Env(String),
    /// A file.
    File(PathBuf),
}

/// Why a text says no place; never repeats the text, which may be the secret.
#[derive(Debug, thiserror::Error)]
#[error(
    "the key itself may not stand in the file: write \"env:VARIABLE\" or \"file:/path/to/key\", and change the key if it was real"
)]
pub(crate) struct Literal;

impl FromStr for SecretRef {
    type Err = Literal;

    fn from_str(text: &str) -> Result<Self, Literal> {
        let is_name = |name: &&str| {
            !name.is_empty()
                && !name.starts_with(|c: char| c.is_ascii_digit())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
        };
        if let Some(name) = text.strip_prefix("env:").filter(is_name) {
            return Ok(Self(SecretPlace::Env(name.to_owned())));
        }
        match text.strip_prefix("file:") {
            Some(path) if !path.is_empty() => Ok(Self(SecretPlace::File(path.into()))),
            _ => Err(Literal),
        }
    }
}

impl fmt::Display for SecretRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            SecretPlace::Env(name) => write!(f, "env:{name}"),
            SecretPlace::File(path) => write!(f, "file:{}", path.display()),
        }
    }
}

impl<'de> Deserialize<'de> for SecretRef {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}
