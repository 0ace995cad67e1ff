//! A response as clients see it.

use moongate_protocol::{InputAccepted, Metadata, Timestamp, ToolSpec, UsageTotal};
use serde::Serialize;
use serde_json::Value;

use super::{items::Item, labels};
use crate::door::openai::ids::{self, ResponseId};

/// A response.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Response {
    pub(super) id: String,
    object: &'static str,
    pub(super) created_at: i64,
    pub(super) completed_at: Option<i64>,
    pub(super) status: Status,
    pub(super) model: String,
    pub(super) output: Vec<Item>,
    pub(super) usage: Option<Usage>,
    pub(super) error: Option<ResponseError>,
    pub(super) incomplete_details: Option<Incomplete>,
    #[serde(flatten)]
    asked: Asked,
    #[serde(flatten)]
    fixed: Fixed,
}

/// What a response is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    Queued,
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

/// What the request asked for.
#[derive(Clone, Debug, Serialize)]
struct Asked {
    instructions: Option<String>,
    previous_response_id: Option<String>,
    conversation: Option<Named>,
    background: bool,
    temperature: Option<f32>,
    max_output_tokens: Option<u32>,
    reasoning: Reasoning,
    tools: Vec<Tool>,
    metadata: Metadata,
    store: bool,
}

#[derive(Clone, Debug, Serialize)]
struct Named {
    id: String,
}

#[derive(Clone, Debug, Serialize)]
struct Reasoning {
    effort: Option<moongate_protocol::Effort>,
    summary: Option<()>,
}

#[derive(Clone, Debug, Serialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: &'static str,
    name: String,
    description: String,
    parameters: Value,
    strict: bool,
}

/// What is the same for every response here.
#[derive(Clone, Copy, Debug, Serialize)]
struct Fixed {
    parallel_tool_calls: bool,
    tool_choice: &'static str,
    top_p: Option<f32>,
    truncation: &'static str,
    text: TextFormat,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct TextFormat {
    format: FormatKind,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct FormatKind {
    #[serde(rename = "type")]
    kind: &'static str,
}

/// Why a response failed.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ResponseError {
    pub(super) code: &'static str,
    pub(super) message: String,
}

/// Why a response is not complete.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Incomplete {
    pub(super) reason: &'static str,
}

/// What a response took.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Usage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct InputDetails {
    cached_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl Response {
    /// A response that was asked for and is not begun.
    pub(super) fn asked(id: ResponseId, input: &InputAccepted, at: Timestamp, store: bool) -> Self {
        let label = |name: &str| input.metadata.get(name).cloned();
        let conversation = label(labels::CONVERSATION).map(|_| Named { id: ids::conversation(id.session) });
        let overrides = &input.overrides;
        Self {
            id: id.to_string(),
            object: "response",
            created_at: seconds(at),
            completed_at: None,
            status: Status::InProgress,
            model: label(labels::MODEL).unwrap_or_else(|| "moongate".into()),
            output: Vec::new(),
            usage: None,
            error: None,
            incomplete_details: None,
            asked: Asked {
                instructions: overrides.instructions.clone(),
                previous_response_id: label(labels::PREVIOUS),
                conversation,
                background: label(labels::BACKGROUND).is_some(),
                temperature: overrides.temperature,
                max_output_tokens: overrides.max_output_tokens,
                reasoning: Reasoning { effort: overrides.effort, summary: None },
                tools: input.client_tools.iter().map(Tool::from).collect(),
                metadata: labels::clients(&input.metadata),
                store,
            },
            fixed: Fixed {
                parallel_tool_calls: true,
                tool_choice: "auto",
                top_p: None,
                truncation: "disabled",
                text: TextFormat { format: FormatKind { kind: "text" } },
            },
        }
    }
}

impl Response {
    /// Whether it is part of a conversation the client has made.
    pub(super) fn is_in_conversation(&self) -> bool {
        self.asked.conversation.is_some()
    }

    /// Whether it goes on from something.
    pub(super) fn goes_on(&self) -> bool {
        self.is_in_conversation() || self.asked.previous_response_id.is_some()
    }
}

impl From<&ToolSpec> for Tool {
    fn from(spec: &ToolSpec) -> Self {
        let (name, description) = (spec.name.to_string(), spec.description.clone());
        Self { kind: "function", name, description, parameters: spec.parameters.clone(), strict: false }
    }
}

impl From<UsageTotal> for Usage {
    fn from(usage: UsageTotal) -> Self {
        let tokens = usage.tokens;
        Self {
            input_tokens: tokens.input,
            input_tokens_details: InputDetails { cached_tokens: tokens.cache_read },
            output_tokens: tokens.output,
            output_tokens_details: OutputDetails { reasoning_tokens: tokens.reasoning },
            total_tokens: tokens.input.saturating_add(tokens.output),
        }
    }
}

/// Whole seconds, as OpenAI writes times.
pub(in crate::door::openai) fn seconds(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(1000)
}
