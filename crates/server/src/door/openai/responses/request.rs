//! The request of a response, by HTTP or as a frame of a WebSocket.

use std::collections::BTreeMap;

use moongate_core::Ids;
use moongate_protocol::{Metadata, NewInput, Overrides};
use serde::Deserialize;
use serde_json::Value;

use super::labels;
use crate::door::openai::{
    chat::{Function, ToolChoice, effort, specs},
    content::Content,
    conversation::{Collector, Conversation},
    failure::{Fault, Reply},
};

/// A request. What it does not name is a hint that is not followed, as `top_p` or `truncation`.
#[derive(Deserialize)]
pub(super) struct ResponseRequest {
    pub(super) model: Option<String>,
    #[serde(default)]
    pub(super) stream: Option<bool>,
    #[serde(default)]
    pub(super) store: Option<bool>,
    #[serde(default)]
    pub(super) background: Option<bool>,
    pub(super) previous_response_id: Option<String>,
    #[serde(default)]
    conversation: Option<ConversationRef>,
    #[serde(default)]
    input: Option<Input>,
    instructions: Option<String>,
    #[serde(default)]
    tools: Option<Vec<Tool>>,
    #[serde(default)]
    tool_choice: Option<ToolChoice>,
    #[serde(flatten)]
    settings: Settings,
    #[serde(flatten)]
    refused: Refused,
}

#[derive(Deserialize)]
struct Settings {
    temperature: Option<f32>,
    max_output_tokens: Option<u32>,
    reasoning: Option<Reasoning>,
    metadata: Option<BTreeMap<String, String>>,
}

#[derive(Deserialize)]
struct Reasoning {
    effort: Option<String>,
}

/// What would change the answer and is not done: said so rather than left out.
#[derive(Deserialize)]
struct Refused {
    text: Option<Text>,
    prompt: Option<Value>,
}

#[derive(Deserialize)]
struct Text {
    format: Option<Typed>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum ConversationRef {
    Id(String),
    Object { id: String },
}

/// What is said: a text, or items.
#[derive(Deserialize)]
#[serde(untagged)]
enum Input {
    Text(String),
    Items(Vec<Item>),
}

/// One item of an input. A message needs no type.
#[derive(Deserialize)]
#[serde(untagged)]
pub(in crate::door::openai) enum Item {
    Typed(TypedItem),
    Message(Message),
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(in crate::door::openai) enum TypedItem {
    Message(Message),
    FunctionCall {
        call_id: String,
        name: String,
        arguments: String,
    },
    FunctionCallOutput {
        call_id: String,
        output: Content,
    },
    /// A model's reasoning, of which only its provider could make use.
    Reasoning,
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(in crate::door::openai) struct Message {
    role: Role,
    content: Content,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Role {
    User,
    Assistant,
    #[serde(alias = "developer")]
    System,
}

#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    #[serde(flatten)]
    function: Option<Function>,
}

impl ResponseRequest {
    /// The conversation it belongs to.
    pub(super) fn conversation(&self) -> Option<&str> {
        self.conversation.as_ref().map(|conversation| match conversation {
            ConversationRef::Id(id) | ConversationRef::Object { id } => id.as_str(),
        })
    }

    /// What is said, and the input it becomes, without its words.
    pub(super) fn read(self, ids: &Ids) -> Reply<(Conversation, NewInput)> {
        self.refused.check()?;
        let mut labels: Metadata = self.settings.metadata.unwrap_or_default();
        labels::seal(&mut labels);
        let label = |labels: &mut Metadata, name: &str, value: String| labels.insert(name.to_owned(), value);
        if let Some(model) = &self.model {
            label(&mut labels, labels::MODEL, model.clone());
        }
        if let Some(previous) = &self.previous_response_id {
            label(&mut labels, labels::PREVIOUS, previous.clone());
        }
        if self.background == Some(true) {
            label(&mut labels, labels::BACKGROUND, "true".into());
        }
        if self.conversation.is_some() {
            label(&mut labels, labels::CONVERSATION, "true".into());
        }
        let mut collector = Collector::new(ids);
        collector.instruct(self.instructions.unwrap_or_default());
        match self.input {
            Some(Input::Text(text)) => collector.person(vec![moongate_protocol::Part::Text { text }]),
            Some(Input::Items(items)) => collect(items, &mut collector)?,
            None => {}
        }
        let mut conversation = collector.finish()?;
        let functions = self.tools.unwrap_or_default().into_iter().filter_map(Tool::into_function);
        let client_tools = specs(functions.collect(), self.tool_choice)?;
        let settings = self.settings.reasoning.and_then(|reasoning| reasoning.effort);
        let overrides = Overrides {
            effort: effort(settings.as_deref()),
            temperature: self.settings.temperature,
            max_output_tokens: self.settings.max_output_tokens,
            instructions: conversation.instructions.take(),
            ..Overrides::default()
        };
        Ok((conversation, NewInput { overrides, client_tools, metadata: labels, ..NewInput::default() }))
    }
}

/// Reads items into a conversation.
pub(in crate::door::openai) fn collect(items: Vec<Item>, collector: &mut Collector<'_>) -> Reply<()> {
    for item in items {
        match item {
            Item::Message(message) | Item::Typed(TypedItem::Message(message)) => {
                message.collect(collector)?;
            }
            Item::Typed(TypedItem::FunctionCall { call_id, name, arguments }) => {
                collector.call(&call_id, name, &arguments);
            }
            Item::Typed(TypedItem::FunctionCallOutput { call_id, output }) => {
                let parts = output.into_parts(&mut collector.attachments)?;
                collector.result(&call_id, parts)?;
            }
            Item::Typed(TypedItem::Reasoning) => {}
            Item::Typed(TypedItem::Other) => {
                let message = "items are messages, function calls and their outputs";
                return Err(Fault::field("input", message));
            }
        }
    }
    Ok(())
}

impl Message {
    fn collect(self, collector: &mut Collector<'_>) -> Reply<()> {
        match self.role {
            Role::System => collector.instruct(self.content.into_text()?),
            Role::User => {
                let parts = self.content.into_parts(&mut collector.attachments)?;
                collector.person(parts);
            }
            Role::Assistant => {
                let parts = self.content.into_parts(&mut collector.attachments)?;
                collector.model(parts);
            }
        }
        Ok(())
    }
}

impl Refused {
    fn check(&self) -> Reply<()> {
        let format = self.text.as_ref().and_then(|text| text.format.as_ref());
        Fault::unless_done(&[
            ("text.format", format.is_some_and(|format| format.kind != "text")),
            ("prompt", self.prompt.as_ref().is_some_and(|prompt| !prompt.is_null())),
        ])
    }
}

impl Tool {
    /// The function it is. What OpenAI runs itself is not there to be offered: programs name it whoever answers.
    fn into_function(self) -> Option<Function> {
        self.function.filter(|_| self.kind == "function")
    }
}
