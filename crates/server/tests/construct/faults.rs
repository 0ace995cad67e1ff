//! What must not come back, where something fails or is slow.

use std::time::{Duration, Instant};

use futures_util::{SinkExt as _, StreamExt as _};
use moongate_core::{Allowance, Catalog, Fault, Piece, PromptMessage, SpendLimits, Spending, ToolResult};
use moongate_protocol::{Effect, ErrorCode, ToolOutcome};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;

use crate::kit::{Kit, MOUNTS, SOON, assert_has};

/// A clock that goes on only when it is told to, whatever nobody waits for but the network.
struct Still(std::sync::mpsc::SyncSender<()>);

impl Still {
    fn stand() -> Self {
        let (over, standing) = std::sync::mpsc::sync_channel(1);
        // Time does not pass by itself while a thread works; a test that hangs is let go.
        tokio::task::spawn_blocking(move || standing.recv_timeout(SOON).is_ok());
        tokio::time::pause();
        Self(over)
    }

    fn go_on(self) {
        drop(self.0);
        tokio::time::resume();
    }
}

#[tokio::test]
async fn c08_in_a_long_turn_the_server_pings_answers_and_sees_a_close() {
    /// Pings of a turn of ninety seconds.
    const PINGS: u64 = 3;
    /// Timers are late by up to a millisecond.
    const LATE: Duration = Duration::from_millis(5);
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.limits.sockets_per_key = 1).await;
        assert_eq!(kit.settings.timing.ping_secs * PINGS, 90);
        let gate = Gate::new();
        kit.scripts([Script::new().text("a").gate(&gate).end()]);
        let mut chat = kit.joined("s").await;
        chat.message("long").await;
        chat.until("chunk").await;
        let still = Still::stand();
        for _ in 0..PINGS {
            tokio::time::advance(Duration::from_secs(kit.settings.timing.ping_secs) + LATE).await;
            chat.stream.send(Message::Ping("mine".into())).await.unwrap();
            let (mut pings, mut pongs) = (0, 0);
            while pings == 0 || pongs == 0 {
                let next = tokio::time::timeout(SOON, chat.stream.next()).await;
                match next.expect("a frame").unwrap().unwrap() {
                    Message::Ping(_) => pings += 1,
                    Message::Pong(text) => pongs += usize::from(text.as_ref() == b"mine"),
                    other => panic!("{other:?}"),
                }
            }
            assert_eq!((pings, pongs), (1, 1), "one ping each time");
        }
        still.go_on();
        let began = Instant::now();
        chat.stream.close(None).await.unwrap();
        let protocols = [("sec-websocket-protocol", format!("construct.v1, bearer.{}", kit.key))];
        while kit.open("session_id=s", &protocols).await.is_err() {
            assert!(began.elapsed() < Duration::from_secs(1), "the key's one place is free again");
        }
        gate.open();
    }
}

#[tokio::test]
async fn c11_a_socket_that_never_reads_is_closed_and_others_do_not_notice() {
    /// Bytes of each answer, and answers: more than any buffer on the way takes.
    const ANSWER: usize = 1 << 20;
    const ANSWERS: usize = 24;
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            (settings.limits.send_frames, settings.limits.send_bytes) = (64, 256 << 10);
        })
        .await;
        let text = "x".repeat(ANSWER);
        kit.scripts((0..ANSWERS).map(|_| Script::says(&text)));
        let (mut deaf, mut good) = (kit.joined("s").await, kit.joined("s").await);
        let mut answers = 0;
        // Its close is waited for no longer than a few seconds: it is read as soon as it was let go.
        while answers < ANSWERS && !kit.has_let_go().await {
            answers += 1;
            good.message("more").await;
            let done = good.until("done").await.pop().unwrap();
            assert_eq!(done["full_response"].as_str().unwrap().len(), ANSWER);
        }
        kit.stalled().await;
        assert_eq!(deaf.close_code().await, Some(1013));
    }
}

#[tokio::test]
async fn c13_sockets_that_only_listen_begin_nothing() {
    const SOCKETS: usize = 1_000;
    for mount in MOUNTS {
        let kit =
            Kit::with(mount, Setup::default(), |settings| settings.limits.sockets_per_key = SOCKETS).await;
        let mut sockets = Vec::new();
        for n in 0..SOCKETS {
            sockets.push(kit.joined(&format!("s-{n}")).await);
        }
        assert_eq!(kit.gateway.gateway().open_sessions(), 0);
        assert_eq!(kit.get("/api/sessions").await.body, json!({ "sessions": [] }));
        assert_eq!(kit.calls(), 0);
    }
}

#[tokio::test]
async fn c13_sessions_that_were_opened_and_left_take_no_memory() {
    /// Sessions that are opened and left, and at once.
    const SESSIONS: usize = 2_000;
    const AT_ONCE: usize = 100;
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| {
            (settings.limits.sockets_per_key, settings.limits.inputs_per_minute) = (AT_ONCE * 2, 1_000_000);
        })
        .await;
        for batch in 0..SESSIONS / AT_ONCE {
            let mut sockets = Vec::new();
            for n in 0..AT_ONCE {
                let mut chat = kit.chat(&format!("session_id=s-{batch}-{n}&name=n")).await;
                chat.next().await;
                sockets.push(chat);
            }
            for mut chat in sockets {
                chat.stream.close(None).await.unwrap();
                while chat.try_next().await.is_some() {}
            }
        }
        let forgotten = async {
            while kit.gateway.gateway().open_sessions() > 0 {
                kit.gateway.gateway().tidy().await;
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::time::timeout(SOON, forgotten).await.expect("nothing of them stays in memory");
        let page = kit.get("/api/sessions?limit=500").await.body;
        assert_eq!(page["sessions"].as_array().unwrap().len(), 500);
        assert!(page["next_cursor"].is_string());
    }
}

#[tokio::test]
async fn c14_c19_what_a_provider_says_is_in_no_frame_and_changes_no_code() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let secret = "invalid api key sk-123 for model at https://api.example/v1 in /etc/secret";
        let fault = Fault::new(ErrorCode::ProviderUnreachable, secret);
        let failing = || Script::new().piece(Piece::Fault(fault.clone()));
        kit.scripts([failing(), failing()]);
        let mut chat = kit.joined("s").await;
        chat.message("go").await;
        let frames = chat.until("error").await;
        assert_has(frames.last().unwrap(), &json!({ "code": "PROVIDER_ERROR", "reason": "unavailable" }));
        let headers = [("authorization", format!("Bearer {}", kit.key))];
        let hook = kit.raw("POST", "/webhook", &headers, br#"{"message":"x"}"#).await;
        assert_eq!(hook.status, 500);
        let events = kit.get("/api/events/history").await;
        let all = format!("{frames:?}{hook:?}{events:?}{:?}", kit.rows("s").await);
        for word in ["sk-123", "api.example", "/etc/secret", "api key"] {
            assert!(!all.contains(word), "{word}");
        }
        let mut chat = kit.chat("session_id=t&agent=nobody").await;
        let error = chat.next().await;
        assert_eq!(error["code"], "AGENT_INIT_FAILED");
        assert!(error["message"].as_str().unwrap().starts_with("Failed to initialise agent: "));
        assert_eq!(chat.close_code().await, Some(1011));
    }
}

#[tokio::test]
async fn c16_c21_calls_are_told_once_each_and_are_in_the_context_after_a_restart() {
    for mount in MOUNTS {
        let tool = ScriptedTool::new("look", Effect::Read).answers(ToolResult::ok("seen"));
        let failing = ScriptedTool::new("fails", Effect::Read)
            .answers(ToolResult::ended(ToolOutcome::Error, "no model, no api key"));
        let mut kit = Kit::with(mount, Setup::default().tool(tool).tool(failing), |_| {}).await;
        let both = Script::calls(&[
            ("look", json!({ "at": 1 })),
            ("look", json!({ "at": 2 })),
            ("fails", json!({})),
        ]);
        kit.scripts([both, Script::says("done"), Script::says("again")]);
        let mut chat = kit.joined("s").await;
        chat.message("go").await;
        let frames = chat.until("done").await;
        let of = |kind: &str| -> Vec<&Value> { frames.iter().filter(|f| f["type"] == kind).collect() };
        let (calls, results) = (of("tool_call"), of("tool_result"));
        assert_eq!((calls.len(), results.len()), (3, 3));
        for call in calls {
            let its: Vec<_> = results.iter().filter(|result| result["id"] == call["id"]).collect();
            assert_eq!(its.len(), 1);
            let failed = call["name"] == "fails";
            assert_eq!(its[0]["is_error"], failed);
            assert_eq!(its[0]["output"].as_str().unwrap().starts_with("Error"), failed);
        }
        kit.restart().await;
        let mut chat = kit.joined("s").await;
        chat.message("more").await;
        chat.until("done").await;
        let prompt = kit.gateway.model().prompts().pop().unwrap();
        let results = prompt.iter().filter(|m| matches!(m, PromptMessage::ToolResult { .. })).count();
        assert_eq!(results, 3);
    }
}

#[tokio::test]
async fn c18_what_cannot_be_stored_is_not_accepted() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut chat = kit.joined("s").await;
        chat.message("one").await;
        chat.until("done").await;
        kit.gateway.store().refuse(Some(|| moongate_core::StoreError::DiskFull));
        chat.message("two").await;
        let frame = chat.until("error").await.pop().unwrap();
        assert_has(&frame, &json!({ "code": "STORAGE_ERROR" }));
        assert_eq!(kit.calls(), 1);
    }
}

#[tokio::test]
async fn c36_past_a_spend_limit_the_next_input_fails_and_no_model_is_called() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        let limit = |kit: &Kit| {
            let day = Allowance { calls: Some(1), ..Allowance::default() };
            let everywhere = SpendLimits { day, ..SpendLimits::default() };
            let spending = Spending { everywhere, ..Spending::default() };
            let gateway = kit.gateway.gateway();
            gateway.set_catalog(Catalog { spending, ..Catalog::clone(&gateway.catalog()) });
        };
        limit(&kit);
        kit.scripts([Script::says("one")]);
        let mut chat = kit.joined("s").await;
        chat.message("one").await;
        chat.until("done").await;
        for restarted in [false, true] {
            if restarted {
                kit.restart().await;
                limit(&kit);
                chat = kit.joined("s").await;
            }
            let before = kit.calls();
            chat.message("two").await;
            let failed = chat.until("error").await.pop().unwrap();
            let told = json!({ "code": "AGENT_ERROR", "reason": "budget_exceeded", "retryable": false });
            assert_has(&failed, &told);
            assert_eq!(kit.calls(), before, "restarted: {restarted}");
        }
    }
}

#[tokio::test]
async fn c37_bad_keys_are_limited_and_audited_and_good_ones_are_not() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut last = 401;
        for _ in 0..20 {
            last = kit.ask_as("mg_bad", "GET", "/api/sessions", None).await.status;
            if last == 429 {
                break;
            }
        }
        assert_eq!(last, 429);
        assert_eq!(kit.get("/api/sessions").await.status, 200);
        let audit = kit.gateway.disk().audit_entries(&"default".parse().unwrap(), 100).await.unwrap();
        let denied = audit.iter().find(|entry| entry.action == "auth.denied").unwrap();
        assert_eq!(denied.from.as_deref(), Some("127.0.0.1"));
    }
}
