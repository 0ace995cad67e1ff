//! Tool calls.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::payload;
use crate::{ApprovalId, BlobRef, CallId, Effect, ItemId, Part, ToolName, TurnId};

/// What allowed a call to run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "by", rename_all = "snake_case")]
pub enum Ground {
    /// The policy, without asking.
    #[default]
    Policy,
    /// A rule of the operator's, without asking.
    Configured {
        /// The rule's name.
        rule: String,
    },
    /// A person, who was asked about exactly this call.
    Approval {
        /// What the person answered.
        approval: ApprovalId,
    },
    /// A person, who said before that such calls may run in this session.
    Rule {
        /// The rule that was kept then.
        rule: String,
    },
    /// The session, which is set to approve by itself.
    AutoApproval,
}

payload!(
    /// The exact call that is about to run.
    ToolCalled {
        /// In which turn.
        turn: TurnId,
        /// The call's item.
        item: ItemId,
        /// The call.
        call: CallId,
        /// The tool.
        tool: ToolName,
        /// The arguments that run.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        arguments: Value,
        /// SHA-256 of the canonical call, in hexadecimal.
        hash: String,
        /// What it does to the world.
        effect: Effect,
        /// What allowed it.
        #[serde(default, skip_serializing_if = "super::is_default")]
        ground: Ground,
    }
);

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It ran and succeeded.
    Ok,
    /// It ran and failed, or could not be started.
    Error,
    /// The policy or a person said no.
    Denied,
    /// It was stopped.
    Cancelled,
    /// It was started and nobody knows how it ended.
    Unknown,
}

payload!(
    /// A call's result, as the model will see it.
    ToolFinished {
        /// In which turn.
        turn: TurnId,
        /// The call's item.
        item: ItemId,
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: ToolOutcome,
        /// What the model is told.
        content: Vec<Part>,
        /// The tool's own result data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        data: Option<Value>,
        /// The content was cut to fit.
        #[serde(default, skip_serializing_if = "super::is_default")]
        truncated: bool,
        /// The whole text, where the content was cut: at most 1 MiB of it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        output: Option<BlobRef>,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
    }
);
