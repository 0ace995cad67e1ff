//! What users say.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::{AgentName, IdempotencyKey, InputId, Metadata, ModelName, Part, Principal, ToolSpec};

/// What an input does when a turn is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Wait until the turn ended.
    #[default]
    Queue,
    /// Join the running turn at its next model call.
    Steer,
    /// Cancel the running turn, then run.
    Interrupt,
    /// Be refused.
    Reject,
}

/// How much a model should think, in the providers' common words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// As little as the model allows.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
}

/// What one input changes about its agent, for its turn only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overrides {
    /// Another agent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<AgentName>,
    /// Another model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// How much to think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Most tokens an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// How long a person may take to decide on one of the turn's calls, in seconds; never longer than the server
    /// waits by itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub approval_secs: Option<u32>,
    /// Another persona.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// Which project the turn works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// What the system prompt says besides, for this turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
}

payload!(
    /// What was said, by whom, and how it meets a running turn.
    InputAccepted {
        /// Its id.
        input: InputId,
        /// Who said it.
        author: Principal,
        /// What was said.
        parts: Vec<Part>,
        /// How it meets a running turn.
        #[serde(default)]
        overlap: Overlap,
        /// The client's name for this submission.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<IdempotencyKey>,
        /// What it changes for its turn.
        #[serde(default, skip_serializing_if = "super::is_default")]
        overrides: Overrides,
        /// Tools the client runs itself.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        client_tools: Vec<ToolSpec>,
        /// The client's labels.
        #[serde(default, skip_serializing_if = "Metadata::is_empty")]
        metadata: Metadata,
        /// The only agents whoever said it may use; any when empty.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        agents: Vec<AgentName>,
    }
);

payload!(
    /// Which input, and who took it back.
    InputWithdrawn {
        /// Which.
        input: InputId,
        /// Who.
        by: Principal,
    }
);
