//! Anthropic Messages.

use bytes::Bytes;
use serde::Serialize;

use super::{Frames, json, script::Script, sse};

const INPUT_TOKENS: usize = 10;

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum Event<'a> {
    MessageStart { message: Message<'a> },
    ContentBlockStart { index: u32, content_block: Block<'a> },
    ContentBlockDelta { index: u32, delta: Block<'a> },
    ContentBlockStop { index: u32 },
    MessageDelta { delta: Ending, usage: Usage },
    MessageStop,
}

#[derive(Serialize)]
struct Message<'a> {
    id: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    model: &'a str,
    content: Vec<Block<'a>>,
    #[serde(flatten)]
    ending: Ending,
    usage: Usage,
}

#[derive(Serialize)]
struct Block<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
}

#[derive(Serialize)]
struct Ending {
    stop_reason: Option<&'static str>,
    stop_sequence: Option<&'static str>,
}

#[derive(Serialize)]
struct Usage {
    #[serde(skip_serializing_if = "Option::is_none")]
    input_tokens: Option<usize>,
    output_tokens: usize,
}

pub(super) fn frames(model: &str, script: &Script) -> Frames {
    let begun = message(model, Vec::new(), None, 1);
    let usage = Usage { input_tokens: None, output_tokens: script.tokens };
    let ended = Event::MessageDelta { delta: ending(Some("end_turn")), usage };
    let started = Event::ContentBlockStart { index: 0, content_block: Block { kind: "text", text: "" } };
    let mut all = vec![
        sse(Some("message_start"), &Event::MessageStart { message: begun }),
        sse(Some("content_block_start"), &started),
    ];
    all.extend(script.words().map(|word| {
        let delta = Event::ContentBlockDelta { index: 0, delta: Block { kind: "text_delta", text: &word } };
        sse(Some("content_block_delta"), &delta)
    }));
    all.push(sse(Some("content_block_stop"), &Event::ContentBlockStop { index: 0 }));
    all.push(sse(Some("message_delta"), &ended));
    all.push(sse(Some("message_stop"), &Event::MessageStop));
    Frames { all, lead: 2, tokens: script.tokens }
}

pub(super) fn whole(model: &str, script: &Script) -> Bytes {
    let text = script.text();
    json(&message(model, vec![Block { kind: "text", text: &text }], Some("end_turn"), script.tokens))
}

fn message<'a>(
    model: &'a str,
    content: Vec<Block<'a>>,
    stop_reason: Option<&'static str>,
    output_tokens: usize,
) -> Message<'a> {
    let usage = Usage { input_tokens: Some(INPUT_TOKENS), output_tokens };
    let (id, kind, role) = ("msg_mock", "message", "assistant");
    Message { id, kind, role, model, content, ending: ending(stop_reason), usage }
}

fn ending(stop_reason: Option<&'static str>) -> Ending {
    Ending { stop_reason, stop_sequence: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_itself_twice() {
        let frames = frames("mock-1t-0ms", &Script::named("mock-1t-0ms").unwrap());
        let expected = concat!(
            "event: content_block_delta\n",
            r#"data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"zq0 "}}"#,
            "\n\n"
        );
        assert_eq!(frames.all[frames.lead], expected);
        assert_eq!(frames.all.last().unwrap(), "event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
    }
}
