//! The events of all sessions.

use moongate_protocol::{Effect, ErrorCode};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup};
use serde_json::json;

use crate::kit::both;

both! {
    async fn golden_7_6_the_events_of_a_task(live: Setup::default()) {
        let mut events = live.events("").await;
        assert!(events.text.to_ascii_lowercase().contains("content-type: text/event-stream"));
        let reply = live.chat(json!({"content": "do it\nwell"})).await;
        events.until("agent_stopped").await;
        let all = events.all();
        assert_eq!(events.types(), ["agent_created", "agent_started", "phase_started", "phase_completed", "agent_stopped"]);
        assert_eq!((&all[0]["name"], &all[2]["phase"], &all[3]["phase"]), (&json!("do it"), &json!("Execute"), &json!("Execute")));
        assert_eq!(all[4]["success"], true);
        let agent = live.get("/api/agents").await.body["items"][0]["id"].clone();
        for event in &all {
            assert!(event["id"].is_string() && event["timestamp"].is_string());
            assert_eq!((&event["session_id"], &event["message_id"]), (&reply["session_id"], &reply["id"]));
            assert!(event.get("agent_id").is_none_or(|id| *id == agent));
        }
        assert!(!events.text.contains("event:"));
    }

    async fn o23_events_hold_no_words_and_come_back_by_their_id(
        live: Setup::default().tool(ScriptedTool::new("look", Effect::Read))
    ) {
        let secret = "xyzzy";
        live.kit.model().push([Script::calls(&[("look", json!({"secret": secret}))]), Script::says(secret)]);
        let mut events = live.events("").await;
        let said = format!("{} {secret}", "long ".repeat(40));
        let reply = live.chat(json!({"content": said})).await;
        events.until("agent_stopped").await;
        assert!(!events.text.contains(secret));
        assert_eq!(events.all()[0]["name"].as_str().unwrap().chars().count(), 80);
        let ids: Vec<_> = events.text.lines().filter_map(|line| line.strip_prefix("id: ")).map(str::to_owned).collect();
        assert_eq!(ids.len(), 5);
        drop(events);
        live.kit.model().push([Script::new().fault(ErrorCode::ProviderCut)]);
        live.chat(json!({"content": "fail", "session_id": reply["session_id"]})).await;
        let mut back = live.events(&format!("last-event-id: {}\r\n", ids[2])).await;
        back.until("agent_failed").await;
        assert_eq!(back.types(), ["phase_completed", "agent_stopped", "agent_created", "agent_started", "phase_started", "phase_completed", "agent_failed"]);
        assert_eq!(back.all()[6]["error"], "The model service failed.");
        let mut lost = live.events("last-event-id: 17\r\n").await;
        lost.until("resync").await;
        assert!(lost.text.contains("event: resync"));
        assert_eq!(lost.all()[0]["type"], "resync");
    }

    async fn an_input_that_came_before_the_subscriber_has_its_name(live: Setup::default()) {
        let gate = Gate::new();
        live.kit.model().push([Script::new().gate(&gate).text("x").end()]);
        let mut socket = live.socket("").await;
        socket.say(json!({"content": "first", "session_id": "s"})).await;
        socket.say(json!({"content": "second", "session_id": "s"})).await;
        socket.until("model").await;
        gate.reached().await;
        let mut events = live.events("").await;
        gate.open();
        socket.until("done").await;
        socket.until("done").await;
        events.until("agent_created").await;
        events.until("Execute").await;
        assert!(events.text.contains(r#""name":"second""#), "{}", events.text);
    }
}
