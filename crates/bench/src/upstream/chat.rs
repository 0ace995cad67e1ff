//! OpenAI chat completions.

use bytes::Bytes;
use serde::Serialize;

use super::{Frames, json, script::Script, sse};

const CREATED: u64 = 1_760_000_000;
const PROMPT_TOKENS: usize = 10;

#[derive(Serialize)]
struct Completion<'a> {
    id: &'static str,
    object: &'static str,
    created: u64,
    model: &'a str,
    choices: Vec<Choice<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    usage: Option<Usage>,
}

#[derive(Serialize)]
struct Choice<'a> {
    index: u32,
    #[serde(flatten)]
    part: Part<'a>,
    finish_reason: Option<&'static str>,
}

#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
enum Part<'a> {
    Delta(Message<'a>),
    Message(Message<'a>),
}

#[derive(Default, Serialize)]
struct Message<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    role: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content: Option<&'a str>,
}

#[derive(Serialize)]
struct Usage {
    prompt_tokens: usize,
    completion_tokens: usize,
    total_tokens: usize,
}

pub(super) fn frames(model: &str, script: &Script) -> Frames {
    let mut all = vec![chunk(model, delta(Some("assistant"), Some(""), None), None)];
    all.extend(script.words().map(|word| chunk(model, delta(None, Some(&word), None), None)));
    all.push(chunk(model, delta(None, None, Some("stop")), None));
    all.push(chunk(model, Vec::new(), Some(usage(script))));
    all.push(Bytes::from_static(b"data: [DONE]\n\n"));
    Frames { all, lead: 1, tokens: script.tokens }
}

pub(super) fn whole(model: &str, script: &Script) -> Bytes {
    let text = script.text();
    let part = Part::Message(Message { role: Some("assistant"), content: Some(&text) });
    let choices = vec![Choice { index: 0, part, finish_reason: Some("stop") }];
    let (id, object, usage) = ("chatcmpl-mock", "chat.completion", Some(usage(script)));
    json(&Completion { id, object, created: CREATED, model, choices, usage })
}

fn chunk(model: &str, choices: Vec<Choice<'_>>, usage: Option<Usage>) -> Bytes {
    let object = "chat.completion.chunk";
    sse(None, &Completion { id: "chatcmpl-mock", object, created: CREATED, model, choices, usage })
}

fn delta<'a>(
    role: Option<&'static str>,
    content: Option<&'a str>,
    finish_reason: Option<&'static str>,
) -> Vec<Choice<'a>> {
    vec![Choice { index: 0, part: Part::Delta(Message { role, content }), finish_reason }]
}

fn usage(script: &Script) -> Usage {
    let total_tokens = PROMPT_TOKENS + script.tokens;
    Usage { prompt_tokens: PROMPT_TOKENS, completion_tokens: script.tokens, total_tokens }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_looks_as_clients_expect_it() {
        let frames = frames("mock-2t-0ms", &Script::named("mock-2t-0ms").unwrap());
        let expected = concat!(
            r#"data: {"id":"chatcmpl-mock","object":"chat.completion.chunk","created":1760000000,"#,
            r#""model":"mock-2t-0ms","choices":[{"index":0,"delta":{"content":"zq1 "},"finish_reason":null}]}"#,
            "\n\n"
        );
        assert_eq!(frames.all[frames.lead + 1], expected);
        assert_eq!(frames.all.len(), 1 + frames.tokens + 3);
    }
}
