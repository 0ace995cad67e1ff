//! What followers get besides events: pieces of items being written, and passing states. Neither has a number.

use serde::{Deserialize, Serialize};

use crate::{InputId, ItemId, SessionId, Timestamp, TurnId};

/// What an unfinished item's text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DeltaKind {
    /// A message's text.
    Text,
    /// A reasoning block's text.
    Reasoning,
    /// A tool call's arguments, as JSON text.
    ToolArguments,
    /// A running tool's output.
    ToolOutput,
}

/// A piece of an item still being written. A client that keeps `text = text[..offset] + delta.text` per item
/// is always right, whatever was lost or repeated; the item's event that follows is complete.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Delta {
    /// Which session.
    pub session: SessionId,
    /// Which turn.
    pub turn: TurnId,
    /// Which item.
    pub item: ItemId,
    /// What the text is.
    pub kind: DeltaKind,
    /// Where the piece begins, in Unicode scalar values from the item's start.
    pub offset: u64,
    /// The piece.
    pub text: String,
    /// The tool's name, on a tool call's first delta.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tool: Option<String>,
}

/// What a running turn waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum WaitingOn {
    /// The model's answer.
    Model,
    /// A tool's result.
    Tool,
    /// A person's decision.
    Approval,
    /// A person's answer.
    Question,
    /// A provider's rate limit to pass.
    RateLimit,
    /// Room among the running turns.
    Capacity,
}

/// A passing state.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "notice", rename_all = "snake_case")]
pub enum Notice {
    /// The inputs that wait, first to run first.
    Queue {
        /// Which session.
        session: SessionId,
        /// Their ids.
        queue: Vec<InputId>,
    },
    /// What the turn waits for.
    Waiting {
        /// Which session.
        session: SessionId,
        /// Which turn.
        turn: TurnId,
        /// What for.
        on: WaitingOn,
        /// Since when.
        since: Timestamp,
    },
    /// The server is going away; come back with the last position.
    Draining,
}
