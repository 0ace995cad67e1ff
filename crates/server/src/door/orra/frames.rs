//! The frames of `/ws`: what clients send, and what they are sent.

use std::sync::Arc;

use bytes::Bytes;
use moongate_protocol::{StopReason, TurnId, UsageTotal};
use serde::{Deserialize, Serialize, de::IgnoredAny};
use serde_json::Value;

use super::{
    chat::Key,
    fault::{Code, Fault},
};
use crate::{
    door::shared::outbox::{FRAME_BYTES, MERGED_BYTES, Outgoing},
    strict,
};

/// Longest `request_id`, in bytes.
const REQUEST_ID_BYTES: usize = 128;
/// The largest number orra's clients read.
const MOST_TOKENS: u64 = u32::MAX as u64;

/// What a client asks for. Fields it does not know are passed over.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Ask {
    Chat(Chat),
    ToolApprovalResponse { call_id: String, approved: bool },
    Ping,
    Pong,
    Cancel { namespace: String, turn_id: Option<String> },
    Subscribe { namespace: String, after_seq: Option<u64>, epoch: Option<String> },
}

/// Something to say.
#[derive(Debug, Deserialize)]
pub(super) struct Chat {
    pub(super) message: String,
    pub(super) namespace: Option<String>,
    pub(super) model: Option<String>,
    pub(super) agent: Option<String>,
    pub(super) idempotency_key: Option<Key>,
    /// A peer to send it to: there are none.
    pub(super) instance: Option<IgnoredAny>,
}

/// The client's name for a request, read before anything else.
#[derive(Deserialize)]
struct Named {
    request_id: Option<String>,
}

/// Reads a client's frame: its `request_id`, and what it asks for.
pub(super) fn read(text: &str) -> (Option<String>, Result<Ask, Fault>) {
    if strict::check(text.as_bytes()).is_err() {
        return (None, Err(Code::InvalidJson.into()));
    }
    if !text.trim_start().starts_with('{') {
        return (None, Err(Code::InvalidFrame.into()));
    }
    let request_id = match serde_json::from_str::<Named>(text) {
        Ok(named) if named.request_id.as_ref().is_none_or(|id| id.len() <= REQUEST_ID_BYTES) => {
            named.request_id
        }
        _ => return (None, Err(Code::InvalidFrame.into())),
    };
    let ask = serde_json::from_str(text).map_err(|_| Code::InvalidFrame.into());
    (request_id, ask)
}

/// A frame on its way to a client.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Frame {
    #[serde(flatten)]
    pub(super) what: What,
    #[serde(flatten)]
    pub(super) about: About,
}

/// What a frame is about.
#[derive(Clone, Debug, Default, Serialize)]
pub(super) struct About {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) namespace: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn_id: Option<TurnId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) request_id: Option<Arc<str>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) seq: Option<u64>,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub(super) replay: bool,
}

/// What a frame says.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum What {
    TextDelta {
        content: String,
        offset: u64,
    },
    Response(Response),
    Error(Error),
    ToolApprovalRequest(Question),
    Pong,
    Subscribed {
        epoch: String,
        last_seq: u64,
        state: &'static str,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        reset: bool,
    },
    ToolStarted {
        call_id: String,
        tool_name: String,
        arguments: Value,
    },
    ToolFinished {
        call_id: String,
        tool_name: String,
        content: String,
        is_error: bool,
    },
    ReasoningDelta {
        content: String,
    },
    Accepted {
        position: usize,
    },
    TurnStarted,
    ToolApprovalResolved {
        call_id: String,
        approved: bool,
        by: String,
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        late: bool,
    },
}

/// The end of a turn that went well.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Response {
    pub(super) message: String,
    pub(super) usage: Usage,
    pub(super) agent: String,
    pub(super) model: String,
    pub(super) finish_reason: &'static str,
}

/// The end of a turn that did not, or the answer to a frame that is not acceptable.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Error {
    pub(super) error: &'static str,
    pub(super) code: &'static str,
    pub(super) retryable: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) retry_after: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) usage: Option<Usage>,
    #[serde(skip)]
    pub(super) fault: FaultOf,
}

/// The fault behind an error frame.
#[derive(Clone, Copy, Debug)]
pub(super) struct FaultOf(pub(super) Fault);

impl PartialEq for FaultOf {
    fn eq(&self, other: &Self) -> bool {
        self.0.code == other.0.code
    }
}

/// May this exact call run?
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct Question {
    pub(super) call_id: String,
    pub(super) tool_name: String,
    pub(super) arguments: Value,
    pub(super) tool_call_id: String,
    pub(super) requirement: moongate_protocol::Requirement,
    pub(super) timeout_secs: u64,
    pub(super) expires_at: String,
}

/// What a turn used. Three fields are as orra's clients read them: 32 bits.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Usage {
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) total_tokens: u64,
    pub(super) cost_usd: Option<f64>,
    pub(super) reported: bool,
}

impl From<UsageTotal> for Usage {
    #[expect(clippy::cast_precision_loss, reason = "a cost in dollars is for people")]
    fn from(total: UsageTotal) -> Self {
        let (input, output) = (total.tokens.input, total.tokens.output);
        Self {
            input_tokens: input.min(MOST_TOKENS),
            output_tokens: output.min(MOST_TOKENS),
            total_tokens: input.saturating_add(output).min(MOST_TOKENS),
            cost_usd: total.cost.map(|cost| cost.0 as f64 / 1e6),
            reported: input > 0 || output > 0,
        }
    }
}

impl Error {
    pub(super) fn of(fault: Fault, usage: Option<Usage>) -> Self {
        Self {
            error: fault.code.sentence(),
            code: fault.code.as_str(),
            retryable: fault.code.retryable(),
            retry_after: fault.wait(),
            usage,
            fault: FaultOf(fault),
        }
    }
}

/// Why a model stopped, as orra's clients know it.
pub(super) fn finish_reason(reason: StopReason) -> &'static str {
    match reason {
        StopReason::MaxTokens => "length",
        StopReason::ToolUse => "tool_use",
        StopReason::Refusal => "content_filter",
        StopReason::Cancelled => "cancelled",
        _ => "stop",
    }
}

impl Outgoing for Frame {
    fn size(&self) -> usize {
        FRAME_BYTES
            + match &self.what {
                What::TextDelta { content, .. }
                | What::ReasoningDelta { content }
                | What::ToolFinished { content, .. } => content.len(),
                What::Response(response) => response.message.len(),
                _ => 0,
            }
    }

    fn merge(&mut self, next: &Self) -> bool {
        let fit = |into: &str, from: &str| into.len() + from.len() <= MERGED_BYTES;
        let same = self.about.turn_id == next.about.turn_id
            && self.about.namespace == next.about.namespace
            && self.about.replay == next.about.replay;
        match (&mut self.what, &next.what) {
            (What::TextDelta { content, offset }, What::TextDelta { content: more, offset: at })
                if same && *offset + content.len() as u64 == *at && fit(content, more) =>
            {
                content.push_str(more);
                true
            }
            (What::ReasoningDelta { content }, What::ReasoningDelta { content: more })
                if same && fit(content, more) =>
            {
                content.push_str(more);
                true
            }
            _ => false,
        }
    }

    fn encode(self) -> Bytes {
        match serde_json::to_vec(&self) {
            Ok(text) => text.into(),
            Err(error) => {
                tracing::error!(%error, "a frame could not be written as JSON");
                Bytes::from_static(
                    br#"{"type":"error","error":"something failed inside","code":"internal_error"}"#,
                )
            }
        }
    }
}
