//! Questions of agents, listed and answered over HTTP and WebSocket.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod common;

use std::{sync::Arc, time::Duration};

use common::{Gate, live::Live};
use moongate_core::{ASK_USER, Agent, Catalog, Gateway, PromptMessage, Spending, ToolPolicies, Toolbox};
use moongate_testkit::{AGENT, MODEL, Script, ScriptedModel, ScriptedModels};
use serde_json::{Value, json};

/// Has an agent that asks this whenever it is spoken to, and repeats what it is answered.
fn curious(gateway: &Gateway, arguments: Value) {
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), move |request, _| {
        match request.messages.last().map(|message| &***message) {
            Some(PromptMessage::ToolResult { content, .. }) => {
                Script::says(&moongate_protocol::Part::join_text(content))
            }
            _ => Script::calls(&[(ASK_USER, arguments.clone())]),
        }
    });
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = vec![ASK_USER.parse().unwrap()];
    gateway.set_catalog(Catalog {
        agents: [(agent.name.clone(), Arc::new(agent))].into(),
        default_agent: AGENT.parse().unwrap(),
        models: Arc::new(ScriptedModels::new([model])),
        tools: Toolbox::default(),
        tool_policies: ToolPolicies::default(),
        policy_rules: Default::default(),
        spending: Spending::default(),
    });
}

/// Says something and waits until the agent asks; the question's id.
async fn ask(gate: &Gate, session: &str, input: Value) -> String {
    let mut stream = gate.stream(&format!("{session}/events")).await;
    let (status, accepted) = gate.post(&format!("{session}/inputs"), input).await;
    assert_eq!(status, 202, "{accepted}");
    let asked = stream.until("question.asked").await;
    asked.last().unwrap().data["question"].as_str().unwrap().to_owned()
}

async fn to_the_end(gate: &Gate, session: &str) -> Vec<common::Sent> {
    gate.stream(&format!("{session}/events?deltas=false")).await.until("turn.completed").await
}

#[tokio::test]
async fn a_question_is_listed_shown_and_answered_once() {
    let gate = Gate::new();
    let form = json!({
        "type": "object",
        "properties": {"colour": {"type": "string", "enum": ["red", "blue"]}, "count": {"type": "integer"}},
        "required": ["colour"],
    });
    curious(&gate.gateway, json!({"question": "What shall I order?", "form": form}));
    let (_, tools) = gate.get("/api/v1/tools").await;
    assert_eq!(tools["items"][0]["name"], ASK_USER);
    let session = gate.session().await;
    let id = ask(&gate, &session, json!({"text": "go"})).await;
    let (_, listed) = gate.get("/api/v1/questions?state=open").await;
    let open = &listed["items"][0];
    assert_eq!(
        (&open["id"], &open["text"], &open["state"], &open["form"]["properties"]["colour"]["enum"]),
        (&json!(id), &json!("What shall I order?"), &json!("open"), &json!(["red", "blue"]))
    );
    assert!(open["call"].is_string() && open["expires_at"].is_string() && open["answers"].is_null());
    let path = format!("/api/v1/questions/{id}");
    let (status, shown) = gate.get(&path).await;
    assert_eq!((status.as_u16(), &shown), (200, open));
    assert_eq!(gate.get(&session).await.1["state"], "waiting");
    for wrong in [json!({}), json!({"answers": {}, "why": "?"}), json!(["red"])] {
        assert_eq!(gate.post(&path, wrong.clone()).await.0, 400, "{wrong}");
    }
    for (wrong, why) in [
        (json!({"answers": {}}), "colour is missing"),
        (json!({"answers": {"colour": "green"}}), "colour has to be one of red, blue"),
        (json!({"answers": {"colour": "red", "count": "many"}}), "count has to be a whole number"),
        (json!({"answers": "red"}), "the answers are not a JSON object of fields"),
    ] {
        let (status, body) = gate.post(&path, wrong.clone()).await;
        assert_eq!(
            (status.as_u16(), &body["error"]["code"], &body["error"]["message"]),
            (422, &json!("unprocessable"), &json!(why)),
            "{wrong}"
        );
    }
    let (status, answered) = gate.post(&path, json!({"answers": {"colour": "blue"}})).await;
    assert_eq!(status, 200, "{answered}");
    assert_eq!(
        (&answered["state"], &answered["by"], &answered["answers"]),
        (&json!("answered"), &json!("admin"), &json!({"colour": "blue"}))
    );
    assert!(answered["already"].is_null());
    let (status, again) = gate.post(&path, json!({"answers": {"colour": "red"}})).await;
    assert_eq!(
        (status.as_u16(), &again["answers"], &again["already"]),
        (200, &json!({"colour": "blue"}), &json!(true))
    );
    let events = to_the_end(&gate, &session).await;
    let told = events.iter().find(|sent| sent.event == "tool.finished").unwrap();
    assert_eq!(told.data["data"], json!({"colour": "blue"}));
    let said = events.iter().rfind(|sent| sent.event == "message.completed").unwrap();
    assert_eq!(said.data["parts"][0]["text"], "colour: blue\n");
    assert_eq!(gate.get("/api/v1/questions").await.1["items"], json!([]));
    let (_, past) = gate.get("/api/v1/questions?state=answered&limit=1").await;
    assert_eq!(past["items"][0]["id"], json!(id));
    assert_eq!(gate.get("/api/v1/questions?state=any").await.0, 400);
    let unknown = "/api/v1/questions/qst_00000000000000000000000000";
    assert_eq!(gate.get(unknown).await.0, 404);
    assert_eq!(gate.post(unknown, json!({"answers": {"answer": "x"}})).await.0, 404);
}

#[tokio::test]
async fn only_who_may_decide_answers() {
    let gate = Gate::new();
    curious(&gate.gateway, json!({"question": "Which?"}));
    let session = gate.session().await;
    let path = format!("/api/v1/questions/{}", ask(&gate, &session, json!({"text": "go"})).await);
    let (_, reader) = gate.key(json!({"scopes": ["sessions:read", "sessions:write"]})).await;
    let (_, stranger) =
        gate.key(json!({"principal": "eve", "scopes": ["sessions:read", "approvals:decide"]})).await;
    let answers = json!({"answers": {"answer": "this"}});
    assert_eq!(gate.as_key(&reader).post(&path, answers.clone()).await.0, 403);
    for (status, _) in
        [gate.as_key(&stranger).get(&path).await, gate.as_key(&stranger).post(&path, answers.clone()).await]
    {
        assert_eq!(status, 404);
    }
    assert_eq!(gate.as_key(&stranger).get("/api/v1/questions").await.1["items"], json!([]));
    assert_eq!(gate.get(&path).await.1["state"], "open");
    assert_eq!(gate.post(&path, answers).await.0, 200);
}

#[tokio::test]
async fn silence_ends_a_question() {
    let gate = Gate::new();
    curious(&gate.gateway, json!({"question": "Which?"}));
    let session = gate.session().await;
    let id = ask(&gate, &session, json!({"text": "go", "approval_secs": 30})).await;
    gate.clock.advance(Duration::from_secs(30));
    let events = to_the_end(&gate, &session).await;
    let told = events.iter().find(|sent| sent.event == "tool.finished").unwrap();
    assert_eq!(
        (&told.data["outcome"], &told.data["content"][0]["text"]),
        (&json!("error"), &json!("Nobody answered in time."))
    );
    let (_, shown) = gate.get(&format!("/api/v1/questions/{id}")).await;
    assert_eq!((&shown["state"], &shown["by"]), (&json!("expired"), &json!("gateway")));
    assert!(shown["answers"].is_null());
}

#[tokio::test]
async fn two_sockets_answer_and_the_second_is_told_what_the_first_said() {
    let live = Live::new().await;
    curious(&live.gate.gateway, json!({"question": "Which?"}));
    let session = live.gate.session().await;
    let id = session.rsplit('/').next().unwrap();
    let mut first = live.socket(&live.gate.admin).await;
    let mut second = live.socket(&live.gate.admin).await;
    for socket in [&mut first, &mut second] {
        socket.say(json!({"type": "subscribe", "session": id})).await;
    }
    first.say(json!({"type": "input", "session": id, "text": "go"})).await;
    let asked = first.until("question.asked").await;
    let question = asked.last().unwrap()["event"]["question"].clone();
    first.say(json!({"type": "answer", "ref": 0, "question": question, "answers": {"b": 1}})).await;
    let refused = loop {
        let frame = first.next().await.unwrap();
        if frame["type"] == "error" {
            break frame;
        }
    };
    assert_eq!((&refused["ref"], &refused["error"]["code"]), (&json!(0), &json!("unprocessable")));
    first.say(json!({"type": "answer", "ref": 1, "question": question, "answers": {"answer": "this"}})).await;
    let seen = second.until("question.answered").await;
    assert_eq!(seen.last().unwrap()["event"]["answers"], json!({"answer": "this"}));
    let late = json!({"type": "answer", "ref": 2, "question": question, "answers": {"answer": "that"}});
    second.say(late).await;
    let ack = loop {
        let frame = second.next().await.unwrap();
        if frame["type"] == "ack" {
            break frame;
        }
    };
    assert_eq!(
        (&ack["ref"], &ack["state"], &ack["answers"], &ack["already"]),
        (&json!(2), &json!("answered"), &json!({"answer": "this"}), &json!(true))
    );
    first.until("turn.completed").await;
    live.stop().await;
}
