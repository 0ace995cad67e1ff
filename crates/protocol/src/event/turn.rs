//! How turns begin and end.

use serde::{Deserialize, Serialize};

use super::payload;
use crate::{AgentName, ErrorCode, InputId, ModelName, Principal, StopReason, TurnId, UsageTotal};

payload!(
    /// The agent as it was when the turn began; a later change of configuration does not touch the turn.
    AgentSnapshot {
        /// Its name.
        agent: AgentName,
        /// The model that answers.
        model: ModelName,
        /// Hash of the policy in force.
        policy_hash: String,
    }
);

payload!(
    /// What the turn works on and who runs it.
    TurnStarted {
        /// Its id.
        turn: TurnId,
        /// The inputs it answers.
        inputs: Vec<InputId>,
        /// The agent as it was.
        agent: AgentSnapshot,
        /// 1 at first.
        attempt: u32,
        /// The owner generation that runs it.
        fence: u64,
    }
);

payload!(
    /// The next try after a restart.
    TurnResumed {
        /// Which turn.
        turn: TurnId,
        /// 2 at the first restart.
        attempt: u32,
        /// The owner generation that runs it.
        fence: u64,
    }
);

payload!(
    /// The turn's totals.
    TurnCompleted {
        /// Which turn.
        turn: TurnId,
        /// All its model calls.
        usage: UsageTotal,
        /// Why the last model call stopped.
        stop_reason: StopReason,
    }
);

payload!(
    /// Why the turn failed.
    TurnFailed {
        /// Which turn.
        turn: TurnId,
        /// What went wrong, from the closed table.
        code: ErrorCode,
        /// The same in words, fit for anybody.
        message: String,
        /// Whether the same input may work later.
        retryable: bool,
        /// All its model calls.
        usage: UsageTotal,
    }
);

payload!(
    /// Who stopped the turn, and what was stopped with it.
    TurnCancelled {
        /// Which turn.
        turn: TurnId,
        /// Who.
        by: Principal,
        /// What was running: `model`, or a tool call's id.
        stopped: Vec<String>,
        /// How it came to that.
        #[serde(default, skip_serializing_if = "super::is_default")]
        reason: CancelReason,
        /// All its model calls.
        usage: UsageTotal,
    }
);

/// How a turn came to be stopped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelReason {
    /// Somebody who talks in the session asked for it.
    #[default]
    Cancel,
    /// Somebody asked for it from outside the conversation.
    Abort,
    /// The session was deleted.
    Delete,
}
