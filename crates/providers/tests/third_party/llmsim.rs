//! `llmsim`, with the settings and scenarios in `e2e/llmsim/`. It plays scenarios on chat completions only.

use std::time::Duration;

use moongate_protocol::{Effort, ErrorCode, StopReason, WaitingOn};
use moongate_providers::{ProviderConfig, Wire};
use serde_json::json;

use crate::ask::{Heard, RETRIES, address, ask, model, prompt, provider, tool, with_results};

const UPSTREAM: &str = "MOONGATE_E2E_LLMSIM";

fn upstream(wire: Wire) -> ProviderConfig {
    let prefix = if wire == Wire::Anthropic { "anthropic" } else { "openai" };
    provider(wire, &format!("{}/{prefix}/v1", address(UPSTREAM)))
}

/// A model of each wire that llmsim knows, and that thinks when asked to.
fn known_model(wire: Wire) -> &'static str {
    if wire == Wire::Anthropic { "claude-sonnet-4-5" } else { "gpt-5" }
}

async fn play(scenario: &str) -> Heard {
    let mut config = upstream(Wire::OpenAiChat);
    config.retry = RETRIES;
    ask(&*model(config, "gpt-5"), &prompt(&format!("Hello. [[llmsim:{scenario}]]"))).await
}

#[tokio::test]
#[ignore = "needs llmsim: cargo xtask e2e upstreams"]
async fn an_echo_is_word_for_word() {
    const SAID: &str = "Grüße aus 月門: \"quoted\", \\slashed\\,\nand a second line 🌕.";
    for wire in Wire::ALL {
        let heard = ask(&*model(upstream(wire), known_model(wire)), &prompt(SAID)).await;
        assert!(heard.text.starts_with("Echo:") && heard.text.ends_with(SAID), "{wire:?}: {heard:?}");
        assert_eq!(heard.end, Ok(StopReason::EndTurn), "{wire:?}");
        assert!(heard.usage.is_some_and(|it| it.input > 0 && it.output > 0), "{wire:?}: {heard:?}");
    }
}

#[tokio::test]
#[ignore = "needs llmsim: cargo xtask e2e upstreams"]
async fn thinking_is_apart_from_the_answer_and_counted() {
    let heard = play("thinking").await;
    assert!(!heard.reasoning.is_empty() && heard.text == "One gate.", "{heard:?}");
    assert!(heard.usage.is_some_and(|it| it.reasoning > 0 && it.output > it.reasoning), "{heard:?}");

    let mut request = prompt("Think.");
    request.settings.effort = Some(Effort::Low);
    let heard = ask(&*model(upstream(Wire::Anthropic), known_model(Wire::Anthropic)), &request).await;
    assert!(!heard.reasoning.is_empty() && heard.text.ends_with("Think."), "{heard:?}");
    assert!(heard.signatures.iter().any(|it| !it.data.is_empty()), "{heard:?}");

    let heard =
        ask(&*model(upstream(Wire::OpenAiResponses), known_model(Wire::OpenAiResponses)), &request).await;
    assert_eq!(heard.end, Ok(StopReason::EndTurn), "{heard:?}");
    assert!(heard.text.ends_with("Think."), "{heard:?}");
}

#[tokio::test]
#[ignore = "needs llmsim: cargo xtask e2e upstreams"]
async fn parallel_calls_keep_their_arguments_and_their_results_are_understood() {
    let model = model(upstream(Wire::OpenAiChat), "gpt-5");
    let mut request = prompt("How is the weather? [[llmsim:parallel]]");
    request.tools = vec![
        tool("get_weather", &json!({"city": {"type": "string"}, "days": {"type": "integer"}})),
        tool("get_time", &json!({})),
    ]
    .into();
    let heard = ask(&*model, &request).await;
    assert_eq!((heard.text.as_str(), &heard.end), ("Let me look.", &Ok(StopReason::ToolUse)), "{heard:?}");
    let calls = vec![
        ("get_weather", json!({"city": "Rome", "days": 3})),
        ("get_time", json!({})),
        ("get_weather", json!({"city": "Oslo", "days": 1})),
    ];
    assert_eq!(heard.called(), calls);
    let heard = ask(&*model, &with_results(request, &heard, "fine")).await;
    assert_eq!(heard.text, "Rome is warm, Oslo is cold.", "{heard:?}");
}

#[tokio::test]
#[ignore = "needs llmsim: cargo xtask e2e upstreams"]
async fn a_rate_limit_is_waited_out_and_a_slow_first_token_waited_for() {
    let heard = play("limited").await;
    assert_eq!(heard.text, "Now it is your turn.", "{heard:?}");
    assert_eq!(heard.waits, [WaitingOn::RateLimit]);
    assert!(heard.took >= Duration::from_millis(1500), "{:?}", heard.took);

    let heard = play("slow").await;
    assert_eq!((heard.text.as_str(), heard.waits.len()), ("Worth the wait.", 0), "{heard:?}");
    assert!(heard.took >= Duration::from_millis(900), "{:?}", heard.took);
}

#[tokio::test]
#[ignore = "needs llmsim: cargo xtask e2e upstreams"]
async fn a_cut_and_a_stall_are_faults_that_keep_what_arrived() {
    for (scenario, code) in [("cut", ErrorCode::ProviderCut), ("stall", ErrorCode::ProviderTimeout)] {
        let heard = play(scenario).await;
        assert_eq!(heard.fault(), Some(code), "{scenario}: {heard:?}");
        assert!(!heard.text.is_empty() && heard.waits.is_empty(), "{scenario}: {heard:?}");
    }
}
