//! What a restart finds and what it makes of it.

use std::{collections::BTreeMap, sync::Arc};

use moongate_core::{Limits, MemoryStore, PromptMessage, limits::TURN_ATTEMPTS};
use moongate_protocol::{
    CallId, Effect, Envelope, ErrorCode, Event, NewInput, Overlap, Part, SessionState, ToolOutcome, TurnId,
};
use moongate_testkit::{
    CallLedger, Death, Gate, MODEL, Script, ScriptedModel, ScriptedTool, Setup, TestGateway, says,
};
use serde_json::json;

use crate::turn_failed;

/// Asks for three tools of three kinds when a person says `go`, and speaks otherwise.
fn worker() -> ScriptedModel {
    ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        let last = request.messages.last().map(|message| PromptMessage::clone(message));
        match last {
            Some(PromptMessage::User(parts)) if Part::join_text(&parts).starts_with("go") => {
                Script::calls(&[("read", json!({})), ("set", json!({})), ("send", json!({}))])
            }
            _ => Script::new().reasoning("Done?", None).text("Done.").usage(3, 3).end(),
        }
    })
}

fn workshop(ledger: &CallLedger) -> Setup {
    Setup { store: Arc::new(MemoryStore::new()), ..Setup::default() }
        .model(worker())
        .tool(ScriptedTool::new("read", Effect::Read).written_in(ledger))
        .tool(ScriptedTool::new("set", Effect::Idempotent).written_in(ledger))
        .tool(ScriptedTool::new("send", Effect::Effect).written_in(ledger))
}

/// Checks what must hold of every log that nothing runs on any more.
pub(crate) fn check_log(log: &[Envelope]) {
    let mut open: Option<(TurnId, u32)> = None;
    let mut started: BTreeMap<CallId, Effect> = BTreeMap::new();
    for (envelope, seq) in log.iter().zip(1..) {
        assert_eq!(envelope.seq.0, seq);
        match &envelope.event {
            Event::TurnStarted(turn) => {
                assert_eq!(open, None, "one turn at a time");
                open = Some((turn.turn, 1));
            }
            Event::TurnResumed(turn) => {
                let attempt = open.map(|(id, attempt)| (id, attempt + 1));
                assert_eq!(attempt, Some((turn.turn, turn.attempt)));
                assert!(turn.attempt <= TURN_ATTEMPTS);
                open = attempt;
            }
            Event::ToolCalled(called) => {
                assert_eq!(
                    started.insert(called.call.clone(), called.effect),
                    None,
                    "a call is started once"
                );
            }
            event => {
                if let Some(turn) = event.turn() {
                    assert_eq!(open.map(|(id, _)| id), Some(turn), "{} outside its turn", event.kind());
                }
                if event.ends_turn().is_some() {
                    open = None;
                }
            }
        }
    }
    assert_eq!(open, None, "every turn ends");
}

fn calls_with_effect(log: &[Envelope], wanted: Effect) -> Vec<CallId> {
    let calls = log.iter().filter_map(|envelope| match &envelope.event {
        Event::ToolCalled(called) if called.effect == wanted => Some(called.call.clone()),
        _ => None,
    });
    calls.collect()
}

fn outcome_of(log: &[Envelope], call: &CallId) -> Vec<ToolOutcome> {
    let outcomes = log.iter().filter_map(|envelope| match &envelope.event {
        Event::ToolFinished(finished) if finished.call == *call => Some(finished.outcome),
        _ => None,
    });
    outcomes.collect()
}

/// Runs two inputs, dying at one append, and checks what the next life makes of it. Says whether it came to dying.
async fn die_and_recover(at: usize, death: Death) -> bool {
    let folder = tempfile::tempdir().unwrap();
    let ledger = CallLedger::open(&folder.path().join("runs"));
    let mut kit = workshop(&ledger).start().await;
    let session = kit.session().await;
    let id = session.id();
    kit.store().die_at(at, death);
    let work = async {
        let mut client = kit.client(id).await;
        session.submit(says("go")).await.unwrap();
        session.submit(says("and thanks")).await.unwrap();
        client.until_turns_end(2).await;
    };
    let died = tokio::select! {
        () = work => false,
        () = kit.store().died() => true,
    };
    drop(session);
    let before = kit.log(id).await;
    kit.restart().await;
    let accepted = before.iter().filter(|e| matches!(e.event, Event::InputAccepted(_))).count();
    let mut client = kit.client(id).await;
    client.until_turns_end(accepted).await;
    // The session goes on as if nothing had happened.
    let session = kit.open(id).await;
    session.submit(says("well?")).await.unwrap();
    client.until_turns_end(accepted + 1).await;
    let log = kit.log(id).await;
    assert_eq!(log[..before.len()], before[..], "what was on disk stays as it was");
    assert_eq!(log, client.view.events);
    check_log(&log);
    assert!(matches!(log.last().unwrap().event, Event::TurnCompleted(_)));
    let view = session.view().await.unwrap();
    assert_eq!((view.state, view.queue.len()), (SessionState::Idle, 0));
    let runs = ledger.runs();
    for call in calls_with_effect(&log, Effect::Effect) {
        assert!(runs.get(call.as_str()).copied().unwrap_or(0) <= 1, "an effect is not repeated");
        let outcomes = outcome_of(&log, &call);
        assert_eq!(outcomes.len(), 1, "{outcomes:?}");
        assert!(runs.contains_key(call.as_str()) || outcomes[0] != ToolOutcome::Ok);
    }
    for effect in [Effect::Read, Effect::Idempotent] {
        for call in calls_with_effect(&log, effect) {
            assert_eq!(outcome_of(&log, &call), [ToolOutcome::Ok], "{effect:?} is run again");
        }
    }
    died
}

#[tokio::test(start_paused = true)]
async fn killed_at_every_append_every_turn_ends_once_and_no_effect_is_repeated() {
    for death in [Death::Before, Death::After] {
        let mut points = 0;
        // The first append made the session.
        while die_and_recover(points + 2, death).await {
            points += 1;
        }
        assert!(points >= 11, "only {points} points {death:?} an append were reached");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_end_nobody_saw_is_told_to_be_unknown_and_not_run_again() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = CallLedger::open(&folder.path().join("runs"));
    let never = Gate::new();
    let tool = |name, effect| ScriptedTool::new(name, effect).written_in(&ledger);
    let mut kit = Setup::default()
        .model(worker())
        .tool(tool("read", Effect::Read))
        .tool(tool("set", Effect::Idempotent))
        .tool(tool("send", Effect::Effect).waits_at(&never))
        .start()
        .await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    session.submit(says("go")).await.unwrap();
    // All but the last result are on disk.
    for _ in 0..2 {
        client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    }
    never.reached().await;
    kit.restart().await;
    let mut client = kit.client(session.id()).await;
    client.until_turn_ends().await;
    let log = kit.log(session.id()).await;
    check_log(&log);
    let [send] = &calls_with_effect(&log, Effect::Effect)[..] else { panic!("one call") };
    assert_eq!(outcome_of(&log, send), [ToolOutcome::Unknown]);
    assert!(ledger.runs().values().all(|runs| *runs == 1), "finished calls are not run again either");
    let prompt = kit.model().prompts().pop().unwrap();
    let told = prompt.iter().find_map(|message| match message {
        PromptMessage::ToolResult { call, is_error: true, content, .. } if call == send => {
            Some(Part::join_text(content))
        }
        _ => None,
    });
    assert!(told.unwrap().contains("unknown"));
}

#[tokio::test(start_paused = true)]
async fn calls_that_change_nothing_are_run_again_under_the_same_id() {
    let folder = tempfile::tempdir().unwrap();
    let ledger = CallLedger::open(&folder.path().join("runs"));
    let (read, set) = (Gate::new(), Gate::new());
    let tool = |name, effect| ScriptedTool::new(name, effect).written_in(&ledger);
    let mut kit = Setup::default()
        .model(worker())
        .tool(tool("read", Effect::Read).waits_at(&read))
        .tool(tool("set", Effect::Idempotent).waits_at(&set))
        .tool(tool("send", Effect::Effect))
        .start()
        .await;
    let session = kit.session().await;
    session.submit(says("go")).await.unwrap();
    tokio::join!(read.reached(), set.reached());
    kit.crash().await;
    read.open();
    set.open();
    kit.restart().await;
    kit.client(session.id()).await.until_turn_ends().await;
    let log = kit.log(session.id()).await;
    check_log(&log);
    for effect in [Effect::Read, Effect::Idempotent] {
        let [call] = &calls_with_effect(&log, effect)[..] else { panic!("one call") };
        assert_eq!((ledger.runs()[call.as_str()], outcome_of(&log, call)), (2, vec![ToolOutcome::Ok]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_ends_the_process_each_time_fails_after_three_attempts() {
    let (poison, healthy) = (Gate::new(), Gate::new());
    let gates = (poison.clone(), healthy.clone());
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), move |request, _| {
        let (poison, healthy) = &gates;
        let last = request.messages.last().map(|message| PromptMessage::clone(message));
        match last {
            Some(PromptMessage::User(parts)) if Part::join_text(&parts).ends_with("poison") => {
                Script::new().text("Oh").gate(poison).end()
            }
            _ => Script::new().text("still ").gate(healthy).text("here").end(),
        }
    });
    let mut kit = Setup::default().model(model).start().await;
    let (sick, well) = (kit.session().await.id(), kit.session().await.id());
    kit.open(sick).await.submit(says("poison")).await.unwrap();
    kit.open(sick).await.submit(says("and then?")).await.unwrap();
    for attempt in 1..=TURN_ATTEMPTS {
        // The model was called again in this life, and that is what ends the process.
        while kit.model().requests().len() < attempt as usize {
            tokio::task::yield_now().await;
        }
        kit.restart().await;
    }
    kit.open(well).await.submit(says("hi")).await.unwrap();
    healthy.open();
    let mut client = kit.client(sick).await;
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::AttemptsExhausted);
    client.until_turns_end(2).await;
    assert_eq!(client.view.answers(), ["still here"], "what waited behind it runs");
    let resumed = client.view.kinds().into_iter().filter(|kind| *kind == "turn.resumed").count();
    assert_eq!(resumed, TURN_ATTEMPTS as usize - 1);
    check_log(&client.view.events);
    let mut client = kit.client(well).await;
    client.until_turn_ends().await;
    assert_eq!(client.view.answers(), ["still here"]);
}

#[tokio::test(start_paused = true)]
async fn many_interrupted_turns_and_new_inputs_at_once_have_one_runner_each() {
    const SESSIONS: usize = 40;
    let never = Gate::new();
    let limits = Limits { turns_per_caller: 2 * SESSIONS, ..Limits::default() };
    let mut kit = Setup { limits, ..Setup::default() }.start().await;
    let mut ids = Vec::new();
    for _ in 0..SESSIONS {
        kit.model().push([Script::new().text("…").gate(&never).end()]);
        let session = kit.session().await;
        session.submit(says("hi")).await.unwrap();
        ids.push(session.id());
    }
    while kit.model().requests().len() < SESSIONS {
        tokio::task::yield_now().await;
    }
    kit.crash().await;
    kit.restart_unrecovered();
    let arriving = async {
        for id in &ids {
            kit.open(*id).await.submit(says("new")).await.unwrap();
        }
    };
    let (recovered, ()) = tokio::join!(kit.recover(), arriving);
    assert_eq!(recovered, SESSIONS);
    for id in &ids {
        let mut client = kit.client(*id).await;
        client.until_turns_end(2).await;
        check_log(&client.view.events);
        assert_eq!(client.view.answers(), ["ok", "ok"]);
        let resumed = client.view.kinds().into_iter().filter(|kind| *kind == "turn.resumed").count();
        assert_eq!(resumed, 1);
    }
    assert_eq!(kit.model().requests().len(), 3 * SESSIONS, "each turn has one runner");
}

#[tokio::test(start_paused = true)]
async fn a_steering_input_that_waited_through_a_restart_is_not_lost() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    let never = Gate::new();
    kit.model().push([Script::new().text("Working").gate(&never).end()]);
    session.submit(says("work")).await.unwrap();
    never.reached().await;
    session.submit(NewInput { overlap: Overlap::Steer, ..says("faster") }).await.unwrap();
    kit.restart().await;
    kit.client(session.id()).await.until_turn_ends().await;
    let said = kit.model().prompts().concat().into_iter().filter_map(|message| match message {
        PromptMessage::User(parts) => Some(Part::join_text(&parts)),
        _ => None,
    });
    assert!(said.into_iter().any(|text| text.contains("faster")));
    let view = kit.open(session.id()).await.view().await.unwrap();
    assert_eq!((view.state, view.queue.len()), (SessionState::Idle, 0));
}

#[tokio::test(start_paused = true)]
async fn a_drain_takes_no_new_work_lets_turns_end_and_keeps_what_waits() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    kit.model().push([Script::new().text("almost ").gate(&gate).text("there").end()]);
    session.submit(says("hi")).await.unwrap();
    session.submit(says("later")).await.unwrap();
    gate.reached().await;
    let gateway = kit.gateway().clone();
    let drain = tokio::spawn(async move { gateway.drain(std::time::Duration::from_secs(30)).await });
    kit.gateway().draining().cancelled().await;
    assert_eq!(session.submit(says("new")).await.unwrap_err().code, ErrorCode::Unavailable);
    let copied = kit.gateway().fork(&moongate_testkit::bob(), &session, None, None).await;
    assert_eq!(copied.unwrap_err().code, ErrorCode::Unavailable);
    gate.open();
    drain.await.unwrap();
    let log = kit.log(session.id()).await;
    check_log(&log);
    assert!(matches!(log.last().unwrap().event, Event::TurnCompleted(_)), "{:?}", log.last());
    assert_eq!(kit.model().requests().len(), 1, "what waits is left to the next start");
    kit.restart().await;
    let mut client = kit.client(session.id()).await;
    client.until_turns_end(2).await;
    assert_eq!(client.view.answers(), ["almost there", "ok"]);
    check_log(&client.view.events);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_runs_out_of_patience_leaves_the_turn_to_the_next_start() {
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    kit.model().push([Script::new().text("endless").hang()]);
    session.submit(says("hi")).await.unwrap();
    kit.client(session.id()).await.until_shown("endless").await;
    let asked = tokio::time::Instant::now();
    kit.gateway().drain(std::time::Duration::from_secs(30)).await;
    assert!(asked.elapsed() < std::time::Duration::from_secs(31));
    assert!(kit.log(session.id()).await.last().unwrap().event.ends_turn().is_none());
    kit.restart().await;
    let mut client = kit.client(session.id()).await;
    client.until_turn_ends().await;
    assert_eq!(client.view.answers(), ["ok"]);
    check_log(&client.view.events);
}

/// The kit's own promise: a crash answers nobody and leaves nothing behind that still writes.
#[tokio::test(start_paused = true)]
async fn a_crashed_gateway_writes_nothing_more() {
    let kit: TestGateway = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("zombie").end()]);
    session.submit(says("hi")).await.unwrap();
    gate.reached().await;
    kit.crash().await;
    let log = kit.log(session.id()).await;
    gate.open();
    tokio::time::sleep(std::time::Duration::from_secs(600)).await;
    assert_eq!(kit.log(session.id()).await, log);
}
