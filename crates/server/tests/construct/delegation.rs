//! What other agents do for a turn, as the run view draws it.

use moongate_core::{Agent, ListQuery};
use moongate_protocol::{Effect, ErrorCode, PolicyPreset};
use moongate_testkit::{MODEL, Script, ScriptedModel, ScriptedModels, ScriptedTool, Setup, bob};
use serde_json::{Value, json};

use crate::{
    hooks::Events,
    kit::{Chat, Kit, MOUNTS, Mount, assert_has},
};

const SCOUT: &str = "scripted/scout";

/// An agent that may hand tasks to `scout`, whose tool a person decides on where `policy` says so.
async fn kit(mount: Mount, policy: PolicyPreset) -> Kit {
    let agent = |name: &str, model: &str, delegates: &[&str]| {
        let mut agent = Agent::new(name.parse().unwrap(), model.parse().unwrap());
        agent.policy = policy;
        agent.tools = vec!["shell".parse().unwrap()];
        agent.delegates = delegates.iter().map(|name| name.parse().unwrap()).collect();
        agent
    };
    let agents = vec![agent("main", MODEL, &["scout"]), agent("scout", SCOUT, &[])];
    let models = [MODEL, SCOUT].map(|name| ScriptedModel::new(name.parse().unwrap()));
    let shell =
        ScriptedTool::new("shell", Effect::Effect).answers(moongate_core::ToolResult::ok("two files"));
    let setup = Setup { agents, models: ScriptedModels::new(models), ..Setup::default() }.tool(shell);
    let kit = Kit::with(mount, setup, |_| {}).await;
    let task = json!({ "agent": "scout", "task": "List the files." });
    kit.scripts([Script::calls(&[("delegate", task)]), Script::says("All done.")]);
    kit
}

fn scout_says(kit: &Kit, scripts: impl IntoIterator<Item = Script>) {
    kit.gateway.models().scripted(SCOUT).push(scripts);
}

fn ls() -> Script {
    Script::new().reasoning("hm", None).text("I look.").call("shell", &json!({ "command": "ls" })).end()
}

/// What is told of other agents, in words: the phase of a status, the type of an event.
fn told(frames: &[Value]) -> Vec<&str> {
    let told = frames.iter().filter_map(|frame| match frame["type"].as_str().unwrap() {
        "operator_status" => frame["phase"].as_str(),
        "agent_event" => frame["event"]["type"].as_str(),
        kind @ ("tool_call" | "tool_result" | "approval_request" | "approval_resolved" | "done") => {
            Some(kind)
        }
        _ => None,
    });
    told.collect()
}

fn events(frames: &[Value]) -> Vec<&Value> {
    frames.iter().filter(|frame| frame["type"] == "agent_event").collect()
}

async fn child_of(kit: &Kit) -> String {
    let page = kit.gateway.gateway().list(&bob(), ListQuery { limit: 10, ..ListQuery::default() }).await;
    let child = page.unwrap().items.into_iter().find(|view| view.parent.is_some());
    child.unwrap().id.to_string()
}

async fn said(kit: &Kit, chat: &mut Chat) -> Vec<Value> {
    chat.message("What is here?").await;
    let frames = chat.until("done").await;
    assert_eq!(kit.calls(), 2);
    frames
}

#[tokio::test]
async fn a_turn_that_hands_a_task_on_is_told_of_with_agent_events() {
    for mount in MOUNTS {
        let kit = kit(mount, PolicyPreset::Full).await;
        scout_says(&kit, [ls(), Script::new().text("Two files.").usage(7, 3).end()]);
        let mut chat = kit.joined("s").await;
        let frames = said(&kit, &mut chat).await;
        let expected = [
            "tool_call",
            "spawning",
            "spawned",
            "agent.started",
            "delegating",
            "agent.chat",
            "waiting",
            "agent.thinking",
            "agent.message",
            "agent.tool_use",
            "agent.tool_use",
            "agent.message",
            "completed",
            "agent.completed",
            "collecting",
            "collected",
            "tool_result",
            "done",
        ];
        assert_eq!(told(&frames), expected);
        let child = child_of(&kit).await;
        let events = events(&frames);
        for frame in &events {
            assert_has(frame, &json!({ "session_id": "s" }));
            assert_eq!(
                (&frame["event"]["agentId"], &frame["event"]["agentTitle"]),
                (&json!(child), &json!("scout"))
            );
            assert!(
                frame["event"]["timestamp"].is_string() && frame["event"]["content"].is_object(),
                "{frame}"
            );
        }
        let content: Vec<_> = events.iter().map(|frame| &frame["event"]["content"]).collect();
        assert_eq!(content[0], &json!({ "provider": "scripted", "model": "scout", "role": "delegate" }));
        assert_eq!(content[1], &json!({ "text": "List the files." }));
        assert_eq!(content[2], &json!({ "text": "hm" }));
        assert_eq!(content[3], &json!({ "text": "I look." }));
        assert_eq!(content[4], &json!({ "tool": "shell", "status": "running", "detail": "ls" }));
        assert_eq!(content[5], &json!({ "tool": "shell", "status": "completed", "output": "two files" }));
        assert_has(
            content[7],
            &json!({ "usage": { "input": 7, "output": 3, "calls": 1, "cost_microusd": null } }),
        );
        assert!(content[7]["duration_s"].is_number());
        let statuses = frames.iter().filter(|frame| frame["type"] == "operator_status");
        for status in statuses {
            assert!(status["detail"].as_str().unwrap().contains("scout"), "{status}");
            assert_eq!(status["agent_id"], json!(child));
        }
        // The session of the task is none of the door's own.
        let list = kit.get("/api/sessions").await.body;
        assert_eq!(list["sessions"].as_array().unwrap().len(), 1, "{list}");
    }
}

#[tokio::test]
async fn a_task_that_fails_is_told_of_as_an_error() {
    for mount in MOUNTS {
        let kit = kit(mount, PolicyPreset::Full).await;
        scout_says(&kit, [Script::new().fault(ErrorCode::ProviderRejected)]);
        let mut chat = kit.joined("s").await;
        let frames = said(&kit, &mut chat).await;
        assert_eq!(told(&frames)[7..], ["failed", "agent.error", "tool_result", "done"]);
        let error = events(&frames).pop().unwrap()["event"]["content"]["error"].clone();
        assert!(error.as_str().unwrap().starts_with("The agent scout failed: "), "{error}");
    }
}

#[tokio::test]
async fn what_another_agent_asks_is_answered_in_text_or_by_a_frame() {
    for mount in MOUNTS {
        for typed in [true, false] {
            let kit = kit(mount, PolicyPreset::Ask).await;
            scout_says(&kit, [ls(), Script::says("Two files.")]);
            let mut chat = kit.joined("s").await;
            chat.message("What is here?").await;
            let mut frames = chat.until("approval_request").await;
            let id = frames.last().unwrap()["request_id"].as_str().unwrap().to_owned();
            assert_eq!(told(&frames)[9..], ["blocked", "agent.permission", "approval_request"]);
            let asked = events(&frames).pop().unwrap()["event"]["content"].clone();
            assert_eq!(asked, json!({ "tool": "shell", "args": { "command": "ls" } }));
            // Whoever comes now is asked too.
            let mut second = kit.chat("session_id=s").await;
            let late = second.until("approval_request").await;
            assert_eq!(late.last().unwrap()["request_id"], id);
            match typed {
                true => chat.message(&format!("/approve {id}")).await,
                false => {
                    let answer =
                        json!({ "type": "approval_response", "request_id": id, "decision": "approve" });
                    second.say(answer).await;
                }
            }
            frames = chat.until("done").await;
            assert!(told(&frames).contains(&"approval_resolved"), "{frames:#?}");
            assert_eq!(frames.last().unwrap()["full_response"], "All done.");
            let uses: Vec<_> =
                events(&frames).into_iter().filter(|f| f["event"]["type"] == "agent.tool_use").collect();
            assert_eq!(uses.last().unwrap()["event"]["content"]["output"], "two files");
        }
    }
}

#[tokio::test]
async fn a_socket_that_only_watches_sees_the_agents_of_all_its_principals_sessions() {
    for mount in MOUNTS {
        let kit = kit(mount, PolicyPreset::Full).await;
        scout_says(&kit, [ls(), Script::says("Two files.")]);
        let (_, eve) = kit.key_of("eve").await;
        let mut watching = kit.joined("run-view").await;
        watching.say(json!({ "type": "connect" })).await;
        watching.until("connected").await;
        let mut foreign = kit.chat_as(&eve, "session_id=run-view").await;
        foreign.say(json!({ "type": "connect" })).await;
        foreign.until("connected").await;
        let mut silent = kit.joined("elsewhere").await;
        let mut chat = kit.joined("s").await;
        let frames = said(&kit, &mut chat).await;
        let own: Vec<_> = events(&frames).into_iter().map(|frame| frame["event"].clone()).collect();
        let mut seen = Vec::new();
        while seen.len() < own.len() {
            let frame = watching.until("agent_event").await.pop().unwrap();
            assert_eq!(frame["session_id"], "s");
            seen.push(frame["event"].clone());
        }
        assert_eq!(seen, own);
        assert!(events(&foreign.so_far().await).is_empty(), "nothing of another principal");
        assert!(events(&silent.so_far().await).is_empty(), "it did not connect");
    }
}

#[tokio::test]
async fn the_event_stream_tells_of_other_agents_live_and_later() {
    for mount in MOUNTS {
        let kit = kit(mount, PolicyPreset::Full).await;
        scout_says(&kit, [ls(), Script::says("Two files.")]);
        let mut stream = Events::open(&kit, &kit.key, None).await;
        let mut chat = kit.joined("s").await;
        let frames = said(&kit, &mut chat).await;
        let own: Vec<_> = events(&frames).into_iter().map(|frame| frame["event"].clone()).collect();
        let live = stream.until("agent_end").await;
        let channel = |events: Vec<Value>| -> Vec<Value> {
            let of = events.into_iter().filter(|event| event["type"] == "channel_event");
            of.map(|event| {
                assert_eq!(event["session_id"], "s");
                event["payload"].clone()
            })
            .collect()
        };
        assert_eq!(live.iter().filter(|(_, event)| event["type"] == "agent_start").count(), 1);
        assert_eq!(channel(live.into_iter().map(|(_, event)| event).collect()), own);
        let past = kit.get("/api/events/history").await.body["events"].as_array().unwrap().clone();
        let mut past = channel(past);
        assert_eq!(past.len(), own.len());
        past.retain(|event| !own.contains(event));
        assert_eq!(past, Vec::<Value>::new());
    }
}
