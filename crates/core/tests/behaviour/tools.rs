//! Tool calls of a turn.

use std::time::Duration;

use moongate_core::{
    Limits, PolicyRule, PolicyRules, PromptMessage, ReachPattern, ToolResult, Verdict,
    limits::TOOL_OUTPUT_SHOWN_BYTES,
};
use moongate_protocol::{
    DeltaKind, Effect, ErrorCode, Event, Ground, Part, PolicyPreset, StopReason, ToolFinished, ToolOutcome,
};
use moongate_testkit::{Client, Gate, Script, ScriptedTool, Setup, TestGateway, says};
use serde_json::json;

use crate::turn_failed;

/// A tool that changes nothing.
pub(crate) fn look() -> ScriptedTool {
    ScriptedTool::new("look", Effect::Read)
}

pub(crate) fn finished(client: &Client) -> Vec<ToolFinished> {
    let finished = client.view.events.iter().filter_map(|envelope| match &envelope.event {
        Event::ToolFinished(finished) => Some(finished.clone()),
        _ => None,
    });
    finished.collect()
}

/// What the model was told of its calls, in the order of its last request.
pub(crate) fn results(kit: &TestGateway) -> Vec<(bool, String)> {
    let messages = kit.model().prompts().pop().unwrap();
    let results = messages.iter().filter_map(|message| match message {
        PromptMessage::ToolResult { is_error, content, .. } => Some((*is_error, Part::join_text(content))),
        _ => None,
    });
    results.collect()
}

async fn one_turn(kit: &TestGateway, script: Script) -> Client {
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([script]);
    session.submit(says("go")).await.unwrap();
    client.until_turn_ends().await;
    client
}

#[tokio::test(start_paused = true)]
async fn a_call_is_on_disk_before_it_runs_and_its_result_before_the_next_model_call() {
    let gate = Gate::new();
    let tool = ScriptedTool::new("write", Effect::Effect).waits_at(&gate).shows(&["wri", "ting"]);
    let kit = Setup::default().tool(tool).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().text("I write.").call("write", &json!({"b": 1, "a": 2})).end()]);
    session.submit(says("go")).await.unwrap();
    gate.reached().await;
    let log = kit.log(session.id()).await;
    let Event::ToolCalled(called) = &log.last().unwrap().event else { panic!("{:?}", log.last()) };
    assert_eq!((called.tool.as_str(), called.effect), ("write", Effect::Effect));
    assert_eq!(called.arguments, json!({"a": 2, "b": 1}));
    assert_eq!(called.hash.len(), 64);
    client.until_shown("writing").await;
    assert_eq!(client.view.texts[&(called.item, DeltaKind::ToolOutput)], "writing");
    let disk = Gate::new();
    kit.store().hold(Some(disk.clone()));
    gate.open();
    disk.reached().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(kit.model().requests().len(), 1, "the model is not called before the result is on disk");
    disk.open();
    client.until_turn_ends().await;
    assert_eq!(results(&kit), [(false, "done".to_owned())]);
    assert_eq!(client.view.answers(), ["I write.", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn parallel_results_are_told_in_the_order_the_model_asked() {
    let gates = [Gate::new(), Gate::new(), Gate::new()];
    let setup = gates.iter().zip(["a", "b", "c"]).fold(Setup::default(), |setup, (gate, name)| {
        setup.tool(ScriptedTool::new(name, Effect::Read).waits_at(gate))
    });
    let kit = setup.start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[("a", json!({})), ("b", json!({})), ("c", json!({}))])]);
    session.submit(says("go")).await.unwrap();
    // All three stand at their gates: they run at the same time. They end in another order.
    for gate in gates.iter().rev() {
        gate.reached().await;
    }
    for gate in gates.iter().rev() {
        gate.open();
        client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    }
    client.until_turn_ends().await;
    let messages = kit.model().prompts().pop().unwrap();
    let PromptMessage::Assistant(parts) = &messages[1] else { panic!("{messages:?}") };
    let asked: Vec<_> = parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolCall { call, tool, .. } => Some((call.clone(), tool.clone())),
            _ => None,
        })
        .collect();
    let told: Vec<_> = messages[2..]
        .iter()
        .filter_map(|message| match message {
            PromptMessage::ToolResult { call, tool, .. } => Some((call.clone(), tool.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(told, asked);
    let ended: Vec<_> = finished(&client).into_iter().map(|finished| finished.call).collect();
    assert!(ended.iter().eq(asked.iter().rev().map(|(call, _)| call)), "written down as they came");
}

#[tokio::test(start_paused = true)]
async fn whatever_goes_wrong_with_a_call_is_a_result_the_model_sees() {
    let fails = ScriptedTool::new("fails", Effect::Read)
        .answers(ToolResult::ended(ToolOutcome::Error, "no such file"));
    let silent = ScriptedTool::new("silent", Effect::Read).answers(ToolResult::ok("  "));
    let kit = Setup::default().tool(look()).tool(fails).tool(silent).start().await;
    let script = Script::new()
        .call("unknown", &json!({}))
        .raw_call("look", "{not json")
        .raw_call("look", "[1]")
        .raw_call("look", "")
        .call("fails", &json!({}))
        .call("silent", &json!({}))
        .finish(StopReason::ToolUse);
    let client = one_turn(&kit, script).await;
    let results = results(&kit);
    let errors: Vec<bool> = results.iter().map(|(is_error, _)| *is_error).collect();
    assert_eq!(errors, [true, true, true, false, true, false]);
    assert_eq!(results[0].1, "There is no tool named unknown.");
    assert_eq!(results[1].1, "The arguments are not a JSON object.");
    assert_eq!(results[4].1, "no such file");
    assert!(results.iter().all(|(_, text)| !text.trim().is_empty()));
    assert_eq!(finished(&client).len(), 6);
    let started = client.view.kinds().into_iter().filter(|kind| *kind == "tool.called").count();
    assert_eq!(started, 3, "what cannot run was never started");
    assert_eq!(client.view.answers().last().unwrap(), "ok");
}

#[tokio::test(start_paused = true)]
async fn the_policy_is_asked_before_a_call_is_started() {
    for (policy, allowed) in
        [(PolicyPreset::Full, [true, true, true]), (PolicyPreset::ReadOnly, [true, false, false])]
    {
        let setup = Setup { policy, ..Setup::default() }
            .tool(look())
            .tool(ScriptedTool::new("set", Effect::Idempotent))
            .tool(ScriptedTool::new("send", Effect::Effect));
        let kit = setup.start().await;
        let script = Script::calls(&[("look", json!({})), ("set", json!({})), ("send", json!({}))]);
        let client = one_turn(&kit, script).await;
        let outcomes = |finished: &[ToolFinished], tool: usize| finished[tool].outcome;
        let mut ended = finished(&client);
        ended.sort_by_key(|finished| finished.item);
        let told = results(&kit);
        for (tool, allowed) in allowed.into_iter().enumerate() {
            assert_eq!(!told[tool].0, allowed, "{policy:?}: {told:?}");
        }
        let denied = ended.iter().filter(|finished| finished.outcome == ToolOutcome::Denied).count();
        assert_eq!(denied, allowed.iter().filter(|allowed| !**allowed).count());
        assert_ne!(outcomes(&ended, 0), ToolOutcome::Unknown);
        let started = client.view.kinds().into_iter().filter(|kind| *kind == "tool.called").count();
        assert_eq!(started, allowed.iter().filter(|allowed| **allowed).count(), "{policy:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_panics_fails_the_turn_and_its_call_is_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = moongate_testkit::CallLedger::open(&folder.path().join("runs"));
    let tool = ScriptedTool::new("explode", Effect::Effect).written_in(&ledger).panics();
    let kit = Setup::default().tool(tool).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[("explode", json!({}))]), Script::says("oh")]);
    session.submit(says("go")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::Internal);
    session.submit(says("what happened?")).await.unwrap();
    client.until_turns_end(2).await;
    assert_eq!(ledger.runs().values().collect::<Vec<_>>(), [&1]);
    let told = results(&kit);
    assert!(told[0].0 && told[0].1.contains("unknown"), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_tool_has_a_longest_time_and_its_output_a_longest_form() {
    let never = Gate::new();
    let limits = Limits { tool_duration: Duration::from_secs(30), ..Limits::default() };
    let long = "é".repeat(TOOL_OUTPUT_SHOWN_BYTES);
    let kit = Setup { limits, ..Setup::default() }
        .tool(ScriptedTool::new("sleep", Effect::Read).ignores_all_but(&never))
        .tool(ScriptedTool::new("flood", Effect::Read).answers(ToolResult::ok(long)))
        .start()
        .await;
    let client = one_turn(&kit, Script::calls(&[("sleep", json!({})), ("flood", json!({}))])).await;
    let told = results(&kit);
    assert!(told[0].0 && told[0].1.contains("longer than 30s"), "{:?}", told[0]);
    assert!(told[1].1.len() < TOOL_OUTPUT_SHOWN_BYTES + 100 && told[1].1.contains("more bytes"));
    let cut: Vec<bool> = finished(&client).iter().map(|finished| finished.truncated).collect();
    assert_eq!(cut, [true, false]);
}

fn configured(name: &str, verdict: Verdict, tool: &str) -> PolicyRule {
    PolicyRule {
        name: name.into(),
        verdict,
        tools: vec![tool.into()],
        agents: Vec::new(),
        namespaces: Vec::new(),
        callers: Vec::new(),
        reach: ReachPattern::Anything,
    }
}

#[tokio::test(start_paused = true)]
async fn an_operators_rule_decides_and_is_named_where_it_did() {
    let rules = PolicyRules::new([
        configured("writing is fine", Verdict::Allow, "write"),
        configured("nobody looks", Verdict::Deny, "look"),
    ]);
    let write = || ScriptedTool::new("write", Effect::Effect);
    let setup = |policy| Setup { policy, policy_rules: rules.clone(), ..Setup::default() };
    let script = || Script::calls(&[("write", json!({})), ("look", json!({}))]);

    let kit = setup(PolicyPreset::Ask).tool(write()).tool(look()).start().await;
    let client = one_turn(&kit, script()).await;
    let called = client.view.events.iter().find_map(|envelope| match &envelope.event {
        Event::ToolCalled(called) => Some(called.ground.clone()),
        _ => None,
    });
    assert_eq!(called, Some(Ground::Configured { rule: "writing is fine".into() }));
    let told = "The rule nobody looks does not allow this call.".to_owned();
    assert_eq!(results(&kit), [(false, "done".into()), (true, told.clone())]);

    // What a preset denies no rule allows.
    let kit = setup(PolicyPreset::ReadOnly).tool(write()).tool(look()).start().await;
    one_turn(&kit, script()).await;
    assert_eq!(results(&kit), [(true, "The policy does not allow this call.".into()), (true, told)]);
}
