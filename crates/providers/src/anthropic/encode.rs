//! Our request as a Messages body.

use std::borrow::Cow;

use moongate_core::{ModelRequest, PromptMessage};
use moongate_protocol::{Effort, Part};

use super::{
    REDACTED,
    body::{Block, BlockKind, Body, CacheControl, Message, OutputConfig, Role, Thinking, Tool},
};
use crate::{
    models::{ClaudeThinking, claude_budget, claude_output_tokens, claude_thinking},
    prompt::{Arguments, CallNames, Schema, ToolNames, read_parts},
    wire::{Encoded, Target},
};

/// How many of the newest user messages are marked for the cache: the newest, so that the next call finds
/// it, and the one before, which the last call marked.
const CACHED_MESSAGES: usize = 2;

/// Writes a request.
pub(crate) fn encode(request: &ModelRequest, target: &Target<'_>) -> serde_json::Result<Encoded> {
    let names = ToolNames::new(&request.tools);
    let messages = Writer { request, target, names: &names }.messages();
    let settings = &request.settings;
    let effort = settings.effort.filter(|_| may_think(&messages));
    let mut max_tokens = settings.max_output_tokens.unwrap_or_else(|| claude_output_tokens(target.model));
    let (thinking, output_config) = thinking(target.model, effort);
    if let Some(Thinking::Enabled { budget_tokens }) = thinking {
        // The budget is a part of the answer's tokens and has to leave room for the answer itself.
        max_tokens = max_tokens.max(budget_tokens.saturating_add(1024));
    }
    let body = Body {
        model: target.model,
        max_tokens,
        system: system(&request.system),
        messages,
        tools: tools(request, &names),
        stream: true,
        // A thinking model takes none.
        temperature: settings.temperature.filter(|_| thinking.is_none()).map(|t| t.min(1.0)),
        thinking,
        output_config,
    };
    let body = serde_json::to_vec(&body)?.into();
    Ok(Encoded { body, names })
}

fn thinking(model: &str, effort: Option<Effort>) -> (Option<Thinking>, Option<OutputConfig>) {
    let Some(effort) = effort else { return (None, None) };
    match claude_thinking(model) {
        ClaudeThinking::None => (None, None),
        ClaudeThinking::Budget => (Some(Thinking::Enabled { budget_tokens: claude_budget(effort) }), None),
        ClaudeThinking::Adaptive => {
            let effort = if effort == Effort::Minimal { Effort::Low } else { effort };
            (Some(Thinking::Adaptive { display: "summarized" }), Some(OutputConfig { effort }))
        }
    }
}

/// A turn that already called tools without thinking (another model began it) must go on without.
fn may_think(messages: &[Message<'_>]) -> bool {
    let of_this_turn = messages.iter().rev().take_while(|message| {
        message.role == Role::Assistant
            || message.content.iter().any(|block| matches!(block.kind, BlockKind::ToolResult { .. }))
    });
    let thinks = |block: &Block<'_>| {
        matches!(block.kind, BlockKind::Thinking { .. } | BlockKind::RedactedThinking { .. })
    };
    of_this_turn
        .filter(|message| message.role == Role::Assistant)
        .all(|message| message.content.first().is_some_and(thinks))
}

fn system(text: &str) -> Vec<Block<'_>> {
    if text.trim().is_empty() {
        return Vec::new();
    }
    let kind = BlockKind::Text { text: Cow::Borrowed(text) };
    vec![Block { kind, cache_control: Some(CacheControl::Ephemeral) }]
}

fn tools<'a>(request: &'a ModelRequest, names: &'a ToolNames) -> Vec<Tool<'a>> {
    let mut tools: Vec<_> = request
        .tools
        .iter()
        .map(|tool| Tool {
            name: names.theirs(tool.name.as_str()),
            description: &tool.description,
            input_schema: Schema(&tool.parameters),
            cache_control: None,
        })
        .collect();
    if let Some(last) = tools.last_mut() {
        last.cache_control = Some(CacheControl::Ephemeral);
    }
    tools
}

struct Writer<'a> {
    request: &'a ModelRequest,
    target: &'a Target<'a>,
    names: &'a ToolNames,
}

impl<'a> Writer<'a> {
    fn messages(&self) -> Vec<Message<'a>> {
        let mut messages: Vec<Message<'a>> = Vec::with_capacity(self.request.messages.len());
        let mut calls = CallNames::new(self.target.quirks.call_ids);
        for message in self.request.messages.iter() {
            let (role, content) = match &***message {
                PromptMessage::User(parts) => (Role::User, self.media(parts)),
                PromptMessage::Assistant(parts) => (Role::Assistant, self.assistant(parts, &mut calls)),
                PromptMessage::ToolResult { call, is_error, content, .. } => {
                    let (tool_use_id, content) = (calls.result(call), self.media(content));
                    let kind = BlockKind::ToolResult { tool_use_id, content, is_error: *is_error };
                    (Role::User, vec![kind.into()])
                }
            };
            match messages.last_mut() {
                Some(last) if last.role == role => last.content.extend(content),
                _ if content.is_empty() => {}
                _ => messages.push(Message { role, content }),
            }
        }
        let users = messages.iter_mut().rev().filter(|message| message.role == Role::User);
        for message in users.take(CACHED_MESSAGES) {
            if let Some(block) = message.content.last_mut() {
                block.cache_control = Some(CacheControl::Ephemeral);
            }
        }
        messages
    }

    fn media(&self, parts: &'a [Part]) -> Vec<Block<'a>> {
        read_parts(parts, self.request, self.target.quirks).into_iter().map(Block::from).collect()
    }

    /// Empty for a message of nothing but reasoning, which the provider does not take.
    fn assistant(&self, parts: &'a [Part], calls: &mut CallNames<'a>) -> Vec<Block<'a>> {
        calls.begin_message();
        let Some(last) = parts.iter().rposition(|part| match part {
            Part::Text { text } => !text.trim().is_empty(),
            Part::ToolCall { .. } => true,
            _ => false,
        }) else {
            return Vec::new();
        };
        let kinds = parts[..=last].iter().filter_map(|part| match part {
            Part::Text { text } if !text.trim().is_empty() => {
                Some(BlockKind::Text { text: Cow::Borrowed(text.trim_end()) })
            }
            Part::ToolCall { call, tool, arguments, .. } => Some(BlockKind::ToolUse {
                id: calls.call(call),
                name: self.names.theirs(tool),
                input: Arguments(arguments),
            }),
            Part::Reasoning { text, signature: Some(signature), .. }
                if signature.provider == self.target.mark =>
            {
                Some(match signature.id.as_deref() {
                    Some(REDACTED) => BlockKind::RedactedThinking { data: &signature.data },
                    _ => BlockKind::Thinking { thinking: text, signature: &signature.data },
                })
            }
            _ => None,
        });
        kinds.map(Block::from).collect()
    }
}
