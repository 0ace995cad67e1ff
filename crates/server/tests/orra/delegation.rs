//! What other agents do for a turn is under the rules of its namespace, and people are asked where they chat.

use std::time::Duration;

use moongate_core::{Agent, ListQuery};
use moongate_protocol::PolicyPreset;
use moongate_testkit::{Gate, MODEL, Script, ScriptedModel, ScriptedModels, Setup, admin};
use serde_json::{Value, json};

use crate::{
    kit::{Kit, on_both_mounts},
    transcripts::{asking, denying, until_idle},
};

/// The agent that chats may hand tasks to `scout`, and that one back to it.
fn with_scout(setup: Setup) -> Setup {
    let tools = || ["shell", "wipe"].map(|name| name.parse().unwrap()).into();
    let agent = |name: &str, model: &str, delegates: &[&str]| {
        let mut agent = Agent::new(name.parse().unwrap(), model.parse().unwrap());
        (agent.policy, agent.tools) = (PolicyPreset::Full, tools());
        agent.delegates = delegates.iter().map(|name| name.parse().unwrap()).collect();
        agent
    };
    let agents = vec![agent("main", MODEL, &["scout"]), agent("scout", SCOUT, &["Atlas", "main"])];
    let models = [MODEL, SCOUT].map(|name| ScriptedModel::new(name.parse().unwrap()));
    Setup { agents, models: ScriptedModels::new(models), ..setup }
}

const SCOUT: &str = "scripted/scout";

fn handed_on(agent: &str) -> Script {
    Script::calls(&[("delegate", json!({"agent": agent, "task": "list the files"}))])
}

fn shell() -> Script {
    Script::calls(&[("shell", json!({"command": "ls"}))])
}

fn scout_says(kit: &Kit, scripts: impl IntoIterator<Item = Script>) {
    kit.test.models().scripted(SCOUT).push(scripts);
}

/// The results of all calls of a history.
fn results(history: &Value) -> Vec<(bool, String)> {
    let messages = history["messages"].as_array().unwrap();
    let results = messages.iter().filter_map(|message| message["tool_results"].as_array()).flatten();
    results.map(|r| (r["is_error"].as_bool().unwrap(), r["content"].as_str().unwrap().to_owned())).collect()
}

/// What a sub-agent's model was told of its calls.
fn told(kit: &Kit) -> String {
    format!("{:?}", kit.test.models().scripted(SCOUT).prompts().last().unwrap())
}

on_both_mounts! {
    async fn o5_a_denied_tool_is_not_run_by_a_sub_agent_either(kit: Kit, with_scout(denying()), |_| {}) {
        let key = kit.key(json!({"principal": "k", "namespaces": ["tenant:acme"]})).await;
        kit.test.model().push([shell(), handed_on("scout"), Script::says("Neither could.")]);
        scout_says(&kit, [shell(), Script::says("I could not.")]);
        let mut line = kit.line_with(&key, "?ext=tools").await;
        line.say(json!({"type": "chat", "message": "list", "namespace": "tenant:acme:user:bob"})).await;
        let frames = line.until("response").await;
        assert_eq!(frames.last().unwrap()["message"], "Neither could.");
        let ended: Vec<_> = frames.iter().filter(|frame| frame["type"] == "tool_finished").collect();
        assert_eq!(ended[0]["content"], "Tool 'shell' is not allowed in this namespace.");
        assert_eq!((&ended[1]["tool_name"], &ended[1]["content"]), (&json!("delegate"), &json!("I could not.")));
        assert!(told(&kit).contains("Tool 'shell' is not allowed in this namespace."), "{}", told(&kit));
        let requests = kit.test.models().scripted(SCOUT).requests();
        assert!(requests[0].tools.iter().all(|tool| tool.name.as_str() != "shell"), "it is not shown there");
        kit.stop().await;
    }

    async fn o_11_a_denied_tool_runs_by_no_path_and_a_child_widens_nothing(kit: Kit, with_scout(denying()), |_| {}) {
        let key = kit.key(json!({"principal": "k", "namespaces": ["tenant:acme"]})).await;
        for namespace in ["tenant:acme", "tenant:acme:user:bob", "tenant:acme:user:bob:deeper"] {
            kit.test.model().push([shell(), handed_on("scout"), Script::says("no")]);
            scout_says(&kit, [shell(), Script::says("no")]);
            let reply = kit.chat(&key, json!({"message": "x", "namespace": namespace})).await;
            assert_eq!((reply.status, reply.body()["message"].as_str()), (200, Some("no")));
            let history = kit.get(&key, namespace).await.body();
            assert_eq!(results(&history)[0], (true, "Tool 'shell' is not allowed in this namespace.".to_owned()));
            assert!(told(&kit).contains("Tool 'shell' is not allowed in this namespace."), "{namespace}");
        }
        // Where the namespace allows it the same calls run, if a person says so: it was the policy that said no.
        let key = kit.key(json!({"principal": "k", "namespaces": ["*"]})).await;
        kit.test.model().push([handed_on("scout"), Script::says("yes")]);
        scout_says(&kit, [shell(), Script::says("yes")]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "tenant:beta"})).await;
        let asked = line.next().await;
        assert_eq!((&asked["type"], &asked["tool_name"]), (&json!("tool_approval_request"), &json!("shell")));
        line.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        assert_eq!(line.next_but_text().await["message"], "yes");
        assert!(told(&kit).contains("done"), "{}", told(&kit));
        kit.stop().await;
    }

    async fn o_12_a_task_that_comes_back_is_a_tool_error_and_no_loop(kit: Kit, with_scout(asking()), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([handed_on("scout"), Script::says("done")]);
        scout_says(&kit, [handed_on("Atlas"), Script::says("They would not.")]);
        let reply = kit.chat(&key, json!({"message": "x", "namespace": "a"})).await;
        assert_eq!((reply.status, reply.body()["message"].as_str()), (200, Some("done")));
        let history = kit.get(&key, "a").await.body();
        assert_eq!(results(&history), [(false, "They would not.".to_owned())]);
        assert!(told(&kit).contains("is_error: true"), "{}", told(&kit));
        assert!(told(&kit).contains("it does not get it back"), "{}", told(&kit));
        assert_eq!(kit.test.model().requests().len(), 2, "nobody was asked again");
        kit.stop().await;
    }

    async fn o_13_a_sub_agents_question_goes_where_its_turn_is_watched(kit: Kit, with_scout(asking()), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        kit.test.model().push([handed_on("scout"), Script::says("first"), handed_on("scout"), Script::says("second")]);
        scout_says(&kit, [shell(), Script::says("ran"), shell(), Script::says("did not")]);
        let chat = json!({"type": "chat", "message": "x", "namespace": "a", "request_id": "r1"});
        let mut line = kit.line(&key).await;
        line.say(chat.clone()).await;
        let asked = line.next().await;
        assert_eq!(asked["type"], "tool_approval_request", "{asked}");
        assert_eq!((&asked["namespace"], &asked["request_id"]), (&json!("a"), &json!("r1")));
        assert!(asked["turn_id"].is_string() && asked["timeout_secs"] == 120, "{asked}");
        // Whoever comes later is shown it too.
        let mut second = kit.line_with(&key, "?ext=status").await;
        second.say(json!({"type": "subscribe", "namespace": "a"})).await;
        let again = second.until("tool_approval_request").await.pop().unwrap();
        assert_eq!((&again["call_id"], &again["namespace"]), (&asked["call_id"], &json!("a")));
        second.say(json!({"type": "tool_approval_response", "call_id": asked["call_id"], "approved": true})).await;
        let resolved = second.until("tool_approval_resolved").await.pop().unwrap();
        assert_eq!((&resolved["call_id"], &resolved["approved"]), (&asked["call_id"], &json!(true)));
        assert_eq!(line.next_but_text().await["message"], "first");
        drop(second);
        // Nobody is there for the next one: silence is a no.
        line.say(chat).await;
        assert_eq!(line.next().await["type"], "tool_approval_request");
        drop(line);
        kit.test.clock().advance(Duration::from_secs(121));
        let history = until_idle(&kit, &key, "a").await;
        assert_eq!(results(&history).last().unwrap().1, "did not");
        assert!(told(&kit).contains("was not approved in time"), "{}", told(&kit));
        kit.stop().await;
    }

    async fn o_24_a_deleted_session_takes_along_what_it_delegated(kit: Kit, with_scout(asking()), |_| {}) {
        let key = kit.key(json!({"principal": "k"})).await;
        let gate = Gate::new();
        kit.test.model().push([handed_on("scout")]);
        scout_says(&kit, [Script::new().text("half").gate(&gate).end()]);
        let mut line = kit.line(&key).await;
        line.say(json!({"type": "chat", "message": "x", "namespace": "a"})).await;
        gate.reached().await;
        assert_eq!(kit.delete(&key, "a").await.status, 200);
        assert_eq!(line.next_but_text().await["code"], "cancelled");
        gate.open();
        let left = kit.test.gateway().list(&admin(), ListQuery { limit: 10, ..ListQuery::default() }).await;
        assert!(left.unwrap().items.is_empty());
        assert_eq!(kit.test.gateway().running_turns(), 0);
        kit.stop().await;
    }
}
