//! Bounds of the engine, each passed by one. Those of a turn, a tool, the queue and followers are tested beside
//! what they bound.

use std::time::Duration;

use moongate_core::{
    Happening, Limits, NewSession,
    limits::{
        ACTIVITY_EVENTS, ANSWER_BYTES, INPUT_PARTS, INPUT_TEXT_BYTES, METADATA_BYTES, TITLE_BYTES,
        TOOL_ARGUMENT_BYTES, TOOL_CALLS_PER_MESSAGE,
    },
};
use moongate_protocol::{
    Cancel, Envelope, ErrorCode, Event, InputId, InputWithdrawn, Metadata, NewInput, Notice, Part, Seq,
    SessionCreated, SessionPatch, SessionUpdated, WaitingOn,
};
use moongate_testkit::{Gate, Script, Setup, bob, caller, says};
use serde_json::json;

use crate::{tools::look, turn_failed};

#[tokio::test(start_paused = true)]
async fn an_input_beyond_a_bound_is_refused_before_anything_happens() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let metadata = |bytes: usize| [("k".to_owned(), "v".repeat(bytes - 1))].into();
    let cases = [
        (NewInput { parts: vec![], ..NewInput::default() }, ErrorCode::InvalidRequest),
        (says(""), ErrorCode::InvalidRequest),
        (says(" \n\t"), ErrorCode::InvalidRequest),
        (says(&"x".repeat(INPUT_TEXT_BYTES + 1)), ErrorCode::TooLarge),
        (NewInput { parts: vec![Part::text("x"); INPUT_PARTS + 1], ..says("") }, ErrorCode::TooLarge),
        (NewInput { metadata: metadata(METADATA_BYTES + 1), ..says("x") }, ErrorCode::TooLarge),
    ];
    for (input, code) in cases {
        assert_eq!(session.submit(input).await.unwrap_err().code, code);
    }
    assert_eq!(kit.log(session.id()).await.len(), 1);
    let mut client = kit.client(session.id()).await;
    let most = NewInput { metadata: metadata(METADATA_BYTES), ..says(&"x".repeat(INPUT_TEXT_BYTES)) };
    session.submit(most).await.unwrap();
    session.submit(NewInput { parts: vec![Part::text("x"); INPUT_PARTS], ..says("") }).await.unwrap();
    client.until_turns_end(2).await;
    let long = NewSession { title: Some("x".repeat(TITLE_BYTES + 1)), ..NewSession::default() };
    let wide = NewSession { metadata: metadata(METADATA_BYTES + 1), ..NewSession::default() };
    for new in [long, wide] {
        let refused = kit.gateway().create(&bob(), "native", new).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge);
    }
}

#[tokio::test(start_paused = true)]
async fn one_caller_and_one_node_run_so_many_turns_and_no_more() {
    let limits = Limits { turns_per_node: 3, turns_per_caller: 2, ..Limits::default() };
    let kit = Setup { limits, ..Setup::default() }.start().await;
    let gate = Gate::new();
    kit.model().push((0..3).map(|_| Script::new().gate(&gate).text("ok").end()));
    let [eve, ann] = ["eve", "ann"].map(|name| caller("default", name));
    let mut sessions = Vec::new();
    for who in [bob(), bob(), bob(), eve, ann] {
        let id = kit.gateway().create(&who, "native", NewSession::default()).await.unwrap().view.id;
        sessions.push(kit.gateway().session(&who, id).await.unwrap());
    }
    sessions[0].submit(says("1")).await.unwrap();
    sessions[1].submit(says("2")).await.unwrap();
    let mine = sessions[2].submit(says("3")).await.unwrap_err();
    assert_eq!((mine.code, mine.retry_after.is_some()), (ErrorCode::RateLimited, true));
    sessions[3].submit(says("4")).await.unwrap();
    let full = sessions[4].submit(says("5")).await.unwrap_err();
    assert_eq!((full.code, full.retry_after.is_some()), (ErrorCode::Unavailable, true));
    assert_eq!(kit.gateway().running_turns(), 3);
    // What waits behind a running turn is not counted: it begins when that one ends.
    sessions[0].submit(says("behind")).await.unwrap();
    gate.open();
    let mut client = kit.client(sessions[0].id()).await;
    client.until_turns_end(2).await;
    while kit.gateway().running_turns() > 0 {
        tokio::task::yield_now().await;
    }
    sessions[2].submit(says("3")).await.unwrap();
    sessions[4].submit(says("5")).await.unwrap();
    kit.client(sessions[2].id()).await.until_turn_ends().await;
}

#[tokio::test(start_paused = true)]
async fn changed_limits_count_at_once_and_stop_nothing_that_runs() {
    let limits = Limits { turns_per_caller: 1, ..Limits::default() };
    let kit = Setup { limits, ..Setup::default() }.start().await;
    let gate = Gate::new();
    kit.model().push((0..2).map(|_| Script::new().gate(&gate).text("ok").end()));
    let sessions = [kit.session().await, kit.session().await, kit.session().await];
    sessions[0].submit(says("1")).await.unwrap();
    assert_eq!(sessions[1].submit(says("2")).await.unwrap_err().code, ErrorCode::RateLimited);
    let change = |change: fn(&mut Limits)| {
        let mut limits = (*kit.gateway().limits()).clone();
        change(&mut limits);
        kit.gateway().set_limits(limits);
    };
    change(|limits| limits.turns_per_caller = 2);
    sessions[1].submit(says("2")).await.unwrap();
    change(|limits| (limits.turns_per_node, limits.queue_inputs) = (1, 1));
    assert_eq!(kit.gateway().running_turns(), 2);
    assert_eq!(sessions[2].submit(says("3")).await.unwrap_err().code, ErrorCode::Unavailable);
    sessions[0].submit(says("waits")).await.unwrap();
    let full = sessions[0].submit(says("one too many")).await.unwrap_err();
    assert_eq!(full.code, ErrorCode::QueueFull);
    gate.open();
    let mut client = kit.client(sessions[0].id()).await;
    client.until_turns_end(2).await;
}

#[tokio::test(start_paused = true)]
async fn turns_taken_up_after_a_restart_wait_for_room_and_can_be_cancelled_meanwhile() {
    let limits = Limits { turns_per_node: 2, ..Limits::default() };
    let mut kit = Setup { limits, ..Setup::default() }.start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        kit.model().push([Script::new().hang()]);
        let session = kit.session().await;
        session.submit(says("hi")).await.unwrap();
        ids.push(session.id());
    }
    kit.crash().await;
    // A node that can do less than the one before it.
    kit.restart_with(|setup| setup.limits.turns_per_node = 1);
    let gate = Gate::new();
    kit.model().push([Script::new().gate(&gate).text("ok").end()]);
    while kit.model().requests().len() < 2 {
        tokio::task::yield_now().await;
    }
    kit.recover().await;
    gate.reached().await;
    let mut clients = vec![kit.client(ids[0]).await, kit.client(ids[1]).await];
    for client in &mut clients {
        let waits = |notice: &Notice| matches!(notice, Notice::Waiting { .. });
        while !client.view.notices.iter().any(waits) {
            client.next().await;
        }
    }
    let waits = |client: &moongate_testkit::Client| {
        client.view.notices.iter().any(|n| matches!(n, Notice::Waiting { on: WaitingOn::Capacity, .. }))
    };
    let waiting = clients.iter().position(waits).unwrap();
    let asked = tokio::time::Instant::now();
    kit.open(ids[waiting]).await.cancel(Cancel::default()).await.unwrap();
    assert!(asked.elapsed() < Duration::from_secs(1), "{:?}", asked.elapsed());
    gate.open();
    let mut running = clients.swap_remove(1 - waiting);
    assert!(matches!(running.until_turn_ends().await.event, Event::TurnCompleted(_)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_beyond_a_bound_ends_the_turn() {
    let kit = Setup::default().tool(look()).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let megabyte = "x".repeat(1 << 20);
    let endless = (0..=ANSWER_BYTES >> 20).fold(Script::new(), |script, _| script.text(&megabyte));
    let calls = vec![("look", json!({})); TOOL_CALLS_PER_MESSAGE + 1];
    let arguments = format!("{{\"x\":\"{}\"}}", "x".repeat(TOOL_ARGUMENT_BYTES));
    kit.model().push([
        endless.hang(),
        Script::calls(&calls),
        Script::new().raw_call("look", &arguments).end(),
    ]);
    for _ in 0..3 {
        session.submit(says("hi")).await.unwrap();
        let ended = client.until_turn_ends().await;
        assert_eq!(turn_failed(&ended).code, ErrorCode::LimitReached);
    }
    assert!(!client.view.kinds().contains(&"tool.called"));
}

/// The wall clock may say anything: order, waits and limits do not depend on it.
#[tokio::test(start_paused = true)]
async fn jumps_of_the_wall_clock_reorder_nothing_and_end_nothing_early() {
    const DAY: i64 = 86_400_000;
    let mut kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let gate = Gate::new();
    for (turn, jump) in [DAY, -2 * DAY, DAY, -1, 1, -DAY].into_iter().enumerate() {
        kit.model().push([Script::new().text("a").gate(&gate).text("b").end()]);
        session.submit(says("hi")).await.unwrap();
        kit.clock().jump(jump);
        if turn == 0 {
            gate.reached().await;
            gate.open();
        }
        client.until_turns_end(turn + 1).await;
    }
    let log = kit.log(session.id()).await;
    assert!(log.windows(2).all(|pair| pair[0].at <= pair[1].at), "times in a log never run backwards");
    assert!(client.view.answers().iter().all(|answer| answer == "ab"));
    kit.clock().jump(-30 * DAY);
    kit.restart().await;
    let session = kit.open(session.id()).await;
    session.submit(says("after")).await.unwrap();
    let mut client = kit.client(session.id()).await;
    client.until_turns_end(7).await;
}

#[tokio::test(start_paused = true)]
async fn one_who_follows_all_sessions_too_slowly_is_told_to_look_again() {
    let kit = Setup::default().start().await;
    let mut slow = kit.gateway().follow_all(&bob());
    let session = kit.session().await;
    while session.head().seq.0 <= ACTIVITY_EVENTS as u64 {
        let patch = SessionPatch { archived: Some(false), ..SessionPatch::default() };
        session.update(patch).await.unwrap();
    }
    let Happening::Missed(missed) = slow.next().await else { panic!("it cannot have kept all") };
    assert!(missed >= 1);
    let Happening::Event(record) = slow.next().await else { panic!("it goes on") };
    assert!(record.position().seq.0 <= missed + 1, "{} after {missed}", record.position());
}

#[tokio::test(start_paused = true)]
async fn a_log_that_is_too_long_is_not_imported() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let first = kit.log(session.id()).await.remove(0);
    let mut log = vec![first.clone()];
    log.extend((2..=200_001).map(|seq| Envelope {
        seq: Seq(seq),
        event: Event::InputWithdrawn(InputWithdrawn {
            input: InputId::from_bits(1),
            by: "bob".parse().unwrap(),
        }),
        ..first.clone()
    }));
    let refused = kit.gateway().import(&bob(), log).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::TooLarge);
}

#[tokio::test(start_paused = true)]
async fn an_import_keeps_the_bounds_of_titles_and_labels() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let first = kit.log(session.id()).await.remove(0);
    let Event::SessionCreated(created) = &first.event else { panic!("{first:?}") };
    let long = "x".repeat(TITLE_BYTES + 1);
    let labels = Metadata::from([("k".to_owned(), "v".repeat(METADATA_BYTES))]);
    let update = |title: Option<&String>, metadata: Option<&Metadata>| {
        Event::SessionUpdated(SessionUpdated {
            title: title.cloned(),
            metadata: metadata.cloned(),
            archived: None,
            agent: None,
            policy: None,
            auto_approve: None,
            by: "bob".parse().unwrap(),
        })
    };
    let log = |events: Vec<Event>| {
        let numbered = events.into_iter().zip(1..);
        numbered.map(|(event, seq)| Envelope { seq: Seq(seq), event, ..first.clone() }).collect::<Vec<_>>()
    };
    let titled = SessionCreated { title: Some(long.clone()), ..created.clone() };
    let labelled = SessionCreated { metadata: labels.clone(), ..created.clone() };
    for bad in [
        vec![Event::SessionCreated(titled)],
        vec![Event::SessionCreated(labelled)],
        vec![first.event.clone(), update(Some(&long), None)],
        vec![first.event.clone(), update(None, Some(&labels))],
    ] {
        let refused = kit.gateway().import(&bob(), log(bad)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::TooLarge, "{refused}");
    }
    let most = "x".repeat(TITLE_BYTES);
    let good = log(vec![first.event.clone(), update(Some(&most), None)]);
    let made = kit.gateway().import(&bob(), good).await.unwrap();
    assert_eq!(made.view.title, Some(most));
}
