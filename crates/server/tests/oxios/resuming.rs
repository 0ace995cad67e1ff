//! Going away and coming back, and stopping.

use std::time::Duration;

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{both, text, types};

both! {
    async fn golden_7_8_disconnect_resume_cancel(live: Setup::default()) {
        let (one, two) = (Gate::new(), Gate::new());
        let script = Script::new().text("1 2 3 ").gate(&one).text("4 5 6 ").gate(&two).text("7").end();
        live.kit.model().push([script, Script::says("next")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"type": "message", "content": "Count to 100", "session_id": "s", "role": ""})).await;
        let seen = socket.until("token").await;
        assert_eq!(types(&seen), ["model", "token"]);
        let seq = seen[1]["seq"].clone();
        drop(socket);
        one.open();
        two.reached().await;
        let mut socket = live.socket("").await;
        socket.say(json!({"type": "resume", "last_seq": seq})).await;
        let rest = socket.until("token").await;
        assert_eq!((types(&rest), text(&rest).as_str()), (vec!["token"], "4 5 6 "));
        assert!(rest[0]["seq"].as_u64() > seq.as_u64());
        assert_eq!(rest[0]["message_id"], seen[0]["message_id"]);
        socket.say(json!({"type": "cancel", "session_id": "s", "request_id": null})).await;
        let end = socket.until("error").await;
        let error = end.last().unwrap();
        assert_eq!((&error["kind"], &error["message"]), (&json!("cancelled"), &json!("Turn cancelled by user")));
        assert_eq!((&error["error"], &error["suggestion"]), (&json!("Turn cancelled by user"), &Value::Null));
        socket.is_silent().await;
        // The next turn starts clean.
        socket.say(json!({"type": "message", "content": "again", "session_id": "s", "role": ""})).await;
        let next = socket.until("done").await;
        assert_eq!(text(&next), "next");
        let detail = live.get("/api/sessions/s").await.body;
        assert_eq!(detail["agent_responses"][0]["content"], "1 2 3 4 5 6 \n\nTurn cancelled by user");
        assert_eq!(detail["agent_responses"][0]["phase_reached"], "cancelled");
        assert_eq!(detail["agent_responses"][0]["evaluation_passed"], Value::Null);
    }

    async fn o13_kill_stops_the_turn_and_it_stays_stopped(
        live: Setup::default().tool(ScriptedTool::new("work", Effect::Effect).waits_at(&Gate::new()))
    ) {
        live.kit.model().push([Script::calls(&[("work", json!({}))]), Script::says("clean")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "work"})).await;
        socket.until("tool_start").await;
        let agents = live.get("/api/agents").await.body;
        assert_eq!((&agents["total"], &agents["items"][0]["status"]), (&json!(1), &json!("running")));
        assert_eq!(agents["items"][0]["name"], "work");
        let id = agents["items"][0]["id"].as_str().unwrap().to_owned();
        let killed = live.post(&format!("/api/agents/{id}/kill"), Value::Null).await;
        assert_eq!((killed.status, killed.body), (200, json!({"status": "killed", "id": id})));
        let frames = socket.until("done").await;
        assert_eq!(frames.last().unwrap()["phase"], "cancelled");
        assert!(types(&frames).contains(&"tool_end"), "{frames:?}");
        let again = live.post(&format!("/api/agents/{id}/kill"), Value::Null).await;
        assert_eq!((again.status, again.body), (200, json!({"status": "already_stopped", "id": id})));
        let agents = live.get("/api/agents").await.body;
        assert_eq!((&agents["items"][0]["status"], &agents["items"][0]["outcome"]), (&json!("stopped"), &json!("cancelled")));
        socket.say(json!({"content": "next", "session_id": frames[0]["session_id"]})).await;
        assert_eq!(text(&socket.until("done").await), "clean");
        for bad in ["x", "0199aa55-0001-7abc-8def-0123456789ab"] {
            let reply = live.post(&format!("/api/agents/{bad}/kill"), Value::Null).await;
            assert_eq!((reply.status, reply.body), (404, json!({"error": "agent not found"})));
        }
    }

    async fn o13_a_cancel_over_the_stream_closes_the_model_and_stays(live: Setup::default()) {
        live.kit.model().push([Script::new().text("half ").hang(), Script::says("clean")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "long", "session_id": "s"})).await;
        socket.until("token").await;
        assert_eq!(live.kit.gateway().running_turns(), 1);
        socket.say(json!({"type": "cancel"})).await;
        let end = socket.until("done").await;
        assert_eq!((types(&end), &end.last().unwrap()["phase"]), (vec!["error", "done"], &json!("cancelled")));
        // The model's stream is gone with its turn.
        while live.kit.gateway().running_turns() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let mut live = live;
        live.restart().await;
        let agents = live.get("/api/agents").await.body;
        let agent = &agents["items"][0];
        assert_eq!((&agent["status"], &agent["outcome"]), (&json!("stopped"), &json!("cancelled")));
        let next = live.chat(json!({"content": "next", "session_id": "s"})).await;
        assert_eq!((&next["reply"], &next["phase"]), (&json!("clean"), &json!("execute")));
        assert_eq!(live.get("/api/agents").await.body["items"][1], *agent);
    }

    async fn a_queued_message_is_cancelled_alone_and_gets_its_own_end(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("one").end(), Script::says("three")]);
        let mut socket = live.socket("").await;
        let id = "0199aa55-0001-7abc-8def-0123456789ab";
        socket.say(json!({"content": "1", "session_id": "s"})).await;
        socket.say(json!({"content": "2", "session_id": "s", "request_id": id})).await;
        socket.say(json!({"content": "3", "session_id": "s"})).await;
        socket.until("model").await;
        socket.say(json!({"type": "cancel", "session_id": "s", "request_id": id})).await;
        let cancelled = socket.until("done").await;
        assert_eq!(types(&cancelled), ["error", "done"]);
        assert!(cancelled.iter().all(|frame| frame["message_id"] == id));
        gate.open();
        assert_eq!(text(&socket.until("done").await), "one");
        assert_eq!(text(&socket.until("done").await), "three");
        let detail = live.get("/api/sessions/s").await.body;
        assert_eq!(detail["user_messages"].as_array().unwrap().len(), 2);
    }

    async fn o32_late_events_of_a_cancelled_turn_are_not_in_the_next_one(live: Setup::default()) {
        live.kit.model().push([Script::new().text("old").hang(), Script::says("new")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "1", "session_id": "s"})).await;
        socket.until("token").await;
        socket.say(json!({"content": "2", "session_id": "s"})).await;
        socket.say(json!({"type": "cancel"})).await;
        let first = socket.until("done").await;
        let second = socket.until("done").await;
        assert_eq!(first.last().unwrap()["phase"], "cancelled");
        assert_eq!(text(&second), "new");
        assert!(second.iter().all(|frame| frame["message_id"] == second[0]["message_id"]));
        // Exactly one card for a failed turn of a later UI, nothing it does not know.
        live.kit.model().push([Script::new().fault(ErrorCode::ProviderCut)]);
        socket.say(json!({"content": "3", "session_id": "s", "role": "x"})).await;
        assert_eq!(types(&socket.until("error").await), ["model", "error"]);
        socket.is_silent().await;
    }

    async fn o33_cut_at_every_frame_old_and_new_frames_say_the_same_once(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read))
    ) {
        let turn = || {
            let wait = Duration::from_millis(2);
            let first = Script::new().reasoning("Let me think", None).pause(wait).text("I ").pause(wait).text("look.");
            [first.call("look", &json!({"n": 1})).usage(5, 5).finish(moongate_protocol::StopReason::ToolUse),
             Script::new().text("Seen ").pause(wait).text("it.").usage(5, 5).end()]
        };
        live.kit.model().push(turn());
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "look"})).await;
        let whole = socket.until("done").await;
        assert_eq!(text(&whole), "I look.\n\nSeen it.");
        let tools = |frames: &[Value]| frames.iter().filter(|f| f["type"].as_str().unwrap().starts_with("tool_")).count();
        let thoughts = |frames: &[Value]| -> String {
            frames.iter().filter(|f| f["type"] == "reasoning").filter_map(|f| f["content"].as_str()).collect()
        };
        for cut in 0..whole.len() {
            let seen = &whole[..=cut];
            let mut back = live.socket("").await;
            back.say(json!({"type": "resume", "last_seq": seen[cut]["seq"]})).await;
            let rest = if cut + 1 == whole.len() { Vec::new() } else { back.until("done").await };
            let all = [seen, &rest[..]].concat();
            assert_eq!(text(&all), text(&whole), "cut after {cut}: {rest:?}");
            assert_eq!((tools(&all), thoughts(&all)), (2, "Let me think".to_owned()), "cut after {cut}");
            assert_eq!(all.iter().filter(|f| f["type"] == "done").count(), 1);
            assert_eq!(all.iter().filter(|f| f["type"] == "usage").count(), 1);
            back.is_silent().await;
        }
    }

    async fn o33_cut_while_the_model_writes_nothing_is_lost_or_doubled(live: Setup::default()) {
        let gates: Vec<Gate> = (0..4).map(|_| Gate::new()).collect();
        let mut script = Script::new();
        for (n, gate) in gates.iter().enumerate() {
            script = script.text(&format!("part {n} ")).gate(gate);
        }
        live.kit.model().push([script.usage(1, 1).end()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "go", "session_id": "s"})).await;
        let mut all = Vec::new();
        for gate in &gates {
            all.extend(socket.until("token").await);
            gate.reached().await;
            let seq = all.last().unwrap()["seq"].clone();
            socket = live.socket("").await;
            socket.say(json!({"type": "resume", "last_seq": seq, "session_id": "s"})).await;
            gate.open();
        }
        all.extend(socket.until("done").await);
        assert_eq!(text(&all), "part 0 part 1 part 2 part 3 ");
        assert_eq!(types(&all).iter().filter(|kind| **kind == "model").count(), 1);
    }

    async fn a_place_nobody_knows_is_told_only_when_asked_and_goes_on_with_the_next_turn(live: Setup::default()) {
        let first = live.chat(json!({"content": "x", "session_id": "s"})).await;
        assert_eq!(first["session_id"], "s");
        let mut socket = live.socket("").await;
        socket.say(json!({"type": "resume", "last_seq": 12, "session_id": "s"})).await;
        socket.is_silent().await;
        socket.say(json!({"type": "resume", "last_seq": 12, "session_id": "s", "resync": true})).await;
        let resync = socket.until("resync").await.pop().unwrap();
        assert_eq!(resync["session_id"], "s");
        assert!(resync.get("message_id").is_none());
        socket.say(json!({"content": "y", "session_id": "s"})).await;
        assert_eq!(text(&socket.until("done").await), "ok");
    }

    async fn o33_after_a_restart_numbers_are_greater_and_the_turn_goes_on(live: Setup::default()) {
        live.kit.model().push([Script::new().text("gone ").hang(), Script::says("whole answer")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "x", "session_id": "s"})).await;
        let seen = socket.until("token").await;
        let mut live = live;
        live.restart().await;
        let mut back = live.socket("").await;
        back.say(json!({"type": "resume", "last_seq": 0, "session_id": "s"})).await;
        let detail = loop {
            let detail = live.get("/api/sessions/s").await.body;
            if detail["agent_responses"].as_array().is_some_and(|all| !all.is_empty()) {
                break detail;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        };
        assert_eq!(detail["agent_responses"][0]["content"], "whole answer");
        let next = live.socket("").await;
        let mut next = next;
        next.say(json!({"content": "y", "session_id": "s"})).await;
        let later = next.until("done").await;
        assert!(later[0]["seq"].as_u64() > seen.last().unwrap()["seq"].as_u64());
    }

    async fn a_mirror_shows_turns_of_others_that_begin_later(live: Setup::default()) {
        live.chat(json!({"content": "x", "session_id": "s"})).await;
        let mut mirror = live.socket("mirror=1").await;
        mirror.say(json!({"content": "mine", "session_id": "s"})).await;
        mirror.until("done").await;
        let mut plain = live.socket("").await;
        plain.say(json!({"content": "mine too", "session_id": "s"})).await;
        plain.until("done").await;
        let shown = mirror.until("done").await;
        assert_eq!(types(&shown), ["model", "token", "usage", "done"]);
        live.chat(json!({"content": "http", "session_id": "s"})).await;
        mirror.until("done").await;
        plain.is_silent().await;
    }

    async fn a_mirror_that_came_back_shows_later_turns_of_others(live: Setup::default()) {
        let mut first = live.socket("").await;
        first.say(json!({"content": "x", "session_id": "s"})).await;
        let seq = first.until("done").await.last().unwrap()["seq"].clone();
        // Known or not, and whatever the place was: it is in the session again.
        for resume in [json!({"type": "resume", "last_seq": seq}), json!({"type": "resume", "last_seq": 7, "session_id": "s"})] {
            let mut mirror = live.socket("mirror=1").await;
            let mut plain = live.socket("").await;
            for socket in [&mut mirror, &mut plain] {
                socket.say(resume.clone()).await;
                // What is said next is answered after it.
                socket.say_text("{oops").await;
                socket.until("error").await;
            }
            live.chat(json!({"content": "by another", "session_id": "s"})).await;
            assert_eq!(types(&mirror.until("done").await), ["model", "token", "usage", "done"]);
            plain.is_silent().await;
            // Elsewhere it mirrors what is there, and no longer this.
            mirror.say(json!({"content": "y", "session_id": "t"})).await;
            mirror.until("done").await;
            live.chat(json!({"content": "again", "session_id": "s"})).await;
            mirror.is_silent().await;
        }
    }

    async fn a_uis_frames_are_those_of_the_session_it_is_in(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("first").end(), Script::says("second")]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "1", "session_id": "a", "role": ""})).await;
        gate.reached().await;
        socket.say(json!({"content": "2", "session_id": "b", "role": ""})).await;
        let mut frames = socket.until("done").await;
        gate.open();
        // The other session's turn ends without a word here.
        socket.is_silent().await;
        frames.retain(|frame| frame["session_id"] == "b");
        assert_eq!((types(&frames), text(&frames).as_str()), (vec!["model", "token", "usage", "done"], "second"));
        assert_eq!(live.get("/api/sessions/a").await.body["agent_responses"][0]["content"], "first");
        // A script gets both.
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("third").end(), Script::says("fourth")]);
        socket.say(json!({"content": "3", "session_id": "a"})).await;
        gate.reached().await;
        socket.say(json!({"content": "4", "session_id": "b"})).await;
        assert_eq!(text(&socket.until("done").await), "fourth");
        gate.open();
        assert_eq!(text(&socket.until("done").await), "third");
    }

    async fn the_urls_client_fixes_the_kind_of_all_inputs(live: Setup::default()) {
        live.kit.model().push([Script::new().fault(ErrorCode::ProviderCut), Script::new().fault(ErrorCode::ProviderCut)]);
        let mut socket = live.socket("client=ui2").await;
        socket.say(json!({"content": "1", "project_ids": ""})).await;
        assert_eq!(types(&socket.until("error").await), ["model", "error"]);
        let mut socket = live.socket("client=plain").await;
        socket.say(json!({"content": "1", "role": ""})).await;
        assert_eq!(types(&socket.until("done").await), ["model", "token", "error", "done"]);
    }
}
