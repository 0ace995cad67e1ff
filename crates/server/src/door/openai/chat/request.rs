//! The request of a completion.

use moongate_core::Ids;
use moongate_protocol::{Effect, Effort, NewInput, Overrides, ToolSpec};
use serde::Deserialize;
use serde_json::{Map, Value};

use crate::door::openai::{
    content::Content,
    conversation::{Collector, Conversation},
    failure::{Fault, Reply},
};

/// A request. What it does not name is a hint that is not followed: `top_p`, `seed`, penalties, `user`.
#[derive(Deserialize)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    messages: Vec<Message>,
    #[serde(default)]
    stream: Option<bool>,
    #[serde(default)]
    stream_options: Option<StreamOptions>,
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
struct StreamOptions {
    #[serde(default)]
    include_usage: bool,
}

#[derive(Deserialize)]
struct Settings {
    temperature: Option<f32>,
    max_tokens: Option<u32>,
    max_completion_tokens: Option<u32>,
    reasoning_effort: Option<String>,
}

/// What would change the answer and is not done: said so rather than left out.
#[derive(Deserialize)]
struct Refused {
    n: Option<u32>,
    stop: Option<Value>,
    logprobs: Option<bool>,
    response_format: Option<Typed>,
    modalities: Option<Vec<String>>,
    functions: Option<Vec<Value>>,
}

#[derive(Deserialize)]
struct Typed {
    #[serde(rename = "type")]
    kind: String,
}

/// A tool the client runs.
#[derive(Deserialize)]
struct Tool {
    #[serde(rename = "type")]
    kind: String,
    function: Option<Function>,
}

/// A function, as both APIs describe one.
#[derive(Deserialize)]
pub(in crate::door::openai) struct Function {
    pub(in crate::door::openai) name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    parameters: Option<Value>,
}

/// Which tools may be called. That one has to be called cannot be promised.
#[derive(Deserialize)]
#[serde(untagged)]
pub(in crate::door::openai) enum ToolChoice {
    Mode(String),
    Named(NamedTool),
}

#[derive(Deserialize)]
pub(in crate::door::openai) struct NamedTool {
    name: Option<String>,
    function: Option<Named>,
}

#[derive(Deserialize)]
struct Named {
    name: String,
}

#[derive(Deserialize)]
#[serde(tag = "role", rename_all = "lowercase")]
enum Message {
    #[serde(alias = "developer")]
    System {
        content: Content,
    },
    User {
        content: Content,
    },
    Assistant {
        #[serde(default)]
        content: Option<Content>,
        #[serde(default)]
        tool_calls: Option<Vec<Call>>,
    },
    Tool {
        content: Content,
        tool_call_id: String,
    },
}

#[derive(Deserialize)]
struct Call {
    id: String,
    function: CalledFunction,
}

#[derive(Deserialize)]
struct CalledFunction {
    name: String,
    #[serde(default)]
    arguments: String,
}

impl ChatRequest {
    /// Whether the answer is streamed, and whether its usage is.
    pub(super) fn streams(&self) -> (bool, bool) {
        let usage = self.stream_options.as_ref().is_some_and(|options| options.include_usage);
        (self.stream.unwrap_or(false), usage)
    }

    /// The conversation, and the input it becomes, without its words.
    pub(super) fn read(self, ids: &Ids) -> Reply<(Conversation, NewInput)> {
        self.refused.check()?;
        let mut collector = Collector::new(ids);
        for message in self.messages {
            message.collect(&mut collector)?;
        }
        let mut conversation = collector.finish()?;
        let functions = self.tools.unwrap_or_default().into_iter().map(Tool::into_function);
        let client_tools = specs(functions.collect::<Reply<_>>()?, self.tool_choice)?;
        let overrides = Overrides {
            effort: effort(self.settings.reasoning_effort.as_deref()),
            temperature: self.settings.temperature,
            max_output_tokens: self.settings.max_completion_tokens.or(self.settings.max_tokens),
            instructions: conversation.instructions.take(),
            ..Overrides::default()
        };
        Ok((conversation, NewInput { overrides, client_tools, ..NewInput::default() }))
    }
}

impl Message {
    fn collect(self, collector: &mut Collector<'_>) -> Reply<()> {
        match self {
            Self::System { content } => collector.instruct(content.into_text()?),
            Self::User { content } => {
                let parts = content.into_parts(&mut collector.attachments)?;
                collector.person(parts);
            }
            Self::Assistant { content, tool_calls } => {
                if let Some(content) = content {
                    let parts = content.into_parts(&mut collector.attachments)?;
                    collector.model(parts);
                }
                for call in tool_calls.unwrap_or_default() {
                    collector.call(&call.id, call.function.name, &call.function.arguments);
                }
            }
            Self::Tool { content, tool_call_id } => {
                let parts = content.into_parts(&mut collector.attachments)?;
                collector.result(&tool_call_id, parts)?;
            }
        }
        Ok(())
    }
}

impl Refused {
    fn check(&self) -> Reply<()> {
        let stops = match &self.stop {
            None | Some(Value::Null) => false,
            Some(Value::Array(list)) => !list.is_empty(),
            Some(_) => true,
        };
        let format = self.response_format.as_ref();
        let speaks = self.modalities.as_ref().is_some_and(|kinds| kinds.iter().any(|kind| kind != "text"));
        Fault::unless_done(&[
            ("n", self.n.is_some_and(|n| n != 1)),
            ("stop", stops),
            ("logprobs", self.logprobs == Some(true)),
            ("response_format", format.is_some_and(|format| format.kind != "text")),
            ("modalities", speaks),
            ("functions", self.functions.as_ref().is_some_and(|functions| !functions.is_empty())),
        ])
    }
}

impl Tool {
    fn into_function(self) -> Reply<Function> {
        let function = self.function.filter(|_| self.kind == "function");
        function.ok_or_else(|| Fault::unsupported("tools", "tools are functions"))
    }
}

/// The tools a client brings along.
pub(in crate::door::openai) fn specs(
    functions: Vec<Function>,
    choice: Option<ToolChoice>,
) -> Reply<Vec<ToolSpec>> {
    let only = match choice {
        Some(ToolChoice::Mode(mode)) if mode == "none" => return Ok(Vec::new()),
        Some(ToolChoice::Named(named)) => named.name.or(named.function.map(|function| function.name)),
        _ => None,
    };
    let wanted = |function: &Function| only.as_ref().is_none_or(|only| *only == function.name);
    functions.into_iter().filter(wanted).map(Function::into_spec).collect()
}

impl Function {
    fn into_spec(self) -> Reply<ToolSpec> {
        let name = self.name.parse().map_err(|_| {
            Fault::field(
                "tools",
                "a function's name has 1 to 128 letters, digits, underscores, dashes or dots",
            )
        })?;
        let parameters = self.parameters.filter(|schema| !schema.is_null());
        let parameters = parameters.unwrap_or_else(|| Value::Object(Map::new()));
        if !parameters.is_object() {
            return Err(Fault::field("tools", "a function's parameters are a JSON Schema"));
        }
        let description = self.description.unwrap_or_default();
        Ok(ToolSpec { name, description, parameters, effect: Effect::Effect })
    }
}

/// How much to think, in the providers' common words.
pub(in crate::door::openai) fn effort(text: Option<&str>) -> Option<Effort> {
    match text? {
        "none" | "minimal" => Some(Effort::Minimal),
        "low" => Some(Effort::Low),
        "medium" => Some(Effort::Medium),
        "high" | "xhigh" => Some(Effort::High),
        _ => None,
    }
}
