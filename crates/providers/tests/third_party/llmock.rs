//! `llmock`: does to us what it is told to, and then judges us as a client.
//!
//! Every case has a model of its own, so that all of them run at once: what is scripted for a case happens to
//! that case only. The mock pauses between chunks, so that it notices when we hang up.

use std::time::Duration;

use futures_util::future::join_all;
use hyper::Method;
use moongate_core::{Model, ModelRequest};
use moongate_protocol::{ErrorCode, StopReason, WaitingOn};
use moongate_providers::Wire;
use serde_json::{Value, json};

use crate::{
    ask::{Call, Heard, RETRIES, address, ask, model, prompt, provider, tool, with_results},
    control::control,
};

const UPSTREAM: &str = "MOONGATE_E2E_LLMOCK";

/// Long enough that a fault after eight chunks comes after some of it and before all of it, on every wire.
const REPLY: &str = "The quick brown fox jumps over the lazy dog while the moon looks on in silence.";

/// What is done to one call, and what must come of it.
struct Case {
    name: &'static str,
    behaviors: Vec<Value>,
    expected: Expected,
    /// Requests the mock must have seen for it.
    requests: usize,
}

enum Expected {
    /// The whole answer in the end, after so many waits.
    Answer { waits: usize },
    /// The whole answer after the wait the provider asked for.
    AnswerAfter(Duration),
    /// A fault before anything was heard.
    Refusal(ErrorCode),
    /// A fault in the middle of the answer. A person then asks again, and gets the whole answer.
    Break(ErrorCode),
}

fn cases() -> Vec<Case> {
    use ErrorCode as Code;
    use Expected::{Answer, AnswerAfter, Break, Refusal};
    let fault = |kind: &str, after: u32| json!({"type": "stream_fault", "kind": kind, "after_chunks": after, "stall_seconds": 12});
    let fail = |status: u16, times: u32| json!({"type": "fail", "status": status, "times": times});
    let case = |name, behaviors, expected, requests| Case { name, behaviors, expected, requests };
    vec![
        case("plain", vec![], Answer { waits: 0 }, 1),
        case(
            "slow-first-token",
            vec![json!({"type": "slow_first_token", "seconds": 1})],
            Answer { waits: 0 },
            1,
        ),
        case(
            "late-first-token",
            vec![json!({"type": "slow_first_token", "seconds": 12})],
            Answer { waits: 1 },
            2,
        ),
        case("late-head", vec![json!({"type": "delay", "seconds": 4})], Answer { waits: 1 }, 2),
        case(
            "limited",
            vec![json!({"type": "fail", "status": 429, "retry_after": 1.5})],
            AnswerAfter(Duration::from_millis(1500)),
            2,
        ),
        case(
            "limited-twice",
            vec![json!({"type": "fail", "status": 429, "retry_after": 1, "times": 2})],
            AnswerAfter(Duration::from_secs(2)),
            3,
        ),
        case("overloaded", vec![fail(503, 3)], Answer { waits: 3 }, 4),
        case("failed", vec![fail(500, 1)], Answer { waits: 1 }, 2),
        case("bad-gateway", vec![fail(502, 1)], Answer { waits: 1 }, 2),
        case("timed-out", vec![fail(504, 1)], Answer { waits: 1 }, 2),
        case("down", vec![fail(500, 10)], Refusal(Code::ProviderUnreachable), 4),
        case("bad-request", vec![fail(400, 10)], Refusal(Code::ProviderRejected), 1),
        case("bad-key", vec![fail(401, 10)], Refusal(Code::ProviderAuth), 1),
        case("forbidden", vec![fail(403, 10)], Refusal(Code::ProviderAuth), 1),
        case("unknown", vec![fail(404, 10)], Refusal(Code::ProviderRejected), 1),
        case("unprocessable", vec![fail(422, 10)], Refusal(Code::ProviderRejected), 1),
        case(
            "too-long",
            vec![
                json!({"type": "fail", "status": 400, "message": "prompt is too long: 9 tokens > 8 maximum", "times": 10}),
            ],
            Refusal(Code::ContextTooLong),
            1,
        ),
        case("cut-early", vec![fault("truncate", 1)], Answer { waits: 1 }, 2),
        case("hung-up-early", vec![fault("disconnect", 1)], Answer { waits: 1 }, 2),
        case("rubbish-early", vec![fault("malformed", 0)], Answer { waits: 1 }, 2),
        case("stalled-early", vec![fault("stall", 1)], Answer { waits: 1 }, 2),
        case("cut", vec![fault("truncate", 8)], Break(Code::ProviderCut), 2),
        case("hung-up", vec![fault("disconnect", 8)], Break(Code::ProviderCut), 2),
        case("rubbish", vec![fault("malformed", 8)], Break(Code::ProviderProtocol), 2),
        case("stalled", vec![fault("stall", 8)], Break(Code::ProviderTimeout), 2),
    ]
}

/// llmock's base address for a wire.
fn base(wire: Wire) -> String {
    let prefix = if wire == Wire::Anthropic { "/anthropic/v1" } else { "/v1" };
    format!("{}{prefix}", address(UPSTREAM))
}

fn retrying(wire: Wire, name: &str) -> std::sync::Arc<dyn Model> {
    let mut config = provider(wire, &base(wire));
    config.retry = RETRIES;
    model(config, name)
}

/// Scripts what happens to the calls of one model.
async fn script(name: &str, behaviors: &[Value]) {
    let mut behaviors = behaviors.to_vec();
    for behavior in &mut behaviors {
        behavior["match"] = json!({"model": name});
    }
    control(Method::POST, &address(UPSTREAM), "/_llmock/scenario", Some(&json!({"behaviors": behaviors})))
        .await;
}

/// One case on one wire; what the mock's journal must show for it.
async fn run(wire: Wire, case: &Case) -> (String, usize) {
    let name = format!("{}-{}", case.name, wire.as_str());
    let reply = json!({"type": "reply", "text": REPLY, "times": 10});
    script(&name, &[case.behaviors.as_slice(), &[reply]].concat()).await;
    let (model, request) = (retrying(wire, &name), prompt(&format!("Case {name}, please.")));
    let heard = ask(&*model, &request).await;
    match case.expected {
        Expected::Answer { waits } => {
            check_answer(&name, &heard);
            assert_eq!(heard.waits.len(), waits, "{name}: {heard:?}");
        }
        Expected::AnswerAfter(wait) => {
            check_answer(&name, &heard);
            assert!(heard.took >= wait, "{name}: asked again too early: {heard:?}");
            assert!(heard.waits.iter().all(|on| *on == WaitingOn::RateLimit), "{name}: {heard:?}");
        }
        Expected::Refusal(code) => {
            assert_eq!(heard.fault(), Some(code), "{name}: {heard:?}");
            assert!(heard.text.is_empty(), "{name}: {heard:?}");
        }
        Expected::Break(code) => {
            assert_eq!(heard.fault(), Some(code), "{name}: {heard:?}");
            let is_part = REPLY.starts_with(&heard.text) && !heard.text.is_empty() && heard.text != REPLY;
            assert!(is_part, "{name}: {heard:?}");
            assert!(heard.waits.is_empty(), "{name}: tried again after visible output: {heard:?}");
            // A person is not as quick as the mock is slow to see that we hung up.
            journal(&address(UPSTREAM), &[(name.clone(), 1)]).await;
            check_answer(&name, &ask(&*model, &request).await);
        }
    }
    (name, case.requests)
}

fn check_answer(name: &str, heard: &Heard) {
    assert_eq!((heard.text.as_str(), &heard.end), (REPLY, &Ok(StopReason::EndTurn)), "{name}: {heard:?}");
    assert!(heard.usage.is_some_and(|it| it.input > 0 && it.output > 0), "{name}: {heard:?}");
}

#[tokio::test]
#[ignore = "needs llmock: cargo xtask e2e upstreams"]
async fn every_fault_has_its_outcome_and_the_verdict_on_us_is_clean() {
    let cases = cases();
    let all = cases.iter().flat_map(|case| Wire::ALL.map(|wire| run(wire, case)));
    let (mut expected, ()) = tokio::join!(join_all(all), converse());
    expected.sort();

    let upstream = address(UPSTREAM);
    let seen = journal(&upstream, &expected).await;
    assert_eq!(seen, expected, "a mock that has been running for an earlier test?");
    let verdict = control(Method::GET, &upstream, "/_llmock/verdict", None).await;
    let calls = (Wire::ALL.len() * cases.len()) as u64;
    assert!(verdict["calls"].as_u64() > Some(calls), "{verdict:#}");
    assert!(verdict["faults_injected"].as_u64() > Some(calls), "{verdict:#}");
    assert_eq!(verdict["findings"], json!([]), "{verdict:#}");
}

/// What is said with tools in it; judged with the rest.
async fn converse() {
    for wire in Wire::ALL {
        keep_arguments(wire).await;
        end_loop(wire).await;
        pass_on_broken_calls(wire).await;
        refuse_cut_call(wire).await;
    }
}

/// Every expected model with the requests the mock saw for it. Those it is still busy with are waited for, two
/// seconds a look.
async fn journal(upstream: &str, expected: &[(String, usize)]) -> Vec<(String, usize)> {
    const LOOKS: usize = 6;
    let mut counts = Vec::new();
    for _ in 0..LOOKS {
        let journal = control(Method::GET, upstream, "/_llmock/requests", None).await;
        let requests = journal["requests"].as_array().expect("a list");
        let count = |name: &str| requests.iter().filter(|it| it["model"] == name).count();
        counts = expected.iter().map(|(name, _)| (name.clone(), count(name))).collect();
        if counts == expected {
            break;
        }
    }
    counts
}

async fn keep_arguments(wire: Wire) {
    let name = format!("parallel-{}", wire.as_str());
    let calls = json!([
        {"name": "get_weather", "arguments": {"city": "Zürich", "nested": {"deep": [1, 2.5, null, true]}}},
        {"name": "get_time", "arguments": {}},
        {"name": "get_weather", "arguments": {"city": "東京"}},
    ]);
    script(&name, &[json!({"type": "reply", "text": "Let me look.", "tool_calls": calls})]).await;
    let heard = ask(&*retrying(wire, &name), &offering(&name)).await;
    assert_eq!((heard.text.as_str(), &heard.end), ("Let me look.", &Ok(StopReason::ToolUse)), "{name}");
    let named = |(name, arguments): (&str, Value)| json!({"name": name, "arguments": arguments});
    let heard: Vec<Value> = heard.called().into_iter().map(named).collect();
    assert_eq!(Value::from(heard), calls, "{name}");
}

async fn end_loop(wire: Wire) {
    let name = format!("loop-{}", wire.as_str());
    let (model, request) = (retrying(wire, &name), offering(&name));
    let heard = ask(&*model, &request).await;
    assert_eq!(heard.end, Ok(StopReason::ToolUse), "{name}: {heard:?}");
    let Call { tool, .. } = &heard.calls[0];
    assert!(["get_weather", "get_time"].contains(&tool.as_str()), "{name}: {heard:?}");
    assert!(heard.calls[0].json().is_object(), "{name}: {heard:?}");
    let heard = ask(&*model, &with_results(request, &heard, "21 degrees")).await;
    assert_eq!(heard.end, Ok(StopReason::EndTurn), "{name}: {heard:?}");
    assert!(!heard.text.is_empty() && heard.calls.is_empty(), "{name}: {heard:?}");
}

/// Arguments that are no JSON and tools nobody offered are the engine's to answer, not ours to hide.
async fn pass_on_broken_calls(wire: Wire) {
    let name = format!("broken-{}", wire.as_str());
    script(&name, &[json!({"type": "tool_fault", "kind": "malformed_arguments"})]).await;
    let heard = ask(&*retrying(wire, &name), &offering(&name)).await;
    assert_eq!(heard.end, Ok(StopReason::ToolUse), "{name}: {heard:?}");
    assert!(heard.calls[0].json().is_string(), "{name}: it was to be no JSON: {heard:?}");

    let name = format!("foreign-{}", wire.as_str());
    script(&name, &[json!({"type": "tool_fault", "kind": "unknown_tool"})]).await;
    let heard = ask(&*retrying(wire, &name), &offering(&name)).await;
    assert_eq!(heard.end, Ok(StopReason::ToolUse), "{name}: {heard:?}");
    assert!(!["get_weather", "get_time"].contains(&heard.calls[0].tool.as_str()), "{name}: {heard:?}");
}

async fn refuse_cut_call(wire: Wire) {
    let name = format!("cut-call-{}", wire.as_str());
    let call = json!({"name": "get_weather", "arguments": {"city": "x".repeat(400)}});
    script(
        &name,
        &[
            json!({"type": "stream_fault", "kind": "truncate", "after_chunks": 12}),
            json!({"type": "reply", "tool_calls": [call], "times": 2}),
        ],
    )
    .await;
    let (model, request) = (retrying(wire, &name), offering(&name));
    let heard = ask(&*model, &request).await;
    assert_eq!(heard.fault(), Some(ErrorCode::ProviderCut), "{name}: {heard:?}");
    assert!(heard.calls[0].json().is_string(), "{name}: {heard:?}");
    journal(&address(UPSTREAM), &[(name.clone(), 1)]).await;
    let heard = ask(&*model, &request).await;
    assert_eq!(heard.called(), [("get_weather", call["arguments"].clone())], "{name}");
}

/// A request that offers two tools.
fn offering(name: &str) -> ModelRequest {
    let mut request = prompt(&format!("Case {name}: what is the weather?"));
    request.tools =
        vec![tool("get_weather", &json!({"city": {"type": "string"}})), tool("get_time", &json!({}))].into();
    request
}
