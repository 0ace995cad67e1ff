//! The faults that must not come back.

use std::time::Duration;

use moongate_core::{Allowance, Catalog, Fault, Limits, Piece, SpendLimits, Spending};
use moongate_protocol::{ErrorCode, PolicyPreset};
use moongate_server::Doors;
use moongate_testkit::{Gate, Script, Setup};
use serde_json::{Value, json};

use crate::{
    kit::{Kit, Mount, SOON, on_both_mounts},
    transcripts::{asking, until_idle},
};

fn at_once(limits: &mut moongate_server::AppConfig) {
    limits.doors.orra.limits.turns_per_key = 1000;
    limits.doors.orra.queue.depth = 1000;
}

fn many_turns() -> Setup {
    let limits = Limits { turns_per_caller: 1000, turns_per_node: 1000, ..Limits::default() };
    Setup { limits, ..Setup::default() }
}

#[test]
fn o_01_a_star_among_the_origins_does_not_start() {
    let mut doors = Doors::default();
    assert_eq!(doors.faults(), []);
    assert!(doors.orra.listen.is_none(), "no listener of its own unless somebody asks for one");
    doors.orra.cors_origins = vec!["*".into()];
    let faults = doors.faults();
    assert_eq!(faults.len(), 1);
    assert_eq!(faults[0].path, ["orra", "cors_origins"]);
}

on_both_mounts! {
    async fn o_01_without_a_key_every_route_but_health_is_401(kit: Kit) {
        for (method, path) in [
            ("POST", "/api/chat"),
            ("GET", "/api/sessions/x"),
            ("DELETE", "/api/sessions/x"),
            ("PATCH", "/api/sessions/x"),
            ("GET", "/ws"),
        ] {
            for key in ["", "mg_api_nonsense"] {
                let reply = kit.ask(method, path, key, &[("content-type", "application/json")], "{}").await;
                assert_eq!(reply.code(), (401, "unauthorized".into()), "{method} {path}");
                assert_eq!(reply.body()["error"], "authentication failed");
                assert_eq!(reply.header("www-authenticate").as_deref(), Some("Bearer"));
            }
        }
        assert_eq!(kit.ask("GET", "/health", "", &[], "").await.body(), json!({"status": "ok"}));
        assert_eq!(kit.ask("GET", "/api/unknown", "", &[], "").await.code(), (404, "not_found".into()));
        let wrong = kit.ask("PUT", "/api/chat", "", &[], "").await;
        assert_eq!(wrong.code(), (405, "method_not_allowed".into()));
        assert_eq!(wrong.header("allow").as_deref(), Some("POST"));
        kit.stop().await;
    }

    async fn o_02_what_is_too_large_or_foreign_is_refused(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let large = json!({"message": "x".repeat(1 << 20)}).to_string();
        let headers = [("content-type", "application/json")];
        let reply = kit.ask("POST", "/api/chat", &key, &headers, &large).await;
        assert_eq!(reply.code(), (413, "payload_too_large".into()));
        let foreign = kit.ask("GET", "/health", "", &[("origin", "https://evil.example")], "").await;
        assert_eq!(foreign.code(), (403, "origin_not_allowed".into()));
        let elsewhere = kit.ask("GET", "/health", "", &[("host", "evil.example")], "").await;
        assert_eq!(elsewhere.code(), (421, "misdirected".into()));
        let text = kit.ask("POST", "/api/chat", &key, &[("content-type", "text/plain")], "{}").await;
        assert_eq!(text.code(), (415, "unsupported_media_type".into()));
        let mut line = kit.line(&key).await;
        line.send(&large).await;
        assert_eq!(line.close_code().await, Some(1009));
        kit.stop().await;
    }

    async fn o_03_one_of_two_keys_is_revoked_alone(kit: Kit) {
        let (id, one) = kit.key_and_id(&mut json!({"principal": "k"})).await;
        let two = kit.key(json!({"principal": "k"})).await;
        let (mut first, mut second) = (kit.line(&one).await, kit.line(&two).await);
        kit.revoke(&id).await;
        assert_eq!(first.close_code().await, Some(1008));
        assert_eq!(kit.chat(&one, json!({"message": "x"})).await.code(), (401, "unauthorized".into()));
        second.say(json!({"type": "ping"})).await;
        assert_eq!(second.next().await["type"], "pong");
        kit.stop().await;
    }

    async fn keys_come_by_header_by_subprotocol_and_never_by_url_unless_allowed(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let by_protocol = [("sec-websocket-protocol", &*format!("bearer.{key}, orra.v1"))];
        let mut line = kit.open("", &by_protocol).await.unwrap();
        assert_eq!(line.speaks.as_deref(), Some("orra.v1"), "the key is never echoed");
        line.say(json!({"type": "ping"})).await;
        assert_eq!(line.next().await["type"], "pong");
        assert!(kit.open(&format!("?token={key}"), &[]).await.is_err());
        let mut both = kit.open(&format!("?token={key}"), &[("authorization", &format!("Bearer {key}"))]).await.unwrap();
        both.say(json!({"type": "ping"})).await;
        assert_eq!(both.next().await["type"], "pong", "what is not read is no fault");
        kit.stop().await;
    }

    async fn o_04_a_model_that_never_answers_holds_up_nobody(kit: Kit, Setup::default(), |app| app.doors.orra.chat_secs = 1) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([Script::new().hang()]);
        let silent = kit.chat(&key, json!({"message": "x", "namespace": "silent"}));
        let other = async {
            while kit.test.model().requests().is_empty() {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            kit.chat(&key, json!({"message": "x", "namespace": "other"})).await
        };
        let (silent, other) = tokio::join!(silent, other);
        assert_eq!(silent.code(), (504, "timeout".into()));
        assert_eq!(other.status, 200);
        assert_eq!(kit.delete(&key, "silent").await.status, 200);
        kit.stop().await;
    }

    async fn o_05_callers_that_go_away_lose_nothing(kit: Kit, many_turns(), at_once) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        const CALLERS: usize = 40;
        kit.test.model().push((0..CALLERS).map(|_| Script::new().gate(&gate).text("late").end()));
        let chats = (0..CALLERS).map(|n| {
            let chat = kit.chat(&key, json!({"message": "x", "namespace": format!("n{n}")}));
            tokio::time::timeout(Duration::from_secs(2), chat)
        });
        let left = futures_util::future::join_all(chats).await;
        assert!(left.iter().all(Result::is_err), "each caller went away in its turn");
        gate.open();
        for n in 0..CALLERS {
            let body = until_idle(&kit, &key, &format!("n{n}")).await;
            assert_eq!(body["messages"][1]["content"], "late");
        }
        kit.stop().await;
    }

    async fn o_08_two_chats_at_once_are_both_in_the_history_in_order(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let say = |text: &str| json!({"message": text, "namespace": "a"});
        let (one, two) = tokio::join!(kit.chat(&key, say("one")), kit.chat(&key, say("two")));
        assert_eq!((one.status, two.status), (200, 200));
        let body = kit.get(&key, "a").await.body();
        let roles: Vec<_> = body["messages"].as_array().unwrap().iter().map(|m| m["role"].as_str().unwrap()).collect();
        assert_eq!(roles, ["user", "assistant", "user", "assistant"]);
        kit.stop().await;
    }

    async fn o_09_a_failure_is_an_error_and_the_next_chat_works(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let fail = |code, words: &str| Script::new().piece(Piece::Fault(Fault::new(code, words)));
        kit.test.model().push([fail(ErrorCode::ProviderAuth, "sk-secret at /srv"), Script::new().text("half").piece(
            Piece::Fault(Fault::new(ErrorCode::ProviderCut, "cut"))), Script::says("fine")]);
        let mut line = kit.line(&key).await;
        let chat = json!({"type": "chat", "message": "hi", "namespace": "a"});
        line.say(chat.clone()).await;
        let error = line.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("provider_auth")));
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(error["turn_id"].is_string() && error["namespace"] == "a", "{error}");
        assert_eq!(kit.get(&key, "a").await.body()["state"], "error");
        line.say(chat.clone()).await;
        let error = line.next_but_text().await;
        assert_eq!((&error["code"], &error["retryable"]), (&json!("provider_error"), &json!(true)), "a cut is no answer");
        line.say(chat).await;
        assert_eq!(line.next_but_text().await["message"], "fine");
        let body = kit.get(&key, "a").await.body();
        let said: Vec<_> = body["messages"].as_array().unwrap().iter().filter(|m| m["role"] == "user").collect();
        assert_eq!(said.len(), 3, "each message is in the history");
        kit.stop().await;
    }

    async fn o_13_a_socket_that_goes_away_approves_nothing(kit: Kit, asking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([Script::calls(&[("shell", json!({}))]), Script::says("no")]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "a"})).await;
        let asked = line.next().await;
        drop(line);
        // Whoever comes later may still say no, and is shown the question.
        let mut second = kit.line(&key).await;
        second.say(json!({"type": "subscribe", "namespace": "a"})).await;
        let subscribed = second.next().await;
        assert_eq!((&subscribed["type"], &subscribed["state"]), (&json!("subscribed"), &json!("running")));
        let again = second.next().await;
        assert_eq!(again["call_id"], asked["call_id"], "{again}");
        second.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": false})).await;
        let body = until_idle(&kit, &key, "a").await;
        let result = &body["messages"][2]["tool_results"][0];
        assert_eq!(result["content"], "Tool call 'shell' was denied by the user.");
        kit.stop().await;
    }

    async fn o_15_a_question_of_another_principal_is_not_found(kit: Kit, asking(), |_| {}) {
        let (key, other) = (kit.key(json!({"principal": "k"})).await, kit.key(json!({"principal": "o"})).await);
        kit.test.model().push([Script::calls(&[("shell", json!({}))]), Script::says("done")]);
        let (mut line, mut foreign) = (kit.line(&key).await, kit.line(&other).await);
        line.say(json!({"type": "chat", "message": "x", "namespace": "discord:1"})).await;
        let asked = line.next().await;
        assert_eq!(asked["type"], "tool_approval_request");
        let yes = json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true});
        foreign.say(yes.clone()).await;
        assert_eq!(foreign.next().await["code"], "approval_not_found");
        foreign.say(json!({"type": "tool_approval_response", "call_id": "nonsense", "approved": true})).await;
        assert_eq!(foreign.next().await["code"], "approval_not_found");
        line.say(yes).await;
        assert_eq!(line.next_but_text().await["message"], "done");
        kit.stop().await;
    }

    async fn past_a_spend_limit_a_chat_is_refused_before_a_model_is_called(kit: Kit) {
        let session = Allowance { calls: Some(1), ..Allowance::default() };
        let everywhere = SpendLimits { session, ..SpendLimits::default() };
        let spending = Spending { everywhere, ..Spending::default() };
        let gateway = kit.test.gateway();
        gateway.set_catalog(Catalog { spending, ..Catalog::clone(&gateway.catalog()) });
        let key = kit.key(json!({"principal": "k"})).await;
        let chat = |namespace: &str| json!({"message": "x", "namespace": namespace});
        assert_eq!(kit.chat(&key, chat("a")).await.status, 200);
        assert_eq!(kit.chat(&key, chat("a")).await.code(), (403, "budget_exceeded".into()));
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "a"})).await;
        assert_eq!(line.next_but_text().await["code"], "budget_exceeded");
        assert_eq!(kit.test.model().requests().len(), 1);
        assert_eq!(kit.chat(&key, chat("b")).await.status, 200, "another session has its own share");
        kit.stop().await;
    }

    async fn o_16_metadata_gives_no_rights(kit: Kit, Setup { policy: PolicyPreset::Full, ..asking() }, |_| {}) {
        let key = kit.key(json!({"principal": "k", "agents": ["Atlas"]})).await;
        let chat = |metadata: Value| json!({"message": "x", "namespace": "a", "metadata": metadata});
        for agent in ["main", "nobody"] {
            let refused = kit.chat(&key, chat(json!({"agent": agent}))).await;
            assert_eq!(refused.code(), (404, "agent_not_found".into()), "{agent}");
        }
        let sneaky = json!({"agent": "atlas", "_gateway_request_id": "x", "chaos_mode": true, "working_directory": "/"});
        assert_eq!(kit.chat(&key, chat(sneaky)).await.status, 200);
        let body = kit.get(&key, "a").await.body();
        assert_eq!(body["metadata"], json!({}), "{body}");
        kit.stop().await;
    }

    async fn o_17_odd_names_are_ordinary_and_apart(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let long = ["ü".repeat(64), "x".repeat(128), "y".repeat(128)].join(":");
        let names = ["..:..:evil", "bob@mail.com", "bob@mail.org", "日本:東京", "a/b", "%2e%2e", &long];
        for name in names {
            let reply = kit.chat(&key, json!({"message": name, "namespace": name})).await;
            assert_eq!((reply.status, &reply.body()["namespace"]), (200, &json!(name)), "{}", reply.text);
        }
        for name in names {
            let escaped: String = name.bytes().map(|byte| format!("%{byte:02X}")).collect();
            let body = kit.get(&key, &escaped).await.body();
            assert_eq!((&body["key"], &body["messages"][0]["content"]), (&json!(name), &json!(name)));
            assert_eq!(body["messages"].as_array().unwrap().len(), 2);
        }
        for name in ["a::b", ":a", "~private", "a\u{7}"] {
            let refused = kit.chat(&key, json!({"message": "x", "namespace": name})).await;
            assert_eq!(refused.code(), (400, "invalid_namespace".into()), "{name}");
        }
        kit.stop().await;
    }

    async fn o_19_agents_and_models_are_chosen_for_one_message(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        for agent in ["ATLAS", "atlas", "Atlas"] {
            let reply = kit.chat(&key, json!({"message": "x", "namespace": "a", "agent": agent})).await;
            assert_eq!(reply.body()["agent"], "Atlas");
        }
        let other = kit.chat(&key, json!({"message": "x", "namespace": "a", "agent": "Main"})).await;
        assert_eq!(other.body()["agent"], "main", "the configured spelling");
        let unknown = kit.chat(&key, json!({"message": "x", "namespace": "a", "model": "no/such"})).await;
        assert_eq!(unknown.code(), (400, "model_not_allowed".into()));
        kit.stop().await;
    }

    async fn o_20_each_error_has_a_code(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let json = [("content-type", "application/json")];
        for (body, code) in [
            ("{", "invalid_json"),
            ("{\"message\":\"a\",\"message\":\"b\"}", "invalid_json"),
            ("[]", "invalid_request"),
            ("{}", "invalid_request"),
            ("{\"message\":1}", "invalid_request"),
            ("{\"message\":\" \"}", "empty_message"),
            ("{\"message\":\"x\",\"metadata\":[]}", "invalid_request"),
        ] {
            let reply = kit.ask("POST", "/api/chat", &key, &json, body).await;
            assert_eq!(reply.code(), (400, code.into()), "{body}");
        }
        let mut line = kit.line(&key).await;
        line.binary().await;
        for (frame, code) in [
            ("{", "invalid_json"),
            ("[]", "invalid_frame"),
            ("{\"type\":\"chat\"}", "invalid_frame"),
            ("{\"type\":\"chat\",\"message\":1}", "invalid_frame"),
            ("{\"type\":\"chat\",\"message\":\"\"}", "empty_message"),
            ("{\"type\":\"chat\",\"message\":\"x\",\"instance\":\"peer\"}", "not_supported"),
            ("{\"type\":\"chat\",\"message\":\"x\",\"namespace\":\"a::b\"}", "invalid_namespace"),
            ("{\"type\":\"subscribe\",\"namespace\":\"nothing\"}", "session_not_found"),
        ] {
            line.send(frame).await;
            let error = line.next().await;
            assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!(code)), "{frame}");
        }
        for _ in 0..20 {
            line.send("{}").await;
        }
        assert_eq!(line.close_code().await, Some(1008));
        let reader = kit.key(json!({"principal": "k", "scopes": ["sessions:read"]})).await;
        assert_eq!(kit.chat(&reader, json!({"message": "x"})).await.code(), (403, "forbidden".into()));
        kit.stop().await;
    }

    async fn o_24_nothing_of_a_deleted_turn_appears_later(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("part").gate(&gate).text("rest").end()]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "old", "namespace": "a", "request_id": "r"})).await;
        line.next().await;
        let epoch = kit.get(&key, "a").await.body()["epoch"].clone();
        assert_eq!(kit.delete(&key, "a").await.status, 200);
        let end = line.next_but_text().await;
        assert_eq!((&end["type"], &end["code"], &end["request_id"]), (&json!("error"), &json!("cancelled"), &json!("r")));
        gate.open();
        assert_eq!(kit.delete(&key, "a").await.code(), (404, "session_not_found".into()));
        let again = kit.chat(&key, json!({"message": "new", "namespace": "a"})).await;
        assert_eq!(again.status, 200);
        let body = kit.get(&key, "a").await.body();
        assert_eq!(body["messages"][0]["content"], "new");
        assert_eq!(body["messages"].as_array().unwrap().len(), 2);
        assert_ne!(body["epoch"], epoch);
        kit.stop().await;
    }

    async fn o_25_provider_failures_have_their_own_codes(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        for (code, status, name) in [
            (ErrorCode::ProviderTimeout, 504, "provider_timeout"),
            (ErrorCode::ProviderRateLimited, 503, "provider_overloaded"),
            (ErrorCode::ProviderOverloaded, 503, "provider_overloaded"),
            (ErrorCode::ProviderUnreachable, 502, "provider_error"),
            (ErrorCode::ContextTooLong, 422, "context_length_exceeded"),
            (ErrorCode::ProviderAuth, 502, "provider_auth"),
        ] {
            let fault = Piece::Fault(Fault::new(code, "upstream says no"));
            kit.test.model().push([Script::new().piece(fault)]);
            let reply = kit.chat(&key, json!({"message": "x"})).await;
            assert_eq!(reply.code(), (status, name.into()), "{code}");
            assert!(!reply.text.contains("upstream"), "{}", reply.text);
            assert_eq!(reply.header("retry-after").is_some(), status == 503, "{code}");
        }
        kit.stop().await;
    }

    async fn a_full_queue_and_one_that_takes_too_long_are_told_apart(kit: Kit, Setup::default(), |app| {
        app.doors.orra.queue.depth = 2;
        app.doors.orra.queue.wait_secs = 1;
    }) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("x").gate(&gate).end()]);
        let mut line = kit.line(&key).await;
        let say = |id: &str| json!({"type": "chat", "message": id, "namespace": "a", "request_id": id});
        line.say(say("runs")).await;
        line.next().await;
        line.say(say("waits")).await;
        line.say(say("full")).await;
        let full = line.next().await;
        assert_eq!((&full["code"], &full["request_id"]), (&json!("queue_full"), &json!("full")));
        assert!(full["retry_after"].is_u64());
        let late = line.next().await;
        assert_eq!((&late["code"], &late["request_id"]), (&json!("queue_timeout"), &json!("waits")));
        let rest = kit.chat(&key, json!({"message": "rest", "namespace": "a"})).await;
        assert_eq!(rest.code(), (503, "queue_timeout".into()));
        gate.open();
        assert_eq!(line.next_but_text().await["request_id"], "runs");
        let body = until_idle(&kit, &key, "a").await;
        assert_eq!(body["messages"].as_array().unwrap().len(), 2, "what was refused never ran: {body}");
        kit.stop().await;
    }

    async fn a_subscriber_sees_a_turn_from_any_place_and_what_others_say(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::says("first"), Script::new().text("sec").gate(&gate).text("ond").end()]);
        let first = kit.chat(&key, json!({"message": "1", "namespace": "a"})).await.body();
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "2", "namespace": "a"})).await;
        line.next().await;
        let mut other = kit.line_with(&key, "?ext=status").await;
        other.say(json!({"type": "subscribe", "namespace": "a", "after_seq": first["seq"], "epoch": first["epoch"], "request_id": "s"})).await;
        let answer = other.next().await;
        assert_eq!((&answer["type"], &answer["request_id"], &answer["state"]), (&json!("subscribed"), &json!("s"), &json!("running")));
        assert!(answer.get("reset").is_none());
        let accepted = other.next().await;
        assert_eq!((&accepted["type"], &accepted["replay"]), (&json!("accepted"), &json!(true)));
        assert_eq!(other.next().await["type"], "turn_started");
        let delta = other.next().await;
        assert_eq!((&delta["content"], &delta["offset"]), (&json!("sec"), &json!(0)));
        gate.open();
        let end = other.until("response").await;
        assert_eq!(end.last().unwrap()["message"], "second");
        assert!(end.last().unwrap().get("replay").is_none());
        other.say(json!({"type": "subscribe", "namespace": "a", "after_seq": 1, "epoch": "nonsense"})).await;
        assert_eq!(other.next().await["reset"], true);
        other.say(json!({"type": "subscribe", "namespace": "a", "after_seq": 0})).await;
        assert!(other.next().await.get("reset").is_none());
        let all = other.until("response").await;
        assert_eq!(all.last().unwrap()["message"], "first");
        kit.stop().await;
    }
}

#[tokio::test]
async fn o_23_a_restart_in_a_turn_leaves_nothing_running_and_runs_what_waited_once() {
    for mount in [Mount::Prefix, Mount::Root] {
        let kit = Kit::start(mount, Setup::default(), |_| {}).await;
        let admin = kit.admin.clone();
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("x").gate(&gate).end()]);
        let mut line = kit.line(&admin).await;
        for text in ["one", "two"] {
            line.say(json!({"type": "chat", "message": text, "namespace": "a"})).await;
        }
        line.say(json!({"type": "ping"})).await;
        line.until("pong").await;
        let mut test = kit.dies();
        test.crash().await;
        test.restart_unrecovered();
        let kit = Kit::over(test, mount, |_| {}).await;
        kit.test.recover().await;
        let admin = kit.admin.clone();
        let body = tokio::time::timeout(SOON, async {
            loop {
                let body = until_idle(&kit, &admin, "a").await;
                if body["messages"].as_array().unwrap().len() == 4 {
                    return body;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        });
        let body = body.await.expect("both turns end");
        let said: Vec<_> =
            body["messages"].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap()).collect();
        assert_eq!((said[0], said[2]), ("one", "two"));
        kit.stop().await;
    }
}
