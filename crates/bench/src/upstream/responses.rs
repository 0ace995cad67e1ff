//! OpenAI Responses.

use bytes::Bytes;
use serde::Serialize;

use super::{Frames, json, script::Script, sse};

const CREATED: u64 = 1_760_000_000;
const INPUT_TOKENS: usize = 10;

#[derive(Serialize)]
#[serde(tag = "type")]
enum Event<'a> {
    #[serde(rename = "response.created")]
    Created { response: Response<'a> },
    #[serde(rename = "response.output_item.added")]
    ItemAdded { output_index: u32, item: Item<'a> },
    #[serde(rename = "response.output_text.delta")]
    TextDelta { item_id: &'static str, output_index: u32, content_index: u32, delta: &'a str },
    #[serde(rename = "response.output_item.done")]
    ItemDone { output_index: u32, item: Item<'a> },
    #[serde(rename = "response.completed")]
    Completed { response: Response<'a> },
}

#[derive(Serialize)]
struct Response<'a> {
    id: &'static str,
    object: &'static str,
    created_at: u64,
    status: &'static str,
    model: &'a str,
    output: Vec<Item<'a>>,
    usage: Option<Usage>,
}

#[derive(Clone, Serialize)]
struct Item<'a> {
    id: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    role: &'static str,
    status: &'static str,
    content: Vec<Content<'a>>,
}

#[derive(Clone, Serialize)]
struct Content<'a> {
    #[serde(rename = "type")]
    kind: &'static str,
    text: &'a str,
    annotations: [(); 0],
}

#[derive(Serialize)]
struct Usage {
    input_tokens: usize,
    input_tokens_details: InputDetails,
    output_tokens: usize,
    output_tokens_details: OutputDetails,
    total_tokens: usize,
}

#[derive(Serialize)]
struct InputDetails {
    cached_tokens: usize,
}

#[derive(Serialize)]
struct OutputDetails {
    reasoning_tokens: usize,
}

pub(super) fn frames(model: &str, script: &Script) -> Frames {
    let text = script.text();
    let begun = response(model, "in_progress", Vec::new(), None);
    let ended = response(model, "completed", vec![item("completed", Some(&text))], Some(usage(script)));
    let mut all = vec![
        sse(Some("response.created"), &Event::Created { response: begun }),
        sse(
            Some("response.output_item.added"),
            &Event::ItemAdded { output_index: 0, item: item("in_progress", None) },
        ),
    ];
    all.extend(script.words().map(|word| {
        let item_id = "msg_mock";
        let delta = Event::TextDelta { item_id, output_index: 0, content_index: 0, delta: &word };
        sse(Some("response.output_text.delta"), &delta)
    }));
    let done = Event::ItemDone { output_index: 0, item: item("completed", Some(&text)) };
    all.push(sse(Some("response.output_item.done"), &done));
    all.push(sse(Some("response.completed"), &Event::Completed { response: ended }));
    Frames { all, lead: 2, tokens: script.tokens }
}

pub(super) fn whole(model: &str, script: &Script) -> Bytes {
    let text = script.text();
    json(&response(model, "completed", vec![item("completed", Some(&text))], Some(usage(script))))
}

fn response<'a>(
    model: &'a str,
    status: &'static str,
    output: Vec<Item<'a>>,
    usage: Option<Usage>,
) -> Response<'a> {
    Response { id: "resp_mock", object: "response", created_at: CREATED, status, model, output, usage }
}

fn item<'a>(status: &'static str, text: Option<&'a str>) -> Item<'a> {
    let content = text.map(|text| Content { kind: "output_text", text, annotations: [] });
    let content = content.into_iter().collect();
    Item { id: "msg_mock", kind: "message", role: "assistant", status, content }
}

fn usage(script: &Script) -> Usage {
    Usage {
        input_tokens: INPUT_TOKENS,
        input_tokens_details: InputDetails { cached_tokens: 0 },
        output_tokens: script.tokens,
        output_tokens_details: OutputDetails { reasoning_tokens: 0 },
        total_tokens: INPUT_TOKENS + script.tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_names_itself_twice() {
        let frames = frames("mock-1t-0ms", &Script::named("mock-1t-0ms").unwrap());
        let expected = concat!(
            "event: response.output_text.delta\n",
            r#"data: {"type":"response.output_text.delta","item_id":"msg_mock","output_index":0,"#,
            r#""content_index":0,"delta":"zq0 "}"#,
            "\n\n"
        );
        assert_eq!(frames.all[frames.lead], expected);
        assert!(frames.all[4].starts_with(b"event: response.completed\n"));
    }
}
