//! The golden transcripts of the contract.

use std::time::Duration;

use moongate_core::{PromptMessage, ToolPolicies, ToolPolicy};
use moongate_protocol::{Effect, Part, PolicyPreset, Requirement};
use moongate_testkit::{Gate, MODEL, Script, ScriptedModel, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{Kit, on_both_mounts};

/// A gateway whose agent may ask to list files, and a person decides.
pub(crate) fn asking() -> Setup {
    let shell = ScriptedTool::new("shell", Effect::Effect).requires(Requirement::UnlessAutoApproved);
    let always = ScriptedTool::new("wipe", Effect::Effect).requires(Requirement::Always);
    let setup = Setup { policy: PolicyPreset::Full, ..Setup::default() };
    setup.tool(shell).tool(always)
}

/// The same, and its model calls the tool a person names, then is done.
pub(crate) fn obliging() -> Setup {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        match request.messages.last().map(|last| &***last) {
            Some(PromptMessage::User(parts)) => match Part::join_text(parts).as_str() {
                tool @ ("shell" | "wipe") => Script::calls(&[(tool, json!({}))]),
                _ => Script::says("hello"),
            },
            _ => Script::says("done"),
        }
    });
    asking().model(model)
}

/// What a key may do that may also change what sessions do without asking.
pub(crate) fn ruling() -> Value {
    json!(["sessions:read", "sessions:write", "approvals:decide", "policy:write"])
}

pub(crate) fn ls() -> Script {
    Script::calls(&[("shell", json!({"command": "ls"}))])
}

on_both_mounts! {
    async fn o1_a_fresh_namespace_over_rest(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([Script::new().text("Hello!").usage(10, 5).end()]);
        let reply = kit.chat(&key, json!({"message": "Hi"})).await;
        let body = reply.body();
        assert_eq!((reply.status, &body["message"]), (200, &json!("Hello!")), "{body}");
        for (field, tokens) in [("input_tokens", 10), ("output_tokens", 5), ("total_tokens", 15)] {
            assert_eq!(body["usage"][field], tokens);
        }
        assert_eq!((&body["agent"], &body["finish_reason"]), (&json!("Atlas"), &json!("stop")));
        let name = body["namespace"].as_str().unwrap();
        assert_eq!((name.len(), name.split('-').count()), (36, 5));
        let history = kit.get(&key, name).await.body();
        assert_eq!(history["namespace"]["segments"], json!([name]));
        let said: Vec<_> = history["messages"].as_array().unwrap().iter().map(|m| (&m["role"], &m["content"])).collect();
        assert_eq!(said, [(&json!("user"), &json!("Hi")), (&json!("assistant"), &json!("Hello!"))]);
        assert!(history["messages"].as_array().unwrap().iter().all(|m| m.get("tool_calls").is_none()));
        assert_eq!((&history["state"], &history["last_seq"]), (&json!("idle"), &body["seq"]));
        assert_eq!(history["epoch"], body["epoch"]);
        let deleted = kit.delete(&key, name).await;
        assert_eq!((deleted.status, &deleted.body()["deleted"]), (200, &json!(true)));
        assert_eq!(kit.get(&key, name).await.code(), (404, "session_not_found".into()));
        kit.stop().await;
    }

    async fn o2_a_stream_then_faults(kit: Kit) {
        let key = kit.key(json!({"principal": "k", "namespaces": ["tenant:acme"]})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("One, ").gate(&gate).text("two.").usage(8, 4).end()]);
        let mut line = kit.line(&key).await;
        let name = "tenant:acme:user:bob";
        line.say(json!({"type": "chat", "message": "Count", "namespace": name, "model": null, "agent": "ATLAS"})).await;
        let first = line.next().await;
        assert_eq!((&first["type"], &first["content"], &first["offset"]), (&json!("text_delta"), &json!("One, "), &json!(0)));
        assert_eq!(first["namespace"], name);
        gate.open();
        let second = line.next().await;
        assert_eq!((&second["content"], &second["offset"]), (&json!("two."), &json!(5)));
        let end = line.next().await;
        assert_eq!((&end["type"], &end["message"], &end["namespace"]), (&json!("response"), &json!("One, two."), &json!(name)));
        assert_eq!((&end["usage"]["total_tokens"], &end["agent"]), (&json!(12), &json!("Atlas")));
        assert!(end["seq"].as_u64() >= second["seq"].as_u64());
        line.say(json!({"type": "ping"})).await;
        assert_eq!(line.next().await, json!({"type": "pong"}));
        line.say(json!({"type": "nope"})).await;
        let error = line.next().await;
        assert_eq!((&error["type"], &error["code"]), (&json!("error"), &json!("invalid_frame")));
        line.say(json!({"type": "chat", "message": "x", "agent": "nobody", "request_id": "r9"})).await;
        let error = line.next().await;
        assert_eq!((&error["code"], &error["request_id"]), (&json!("agent_not_found"), &json!("r9")));
        kit.stop().await;
    }

    async fn o3_an_approval_answered_and_one_that_nobody_answers(kit: Kit, asking(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([ls(), Script::says("Two files."), ls(), Script::says("Nobody was there.")]);
        let mut line = kit.line(&key).await;
        let chat = json!({"type": "chat", "message": "list files", "namespace": "a"});
        line.say(chat.clone()).await;
        let asked = line.next().await;
        assert_eq!(asked["type"], "tool_approval_request", "{asked}");
        assert_eq!((&asked["tool_name"], &asked["arguments"]), (&json!("shell"), &json!({"command": "ls"})));
        assert_eq!((&asked["namespace"], &asked["requirement"]), (&json!("a"), &json!("unless_auto_approved")));
        assert_eq!(asked["timeout_secs"], 120);
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": "yes"})).await;
        assert_eq!(line.next().await["code"], "invalid_frame", "a wrong type answers nothing");
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        assert_eq!(line.next().await["content"], "Two files.");
        assert_eq!(line.next().await["message"], "Two files.");
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": false})).await;
        line.say(json!({"type": "ping"})).await;
        assert_eq!(line.next().await["type"], "pong", "a late answer is ignored without an error");
        line.say(chat).await;
        assert_eq!(line.next().await["type"], "tool_approval_request");
        drop(line);
        kit.test.clock().advance(Duration::from_secs(121));
        let history = until_idle(&kit, &key, "a").await;
        let messages = history["messages"].as_array().unwrap();
        let denied = &messages[messages.len() - 2]["tool_results"][0];
        assert_eq!((&denied["is_error"], &denied["content"]), (&json!(true), &json!("Tool call 'shell' was not approved in time.")));
        assert_eq!(messages[messages.len() - 1]["content"], "Nobody was there.");
        kit.stop().await;
    }

    async fn o4_two_chats_on_one_socket(kit: Kit) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("slow").gate(&gate).end(), Script::says("fast"), Script::says("third")]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "1", "namespace": "a", "request_id": "r1"})).await;
        let first = line.next().await;
        assert_eq!((&first["namespace"], &first["request_id"]), (&json!("a"), &json!("r1")));
        line.say(json!({"type": "chat", "message": "2", "namespace": "b", "request_id": "r2"})).await;
        let delta = line.next().await;
        assert_eq!((&delta["type"], &delta["namespace"], &delta["request_id"]), (&json!("text_delta"), &json!("b"), &json!("r2")));
        let end = line.next().await;
        assert_eq!((&end["type"], &end["request_id"], &end["message"]), (&json!("response"), &json!("r2"), &json!("fast")));
        line.say(json!({"type": "chat", "message": "3", "namespace": "a", "request_id": "r3"})).await;
        line.say(json!({"type": "ping"})).await;
        assert_eq!(line.next().await["type"], "pong");
        gate.open();
        let end = line.next_but_text().await;
        assert_eq!((&end["request_id"], &end["message"]), (&json!("r1"), &json!("slow")));
        let end = line.next_but_text().await;
        assert_eq!((&end["request_id"], &end["message"]), (&json!("r3"), &json!("third")));
        let third = format!("{:?}", kit.test.model().prompts()[2]);
        assert!(third.contains("slow"), "the third request holds the first exchange: {third}");
        kit.stop().await;
    }

    async fn o5_a_denied_tool_is_neither_shown_nor_run(kit: Kit, denying(), |_| {}) {
        let key = kit.key(json!({"principal": "k", "namespaces": ["tenant:acme"]})).await;
        kit.test.model().push([ls(), Script::says("I could not.")]);
        let mut line = kit.line_with(&key, "?ext=tools").await;
        line.say(json!({"type": "chat", "message": "list", "namespace": "tenant:acme:user:bob"})).await;
        let frames = line.until("response").await;
        let finished = frames.iter().find(|frame| frame["type"] == "tool_finished").unwrap();
        assert_eq!(finished["content"], "Tool 'shell' is not allowed in this namespace.");
        assert_eq!((&finished["is_error"], &finished["tool_name"]), (&json!(true), &json!("shell")));
        assert!(!frames.iter().any(|frame| frame["type"] == "tool_started"));
        let shown: Vec<_> = kit.test.model().requests()[0].tools.iter().map(|tool| tool.name.to_string()).collect();
        assert_eq!(shown, ["wipe"]);
        assert_eq!(frames.last().unwrap()["message"], "I could not.");
        kit.stop().await;
    }

    async fn o6_a_name_means_what_the_key_says(kit: Kit) {
        let k1 = kit.key(json!({"principal": "one", "namespaces": ["tenant:acme"]})).await;
        let k2 = kit.key(json!({"principal": "two", "namespaces": ["tenant:beta"]})).await;
        let k3 = kit.key(json!({"principal": "three"})).await;
        let k4 = kit.key(json!({"principal": "four", "namespaces": ["tenant:acme:x"]})).await;
        let name = "tenant:acme:x";
        let say = |text: &str| json!({"message": text, "namespace": name});
        assert_eq!(kit.chat(&k1, say("from one")).await.status, 200);
        let before = kit.get(&k1, name).await.body();
        for name in [name, "tenant:acme:never"] {
            assert_eq!(kit.get(&k2, name).await.code(), (403, "namespace_forbidden".into()));
            let chat = kit.chat(&k2, json!({"message": "x", "namespace": name})).await;
            assert_eq!(chat.code(), (403, "namespace_forbidden".into()));
            assert_eq!(kit.delete(&k2, name).await.code(), (403, "namespace_forbidden".into()));
        }
        assert_eq!(kit.get(&k3, name).await.code(), (404, "session_not_found".into()));
        assert_eq!(kit.chat(&k3, say("from three")).await.status, 200);
        assert_eq!(kit.get(&k3, name).await.body()["messages"].as_array().unwrap().len(), 2);
        assert_eq!(kit.get(&k1, name).await.body(), before);
        assert_eq!(kit.get(&k4, name).await.body()["messages"], before["messages"], "a key of the same place");
        let other = kit.chat(&k1, json!({"message": "x", "namespace": "tenant:acme2"})).await;
        assert_eq!(other.code(), (403, "namespace_forbidden".into()));
        let all = kit.key(json!({"principal": "all", "namespaces": ["*"]})).await;
        assert_eq!(kit.get(&all, name).await.body()["messages"], before["messages"]);
        kit.stop().await;
    }

    async fn o7_chaos_mode_is_of_one_session(kit: Kit, obliging(), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let ruler = kit.key(json!({"principal": "k", "scopes": ruling()})).await;
        let hello = |name: &str| json!({"message": "hi", "namespace": name});
        for name in ["s1", "s2"] {
            assert_eq!(kit.chat(&key, hello(name)).await.status, 200);
        }
        let on = json!({"metadata": {"chaos_mode": true}});
        assert_eq!(kit.patch(&key, "s1", on.clone()).await.code(), (403, "forbidden".into()));
        let patched = kit.patch(&ruler, "s1", on).await;
        assert_eq!((patched.status, &patched.body()["metadata"]["chaos_mode"]), (200, &json!(true)));
        let mut line = kit.line(&key).await;
        let say = |text: &str, name: &str| json!({"type": "chat", "message": text, "namespace": name});
        for name in ["s2", "s1"] {
            line.say(say("shell", name)).await;
        }
        let (mut asked, mut done) = (Value::Null, false);
        while asked.is_null() || !done {
            let frame = line.next_but_text().await;
            match frame["type"].as_str().unwrap() {
                "tool_approval_request" => asked = frame,
                _ => {
                    assert_eq!((&frame["type"], &frame["namespace"]), (&json!("response"), &json!("s1")));
                    done = true;
                }
            }
        }
        assert_eq!(asked["namespace"], "s2");
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": false})).await;
        let end = line.next_but_text().await;
        assert_eq!((&end["type"], &end["namespace"]), (&json!("response"), &json!("s2")));
        line.say(say("wipe", "s1")).await;
        let asked = line.next_but_text().await;
        assert_eq!((&asked["type"], &asked["requirement"]), (&json!("tool_approval_request"), &json!("always")));
        kit.stop().await;
    }

    async fn o8_a_turn_that_takes_longer_than_the_caller_waits(kit: Kit, Setup::default(), |app| app.doors.orra.chat_secs = 1) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([Script::new().text("Late").gate(&gate).usage(1, 1).end()]);
        let chat = json!({"message": "Hi"});
        let named = [("idempotency-key", "k")];
        let first = kit.chat_with(&key, &named, chat.clone()).await;
        assert_eq!(first.code(), (504, "timeout".into()));
        assert!(first.body()["turn_id"].as_str().is_some_and(|turn| turn.starts_with("trn_")), "{}", first.text);
        assert_eq!(kit.chat_with(&key, &named, chat.clone()).await.code(), (504, "timeout".into()));
        gate.open();
        let name = first.body()["namespace"].as_str().unwrap().to_owned();
        until_idle(&kit, &key, &name).await;
        let again = kit.chat_with(&key, &named, chat).await;
        assert_eq!((again.status, &again.body()["message"]), (200, &json!("Late")), "{}", again.text);
        assert_eq!(again.body()["idempotent"], true);
        assert_eq!(kit.test.model().requests().len(), 1);
        let other = kit.chat_with(&key, &named, json!({"message": "Other"})).await;
        assert_eq!(other.code(), (422, "idempotency_mismatch".into()));
        kit.stop().await;
    }
}

pub(crate) fn denying() -> Setup {
    let beneath = [
        ("tenant:acme".parse().unwrap(), ToolPolicy::Deny(vec!["shell".into()])),
        ("tenant:acme:user:bob".parse().unwrap(), ToolPolicy::AllowAll),
    ];
    Setup { tool_policies: ToolPolicies::new(ToolPolicy::AllowAll, beneath), ..asking() }
}

/// The history once no turn runs.
pub(crate) async fn until_idle(kit: &Kit, key: &str, name: &str) -> Value {
    for _ in 0..400 {
        let body = kit.get(key, name).await.body();
        if body["state"] == "idle" || body["state"] == "error" {
            return body;
        }
        tokio::time::sleep(Duration::from_millis(25)).await;
    }
    panic!("{name} does not end");
}
