//! What must not come back, on sockets.

use moongate_testkit::{Gate, MODEL, Script, ScriptedModel, Setup};
use serde_json::{Value, json};

use crate::{
    kit::{Kit, MOUNTS, assert_has, kinds, refused},
    sink::Sink,
};

#[tokio::test]
async fn c01_two_first_frames_at_once_run_one_after_the_other() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let (mut a, mut b) = (kit.joined("s").await, kit.joined("s").await);
        tokio::join!(a.message("one"), b.message("two"));
        a.until("done").await;
        a.until("done").await;
        let rows = kit.rows("s").await;
        let roles: Vec<_> = rows.iter().map(|row| row["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
        b.until("done").await;
    }
}

#[tokio::test]
async fn c02_c03_first_frames_of_any_form_get_their_codes_and_connect_is_acknowledged() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        for content in [json!(""), json!(null), json!(3), json!({}), json!(" \t")] {
            let mut chat = kit.joined("s").await;
            chat.say(json!({ "type": "message", "content": content })).await;
            chat.expect(json!({ "type": "error", "code": "EMPTY_CONTENT" })).await;
            chat.say(json!({ "type": "connect", "session_id": 3, "capabilities": [1, "approvals"] })).await;
            chat.expect(json!({ "type": "connected", "capabilities": ["approvals"], "session_id": "s" }))
                .await;
            chat.say(json!({ "type": "connect" })).await;
            chat.expect(json!({ "type": "connected" })).await;
        }
    }
}

#[tokio::test]
async fn c04_connect_moves_a_socket_whole_or_not_at_all() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut other = kit.joined("b").await;
        other.message("in b").await;
        other.until("done").await;
        let mut chat = kit.joined("a").await;
        chat.say(json!({ "type": "connect", "session_id": "b" })).await;
        chat.expect(json!({ "type": "session_start", "session_id": "b", "message_count": 2 })).await;
        assert_has(&chat.until("connected").await.pop().unwrap(), &json!({ "session_id": "b" }));
        chat.message("also in b").await;
        chat.until("done").await;
        assert_eq!(kit.rows("b").await.len(), 4);
        chat.say(json!({ "type": "connect", "session_id": "a" })).await;
        chat.expect(json!({ "type": "connected", "session_id": "b" })).await;
        assert_eq!(kit.get("/api/sessions/a").await.status, 404);
    }
}

#[tokio::test]
async fn c05_c12_every_socket_of_a_session_sees_the_same_from_its_beginning() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let (mut a, mut b) = (kit.joined("s").await, kit.joined("s").await);
        a.message("hello").await;
        let (mine, theirs) = (a.until("done").await, b.until("done").await);
        assert_has(&mine[0], &json!({ "type": "accepted" }));
        assert_has(
            &theirs[0],
            &json!({ "type": "user_message", "content": "hello", "input_id": mine[0]["input_id"] }),
        );
        let text = |frames: &[Value]| -> String {
            frames.iter().filter(|f| f["type"] == "chunk").map(|f| f["content"].as_str().unwrap()).collect()
        };
        assert_eq!(text(&mine), text(&theirs));
        assert_eq!(mine.last(), theirs.last());
    }
}

#[tokio::test]
async fn c10_a_client_message_id_is_never_run_twice() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let mut chat = kit.joined("s").await;
        let said = json!({ "type": "message", "content": "once", "client_message_id": "m-1" });
        chat.say(said.clone()).await;
        let first = chat.until("done").await;
        assert_eq!(first[0]["client_message_id"], "m-1");
        chat.so_far().await;
        let mut again = kit.joined("s").await;
        again.say(said).await;
        let frames = again.until("done").await;
        assert_eq!(frames[0]["input_id"], first[0]["input_id"]);
        assert_eq!(kinds(&frames), ["accepted", "chunk_reset", "done"]);
        assert_eq!(kit.calls(), 1);
    }
}

#[tokio::test]
async fn c10_what_is_typed_in_a_turn_or_while_a_connection_breaks_is_run_once() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([Script::new().text("first").gate(&gate).usage(1, 1).end()]);
        let said = |n: usize| {
            let id = format!("m-{n}");
            json!({ "type": "message", "content": id, "client_message_id": id })
        };
        let mut chat = kit.joined("s").await;
        chat.message("go").await;
        chat.until("chunk").await;
        // Cut right after it is said, after it was accepted, and not at all; each client says it again.
        for (n, cut_after) in [None, Some("accepted"), None, Some("accepted")].into_iter().enumerate() {
            let mut typing = kit.joined("s").await;
            typing.say(said(n)).await;
            if let Some(kind) = cut_after {
                typing.until(kind).await;
            }
            drop(typing);
            let mut again = kit.joined("s").await;
            again.say(said(n)).await;
            let accepted = again.until("accepted").await.pop().unwrap();
            assert_has(&accepted, &json!({ "client_message_id": format!("m-{n}") }));
        }
        gate.open();
        while kit.get("/api/sessions/s/state").await.body["queue_depth"] != 0 {}
        let rows = kit.rows("s").await;
        let users: Vec<_> = rows.iter().filter(|row| row["role"] == "user").collect();
        let texts: Vec<_> = users.iter().map(|row| row["content"].as_str().unwrap()).collect();
        assert_eq!(texts, ["go", "m-0", "m-1", "m-2", "m-3"]);
        assert_eq!((rows.len(), kit.calls()), (10, 5));
    }
}

#[tokio::test]
async fn c20_replay_and_live_have_no_gap_and_no_repeat() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([
            Script::says("first"),
            Script::new().text("sec").gate(&gate).text("ond").usage(1, 1).end(),
        ]);
        let mut chat = kit.joined("s").await;
        chat.message("1").await;
        let mut all = chat.until("done").await;
        chat.message("2").await;
        all.extend(chat.until("chunk").await);
        let epoch = all[0]["epoch"].as_str().unwrap().to_owned();
        let seqs: Vec<u64> = all.iter().filter_map(|frame| frame["seq"].as_u64()).collect();
        assert!(seqs.is_sorted() && !seqs.is_empty(), "{seqs:?}");
        let mut resumed = Vec::new();
        for seq in &seqs {
            let mut again = kit.chat(&format!("session_id=s&last_seq={seq}&epoch={epoch}")).await;
            let start = again.next().await;
            assert_has(&start, &json!({ "type": "session_start", "epoch": epoch }));
            assert!(start.get("reset").is_none());
            resumed.push((*seq, again));
        }
        gate.open();
        all.extend(chat.until("done").await);
        for (seq, mut again) in resumed {
            let mut frames = again.until("done").await;
            while frames.last().unwrap()["seq"] != all.last().unwrap()["seq"] {
                frames.extend(again.until("done").await);
            }
            let numbered = |frames: &[Value]| -> Vec<(u64, String)> {
                let kind = |f: &Value| f["type"].as_str().unwrap().replace("accepted", "user_message");
                let numbered = frames.iter().filter_map(|f| Some((f["seq"].as_u64()?, kind(f))));
                numbered.filter(|(at, _)| *at > seq).collect()
            };
            let missing = |frames: &[Value]| {
                numbered(frames).into_iter().filter(|(_, kind)| kind != "chunk").collect::<Vec<_>>()
            };
            assert_eq!(missing(&frames), missing(&all), "after {seq}");
            let mut text = String::new();
            for chunk in frames.iter().filter(|f| f["type"] == "chunk") {
                if chunk["turn_id"] == all.last().unwrap()["turn_id"] {
                    text.truncate(usize::try_from(chunk["offset"].as_u64().unwrap()).unwrap());
                    text.push_str(chunk["content"].as_str().unwrap());
                }
            }
            assert_eq!(text, "second", "after {seq}");
        }
        for (last_seq, epoch) in [(9_999, epoch.as_str()), (1, "beef")] {
            let mut lost = kit.chat(&format!("session_id=s&last_seq={last_seq}&epoch={epoch}")).await;
            assert_eq!(lost.next().await["reset"], true);
        }
    }
}

#[tokio::test]
async fn what_a_summary_stands_for_is_told_whenever_a_socket_came() {
    /// Turns before the one that finds the window full.
    const TURNS: u64 = 6;
    for mount in MOUNTS {
        let model = ScriptedModel::new(MODEL.parse().unwrap()).with_window(1_000);
        let kit = Kit::with(mount, Setup::default().model(model), |_| {}).await;
        kit.scripts((1..TURNS).map(|_| Script::new().text("an answer").usage(10, 5).end()));
        kit.scripts([
            Script::new().text("Fine.").usage(790, 10).end(),
            Script::new().text("They talked.").usage(800, 20).end(),
            Script::new().text("Goodbye.").usage(100, 5).end(),
        ]);
        let mut early = kit.joined("s").await;
        for _ in 0..TURNS {
            early.message("say something").await;
            early.until("done").await;
        }
        let mut late = kit.joined("s").await;
        late.message("the last straw").await;
        let told = late.until("history_trimmed").await.pop().unwrap();
        assert_eq!(early.until("history_trimmed").await.pop().unwrap(), told);
        let (dropped, kept) =
            (told["dropped_messages"].as_u64().unwrap(), told["kept_turns"].as_u64().unwrap());
        assert!(dropped > 0 && kept > 0, "{told}");
        assert_eq!(dropped.div_ceil(2) + kept, TURNS + 1, "{told}");
        assert_has(late.until("done").await.last().unwrap(), &json!({ "full_response": "Goodbye." }));
    }
}

#[tokio::test]
async fn c23_a_key_in_the_query_is_read_only_where_that_is_allowed() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let query = format!("session_id=s&token={}", kit.key);
        assert_eq!(refused(kit.open(&query, &[]).await), 401);
        let kit = Kit::with(mount, Setup::default(), |settings| settings.allow_query_token = true).await;
        let query = format!("session_id=s&token={}", kit.key);
        let mut chat = kit.open(&query, &[]).await.unwrap();
        assert_eq!(chat.speaks, None);
        assert_eq!(chat.next().await["type"], "session_start");
        let bad = [("sec-websocket-protocol", "bearer.mg_bad".to_owned())];
        assert_eq!(refused(kit.open(&query, &bad).await), 401, "a later carrier never rescues");
    }
}

#[tokio::test]
async fn c23_a_key_in_the_query_is_in_no_log() {
    for mount in MOUNTS {
        let (sink, guard) = Sink::begin();
        let kit = Kit::new(mount).await;
        let query = format!("session_id=s&token={}", kit.key);
        assert_eq!(refused(kit.open(&query, &[]).await), 401);
        let protocols = [("sec-websocket-protocol", format!("construct.v1, bearer.{}", kit.key))];
        let mut chat = kit.open(&query, &protocols).await.unwrap();
        chat.message("hello").await;
        chat.until("done").await;
        let bad = format!("session_id=s&session_id=t&token={}", kit.key);
        assert_eq!(refused(kit.open(&bad, &protocols).await), 400);
        let audit = kit.gateway.disk().audit_entries(&"default".parse().unwrap(), 1000).await.unwrap();
        drop(guard);
        let (text, secret) = (sink.text(), &kit.key[kit.key.len() - 16..]);
        assert!(text.contains("moongate_"), "something was logged");
        assert!(!text.contains(secret) && !format!("{audit:?}").contains(secret));
    }
}

#[tokio::test]
async fn c24_foreign_pages_and_names_are_refused() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let key = ("authorization", format!("Bearer {}", kit.key));
        for headers in [vec![], vec![key]] {
            let with = |header: (&'static str, String)| {
                let mut headers = headers.clone();
                headers.push(header);
                headers
            };
            let origin = with(("origin", "https://evil.example".to_owned()));
            let got = kit.raw("GET", "/api/sessions", &origin, b"").await;
            assert_eq!((got.status, &got.body["code"]), (403, &json!("origin_not_allowed")));
            assert_eq!(refused(kit.open("session_id=s", &origin).await), 403);
            let host = with(("host", "evil.example".to_owned()));
            let got = kit.raw("GET", "/api/sessions", &host, b"").await;
            assert_eq!((got.status, &got.body["code"]), (421, &json!("misdirected")));
        }
    }
}

#[tokio::test]
async fn c17_after_a_kill_in_a_turn_the_next_message_works() {
    for mount in MOUNTS {
        let mut kit = Kit::new(mount).await;
        kit.scripts([Script::new().text("never").hang(), Script::says("resumed"), Script::says("next")]);
        let mut chat = kit.joined("s").await;
        chat.message("one").await;
        chat.until("chunk").await;
        kit.restart().await;
        let mut chat = kit.chat("session_id=s").await;
        chat.next().await;
        chat.message("two").await;
        while chat.until("done").await.last().unwrap()["full_response"] != "next" {}
        assert_eq!(kit.get("/api/sessions/s/state").await.body["state"], "idle");
    }
}

#[tokio::test]
async fn c30_nothing_of_a_deleted_turn_appears_later() {
    for mount in MOUNTS {
        let kit = Kit::new(mount).await;
        let gate = Gate::new();
        kit.scripts([Script::new().text("old").gate(&gate).text("older").end(), Script::says("new")]);
        let mut chat = kit.joined("s").await;
        chat.message("one").await;
        chat.until("chunk").await;
        assert_eq!(kit.delete("/api/sessions/s").await.status, 200);
        gate.open();
        let frames = chat.until("session_deleted").await;
        assert!(kinds(&frames).contains(&"aborted"));
        chat.message("two").await;
        chat.until("done").await;
        let rows = kit.rows("s").await;
        assert_eq!(rows.len(), 2);
        assert_has(&rows[0], &json!({ "content": "two" }));
        assert_has(&rows[1], &json!({ "content": "new" }));
    }
}

#[tokio::test]
async fn c37_large_messages_and_too_many_sockets_are_refused() {
    for mount in MOUNTS {
        let kit = Kit::with(mount, Setup::default(), |settings| settings.limits.sockets_per_key = 2).await;
        let mut chat = kit.joined("s").await;
        let _other = kit.joined("s").await;
        let protocols = format!("construct.v1, bearer.{}", kit.key);
        let third = kit.open("session_id=s", &[("sec-websocket-protocol", protocols)]).await;
        assert_eq!(refused(third), 429);
        chat.message(&"x".repeat(2 << 20)).await;
        assert_eq!(chat.close_code().await, Some(1009));
    }
}
