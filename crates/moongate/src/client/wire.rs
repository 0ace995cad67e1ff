//! The bodies of the native door that the command line sends and reads. Fields it has no use for are left out.

use moongate_core::Scope;
use moongate_protocol::{
    AgentName, ApprovalId, Decision, Effort, InputId, KeyId, ModelName, Namespace, Part, Position, Principal,
    Seq, SessionId, SessionState, Timestamp, Tokens, TurnId,
};
use serde::{Deserialize, Serialize};

/// One page of a list.
#[derive(Debug, Deserialize)]
pub(crate) struct Page<T> {
    /// The items.
    pub(crate) items: Vec<T>,
    /// There are more.
    #[serde(default)]
    pub(crate) next_cursor: Option<String>,
}

/// A new session.
#[derive(Debug, Default, Serialize)]
pub(crate) struct NewSession {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) agent: Option<AgentName>,
}

/// What is said. Images go as base64.
#[derive(Debug, Serialize)]
pub(crate) struct NewInput {
    pub(crate) parts: Vec<InputPart>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) model: Option<ModelName>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) effort: Option<Effort>,
}

/// A part of what is said.
#[derive(Debug, Clone, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum InputPart {
    Text { text: String },
    Image { media_type: String, data: String },
}

/// An input that is on disk.
#[derive(Debug, Deserialize)]
pub(crate) struct Accepted {
    pub(crate) input: InputId,
}

/// Which turn to stop.
#[derive(Debug, Default, Serialize)]
pub(crate) struct CancelTurn {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) turn: Option<TurnId>,
    pub(crate) clear_queue: bool,
}

/// What to change of a session.
#[derive(Debug, Default, Serialize)]
pub(crate) struct SessionPatch {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
}

/// Where a new session begins.
#[derive(Debug, Serialize)]
pub(crate) struct Fork {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) at: Option<Seq>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) title: Option<String>,
}

/// A message of a transcript.
#[derive(Debug, Deserialize)]
pub(crate) struct Spoken {
    pub(crate) seq: Seq,
    pub(crate) role: moongate_protocol::Role,
    pub(crate) parts: Vec<Part>,
    #[serde(default)]
    pub(crate) partial: bool,
}

/// A session.
#[derive(Debug, Deserialize)]
pub(crate) struct Session {
    pub(crate) id: SessionId,
    pub(crate) title: Option<String>,
    pub(crate) agent: AgentName,
    pub(crate) state: SessionState,
    #[serde(default)]
    pub(crate) turn: Option<TurnId>,
    pub(crate) head: Position,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) usage: Used,
}

/// What a session used.
#[derive(Debug, Deserialize)]
pub(crate) struct Used {
    #[serde(flatten)]
    pub(crate) tokens: Tokens,
    pub(crate) calls: u64,
    pub(crate) cost_usd: Option<f64>,
}

/// An approval that waits.
#[derive(Debug, Deserialize)]
pub(crate) struct Pending {
    #[serde(alias = "approval")]
    pub(crate) id: ApprovalId,
    pub(crate) session: SessionId,
    #[serde(default)]
    pub(crate) plan: String,
    pub(crate) preview: Option<String>,
    #[serde(default)]
    pub(crate) reason: String,
    pub(crate) expires_at: Timestamp,
}

/// A decision.
#[derive(Debug, Serialize)]
pub(crate) struct Decide {
    pub(crate) decision: Decision,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// What became of a decision.
#[derive(Debug, Deserialize)]
pub(crate) struct Decided {
    pub(crate) decision: Decision,
    pub(crate) by: Principal,
    /// Somebody decided before.
    #[serde(default)]
    pub(crate) already: bool,
}

/// A key to make.
#[derive(Debug, Serialize)]
pub(crate) struct NewKey {
    pub(crate) label: String,
    pub(crate) scopes: Vec<Scope>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) agents: Vec<AgentName>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) namespaces: Vec<Namespace>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) networks: Vec<String>,
    pub(crate) expires_at: Timestamp,
}

/// A key as it is listed.
#[derive(Debug, Deserialize)]
pub(crate) struct KeyView {
    pub(crate) id: KeyId,
    #[serde(default)]
    pub(crate) label: String,
    #[serde(default)]
    pub(crate) scopes: Vec<String>,
    pub(crate) created_at: Timestamp,
    #[serde(default)]
    pub(crate) expires_at: Option<Timestamp>,
    #[serde(default)]
    pub(crate) revoked_at: Option<Timestamp>,
}

/// An agent as it is listed.
#[derive(Debug, Deserialize)]
pub(crate) struct AgentView {
    pub(crate) name: AgentName,
    pub(crate) model: ModelName,
    #[serde(default)]
    pub(crate) fallbacks: Vec<ModelName>,
    #[serde(default)]
    pub(crate) default: bool,
}

/// A model as it is listed.
#[derive(Debug, Deserialize)]
pub(crate) struct ModelView {
    pub(crate) name: ModelName,
    #[serde(default)]
    pub(crate) context_window: Option<u64>,
    #[serde(default)]
    pub(crate) price: Option<PriceView>,
}

/// A price in millionths of a US dollar for a million tokens.
#[derive(Debug, Deserialize)]
pub(crate) struct PriceView {
    pub(crate) input: u64,
    pub(crate) output: u64,
}

/// Usage of one group.
#[derive(Debug, Deserialize)]
pub(crate) struct UsageView {
    pub(crate) group: String,
    #[serde(flatten)]
    pub(crate) tokens: Tokens,
    pub(crate) calls: u64,
    #[serde(default)]
    pub(crate) cost_usd: Option<f64>,
    #[serde(default)]
    pub(crate) unpriced_calls: u64,
}
