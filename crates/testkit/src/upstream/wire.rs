//! The same answer in each provider's words.

use serde_json::{Value, json};

/// A provider's way to speak.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// OpenAI chat completions.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
}

impl Dialect {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic];

    pub(super) fn of_path(path: &str) -> Option<Self> {
        let by_end = [
            ("/chat/completions", Self::OpenAiChat),
            ("/responses", Self::OpenAiResponses),
            ("/messages", Self::Anthropic),
        ];
        by_end.into_iter().find(|(end, _)| path.ends_with(end)).map(|(_, dialect)| dialect)
    }
}

/// One thing a model says.
#[derive(Clone, Debug, PartialEq)]
pub enum Said {
    /// Text, in one delta a word.
    Text(String),
    /// A tool call, its arguments in two deltas.
    Call {
        /// The tool.
        tool: String,
        /// Its arguments.
        arguments: Value,
    },
}

impl Said {
    /// A tool call.
    pub fn call(tool: &str, arguments: Value) -> Self {
        Self::Call { tool: tool.into(), arguments }
    }
}

/// Tokens of every prompt and of every answer.
const TOKENS: (u64, u64) = (11, 7);

/// A whole stream that says this and ends well.
pub(super) fn stream(dialect: Dialect, says: &[Said]) -> String {
    let calls = says.iter().any(|said| matches!(said, Said::Call { .. }));
    match dialect {
        Dialect::OpenAiChat => chat(says, calls),
        Dialect::OpenAiResponses => responses(says),
        Dialect::Anthropic => anthropic(says, calls),
    }
}

/// The pieces a text or a call's arguments come in.
fn pieces(said: &Said) -> Vec<String> {
    match said {
        Said::Text(text) => text.split_inclusive(' ').map(str::to_owned).collect(),
        Said::Call { arguments, .. } => {
            let text = arguments.to_string();
            let (first, second) = text.split_at(text.floor_char_boundary(text.len() / 2));
            vec![first.to_owned(), second.to_owned()]
        }
    }
}

fn chat(says: &[Said], calls: bool) -> String {
    let chunk = |delta: Value, reason: Option<&str>| {
        let choices = json!([{"index": 0, "delta": delta, "finish_reason": reason}]);
        format!("data: {}\n\n", json!({"object": "chat.completion.chunk", "choices": choices}))
    };
    let mut out = chunk(json!({"role": "assistant", "content": ""}), None);
    let mut index = 0;
    for said in says {
        match said {
            Said::Text(_) => {
                out.extend(pieces(said).iter().map(|piece| chunk(json!({"content": piece}), None)));
            }
            Said::Call { tool, .. } => {
                let id = format!("call_{index}");
                let function = json!({"name": tool, "arguments": ""});
                let begun = json!({"index": index, "id": id, "type": "function", "function": function});
                out.push_str(&chunk(json!({"tool_calls": [begun]}), None));
                for piece in pieces(said) {
                    let more = json!({"index": index, "function": {"arguments": piece}});
                    out.push_str(&chunk(json!({"tool_calls": [more]}), None));
                }
                index += 1;
            }
        }
    }
    out.push_str(&chunk(json!({}), Some(if calls { "tool_calls" } else { "stop" })));
    let usage = json!({"prompt_tokens": TOKENS.0, "completion_tokens": TOKENS.1});
    out.push_str(&format!("data: {}\n\n", json!({"choices": [], "usage": usage})));
    out + "data: [DONE]\n\n"
}

/// An event whose name is also its type.
fn named(kind: &str, mut fields: Value) -> String {
    fields["type"] = kind.into();
    format!("event: {kind}\ndata: {fields}\n\n")
}

fn responses(says: &[Said]) -> String {
    let mut out = named("response.created", json!({"response": {"id": "resp_1", "status": "in_progress"}}));
    for (index, said) in says.iter().enumerate() {
        let id = format!("item_{index}");
        let (item, delta) = match said {
            Said::Text(_) => (json!({"type": "message", "id": id}), "response.output_text.delta"),
            Said::Call { tool, .. } => (
                json!({"type": "function_call", "id": id, "call_id": format!("call_{index}"),
                    "name": tool, "arguments": ""}),
                "response.function_call_arguments.delta",
            ),
        };
        let added = json!({"output_index": index, "item": item});
        out.push_str(&named("response.output_item.added", added));
        for piece in pieces(said) {
            out.push_str(&named(delta, json!({"output_index": index, "item_id": id, "delta": piece})));
        }
        let mut done = item;
        if let Said::Call { arguments, .. } = said {
            done["arguments"] = arguments.to_string().into();
        }
        out.push_str(&named("response.output_item.done", json!({"output_index": index, "item": done})));
    }
    let usage = json!({"input_tokens": TOKENS.0, "output_tokens": TOKENS.1});
    out + &named("response.completed", json!({"response": {"status": "completed", "usage": usage}}))
}

fn anthropic(says: &[Said], calls: bool) -> String {
    let usage = json!({"input_tokens": TOKENS.0, "output_tokens": 1});
    let mut out = named("message_start", json!({"message": {"usage": usage}}));
    for (index, said) in says.iter().enumerate() {
        let block = match said {
            Said::Text(_) => json!({"type": "text", "text": ""}),
            Said::Call { tool, .. } => {
                json!({"type": "tool_use", "id": format!("toolu_{index}"), "name": tool, "input": {}})
            }
        };
        out.push_str(&named("content_block_start", json!({"index": index, "content_block": block})));
        for piece in pieces(said) {
            let delta = match said {
                Said::Text(_) => json!({"type": "text_delta", "text": piece}),
                Said::Call { .. } => json!({"type": "input_json_delta", "partial_json": piece}),
            };
            out.push_str(&named("content_block_delta", json!({"index": index, "delta": delta})));
        }
        out.push_str(&named("content_block_stop", json!({"index": index})));
    }
    let reason = if calls { "tool_use" } else { "end_turn" };
    let usage = json!({"output_tokens": TOKENS.1});
    let delta = json!({"delta": {"stop_reason": reason}, "usage": usage});
    out + &named("message_delta", delta) + &named("message_stop", json!({}))
}
