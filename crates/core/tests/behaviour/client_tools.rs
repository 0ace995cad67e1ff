//! Tools the client runs: the turn ends with their calls, and an input with the results begins the next.

use moongate_core::{PromptMessage, SessionHandle, testing};
use moongate_protocol::{
    CallId, Effect, Envelope, ErrorCode, Event, NewInput, Overlap, Overrides, Part, StopReason, ToolSpec,
};
use moongate_testkit::{Client, Gate, Script, ScriptedTool, Setup, TestGateway, says, validators::validate};
use serde_json::json;

use crate::tools::look;

fn spec(name: &str) -> ToolSpec {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    let name = name.parse().unwrap();
    ToolSpec { name, description: "the client runs it".into(), parameters, effect: Effect::Effect }
}

/// Words, and a tool of the client's.
fn asks(text: &str) -> NewInput {
    NewInput { client_tools: vec![spec("weather")], ..says(text) }
}

fn result(call: &CallId, text: &str) -> Part {
    Part::ToolResult { call: call.clone(), content: vec![Part::text(text)], is_error: false }
}

fn results(parts: Vec<Part>) -> NewInput {
    NewInput { parts, client_tools: vec![spec("weather")], ..NewInput::default() }
}

/// The calls of the last message.
fn asked(client: &Client) -> Vec<CallId> {
    let messages = client.view.events.iter().rev().filter_map(|envelope| match &envelope.event {
        Event::MessageCompleted(message) if message.input.is_none() => Some(&message.parts),
        _ => None,
    });
    let calls = messages.take(1).flatten().filter_map(|part| match part {
        Part::ToolCall { call, .. } => Some(call.clone()),
        _ => None,
    });
    calls.collect()
}

fn stop_reason(ended: &Envelope) -> StopReason {
    let Event::TurnCompleted(completed) = &ended.event else { panic!("{ended:?}") };
    completed.stop_reason
}

/// What the model was told of its calls in its last request.
fn told(kit: &TestGateway) -> Vec<(bool, String)> {
    let prompt = kit.model().prompts().pop().unwrap();
    validate(&prompt).unwrap();
    let results = prompt.iter().filter_map(|message| match message {
        PromptMessage::ToolResult { is_error, content, .. } => Some((*is_error, Part::join_text(content))),
        _ => None,
    });
    results.collect()
}

/// A session whose model asked for so many of the client's calls.
async fn handed_over(kit: &TestGateway, calls: usize) -> (SessionHandle, Client, Vec<CallId>) {
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&vec![("weather", json!({"city": "Oslo"})); calls])]);
    session.submit(asks("how is it?")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(stop_reason(&ended), StopReason::ToolUse);
    let calls = asked(&client);
    (session, client, calls)
}

#[tokio::test(start_paused = true)]
async fn a_call_of_the_clients_ends_the_turn_and_its_result_begins_the_next() {
    let kit = Setup::default().start().await;
    let (session, mut client, calls) = handed_over(&kit, 1).await;
    let tools: Vec<_> = kit.model().requests()[0].tools.iter().map(|tool| tool.name.to_string()).collect();
    assert_eq!(tools, ["weather"]);
    kit.model().push([Script::says("It is mild.")]);
    session.submit(results(vec![result(&calls[0], "12 °C")])).await.unwrap();
    assert_eq!(stop_reason(&client.until_turn_ends().await), StopReason::EndTurn);
    assert_eq!(told(&kit), [(false, "12 °C".to_owned())]);
    assert_eq!(client.view.answers(), ["", "It is mild."]);
    let kinds = client.view.kinds();
    assert!(!kinds.contains(&"tool.called"), "the client ran it: {kinds:?}");
    assert_eq!(kit.model().prompts()[1].len(), 3, "nothing besides the result was said");
}

#[tokio::test(start_paused = true)]
async fn calls_of_both_kinds_in_one_message_are_each_run_where_they_belong() {
    let kit = Setup::default().tool(look()).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[("weather", json!({})), ("look", json!({})), ("weather", json!({}))])]);
    session.submit(asks("go")).await.unwrap();
    assert_eq!(stop_reason(&client.until_turn_ends().await), StopReason::ToolUse);
    let kinds = client.view.kinds();
    assert_eq!(kinds.iter().filter(|kind| **kind == "tool.finished").count(), 1);
    assert_eq!(kit.model().requests().len(), 1, "the model is not called before the client answered");
    let calls = asked(&client);
    let failed = Part::ToolResult { call: calls[0].clone(), content: vec![], is_error: true };
    session.submit(results(vec![result(&calls[2], "rain"), failed, Part::text("hurry")])).await.unwrap();
    client.until_turn_ends().await;
    let expected = [(true, "(no output)".to_owned()), (false, "done".to_owned()), (false, "rain".to_owned())];
    assert_eq!(told(&kit), expected);
    let prompt = kit.model().prompts().pop().unwrap();
    assert_eq!(prompt.last(), Some(&PromptMessage::User(vec![Part::text("hurry")])));
}

#[tokio::test(start_paused = true)]
async fn a_call_nobody_answers_is_closed_when_something_else_is_said() {
    let kit = Setup::default().start().await;
    let (session, mut client, calls) = handed_over(&kit, 2).await;
    session.submit(results(vec![result(&calls[0], "12 °C")])).await.unwrap();
    client.until_turn_ends().await;
    let none = "There is no result: whoever runs this tool gave none.".to_owned();
    assert_eq!(told(&kit), [(false, "12 °C".to_owned()), (true, none)]);
    let late = session.submit(results(vec![result(&calls[1], "too late")])).await.unwrap_err();
    assert_eq!(late.code, ErrorCode::Conflict);
}

#[tokio::test(start_paused = true)]
async fn a_result_answers_an_open_call_once_or_is_refused() {
    let kit = Setup::default().start().await;
    let (session, mut client, calls) = handed_over(&kit, 1).await;
    let before = kit.log(session.id()).await.len();
    let unknown: CallId = "call_nobody_made".parse().unwrap();
    let nested =
        Part::ToolResult { call: calls[0].clone(), content: vec![result(&calls[0], "x")], is_error: false };
    let cases = [
        (vec![result(&unknown, "x")], ErrorCode::Conflict),
        (vec![result(&calls[0], "x"), result(&calls[0], "y")], ErrorCode::Conflict),
        (vec![nested], ErrorCode::InvalidRequest),
        (vec![result(&calls[0], &"x".repeat(300 * 1024))], ErrorCode::TooLarge),
    ];
    for (parts, code) in cases {
        assert_eq!(session.submit(results(parts)).await.unwrap_err().code, code);
    }
    assert_eq!(kit.log(session.id()).await.len(), before, "a refused input leaves nothing");
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    session.submit(says("never mind")).await.unwrap();
    gate.reached().await;
    let busy = session.submit(results(vec![result(&calls[0], "x")])).await.unwrap_err();
    assert_eq!(busy.code, ErrorCode::Conflict, "the running turn has closed it");
    gate.open();
    client.until_turn_ends().await;
}

#[tokio::test(start_paused = true)]
async fn open_calls_outlive_a_restart_and_a_fork() {
    let mut kit = Setup::default().start().await;
    let (session, _, calls) = handed_over(&kit, 1).await;
    let session = session.id();
    kit.restart().await;
    assert_eq!(kit.gateway().running_turns(), 0, "a turn that ended is not taken up");
    let original = kit.open(session).await;
    let fork = kit.gateway().fork(&moongate_testkit::bob(), &original, None, None).await.unwrap();
    for id in [session, fork.view.id] {
        let mut client = kit.client(id).await;
        let before = ended_turns(&kit, id).await;
        kit.open(id).await.submit(results(vec![result(&calls[0], "12 °C")])).await.unwrap();
        client.until_turns_end(before + 1).await;
        assert_eq!(told(&kit), [(false, "12 °C".to_owned())]);
    }
}

async fn ended_turns(kit: &TestGateway, id: moongate_protocol::SessionId) -> usize {
    kit.log(id).await.iter().filter(|envelope| envelope.event.ends_turn().is_some()).count()
}

#[tokio::test(start_paused = true)]
async fn a_turn_cut_off_by_a_crash_still_knows_which_tools_are_the_clients() {
    let gate = Gate::new();
    let mut kit =
        Setup::default().tool(ScriptedTool::new("look", Effect::Read).waits_at(&gate)).start().await;
    let session = kit.session().await.id();
    kit.model().push([Script::calls(&[("weather", json!({})), ("look", json!({}))])]);
    kit.open(session).await.submit(asks("go")).await.unwrap();
    gate.reached().await;
    kit.crash().await;
    gate.open();
    kit.restart().await;
    let mut client = kit.client(session).await;
    assert_eq!(stop_reason(&client.until_turn_ends().await), StopReason::ToolUse);
    let calls = asked(&client);
    kit.open(session).await.submit(results(vec![result(&calls[0], "rain")])).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(told(&kit), [(false, "rain".to_owned()), (false, "done".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_steering_input_waits_while_the_client_has_calls_to_run() {
    let gate = Gate::new();
    let kit = Setup::default().tool(ScriptedTool::new("look", Effect::Read).waits_at(&gate)).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[("weather", json!({})), ("look", json!({}))])]);
    session.submit(asks("go")).await.unwrap();
    gate.reached().await;
    session.submit(NewInput { overlap: Overlap::Steer, ..says("also") }).await.unwrap();
    gate.open();
    assert_eq!(stop_reason(&client.until_turn_ends().await), StopReason::ToolUse);
    client.until_turn_ends().await;
    let prompt = kit.model().prompts().pop().unwrap();
    assert_eq!(prompt.last(), Some(&PromptMessage::User(vec![Part::text("also")])));
    assert_eq!(told(&kit).len(), 2);
}

#[tokio::test(start_paused = true)]
async fn tools_that_cannot_be_told_apart_or_are_too_many_are_refused() {
    let kit = Setup::default().tool(look()).start().await;
    let session = kit.session().await;
    let large = ToolSpec { description: "x".repeat(300 * 1024), ..spec("large") };
    let many = (0..129).map(|n| spec(&format!("t{n}"))).collect();
    let cases = [
        (vec![spec("look")], ErrorCode::InvalidRequest),
        (vec![spec("a"), spec("a")], ErrorCode::InvalidRequest),
        (vec![large], ErrorCode::TooLarge),
        (many, ErrorCode::TooLarge),
    ];
    for (client_tools, code) in cases {
        let refused = session.submit(NewInput { client_tools, ..says("hi") }).await.unwrap_err();
        assert_eq!(refused.code, code, "{refused}");
    }
}

#[tokio::test(start_paused = true)]
async fn instructions_are_added_for_one_turn_and_kept_over_a_restart_of_it() {
    let gate = Gate::new();
    let mut kit = Setup::default().start().await;
    let session = kit.session().await.id();
    kit.model().push([Script::new().gate(&gate)]);
    let overrides = Overrides { instructions: Some("Be brief.".into()), ..Overrides::default() };
    kit.open(session).await.submit(NewInput { overrides, ..says("hi") }).await.unwrap();
    gate.reached().await;
    kit.restart().await;
    let mut client = kit.client(session).await;
    client.until_turn_ends().await;
    kit.open(session).await.submit(says("again")).await.unwrap();
    client.until_turn_ends().await;
    let systems: Vec<_> = kit.model().requests().iter().map(|request| request.system.to_string()).collect();
    assert_eq!(systems, ["Be brief.", "Be brief.", ""]);
    let long = Overrides { instructions: Some("x".repeat(300 * 1024)), ..Overrides::default() };
    let refused = kit.open(session).await.submit(NewInput { overrides: long, ..says("hi") }).await;
    assert_eq!(refused.unwrap_err().code, ErrorCode::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn an_input_may_ask_that_nothing_was_said_since() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let head = session.head().seq;
    session.submit(NewInput { after: Some(head), ..says("first") }).await.unwrap();
    client.until_turn_ends().await;
    let refused = session.submit(NewInput { after: Some(head), ..says("second") }).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Conflict);
    let prompt = testing::prompt(&kit.log(session.id()).await).unwrap();
    assert!(!format!("{prompt:?}").contains("second"));
}
