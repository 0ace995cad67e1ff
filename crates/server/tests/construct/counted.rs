//! What is told without reading a log, and how far back a log is told again.

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::{
    hooks::hook,
    kit::{Kit, MOUNTS, assert_has},
};

/// Events of one exact replay.
const REPLAY: u64 = 10_000;

#[tokio::test]
async fn a_session_counts_the_rows_it_lists() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([
            Script::says("whole"),
            Script::new().text("half").fault(ErrorCode::ProviderCut),
            Script::new().fault(ErrorCode::ProviderUnreachable),
            Script::new().text("stopped").gate(&gate).end(),
        ]);
        let mut chat = kit.joined("s").await;
        for ends in ["done", "error", "error", "chunk"] {
            chat.message("said").await;
            chat.until(ends).await;
        }
        chat.say(json!({ "type": "cancel" })).await;
        chat.until("done").await;
        for _ in 0..2 {
            let rows = kit.rows("s").await.len();
            assert_eq!(rows, 7);
            let read = kit.gateway.store().events_read();
            let got = kit.get("/api/sessions").await;
            assert_eq!(got.body["sessions"][0]["message_count"], rows, "{got:?}");
            assert_eq!(kit.get("/api/cost").await.status, 200);
            assert_eq!(kit.gateway.store().events_read(), read, "no log is read for that");
            let start = kit.chat("session_id=s").await.next().await;
            assert_has(&start, &json!({ "message_count": rows, "resumed": true }));
            kit.restart().await;
        }
    }
}

#[tokio::test]
async fn what_was_spent_is_told_also_of_sessions_that_are_gone() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        for session in ["s-1", "s-2"] {
            let got = hook(&kit, &kit.key, &[("x-session-id", session)], json!({ "message": "m" })).await;
            assert_eq!(got.status, 200, "{got:?}");
        }
        assert_eq!(kit.delete("/api/sessions/s-1").await.status, 200);
        let got = kit.get("/api/cost").await;
        assert_has(
            &got.body["cost"],
            &json!({ "request_count": 2, "total_tokens": 24, "unpriced_requests": 2 }),
        );
        let got = kit.get("/api/cost?session_id=nobody").await;
        assert_has(&got.body["cost"], &json!({ "session_cost_usd": 0.0, "request_count": 2 }));
    }
}

#[tokio::test]
async fn c20_a_replay_goes_ten_thousand_events_back_and_no_further() {
    /// Calls of each turn, and turns: together more than that many events.
    const CALLS: usize = 64;
    const TURNS: usize = 80;
    for mount in MOUNTS {
        let look = Setup::default().tool(ScriptedTool::new("look", Effect::Read));
        let kit = Kit::with(mount, look, |_| {}).await;
        let calls: Vec<_> = (0..CALLS).map(|n| ("look", json!({ "n": n }))).collect();
        for _ in 0..TURNS {
            kit.scripts([Script::calls(&calls), Script::says("looked")]);
            let got = hook(&kit, &kit.key, &[("x-session-id", "s")], json!({ "message": "look" })).await;
            assert_eq!(got.status, 200, "{got:?}");
        }
        let start = kit.chat("session_id=s").await.next().await;
        let (head, epoch) =
            (start["last_seq"].as_u64().unwrap(), start["epoch"].as_str().unwrap().to_owned());
        let rows = kit.rows("s").await;
        let ends: Vec<u64> = rows
            .iter()
            .filter(|row| row["role"] == "assistant")
            .map(|row| row["seq"].as_u64().unwrap())
            .collect();
        assert_eq!((ends.len(), *ends.last().unwrap()), (TURNS, head));
        let within = ends.iter().position(|end| head - end <= REPLAY).unwrap();
        assert!(within > 0, "{head} events are not enough");
        let from = async |seq: u64| {
            let mut chat = kit.chat(&format!("session_id=s&last_seq={seq}&epoch={epoch}")).await;
            (chat.next().await, chat)
        };
        let (start, mut chat) = from(ends[within]).await;
        assert!(start.get("reset").is_none(), "{start}");
        let mut frames: Vec<Value> = Vec::new();
        while frames.last().is_none_or(|frame| frame["seq"] != head || frame["type"] != "done") {
            frames.push(chat.next().await);
        }
        let seqs: Vec<u64> = frames.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
        assert!(seqs.is_sorted() && seqs[0] > ends[within], "no gap and no repeat");
        let told = TURNS - within - 1;
        let count = |kind: &str| frames.iter().filter(|frame| frame["type"] == kind).count();
        assert_eq!((count("done"), count("user_message")), (told, told));
        assert_eq!((count("tool_call"), count("tool_result")), (told * CALLS, told * CALLS));
        let (start, mut chat) = from(ends[within - 1]).await;
        assert_eq!(start["reset"], true, "{start}");
        let told = chat.so_far().await;
        assert!(told.iter().all(|frame| frame["seq"].is_null() || frame["seq"] == head), "{told:?}");
    }
}
