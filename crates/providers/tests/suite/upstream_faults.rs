//! Every row of the upstream fault table (`docs/upstream-faults.md`), in its order, on all three wires.

use std::{
    sync::atomic::Ordering::SeqCst,
    time::{Duration, Instant},
};

use crate::support::{
    Act, Outcome, Server, call, eager, model, quick,
    wires::{
        answer, arguments, begin, begin_call, chunk, cut, end, end_with_usage, error, head, last_chunk,
        overloaded, ping, stream, stream_head, text, tool_call, whole,
    },
};
use moongate_core::Models;
use moongate_protocol::{ErrorCode, StopReason, Tokens};
use moongate_providers::{PriceTable, ProviderConfig, Registry, Timeouts, Wire};

/// Calls a provider with this script and says what came of it and how often it was asked.
async fn play(wire: Wire, scripts: Vec<Vec<Act>>) -> (Outcome, usize) {
    play_within(wire, scripts, quick()).await
}

async fn play_within(wire: Wire, scripts: Vec<Vec<Act>>, timeouts: Timeouts) -> (Outcome, usize) {
    let server = Server::start(scripts).await;
    let begun = Instant::now();
    let outcome = call(&model(ProviderConfig { timeouts, ..server.config(wire) })).await;
    if outcome.fault == Some(ErrorCode::ProviderTimeout) {
        assert!(begun.elapsed() < quick().idle, "the shortest limit counts");
    }
    (outcome, server.requests.load(SeqCst))
}

/// The call fails with this after as many attempts as there may be, or after one if another would not help.
async fn fails(wire: Wire, script: Vec<Act>, code: ErrorCode) {
    let attempts = if code.retryable() { eager().attempts as usize } else { 1 };
    let (outcome, requests) = play(wire, vec![script]).await;
    assert_eq!((outcome.fault, requests), (Some(code), attempts), "{wire:?} {outcome:?}");
    assert_eq!(outcome.text, "");
}

/// The call fails with this after it was shown `said`, and is not made again.
async fn breaks_off(wire: Wire, script: Vec<Act>, said: &str, code: ErrorCode) {
    let (outcome, requests) = play(wire, vec![script]).await;
    assert_eq!((outcome.fault, requests), (Some(code), 1), "{wire:?} {outcome:?}");
    assert_eq!(outcome.text, said);
}

/// The call succeeds and says this.
async fn says(wire: Wire, scripts: Vec<Vec<Act>>, said: &str, requests: usize) -> Outcome {
    let (outcome, asked) = play(wire, scripts).await;
    assert_eq!((outcome.fault, outcome.text.as_str()), (None, said), "{wire:?}");
    assert_eq!(asked, requests, "{wire:?}");
    outcome
}

#[tokio::test]
async fn row_1_no_such_host() {
    for wire in Wire::ALL {
        let mut config = ProviderConfig::new("p", wire, "http://nowhere.invalid/v1".parse().unwrap());
        config.retry = eager();
        config.timeouts = quick();
        let outcome = call(&model(config)).await;
        assert_eq!(outcome.fault, Some(ErrorCode::ProviderUnreachable));
    }
}

#[tokio::test]
async fn row_2_refused_and_reset() {
    for wire in Wire::ALL {
        let server = Server::start(vec![vec![]]).await;
        let config = server.config(wire);
        drop(server);
        tokio::task::yield_now().await;
        assert_eq!(call(&model(config)).await.fault, Some(ErrorCode::ProviderUnreachable));
        fails(wire, vec![Act::Reset], ErrorCode::ProviderUnreachable).await;
        fails(wire, vec![Act::Close], ErrorCode::ProviderUnreachable).await;
        fails(wire, vec![Act::Send(b"SSH-2.0-x\r\n".to_vec()), Act::Close], ErrorCode::ProviderProtocol)
            .await;
        says(wire, vec![vec![Act::Reset], stream(answer(wire, "hi"))], "hi", 2).await;
    }
}

#[tokio::test]
async fn row_3_a_certificate_nobody_vouches_for() {
    let trusted = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let other = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let roots = vec![trusted.cert.der().clone()];
    for (certificate, code) in [(&trusted, None), (&other, Some(ErrorCode::ProviderUnreachable))] {
        let address = crate::support::tls::tls_server(certificate).await;
        for wire in Wire::ALL {
            let mut config =
                ProviderConfig::new("p", wire, format!("https://localhost:{address}/v1").parse().unwrap());
            config.retry = eager();
            config.timeouts = quick();
            let registry = Registry::with_roots([config], PriceTable::default(), roots.clone()).unwrap();
            let outcome = call(&registry.get(&"p/m".parse().unwrap()).unwrap()).await;
            assert_eq!(outcome.fault, code, "{wire:?}");
        }
    }
}

#[tokio::test]
async fn row_4_a_head_that_never_comes() {
    for wire in Wire::ALL {
        let timeouts = Timeouts { header: Duration::from_millis(80), ..quick() };
        let (outcome, requests) = play_within(wire, vec![vec![Act::Stall]], timeouts).await;
        assert_eq!((outcome.fault, requests), (Some(ErrorCode::ProviderTimeout), 3));
        // Half a head is no head.
        let half = vec![Act::Send(b"HTTP/1.1 200 OK\r\ncontent-".to_vec()), Act::Stall];
        let (outcome, _) = play_within(wire, vec![half], timeouts).await;
        assert_eq!(outcome.fault, Some(ErrorCode::ProviderTimeout));
        let late = vec![vec![Act::Stall], stream(answer(wire, "hi"))];
        let (outcome, requests) = play_within(wire, late, timeouts).await;
        assert_eq!((outcome.text.as_str(), requests), ("hi", 2));
    }
}

#[tokio::test]
async fn row_5_the_key_is_refused() {
    for wire in Wire::ALL {
        let body = error(wire, "authentication_error", "invalid_api_key");
        fails(wire, whole(401, "content-type: application/json\r\n", &body), ErrorCode::ProviderAuth).await;
        fails(wire, whole(403, "", "no"), ErrorCode::ProviderAuth).await;
    }
}

#[tokio::test]
async fn row_6_the_prompt_is_too_long() {
    for wire in Wire::ALL {
        let body = match wire {
            Wire::Anthropic => {
                error(wire, "invalid_request_error", "prompt is too long: 210000 tokens > 200000 maximum")
            }
            _ => error(wire, "invalid_request_error", "context_length_exceeded"),
        };
        fails(wire, whole(400, "content-type: application/json\r\n", &body), ErrorCode::ContextTooLong).await;
        let other = error(wire, "invalid_request_error", "bad tool");
        fails(wire, whole(400, "content-type: application/json\r\n", &other), ErrorCode::ProviderRejected)
            .await;
    }
}

#[tokio::test]
async fn row_7_slow_down() {
    for wire in Wire::ALL {
        let body = error(wire, "rate_limit_error", "rate_limit_exceeded");
        fails(wire, whole(429, "", &body), ErrorCode::ProviderRateLimited).await;
        let asked = whole(429, "retry-after: 1\r\n", &body);
        let begun = Instant::now();
        says(wire, vec![asked, stream(answer(wire, "hi"))], "hi", 2).await;
        assert!(begun.elapsed() >= Duration::from_secs(1), "the provider's wish is honoured");
        let absurd = whole(429, "retry-after: 86400\r\n", &body);
        let (outcome, requests) = play(wire, vec![absurd]).await;
        assert_eq!((outcome.fault, requests), (Some(ErrorCode::ProviderRateLimited), 1));
        assert_eq!(outcome.retry_after, Some(Duration::from_secs(86_400)));
        let no_credit = whole(429, "", &error(wire, "billing_error", "insufficient_quota"));
        fails(wire, no_credit, ErrorCode::ProviderRejected).await;
    }
}

#[tokio::test]
async fn row_8_the_provider_fails() {
    for wire in Wire::ALL {
        for (status, code) in [
            (500, ErrorCode::ProviderUnreachable),
            (502, ErrorCode::ProviderUnreachable),
            (503, ErrorCode::ProviderOverloaded),
            (529, ErrorCode::ProviderOverloaded),
        ] {
            fails(wire, whole(status, "", "<html>oh</html>"), code).await;
            let twice = vec![whole(status, "", ""), whole(status, "", ""), stream(answer(wire, "hi"))];
            says(wire, twice, "hi", 3).await;
        }
    }
}

#[tokio::test]
async fn row_9_an_error_inside_a_good_answer() {
    for wire in Wire::ALL {
        let before = begin(wire) + &overloaded(wire);
        fails(wire, stream(&before), ErrorCode::ProviderOverloaded).await;
        says(wire, vec![stream(&before), stream(answer(wire, "hi"))], "hi", 2).await;
        let after = begin(wire) + &text(wire, "so far") + &overloaded(wire);
        breaks_off(wire, stream(after), "so far", ErrorCode::ProviderOverloaded).await;
        // An error object with a good status and no stream at all.
        let body = error(wire, "overloaded_error", "server_overloaded");
        let plain = whole(200, "content-type: application/json\r\n", &body);
        fails(wire, plain, ErrorCode::ProviderOverloaded).await;
    }
}

#[tokio::test]
async fn row_10_cut() {
    for wire in Wire::ALL {
        fails(wire, cut(begin(wire)), ErrorCode::ProviderCut).await;
        says(wire, vec![cut(begin(wire)), stream(answer(wire, "hi"))], "hi", 2).await;
        let said = begin(wire) + &text(wire, "so far");
        breaks_off(wire, cut(&said), "so far", ErrorCode::ProviderCut).await;
        // A clean end of the body is no end of the answer.
        breaks_off(wire, stream(&said), "so far", ErrorCode::ProviderCut).await;
        let reset = vec![stream_head(), chunk(&said), Act::Reset];
        let (outcome, _) = play(wire, vec![reset]).await;
        assert_eq!(outcome.fault, Some(ErrorCode::ProviderCut));
        let euro = said.clone() + text(wire, "€").split_once('€').unwrap().0;
        breaks_off(
            wire,
            cut([euro.as_bytes(), &"€".as_bytes()[..2]].concat()),
            "so far",
            ErrorCode::ProviderCut,
        )
        .await;
        let half = begin(wire) + &begin_call(wire, 1, "i", "t") + &arguments(wire, 1, r#"{\"path\":\"/"#);
        let (outcome, requests) = play(wire, vec![cut(half)]).await;
        assert_eq!((outcome.fault, requests), (Some(ErrorCode::ProviderCut), 1));
        assert_eq!(outcome.stop, None, "half a call never runs");
    }
}

#[tokio::test]
async fn row_10_cut_at_many_places_of_the_connection() {
    for wire in Wire::ALL {
        let body = answer(wire, "hello there");
        let complete = match wire {
            Wire::OpenAiChat => body.find("\"stop\"}]}\n\n").unwrap() + "\"stop\"}]}\n\n".len(),
            _ => body.len(),
        };
        for at in (0..body.len()).step_by(37) {
            let server = Server::start(vec![cut(&body.as_bytes()[..at])]).await;
            let mut config = server.config(wire);
            config.retry = moongate_providers::RetryPolicy::NEVER;
            let outcome = call(&model(config)).await;
            let code = (at < complete).then_some(ErrorCode::ProviderCut);
            assert_eq!(outcome.fault, code, "{wire:?} at {at}");
        }
    }
}

#[tokio::test]
async fn row_11_silence_in_the_middle() {
    for wire in Wire::ALL {
        let said = begin(wire) + &text(wire, "so far");
        let idle = Timeouts { idle: Duration::from_millis(80), ..quick() };
        let silent = vec![stream_head(), chunk(&said), Act::Stall];
        let (outcome, requests) = play_within(wire, vec![silent], idle).await;
        assert_eq!((outcome.fault, requests), (Some(ErrorCode::ProviderTimeout), 1));
        assert_eq!(outcome.text, "so far");
        let total = Timeouts { total: Duration::from_millis(300), ..idle };
        let Act::Send(ping) = chunk(ping(wire)) else { unreachable!() };
        let alive = vec![stream_head(), chunk(&said), Act::Forever(ping, Duration::from_millis(10))];
        let (outcome, requests) = play_within(wire, vec![alive], total).await;
        assert_eq!((outcome.fault, requests), (Some(ErrorCode::ProviderTimeout), 1));
    }
}

#[tokio::test]
async fn row_12_malformed() {
    for wire in Wire::ALL {
        let said = begin(wire) + &text(wire, "so far");
        fails(wire, stream(begin(wire) + "data: {\"a\n\n"), ErrorCode::ProviderProtocol).await;
        breaks_off(wire, stream(said.clone() + "data: {\"a\n\n"), "so far", ErrorCode::ProviderProtocol)
            .await;
        let unknown = "event: new\ndata: {\"type\":\"new\",\"object\":\"new\"}\n\n";
        says(wire, vec![stream(said.clone() + unknown + &end(wire))], "so far", 1).await;
        breaks_off(wire, stream(&said), "so far", ErrorCode::ProviderCut).await;
        let twice = begin(wire) + &tool_call(wire, 1, "i", "a", "{}") + &tool_call(wire, 1, "j", "b", "{}");
        let outcome = says(wire, vec![stream(twice + &end(wire))], "", 1).await;
        assert_eq!(outcome.tools, ["a", "b"], "{wire:?}");
        let mixed = answer(wire, "hi").replacen('\n', "\r\n", 1).replacen("\n\n", "\r\r", 1);
        says(wire, vec![stream(mixed)], "hi", 1).await;
        says(wire, vec![stream(answer(wire, "hi").replace('\n', "\r"))], "hi", 1).await;
        let gzip =
            "content-type: text/event-stream\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n";
        fails(
            wire,
            vec![head(200, gzip), chunk([0x1f, 0x8b, 8, 0]), last_chunk()],
            ErrorCode::ProviderProtocol,
        )
        .await;
        fails(wire, whole(200, "content-type: text/html\r\n", "<html>"), ErrorCode::ProviderProtocol).await;
    }
}

#[tokio::test]
async fn row_12_a_line_of_64_megabytes() {
    for wire in Wire::ALL {
        let mut acts = vec![stream_head(), chunk(begin(wire) + "data: ")];
        acts.extend((0..64).map(|_| chunk(vec![b'x'; 1 << 20])));
        fails(wire, acts, ErrorCode::ProviderProtocol).await;
    }
}

#[tokio::test]
async fn row_13_odd_tool_calls() {
    for wire in Wire::ALL {
        let outcome = |calls: String| async move {
            let (outcome, _) = play(wire, vec![stream(begin(wire) + &calls + &end(wire))]).await;
            outcome
        };
        // Names nobody knows, arguments against the schema, ids that are empty or the same: the engine decides.
        let odd =
            tool_call(wire, 1, "", "no such tool", "{\\\"a\\\": []}") + &tool_call(wire, 2, "", "t", "[1]");
        let got = outcome(odd).await;
        assert_eq!((got.stop, got.fault), (Some(StopReason::ToolUse), None), "{wire:?}");
        assert_eq!(
            (got.tools, got.arguments),
            (vec!["no such tool".into(), "t".into()], vec!["{\"a\": []}".into(), "[1]".into()])
        );
        let same = tool_call(wire, 1, "i", "a", "{}") + &tool_call(wire, 2, "i", "b", "{}");
        assert_eq!(outcome(same).await.tools, ["a", "b"], "{wire:?}");
        let many: String = (1..=200).map(|n| tool_call(wire, n, &format!("i{n}"), "t", "{}")).collect();
        assert_eq!(outcome(many).await.tools.len(), 200);
        let huge: String = (0..10).map(|_| arguments(wire, 1, &"x".repeat(1 << 20))).collect();
        let got = outcome(begin_call(wire, 1, "i", "t") + &huge).await;
        assert_eq!((got.stop, got.fault), (None, Some(ErrorCode::ProviderProtocol)));
        assert!(got.arguments[0].len() <= 1 << 20);
    }
}

#[tokio::test]
async fn row_14_figures_that_cannot_be() {
    for wire in Wire::ALL {
        let usage = |input: &'static str, output: &'static str| async move {
            let body = text(wire, "hi") + &end_with_usage(wire, input, output);
            says(wire, vec![stream(body)], "hi", 1).await.usage
        };
        assert_eq!(usage("-4", "-9").await, None, "{wire:?}");
        assert_eq!(usage("1e40", "3").await, Some(Tokens { output: 3, ..Tokens::default() }), "{wire:?}");
        assert_eq!(usage("\"x\"", "null").await, None);
        assert_eq!(
            usage("5", "2000000").await,
            Some(Tokens { input: 5, output: 2_000_000, ..Tokens::default() })
        );
        let word = "0123456 ".repeat(1 << 10);
        let mut acts = vec![stream_head(), chunk(begin(wire))];
        acts.extend((0..1000).map(|_| chunk(text(wire, &word))));
        acts.extend([chunk(end(wire)), last_chunk()]);
        let (outcome, _) = play(wire, vec![acts]).await;
        assert_eq!((outcome.fault, outcome.text.len()), (None, 8 * 1024 * 1000));
    }
}

#[tokio::test]
async fn row_15_redirects_are_never_followed() {
    for wire in Wire::ALL {
        let trap = Server::start(vec![stream(answer(wire, "secret"))]).await;
        for status in [301, 302, 303, 307, 308] {
            let location = format!("location: http://{}/latest/meta-data\r\n", trap.address);
            fails(wire, whole(status, &location, ""), ErrorCode::ProviderRejected).await;
        }
        assert_eq!(trap.connections.load(SeqCst), 0);
    }
}

#[tokio::test]
async fn row_16_one_byte_at_a_time() {
    for wire in Wire::ALL {
        let bytes: Vec<u8> = stream(answer(wire, "h€llo"))
            .into_iter()
            .flat_map(|act| if let Act::Send(bytes) = act { bytes } else { Vec::new() })
            .collect();
        let timeouts = Timeouts { idle: Duration::from_millis(500), ..quick() };
        let script = vec![Act::Trickle(bytes, Duration::from_micros(200))];
        let (outcome, requests) = play_within(wire, vec![script], timeouts).await;
        assert_eq!((outcome.fault, outcome.text.as_str(), requests), (None, "h€llo", 1), "{wire:?}");
    }
}
