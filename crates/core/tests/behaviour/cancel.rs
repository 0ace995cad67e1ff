//! Stopping a turn.

use std::{
    sync::{Arc, Barrier},
    time::Duration,
};

use moongate_core::{PromptMessage, limits::CANCEL_GRACE};
use moongate_protocol::{
    Cancel, DeltaKind, Effect, ErrorCode, Event, Part, SessionState, StopReason, ToolOutcome, TurnId,
};
use moongate_testkit::{Gate, Script, ScriptedTool, Setup, bob, says};
use serde_json::json;

use crate::turn_cancelled;

#[tokio::test(start_paused = true)]
async fn a_cancel_keeps_what_was_shown_and_ends_the_turn_once() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().reasoning("Hm", None).typed("Once upon").hang()]);
    session.submit(says("a story")).await.unwrap();
    client.until_shown("Once upon").await;
    let turn = session.view().await.unwrap().turn.unwrap();
    let cancelled = session.cancel(Cancel { turn: Some(turn), clear_queue: false }).await.unwrap();
    assert_eq!((cancelled.turn, cancelled.stopped.as_slice()), (Some(turn), &["model".to_owned()][..]));
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_cancelled(&ended).by, *bob().principal());
    assert_eq!(client.view.answers(), ["Once upon"]);
    let Event::MessageCompleted(message) = &client.view.events[3].event else { panic!() };
    assert_eq!((message.partial, message.stop_reason), (true, Some(StopReason::Cancelled)));
    assert_eq!(client.view.ended_turns(), 1);
    assert_eq!(session.view().await.unwrap().state, SessionState::Idle);
}

#[tokio::test(start_paused = true)]
async fn a_cancel_is_answered_when_it_is_on_disk_and_not_before() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().text("…").hang()]);
    session.submit(says("hi")).await.unwrap();
    client.until_shown("…").await;
    let disk = Gate::new();
    kit.store().hold(Some(disk.clone()));
    let cancel = tokio::spawn({
        let session = session.clone();
        async move { session.cancel(Cancel::default()).await }
    });
    disk.reached().await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert!(!cancel.is_finished(), "its end is not on disk");
    assert_eq!(kit.log(session.id()).await.len(), 3);
    disk.open();
    assert!(cancel.await.unwrap().unwrap().turn.is_some());
    assert!(kit.log(session.id()).await.last().unwrap().event.ends_turn().is_some());
}

#[tokio::test(start_paused = true)]
async fn a_cancel_of_another_turn_or_of_none_changes_nothing() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let nothing = session.cancel(Cancel::default()).await.unwrap();
    assert_eq!((nothing.turn, nothing.stopped.len()), (None, 0));
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    let mut client = kit.client(session.id()).await;
    session.submit(says("hi")).await.unwrap();
    let other = Cancel { turn: Some(TurnId::from_bits(1)), clear_queue: true };
    assert_eq!(session.cancel(other).await.unwrap_err().code, ErrorCode::Conflict);
    gate.open();
    assert!(matches!(client.until_turn_ends().await.event, Event::TurnCompleted(_)));
}

#[tokio::test(start_paused = true)]
async fn after_a_cancel_no_tool_starts_and_what_ran_is_told() {
    let gate = Gate::new();
    let waits = ScriptedTool::new("wait", Effect::Effect).waits_at(&gate);
    let kit = Setup::default().tool(waits).tool(crate::tools::look()).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    // More calls than run at once: those behind must not start when those before are stopped.
    let calls: Vec<_> = (0..20).map(|n| ("wait", json!({"n": n}))).collect();
    kit.model().push([Script::calls(&calls)]);
    session.submit(says("go")).await.unwrap();
    gate.reached().await;
    let cancelled = session.cancel(Cancel::default()).await.unwrap();
    client.until_turn_ends().await;
    let started = client.view.kinds().iter().filter(|kind| **kind == "tool.called").count();
    assert!((1..=8).contains(&started), "{started} calls were started");
    let stopped = client.view.events.iter().filter(
        |e| matches!(&e.event, Event::ToolFinished(finished) if finished.outcome == ToolOutcome::Cancelled),
    );
    assert!(stopped.count() >= started);
    assert!(cancelled.stopped.len() >= started, "{:?}", cancelled.stopped);
    let head = session.head();
    gate.open();
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert_eq!(session.head(), head, "nothing follows the end of the turn");
    session.submit(says("and now?")).await.unwrap();
    client.until_turns_end(2).await;
    let prompt = kit.model().prompts().pop().unwrap();
    let results = prompt.iter().filter(|m| matches!(m, PromptMessage::ToolResult { is_error: true, .. }));
    assert_eq!(results.count(), 20, "every call has its result");
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_does_not_stop_is_not_waited_for() {
    let never = Gate::new();
    let stubborn = ScriptedTool::new("stubborn", Effect::Effect).ignores_all_but(&never);
    let kit = Setup::default().tool(stubborn).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::calls(&[("stubborn", json!({}))])]);
    session.submit(says("go")).await.unwrap();
    never.reached().await;
    let asked = tokio::time::Instant::now();
    session.cancel(Cancel::default()).await.unwrap();
    assert!(asked.elapsed() <= CANCEL_GRACE, "{:?}", asked.elapsed());
    client.until_turn_ends().await;
    let finished = client.view.events.iter().find_map(|e| match &e.event {
        Event::ToolFinished(finished) => Some(finished.outcome),
        _ => None,
    });
    assert_eq!(finished, Some(ToolOutcome::Cancelled), "what was stopped is written down");
}

/// On real threads and real time, as one of them is held.
#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn what_a_turn_showed_is_kept_when_it_is_ended_by_force() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let held = Arc::new(Barrier::new(2));
    let begun = Script::new().reasoning("Hm", None).text("Once upon").raw_call("look", r#"{"wh"#);
    kit.model().push([begun.block(&held)]);
    session.submit(says("a story")).await.unwrap();
    client.until_shown(r#"{"wh"#).await;
    held.wait();
    let cancelled = session.cancel(Cancel::default()).await.unwrap();
    assert_eq!(cancelled.stopped, ["turn"]);
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_cancelled(&ended).by, *bob().principal());
    let kept = client.view.events.iter().find_map(|envelope| match &envelope.event {
        Event::MessageCompleted(message) => Some(message.clone()),
        _ => None,
    });
    let kept = kept.expect("what was shown");
    assert_eq!((kept.partial, kept.stop_reason), (true, Some(StopReason::Cancelled)));
    assert!(matches!(&kept.parts[0], Part::Reasoning { text, .. } if text == "Hm"), "{:?}", kept.parts);
    assert_eq!(kept.parts[1..], [Part::text("Once upon")], "half a call is not kept");
    assert_eq!(client.view.texts.get(&(kept.item, DeltaKind::Text)).map(String::as_str), Some("Once upon"));
    held.wait();
    session.submit(says("again")).await.unwrap();
    client.until_turns_end(2).await;
    assert_eq!(client.view.answers(), ["Once upon", "ok"]);
    let told = format!("{:?}", kit.model().prompts().pop().unwrap());
    assert!(told.contains("Once upon") && !told.contains("look"), "{told}");
}

#[tokio::test(start_paused = true)]
async fn two_who_cancel_at_once_are_both_answered_and_the_turn_ends_once() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().text("…").hang()]);
    session.submit(says("hi")).await.unwrap();
    client.until_shown("…").await;
    let (one, other) = tokio::join!(session.cancel(Cancel::default()), session.cancel(Cancel::default()));
    assert!(one.unwrap().turn.is_some());
    other.unwrap();
    client.until_turn_ends().await;
    session.submit(says("again")).await.unwrap();
    client.until_turns_end(2).await;
    assert_eq!(client.view.ended_turns(), 2);
    assert_eq!(client.view.answers(), ["…", "ok"]);
}

#[tokio::test(start_paused = true)]
async fn a_half_written_tool_call_is_never_run() {
    let kit = Setup::default().tool(crate::tools::look()).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let begun = Script::new().text("Let me look.").raw_call("look", r#"{"where":"le"#);
    kit.model().push([
        begun.clone().hang(),
        begun.clone().fault(ErrorCode::ProviderCut),
        begun.clone().finish(StopReason::MaxTokens),
        Script::new().text("Let me look.").raw_call("look", "").finish(StopReason::MaxTokens),
        Script::new().text("Let me look.").raw_call("look", "").finish(StopReason::Refusal),
    ]);
    session.submit(says("hi")).await.unwrap();
    client.until_shown("{\"where").await;
    session.cancel(Cancel::default()).await.unwrap();
    for turns in 2..=5 {
        session.submit(says("hi")).await.unwrap();
        client.until_turns_end(turns).await;
    }
    assert!(!client.view.kinds().contains(&"tool.called"), "{:?}", client.view.kinds());
    assert_eq!(client.view.answers(), ["Let me look."; 5]);
    session.submit(says("hi")).await.unwrap();
    client.until_turns_end(6).await;
    let prompt = kit.model().prompts().pop().unwrap();
    let calls = prompt.iter().any(|message| match message {
        PromptMessage::Assistant(parts) => parts.iter().any(|p| matches!(p, Part::ToolCall { .. })),
        _ => false,
    });
    assert!(!calls, "{prompt:?}");
}
