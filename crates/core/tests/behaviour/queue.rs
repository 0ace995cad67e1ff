//! Inputs that meet a running turn.

use moongate_core::{Limits, PromptMessage};
use moongate_protocol::Effect;
use moongate_protocol::{Cancel, ErrorCode, Event, NewInput, Overlap, Part, SessionState};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup, TestGateway, bob, says};
use serde_json::json;

use crate::turn_cancelled;

fn overlapping(text: &str, overlap: Overlap) -> NewInput {
    NewInput { overlap, ..says(text) }
}

/// The words of the last message of a model's request.
fn last_words(kit: &TestGateway, request: usize) -> String {
    let last = kit.model().prompts().remove(request).pop().unwrap();
    let PromptMessage::User(parts) = &last else { panic!("a person speaks last: {last:?}") };
    Part::join_text(parts)
}

#[tokio::test(start_paused = true)]
async fn queued_inputs_run_one_after_the_other_in_order() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    let first = session.submit(says("1")).await.unwrap();
    assert_eq!(first.queue_length, 0);
    for (text, length) in [("2", 1), ("3", 2), ("4", 3)] {
        assert_eq!(session.submit(says(text)).await.unwrap().queue_length, length);
    }
    let view = session.view().await.unwrap();
    assert_eq!((view.state, view.queue.len()), (SessionState::Running, 3));
    gate.open();
    client.until_turns_end(4).await;
    let said: Vec<String> = (0..4).map(|request| last_words(&kit, request)).collect();
    assert_eq!(said, ["1", "2", "3", "4"]);
    assert_eq!(session.view().await.unwrap().queue, []);
}

#[tokio::test(start_paused = true)]
async fn a_full_queue_refuses_and_keeps_what_it_has() {
    let limits = Limits { queue_inputs: 3, ..Limits::default() };
    let kit = Setup { limits, ..Setup::default() }.start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    for _ in 0..4 {
        session.submit(says("hi")).await.unwrap();
    }
    let refused = session.submit(says("one too many")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    assert!(refused.retry_after.is_some());
    gate.open();
    client.until_turns_end(4).await;
    session.submit(says("now")).await.unwrap();
    client.until_turns_end(5).await;
}

#[tokio::test(start_paused = true)]
async fn an_input_that_wants_no_company_is_refused_while_a_turn_runs() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    session.submit(overlapping("first", Overlap::Reject)).await.unwrap();
    let refused = session.submit(overlapping("second", Overlap::Reject)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Busy);
    gate.open();
    client.until_turn_ends().await;
    session.submit(overlapping("second", Overlap::Reject)).await.unwrap();
    client.until_turns_end(2).await;
}

#[tokio::test(start_paused = true)]
async fn an_interrupting_input_stops_the_turn_and_runs_before_those_that_wait() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().text("I will now ").hang()]);
    session.submit(says("count to a million")).await.unwrap();
    client.until_shown("I will now").await;
    session.submit(says("later")).await.unwrap();
    session.submit(overlapping("stop!", Overlap::Interrupt)).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_cancelled(&ended).by, *bob().principal());
    client.until_turns_end(3).await;
    assert_eq!(client.view.answers(), ["I will now ", "ok", "ok"]);
    assert_eq!((last_words(&kit, 1), last_words(&kit, 2)), ("stop!".to_owned(), "later".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn a_steering_input_joins_at_the_next_model_call_after_the_calls_have_run() {
    let (tool, model) = (Gate::new(), Gate::new());
    let kit = Setup::default().tool(ScriptedTool::new("look", Effect::Read).waits_at(&tool)).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().gate(&model).call("look", &json!({})).end(), Script::says("I see.")]);
    session.submit(says("look around")).await.unwrap();
    model.reached().await;
    // Said while the model speaks, which then asks for a tool: the tool runs all the same.
    session.submit(overlapping("to the left", Overlap::Steer)).await.unwrap();
    model.open();
    tool.reached().await;
    session.submit(overlapping("and up", Overlap::Steer)).await.unwrap();
    assert_eq!(session.view().await.unwrap().queue.len(), 2);
    tool.open();
    client.until_turn_ends().await;
    assert_eq!(client.view.ended_turns(), 1);
    assert_eq!(session.view().await.unwrap().queue, []);
    let messages = kit.model().prompts().remove(1);
    let [_, _, result, steer] = &messages[..] else { panic!("{messages:?}") };
    let PromptMessage::ToolResult { is_error: false, content, .. } = result else { panic!("{result:?}") };
    assert_eq!(Part::join_text(content), "done");
    assert_eq!(*steer, PromptMessage::User(vec![Part::text("to the left"), Part::text("and up")]));
}

#[tokio::test(start_paused = true)]
async fn a_steering_input_makes_a_turn_that_would_end_go_on() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().text("Done.").gate(&gate).end(), Script::says("Really done.")]);
    session.submit(says("do it")).await.unwrap();
    gate.reached().await;
    session.submit(overlapping("properly", Overlap::Steer)).await.unwrap();
    gate.open();
    client.until_turn_ends().await;
    assert_eq!(client.view.answers(), ["Done.", "Really done."]);
    assert_eq!(last_words(&kit, 1), "properly");
}

#[tokio::test(start_paused = true)]
async fn a_steering_input_starts_a_turn_when_none_runs() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    session.submit(overlapping("hi", Overlap::Steer)).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(last_words(&kit, 0), "hi");
}

#[tokio::test(start_paused = true)]
async fn a_withdrawn_input_never_runs() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    let running = session.submit(says("1")).await.unwrap();
    let waiting = session.submit(says("2")).await.unwrap();
    session.submit(says("3")).await.unwrap();
    session.withdraw(waiting.input).await.unwrap();
    for gone in [waiting.input, running.input] {
        assert_eq!(session.withdraw(gone).await.unwrap_err().code, ErrorCode::NotFound);
    }
    gate.open();
    client.until_turns_end(2).await;
    assert_eq!((last_words(&kit, 0), last_words(&kit, 1)), ("1".to_owned(), "3".to_owned()));
    assert_eq!(session.withdraw(waiting.input).await.unwrap_err().code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_may_clear_the_queue_or_leave_it() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    for (clear_queue, turns) in [(true, 1), (false, 3)] {
        kit.model().push([Script::new().text("…").hang()]);
        session.submit(says("1")).await.unwrap();
        session.submit(says("2")).await.unwrap();
        session.cancel(Cancel { turn: None, clear_queue }).await.unwrap();
        client.until_turns_end(turns).await;
    }
    let view = session.view().await.unwrap();
    assert_eq!((view.state, view.queue.len()), (SessionState::Idle, 0));
    let withdrawn = client.view.events.iter().filter(|e| matches!(e.event, Event::InputWithdrawn(_))).count();
    assert_eq!(withdrawn, 1);
}

#[tokio::test(start_paused = true)]
async fn an_input_may_ask_to_be_refused_at_a_shorter_queue_than_the_servers() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    let limited = |text: &str| NewInput { queue_limit: Some(2), ..says(text) };
    session.submit(limited("runs")).await.unwrap();
    session.submit(limited("waits")).await.unwrap();
    let before = kit.log(session.id()).await.len();
    let refused = session.submit(limited("one too many")).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::QueueFull);
    assert_eq!(kit.log(session.id()).await.len(), before, "it is not stored");
    session.submit(says("without a limit of its own")).await.unwrap();
    gate.open();
    client.until_turns_end(3).await;
}
