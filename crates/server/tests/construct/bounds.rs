//! What the door's settings bound.

use std::time::Duration;

use moongate_testkit::{Gate, Script, Setup};
use serde_json::{Value, json};

use crate::{
    hooks::hook,
    kit::{Kit, MOUNTS, assert_has},
    pairing::upload,
};

#[tokio::test]
async fn turns_of_a_key_past_its_share_wait_in_their_sessions_queue() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.limits.turns_per_key = 1).await;
        let gate = Gate::new();
        kit.scripts([
            Script::new().text("a").gate(&gate).text("!").usage(1, 1).end(),
            Script::says("hers"),
            Script::says("later"),
        ]);
        let (mut a, mut b) = (kit.joined("a").await, kit.joined("b").await);
        a.message("first").await;
        a.until("chunk").await;
        b.message("second").await;
        assert_eq!(b.next().await["type"], "accepted");
        let state = kit.get("/api/sessions/b/state").await.body;
        assert_has(&state, &json!({ "state": "idle", "queue_depth": 1 }));
        let (_, eve) = kit.key_of("eve").await;
        let mut hers = kit.chat_as(&eve, "session_id=a").await;
        hers.message("mine").await;
        hers.until("done").await;
        assert_eq!(b.so_far().await, [] as [Value; 0]);
        assert_eq!(kit.calls(), 2);
        gate.open();
        a.until("done").await;
        assert_has(b.until("done").await.last().unwrap(), &json!({ "full_response": "later" }));
    }
}

#[tokio::test]
async fn an_input_that_waits_too_long_for_its_keys_share_is_refused_and_the_next_one_runs() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            (settings.limits.turns_per_key, settings.queue.wait_secs) = (1, 1);
        })
        .await;
        let gate = Gate::new();
        kit.scripts([Script::new().text("a").gate(&gate).end(), Script::says("next")]);
        let (mut a, mut b) = (kit.joined("a").await, kit.joined("b").await);
        a.message("first").await;
        a.until("chunk").await;
        b.message("second").await;
        let late = b.until("error").await.pop().unwrap();
        assert_has(&late, &json!({ "code": "SESSION_BUSY", "reason": "SESSION_QUEUE_TIMEOUT" }));
        gate.open();
        a.until("done").await;
        b.message("third").await;
        assert_has(b.until("done").await.last().unwrap(), &json!({ "full_response": "next" }));
        assert_eq!(kit.calls(), 2);
    }
}

#[tokio::test]
async fn a_webhooks_key_is_a_new_one_when_its_time_is_over() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.timing.idempotency_secs = 60).await;
        let ask = || hook(&kit, &kit.key, &[("x-idempotency-key", "k")], json!({ "message": "m" }));
        assert_eq!(ask().await.status, 200);
        for (later, calls, again) in [(59, 1, true), (1, 2, false), (59, 2, true), (3600, 3, false)] {
            kit.gateway.clock().advance(Duration::from_secs(later));
            let got = ask().await;
            assert_eq!((got.status, kit.calls()), (200, calls), "{got:?}");
            assert_eq!(got.body["idempotent"] == true, again);
        }
    }
}

#[tokio::test]
async fn files_of_a_session_have_a_bound_and_go_after_a_day_or_with_it() {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    for mount in MOUNTS {
        let mut kit =
            Kit::with(mount, Setup::default(), |settings| settings.limits.session_upload_bytes = 8).await;
        let used = upload(&kit, "s", "a.txt", b"used").await.body["file_id"].clone();
        let got = upload(&kit, "s", "a.txt", b"more!").await;
        assert_eq!((got.status, &got.body["code"]), (413, &json!("payload_too_large")));
        let unused = upload(&kit, "s", "b.txt", b"more").await.body["file_id"].clone();
        assert_eq!(upload(&kit, "t", "a.txt", b"more!").await.status, 201);
        kit.restart().await;
        assert_eq!(upload(&kit, "s", "a.txt", b"x").await.status, 413, "counted also after a restart");
        let mut chat = kit.joined("s").await;
        chat.say(json!({ "type": "message", "content": "x", "attachments": [used] })).await;
        chat.until("done").await;
        let tidy = async |kit: &Kit, later: Duration| {
            kit.gateway.clock().advance(later);
            kit.gateway.gateway().tidy().await;
        };
        tidy(&kit, DAY - Duration::from_secs(1)).await;
        assert_eq!(upload(&kit, "s", "a.txt", b"x").await.status, 413);
        kit.gateway.clock().advance(Duration::from_secs(2));
        chat.say(json!({ "type": "message", "content": "x", "attachments": [unused] })).await;
        let error = chat.until("error").await.pop().unwrap();
        assert_eq!(error["code"], "ATTACHMENT_NOT_FOUND");
        tidy(&kit, Duration::ZERO).await;
        assert_eq!(upload(&kit, "s", "a.txt", b"room").await.status, 201);
        chat.say(json!({ "type": "message", "content": "x", "attachments": [used] })).await;
        chat.until("done").await;
        assert_eq!(kit.rows("s").await[0]["attachments"][0]["file_id"], used);
        assert_eq!(kit.delete("/api/sessions/s").await.status, 200);
        assert_eq!(upload(&kit, "s", "a.txt", b"all room").await.status, 201);
    }
}

#[tokio::test]
async fn waiting_codes_sockets_and_failures_have_their_bounds() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            (settings.pairing.max_pending, settings.pairing.max_failed) = (1, 2);
        })
        .await;
        assert_eq!(kit.post("/api/pairing/initiate", None).await.status, 200);
        let (_, eve) = kit.key_of("eve").await;
        let got = kit.ask_as(&eve, "POST", "/api/pairing/initiate", None).await;
        assert_eq!((got.status, &got.body["code"]), (429, &json!("rate_limited")));
        assert!(got.body["retry_after"].as_u64().unwrap() > 0);
        let bad = [("x-pairing-code", "x".to_owned())];
        for expected in [403, 403, 429] {
            assert_eq!(kit.raw("POST", "/pair", &bad, b"").await.status, expected);
        }
    }
}

#[tokio::test]
async fn inputs_past_a_minutes_share_are_refused_with_a_time() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.limits.inputs_per_minute = 2).await;
        let mut chat = kit.joined("s").await;
        for _ in 0..2 {
            chat.message("x").await;
            chat.until("done").await;
        }
        chat.message("x").await;
        let error = chat.until("error").await.pop().unwrap();
        assert_has(&error, &json!({ "code": "RATE_LIMITED", "retryable": true }));
        assert!(error["retry_after"].as_u64().unwrap() > 0);
        let got = hook(&kit, &kit.key, &[], json!({ "message": "x" })).await;
        assert_eq!((got.status, &got.body["code"]), (429, &json!("rate_limited")));
        assert_eq!(kit.calls(), 2);
    }
}
