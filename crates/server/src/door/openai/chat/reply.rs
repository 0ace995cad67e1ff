//! A completion: streamed as chunks, or whole.

use bytes::BytesMut;
use http::StatusCode;
use moongate_core::Frame;
use moongate_protocol::{Event, InputId, ItemId, MessageCompleted, Part, StopReason, ToolName, UsageTotal};
use serde::Serialize;

use crate::{
    door::openai::{
        failure::{Body, Fault, Info, Reply},
        run::Fold,
        stream::{Tale, add},
        watch::{Step, Watch},
    },
    reply::Failure,
};

/// What every chunk and the whole completion begin with.
#[derive(Clone, Debug)]
pub(super) struct Head {
    pub(super) id: String,
    pub(super) created: i64,
    pub(super) model: String,
    pub(super) include_usage: bool,
}

/// The fold of a turn to a completion.
pub(super) struct Completion {
    head: Head,
    watch: Watch,
    answer: Answer,
    /// Tools the client runs: only their calls are shown.
    tools: Vec<ToolName>,
}

/// What was said so far.
#[derive(Default)]
struct Answer {
    text: String,
    reasoning: String,
    calls: Vec<Call>,
    /// The message the text is of: another one's text begins a paragraph.
    speaks: Option<ItemId>,
    finish: Option<Finish>,
    usage: UsageTotal,
}

/// How the turn ended.
enum Finish {
    Stopped(&'static str),
    Failed(Fault),
}

#[derive(Clone, Debug, Serialize)]
struct Call {
    #[serde(skip_serializing_if = "Option::is_none")]
    index: Option<usize>,
    id: String,
    #[serde(rename = "type")]
    kind: &'static str,
    function: Called,
}

#[derive(Clone, Debug, Serialize)]
struct Called {
    name: String,
    arguments: String,
}

#[derive(Serialize)]
struct Chunk<'a> {
    id: &'a str,
    object: &'static str,
    created: i64,
    model: &'a str,
    choices: Vec<ChunkChoice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct ChunkChoice<'a> {
    index: u8,
    delta: Delta<'a>,
    logprobs: Option<()>,
    finish_reason: Option<&'static str>,
}

#[derive(Default, Serialize)]
struct Delta<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<&'a str>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    tool_calls: &'a [Call],
}

/// A whole completion.
#[derive(Serialize)]
pub(super) struct Whole {
    id: String,
    object: &'static str,
    created: i64,
    model: String,
    choices: [Choice; 1],
    usage: Usage,
}

#[derive(Serialize)]
struct Choice {
    index: u8,
    message: Message,
    logprobs: Option<()>,
    finish_reason: &'static str,
}

#[derive(Serialize)]
struct Message {
    role: &'static str,
    content: Option<String>,
    refusal: Option<()>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_content: Option<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tool_calls: Vec<Call>,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Clone, Copy, Debug, Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl Completion {
    pub(super) fn new(input: InputId, head: Head, tools: Vec<ToolName>) -> Self {
        Self { head, watch: Watch::new(input), answer: Answer::default(), tools }
    }

    /// The completion of a turn that is over.
    ///
    /// # Errors
    /// Why the turn failed.
    pub(super) fn whole(self) -> Reply<Whole> {
        let Answer { text, reasoning, mut calls, finish, usage, .. } = self.answer;
        let finish_reason = match finish {
            Some(Finish::Stopped(reason)) => reason,
            Some(Finish::Failed(fault)) => return Err(fault),
            None => "stop",
        };
        calls.iter_mut().for_each(|call| call.index = None);
        let content = (!text.is_empty() || calls.is_empty()).then_some(text);
        let reasoning_content = (!reasoning.is_empty()).then_some(reasoning);
        let message =
            Message { role: "assistant", content, refusal: None, reasoning_content, tool_calls: calls };
        Ok(Whole {
            id: self.head.id,
            object: "chat.completion",
            created: self.head.created,
            model: self.head.model,
            choices: [Choice { index: 0, message, logprobs: None, finish_reason }],
            usage: usage.into(),
        })
    }

    fn advance(&mut self, frame: &Frame, out: &mut BytesMut) -> bool {
        let Self { head, watch, answer, tools } = self;
        watch.take(frame, |step| answer.take(step, head, tools, out))
    }
}

impl Fold for Completion {
    fn take(&mut self, frame: &Frame) -> bool {
        self.advance(frame, &mut BytesMut::new())
    }
}

impl Tale for Completion {
    fn begin(&mut self, out: &mut BytesMut) {
        self.head.chunk(Delta { role: Some("assistant"), content: Some(""), ..Delta::default() }, None, out);
    }

    fn take(&mut self, frame: &Frame, out: &mut BytesMut) -> bool {
        let over = self.advance(frame, out);
        if !over {
            return false;
        }
        match &self.answer.finish {
            Some(Finish::Failed(fault)) => self.head.fail(fault.info(), out),
            Some(Finish::Stopped(reason)) => {
                self.head.chunk(Delta::default(), Some(reason), out);
                if self.head.include_usage {
                    self.head.write(Vec::new(), Some(self.answer.usage.into()), out);
                }
                out.extend_from_slice(b"data: [DONE]\n\n");
            }
            None => {}
        }
        true
    }

    fn break_off(&mut self, fault: &Fault, out: &mut BytesMut) {
        self.head.fail(fault.info(), out);
    }
}

impl Head {
    fn chunk(&self, delta: Delta<'_>, finish_reason: Option<&'static str>, out: &mut BytesMut) {
        self.write(vec![ChunkChoice { index: 0, delta, logprobs: None, finish_reason }], None, out);
    }

    fn write(&self, choices: Vec<ChunkChoice<'_>>, usage: Option<Usage>, out: &mut BytesMut) {
        let (id, model, created) = (&*self.id, &*self.model, self.created);
        add(None, &Chunk { id, object: "chat.completion.chunk", created, model, choices, usage }, out);
    }

    fn fail(&self, error: Info, out: &mut BytesMut) {
        add(None, &Body { error }, out);
    }
}

impl Answer {
    fn take(&mut self, step: &Step<'_>, head: &Head, tools: &[ToolName], out: &mut BytesMut) {
        match *step {
            Step::Reasoning(_, text) => {
                self.reasoning.push_str(text);
                head.chunk(Delta { reasoning_content: Some(text), ..Delta::default() }, None, out);
            }
            Step::Text(item, text) => self.say(item, text, head, out),
            Step::Message(message) => self.call(message, head, tools, out),
            Step::End(event, _) => self.end(event),
            Step::Accepted(..) | Step::Started(_) | Step::Resumed(_) => {}
        }
    }

    fn say(&mut self, item: ItemId, text: &str, head: &Head, out: &mut BytesMut) {
        let begins = self.speaks.replace(item) != Some(item);
        let from = self.text.len();
        if begins && from > 0 {
            self.text.push_str("\n\n");
        }
        self.text.push_str(text);
        head.chunk(Delta { content: Some(&self.text[from..]), ..Delta::default() }, None, out);
    }

    fn call(&mut self, message: &MessageCompleted, head: &Head, tools: &[ToolName], out: &mut BytesMut) {
        for part in &message.parts {
            let Part::ToolCall { call, tool, arguments, .. } = part else { continue };
            if !tools.iter().any(|known| known.as_str() == tool) {
                continue;
            }
            let function = Called { name: tool.clone(), arguments: arguments_text(arguments) };
            let index = Some(self.calls.len());
            self.calls.push(Call { index, id: call.to_string(), kind: "function", function });
            let last = &self.calls[self.calls.len() - 1..];
            head.chunk(Delta { tool_calls: last, ..Delta::default() }, None, out);
        }
    }

    fn end(&mut self, event: &Event) {
        let finish = match event {
            Event::TurnCompleted(ended) => {
                self.usage = ended.usage;
                Finish::Stopped(match ended.stop_reason {
                    StopReason::ToolUse => "tool_calls",
                    StopReason::MaxTokens => "length",
                    StopReason::Refusal => "content_filter",
                    _ => "stop",
                })
            }
            Event::TurnFailed(failed) => {
                self.usage = failed.usage;
                Finish::Failed(Failure::new(failed.code, failed.message.clone()).into())
            }
            // Stopped by somebody else who sees the session: what was said is what there is.
            Event::TurnCancelled(cancelled) if !self.text.is_empty() => {
                self.usage = cancelled.usage;
                Finish::Stopped("stop")
            }
            _ => {
                let message = "the request was cancelled before there was an answer";
                Finish::Failed(Fault::known(StatusCode::BAD_REQUEST, "cancelled", message))
            }
        };
        self.finish = Some(finish);
    }
}

/// Arguments as the text OpenAI has them in.
pub(in crate::door::openai) fn arguments_text(arguments: &serde_json::Value) -> String {
    match arguments {
        serde_json::Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

impl From<UsageTotal> for Usage {
    fn from(usage: UsageTotal) -> Self {
        let tokens = usage.tokens;
        Self {
            prompt_tokens: tokens.input,
            completion_tokens: tokens.output,
            total_tokens: tokens.input.saturating_add(tokens.output),
            prompt_tokens_details: PromptDetails { cached_tokens: tokens.cache_read },
            completion_tokens_details: CompletionDetails { reasoning_tokens: tokens.reasoning },
        }
    }
}
