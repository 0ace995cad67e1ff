//! A real engine: `llama-cpp-python` with a small model of random weights. What it says means nothing; that it
//! streams, stops and calls tools as a real engine does is what is looked at.

use std::{sync::Arc, time::Duration};

use moongate_core::{Model, ModelRequest, Piece};
use moongate_protocol::StopReason;
use moongate_providers::Wire;
use serde_json::json;
use tokio::time::timeout;

use crate::ask::{address, ask, model, prompt, provider, tool};

const UPSTREAM: &str = "MOONGATE_E2E_LLAMA";

/// Tokens of a long answer: seconds of work for the engine.
const LONG: u32 = 1500;

const STORY: &str = "Tell me a very long story.";

fn engine() -> Arc<dyn Model> {
    let mut config = provider(Wire::OpenAiChat, &format!("{}/v1", address(UPSTREAM)));
    config.timeouts.header = Duration::from_secs(20);
    config.timeouts.idle = Duration::from_secs(20);
    model(config, "tiny")
}

fn bounded(text: &str, tokens: u32) -> ModelRequest {
    let mut request = prompt(text);
    request.settings.max_output_tokens = Some(tokens);
    request.settings.temperature = Some(0.0);
    request
}

/// A real engine answers one call after the other, so the tests are one, in order.
#[tokio::test]
#[ignore = "needs a real engine: cargo xtask e2e llama"]
async fn a_real_engine_streams_stops_when_dropped_and_calls_tools() {
    let engine = engine();

    let heard = ask(&*engine, &bounded("Hello!", 48)).await;
    assert_eq!(heard.end, Ok(StopReason::MaxTokens), "{heard:?}");
    assert!(!heard.text.is_empty(), "{heard:?}");
    let again = ask(&*engine, &bounded("Hello!", 48)).await;
    assert_eq!(heard.text, again.text, "at temperature 0 it says the same again");

    let whole = ask(&*engine, &bounded(STORY, LONG)).await;
    assert_eq!(whole.end, Ok(StopReason::MaxTokens), "{:?}", whole.end);
    assert!(whole.text.starts_with(&drop_after_first_text(&*engine).await));
    // The engine writes one answer at a time: the next one begins only when the dropped one has ended.
    let next = ask(&*engine, &bounded("And now?", 8)).await;
    assert_eq!(next.end, Ok(StopReason::MaxTokens), "{next:?}");
    println!("a long answer took {:?}, one after a dropped long one {:?}", whole.took, next.took);
    assert!(next.took < whole.took / 3, "the dropped answer was written on");

    // The engine's grammar makes the arguments fit the schema.
    let mut request = bounded("What is the weather?", 400);
    request.tools = vec![
        tool("get_weather", &json!({"warm": {"type": "boolean"}, "sky": {"enum": ["clear", "cloudy"]}})),
        tool("get_time", &json!({})),
    ]
    .into();
    let heard = ask(&*engine, &request).await;
    assert_eq!((heard.calls.len(), &heard.end), (1, &Ok(StopReason::ToolUse)), "{heard:?}");
    println!("called {} with {}", heard.calls[0].tool, heard.calls[0].arguments);
    let arguments = heard.calls[0].json();
    assert_eq!(heard.calls[0].tool, "get_weather");
    assert!(arguments["warm"].is_boolean(), "{heard:?}");
    assert!([json!("clear"), json!("cloudy")].contains(&arguments["sky"]), "{heard:?}");
}

/// Begins a long answer and drops it at its first text, which is given back.
async fn drop_after_first_text(engine: &dyn Model) -> String {
    let mut stream = engine.call(bounded(STORY, LONG).into());
    loop {
        let mut pieces = Vec::new();
        timeout(Duration::from_secs(20), stream.next(&mut pieces)).await.expect("the answer begins");
        for piece in pieces {
            match piece {
                Piece::Text(text) => return text,
                Piece::Finish(_) | Piece::Fault(_) => panic!("it ended before it began: {piece:?}"),
                _ => {}
            }
        }
    }
}
