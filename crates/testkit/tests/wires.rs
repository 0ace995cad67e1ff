//! The whole way from a provider's bytes to the log on disk, on all three wires.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

use std::{sync::Arc, time::Duration};

use moongate_core::Models;
use moongate_protocol::{Effect, Envelope, ErrorCode, Event, Notice, Part, StopReason, WaitingOn};
use moongate_providers::{PriceTable, ProviderConfig, Registry, RetryPolicy, Wire};
use moongate_store::SqliteStore;
use moongate_testkit::{
    CallLedger, ScriptedTool, Setup, TestGateway, says,
    upstream::{Answer, Dialect, Said, Upstream},
};
use serde_json::json;

const WIRES: [(Wire, Dialect); 3] = [
    (Wire::OpenAiChat, Dialect::OpenAiChat),
    (Wire::OpenAiResponses, Dialect::OpenAiResponses),
    (Wire::Anthropic, Dialect::Anthropic),
];

/// The providers of a gateway that talks to `upstream`, each call made at most `attempts` times.
fn providers(wire: Wire, upstream: &Upstream, attempts: u32) -> Arc<dyn Models> {
    let mut config = ProviderConfig::new("scripted", wire, upstream.url().parse().unwrap());
    let (first_wait, longest_wait) = (Duration::from_millis(1), Duration::from_millis(2));
    config.retry = RetryPolicy { attempts, first_wait, longest_wait, ..config.retry };
    Arc::new(Registry::new([config], PriceTable::default()).unwrap())
}

fn look() -> ScriptedTool {
    ScriptedTool::new("look", Effect::Read)
}

/// What a log says, without ids, times and names.
fn story(log: &[Envelope]) -> Vec<String> {
    let told = log.iter().map(|envelope| match &envelope.event {
        Event::MessageCompleted(message) => {
            let parts = message.parts.iter().map(|part| match part {
                Part::ToolCall { tool, arguments, .. } => format!("{tool}{arguments}"),
                part => part.as_text().unwrap_or("?").to_owned(),
            });
            let parts: Vec<String> = parts.collect();
            format!("{:?} says {parts:?} and stops for {:?}", message.role, message.stop_reason)
        }
        Event::ToolCalled(called) => format!("{} is called with {}", called.tool, called.arguments),
        Event::ToolFinished(finished) => {
            format!("{:?}: {}", finished.outcome, Part::join_text(&finished.content))
        }
        Event::UsageRecorded(usage) => format!("{:?} at {:?}", usage.tokens, usage.cost),
        Event::TurnCompleted(done) => format!("completed with {:?}, {:?}", done.usage, done.stop_reason),
        event => event.kind().to_owned(),
    });
    told.collect()
}

#[tokio::test]
async fn the_same_turn_leaves_the_same_log_on_every_wire() {
    let mut stories = Vec::new();
    for (wire, dialect) in WIRES {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().await;
        let store = SqliteStore::open(folder.path()).unwrap();
        let setup = Setup { store, providers: Some(providers(wire, &upstream, 1)), ..Setup::default() };
        let kit: TestGateway = setup.tool(look()).start().await;
        let calls = [
            Said::Text("Ich schaue: 世界 🌙".into()),
            Said::call("look", json!({"where": "oben", "é": [1, null]})),
            Said::call("look", json!({})),
        ];
        // As slowly and in as small pieces as a bad line brings it, within characters too.
        upstream.push([
            Answer::new(calls).paced(7, Duration::ZERO),
            Answer::text("Fertig 🎉").paced(1, Duration::ZERO),
        ]);
        let session = kit.session().await;
        let mut client = kit.client(session.id()).await;
        session.submit(says("Schau")).await.unwrap();
        client.until_turn_ends().await;
        let requests = upstream.requests();
        assert!(requests.iter().all(|request| request.dialect == Some(dialect)));
        let told = requests[1].body.to_string();
        assert!(told.contains("done") && told.contains("oben"), "the second call tells the results: {told}");
        let log = kit.log(session.id()).await;
        assert_eq!(log, client.view.events);
        stories.push(story(&log));
    }
    assert!(stories[0].iter().any(|line| line.contains("Fertig 🎉")), "{:#?}", stories[0]);
    // Chat completions say that they stop for tools, Responses only that they are complete.
    let plain =
        |story: &Vec<String>| story.iter().map(|line| line.replace("ToolUse", "EndTurn")).collect::<Vec<_>>();
    assert_eq!(plain(&stories[0]), plain(&stories[1]));
    assert_eq!(plain(&stories[0]), plain(&stories[2]));
}

#[tokio::test]
async fn a_stream_cut_at_any_byte_is_never_complete_and_its_calls_never_run() {
    let folder = tempfile::tempdir().unwrap();
    for (wire, dialect) in WIRES {
        let ledger = CallLedger::open(&folder.path().join(format!("{dialect:?}")));
        let upstream = Upstream::start().await;
        let setup = Setup { providers: Some(providers(wire, &upstream, 1)), ..Setup::default() };
        let tool = ScriptedTool::new("send", Effect::Effect).written_in(&ledger);
        let kit = setup.tool(tool).start().await;
        let answer = Answer::new([Said::Text("Gleich é ".into()), Said::call("send", json!({"to": "é"}))]);
        let bytes = answer.body(dialect).len();
        let mut completed = 0;
        for cut in 0..bytes {
            upstream.push([answer.clone().cut_at(cut)]);
            let session = kit.session().await;
            let mut client = kit.client(session.id()).await;
            session.submit(says("hi")).await.unwrap();
            let ended = client.until_turn_ends().await;
            let called = client.view.kinds().contains(&"tool.called");
            match &ended.event {
                Event::TurnFailed(failed) => {
                    assert_eq!(failed.code, ErrorCode::ProviderCut, "{dialect:?} cut at {cut}");
                    assert!(!called, "{dialect:?} cut at {cut}: a call that was cut is not run");
                    for envelope in &client.view.events {
                        if let Event::MessageCompleted(message) = &envelope.event {
                            assert!(message.partial && message.stop_reason == Some(StopReason::Cut));
                        }
                    }
                }
                // The provider had said that it was done; what is missing is only the end of the connection.
                Event::TurnCompleted(_) => {
                    completed += 1;
                    assert!(called);
                }
                event => panic!("{dialect:?} cut at {cut}: {event:?}"),
            }
        }
        assert!(completed * 4 < bytes, "{dialect:?}: {completed} of {bytes} cuts were taken for complete");
        assert_eq!(ledger.runs().len(), completed);
    }
}

#[tokio::test]
async fn a_provider_that_asks_to_wait_is_waited_for_and_who_follows_is_told() {
    for (wire, _) in WIRES {
        let upstream = Upstream::start().await;
        let setup = Setup { providers: Some(providers(wire, &upstream, 3)), ..Setup::default() };
        let kit = setup.start().await;
        upstream.push([Answer::status(429, "{}").header("retry-after", "1"), Answer::text("There you are.")]);
        let session = kit.session().await;
        let mut client = kit.client(session.id()).await;
        let asked = std::time::Instant::now();
        session.submit(says("hi")).await.unwrap();
        let mut told = false;
        while client.view.ended_turns() == 0 {
            client.next().await;
            told |= client
                .view
                .notices
                .iter()
                .any(|notice| matches!(notice, Notice::Waiting { on: WaitingOn::RateLimit, .. }));
        }
        assert!(told && asked.elapsed() >= Duration::from_secs(1));
        assert_eq!(client.view.answers(), ["There you are."]);
        assert_eq!(upstream.requests().len(), 2);
    }
}

#[tokio::test]
async fn a_turn_that_a_crash_broke_off_asks_the_provider_again() {
    for (wire, _) in WIRES {
        let folder = tempfile::tempdir().unwrap();
        let upstream = Upstream::start().await;
        let store = SqliteStore::open(folder.path()).unwrap();
        let setup = Setup { store, providers: Some(providers(wire, &upstream, 1)), ..Setup::default() };
        let mut kit = setup.start().await;
        upstream.push([Answer::text("Once upon a time").paced(20, Duration::from_millis(20))]);
        let session = kit.session().await;
        let mut client = kit.client(session.id()).await;
        session.submit(says("a story")).await.unwrap();
        client.until_shown("Once").await;
        kit.restart().await;
        let mut client = kit.client(session.id()).await;
        client.until_turn_ends().await;
        assert_eq!(client.view.answers(), ["ok"]);
        let requests = upstream.requests();
        assert_eq!(requests[0].body, requests[1].body, "the same question, the same words");
    }
}
