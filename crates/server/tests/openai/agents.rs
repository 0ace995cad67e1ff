//! Another agent goes on where one began.

use std::sync::Arc;

use moongate_core::{Agent, PromptMessage};
use moongate_protocol::Part;
use moongate_testkit::{AGENT, Script};
use serde_json::{Value, json};

use super::{Live, asks, http};

/// A server with two agents, `main` and `poet`, which have their own system prompts.
async fn two_agents() -> Live {
    let live = Live::new().await;
    let mut catalog = (*live.kit.gateway().catalog()).clone();
    let main = catalog.agents[&catalog.default_agent].clone();
    for name in [AGENT, "poet"] {
        let system = format!("You are {name}.").into();
        let agent = Agent { name: name.parse().unwrap(), system, ..(*main).clone() };
        catalog.agents.insert(agent.name.clone(), Arc::new(agent));
    }
    live.kit.gateway().set_catalog(catalog);
    live
}

/// Who was asked last, and with how many messages.
fn asked(live: &Live) -> (String, usize) {
    let request = live.kit.model().requests().pop().unwrap();
    (request.system.to_string(), request.messages.len())
}

fn says(model: &str, more: Value) -> Value {
    let mut body = json!({"model": model, "input": "go on"});
    let Value::Object(more) = more else { panic!("more is an object") };
    body.as_object_mut().unwrap().extend(more);
    body
}

#[tokio::test]
async fn another_agent_goes_on_in_a_conversation_and_in_a_chain() {
    let live = two_agents().await;
    let id = live.post("/conversations", json!({})).await.ok()["id"].clone();
    let within = json!({"conversation": id});
    let first = live.post("/responses", says("moongate/main", within.clone())).await.ok();
    assert_eq!((&first["model"], asked(&live)), (&json!("moongate/main"), ("You are main.".into(), 1)));
    let second = live.post("/responses", says("moongate/poet", within.clone())).await.ok();
    assert_eq!((&second["model"], asked(&live)), (&json!("moongate/poet"), ("You are poet.".into(), 3)));
    // It was asked for that once; who names nobody talks to the one the conversation began with.
    let third = live.post("/responses", json!({"input": "go on", "conversation": id})).await.ok();
    assert_eq!((&third["model"], asked(&live)), (&json!("moongate/main"), ("You are main.".into(), 5)));
    for response in [&first, &second, &third] {
        let path = format!("/responses/{}", response["id"].as_str().unwrap());
        assert_eq!(live.get(&path).await.ok(), *response, "each says who answered");
    }
    // A chain, in its session and in a branch beside it.
    let begun = live.post("/responses", says("moongate/poet", json!({}))).await.ok();
    for turn in [3, 3] {
        let more = json!({"previous_response_id": begun["id"]});
        let next = live.post("/responses", says("moongate/main", more)).await.ok();
        assert_eq!((&next["model"], asked(&live)), (&json!("moongate/main"), ("You are main.".into(), turn)));
    }
}

#[tokio::test]
async fn another_agent_goes_on_in_a_named_session() {
    let live = two_agents().await;
    live.push([Script::says("1"), Script::says("2")]);
    let name = [("x-moongate-session", "chat")];
    http::send(&live, "POST", "/chat/completions", Some(asks("one")), &name).await.ok();
    let mut body = asks("two");
    body["model"] = json!("moongate/poet");
    let reply = http::send(&live, "POST", "/chat/completions", Some(body), &name).await.ok();
    assert_eq!((&reply["model"], asked(&live)), (&json!("moongate/poet"), ("You are poet.".into(), 3)));
    let said: Vec<_> = live.kit.model().prompts().pop().unwrap();
    let PromptMessage::Assistant(parts) = &said[1] else { panic!("{said:?}") };
    assert_eq!(Part::join_text(parts), "1");
}

#[tokio::test]
async fn a_key_for_one_agent_cannot_ask_another_nor_go_on_in_its_sessions() {
    let live = two_agents().await;
    let key = live.key(json!({"scopes": ["sessions:read", "sessions:write"], "agents": ["main"]})).await;
    let poets = live.post("/responses", says("moongate/poet", json!({}))).await.ok();
    let mine = live.ask(&key, "POST", "/responses", Some(says("moongate/main", json!({})))).await.ok();
    let asked = live.kit.model().requests().len();
    let more = json!({"previous_response_id": mine["id"]});
    let other = live.ask(&key, "POST", "/responses", Some(says("moongate/poet", more))).await;
    assert_eq!((other.status, &other.json()["error"]["code"]), (404, &json!("model_not_found")));
    let more = json!({"previous_response_id": poets["id"]});
    let other = live.ask(&key, "POST", "/responses", Some(says("moongate/main", more))).await;
    assert_eq!((other.status, &other.json()["error"]["code"]), (400, &json!("previous_response_not_found")));
    assert_eq!(live.kit.model().requests().len(), asked);
}
