//! The contract's transcripts.

use futures_util::SinkExt as _;
use moongate_protocol::ErrorCode;
use moongate_testkit::{Gate, Script, Setup};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::kit::{Kit, MOUNTS, assert_has, kinds};

#[tokio::test]
async fn g1_fresh_chat_whose_first_frame_is_a_message() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        kit.scripts([Script::new().reasoning("greet", None).text("Hel").text("lo.").usage(12, 2).end()]);
        let mut chat = kit.chat(&format!("session_id=s-1&token={}", kit.key)).await;
        assert_eq!(chat.speaks.as_deref(), Some("construct.v1"));
        chat.expect(json!({
            "type": "session_start", "session_id": "s-1", "resumed": false, "message_count": 0,
        }))
        .await;
        chat.say(json!({ "type": "message", "content": "Say hi", "page_context": "v2:dashboard" })).await;
        let accepted = chat.next().await;
        assert_has(&accepted, &json!({ "type": "accepted", "position": 0 }));
        let start = chat.next().await;
        assert_has(&start, &json!({ "type": "turn_start", "input_id": accepted["input_id"] }));
        let turn = &start["turn_id"];
        chat.expect(json!({ "type": "thinking", "content": "greet", "turn_id": turn })).await;
        let mut text = String::new();
        let reset = loop {
            let frame = chat.known().await;
            if frame["type"] != "chunk" {
                break frame;
            }
            assert_eq!(frame["offset"], text.len());
            text.push_str(frame["content"].as_str().unwrap());
        };
        assert_eq!((text.as_str(), &reset["type"]), ("Hello.", &json!("chunk_reset")));
        let done = json!({
            "type": "done", "full_response": "Hello.", "finish_reason": "stop", "input_tokens": 12,
            "output_tokens": 2, "tokens_used": 14, "cost_usd": null, "turn_id": turn,
        });
        chat.expect(done).await;
        let rows = kit.rows("s-1").await;
        assert_has(&rows[0], &json!({ "role": "user", "content": "Say hi" }));
        assert_has(&rows[1], &json!({ "role": "assistant", "content": "Hello.", "status": "complete" }));
        assert_eq!(rows.len(), 2);
        assert!(!Value::Array(rows).to_string().contains("page open"));
    }
}

#[tokio::test]
async fn g2_connect_bad_frames_and_listening_only() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.timing.first_frame_secs = 0).await;
        let bad = [
            (
                r#"{"type":"nope"}"#,
                json!({
                    "type": "error", "code": "UNKNOWN_MESSAGE_TYPE",
                    "message": r#"Unsupported message type "nope". Send {"type":"message","content":"your text"}"#,
                }),
            ),
            (
                r#"{"type":"message","content":""}"#,
                json!({
                    "type": "error", "code": "EMPTY_CONTENT", "message": "Message content cannot be empty",
                }),
            ),
            ("hello", json!({ "type": "error", "code": "INVALID_JSON" })),
        ];
        let mut chat = kit.joined("wf-live-9").await;
        chat.stream.send(Message::Pong("x".into())).await.unwrap();
        chat.stream.send(Message::binary(vec![1, 2, 3])).await.unwrap();
        chat.say(json!({ "type": "connect", "capabilities": "oops", "device_name": "tablet" })).await;
        chat.expect(json!({ "type": "connected", "message": "Connection established" })).await;
        for (frame, answer) in &bad {
            chat.text(frame).await;
            let error = chat.expect(answer.clone()).await;
            if answer["code"] == "INVALID_JSON" {
                assert!(error["message"].as_str().unwrap().starts_with("Invalid JSON: "));
            }
        }
        for (frame, answer) in bad {
            let mut first = kit.joined("wf-live-9").await;
            first.text(frame).await;
            first.expect(answer).await;
        }
        assert_eq!(kit.get("/api/sessions/wf-live-9").await.status, 404);
    }
}

#[tokio::test]
async fn g4_a_connection_lost_in_the_middle_by_an_unchanged_client() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([Script::new().text("One ").text("two ").gate(&gate).text("three").usage(1, 1).end()]);
        let mut a = kit.joined("s-4").await;
        a.message("count").await;
        let mut said = String::new();
        while said != "One two " {
            let frame = a.next().await;
            if frame["type"] == "chunk" {
                said.push_str(frame["content"].as_str().unwrap());
            }
        }
        drop(a);
        let mut b = kit.chat("session_id=s-4").await;
        let start = b
            .expect(json!({
                "type": "session_start", "session_id": "s-4", "resumed": true, "message_count": 1,
                "state": "running",
            }))
            .await;
        assert!(start["turn_id"].is_string());
        b.expect(json!({ "type": "chunk_reset", "replay": true })).await;
        b.expect(json!({ "type": "chunk", "content": "One two ", "offset": 0, "replay": true })).await;
        b.expect(json!({ "type": "turn_snapshot", "text": "One two ", "replay": true })).await;
        gate.open();
        b.expect(json!({ "type": "chunk", "content": "three", "offset": 8 })).await;
        b.expect(json!({ "type": "chunk_reset" })).await;
        b.expect(json!({ "type": "done", "full_response": "One two three" })).await;
        assert_eq!(kit.calls(), 1);
    }
}

#[tokio::test]
async fn g4_c09_an_answer_nobody_saw_is_shown_once() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([Script::new().text("One ").gate(&gate).text("two").usage(1, 1).end()]);
        let mut a = kit.joined("s-4").await;
        a.message("count").await;
        a.until("chunk").await;
        drop(a);
        gate.open();
        while kit.get("/api/sessions/s-4/state").await.body["state"] != "idle" {}
        let mut b = kit.chat("session_id=s-4").await;
        b.expect(json!({ "type": "session_start", "message_count": 2, "state": "idle" })).await;
        b.expect(json!({ "type": "chunk_reset", "replay": true })).await;
        b.expect(json!({ "type": "done", "full_response": "One two", "replay": true })).await;
        assert_eq!(b.so_far().await, [] as [Value; 0]);
        let mut c = kit.joined("s-4").await;
        assert_eq!(c.so_far().await, [] as [Value; 0]);
        assert_eq!(kit.calls(), 1);
    }
}

#[tokio::test]
async fn g5_a_queue_is_full_or_an_input_waits_too_long() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            (settings.queue.depth, settings.queue.wait_secs) = (2, 1);
        })
        .await;
        let gate = Gate::new();
        kit.scripts([Script::new().gate(&gate).text("a").usage(1, 1).end()]);
        let (mut a, mut b, mut c) =
            (kit.joined("s-5").await, kit.joined("s-5").await, kit.joined("s-5").await);
        a.message("a").await;
        a.until("turn_start").await;
        b.message("b").await;
        assert_has(&b.until("accepted").await.pop().unwrap(), &json!({ "position": 1 }));
        c.message("c").await;
        let full = json!({
            "message": "Session s-5 queue full (2 pending requests)", "code": "SESSION_BUSY",
            "reason": "SESSION_QUEUE_FULL", "retryable": true,
        });
        assert_has(&c.until("error").await.pop().unwrap(), &full);
        let late = json!({
            "message": "Timed out waiting for session s-5", "code": "SESSION_BUSY",
            "reason": "SESSION_QUEUE_TIMEOUT", "retryable": true,
        });
        assert_has(&b.until("error").await.pop().unwrap(), &late);
        gate.open();
        a.until("done").await;
        assert_eq!(kit.calls(), 1, "the model sees neither");
        assert_eq!(kit.rows("s-5").await.len(), 2);
    }
}

#[tokio::test]
async fn g5_an_input_whose_sender_left_runs() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.queue.wait_secs = 1).await;
        let gate = Gate::new();
        kit.scripts([Script::new().gate(&gate).text("a").usage(1, 1).end(), Script::says("b it is")]);
        let (mut a, mut b) = (kit.joined("s-5").await, kit.joined("s-5").await);
        a.message("a").await;
        a.until("turn_start").await;
        b.message("b").await;
        b.until("accepted").await;
        drop(b);
        tokio::time::sleep(std::time::Duration::from_millis(1300)).await;
        gate.open();
        a.until("done").await;
        assert_has(&a.until("done").await.pop().unwrap(), &json!({ "full_response": "b it is" }));
    }
}

#[tokio::test]
async fn g6_c34_a_provider_cuts_the_stream() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let cut = Script::new().text("Partial").fault(ErrorCode::ProviderCut);
        kit.scripts([cut, Script::says("Fine.")]);
        let mut chat = kit.joined("s-6").await;
        chat.message("long").await;
        chat.expect(json!({ "type": "chunk", "content": "Partial" })).await;
        chat.expect(json!({
            "type": "error", "message": "The model stream ended early.", "code": "PROVIDER_ERROR",
            "reason": "stream_cut", "partial": true, "retryable": true,
        }))
        .await;
        assert_eq!(kit.get("/api/sessions/s-6/state").await.body["state"], "error");
        let rows = kit.rows("s-6").await;
        assert_has(&rows[0], &json!({ "role": "user", "status": "failed" }));
        assert_has(&rows[1], &json!({ "content": "Partial", "status": "incomplete" }));
        chat.message("again").await;
        let frames = chat.until("done").await;
        assert_has(frames.last().unwrap(), &json!({ "full_response": "Fine." }));
        assert_eq!(kinds(&frames)[frames.len() - 2], "chunk_reset");
        assert_eq!(kit.get("/api/sessions/s-6/state").await.body["state"], "idle");
        let prompt = kit.gateway.model().prompts().pop().unwrap();
        let users: Vec<bool> =
            prompt.iter().map(|m| matches!(m, moongate_core::PromptMessage::User(_))).collect();
        assert_eq!(users, [true, false, true]);
    }
}

#[tokio::test]
async fn g7_an_abort_ends_the_turn_for_every_socket_in_its_own_words() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        kit.scripts([Script::new().text("abc").hang()]);
        let (mut old, mut new) = (kit.joined("s-7").await, kit.joined("s-7").await);
        new.say(json!({ "type": "connect", "capabilities": ["aborted", "nothing"] })).await;
        assert_has(&new.next().await, &json!({ "type": "connected", "capabilities": ["aborted"] }));
        old.message("go").await;
        let turn = old.until("turn_start").await.pop().unwrap()["turn_id"].clone();
        old.expect(json!({ "type": "chunk", "content": "abc" })).await;
        let got = kit.post("/api/sessions/s-7/abort", None).await;
        assert_eq!((got.status, got.body), (200, json!({ "status": "aborted", "turn_id": turn })));
        let got = kit.post("/api/sessions/s-7/abort", None).await;
        assert_eq!((got.status, got.body), (200, json!({ "status": "no_active_response" })));
        let aborted =
            json!({ "type": "aborted", "turn_id": turn, "partial_response": "abc", "reason": "abort" });
        old.expect(aborted.clone()).await;
        old.expect(json!({ "type": "chunk_reset" })).await;
        old.expect(json!({
            "type": "done", "full_response": "abc", "aborted": true, "finish_reason": "aborted",
        }))
        .await;
        assert_has(&new.until("aborted").await.pop().unwrap(), &aborted);
        assert_eq!(new.so_far().await, [] as [Value; 0]);
    }
}
