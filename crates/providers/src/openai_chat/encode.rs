//! Our request as a chat completions body.

use std::borrow::Cow;

use moongate_core::{ModelRequest, PromptMessage};
use moongate_protocol::{Effort, Part, ToolSpec};
use serde::{Serialize, Serializer};
use serde_json::value::{RawValue, to_raw_value};

use super::{EXTRA_CONTENT, REASONING_DETAILS};
use crate::{
    config::{EffortField, MaxTokensField},
    models::{is_openai_reasoning, openai_effort},
    prompt::{Arguments, CallNames, DataUrl, Media, Schema, ToolNames, read_parts, text_of},
    wire::{Encoded, Target},
};

/// Names this wire's form of a message.
const WIRE: &str = "openai-chat";

/// Writes a request.
pub(crate) fn encode(request: &ModelRequest, target: &Target<'_>) -> serde_json::Result<Encoded> {
    let names = ToolNames::new(&request.tools);
    let (settings, quirks) = (&request.settings, target.quirks);
    let effort = settings.effort.map(|effort| openai_effort(target.model, effort));
    let limit = |field| settings.max_output_tokens.filter(|_| quirks.max_tokens == field);
    let body = Body {
        model: target.model,
        messages: Writer { request, target, names: &names }.messages(),
        stream: true,
        stream_options: quirks.usage_option.then_some(StreamOptions { include_usage: true }),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool::Function { function: Function::new(tool, &names) })
            .collect(),
        max_tokens: limit(MaxTokensField::MaxTokens),
        max_completion_tokens: limit(MaxTokensField::MaxCompletionTokens),
        temperature: settings.temperature.filter(|_| !is_openai_reasoning(target.model)),
        reasoning_effort: effort.filter(|_| quirks.effort == EffortField::ReasoningEffort),
        reasoning: effort
            .filter(|_| quirks.effort == EffortField::ReasoningObject)
            .map(|effort| Reasoning { effort }),
        prompt_cache_key: request.cache_key.as_deref().filter(|_| quirks.cache_key),
    };
    let body = serde_json::to_vec(&body)?.into();
    Ok(Encoded { body, names })
}

#[derive(Serialize)]
struct Body<'a> {
    model: &'a str,
    messages: Vec<Line<'a>>,
    stream: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream_options: Option<StreamOptions>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    tools: Vec<Tool<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    max_completion_tokens: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    temperature: Option<f32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning_effort: Option<Effort>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reasoning: Option<Reasoning>,
    #[serde(skip_serializing_if = "Option::is_none")]
    prompt_cache_key: Option<&'a str>,
}

#[derive(Serialize)]
struct StreamOptions {
    include_usage: bool,
}

#[derive(Serialize)]
struct Reasoning {
    effort: Effort,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Tool<'a> {
    Function { function: Function<'a> },
}

#[derive(Serialize)]
struct Function<'a> {
    name: Cow<'a, str>,
    description: &'a str,
    parameters: Schema<'a>,
}

impl<'a> Function<'a> {
    fn new(tool: &'a ToolSpec, names: &'a ToolNames) -> Self {
        Self {
            name: names.theirs(tool.name.as_str()),
            description: &tool.description,
            parameters: Schema(&tool.parameters),
        }
    }
}

/// A message that was written before, or one that is written now.
#[derive(Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Written(&'a RawValue),
    New(Message<'a>),
}

#[derive(Serialize)]
#[serde(tag = "role", rename_all = "snake_case")]
enum Message<'a> {
    System {
        content: &'a str,
    },
    User {
        content: Content<'a>,
    },
    Assistant {
        content: Option<Cow<'a, str>>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_content: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        reasoning_details: Option<&'a RawValue>,
        #[serde(skip_serializing_if = "Vec::is_empty")]
        tool_calls: Vec<Call<'a>>,
    },
    Tool {
        tool_call_id: Cow<'a, str>,
        content: Cow<'a, str>,
    },
}

#[derive(Serialize)]
#[serde(untagged)]
enum Content<'a> {
    Text(Cow<'a, str>),
    Parts(Vec<ContentPart<'a>>),
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentPart<'a> {
    Text { text: Cow<'a, str> },
    ImageUrl { image_url: ImageUrl<'a> },
    File { file: FileData<'a> },
}

#[derive(Serialize)]
struct ImageUrl<'a> {
    url: DataUrl<'a>,
}

#[derive(Serialize)]
struct FileData<'a> {
    filename: &'a str,
    file_data: DataUrl<'a>,
}

impl<'a> From<Media<'a>> for ContentPart<'a> {
    fn from(media: Media<'a>) -> Self {
        match media {
            Media::Text(text) => Self::Text { text },
            Media::Image { media_type, bytes } => {
                Self::ImageUrl { image_url: ImageUrl { url: DataUrl { media_type, bytes } } }
            }
            Media::File { name, media_type, bytes } => {
                Self::File { file: FileData { filename: name, file_data: DataUrl { media_type, bytes } } }
            }
        }
    }
}

#[derive(Serialize)]
struct Call<'a> {
    id: Cow<'a, str>,
    #[serde(rename = "type")]
    kind: &'static str,
    function: CalledFunction<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    extra_content: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct CalledFunction<'a> {
    name: Cow<'a, str>,
    #[serde(serialize_with = "as_json_text")]
    arguments: Arguments<'a>,
}

/// JSON inside a JSON string, as this wire wants arguments.
fn as_json_text<S: Serializer>(arguments: &Arguments<'_>, serializer: S) -> Result<S::Ok, S::Error> {
    let text = serde_json::to_string(arguments).map_err(serde::ser::Error::custom)?;
    serializer.serialize_str(&text)
}

struct Writer<'a> {
    request: &'a ModelRequest,
    target: &'a Target<'a>,
    names: &'a ToolNames,
}

impl<'a> Writer<'a> {
    fn messages(&self) -> Vec<Line<'a>> {
        let mut messages = Vec::with_capacity(self.request.messages.len() + 1);
        if !self.request.system.is_empty() {
            messages.push(Line::New(Message::System { content: &self.request.system }));
        }
        let mut calls = CallNames::new(self.target.quirks.call_ids);
        // Tool messages hold text only; their images follow after the last of them.
        let mut images = Vec::new();
        for message in self.request.messages.iter() {
            if !matches!(***message, PromptMessage::ToolResult { .. }) {
                flush_images(&mut images, &mut messages);
            }
            if let Some(written) = message.encoded(WIRE, plain) {
                messages.push(Line::Written(written));
                continue;
            }
            match &***message {
                PromptMessage::User(parts) => messages.push(Line::New(self.user(parts))),
                PromptMessage::Assistant(parts) => {
                    messages.extend(self.assistant(parts, &mut calls).map(Line::New));
                }
                PromptMessage::ToolResult { call, is_error, content, .. } => {
                    let (content, more) = self.result(content, *is_error);
                    messages.push(Line::New(Message::Tool { tool_call_id: calls.result(call), content }));
                    images.extend(more);
                }
            }
        }
        flush_images(&mut images, &mut messages);
        messages
    }

    /// As one text where it is nothing but text: many endpoints take nothing else.
    fn user(&self, parts: &'a [Part]) -> Message<'a> {
        let media = read_parts(parts, self.request, self.target.quirks);
        let content = match joined(&media) {
            Some(text) => Content::Text(text),
            None => Content::Parts(media.into_iter().map(ContentPart::from).collect()),
        };
        Message::User { content }
    }

    /// `None` for a message of nothing but reasoning, which no provider takes.
    fn assistant(&self, parts: &'a [Part], calls: &mut CallNames<'a>) -> Option<Message<'a>> {
        calls.begin_message();
        let text = text_of(parts);
        let tool_calls: Vec<_> = parts
            .iter()
            .enumerate()
            .filter_map(|(at, part)| {
                let Part::ToolCall { call, tool, arguments, .. } = part else { return None };
                let before = at.checked_sub(1).and_then(|at| parts.get(at));
                Some(Call {
                    id: calls.call(call),
                    kind: "function",
                    function: CalledFunction {
                        name: self.names.theirs(tool),
                        arguments: Arguments(arguments),
                    },
                    extra_content: before.and_then(|part| self.attached(part, EXTRA_CONTENT)),
                })
            })
            .collect();
        if text.is_empty() && tool_calls.is_empty() {
            return None;
        }
        let wants_reasoning = self.target.quirks.reasoning_back && !tool_calls.is_empty();
        Some(Message::Assistant {
            content: (!text.is_empty() || self.target.quirks.empty_content).then_some(text),
            reasoning_details: parts.iter().find_map(|part| self.attached(part, REASONING_DETAILS)),
            reasoning_content: wants_reasoning.then(|| self.reasoning(parts)).filter(|text| !text.is_empty()),
            tool_calls,
        })
    }

    /// JSON this provider attached to its answer and wants back where it was.
    fn attached(&self, part: &'a Part, kind: &str) -> Option<&'a RawValue> {
        let Part::Reasoning { signature: Some(signature), .. } = part else { return None };
        let ours = signature.provider == self.target.mark && signature.id.as_deref() == Some(kind);
        ours.then(|| serde_json::from_str(&signature.data).ok()).flatten()
    }

    /// The reasoning of this same provider.
    fn reasoning(&self, parts: &[Part]) -> String {
        let of = |part: &Part| match part {
            Part::Reasoning { text, signature: Some(signature), .. }
                if signature.provider == self.target.mark =>
            {
                Some(text.clone())
            }
            _ => None,
        };
        parts.iter().filter_map(of).collect()
    }

    fn result(&self, content: &'a [Part], is_error: bool) -> (Cow<'a, str>, Vec<ContentPart<'a>>) {
        let mut text = Cow::Borrowed(if is_error { "Error: " } else { "" });
        let mut images = Vec::new();
        for media in read_parts(content, self.request, self.target.quirks) {
            let more = match media {
                Media::Text(more) => more,
                other => {
                    images.push(other.into());
                    Cow::Borrowed("[shown in the next message]")
                }
            };
            text = match text.is_empty() {
                true => more,
                false if text.ends_with(' ') => text + more,
                false => text + "\n\n" + more,
            };
        }
        (text, images)
    }
}

/// A message of one text is written the same way for every endpoint, model and call, so it is written once.
fn plain(message: &PromptMessage) -> Option<Box<RawValue>> {
    let (PromptMessage::User(parts) | PromptMessage::Assistant(parts)) = message else { return None };
    let [Part::Text { text }] = &parts[..] else { return None };
    if text.trim().is_empty() {
        return None;
    }
    let text = Cow::Borrowed(text.as_str());
    let written = match message {
        PromptMessage::User(_) => Message::User { content: Content::Text(text) },
        _ => Message::Assistant {
            content: Some(text),
            reasoning_content: None,
            reasoning_details: None,
            tool_calls: Vec::new(),
        },
    };
    to_raw_value(&written).ok()
}

/// All texts in one; `None` if there is anything else.
fn joined<'a>(media: &[Media<'a>]) -> Option<Cow<'a, str>> {
    let mut texts = media.iter().map(|it| if let Media::Text(text) = it { Some(text.clone()) } else { None });
    let first = texts.next()??;
    texts.try_fold(first, |all, text| Some(all + "\n\n" + text?))
}

fn flush_images<'a>(images: &mut Vec<ContentPart<'a>>, messages: &mut Vec<Line<'a>>) {
    if images.is_empty() {
        return;
    }
    let mut parts = vec![ContentPart::Text { text: Cow::Borrowed("From the tool results above:") }];
    parts.append(images);
    messages.push(Line::New(Message::User { content: Content::Parts(parts) }));
}
