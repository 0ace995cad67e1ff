//! Lists and details: sessions, agents, pruning.

use std::time::Duration;

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::{Value, json};

use crate::kit::{Live, Mount, both};

both! {
    async fn sessions_are_listed_by_page_newest_first(live: Setup::default()) {
        for n in 0..3 {
            live.kit.clock().advance(Duration::from_secs(1));
            live.chat(json!({"content": format!("hello {n}"), "session_id": format!("s{n}"), "user_id": "me"})).await;
        }
        let list = live.get("/api/sessions").await.body;
        assert_eq!((&list["total"], &list["page"], &list["limit"]), (&json!(3), &json!(1), &json!(50)));
        let first = &list["items"][0];
        assert_eq!((&first["id"], &first["user_id"], &first["message_count"]), (&json!("s2"), &json!("me"), &json!(1)));
        assert_eq!((&first["project_id"], &first["active_seed_id"]), (&Value::Null, &Value::Null));
        assert_eq!((&first["title"], &first["status"]), (&json!("hello 2"), &json!("idle")));
        let page = live.get("/api/sessions?page=2&limit=2").await.body;
        assert_eq!((page["items"].as_array().unwrap().len(), &page["items"][0]["id"]), (1, &json!("s0")));
        let odd = live.get("/api/sessions?page=0&limit=9999").await.body;
        assert_eq!((&odd["page"], &odd["limit"], odd["items"].as_array().unwrap().len()), (&json!(0), &json!(500), 3));
        assert_eq!(live.get("/api/sessions?limit=0").await.body["items"], json!([]));
        assert_eq!(live.get("/api/sessions?limit=x").await.status, 400);
        let unknown = live.get("/api/sessions/unknown").await;
        assert_eq!((unknown.status, unknown.body), (404, json!({"error": "session not found"})));
    }

    async fn a_deleted_sessions_id_opens_a_new_one(live: Setup::default()) {
        let first = live.chat(json!({"content": "x"})).await;
        let id = first["session_id"].as_str().unwrap().to_owned();
        let gone = live.delete(&format!("/api/sessions/{id}")).await;
        assert_eq!((gone.status, gone.body), (200, json!({"status": "deleted", "id": id})));
        assert_eq!(live.delete(&format!("/api/sessions/{id}")).await.status, 404);
        let again = live.chat(json!({"content": "y", "session_id": id})).await;
        assert_eq!(again["session_id"], id.as_str());
        let detail = live.get(&format!("/api/sessions/{id}")).await.body;
        assert_eq!((&detail["id"], detail["user_messages"].as_array().unwrap().len()), (&json!(id), 1));
        assert_eq!(live.delete(&format!("/api/sessions/{id}")).await.status, 200);
    }

    async fn a_running_session_is_deleted_with_its_turn(live: Setup::default()) {
        live.kit.model().push([Script::new().text("x").hang()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "1", "session_id": "s"})).await;
        socket.until("token").await;
        assert_eq!(live.get("/api/sessions").await.body["items"][0]["status"], "running");
        assert_eq!(live.delete("/api/sessions/s").await.status, 200);
        assert_eq!(socket.until("done").await.last().unwrap()["phase"], "cancelled");
    }

    async fn o26_prune_leaves_what_runs_waits_or_is_shown(live: Setup::default()) {
        live.chat(json!({"content": "old", "session_id": "old"})).await;
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "shown", "session_id": "shown"})).await;
        socket.until("done").await;
        let gate = Gate::new();
        live.kit.model().push([Script::new().text("x").gate(&gate).end()]);
        let mut other = live.socket("").await;
        other.say(json!({"content": "busy", "session_id": "busy"})).await;
        other.until("token").await;
        drop(other);
        let pruned = live.post("/api/sessions/prune", Value::Null).await.body;
        assert_eq!(pruned, json!({"status": "pruned", "count": 0, "config": {"max_sessions": 100, "ttl_hours": 168}}));
        live.kit.clock().advance(Duration::from_secs(8 * 24 * 3600));
        let pruned = live.post("/api/sessions/prune", Value::Null).await.body;
        assert_eq!(pruned["count"], 1);
        let list = live.get("/api/sessions").await.body;
        let left: Vec<_> = list["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap()).collect();
        assert!(left.len() == 2 && left.contains(&"shown") && left.contains(&"busy"), "{left:?}");
        gate.open();
    }

    async fn agents_are_turns_with_detail_trace_and_log(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read))
    ) {
        live.kit.model().push([Script::calls(&[("look", json!({"n": 1}))]), Script::says("Seen."), Script::new().fault(ErrorCode::ProviderCut)]);
        let reply = live.chat(json!({"content": "look around\nand more"})).await;
        live.chat(json!({"content": "fail", "session_id": reply["session_id"]})).await;
        let agents = live.get("/api/agents").await.body;
        assert_eq!(agents["total"], 2);
        let (failed, good) = (&agents["items"][0], &agents["items"][1]);
        assert_eq!((&failed["status"], &failed["outcome"]), (&json!("failed"), &json!("failed")));
        assert_eq!((&good["status"], &good["outcome"]), (&json!("stopped"), &json!("completed")));
        assert_eq!((&good["session_id"], &good["seed_id"]), (&reply["session_id"], &Value::Null));
        let id = good["id"].as_str().unwrap();
        let detail = live.get(&format!("/api/agents/{id}")).await.body;
        assert_eq!((&detail["error"], &detail["steps_completed"]), (&Value::Null, &json!(3)));
        assert_eq!((&detail["tokens_used"], &detail["steps_total"]), (&json!(24), &Value::Null));
        assert!(detail["completed_at"].is_string() && detail["cost_usd"].is_number());
        let trace = live.get(&format!("/api/agents/{id}/trace")).await.body;
        let steps = trace["steps"].as_array().unwrap();
        let actions: Vec<_> = steps.iter().map(|s| s["action"].as_str().unwrap()).collect();
        assert_eq!(actions, ["model", "tool", "model"]);
        assert_eq!((&steps[1]["tool_name"], &steps[1]["status"]), (&json!("look"), &json!("completed")));
        assert_eq!((&steps[1]["input"], &steps[1]["output"]), (&json!({"n": 1}), &json!("done")));
        assert_eq!((&steps[0]["tool_name"], &steps[0]["index"]), (&Value::Null, &json!(0)));
        let logs = live.get(&format!("/api/agents/{}/logs", failed["id"].as_str().unwrap())).await.body;
        let last = logs["entries"].as_array().unwrap().last().unwrap();
        assert_eq!((&last["level"], &last["message"]), (&json!("error"), &json!("The model service failed.")));
        let mut live = live;
        live.restart().await;
        assert_eq!(live.get("/api/agents").await.body, agents);
        let status = live.get("/api/status").await.body;
        let expected = json!({"active_count": 0, "total_forked": 2, "total_completed": 1, "total_failed": 1});
        assert_eq!(status["components"]["agents"], expected);
    }

    async fn a_turn_that_waited_has_its_name(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("x").end()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "first", "session_id": "s"})).await;
        socket.say(json!({"content": "second", "session_id": "s"})).await;
        gate.reached().await;
        gate.open();
        socket.until("done").await;
        socket.until("done").await;
        let agents = live.get("/api/agents").await.body;
        assert_eq!((&agents["items"][0]["name"], &agents["items"][1]["name"]), (&json!("second"), &json!("first")));
    }

    async fn o14_a_provider_error_is_no_reply_and_is_counted(live: Setup::default()) {
        live.kit.model().push([Script::new().text("half").fault(ErrorCode::ProviderOverloaded), Script::new().fault(ErrorCode::ProviderTimeout)]);
        let reply = live.chat(json!({"content": "x"})).await;
        assert_eq!((&reply["evaluation_passed"], &reply["error"]["kind"]), (&json!(false), &json!("provider_error")));
        assert_eq!(reply["reply"], "half\n\nThe model service failed.");
        let late = live.chat(json!({"content": "x"})).await;
        assert_eq!((&late["error"]["kind"], &late["reply"]), (&json!("timeout"), &json!("The request took too long.")));
        let metrics = live.get("/api/metrics").await;
        let text = metrics.body.as_str().unwrap();
        for line in ["oxios_llm_errors_total 2", "oxios_agents_failed_total 2", "oxios_messages_processed_total 2",
                     "oxios_memory_entries_total 0", "moongate_connections"] {
            assert!(text.contains(line), "{line} is not in {text}");
        }
    }
}

#[tokio::test]
async fn o26_the_scheduler_prunes_every_hour_what_the_settings_say_and_nothing_that_is_used() {
    let change: fn(&mut moongate_server::AppConfig) = |app| {
        app.doors.prune = moongate_server::door::oxios::Prune { auto: true, max_sessions: 1, ttl_hours: 0 };
    };
    let mut live = Live::start(Setup::default(), Mount::Prefix, change).await;
    let scopes = json!(["sessions:read", "sessions:write"]);
    let (_, ada) = live.new_key(json!({"label": "ada", "principal": "ada", "scopes": scopes})).await;
    let admin = live.key.clone();
    let mut shown = live.socket("").await;
    for key in [&admin, &ada] {
        live.becomes(key);
        for n in 0..3 {
            live.kit.clock().advance(Duration::from_secs(1));
            live.chat(json!({"content": "x", "session_id": format!("s{n}")})).await;
        }
    }
    live.becomes(&admin);
    shown.say(json!({"type": "resume", "last_seq": 1, "session_id": "s0"})).await;
    shown.say_text("{oops").await;
    shown.until("error").await;
    let native = live.native("POST", "/api/v1/sessions", json!({})).await;
    live.kit.clock().advance(Duration::from_secs(3_600));
    let ids = |list: Value| -> Vec<String> {
        list["items"].as_array().unwrap().iter().map(|s| s["id"].as_str().unwrap().to_owned()).collect()
    };
    live.becomes(&ada);
    // The newest of each stays, the one on a screen, and what came through another door.
    while ids(live.get("/api/sessions").await.body) != ["s2"] {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    live.becomes(&admin);
    // The administrator sees everybody's.
    let native = native["id"].as_str().unwrap();
    loop {
        let mut left = ids(live.get("/api/sessions").await.body);
        assert!(left.iter().any(|id| id == native) && left.iter().any(|id| id == "s0"), "{left:?}");
        left.sort();
        if left.len() == 4 {
            assert_eq!(left.iter().filter(|id| *id == "s2").count(), 2);
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
