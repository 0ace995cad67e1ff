//! What the door promises beyond the transcripts: names of submissions, rights, pages, what is written down.

use std::time::Duration;

use moongate_protocol::ErrorCode;
use moongate_testkit::{Gate, MODEL, Script, ScriptedModel, ScriptedModels, Setup};
use serde_json::{Value, json};

use crate::{
    kit::{SOON, on_both_mounts},
    transcripts::{asking, denying, ls, until_idle},
};

const NAMED: [(&str, &str); 1] = [("idempotency-key", "k 1")];

/// A gateway with a model besides its agents' own.
fn two_models() -> Setup {
    let model = |name: &str| ScriptedModel::new(name.parse().unwrap());
    Setup { models: ScriptedModels::new([model(MODEL), model("scripted/other")]), ..Setup::default() }
}

on_both_mounts! {
    async fn a_key_is_one_for_all_namespaces_of_a_principal_and_no_others(kit: Kit) {
        let key = kit.key(json!({"principal": "one", "namespaces": ["team"]})).await;
        let second = kit.key(json!({"principal": "one", "namespaces": ["team"]})).await;
        let other = kit.key(json!({"principal": "two", "namespaces": ["team"]})).await;
        let say = |name: &str| json!({"message": "hi", "namespace": name});
        kit.test.model().push([Script::says("first"), Script::says("for two")]);
        let first = kit.chat_with(&key, &NAMED, say("team:a")).await;
        assert_eq!((first.status, first.body().get("idempotent")), (200, None), "{}", first.text);
        let elsewhere = kit.chat_with(&key, &NAMED, say("team:b")).await;
        assert_eq!(elsewhere.code(), (422, "idempotency_mismatch".into()));
        assert_eq!(kit.get(&key, "team:b").await.code(), (404, "session_not_found".into()), "nothing was begun");
        // A session all three share: the same key of another principal is another key.
        let others = kit.chat_with(&other, &NAMED, say("team:a")).await.body();
        assert_eq!((&others["message"], others.get("idempotent")), (&json!("for two"), None));
        let again = kit.chat_with(&second, &NAMED, say("team:a")).await.body();
        assert_eq!((&again["message"], &again["idempotent"]), (&json!("first"), &json!(true)));
        let mut line = kit.line(&key).await;
        let chat = |name: &str| json!({"type": "chat", "message": "hi", "namespace": name, "idempotency_key": "k 1"});
        line.say(chat("team:a")).await;
        let repeated = line.next().await;
        assert_eq!((&repeated["type"], &repeated["message"]), (&json!("response"), &json!("first")), "{repeated}");
        line.say(chat("team:b")).await;
        let refused = line.next().await;
        assert_eq!((&refused["code"], &refused["namespace"]), (&json!("idempotency_mismatch"), &json!("team:b")));
        assert_eq!(kit.test.model().requests().len(), 2);
        kit.stop().await;
    }

    async fn what_failed_may_be_said_again_under_its_key_and_copies_at_once_run_once(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([Script::new().fault(ErrorCode::ProviderUnreachable), Script::says("at last")]);
        let chat = json!({"message": "hi"});
        assert_eq!(kit.chat_with(&key, &NAMED, chat.clone()).await.status, 502);
        let copies = (0..8).map(|_| kit.chat_with(&key, &NAMED, chat.clone()));
        let replies = futures_util::future::join_all(copies).await;
        let mut fresh = 0;
        for reply in &replies {
            assert_eq!((reply.status, &reply.body()["message"]), (200, &json!("at last")), "{}", reply.text);
            fresh += usize::from(reply.body().get("idempotent").is_none());
        }
        assert_eq!((fresh, kit.test.model().requests().len()), (1, 2));
        kit.stop().await;
    }

    async fn a_key_of_the_wrong_form_is_refused_in_the_words_of_its_route(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let long = "x".repeat(256);
        for bad in ["", "a\tb", &long] {
            let named = [("idempotency-key", bad)];
            let reply = kit.chat_with(&key, &named, json!({"message": "x"})).await;
            assert_eq!(reply.code(), (400, "invalid_request".into()), "{bad:?}");
        }
        let mut line = kit.line(&key).await;
        for bad in [json!(""), json!("a\tb"), json!(long), json!(1)] {
            line.say(json!({"type": "chat", "message": "x", "idempotency_key": bad, "request_id": "r"})).await;
            let error = line.next().await;
            assert_eq!((&error["code"], &error["request_id"]), (&json!("invalid_frame"), &json!("r")), "{bad}");
        }
        kit.stop().await;
    }

    async fn a_right_suffices_alone(kit: Kit, asking(), |_| {}) {
        let writes = kit.key(json!({"principal": "k", "scopes": ["sessions:write", "approvals:decide"]})).await;
        let reads = kit.key(json!({"principal": "k", "scopes": ["sessions:read"]})).await;
        kit.test.model().push([ls(), Script::says("two files"), Script::says("hello")]);
        let mut line = kit.line(&writes).await;
        line.say(json!({"type": "chat", "message": "list", "namespace": "a"})).await;
        let asked = line.next().await;
        assert_eq!(asked["type"], "tool_approval_request", "{asked}");
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        assert_eq!(line.next_but_text().await["message"], "two files");
        line.say(json!({"type": "subscribe", "namespace": "a"})).await;
        assert_eq!(line.next().await["code"], "forbidden");
        assert_eq!(kit.chat(&writes, json!({"message": "x", "namespace": "a"})).await.status, 200);
        assert_eq!(kit.get(&writes, "a").await.code(), (403, "forbidden".into()));
        let patched = kit.patch(&writes, "a", json!({"metadata": {"colour": "blue"}})).await;
        assert_eq!((patched.status, &patched.body()["metadata"]["colour"]), (200, &json!("blue")));
        assert_eq!(kit.get(&reads, "a").await.body()["messages"].as_array().unwrap().len(), 6);
        assert_eq!(kit.delete(&reads, "a").await.code(), (403, "forbidden".into()));
        line.say(json!({"type": "cancel", "namespace": "a"})).await;
        line.say(json!({"type": "ping"})).await;
        assert_eq!(line.next().await["type"], "pong", "nothing ran");
        assert_eq!(kit.delete(&writes, "a").await.status, 200);
        kit.stop().await;
    }

    async fn what_a_policy_refused_is_written_down(kit: Kit, denying(), |_| {}) {
        let key = kit.key(json!({"principal": "k", "namespaces": ["tenant:acme"]})).await;
        kit.test.model().push([ls(), Script::says("I could not.")]);
        let chat = kit.chat(&key, json!({"message": "list", "namespace": "tenant:acme:x"})).await;
        assert_eq!(chat.status, 200);
        let audit = kit.native("/api/v1/audit").await;
        let entries: Vec<&Value> =
            audit["items"].as_array().unwrap().iter().filter(|entry| entry["action"] == "tool.refused").collect();
        assert_eq!(entries.len(), 1, "{audit}");
        assert_eq!(entries[0]["principal"], "policy");
        assert!(entries[0]["object"].as_str().unwrap().ends_with(" shell"), "{audit}");
        kit.stop().await;
    }

    async fn what_a_person_refused_is_their_decision_and_not_the_policys(kit: Kit, asking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([ls(), Script::says("no")]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "a"})).await;
        let asked = line.next().await;
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": false})).await;
        assert_eq!(line.next_but_text().await["message"], "no");
        let audit = kit.native("/api/v1/audit").await.to_string();
        assert!(audit.contains("approval.denied") && !audit.contains("tool.refused"), "{audit}");
        kit.stop().await;
    }

    async fn a_timeout_names_the_turn_of_its_own_message(kit: Kit, Setup::default(), |app| {
        app.doors.orra.chat_secs = 1;
        app.doors.orra.queue.wait_secs = 0;
    }) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("slow").gate(&gate).end()]);
        let say = |text: &str| json!({"message": text, "namespace": "a"});
        let (runs, waits) = tokio::join!(kit.chat(&key, say("runs")), async {
            gate.reached().await;
            kit.chat(&key, say("waits")).await
        });
        assert_eq!((runs.code(), waits.code()), ((504, "timeout".into()), (504, "timeout".into())));
        assert!(waits.body().get("turn_id").is_none(), "it has no turn yet: {}", waits.text);
        gate.open();
        let body = until_idle(&kit, &key, "a").await;
        assert_eq!(body["messages"][1]["turn_id"], runs.body()["turn_id"]);
        kit.stop().await;
    }

    async fn an_open_question_is_shown_to_whoever_comes_after_it(kit: Kit, asking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([ls(), Script::says("done"), Script::says("and this")]);
        let mut first = kit.line(&key).await;
        first.say(json!({"type": "chat", "message": "x", "namespace": "a"})).await;
        let asked = first.next().await;
        let now = kit.get(&key, "a").await.body();
        let mut late = kit.line(&key).await;
        let after = json!({"type": "subscribe", "namespace": "a", "after_seq": now["last_seq"], "epoch": now["epoch"]});
        late.say(after).await;
        assert_eq!(late.next().await["type"], "subscribed");
        let shown = late.next().await;
        assert_eq!((&shown["call_id"], &shown["turn_id"]), (&asked["call_id"], &asked["turn_id"]), "{shown}");
        // Who says something while the question is open is shown it too, once.
        let mut third = kit.line(&key).await;
        third.say(json!({"type": "chat", "message": "y", "namespace": "a", "request_id": "y"})).await;
        assert_eq!(third.next().await["call_id"], asked["call_id"]);
        third.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        let end = third.next_but_text().await;
        assert_eq!((&end["request_id"], &end["message"]), (&json!("y"), &json!("and this")));
        kit.stop().await;
    }

    async fn pages_of_a_history_hold_each_message_once(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("one").gate(&gate).end()]);
        let mut line = kit.line(&key).await;
        for text in ["1", "2", "3"] {
            // All said before the first is answered.
            line.say(json!({"type": "chat", "message": text, "namespace": "a"})).await;
        }
        line.say(json!({"type": "ping"})).await;
        line.until("pong").await;
        gate.open();
        for _ in 0..3 {
            line.next_but_text().await;
        }
        let all = kit.get(&key, "a").await.body()["messages"].as_array().unwrap().clone();
        let said: Vec<_> = all.iter().map(|message| message["content"].as_str().unwrap()).collect();
        assert_eq!(said, ["1", "one", "2", "ok", "3", "ok"]);
        let seqs: Vec<_> = all.iter().map(|message| message["seq"].as_u64().unwrap()).collect();
        assert!(seqs.is_sorted(), "{seqs:?}");
        for limit in 1..=4 {
            let (mut pages, mut before) = (Vec::new(), u64::MAX);
            loop {
                let path = format!("a?limit={limit}&before={before}");
                let page = kit.get(&key, &path).await.body()["messages"].as_array().unwrap().clone();
                let Some(first) = page.first() else { break };
                before = first["seq"].as_u64().unwrap();
                pages.splice(0..0, page);
            }
            assert_eq!(pages, all, "by {limit}");
        }
        for bad in ["limit=0", "limit=1001", "limit=x", "before=x"] {
            assert_eq!(kit.get(&key, &format!("a?{bad}")).await.code(), (400, "invalid_request".into()), "{bad}");
        }
        kit.stop().await;
    }

    async fn models_are_narrowed_with_their_key(kit: Kit, two_models(), |_| {}) {
        let narrow = kit.key(json!({"principal": "k", "agents": ["Atlas"]})).await;
        let wide = kit.key(json!({"principal": "k"})).await;
        let say = |model: &str| json!({"message": "x", "model": model});
        let refused = kit.chat(&narrow, say("scripted/other")).await;
        assert_eq!(refused.code(), (400, "model_not_allowed".into()));
        for (key, model) in [(&narrow, MODEL), (&wide, MODEL), (&wide, "scripted/other")] {
            let reply = kit.chat(key, say(model)).await;
            assert_eq!((reply.status, &reply.body()["model"]), (200, &json!(model)), "{}", reply.text);
        }
        let listed = async |key: &str| {
            let models = kit.native_as(key, "/api/v1/models").await;
            models["items"].as_array().unwrap().iter().map(|model| model["name"].clone()).collect::<Vec<_>>()
        };
        assert_eq!(listed(&narrow).await, [MODEL]);
        assert_eq!(listed(&wide).await, [MODEL, "scripted/other"]);
        kit.stop().await;
    }

    async fn health_says_when_to_ask_again(kit: Kit) {
        kit.test.store().breaks("the disk is gone");
        let reply = kit.ask("GET", "/health", "", &[], "").await;
        let body = reply.body();
        assert_eq!((reply.status, &body["status"], &body["code"]), (503, &json!("unavailable"), &json!("unavailable")));
        let seconds = body["retry_after"].as_u64().expect("seconds");
        assert_eq!(reply.header("retry-after"), Some(seconds.to_string()));
        kit.stop().await;
    }

    async fn a_chat_that_waits_for_its_keys_share_runs_though_its_sender_left(kit: Kit, Setup::default(), |app| {
        app.doors.orra.limits.turns_per_key = 1;
    }) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("slow").gate(&gate).end(), Script::says("late")]);
        let mut line = kit.line_with(&key, "?ext=status").await;
        line.say(json!({"type": "chat", "message": "1", "namespace": "a"})).await;
        line.until("text_delta").await;
        line.say(json!({"type": "chat", "message": "2", "namespace": "b"})).await;
        assert_eq!(line.next().await["type"], "accepted", "it is on disk");
        assert_eq!(kit.test.model().requests().len(), 1);
        drop(line);
        gate.open();
        let answered = async {
            while kit.get(&key, "b").await.body()["messages"].as_array().is_none_or(|all| all.len() < 2) {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(SOON, answered).await.expect("it runs");
        assert_eq!(kit.get(&key, "b").await.body()["messages"][1]["content"], "late");
        kit.stop().await;
    }
}
