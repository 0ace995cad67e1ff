//! What a socket is sent: one JSON object each.

use moongate_protocol::{ApprovalId, CancelReason, InputId, SessionId, Timestamp, TurnId};
use serde::Serialize;
use serde_json::Value;

use super::agents::AgentNews;

/// A frame on its way out.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Frame {
    #[serde(flatten)]
    pub(super) word: Word,
    /// The event it comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn_id: Option<TurnId>,
    /// It was sent before, or might have been.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) replay: bool,
}

impl Frame {
    /// A frame that stands for no event.
    pub(super) fn bare(word: Word) -> Self {
        Self { word, seq: None, turn_id: None, replay: false }
    }
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Word {
    SessionStart(Box<SessionStart>),
    Connected(Connected),
    Thinking(Text),
    Chunk(Text),
    ToolCall(ToolCall),
    ToolResult(ToolResult),
    OperatorStatus(OperatorStatus),
    AgentEvent(Box<AgentEvent>),
    ChunkReset,
    Done(Box<Done>),
    Error(Box<Problem>),
    Accepted(Accepted),
    TurnStart(TurnStart),
    UserMessage(UserMessage),
    ApprovalRequest(Box<ApprovalRequest>),
    ApprovalResolved(ApprovalResolved),
    Aborted(Aborted),
    HistoryTrimmed(HistoryTrimmed),
    TurnSnapshot(Box<TurnSnapshot>),
    SessionRenamed { name: String },
    SessionDeleted,
    Pong,
}

/// A session as a socket finds it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SessionStart {
    pub(super) session_id: String,
    pub(super) resumed: bool,
    pub(super) message_count: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    pub(super) epoch: String,
    pub(super) last_seq: u64,
    pub(super) state: StateName,
    pub(super) queue_depth: usize,
    pub(super) agent: String,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) reset: bool,
}

/// What a session is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StateName {
    Idle,
    Running,
    Error,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Connected {
    pub(super) message: &'static str,
    pub(super) session_id: String,
    pub(super) capabilities: Vec<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Text {
    pub(super) content: String,
    /// Bytes of this kind sent before it in the turn.
    pub(super) offset: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ToolCall {
    pub(super) name: String,
    pub(super) args: Value,
    pub(super) id: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ToolResult {
    pub(super) name: String,
    pub(super) output: String,
    pub(super) id: String,
    pub(super) is_error: bool,
    pub(super) truncated: bool,
    pub(super) duration_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct OperatorStatus {
    pub(super) phase: Phase,
    pub(super) detail: String,
    /// The session of the agent it is about, where it is about one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) agent_id: Option<SessionId>,
}

/// What an agent does that another one handed a task to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct AgentEvent {
    pub(super) event: AgentNews,
    /// The session the task came from, as the client calls it.
    pub(super) session_id: String,
}

/// What the client draws beside the detail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Spawning,
    Spawned,
    Delegating,
    Waiting,
    Blocked,
    Collecting,
    Collected,
    Completed,
    Failed,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Done {
    pub(super) full_response: String,
    pub(super) finish_reason: FinishReason,
    #[serde(flatten)]
    pub(super) bill: Bill,
    pub(super) duration_ms: u64,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) aborted: bool,
}

/// What a turn used; `null` is not reported, never nothing.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct Bill {
    pub(super) input_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) tokens_used: Option<u64>,
    pub(super) last_input_tokens: Option<u64>,
    pub(super) max_context_tokens: Option<u64>,
    pub(super) cost_usd: Option<f64>,
    pub(super) model: String,
    pub(super) provider: String,
}

/// Why a turn that did not fail ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum FinishReason {
    Stop,
    Length,
    ContentFilter,
    Aborted,
}

/// Something did not work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Problem {
    pub(super) message: String,
    pub(super) code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    pub(super) retryable: bool,
    pub(super) retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) partial: Option<bool>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_message_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_id: Option<InputId>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Accepted {
    pub(super) input_id: InputId,
    pub(super) position: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) client_message_id: Option<String>,
    /// The log's incarnation: a session that was made by this input had none before.
    pub(super) epoch: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TurnStart {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_id: Option<InputId>,
    pub(super) agent: String,
    pub(super) model: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct UserMessage {
    pub(super) input_id: InputId,
    pub(super) content: String,
    pub(super) attachments: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ApprovalRequest {
    pub(super) request_id: ApprovalId,
    pub(super) tool: String,
    pub(super) arguments_summary: String,
    pub(super) timeout_secs: u64,
    pub(super) tool_call_id: String,
    pub(super) arguments: Value,
    pub(super) expires_at: Timestamp,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ApprovalResolved {
    pub(super) request_id: ApprovalId,
    pub(super) decision: &'static str,
    pub(super) by: &'static str,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) late: bool,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Aborted {
    pub(super) reason: CancelReason,
    pub(super) partial_response: String,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct HistoryTrimmed {
    pub(super) dropped_messages: u64,
    pub(super) kept_turns: u64,
    pub(super) reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct TurnSnapshot {
    pub(super) text: String,
    pub(super) thinking: String,
    pub(super) tools: Vec<SnapshotTool>,
    pub(super) as_of_seq: u64,
}

/// A tool call of a turn that runs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct SnapshotTool {
    pub(super) id: String,
    pub(super) name: String,
    pub(super) args: Value,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) is_error: Option<bool>,
}
