//! One rich prompt on every wire, as golden JSON.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use moongate_core::{CallSettings, ModelRequest, PromptMessage};
use moongate_protocol::{BlobHash, BlobRef, Effect, Effort, ItemId, Part, ReasoningSignature, ToolSpec};
use serde_json::{Value, json};

use crate::{
    config::{CallIds, EffortField, MaxTokensField, Quirks, Wire},
    wire::{Target, encode},
};

fn item() -> ItemId {
    ItemId::from_bits(0)
}

fn blob(n: u8, media_type: &str) -> BlobRef {
    BlobRef { hash: BlobHash([n; 32]), media_type: media_type.to_owned(), bytes: 3 }
}

fn reasoning(text: &str, provider: &str, id: Option<&str>, data: &str) -> Part {
    let signature = ReasoningSignature {
        provider: provider.to_owned(),
        id: id.map(str::to_owned),
        data: data.to_owned(),
    };
    Part::Reasoning { item: item(), text: text.to_owned(), signature: Some(signature) }
}

fn call(id: &str, tool: &str, arguments: Value) -> Part {
    Part::ToolCall { item: item(), call: id.parse().unwrap(), tool: tool.to_owned(), arguments }
}

fn result(id: &str, tool: &str, is_error: bool, content: Vec<Part>) -> PromptMessage {
    PromptMessage::ToolResult { call: id.parse().unwrap(), tool: tool.to_owned(), is_error, content }
}

/// Everything at once: media, reasoning of this and of another provider, parallel calls with awkward names,
/// ids and arguments, failed results, an image in a result, and white space that says nothing.
fn rich() -> ModelRequest {
    let file =
        |name: &str, n: u8, media_type: &str| Part::File { name: name.into(), blob: blob(n, media_type) };
    let messages = vec![
        PromptMessage::User(vec![
            Part::text("Look at \"this\" — 東京"),
            Part::text(" \n"),
            Part::Image { blob: blob(1, "image/png") },
            Part::Image { blob: blob(9, "image/png") },
            file("a.txt", 2, "text/plain; charset=utf-8"),
            file("b.pdf", 3, "application/pdf"),
            file("c.zip", 3, "application/zip"),
        ]),
        PromptMessage::Assistant(vec![
            reasoning("Mine.", "mark", Some("rs_1"), "sig"),
            reasoning("Not mine.", "other", None, "sig"),
            Part::text("I will look. "),
            call("call_1", "weather", json!({"city": "Tōkyō", "n": 1.5})),
            call("a:b", "my.tool", json!("{\"cut")),
        ]),
        result(
            "call_1",
            "weather",
            false,
            vec![Part::text("sunny"), Part::Image { blob: blob(1, "image/png") }],
        ),
        result("a:b", "my.tool", true, vec![Part::text("no such thing")]),
        PromptMessage::Assistant(vec![
            Part::text("Done."),
            reasoning("And then?", "mark", Some("rs_2"), "sig"),
        ]),
        PromptMessage::User(vec![Part::text(" ")]),
        PromptMessage::Assistant(vec![reasoning("Only thought.", "mark", Some("rs_3"), "sig")]),
        PromptMessage::User(vec![Part::text("Thanks")]),
    ];
    let tool = |name: &str, parameters: Value| ToolSpec {
        name: name.parse().unwrap(),
        description: format!("Does {name}"),
        parameters,
        effect: Effect::Read,
    };
    let attachments = [(1, &b"png"[..]), (2, b"text \xc3\xa9"), (3, b"pdf")]
        .map(|(n, it)| (BlobHash([n; 32]), Bytes::from(it)));
    ModelRequest {
        system: "Be kind.".into(),
        messages: Arc::new(messages.into_iter().map(|message| Arc::new(message.into())).collect()),
        tools: [
            tool("weather", json!({"type": "object", "properties": {"city": {"type": "string"}}})),
            tool("my.tool", json!({})),
        ]
        .into(),
        settings: CallSettings {
            effort: Some(Effort::Medium),
            temperature: Some(0.7),
            max_output_tokens: Some(1000),
        },
        attachments: Arc::new(HashMap::from(attachments)),
        cache_key: Some("ses_1".into()),
    }
}

fn body(wire: Wire, model: &str, quirks: &Quirks, request: &ModelRequest) -> Value {
    let encoded = encode(wire, request, &Target { model, mark: "mark", quirks }).unwrap();
    serde_json::from_slice(&encoded.body).unwrap()
}

#[test]
fn chat_at_its_inventor() {
    let quirks = Quirks {
        max_tokens: MaxTokensField::MaxCompletionTokens,
        cache_key: true,
        files: true,
        ..Quirks::USUAL
    };
    insta::assert_json_snapshot!(body(Wire::OpenAiChat, "gpt-4.1", &quirks, &rich()));
}

#[test]
fn chat_at_an_endpoint_full_of_quirks() {
    let quirks = Quirks {
        effort: EffortField::ReasoningObject,
        call_ids: CallIds::Nine,
        usage_option: false,
        reasoning_back: true,
        images: false,
        ..Quirks::USUAL
    };
    insta::assert_json_snapshot!(body(Wire::OpenAiChat, "kimi-k2", &quirks, &rich()));
}

#[test]
fn chat_has_a_text_beside_calls_where_null_is_refused() {
    let quirks = Quirks { empty_content: true, ..Quirks::USUAL };
    let contents = |quirks: &Quirks| {
        let messages = [
            PromptMessage::User(vec![Part::text("a")]),
            PromptMessage::Assistant(vec![call("i", "t", json!({}))]),
            result("i", "t", false, vec![Part::text("r")]),
        ];
        let messages = Arc::new(messages.map(|message| Arc::new(message.into())).into());
        let request = ModelRequest { messages, ..ModelRequest::default() };
        body(Wire::OpenAiChat, "tiny", quirks, &request)["messages"][1]["content"].clone()
    };
    assert_eq!((contents(&Quirks::USUAL), contents(&quirks)), (Value::Null, json!("")));
}

#[test]
fn responses() {
    let quirks = Quirks { cache_key: true, files: true, ..Quirks::USUAL };
    insta::assert_json_snapshot!(body(Wire::OpenAiResponses, "gpt-5", &quirks, &rich()));
}

#[test]
fn anthropic() {
    let quirks = Quirks { files: true, ..Quirks::USUAL };
    insta::assert_json_snapshot!(body(Wire::Anthropic, "claude-sonnet-4-6", &quirks, &rich()));
}

#[test]
fn chat_gives_back_what_was_attached_to_a_call() {
    let extra = reasoning("", "mark", Some("extra_content"), r#"{"google":{"thought_signature":"s"}}"#);
    let details = reasoning("", "mark", Some("reasoning_details"), r#"[{"data":"x"}]"#);
    let messages = [
        PromptMessage::User(vec![Part::text("a")]),
        PromptMessage::Assistant(vec![extra, call("i", "t", json!({})), call("j", "t", json!({})), details]),
    ];
    let request = ModelRequest {
        messages: Arc::new(messages.map(|message| Arc::new(message.into())).into()),
        ..ModelRequest::default()
    };
    let body = body(Wire::OpenAiChat, "gemini", &Quirks::USUAL, &request);
    let calls = &body["messages"][1]["tool_calls"];
    assert_eq!(calls[0]["extra_content"], json!({"google": {"thought_signature": "s"}}));
    assert_eq!(calls[1].get("extra_content"), None);
    assert_eq!(body["messages"][1]["reasoning_details"], json!([{"data": "x"}]));
    let other = Target { model: "m", mark: "elsewhere", quirks: &Quirks::USUAL };
    let other = encode(Wire::OpenAiChat, &request, &other).unwrap().body;
    let other = String::from_utf8_lossy(&other);
    assert!(!other.contains("thought_signature") && !other.contains("reasoning_details"));
}

#[test]
fn settings_follow_the_model() {
    let with = |wire, model: &str, settings| {
        let messages = Arc::new(vec![Arc::new(PromptMessage::User(vec![Part::text("a")]).into())]);
        body(wire, model, &Quirks::USUAL, &ModelRequest { messages, settings, ..ModelRequest::default() })
    };
    let settings =
        |effort, max_output_tokens| CallSettings { effort, max_output_tokens, temperature: Some(2.0) };
    let plain = with(Wire::Anthropic, "claude-sonnet-4-5", settings(None, None));
    assert_eq!((&plain["max_tokens"], &plain["temperature"]), (&json!(32_000), &json!(1.0)));
    assert_eq!((plain.get("thinking"), plain.get("system"), plain.get("tools")), (None, None, None));
    let budget = with(Wire::Anthropic, "claude-sonnet-4-5", settings(Some(Effort::High), Some(100)));
    assert_eq!(budget["thinking"], json!({"type": "enabled", "budget_tokens": 24_000}));
    assert_eq!((budget["max_tokens"].as_u64(), budget.get("temperature")), (Some(25_024), None));
    let adaptive = with(Wire::Anthropic, "claude-opus-4-7", settings(Some(Effort::Minimal), None));
    assert_eq!(adaptive["output_config"], json!({"effort": "low"}));
    let old = with(Wire::Anthropic, "claude-3-haiku-20240307", settings(Some(Effort::High), None));
    assert_eq!((old.get("thinking"), old["max_tokens"].as_u64()), (None, Some(4096)));
    let fast = with(Wire::OpenAiResponses, "gpt-4o", settings(None, None));
    assert_eq!((fast.get("include"), fast["temperature"].as_f64()), (None, Some(2.0)));
    let thinking = with(Wire::OpenAiChat, "o3", settings(Some(Effort::Minimal), Some(5)));
    assert_eq!((&thinking["reasoning_effort"], thinking.get("temperature")), (&json!("low"), None));
    assert_eq!(thinking["max_tokens"], json!(5));
}

/// The provider refuses a thinking call whose running turn did not begin with thinking.
#[test]
fn a_turn_begun_without_thinking_goes_on_without() {
    let turn = |first: Vec<Part>| {
        let messages = [
            PromptMessage::User(vec![Part::text("a")]),
            PromptMessage::Assistant(first),
            result("i", "t", false, vec![Part::text("r")]),
        ];
        let settings = CallSettings { effort: Some(Effort::Low), ..CallSettings::default() };
        let request = ModelRequest {
            messages: Arc::new(messages.map(|message| Arc::new(message.into())).into()),
            settings,
            ..ModelRequest::default()
        };
        body(Wire::Anthropic, "claude-sonnet-4-5", &Quirks::USUAL, &request).get("thinking").is_some()
    };
    assert!(!turn(vec![call("i", "t", json!({}))]));
    assert!(!turn(vec![reasoning("x", "other", None, "s"), call("i", "t", json!({}))]));
    assert!(turn(vec![reasoning("x", "mark", None, "s"), call("i", "t", json!({}))]));
}
