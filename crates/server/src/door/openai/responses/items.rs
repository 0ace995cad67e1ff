//! Items: messages, reasoning, calls and their outputs, as both responses and conversations list them.

use moongate_core::{SessionHandle, limits::READ_BATCH};
use moongate_protocol::{Event, InputAccepted, ItemId, MessageCompleted, Part, Role, Seq, StopReason};
use serde::Serialize;

use crate::door::openai::{chat::arguments_text, failure::Reply, ids};

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
    items: Vec<Item>,
    /// Calls of which it is not known whose they are: the agent's own are run before their turn ends.
    unsure: Vec<(ItemId, String)>,
}

impl Items {
    /// The items of a log's events after `after`, up to and with `to`, oldest first.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub(in crate::door::openai) async fn between(
        session: &SessionHandle,
        mut after: Seq,
        to: Seq,
    ) -> Reply<Vec<Item>> {
        let mut items = Self::default();
        while after < to {
            let records = session.read(after, READ_BATCH).await?;
            let Some(last) = records.last() else { break };
            after = last.position().seq;
            let wanted = records.iter().filter(|record| record.position().seq <= to);
            wanted.filter_map(|record| record.envelope().ok()).for_each(|event| items.take(&event.event));
        }
        items.hide(|_| true);
        Ok(items.items)
    }

    /// Takes the log's next event.
    fn take(&mut self, event: &Event) {
        match event {
            Event::InputAccepted(input) => self.items.extend(said(input)),
            Event::InputWithdrawn(gone) => {
                let prefix = ids::input(gone.input, 0);
                let own = prefix.trim_end_matches('0').to_owned();
                self.items.retain(|item| !item.id().starts_with(&own));
            }
            Event::MessageCompleted(message) if message.role == Role::Assistant => self.model(message),
            Event::ToolCalled(called) => self.hide(|item| item == called.item),
            Event::ToolFinished(finished) => self.hide(|item| item == finished.item),
            Event::TurnCompleted(ended) if ended.stop_reason == StopReason::ToolUse => self.unsure.clear(),
            event if event.ends_turn().is_some() => self.hide(|_| true),
            _ => {}
        }
    }

    /// Takes calls out that are the agent's own.
    fn hide(&mut self, is_own: impl Fn(ItemId) -> bool) {
        for (_, id) in self.unsure.extract_if(.., |(item, _)| is_own(*item)) {
            self.items.retain(|item| item.id() != id);
        }
    }

    fn model(&mut self, message: &MessageCompleted) {
        let status = if message.partial { "incomplete" } else { "completed" };
        for part in &message.parts {
            if let Part::Reasoning { item, text, .. } = part
                && !text.is_empty()
            {
                let (id, summary) = (ids::item("rs_", *item), vec![Summary::of(text.clone())]);
                self.items.push(Item::Reasoning { id, summary, status });
            }
        }
        let text = Part::join_text(&message.parts);
        if !text.is_empty() {
            let (id, content) = (ids::item("msg_", message.item), vec![Content::said(text)]);
            self.items.push(Item::Message { id, status, role: "assistant", content });
        }
        for part in &message.parts {
            if let Part::ToolCall { item, call, tool, arguments } = part {
                let id = ids::item("fc_", *item);
                self.unsure.push((*item, id.clone()));
                let (call_id, name, arguments) = (call.to_string(), tool.clone(), arguments_text(arguments));
                self.items.push(Item::FunctionCall { id, call_id, name, arguments, status: "completed" });
            }
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
