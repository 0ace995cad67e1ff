//! Saying something and getting an answer, over HTTP and the stream.

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{SOON, both, text, types};

fn a_turn_of_two_words() -> Script {
    Script::new().text("Hi ").pause(std::time::Duration::from_millis(20)).text("there").usage(3, 2).end()
}

both! {
    async fn golden_7_1_http_new_session_and_follow_up(live: Setup::default()) {
        live.kit.model().push([Script::says("Noted: Ada."), Script::says("Ada.")]);
        let first = live.chat(json!({"message": "My dog is called Ada."})).await;
        let (m1, s) = (first["id"].clone(), first["session_id"].clone());
        assert_eq!(first["duration_ms"].as_u64().map(|_| ()), Some(()));
        let mut expected = json!({"id": m1, "echo": "My dog is called Ada.", "reply": "Noted: Ada.", "session_id": s,
            "phase": "execute", "project_tag": "", "evaluation_passed": true, "duration_ms": first["duration_ms"],
            "tool_calls": []});
        assert_eq!(first, expected);
        assert!(s.as_str().unwrap().starts_with("ses_"));
        assert_eq!(m1.as_str().unwrap().len(), 36);
        let second = live.chat(json!({"content": "What is my dog called?", "session_id": s})).await;
        expected["id"] = second["id"].clone();
        expected["echo"] = json!("What is my dog called?");
        expected["reply"] = json!("Ada.");
        expected["duration_ms"] = second["duration_ms"].clone();
        assert_eq!(second, expected);
        let detail = live.get(&format!("/api/sessions/{}", s.as_str().unwrap())).await.body;
        let contents = |name: &str| -> Vec<String> {
            detail[name].as_array().unwrap().iter().map(|m| m["content"].as_str().unwrap().to_owned()).collect()
        };
        assert_eq!(contents("user_messages"), ["My dog is called Ada.", "What is my dog called?"]);
        assert_eq!(contents("agent_responses"), ["Noted: Ada.", "Ada."]);
        assert_eq!((&detail["id"], &detail["user_id"], &detail["project_id"]), (&s, &json!("default"), &Value::Null));
        assert_eq!(detail["active_seed_id"], Value::Null);
        assert!(detail.as_object().unwrap().contains_key("active_persona_id"));
        assert_eq!(detail["metadata"], json!({}));
        let response = &detail["agent_responses"][0];
        assert_eq!((&response["session_id"], &response["seed_id"]), (&s, &Value::Null));
        assert_eq!((&response["phase_reached"], &response["evaluation_passed"]), (&json!("execute"), &json!(true)));
    }

    async fn golden_7_2_ticket_and_streaming(live: Setup::default()) {
        live.kit.model().push([a_turn_of_two_words()]);
        let ticket = live.ticket().await;
        assert!(ticket.starts_with("wst_") && ticket.len() == 4 + 32, "{ticket}");
        let mut socket = live.open(&format!("ticket={ticket}"), &[]).await.unwrap();
        socket.say(json!({"type": "message", "content": "Say hi in two words", "session_id": "", "project_ids": ""})).await;
        let frames = socket.until("done").await;
        assert_eq!(types(&frames), ["model", "token", "token", "usage", "done"]);
        let (m, s) = (frames[0]["message_id"].clone(), frames[0]["session_id"].clone());
        let mut last = 0;
        for frame in &frames {
            assert_eq!((&frame["message_id"], &frame["session_id"], &frame["project_id"]), (&m, &s, &Value::Null));
            assert!(frame.get("id").is_none());
            let seq = frame["seq"].as_u64().unwrap();
            assert!(seq > last && seq < 1 << 53);
            last = seq;
        }
        assert_eq!(frames[0]["model"], "scripted/main");
        assert_eq!((&frames[1]["content"], &frames[2]["content"]), (&json!("Hi "), &json!("there")));
        assert_eq!((&frames[3]["input_tokens"], &frames[3]["output_tokens"]), (&json!(3), &json!(2)));
        let done = &frames[4];
        let expected = json!({"type": "done", "seq": done["seq"], "message_id": m, "session_id": s, "project_id": null,
            "phase": "execute", "evaluation_passed": true, "project_tag": "", "seed_id": null,
            "duration_ms": done["duration_ms"], "tool_calls": [], "project_ids": null, "space_id": null});
        assert_eq!(*done, expected);
        let again = live.send("GET", &format!("/api/chat/stream?ticket={ticket}"), "", "").await;
        assert_eq!((again.status, again.body), (401, json!({"error": "unauthorized"})));
    }

    async fn golden_7_3_two_quick_messages_without_a_session(live: Setup::default()) {
        live.kit.model().push([Script::says("1."), Script::says("2.")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "one"})).await;
        socket.say(json!({"content": "two"})).await;
        let first = socket.until("done").await;
        let second = socket.until("done").await;
        assert_eq!((text(&first), text(&second)), ("1.".into(), "2.".into()));
        assert_eq!(types(&first), types(&second));
        let (s, m1, m2) = (&first[0]["session_id"], &first[0]["message_id"], &second[0]["message_id"]);
        assert!(m1 != m2);
        assert!(first.iter().all(|f| f["message_id"] == *m1 && f["session_id"] == *s));
        assert!(second.iter().all(|f| f["message_id"] == *m2 && f["session_id"] == *s));
        let detail = live.get(&format!("/api/sessions/{}", s.as_str().unwrap())).await.body;
        assert_eq!(detail["user_messages"].as_array().unwrap().len(), 2);
        assert_eq!(detail["agent_responses"][1]["content"], "2.");
    }

    async fn golden_7_4_and_o8_a_first_turn_that_fails_tells_every_transport_the_session(live: Setup::default()) {
        let sentence = "The model service failed.";
        let suggestion = "Try again in a minute or choose another model.";
        let failing = || Script::new().fault(ErrorCode::ProviderRateLimited);
        for (client, message) in [("plain", json!({"content": "x"})), ("ui1", json!({"content": "x", "project_ids": ""}))] {
            live.kit.model().push([failing()]);
            let mut socket = live.socket("").await;
            socket.say(message).await;
            let frames = socket.until("done").await;
            assert_eq!(types(&frames), ["model", "token", "error", "done"], "{client}");
            assert_eq!(frames[1]["content"], sentence);
            let error = &frames[2];
            assert_eq!((&error["message"], &error["error"]), (&json!(sentence), &json!(sentence)));
            assert_eq!((&error["kind"], &error["suggestion"]), (&json!("provider_error"), &json!(suggestion)));
            let done = &frames[3];
            assert_eq!((&done["phase"], &done["evaluation_passed"]), (&json!(""), &json!(false)));
            assert_eq!((&done["project_tag"], &done["seed_id"]), (&Value::Null, &Value::Null));
            let detail = live.get(&format!("/api/sessions/{}", done["session_id"].as_str().unwrap())).await.body;
            assert_eq!(detail["user_messages"].as_array().unwrap().len(), 1);
            assert_eq!(detail["agent_responses"][0]["content"], sentence);
            assert_eq!(detail["agent_responses"][0]["phase_reached"], "");
        }
        live.kit.model().push([failing()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"type": "message", "content": "x", "role": ""})).await;
        let frames = socket.until("error").await;
        assert_eq!(types(&frames), ["model", "error"]);
        assert!(frames[1]["session_id"].as_str().unwrap().starts_with("ses_"));
        socket.is_silent().await;
        live.kit.model().push([failing()]);
        let reply = live.chat(json!({"content": "x"})).await;
        assert_eq!((&reply["reply"], &reply["phase"]), (&json!(sentence), &json!("")));
        assert_eq!(reply["evaluation_passed"], false);
        assert!(reply["session_id"].is_string());
        let error = json!({"kind": "provider_error", "message": sentence, "suggestion": suggestion, "retryable": true});
        assert_eq!(reply["error"], error);
    }

    async fn o3_two_messages_before_the_first_reply_are_both_stored_and_both_ended(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("first").usage(1, 1).end(), Script::says("second")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "a"})).await;
        socket.say(json!({"content": "b"})).await;
        gate.reached().await;
        gate.open();
        let (one, two) = (socket.until("done").await, socket.until("done").await);
        assert_eq!((text(&one).as_str(), text(&two).as_str()), ("first", "second"));
        let id = one[0]["session_id"].as_str().unwrap();
        let detail = live.get(&format!("/api/sessions/{id}")).await.body;
        assert_eq!((detail["user_messages"][0]["content"].clone(), detail["user_messages"][1]["content"].clone()), (json!("a"), json!("b")));
        assert_eq!(detail["agent_responses"][0]["content"], "first");
    }

    async fn o4_text_arrives_while_the_model_still_writes(live: Setup::default()) {
        let gate = Gate::new();
        let script = Script::new().text("one ").gate(&gate).text("two ").pause(std::time::Duration::from_millis(20)).text("three").usage(1, 3).end();
        live.kit.model().push([script]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "count"})).await;
        let first = socket.until("token").await;
        assert_eq!(text(&first), "one ");
        tokio::time::timeout(SOON, gate.reached()).await.unwrap();
        gate.open();
        let rest = socket.until("done").await;
        assert!(rest.iter().filter(|f| f["type"] == "token").count() >= 1);
        assert_eq!(text(&first) + &text(&rest), "one two three");
    }

    async fn o5_two_tool_calls_are_in_done_and_in_the_list_also_after_a_restart(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read))
    ) {
        let call = |n: u64| Script::calls(&[("look", json!({"n": n}))]);
        live.kit.model().push([call(1), call(2), Script::says("Seen.")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "look twice"})).await;
        let frames = socket.until("done").await;
        assert_eq!(types(&frames), ["model", "tool_start", "tool_end", "tool_start", "tool_end", "token", "usage", "done"]);
        assert_eq!((&frames[1]["tool_args"], &frames[1]["context"]), (&json!({"n": 1}), &Value::Null));
        assert_eq!((&frames[2]["is_error"], &frames[2]["output_summary"]), (&json!(false), &json!("done")));
        assert_eq!(frames[2]["tool_call_id"], frames[1]["tool_call_id"]);
        let calls = frames[7]["tool_calls"].clone();
        assert_eq!(calls.as_array().unwrap().len(), 2);
        let call = &calls[1];
        assert_eq!((&call["tool_name"], &call["tool"], &call["input"]), (&json!("look"), &json!("look"), &json!({"n": 2})));
        assert_eq!((&call["output"], &call["is_error"]), (&json!("done"), &json!(false)));
        assert!(call["duration_ms"].is_u64() && call["timestamp"].is_string());
        assert_eq!(call["message_id"], frames[0]["message_id"]);
        let id = frames[0]["session_id"].as_str().unwrap().to_owned();
        let path = format!("/api/sessions/{id}/tool-calls");
        assert_eq!(live.get(&path).await.body, json!({"session_id": id, "tool_calls": calls}));
        let mut live = live;
        live.restart().await;
        assert_eq!(live.get(&path).await.body, json!({"session_id": id, "tool_calls": calls}));
        let mut later = live.socket("").await;
        live.kit.model().push([Script::calls(&[("look", json!({}))]), Script::says("ok")]);
        later.say(json!({"content": "x", "session_id": id, "role": ""})).await;
        let frames = later.until("done").await;
        assert_eq!(frames.last().unwrap()["tool_calls"][0]["input"], "{}", "a later UI parses it");
    }

    async fn o7_session_detail_after_a_socket_turn_is_as_after_an_http_turn(live: Setup::default()) {
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "hi"})).await;
        let done = socket.until("done").await.pop().unwrap();
        let http = live.chat(json!({"content": "hi"})).await;
        let detail = async |id: &Value| live.get(&format!("/api/sessions/{}", id.as_str().unwrap())).await.body;
        let (a, b) = (detail(&done["session_id"]).await, detail(&http["session_id"]).await);
        for key in ["phase_reached", "evaluation_passed", "seed_id", "content"] {
            assert_eq!(a["agent_responses"][0][key], b["agent_responses"][0][key], "{key}");
        }
        assert_eq!(a["agent_responses"][0]["phase_reached"], "execute");
    }

    async fn o9_a_client_that_leaves_loses_nothing(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().text("still ").gate(&gate).text("here").usage(1, 1).end()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "go on", "session_id": "kept"})).await;
        socket.until("token").await;
        drop(socket);
        gate.open();
        let path = "/api/sessions/kept";
        let detail = loop {
            let detail = live.get(path).await.body;
            if detail["agent_responses"].as_array().is_some_and(|all| !all.is_empty()) {
                break detail;
            }
            tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        };
        assert_eq!((detail["id"].clone(), detail["agent_responses"].as_array().unwrap().len()), (json!("kept"), 1));
        assert_eq!(detail["agent_responses"][0]["content"], "still here");
    }

    async fn o10_a_long_answer_comes_back_whole_and_every_cut_falls_on_a_character(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read).answers(
            moongate_core::ToolResult::ok("世🐕é".repeat(9_000))
        ))
    ) {
        let long = "é世🐕x".repeat(10_000);
        live.kit.model().push([Script::calls(&[("look", json!({}))]), Script::says(&long)]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "much"})).await;
        let frames = socket.until("done").await;
        assert_eq!(text(&frames), long);
        let output = frames.last().unwrap()["tool_calls"][0]["output"].as_str().unwrap();
        assert_eq!(output.chars().count(), 16_384 + "… [truncated]".chars().count());
        let summary = frames.iter().find(|f| f["type"] == "tool_end").unwrap()["output_summary"].as_str().unwrap();
        assert_eq!(summary.chars().count(), 2_000 + "… [truncated]".chars().count());
        let id = frames[0]["session_id"].as_str().unwrap();
        let detail = live.get(&format!("/api/sessions/{id}")).await.body;
        assert_eq!(detail["agent_responses"][0]["content"], long.as_str());
        live.kit.model().push([Script::says(&long)]);
        assert_eq!(live.chat(json!({"content": "again"})).await["reply"], long.as_str());
    }

    async fn o11_the_second_turn_knows_the_first_also_after_a_restart(live: Setup::default()) {
        let first = live.chat(json!({"content": "My dog is called Ada."})).await;
        let mut live = live;
        live.restart().await;
        live.chat(json!({"content": "And now?", "session_id": first["session_id"]})).await;
        let prompts = live.kit.model().prompts();
        assert_eq!(prompts.last().unwrap().len(), 3, "question, answer, question");
    }

    async fn o12_two_sessions_run_at_the_same_time(live: Setup::default()) {
        let (a, b) = (Gate::new(), Gate::new());
        live.kit.model().push([Script::new().gate(&a).text("x").end(), Script::new().gate(&b).text("x").end()]);
        let both = async {
            tokio::join!(a.reached(), b.reached());
            a.open();
            b.open();
        };
        let (one, two, ()) = tokio::join!(live.chat(json!({"content": "1"})), live.chat(json!({"content": "2"})), both);
        assert_eq!((&one["reply"], &two["reply"]), (&json!("x"), &json!("x")));
    }

    async fn a_request_id_runs_once_and_is_the_message_id(live: Setup::default()) {
        live.kit.model().push([Script::says("once")]);
        let id = "0199aa55-0001-7abc-8def-0123456789ab";
        let one = live.chat(json!({"content": "x", "request_id": id})).await;
        let two = live.chat(json!({"content": "x", "request_id": id})).await;
        assert_eq!((&one["id"], &one), (&json!(id), &two));
        assert_eq!(live.kit.model().requests().len(), 1);
        let other = live.post("/api/chat", json!({"content": "y", "request_id": id})).await;
        assert_eq!(other.status, 422, "{}", other.body);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "x", "request_id": id})).await;
        let frames = socket.until("done").await;
        assert_eq!((types(&frames), text(&frames).as_str()), (vec!["token", "usage", "done"], "once"));
        assert_eq!(frames[0]["message_id"], id);
    }

    async fn a_turn_without_text_says_so_and_reasoning_has_its_ends(live: Setup::default()) {
        live.kit.model().push([Script::new().reasoning("Hm.", None).usage(1, 1).end()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "x"})).await;
        let frames = socket.until("done").await;
        assert_eq!(types(&frames), ["model", "reasoning", "reasoning", "reasoning", "token", "usage", "done"]);
        assert_eq!((&frames[1]["subtype"], &frames[3]["subtype"]), (&json!("start"), &json!("end")));
        assert_eq!((&frames[2]["content"], &frames[2]["source"]), (&json!("Hm."), &json!("thinking")));
        assert_eq!(frames[4]["content"], "(no text)");
    }

    async fn answers_to_an_interview_nobody_holds_are_an_ordinary_message(live: Setup::default()) {
        let mut socket = live.socket("").await;
        let answers = json!([{"question_id": "q1", "value": "a"}, {"id": "q2", "value": ["b", "c"]}]);
        socket.say(json!({"type": "interview_response", "session_id": "s", "answers": answers})).await;
        socket.until("done").await;
        socket.say(json!({"type": "interview_response", "session_id": "s", "answers": [], "text": "just text"})).await;
        socket.until("done").await;
        let detail = live.get("/api/sessions/s").await.body;
        let said: Vec<_> = detail["user_messages"].as_array().unwrap().iter().map(|m| m["content"].clone()).collect();
        assert_eq!(said, [json!("q1 \u{2192} a\nq2 \u{2192} b, c"), json!("just text")]);
    }

    async fn keys_of_the_gateway_are_masked_in_what_tools_took_and_gave(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read).answers(moongate_core::ToolResult::ok("mg_api_secret0 seen")))
    ) {
        live.kit.model().push([Script::calls(&[("look", json!({"key": "mg_api_secret1"}))]), Script::says("ok")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "x", "session_id": "s"})).await;
        let frames = socket.until("done").await;
        assert!(!json!(frames).to_string().contains("secret"), "{frames:?}");
        assert_eq!(frames.last().unwrap()["tool_calls"][0]["output"], "*** seen");
        assert!(!live.get("/api/sessions/s/tool-calls").await.body.to_string().contains("secret"));
    }
}
