//! What the engine asks of a model. A stream never throws: every fault ends it with a reason.

use std::{
    collections::HashMap,
    ops::Deref,
    sync::{Arc, OnceLock},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use moongate_protocol::{
    BlobHash, CallId, Effort, ErrorCode, MicroUsd, ModelName, Part, ReasoningSignature, StopReason, Tokens,
    ToolSpec, WaitingOn,
};
use serde_json::value::RawValue;

/// One message of a prompt. The order and pairing of messages is valid for every provider.
#[derive(Clone, Debug, PartialEq)]
pub enum PromptMessage {
    /// What a person said; never empty.
    User(Vec<Part>),
    /// What the model said: text, reasoning and tool calls in their order; never empty. Every tool call in it
    /// is answered by the `ToolResult`s that follow at once.
    Assistant(Vec<Part>),
    /// The result of one tool call of the assistant message before.
    ToolResult {
        /// Which call.
        call: CallId,
        /// The tool as the model named it.
        tool: String,
        /// The model should read it as a failure.
        is_error: bool,
        /// What the model is told; never empty.
        content: Vec<Part>,
    },
}

/// A message as the prompts of one conversation share it, together with its encoded form: a message that was
/// sent before is not written anew for each later call.
#[derive(Debug)]
pub struct SharedMessage {
    message: PromptMessage,
    encoded: OnceLock<(&'static str, Option<Box<RawValue>>)>,
}

impl SharedMessage {
    /// The message's form on `wire`, made by `encode` the first time anybody asks. `None` when `encode` makes
    /// none, or when the form of another wire was asked for before.
    pub fn encoded(
        &self,
        wire: &'static str,
        encode: impl FnOnce(&PromptMessage) -> Option<Box<RawValue>>,
    ) -> Option<&RawValue> {
        let (of, form) = self.encoded.get_or_init(|| (wire, encode(&self.message)));
        form.as_deref().filter(|_| *of == wire)
    }
}

impl From<PromptMessage> for SharedMessage {
    fn from(message: PromptMessage) -> Self {
        Self { message, encoded: OnceLock::new() }
    }
}

impl Deref for SharedMessage {
    type Target = PromptMessage;

    fn deref(&self) -> &PromptMessage {
        &self.message
    }
}

impl PartialEq for SharedMessage {
    fn eq(&self, other: &Self) -> bool {
        self.message == other.message
    }
}

/// Settings of one model call; absent ones are the provider's defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct CallSettings {
    /// How much to think.
    pub effort: Option<Effort>,
    /// Sampling temperature, 0 to 2.
    pub temperature: Option<f32>,
    /// Most tokens the answer may have.
    pub max_output_tokens: Option<u32>,
}

/// One call to a model.
#[derive(Clone, Debug, Default)]
pub struct ModelRequest {
    /// The system prompt; may be empty.
    pub system: Arc<str>,
    /// The conversation, oldest first.
    pub messages: Arc<Vec<Arc<SharedMessage>>>,
    /// The tools the model may ask for.
    pub tools: Arc<[ToolSpec]>,
    /// How to answer.
    pub settings: CallSettings,
    /// The bytes behind the blobs of `messages`.
    pub attachments: Arc<HashMap<BlobHash, Bytes>>,
    /// A stable text for the provider's prompt cache: the session's id.
    pub cache_key: Option<Arc<str>>,
}

/// A piece of a model's answer, in the order of arrival.
#[derive(Clone, Debug, PartialEq)]
pub enum Piece {
    /// The call waits for something other than the model: a retry after a rate limit, for example.
    Waiting(WaitingOn),
    /// The model works (again); ends a wait.
    Working,
    /// More text. Text after reasoning or after a tool call is a new block of the same message.
    Text(String),
    /// More of a reasoning block.
    Reasoning(String),
    /// The reasoning block is complete. Also sent for a block without readable text.
    ReasoningEnd {
        /// What the provider wants back on the next call.
        signature: Option<ReasoningSignature>,
    },
    /// A tool call begins. Several may be open at once.
    ToolCallStart {
        /// Names the call within this answer.
        slot: u32,
        /// The tool as the model named it.
        name: String,
    },
    /// More of a tool call's arguments (JSON text).
    ToolCallArguments {
        /// Which call.
        slot: u32,
        /// More text.
        text: String,
    },
    /// Tokens so far; the last one counts.
    Usage(Tokens),
    /// The answer is complete. Nothing follows.
    Finish(StopReason),
    /// The answer is not complete and never will be. Nothing follows.
    Fault(Fault),
}

/// Why a model call failed, after all retries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    /// From the closed table: one of the `Provider…` codes or `ContextTooLong`.
    pub code: ErrorCode,
    /// In words, fit for anybody: no key, no address, no body.
    pub message: String,
    /// How long the provider asked to wait.
    pub retry_after: Option<Duration>,
}

impl Fault {
    /// A fault with a public message.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }
}

/// What a million tokens cost, in millionths of a US dollar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Price {
    /// Prompt tokens that no cache held.
    pub input: MicroUsd,
    /// Answer tokens, reasoning included.
    pub output: MicroUsd,
    /// Prompt tokens read from the cache; as `input` when absent.
    pub cache_read: Option<MicroUsd>,
    /// Prompt tokens written to the cache; as `input` when absent.
    pub cache_write: Option<MicroUsd>,
    /// Where the price came from, for example `snapshot 2026-11` or `operator`.
    pub source: String,
}

impl Price {
    /// What one call costs, rounded up to a whole micro-dollar.
    pub fn cost(&self, tokens: Tokens) -> MicroUsd {
        let cached = tokens.cache_read.saturating_add(tokens.cache_write);
        let fresh = tokens.input.saturating_sub(cached);
        let of = |tokens: u64, price: MicroUsd| u128::from(tokens) * u128::from(price.0);
        let total = of(fresh, self.input)
            + of(tokens.output, self.output)
            + of(tokens.cache_read, self.cache_read.unwrap_or(self.input))
            + of(tokens.cache_write, self.cache_write.unwrap_or(self.input));
        MicroUsd(u64::try_from(total.div_ceil(1_000_000)).unwrap_or(u64::MAX))
    }
}

/// What is known about a model.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelInfo {
    /// As an operator names it: `provider/model`.
    pub name: ModelName,
    /// Tokens its prompt and answer may have together, where known.
    pub context_window: Option<u64>,
    /// What it costs, where known.
    pub price: Option<Price>,
}

/// A model that can be called.
pub trait Model: Send + Sync {
    /// What is known about it.
    fn info(&self) -> &ModelInfo;

    /// Begins a call. Nothing is sent before the stream is first polled; dropping the stream ends the call.
    fn call(&self, request: Arc<ModelRequest>) -> Box<dyn ModelStream>;
}

/// An answer being written.
#[async_trait]
pub trait ModelStream: Send {
    /// Waits for more of the answer and appends all that has arrived, at least one piece. After `Finish` or
    /// `Fault` it is not called again. Cancel-safe: dropping the future loses nothing.
    async fn next(&mut self, pieces: &mut Vec<Piece>);

    /// The model that answers now: another one after a fallback.
    fn model(&self) -> &ModelInfo;
}

/// All models an operator configured.
pub trait Models: Send + Sync {
    /// The model of this name.
    fn get(&self, name: &ModelName) -> Option<Arc<dyn Model>>;

    /// The model of this name, with others that answer, in order, when it cannot. Unknown ones are left out.
    fn get_with_fallbacks(&self, name: &ModelName, fallbacks: &[ModelName]) -> Option<Arc<dyn Model>> {
        self.get(name).or_else(|| fallbacks.iter().find_map(|fallback| self.get(fallback)))
    }

    /// Every known model, for lists.
    fn list(&self) -> Vec<ModelInfo>;
}
