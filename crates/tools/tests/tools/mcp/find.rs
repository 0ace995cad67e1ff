//! Tools that are too many for a prompt are found, then shown.

use std::{collections::BTreeMap, sync::Arc, time::Instant};

use moongate_core::{Agent, FIND_TOOL, Tool, ToolPolicies};
use moongate_protocol::{Event, PolicyPreset};
use moongate_testkit::{AGENT, MODEL, Script, Setup, TestGateway, says};
use moongate_tools::mcp::FindTool;
use serde_json::json;

use super::{Scripted, call};
use crate::told;

/// A gateway whose agent has a thousand tools and sees one of them.
async fn crowded(server: &Scripted) -> TestGateway {
    let name: moongate_protocol::AgentName = AGENT.parse().unwrap();
    let theirs = server.mcp.tools();
    let find =
        FindTool::new(BTreeMap::from([(name.clone(), theirs.clone().into())]), ToolPolicies::default());
    let find: Arc<dyn Tool> = Arc::new(find);
    let names: Vec<_> = theirs.iter().map(|tool| tool.spec().name.clone()).collect();
    let agent = Agent {
        tools: names.iter().cloned().chain([FIND_TOOL.parse().unwrap()]).collect(),
        hidden: names.into_iter().collect(),
        policy: PolicyPreset::Full,
        ..Agent::new(name, MODEL.parse().unwrap())
    };
    let setup = Setup { policy: PolicyPreset::Full, agents: vec![agent], ..Setup::default() };
    setup.tools(theirs.into_iter().chain([find])).start().await
}

/// The tools the model was last shown.
fn shown(kit: &TestGateway) -> Vec<String> {
    kit.model().requests().pop().unwrap().tools.iter().map(|tool| tool.name.to_string()).collect()
}

#[tokio::test]
async fn a_tool_that_is_hidden_is_found_and_shown_from_then_on_after_a_restart_too() {
    let server = Scripted::up(&["many"]).await;
    let mut kit = crowded(&server).await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([
        Script::calls(&[(FIND_TOOL, json!({"query": "does tool 7, please"}))]),
        Script::calls(&[(FIND_TOOL, json!({"use": ["it__tool_7", "it__nothing"]}))]),
        Script::calls(&[("it__tool_7", json!({"text": "x"}))]),
        Script::says("done"),
    ]);
    session.submit(says("go")).await.unwrap();
    let mut said = Vec::new();
    for _ in 0..2 {
        let finished = client.until(|event| matches!(event, Event::ToolFinished(_))).await;
        let Event::ToolFinished(finished) = finished.event else { unreachable!() };
        said.push(told(&finished));
    }
    client.until_turn_ends().await;
    assert!(said[0].starts_with("it__tool_7: Does tool_7."), "{}", said[0]);
    assert!(said[0].ends_with("more have them: search with other words.\n"), "{}", said[0]);
    assert_eq!(
        said[1],
        "it__tool_7 can be called from now on.\nThere is no hidden tool named \"it__nothing\".\n"
    );
    let first: Vec<_> = kit.model().requests()[0].tools.iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(first, [FIND_TOOL]);
    assert_eq!(shown(&kit), ["it__tool_7", FIND_TOOL]);
    kit.crash().await;
    kit.restart().await;
    kit.model().push([Script::says("still")]);
    let session = kit.open(session.id()).await;
    let mut client = kit.client(session.id()).await;
    session.submit(says("and now?")).await.unwrap();
    client.until_turns_end(2).await;
    assert_eq!(shown(&kit), ["it__tool_7", FIND_TOOL]);
}

#[tokio::test]
async fn a_search_without_words_is_an_error_and_one_without_a_match_says_so() {
    let server = Scripted::up(&["many"]).await;
    let kit = crowded(&server).await;
    let nothing = call(&kit, FIND_TOOL, json!({})).await;
    assert_eq!(told(&nothing), "Say what to look for with `query`, or name tools in `use`.");
    let none = call(&kit, FIND_TOOL, json!({"query": "zebra"})).await;
    assert_eq!(told(&none), "None of 1000 tools has these words.\n");
    let began = Instant::now();
    call(&kit, FIND_TOOL, json!({"query": "tool"})).await;
    println!("a turn with a search among a thousand tools: {:?}", began.elapsed());
}
