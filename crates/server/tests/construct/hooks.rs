//! The webhook, the event stream and the history of events.

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpSocket, TcpStream},
};

use crate::kit::{Got, Kit, MOUNTS, SOON, assert_has};

pub(crate) async fn hook(kit: &Kit, key: &str, headers: &[(&str, &str)], body: Value) -> Got {
    let mut all =
        vec![("authorization", format!("Bearer {key}")), ("content-type", "application/json".to_owned())];
    all.extend(headers.iter().map(|(name, value)| (*name, (*value).to_owned())));
    kit.raw("POST", "/webhook", &all, body.to_string().as_bytes()).await
}

#[tokio::test]
async fn g9_one_key_is_one_turn() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        kit.scripts([Script::says("pong")]);
        let ask = || hook(&kit, &kit.key, &[("x-idempotency-key", "k1")], json!({ "message": "ping" }));
        let (a, b) = tokio::join!(ask(), ask());
        assert_eq!((a.status, b.status), (200, 200), "{a:?} {b:?}");
        assert_eq!((&a.body["response"], &b.body["response"]), (&json!("pong"), &json!("pong")));
        let again = [&a, &b].iter().filter(|got| got.body["idempotent"] == true).count();
        assert_eq!((again, kit.calls()), (1, 1), "{a:?} {b:?}");
        let got = hook(&kit, &kit.key, &[("x-idempotency-key", "k1")], json!({ "message": "other" })).await;
        assert_eq!((got.status, &got.body["code"]), (422, &json!("idempotency_mismatch")));
    }
}

#[tokio::test]
async fn c33_a_failed_request_runs_again_and_keys_of_two_principals_do_not_meet() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let failing = Script::new().fault(ErrorCode::ProviderUnreachable);
        kit.scripts([failing, Script::says("at last"), Script::says("hers")]);
        let key = [("x-idempotency-key", "k")];
        let got = hook(&kit, &kit.key, &key, json!({ "message": "m" })).await;
        assert_eq!(got.status, 500, "{got:?}");
        assert_has(
            &got.body,
            &json!({
                "error": "LLM request failed", "code": "PROVIDER_ERROR", "reason": "unavailable",
            }),
        );
        for again in [false, true] {
            let got = hook(&kit, &kit.key, &key, json!({ "message": "m" })).await;
            assert_eq!((got.status, &got.body["response"]), (200, &json!("at last")), "{got:?}");
            assert_eq!(got.body.get("idempotent").is_some(), again);
        }
        let (_, eve) = kit.key_of("eve").await;
        let got = hook(&kit, &eve, &key, json!({ "message": "m" })).await;
        assert_eq!((got.status, &got.body["response"]), (200, &json!("hers")));
        assert!(got.body.get("idempotent").is_none());
        assert_eq!(kit.calls(), 3);
    }
}

#[tokio::test]
async fn c33_a_key_is_of_the_route_whatever_session_it_names() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        kit.scripts([Script::says("once")]);
        let named = |session: &'static str| [("x-idempotency-key", "k"), ("x-session-id", session)];
        let got = hook(&kit, &kit.key, &named("s-1"), json!({ "message": "m" })).await;
        assert_has(&got.body, &json!({ "response": "once", "session_id": "s-1" }));
        for headers in [&named("s-2")[..], &[("x-idempotency-key", "k")]] {
            let got = hook(&kit, &kit.key, headers, json!({ "message": "m" })).await;
            assert_has(&got.body, &json!({ "response": "once", "session_id": "s-1", "idempotent": true }));
            let got = hook(&kit, &kit.key, headers, json!({ "message": "other" })).await;
            assert_eq!((got.status, &got.body["code"]), (422, &json!("idempotency_mismatch")));
        }
        let got = kit.get("/api/sessions").await;
        assert_eq!(got.body["sessions"].as_array().unwrap().len(), 1, "no other was begun: {got:?}");
        assert_eq!(kit.calls(), 1);
    }
}

#[tokio::test]
async fn a_webhook_checks_its_secret_its_body_and_its_time() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            settings.webhook_secret = "s3cret".to_owned().into();
            settings.timing.webhook_secs = 1;
        })
        .await;
        let got = hook(&kit, &kit.key, &[], json!({ "message": "m" })).await;
        let message = "Unauthorized — invalid or missing X-Webhook-Secret header";
        assert_eq!((got.status, &got.body["error"]), (401, &json!(message)));
        let secret = ("x-webhook-secret", "s3cret");
        for bad in [json!({}), json!([]), json!({ "message": 3 }), json!({ "message": " " })] {
            let got = hook(&kit, &kit.key, &[secret], bad).await;
            let message = r#"Invalid JSON body. Expected: {"message": "..."}"#;
            assert_eq!((got.status, &got.body["error"]), (400, &json!(message)));
        }
        let gate = Gate::new();
        kit.scripts([Script::new().gate(&gate).text("slow").usage(1, 1).end()]);
        let headers = [secret, ("x-idempotency-key", "k"), ("x-session-id", "s-9")];
        let got = hook(&kit, &kit.key, &headers, json!({ "message": "m" })).await;
        assert_eq!((got.status, &got.body["code"]), (408, &json!("request_timeout")), "{got:?}");
        assert!(got.body["turn_id"].is_string() && got.body["session_id"] == "s-9");
        gate.open();
        let got = hook(&kit, &kit.key, &headers, json!({ "message": "m" })).await;
        assert_has(&got.body, &json!({ "response": "slow", "model": "main", "session_id": "s-9" }));
        assert_eq!(kit.calls(), 1);
        assert_eq!(kit.rows("s-9").await.len(), 2);
    }
}

/// An event stream held by hand.
pub(crate) struct Events {
    socket: TcpStream,
    text: String,
}

impl Events {
    pub(crate) async fn open(kit: &Kit, key: &str, last: Option<&str>) -> Self {
        Self::over(TcpStream::connect(kit.address()).await.unwrap(), kit, key, last).await
    }

    async fn over(mut socket: TcpStream, kit: &Kit, key: &str, last: Option<&str>) -> Self {
        let last = last.map_or(String::new(), |last| format!("last-event-id: {last}\r\n"));
        let head = format!(
            "GET {} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {key}\r\n\
             connection: close\r\n{last}\r\n",
            kit.path("/api/events")
        );
        socket.write_all(head.as_bytes()).await.unwrap();
        let mut events = Self { socket, text: String::new() };
        while !events.text.contains("retry: 2000\n\n") {
            events.more().await;
        }
        assert!(events.text.starts_with("HTTP/1.1 200"), "{}", events.text);
        assert!(events.text.contains("content-type: text/event-stream"));
        events.text = events.text.split_once("retry: 2000\n\n").unwrap().1.to_owned();
        events
    }

    /// A stream whose reader has little room.
    async fn open_small(kit: &Kit) -> Self {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_recv_buffer_size(4096).unwrap();
        Self::over(socket.connect(kit.address()).await.unwrap(), kit, &kit.key, None).await
    }

    async fn more(&mut self) {
        let mut buffer = [0; 4096];
        let read = tokio::time::timeout(SOON, self.socket.read(&mut buffer)).await.expect("bytes").unwrap();
        assert_ne!(read, 0, "the stream ended: {}", self.text);
        self.text.push_str(std::str::from_utf8(&buffer[..read]).unwrap());
    }

    /// The next event, with its id.
    pub(crate) async fn next(&mut self) -> (Option<String>, Value) {
        loop {
            if let Some((event, rest)) = self.text.split_once("\n\n") {
                let (event, rest) = (event.to_owned(), rest.to_owned());
                self.text = rest;
                let field = |name: &str| {
                    event.lines().find_map(|line| line.trim_end_matches('\r').strip_prefix(name))
                };
                if let Some(data) = field("data: ") {
                    assert!(!event.contains("event:"));
                    return (field("id: ").map(str::to_owned), serde_json::from_str(data).unwrap());
                }
                continue;
            }
            self.more().await;
        }
    }

    pub(crate) async fn until(&mut self, kind: &str) -> Vec<(Option<String>, Value)> {
        let mut all = Vec::new();
        loop {
            all.push(self.next().await);
            if all.last().unwrap().1["type"] == kind {
                return all;
            }
        }
    }
}

fn kinds(events: &[(Option<String>, Value)]) -> Vec<&str> {
    events.iter().map(|(_, event)| event["type"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn c22_every_agent_start_has_its_end_live_in_history_and_after_a_resume() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        kit.scripts([Script::says("fine"), Script::new().fault(ErrorCode::ProviderAuth)]);
        let mut events = Events::open(&kit, &kit.key, None).await;
        let (_, eve) = kit.key_of("eve").await;
        let mut hers = Events::open(&kit, &eve, None).await;
        let mut chat = kit.joined("s").await;
        chat.message("one").await;
        chat.until("done").await;
        chat.message("two").await;
        chat.until("error").await;
        let mut all = events.until("agent_end").await;
        all.extend(events.until("agent_end").await);
        let expected =
            ["agent_start", "llm_request", "agent_end", "agent_start", "llm_request", "error", "agent_end"];
        assert_eq!(kinds(&all), expected);
        assert_has(
            &all[2].1,
            &json!({
                "session_id": "s", "status": "ok", "tokens_used": 12, "cost_usd": null, "model": "main",
            }),
        );
        assert_has(&all[5].1, &json!({ "component": "ws_chat", "code": "AUTH_ERROR" }));
        assert_has(&all[6].1, &json!({ "status": "error", "tokens_used": null }));
        let got = kit.get("/api/events/history").await;
        let past: Vec<&str> =
            got.body["events"].as_array().unwrap().iter().map(|e| e["type"].as_str().unwrap()).collect();
        assert_eq!(past, expected);
        let cursor = got.body["events"][1]["cursor"].as_str().unwrap();
        assert_eq!(Some(cursor), all[1].0.as_deref());
        let after = kit.get(&format!("/api/events/history?limit=2&after={cursor}")).await;
        assert_eq!(after.body["events"].as_array().unwrap().len(), 2);
        assert_eq!(after.body["events"][0]["type"], "agent_end");
        let mut resumed = Events::open(&kit, &kit.key, Some(cursor)).await;
        for event in &all[2..] {
            assert_eq!(&resumed.next().await, event);
        }
        let mut lost = Events::open(&kit, &kit.key, Some("nonsense")).await;
        assert_has(&lost.next().await.1, &json!({ "type": "lagged", "missed": null }));
        let mut own = kit.chat_as(&eve, "session_id=s").await;
        own.next().await;
        own.message("mine").await;
        assert_eq!(kinds(&hers.until("agent_end").await), ["agent_start", "llm_request", "agent_end"]);
    }
}

#[tokio::test]
async fn c06_a_stalled_reader_is_told_exactly_what_it_missed() {
    /// Turns, and calls of each: more events than all buffers on the way take.
    const TURNS: usize = 60;
    const CALLS: usize = 128;
    /// Events of a turn: its beginning and end, two model calls, and two for each call.
    const EVENTS: usize = TURNS * (4 + 2 * CALLS);
    let tool = "look_at_something_that_has_a_name_as_long_as_a_tools_may_be";
    for mount in MOUNTS {
        let setup = Setup::default().tool(ScriptedTool::new(tool, Effect::Read));
        let kit = Kit::with(mount, setup, |_| {}).await;
        let calls: Vec<_> = (0..CALLS).map(|n| (tool, json!({ "n": n }))).collect();
        kit.scripts((0..TURNS).flat_map(|_| [Script::calls(&calls), Script::says("ok")]));
        let mut stalled = Events::open_small(&kit).await;
        let session = "s".repeat(128);
        let mut chat = kit.joined(&session).await;
        for _ in 0..TURNS {
            chat.message("go").await;
            chat.until("done").await;
        }
        let (mut received, mut missed) = (0, 0);
        while received + missed < EVENTS {
            let (_, event) = stalled.next().await;
            match event["type"].as_str().unwrap() {
                "lagged" => missed += usize::try_from(event["missed"].as_u64().unwrap()).unwrap(),
                _ => received += 1,
            }
        }
        assert_eq!(received + missed, EVENTS);
        assert!(missed > 0, "it did not stall");
    }
}

#[tokio::test]
async fn c25_a_revoked_key_ends_its_event_stream() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let (id, key) = kit.key_of("bob").await;
        let mut events = Events::open(&kit, &key, None).await;
        kit.revoke(&id).await;
        let mut rest = Vec::new();
        let read = tokio::time::timeout(SOON, events.socket.read_to_end(&mut rest)).await;
        read.expect("an end").unwrap();
        assert_eq!(kit.ask_as(&key, "GET", "/api/events/history", None).await.status, 401);
    }
}
