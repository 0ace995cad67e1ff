//! Items: messages, reasoning, calls and their outputs, as both responses and conversations list them.

use std::collections::BTreeSet;

use moongate_protocol::{Event, InputAccepted, MessageCompleted, Part, Role};
use serde::Serialize;

use crate::door::openai::{chat::arguments_text, ids};

/// One item.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::door::openai) enum Item {
    Message { id: String, status: &'static str, role: &'static str, content: Vec<Content> },
    Reasoning { id: String, summary: Vec<Summary>, status: &'static str },
    FunctionCall { id: String, call_id: String, name: String, arguments: String, status: &'static str },
    FunctionCallOutput { id: String, call_id: String, output: String, status: &'static str },
}

/// A piece of a message.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::door::openai) enum Content {
    OutputText { text: String, annotations: [(); 0], logprobs: [(); 0] },
    InputText { text: String },
    InputImage { detail: &'static str, file_id: Option<()>, image_url: Option<()> },
    InputFile { filename: String },
}

/// A piece of a reasoning block.
#[derive(Clone, Debug, Serialize)]
pub(in crate::door::openai) struct Summary {
    #[serde(rename = "type")]
    pub(in crate::door::openai) kind: &'static str,
    pub(in crate::door::openai) text: String,
}

impl Content {
    /// A model's text.
    pub(super) fn said(text: String) -> Self {
        Self::OutputText { text, annotations: [], logprobs: [] }
    }
}

impl Summary {
    pub(super) fn of(text: String) -> Self {
        Self { kind: "summary_text", text }
    }
}

impl Item {
    /// The item's id.
    pub(in crate::door::openai) fn id(&self) -> &str {
        match self {
            Self::Message { id, .. }
            | Self::Reasoning { id, .. }
            | Self::FunctionCall { id, .. }
            | Self::FunctionCallOutput { id, .. } => id,
        }
    }
}

/// A fold of a log to its items. Calls of tools that are not the client's are not among them.
#[derive(Default)]
pub(in crate::door::openai) struct Items {
    pub(in crate::door::openai) items: Vec<Item>,
    /// Tools clients ran so far.
    tools: BTreeSet<String>,
}

impl Items {
    /// Takes the log's next event.
    pub(in crate::door::openai) fn take(&mut self, event: &Event) {
        match event {
            Event::InputAccepted(input) => {
                self.tools.extend(input.client_tools.iter().map(|tool| tool.name.to_string()));
                self.items.extend(said(input));
            }
            Event::InputWithdrawn(gone) => {
                let prefix = ids::input(gone.input, 0);
                let own = prefix.trim_end_matches('0').to_owned();
                self.items.retain(|item| !item.id().starts_with(&own));
            }
            Event::MessageCompleted(message) if message.role == Role::Assistant => self.model(message),
            _ => {}
        }
    }

    fn model(&mut self, message: &MessageCompleted) {
        let status = if message.partial { "incomplete" } else { "completed" };
        for part in &message.parts {
            match part {
                Part::Reasoning { item, text, .. } if !text.is_empty() => self.items.push(Item::Reasoning {
                    id: ids::item("rs_", *item),
                    summary: vec![Summary::of(text.clone())],
                    status,
                }),
                Part::ToolCall { item, call, tool, arguments } if self.tools.contains(tool) => {
                    self.items.push(Item::FunctionCall {
                        id: ids::item("fc_", *item),
                        call_id: call.to_string(),
                        name: tool.clone(),
                        arguments: arguments_text(arguments),
                        status: "completed",
                    });
                }
                _ => {}
            }
        }
        let text = Part::join_text(&message.parts);
        if !text.is_empty() {
            let (id, content) = (ids::item("msg_", message.item), vec![Content::said(text)]);
            self.items.push(Item::Message { id, status, role: "assistant", content });
        }
    }
}

/// What a person said: one message, and an output for each result.
pub(super) fn said(input: &InputAccepted) -> Vec<Item> {
    let mut items = Vec::new();
    let mut content = Vec::new();
    for (at, part) in input.parts.iter().enumerate() {
        match part {
            Part::Text { text } => content.push(Content::InputText { text: text.clone() }),
            Part::Image { .. } => {
                content.push(Content::InputImage { detail: "auto", file_id: None, image_url: None });
            }
            Part::File { name, .. } => content.push(Content::InputFile { filename: name.clone() }),
            Part::ToolResult { call, content, .. } => items.push(Item::FunctionCallOutput {
                id: ids::input(input.input, at + 1),
                call_id: call.to_string(),
                output: Part::join_text(content),
                status: "completed",
            }),
            Part::Reasoning { .. } | Part::ToolCall { .. } => {}
        }
    }
    if !content.is_empty() {
        let id = ids::input(input.input, 0);
        items.push(Item::Message { id, status: "completed", role: "user", content });
    }
    items
}
