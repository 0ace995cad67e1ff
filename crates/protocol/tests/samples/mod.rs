//! One example with every field and one with only what must be there, of everything on the wire.

mod events;
mod live;

pub(crate) use events::envelopes;
pub(crate) use live::{deltas, message_views, notices, session_views};

use moongate_protocol::{
    BlobHash, BlobRef, CallId, Effect, Effort, InputId, ItemId, MicroUsd, Part, ReasoningSignature,
    SessionId, Timestamp, Tokens, ToolSpec, TurnId, UsageTotal,
};
use serde_json::json;

fn name<T: std::str::FromStr<Err: std::fmt::Debug>>(text: &str) -> T {
    text.parse().unwrap()
}

fn session() -> SessionId {
    SessionId::from_bits(0x0193_4000_0000_7000_8000_0000_0000_0001)
}

fn turn() -> TurnId {
    TurnId::from_bits(0x0193_4000_0001_7000_8000_0000_0000_0002)
}

fn input() -> InputId {
    InputId::from_bits(0x0193_4000_0002_7000_8000_0000_0000_0003)
}

fn item(number: u128) -> ItemId {
    ItemId::from_bits(0x0193_4000_0003_7000_8000_0000_0000_0000 + number)
}

fn call() -> CallId {
    name("call_1")
}

fn at() -> Timestamp {
    name("2026-11-20T12:00:00.250Z")
}

fn tokens() -> Tokens {
    Tokens { input: 1200, output: 345, reasoning: 45, cache_read: 1000, cache_write: 100 }
}

fn usage() -> UsageTotal {
    UsageTotal { tokens: tokens(), calls: 2, cost: Some(MicroUsd(1_234)) }
}

fn unpriced() -> UsageTotal {
    UsageTotal { tokens: Tokens { input: 5, output: 3, ..Tokens::default() }, calls: 1, cost: None }
}

fn blob() -> BlobRef {
    BlobRef { hash: BlobHash([0xab; 32]), media_type: "image/png".into(), bytes: 67 }
}

/// Every effort there is.
const EFFORTS: [Effort; 4] = [Effort::Minimal, Effort::Low, Effort::Medium, Effort::High];

fn all_parts() -> Vec<Part> {
    let signature = ReasoningSignature {
        provider: "anthropic".into(),
        id: Some("rs_1".into()),
        data: "c2lnbmF0dXJl".into(),
    };
    let bare = ReasoningSignature { provider: "openai".into(), id: None, data: "x".into() };
    vec![
        Part::Reasoning { item: item(1), text: "Let me see.".into(), signature: Some(signature) },
        Part::Reasoning { item: item(2), text: String::new(), signature: Some(bare) },
        Part::Reasoning { item: item(3), text: "Open.".into(), signature: None },
        Part::text("Hello, 世界 \"quoted\"\n"),
        Part::Image { blob: blob() },
        Part::File { name: "notes.txt".into(), blob: BlobRef { media_type: "text/plain".into(), ..blob() } },
        Part::ToolCall {
            item: item(4),
            call: call(),
            tool: "shell".into(),
            // Keys in order, so that the form is the same whether or not the map keeps another order.
            arguments: json!({"command": "ls", "nested": {"list": [null, true], "n": 1.5}}),
        },
        Part::ToolCall {
            item: item(5),
            call: name("call_2"),
            tool: "shell".into(),
            arguments: json!("{oops"),
        },
    ]
}

/// What only inputs have besides.
fn input_parts() -> Vec<Part> {
    let mut parts = all_parts();
    let content = vec![Part::text("12 °C"), Part::Image { blob: blob() }];
    parts.push(Part::ToolResult { call: call(), content, is_error: false });
    let content = vec![Part::text("no such city")];
    parts.push(Part::ToolResult { call: name("call_2"), content, is_error: true });
    parts
}

fn client_tools() -> Vec<ToolSpec> {
    vec![ToolSpec {
        name: name("weather"),
        description: "Tells the weather.".into(),
        parameters: json!({"properties": {"city": {"type": "string"}}, "type": "object"}),
        effect: Effect::Effect,
    }]
}
