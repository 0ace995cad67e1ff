//! Our request as a Responses body.

use std::borrow::Cow;

use moongate_core::{ModelRequest, PromptMessage};
use moongate_protocol::Part;

use super::body::{Body, Content, Item, Output, Reasoning, Summary, Tool};
use crate::{
    models::{is_openai_reasoning, openai_effort},
    prompt::{Arguments, CallNames, Media, Schema, ToolNames, read_parts},
    wire::{Encoded, Target},
};

/// Asks for reasoning in the form that can be given back without the provider storing it.
const ENCRYPTED_REASONING: &[&str] = &["reasoning.encrypted_content"];

/// Writes a request.
pub(crate) fn encode(request: &ModelRequest, target: &Target<'_>) -> serde_json::Result<Encoded> {
    let names = ToolNames::new(&request.tools);
    let settings = &request.settings;
    // Models that do not think refuse to be asked for their thoughts.
    let is_fast_chat = target.model.starts_with("gpt-") || target.model.starts_with("chatgpt-");
    let thinks = is_openai_reasoning(target.model) || !is_fast_chat;
    let body = Body {
        model: target.model,
        instructions: &request.system,
        input: Writer { request, target, names: &names }.items(),
        tools: request
            .tools
            .iter()
            .map(|tool| Tool::Function {
                name: names.theirs(tool.name.as_str()),
                description: &tool.description,
                parameters: Schema(&tool.parameters),
                strict: false,
            })
            .collect(),
        stream: true,
        store: false,
        include: if thinks { ENCRYPTED_REASONING } else { &[] },
        reasoning: settings
            .effort
            .map(|effort| Reasoning { effort: openai_effort(target.model, effort), summary: "auto" }),
        temperature: settings.temperature.filter(|_| !is_openai_reasoning(target.model)),
        max_output_tokens: settings.max_output_tokens,
        prompt_cache_key: request.cache_key.as_deref().filter(|_| target.quirks.cache_key),
    };
    let body = serde_json::to_vec(&body)?.into();
    Ok(Encoded { body, names })
}

struct Writer<'a> {
    request: &'a ModelRequest,
    target: &'a Target<'a>,
    names: &'a ToolNames,
}

impl<'a> Writer<'a> {
    fn items(&self) -> Vec<Item<'a>> {
        let mut items = Vec::with_capacity(self.request.messages.len());
        let mut calls = CallNames::new(self.target.quirks.call_ids);
        for message in self.request.messages.iter() {
            match &***message {
                PromptMessage::User(parts) => {
                    let content = self.media(parts).into_iter().map(Content::from).collect();
                    items.push(Item::Message { role: "user", content });
                }
                PromptMessage::Assistant(parts) => self.assistant(parts, &mut calls, &mut items),
                PromptMessage::ToolResult { call, is_error, content, .. } => {
                    let output = output(self.media(content), *is_error);
                    items.push(Item::FunctionCallOutput { call_id: calls.result(call), output });
                }
            }
        }
        items
    }

    fn media(&self, parts: &'a [Part]) -> Vec<Media<'a>> {
        read_parts(parts, self.request, self.target.quirks)
    }

    fn assistant(&self, parts: &'a [Part], calls: &mut CallNames<'a>, items: &mut Vec<Item<'a>>) {
        calls.begin_message();
        // Reasoning that led to nothing is refused.
        let last = parts.iter().rposition(|part| !matches!(part, Part::Reasoning { .. }));
        for part in parts.iter().take(last.map_or(0, |last| last + 1)) {
            items.extend(match part {
                Part::Text { text } if !text.trim().is_empty() => {
                    Some(Item::Message { role: "assistant", content: vec![Content::OutputText { text }] })
                }
                Part::ToolCall { call, tool, arguments, .. } => Some(Item::FunctionCall {
                    call_id: calls.call(call),
                    name: self.names.theirs(tool),
                    arguments: Arguments(arguments),
                }),
                Part::Reasoning { text, .. } => self.reasoning(part, text),
                _ => None,
            });
        }
    }

    /// A reasoning block of this same provider.
    fn reasoning(&self, part: &'a Part, text: &'a str) -> Option<Item<'a>> {
        let Part::Reasoning { signature: Some(signature), .. } = part else { return None };
        if signature.provider != self.target.mark || signature.data.is_empty() {
            return None;
        }
        Some(Item::Reasoning {
            id: signature.id.as_deref()?,
            summary: (!text.is_empty()).then_some(Summary::SummaryText { text }).into_iter().collect(),
            encrypted_content: &signature.data,
        })
    }
}

fn output(mut media: Vec<Media<'_>>, is_error: bool) -> Output<'_> {
    if is_error {
        media.insert(0, Media::Text(Cow::Borrowed("Error:")));
    }
    let all_text = media.iter().all(|it| matches!(it, Media::Text(_)));
    if !all_text {
        return Output::Parts(media.into_iter().map(Content::from).collect());
    }
    let mut texts =
        media.into_iter().filter_map(|it| if let Media::Text(text) = it { Some(text) } else { None });
    let first = texts.next().unwrap_or_default();
    Output::Text(texts.fold(first, |all, text| all + "\n\n" + text))
}
