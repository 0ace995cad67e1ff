//! What is said in a turn, and what stands for it later.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::{InputId, ItemId, Part, Seq, TurnId};

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person.
    User,
    /// The model.
    Assistant,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said everything.
    EndTurn,
    /// It wants tools to run.
    ToolUse,
    /// The token limit was reached.
    MaxTokens,
    /// A stop sequence was written.
    StopSequence,
    /// It, or its provider's filter, refused.
    Refusal,
    /// A person or a limit stopped it.
    Cancelled,
    /// The stream ended without saying that it was complete.
    Cut,
}

payload!(
    /// A message with all its parts.
    MessageCompleted {
        /// In which turn.
        turn: TurnId,
        /// The message's item; its text deltas carried it.
        item: ItemId,
        /// Who speaks.
        role: Role,
        /// What was said.
        parts: Vec<Part>,
        /// Why the model stopped; absent for a person's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<StopReason>,
        /// The steering input this message is, for a person's message that joined a running turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<InputId>,
        /// A cancel or a cut ended it.
        #[serde(default, skip_serializing_if = "super::is_default")]
        partial: bool,
    }
);

payload!(
    /// Which part of the log a summary stands for in later prompts. The log keeps it whole.
    ContextCompacted {
        /// In which turn.
        turn: TurnId,
        /// First event replaced.
        from: Seq,
        /// Last event replaced.
        to: Seq,
        /// The summary's item.
        item: ItemId,
        /// The summary.
        summary: String,
    }
);
