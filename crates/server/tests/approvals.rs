//! Calls that wait for a person, listed and decided over HTTP and WebSocket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use axum::body::Body;
use common::{Gate, live::Live};
use http_body_util::BodyExt as _;
use moongate_core::{Agent, Catalog, Gateway, Spending, ToolPolicies, ToolResult, Toolbox};
use moongate_protocol::{Effect, PolicyPreset};
use moongate_testkit::{AGENT, MODEL, Script, ScriptedModel, ScriptedModels, ScriptedTool};
use serde_json::{Value, json};

/// Has an agent that wishes to send something whenever it is spoken to, and may not by itself.
fn give_tools(gateway: &Gateway) -> ScriptedModels {
    give_tools_answering(gateway, ToolResult::ok("done"))
}

fn give_tools_answering(gateway: &Gateway, result: ToolResult) -> ScriptedModels {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        let asked = request.messages.iter().rev().find_map(|message| match &***message {
            moongate_core::PromptMessage::ToolResult { .. } => Some(true),
            moongate_core::PromptMessage::User(_) => Some(false),
            moongate_core::PromptMessage::Assistant(_) => None,
        });
        match asked {
            Some(true) => Script::says("Sent."),
            _ => Script::calls(&[("send", json!({"to": "eve"}))]),
        }
    });
    let models = ScriptedModels::new([model]);
    let schema = json!({"type": "object", "properties": {"to": {"type": "string"}}});
    let tool = ScriptedTool::new("send", Effect::Effect).takes(schema).answers(result);
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = vec!["send".parse().unwrap()];
    agent.policy = PolicyPreset::Ask;
    gateway.set_catalog(Catalog {
        agents: [(agent.name.clone(), Arc::new(agent))].into(),
        default_agent: AGENT.parse().unwrap(),
        models: Arc::new(models.clone()),
        tools: Toolbox::new([tool.boxed()]),
        tool_policies: ToolPolicies::default(),
        spending: Spending::default(),
    });
    models
}

/// Says something and waits until the agent asks; the approval's id.
async fn ask(gate: &Gate, session: &str, input: Value) -> String {
    let mut stream = gate.stream(&format!("{session}/events")).await;
    let (status, accepted) = gate.post(&format!("{session}/inputs"), input).await;
    assert_eq!(status, 202, "{accepted}");
    let asked = stream.until("approval.requested").await;
    asked.last().unwrap().data["approval"].as_str().unwrap().to_owned()
}

async fn to_the_end(gate: &Gate, session: &str) -> Vec<common::Sent> {
    gate.stream(&format!("{session}/events?deltas=false")).await.until("turn.completed").await
}

#[tokio::test]
async fn an_approval_is_listed_shown_and_decided_once() {
    let gate = Gate::new();
    give_tools(&gate.gateway);
    let session = gate.session().await;
    let id = ask(&gate, &session, json!({"text": "go"})).await;
    let (_, listed) = gate.get("/api/v1/approvals?state=open").await;
    let open = &listed["items"][0];
    assert_eq!(
        (&open["id"], &open["tool"], &open["arguments"], &open["state"], &open["requirement"]),
        (&json!(id), &json!("send"), &json!({"to": "eve"}), &json!("open"), &json!("unless_auto_approved"))
    );
    assert_eq!(open["plan"], r#"send {"to":"eve"}"#);
    let path = format!("/api/v1/approvals/{id}");
    let (status, shown) = gate.get(&path).await;
    assert_eq!((status.as_u16(), &shown), (200, open));
    let (_, view) = gate.get(&session).await;
    assert_eq!(view["state"], "waiting");
    for wrong in [
        json!({"decision": "perhaps"}),
        json!({"decision": "approve", "why": "?"}),
        json!({"decision": "approve", "remember": {"scope": "world", "rule": "send"}}),
        json!(["approve"]),
    ] {
        assert_eq!(gate.post(&path, wrong.clone()).await.0, 400, "{wrong}");
    }
    for wrong in [
        json!({"decision": "approve", "arguments": {"to": 7}}),
        json!({"decision": "approve", "remember": {"scope": "agent", "rule": "send"}}),
        json!({"decision": "approve", "remember": {"scope": "session", "rule": "other"}}),
    ] {
        let (status, body) = gate.post(&path, wrong.clone()).await;
        assert_eq!((status.as_u16(), &body["error"]["code"]), (422, &json!("unprocessable")), "{wrong}");
    }
    let edited = json!({"decision": "approve", "arguments": {"to": "ann"}, "reason": "not eve"});
    let (status, decided) = gate.post(&path, edited).await;
    assert_eq!(status, 200, "{decided}");
    assert_eq!(
        (&decided["state"], &decided["by"], &decided["changed_arguments"], &decided["decision_reason"]),
        (&json!("approved"), &json!("admin"), &json!({"to": "ann"}), &json!("not eve"))
    );
    assert!(decided["already"].is_null() && decided["changed_hash"] != decided["hash"]);
    let (status, again) = gate.post(&path, json!({"decision": "deny"})).await;
    assert_eq!(
        (status.as_u16(), &again["decision"], &again["already"]),
        (200, &json!("approve"), &json!(true))
    );
    let events = to_the_end(&gate, &session).await;
    let called = events.iter().find(|sent| sent.event == "tool.called").unwrap();
    assert_eq!(called.data["arguments"], json!({"to": "ann"}));
    assert_eq!(
        (&called.data["ground"]["by"], &called.data["hash"]),
        (&json!("approval"), &decided["changed_hash"])
    );
    assert_eq!(gate.get("/api/v1/approvals").await.1["items"], json!([]));
    let (_, past) = gate.get("/api/v1/approvals?state=decided&limit=1").await;
    assert_eq!(past["items"][0]["id"], json!(id));
    assert_eq!(gate.get("/api/v1/approvals?state=any").await.0, 400);
    let unknown = "/api/v1/approvals/apr_00000000000000000000000000";
    assert_eq!(gate.get(unknown).await.0, 404);
    assert_eq!(gate.post(unknown, json!({"decision": "deny"})).await.0, 404);
}

#[tokio::test]
async fn only_who_may_decide_decides() {
    let gate = Gate::new();
    give_tools(&gate.gateway);
    let session = gate.session().await;
    let path = format!("/api/v1/approvals/{}", ask(&gate, &session, json!({"text": "go"})).await);
    let (_, reader) = gate.key(json!({"scopes": ["sessions:read", "sessions:write"]})).await;
    let (_, stranger) =
        gate.key(json!({"principal": "eve", "scopes": ["sessions:read", "approvals:decide"]})).await;
    let approve = json!({"decision": "approve"});
    assert_eq!(gate.as_key(&reader).post(&path, approve.clone()).await.0, 403);
    for (status, _) in
        [gate.as_key(&stranger).get(&path).await, gate.as_key(&stranger).post(&path, approve).await]
    {
        assert_eq!(status, 404);
    }
    assert_eq!(gate.as_key(&stranger).get("/api/v1/approvals").await.1["items"], json!([]));
    for principal in ["gateway", "policy"] {
        let (status, _) =
            gate.post("/api/v1/keys", json!({"principal": principal, "scopes": ["sessions:read"]})).await;
        assert_eq!(status, 403, "{principal} is the gateway's own");
    }
    assert_eq!(gate.get(&path).await.1["state"], "open");
}

#[tokio::test]
async fn an_input_may_shorten_the_time_and_silence_is_a_no() {
    let gate = Gate::new();
    give_tools(&gate.gateway);
    let session = gate.session().await;
    let (status, _) =
        gate.post(&format!("{session}/inputs"), json!({"text": "go", "approval_secs": 0})).await;
    assert_eq!(status, 400);
    let id = ask(&gate, &session, json!({"text": "go", "approval_secs": 30})).await;
    gate.clock.advance(Duration::from_secs(30));
    let events = to_the_end(&gate, &session).await;
    let told = events.iter().find(|sent| sent.event == "tool.finished").unwrap();
    assert_eq!(told.data["content"][0]["text"], "Tool call 'send' was not approved in time.");
    let (_, shown) = gate.get(&format!("/api/v1/approvals/{id}")).await;
    assert_eq!((&shown["state"], &shown["by"]), (&json!("expired"), &json!("gateway")));
}

#[tokio::test]
async fn a_session_approves_by_itself_when_somebody_with_the_right_says_so() {
    let gate = Gate::new();
    give_tools(&gate.gateway);
    let session = gate.session().await;
    let (_, writer) = gate.key(json!({"scopes": ["sessions:read", "sessions:write"]})).await;
    let chaos = json!({"auto_approve": true});
    assert_eq!(gate.as_key(&writer).json("PATCH", &session, chaos.clone()).await.0, 403);
    let (status, view) = gate.json("PATCH", &session, chaos).await;
    assert_eq!((status.as_u16(), &view["auto_approve"]), (200, &json!(true)));
    gate.post(&format!("{session}/inputs"), json!({"text": "go"})).await;
    let events = to_the_end(&gate, &session).await;
    let called = events.iter().find(|sent| sent.event == "tool.called").unwrap();
    assert_eq!(called.data["ground"], json!({"by": "auto_approval"}));
    assert!(!events.iter().any(|sent| sent.event == "approval.requested"));
    let (_, audit) = gate.get("/api/v1/audit").await;
    assert_eq!(
        (&audit["items"][0]["action"], &audit["items"][0]["principal"]),
        (&json!("tool.auto_approved"), &json!("policy"))
    );
}

#[tokio::test]
async fn two_sockets_decide_and_the_second_is_told_what_the_first_said() {
    let live = Live::new().await;
    give_tools(&live.gate.gateway);
    let session = live.gate.session().await;
    let id = session.rsplit('/').next().unwrap();
    let mut first = live.socket(&live.gate.admin).await;
    let mut second = live.socket(&live.gate.admin).await;
    for socket in [&mut first, &mut second] {
        socket.say(json!({"type": "subscribe", "session": id})).await;
    }
    first.say(json!({"type": "input", "session": id, "text": "go"})).await;
    let asked = first.until("approval.requested").await;
    let approval = asked.last().unwrap()["event"]["approval"].clone();
    first.say(json!({"type": "approve", "ref": 1, "approval": approval, "decision": "deny"})).await;
    let seen = second.until("approval.resolved").await;
    assert_eq!(seen.last().unwrap()["event"]["decision"], "deny");
    second.say(json!({"type": "approve", "ref": 2, "approval": approval, "decision": "approve"})).await;
    let ack = loop {
        let frame = second.next().await.unwrap();
        if frame["type"] == "ack" {
            break frame;
        }
    };
    assert_eq!((&ack["ref"], &ack["state"], &ack["already"]), (&json!(2), &json!("denied"), &json!(true)));
    let end = first.until("turn.completed").await;
    assert!(!end.iter().any(|frame| frame["event"]["type"] == "tool.called"));
    live.stop().await;
}

#[tokio::test]
async fn what_was_cut_for_the_model_is_fetched_whole_by_its_session_only() {
    let gate = Gate::new();
    let long = "0123456789\n".repeat(10_000);
    give_tools_answering(&gate.gateway, ToolResult::ok(&long));
    let session = gate.session().await;
    let id = ask(&gate, &session, json!({"text": "go"})).await;
    assert_eq!(gate.post(&format!("/api/v1/approvals/{id}"), json!({"decision": "approve"})).await.0, 200);
    let events = to_the_end(&gate, &session).await;
    let finished = events.iter().find(|sent| sent.event == "tool.finished").unwrap();
    assert_eq!(finished.data["truncated"], true);
    let output = &finished.data["output"];
    assert_eq!(output["bytes"], long.len());
    let path = format!("{session}/blobs/{}", output["hash"].as_str().unwrap());
    let response = gate.send(gate.request("GET", &path).body(Body::empty()).unwrap()).await;
    assert_eq!(
        (response.status().as_u16(), &response.headers()["content-type"]),
        (200, &"text/plain; charset=utf-8".parse().unwrap())
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), long.as_bytes());
    let other = gate.session().await;
    assert_eq!(gate.get(&path.replace(&session, &other)).await.0, 404);
}
