//! `@copilotkit/aimock`, with the answers in `e2e/aimock/`.

use std::{collections::HashSet, time::Duration};

use moongate_protocol::{Effort, ErrorCode, StopReason, Tokens, WaitingOn};
use moongate_providers::{ProviderConfig, RetryPolicy, Wire};
use secrecy::SecretString;
use serde_json::json;

use crate::ask::{Heard, RETRIES, address, ask, model, prompt, provider, tool, with_results};

const UPSTREAM: &str = "MOONGATE_E2E_AIMOCK";

const MODEL: &str = "aimock-model";

/// aimock answers on all wires below the same path.
fn upstream(wire: Wire) -> ProviderConfig {
    let mut config = provider(wire, &format!("{}/v1", address(UPSTREAM)));
    // Counts of earlier calls are kept apart by this name.
    config.headers = vec![("x-test-id".to_owned(), SecretString::from(wire.as_str()))];
    config
}

async fn hear(wire: Wire, text: &str) -> Heard {
    ask(&*model(upstream(wire), MODEL), &prompt(text)).await
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn text_arrives_as_it_was_written_and_its_tokens_are_counted() {
    for wire in Wire::ALL {
        let heard = hear(wire, "[plain]").await;
        assert_eq!(
            heard.text, "Grüße aus 月門: the gate is open — \"quoted\", \\slashed\\,\nand a second line 🌕.",
            "{wire:?}"
        );
        assert_eq!(heard.end, Ok(StopReason::EndTurn), "{wire:?}");
        let usage = Tokens { input: 21, output: 13, ..Tokens::default() };
        assert_eq!(heard.usage, Some(usage), "{wire:?}");
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn parallel_calls_keep_their_arguments_and_their_results_are_understood() {
    for wire in Wire::ALL {
        let (model, mut request) = (model(upstream(wire), MODEL), prompt("[parallel]"));
        request.tools = vec![
            tool("get_weather", &json!({"city": {"type": "string"}, "days": {"type": "integer"}})),
            tool("get_time", &json!({})),
        ]
        .into();
        let heard = ask(&*model, &request).await;
        assert_eq!(heard.end, Ok(StopReason::ToolUse), "{wire:?}");
        let calls = vec![
            ("get_weather", json!({"city": "Rome", "days": 3, "note": "a \"b\" ü"})),
            ("get_weather", json!({"city": "Oslo", "days": 1})),
            ("get_time", json!({})),
        ];
        assert_eq!(heard.called(), calls, "{wire:?}");
        assert_eq!(heard.usage.map(|tokens| tokens.output), Some(30), "{wire:?}");

        let heard = ask(&*model, &with_results(request, &heard, "fine")).await;
        assert_eq!(
            (heard.text.as_str(), heard.end),
            ("Rome is warm, Oslo is cold.", Ok(StopReason::EndTurn))
        );
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn text_before_calls_stays_before_them() {
    for wire in Wire::ALL {
        let heard = hear(wire, "[mixed]").await;
        assert_eq!(heard.text, "First a look at the clock.", "{wire:?}");
        let calls = vec![("get_time", json!({"zone": "UTC"})), ("get_weather", json!({"city": "Bern"}))];
        assert_eq!(heard.called(), calls, "{wire:?}");
        assert_eq!(heard.end, Ok(StopReason::ToolUse), "{wire:?}");
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn reasoning_is_apart_from_the_answer_and_keeps_its_signature() {
    for wire in Wire::ALL {
        let mut request = prompt("[thinking]");
        request.settings.effort = Some(Effort::Low);
        let heard = ask(&*model(upstream(wire), MODEL), &request).await;
        assert_eq!(heard.reasoning, "Two moons, one gate; so the answer is one.", "{wire:?}");
        assert_eq!((heard.text.as_str(), &heard.end), ("One.", &Ok(StopReason::EndTurn)), "{wire:?}");
        if wire == Wire::Anthropic {
            let data: Vec<&str> = heard.signatures.iter().map(|it| it.data.as_str()).collect();
            assert_eq!(data, ["c2lnbmVkLWJ5LWFpbW9jaw=="]);
        }
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn an_answer_that_reached_its_limit_says_so() {
    for wire in Wire::ALL {
        let heard = hear(wire, "[length]").await;
        assert_eq!(
            (heard.text.as_str(), &heard.end),
            ("As far as it", &Ok(StopReason::MaxTokens)),
            "{wire:?}"
        );
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn a_cut_answer_is_a_fault_and_keeps_what_arrived() {
    for wire in Wire::ALL {
        for (text, whole) in [
            ("[truncate]", "This sentence is far too long to arrive whole, because the mock cuts it."),
            ("[disconnect]", "This sentence is far too long to arrive whole, because the mock hangs up."),
        ] {
            let heard = hear(wire, text).await;
            assert_eq!(heard.fault(), Some(ErrorCode::ProviderCut), "{wire:?} {text}: {heard:?}");
            assert!(!heard.text.is_empty() && heard.text.len() < whole.len(), "{wire:?} {text}: {heard:?}");
            assert!(whole.starts_with(&heard.text), "{wire:?} {text}: {heard:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn a_call_cut_in_its_arguments_is_a_fault() {
    for wire in Wire::ALL {
        let mut request = prompt("[truncate-call]");
        request.tools = vec![tool("get_weather", &json!({"city": {"type": "string"}}))].into();
        let heard = ask(&*model(upstream(wire), MODEL), &request).await;
        assert_eq!(heard.fault(), Some(ErrorCode::ProviderCut), "{wire:?}: {heard:?}");
        assert_eq!(heard.calls.len(), 1, "{wire:?}: {heard:?}");
        let arguments = &heard.calls[0].arguments;
        assert!(serde_json::from_str::<serde_json::Value>(arguments).is_err(), "{wire:?}: {arguments}");
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn a_slow_first_token_is_waited_for_and_a_stall_is_not() {
    for wire in Wire::ALL {
        let heard = hear(wire, "[slow]").await;
        assert_eq!(
            (heard.text.as_str(), &heard.end),
            ("Worth the wait.", &Ok(StopReason::EndTurn)),
            "{wire:?}"
        );
        assert!(heard.took >= Duration::from_millis(900), "{wire:?}: the mock was not slow");

        let heard = hear(wire, "[stall]").await;
        assert_eq!(heard.fault(), Some(ErrorCode::ProviderTimeout), "{wire:?}: {heard:?}");
        assert!(heard.took < Duration::from_secs(6), "{wire:?}: {:?}", heard.took);
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn a_rate_limit_is_waited_out_as_long_as_asked_and_no_longer_than_allowed() {
    for wire in Wire::ALL {
        let mut config = upstream(wire);
        config.retry = RETRIES;
        let model = model(config, MODEL);

        let heard = ask(&*model, &prompt("[limited]")).await;
        assert_eq!(heard.text, "Now it is your turn.", "{wire:?}: {heard:?}");
        assert_eq!(heard.waits, [WaitingOn::RateLimit], "{wire:?}");
        assert!(
            heard.took >= Duration::from_secs(1),
            "{wire:?}: Retry-After was not honoured: {:?}",
            heard.took
        );

        let heard = ask(&*model, &prompt("[limited-long]")).await;
        let fault = heard.end.expect_err("nobody waits a day");
        assert_eq!(fault.code, ErrorCode::ProviderRateLimited, "{wire:?}");
        assert_eq!(fault.retry_after, Some(Duration::from_hours(24)), "{wire:?}");
        assert!(heard.took < Duration::from_secs(2), "{wire:?}: {:?}", heard.took);
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn every_refusal_has_its_code() {
    for wire in Wire::ALL {
        for (text, code) in [
            ("[overloaded]", ErrorCode::ProviderOverloaded),
            ("[failed]", ErrorCode::ProviderUnreachable),
            ("[key]", ErrorCode::ProviderAuth),
            ("[too-long]", ErrorCode::ContextTooLong),
            ("[nobody wrote an answer to this]", ErrorCode::ProviderRejected),
        ] {
            let heard = hear(wire, text).await;
            assert_eq!(heard.fault(), Some(code), "{wire:?} {text}: {heard:?}");
            assert!(heard.text.is_empty() && heard.calls.is_empty(), "{wire:?} {text}: {heard:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn chaos_ends_in_a_documented_fault() {
    for wire in Wire::ALL {
        for (header, code) in [
            ("x-aimock-chaos-drop", ErrorCode::ProviderUnreachable),
            ("x-aimock-chaos-disconnect", ErrorCode::ProviderUnreachable),
            ("x-aimock-chaos-malformed", ErrorCode::ProviderProtocol),
            ("x-aimock-chaos-ratelimit", ErrorCode::ProviderRateLimited),
        ] {
            let mut config = upstream(wire);
            config.headers.push((header.to_owned(), SecretString::from("1")));
            let heard = ask(&*model(config, MODEL), &prompt("[plain]")).await;
            assert_eq!(heard.fault(), Some(code), "{wire:?} {header}: {heard:?}");
        }
    }
}

#[tokio::test]
#[ignore = "needs aimock: cargo xtask e2e upstreams"]
async fn half_the_calls_failing_stops_nobody() {
    for wire in Wire::ALL {
        let mut config = upstream(wire);
        config.headers.push(("x-aimock-chaos-drop".to_owned(), SecretString::from("0.5")));
        config.retry = RetryPolicy { attempts: 20, first_wait: Duration::from_millis(5), ..RETRIES };
        config.retry.longest_wait = Duration::from_millis(20);
        let model = model(config, MODEL);
        let mut waited = HashSet::new();
        for _ in 0..20 {
            let heard = ask(&*model, &prompt("[plain]")).await;
            assert_eq!(heard.end, Ok(StopReason::EndTurn), "{wire:?}");
            waited.insert(heard.waits.len());
        }
        assert!(waited.len() > 1, "{wire:?}: the mock never failed, or always as often");
    }
}
