//! One WebSocket for many sessions.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::time::Duration;

use common::live::Live;
use futures_util::SinkExt as _;
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::{self, Message};

fn id(session: &str) -> &str {
    session.rsplit('/').next().unwrap()
}

/// The HTTP status a handshake was refused with.
fn refused<T>(result: Result<T, tungstenite::Error>) -> u16 {
    match result {
        Err(tungstenite::Error::Http(response)) => response.status().as_u16(),
        Err(other) => panic!("not refused over HTTP: {other}"),
        Ok(_) => panic!("not refused"),
    }
}

#[tokio::test]
async fn a_conversation_goes_over_one_socket() {
    let live = Live::new().await;
    let session = live.gate.session().await;
    let mut socket = live.socket(&live.gate.admin).await;
    assert_eq!(socket.speaks.as_deref(), Some("moongate.v1"));
    socket.say(json!({ "type": "subscribe", "ref": "a", "session": id(&session) })).await;
    let ack = socket.next().await.unwrap();
    assert_eq!((&ack["type"], &ack["ref"], &ack["head"]["seq"]), (&json!("ack"), &json!("a"), &json!(1)));
    assert_eq!(socket.next().await.unwrap()["event"]["type"], "session.created");
    socket.say(json!({ "type": "input", "ref": 7, "session": id(&session), "text": "hello there" })).await;
    let frames = socket.until("turn.completed").await;
    let ack = frames.iter().find(|frame| frame["type"] == "ack").unwrap();
    assert_eq!((&ack["ref"], &ack["position"]["seq"]), (&json!(7), &json!(2)));
    let events: Vec<_> = frames.iter().filter(|frame| frame["type"] == "event").collect();
    assert_eq!(events[0]["event"]["input"], ack["input"]);
    let seqs: Vec<_> = events.iter().map(|frame| frame["event"]["seq"].as_u64().unwrap()).collect();
    assert_eq!(seqs, (2..2 + seqs.len() as u64).collect::<Vec<_>>());
    let deltas = frames.iter().filter(|frame| frame["type"] == "delta");
    let text: String = deltas.map(|frame| frame["delta"]["text"].as_str().unwrap()).collect();
    assert_eq!(text, "echo: hello there");
    assert!(frames.iter().any(|frame| frame["type"] == "notice" && frame["notice"]["notice"] == "waiting"));
    socket.say(json!({ "type": "ping", "ref": [1, 2] })).await;
    assert_eq!(socket.next().await.unwrap(), json!({ "type": "pong", "ref": [1, 2] }));
}

#[tokio::test]
async fn a_socket_cut_at_any_event_resumes_after_it() {
    let live = Live::new().await;
    let session = live.gate.session().await;
    live.gate.turn(&session, "one two").await;
    let mut whole = live.socket(&live.gate.admin).await;
    whole.say(json!({ "type": "subscribe", "session": id(&session), "deltas": false })).await;
    let all = whole.until("turn.completed").await;
    let events: Vec<&Value> = all.iter().filter(|frame| frame["type"] == "event").collect();
    for (at, cut) in events.iter().enumerate() {
        let after = format!("{}.{}", cut["event"]["epoch"].as_str().unwrap(), cut["event"]["seq"]);
        let mut socket = live.socket(&live.gate.admin).await;
        socket.say(json!({ "type": "subscribe", "session": id(&session), "after": after })).await;
        assert_eq!(socket.next().await.unwrap()["type"], "ack");
        for expected in &events[at + 1..] {
            assert_eq!(socket.next().await.as_ref(), Some(*expected), "after {after}");
        }
    }
    let mut lost = live.socket(&live.gate.admin).await;
    lost.say(json!({ "type": "subscribe", "session": id(&session), "after": "1.99" })).await;
    let frames = lost.until("session.created").await;
    assert_eq!((&frames[1]["type"], &frames[1]["session"]), (&json!("reset"), &json!(id(&session))));
    assert_eq!((&frames[1]["seq"], &frames[1]["epoch"]), (&json!(0), &events[0]["event"]["epoch"]));
}

#[tokio::test]
async fn a_bad_frame_gets_an_error_and_the_socket_stays() {
    let live = Live::new().await;
    let session = live.gate.session().await;
    let mut socket = live.socket(&live.gate.admin).await;
    let nothing = "ses_00000000000000000000000000";
    let deep = format!("{}{}", "[".repeat(80), "]".repeat(80));
    let table = [
        ("not json".to_owned(), "invalid_request"),
        ("[]".into(), "invalid_request"),
        ("{}".into(), "invalid_request"),
        (r#"{"type":"dance"}"#.into(), "invalid_request"),
        (r#"{"type":"ping","type":"ping"}"#.into(), "invalid_request"),
        (format!(r#"{{"type":"ping","x":{deep}}}"#), "invalid_request"),
        (r#"{"type":"subscribe"}"#.into(), "invalid_request"),
        (r#"{"type":"subscribe","session":"x"}"#.into(), "invalid_request"),
        (json!({ "type": "subscribe", "session": nothing }).to_string(), "not_found"),
        (
            json!({ "type": "subscribe", "session": id(&session), "after": "?" }).to_string(),
            "invalid_request",
        ),
        (json!({ "type": "subscribe", "session": id(&session), "from": 3 }).to_string(), "invalid_request"),
        (json!({ "type": "input", "session": id(&session), "text": "" }).to_string(), "invalid_request"),
        (
            json!({ "type": "input", "session": id(&session), "role": "system" }).to_string(),
            "invalid_request",
        ),
        (json!({ "type": "cancel", "session": nothing }).to_string(), "not_found"),
        (
            json!({ "type": "approve", "approval": "apr_00000000000000000000000000", "decision": "approve" })
                .to_string(),
            "not_found",
        ),
        (
            json!({ "type": "answer", "question": "qst_00000000000000000000000000", "answers": {} })
                .to_string(),
            "not_found",
        ),
        (format!(r#"{{"type":"ping","ref":"{}"}}"#, "r".repeat(300)), "invalid_request"),
    ];
    for (frame, code) in table {
        socket.stream.send(Message::text(frame.clone())).await.unwrap();
        let answer = socket.next().await.unwrap();
        assert_eq!((&answer["type"], &answer["error"]["code"]), (&json!("error"), &json!(code)), "{frame}");
    }
    socket.stream.send(Message::binary(vec![1, 2, 3])).await.unwrap();
    assert_eq!(socket.next().await.unwrap()["type"], "error");
    socket.say(json!({ "type": "dance", "ref": "mine" })).await;
    assert_eq!(socket.next().await.unwrap()["ref"], "mine");
}

#[tokio::test]
async fn what_is_anothers_is_not_there_over_a_socket_either() {
    let live = Live::new().await;
    let session = live.gate.session().await;
    let rights = json!(["sessions:read", "sessions:write", "approvals:decide"]);
    let (_, key) = live.gate.key(json!({ "scopes": rights, "principal": "bob" })).await;
    let mut bob = live.socket(&key).await;
    let asked = [
        json!({ "type": "subscribe", "session": id(&session) }),
        json!({ "type": "subscribe", "session": id(&session), "after": "1.0" }),
        json!({ "type": "input", "session": id(&session), "text": "mine now" }),
        json!({ "type": "cancel", "session": id(&session) }),
    ];
    for frame in asked {
        bob.say(frame.clone()).await;
        assert_eq!(bob.next().await.unwrap()["error"]["code"], "not_found", "{frame}");
    }
    live.gate.turn(&session, "not for bob").await;
    bob.say(json!({ "type": "ping", "ref": "last" })).await;
    assert_eq!(bob.next().await.unwrap()["ref"], "last", "nothing came before the answer");
}

#[tokio::test]
async fn what_is_unsubscribed_is_heard_no_more() {
    let live = Live::new().await;
    let (one, two) = (live.gate.session().await, live.gate.session().await);
    let mut socket = live.socket(&live.gate.admin).await;
    for session in [&one, &two] {
        socket.say(json!({ "type": "subscribe", "session": id(session) })).await;
        socket.until("session.created").await;
    }
    socket.say(json!({ "type": "unsubscribe", "session": id(&one) })).await;
    assert_eq!(socket.next().await.unwrap()["type"], "ack");
    live.gate.turn(&one, "unheard").await;
    live.gate.turn(&two, "heard").await;
    let heard = socket.until("turn.completed").await;
    let of = |frame: &Value| {
        let kind = frame["type"].as_str().unwrap();
        frame[kind]["session"].as_str().map(str::to_owned)
    };
    assert!(heard.iter().filter_map(of).all(|session| session == id(&two)), "{heard:?}");
}

#[tokio::test]
async fn the_same_submission_over_a_socket_runs_once() {
    let live = Live::new().await;
    let session = live.gate.session().await;
    let mut socket = live.socket(&live.gate.admin).await;
    let input = json!({ "type": "input", "session": id(&session), "text": "once", "idempotency_key": "k" });
    socket.say(input.clone()).await;
    let first = socket.next().await.unwrap();
    socket.say(input).await;
    assert_eq!(socket.next().await.unwrap(), first);
    socket
        .say(json!({ "type": "input", "session": id(&session), "text": "twice", "idempotency_key": "k" }))
        .await;
    assert_eq!(socket.next().await.unwrap()["error"]["code"], "idempotency_mismatch");
}

#[tokio::test]
async fn a_handshake_needs_a_key_a_subprotocol_and_a_known_page() {
    let live = Live::new().await;
    let bearer = ("authorization", format!("Bearer {}", live.gate.admin));
    let speaks = |text: &str| ("sec-websocket-protocol", text.to_owned());
    let key = &live.gate.admin;
    let socket = live.open(&[speaks(&format!("moongate.v1, bearer.{key}"))]).await.unwrap();
    assert_eq!(socket.speaks.as_deref(), Some("moongate.v1"), "the key is not echoed");
    assert_eq!(refused(live.open(&[speaks("moongate.v1")]).await), 401);
    assert_eq!(refused(live.open(&[speaks("moongate.v1, bearer.mg_adm_x")]).await), 401);
    assert_eq!(refused(live.open(&[bearer.clone(), speaks("moongate.v2")]).await), 400);
    assert_eq!(refused(live.open(&[speaks(&format!("bearer.{key}"))]).await), 400);
    let both = [bearer.clone(), speaks(&format!("moongate.v1, bearer.{key}"))];
    assert_eq!(refused(live.open(&both).await), 400);
    let from = |origin: &str| [bearer.clone(), speaks("moongate.v1"), ("origin", origin.to_owned())];
    for origin in ["null", "https://evil.example", "http://localhost:1", "http://localhost.evil.example"] {
        assert_eq!(refused(live.open(&from(origin)).await), 403, "{origin}");
    }
    let own = format!("http://localhost:{}", live.address.port());
    assert!(live.open(&from(&own)).await.is_ok());
    let rebound = [bearer, speaks("moongate.v1"), ("host", "evil.example".to_owned())];
    assert_eq!(refused(live.open(&rebound).await), 421);
    assert_eq!(live.gate.get("/api/v1/ws").await.0, 400);
}

#[tokio::test]
async fn a_revoked_key_closes_its_sockets() {
    let live = Live::new().await;
    let (key_id, key) = live.gate.key(json!({ "scopes": ["sessions:read", "sessions:write"] })).await;
    let mut socket = live.socket(&key).await;
    socket.say(json!({ "type": "ping" })).await;
    socket.next().await.unwrap();
    live.gate.delete(&format!("/api/v1/keys/{key_id}")).await;
    assert_eq!(socket.close_code().await, Some(4001));
    // Also when another process ends it: the store is asked again.
    let (key_id, key) = live.gate.key(json!({ "scopes": ["sessions:read"] })).await;
    let mut socket = live.socket(&key).await;
    let store = live.gate.gateway.store();
    let mut row = store.key(key_id.parse().unwrap()).await.unwrap().unwrap();
    row.revoked_at = Some(live.gate.gateway.ids().now());
    store.put_key(row).await.unwrap();
    let before = tokio::time::Instant::now();
    assert_eq!(socket.close_code().await, Some(4001));
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn large_and_broken_messages_close_the_socket_with_the_right_code() {
    let live = Live::new().await;
    let mut socket = live.socket(&live.gate.admin).await;
    // Refused while it is being sent: the rest of it may find a closed socket.
    drop(socket.stream.send(Message::text("x".repeat(5 << 20))).await);
    assert!(matches!(socket.close_code().await, Some(1009) | None));
    let mut socket = live.socket(&live.gate.admin).await;
    let frame = tungstenite::protocol::frame::Frame::message(
        vec![0xff, 0xfe],
        tungstenite::protocol::frame::coding::OpCode::Data(tungstenite::protocol::frame::coding::Data::Text),
        true,
    );
    socket.stream.send(Message::Frame(frame)).await.unwrap();
    assert_eq!(socket.close_code().await, Some(1007));
}

#[tokio::test]
async fn a_socket_that_does_not_read_is_let_go() {
    let live = Live::with(None, |app| app.limits.write_stall = Duration::from_millis(600)).await;
    let session = live.gate.session().await;
    let text = "x".repeat(250_000);
    for _ in 0..32 {
        live.gate.turn(&session, &text).await;
    }
    let mut socket = live.socket(&live.gate.admin).await;
    socket.say(json!({ "type": "subscribe", "session": id(&session) })).await;
    let stalled = async {
        loop {
            let metrics = live.gate.get("/metrics").await.1;
            if metrics.as_str().unwrap().contains("moongate_websockets 0\n") {
                return metrics;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    let metrics = tokio::time::timeout(common::SOON, stalled).await.expect("the socket is let go");
    assert!(!metrics.as_str().unwrap().contains("moongate_stalled_clients_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn a_socket_counts_as_a_connection_as_long_as_it_is_open() {
    let live = Live::with(None, |app| app.limits.connections = 1).await;
    let mut socket = live.socket(&live.gate.admin).await;
    socket.say(json!({ "type": "ping" })).await;
    socket.next().await.unwrap();
    let head = [("authorization", format!("Bearer {}", live.gate.admin))];
    assert_eq!(refused(live.open(&head).await), 503);
    drop(socket);
    let room = async { while live.open(&head).await.is_err() {} };
    tokio::time::timeout(common::SOON, room).await.expect("there is room again");
}
