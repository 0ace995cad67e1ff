//! Following: history and live as one stream, wherever it is cut.

use std::time::Duration;

use moongate_core::{SessionHandle, limits::FOLLOWER_FRAMES};
use moongate_protocol::{Effect, Epoch, Event, Position, Seq};
use moongate_testkit::{Client, Gate, Script, ScriptedTool, Setup, TestGateway, View, says};
use serde_json::json;
use tokio::task::JoinSet;

use crate::tools::look;

/// Two turns with everything that is shown live: reasoning, text beyond ASCII, calls, their arguments and output.
fn scripts() -> Vec<Script> {
    let pause = Duration::from_millis(1);
    let thinking = ["Hm", "m… ", "思"].iter().fold(Script::new(), |script, text| {
        script.pause(pause).piece(moongate_core::Piece::Reasoning((*text).into()))
    });
    vec![
        thinking
            .piece(moongate_core::Piece::ReasoningEnd { signature: None })
            .typed("Ich schaue nach: 世界🌙")
            .pause(pause)
            .call("shout", &json!({"what": "é"}))
            .pause(pause)
            .call("look", &json!({}))
            .typed(" gleich.")
            .usage(5, 5)
            .end(),
        Script::new().typed("Fertig 🎉").usage(6, 6).end(),
        Script::new().typed("Bitte.").usage(7, 7).end(),
    ]
}

async fn kit() -> TestGateway {
    let shout = ScriptedTool::new("shout", Effect::Effect).shows(&["É", "É", "É!"]);
    let kit = Setup::default().tool(shout).tool(look()).start().await;
    kit.model().push(scripts());
    kit
}

async fn both_turns(session: &SessionHandle) {
    session.submit(says("Schau nach")).await.unwrap();
    session.submit(says("Danke")).await.unwrap();
}

/// Follows to the end of the second turn, going away after `cut` frames and after each `again` more, and coming back
/// with the position it had.
async fn cut_and_resume(session: SessionHandle, cut: usize, again: usize) -> View {
    let mut client = Client::new(session.follow(None));
    let mut left = cut;
    loop {
        while client.view.ended_turns() < 2 && left > 0 {
            client.next().await;
            left -= 1;
        }
        let view = client.view.clone();
        if view.ended_turns() == 2 {
            return view;
        }
        // Sometimes at once, sometimes a little later: more was written meanwhile then.
        let away = if again == usize::MAX { cut % 3 } else { 1 + cut % 2 };
        tokio::time::sleep(Duration::from_millis(away as u64)).await;
        client = Client::resumed(session.follow(view.position()), view);
        left = again;
    }
}

#[tokio::test(start_paused = true)]
async fn cut_at_every_frame_and_resumed_each_event_comes_once_and_the_text_is_whole() {
    // First without a cut, to know how many frames there are.
    let reference_kit = kit().await;
    let session = reference_kit.session().await;
    let mut client = Client::new(session.follow(None));
    both_turns(&session).await;
    client.until_turns_end(2).await;
    let frames = client.frames;
    assert!(frames > 60, "{frames} frames are too few to cut between");
    assert_eq!(client.view.answers(), ["Ich schaue nach: 世界🌙 gleich.", "Fertig 🎉", "Bitte."]);

    let kit = kit().await;
    let session = kit.session().await;
    let mut clients = JoinSet::new();
    for cut in 0..=frames {
        clients.spawn(cut_and_resume(session.clone(), cut, usize::MAX));
        clients.spawn(cut_and_resume(session.clone(), cut, 1 + 2 * (cut % 7)));
    }
    // Everybody is there before anything is said.
    tokio::time::sleep(Duration::from_millis(1)).await;
    both_turns(&session).await;
    let log = {
        let mut client = kit.client(session.id()).await;
        client.until_turns_end(2).await;
        kit.log(session.id()).await
    };
    let mut followers = 0;
    while let Some(view) = clients.join_next().await {
        let view = view.unwrap();
        assert_eq!(view.events, log);
        for (item, text) in view.finished_texts() {
            assert_eq!(view.texts[&item], text);
        }
        followers += 1;
    }
    assert_eq!(followers, 2 * (frames + 1));
}

#[tokio::test(start_paused = true)]
async fn from_every_position_of_a_finished_log_what_follows_comes_once() {
    let kit = kit().await;
    let session = kit.session().await;
    both_turns(&session).await;
    kit.client(session.id()).await.until_turns_end(2).await;
    let log = kit.log(session.id()).await;
    for (seen, last) in log.iter().enumerate() {
        let after = Position { seq: Seq(seen as u64), epoch: last.epoch };
        let mut client = Client::new(session.follow(Some(after)));
        while client.view.events.len() < log.len() - seen {
            client.next().await;
        }
        assert_eq!(client.view.events, log[seen..]);
        let more = tokio::time::timeout(Duration::from_secs(60), client.next()).await;
        assert!(more.is_err(), "nothing follows the head, but {more:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_who_comes_in_the_middle_of_an_item_gets_it_from_its_start() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    kit.model().push([Script::new().typed("Once 世").gate(&gate).typed("界").end()]);
    let mut early = kit.client(session.id()).await;
    session.submit(says("hi")).await.unwrap();
    early.until_shown("世").await;
    let mut late = Client::new(session.follow_live());
    while late.view.texts.is_empty() {
        late.next().await;
    }
    assert_eq!((late.frames, late.view.events.len()), (1, 0), "the first thing it is told");
    assert_eq!(late.view.texts.values().collect::<Vec<_>>(), ["Once 世"]);
    gate.open();
    late.until_turn_ends().await;
    assert_eq!(late.view.answers(), ["Once 世界"]);
}

#[tokio::test(start_paused = true)]
async fn one_who_is_too_slow_goes_back_to_the_log_and_misses_nothing() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut slow = kit.client(session.id()).await;
    let mut fast = kit.client(session.id()).await;
    let long = "x".repeat(FOLLOWER_FRAMES);
    kit.model().push((0..3).map(|_| Script::new().typed(&long).end()));
    for _ in 0..3 {
        session.submit(says("hi")).await.unwrap();
    }
    fast.until_turns_end(3).await;
    assert!(fast.frames > 3 * FOLLOWER_FRAMES);
    slow.until_turns_end(3).await;
    assert_eq!(slow.view.events, fast.view.events);
    assert_eq!(slow.view.answers(), [long.as_str(); 3]);
    assert!(slow.frames < FOLLOWER_FRAMES, "{} frames waited for one who did not take them", slow.frames);
}

#[tokio::test(start_paused = true)]
async fn one_who_is_slow_with_large_frames_does_not_fill_the_memory() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut slow = kit.client(session.id()).await;
    let mut fast = kit.client(session.id()).await;
    let (piece, pause) = ("y".repeat(100_000), Duration::from_millis(1));
    let script = (0..100).fold(Script::new(), |script, _| script.pause(pause).text(&piece));
    kit.model().push([script.end()]);
    session.submit(says("hi")).await.unwrap();
    fast.until_turn_ends().await;
    assert!(fast.frames > 100);
    slow.until_turn_ends().await;
    assert_eq!(slow.view.events, fast.view.events);
    assert!(slow.frames < 50, "{} frames of 100 kB waited", slow.frames);
}

#[tokio::test(start_paused = true)]
async fn a_slow_one_in_the_middle_of_a_turn_goes_on_with_the_text_so_far() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    let mut slow = kit.client(session.id()).await;
    let mut fast = kit.client(session.id()).await;
    let long = "z".repeat(2 * FOLLOWER_FRAMES);
    kit.model().push([Script::new().typed(&long).gate(&gate).typed("!").end()]);
    session.submit(says("hi")).await.unwrap();
    fast.until_shown(&long).await;
    slow.until_shown(&long).await;
    assert!(slow.frames < 20, "{} frames", slow.frames);
    gate.open();
    slow.until_turn_ends().await;
    assert_eq!(slow.view.answers(), [format!("{long}!")]);
}

#[tokio::test(start_paused = true)]
async fn a_position_that_cannot_be_served_is_answered_with_a_reset() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    session.submit(says("hi")).await.unwrap();
    kit.client(session.id()).await.until_turn_ends().await;
    let head = session.head();
    let other = Position { epoch: Epoch(head.epoch.0 ^ 1), ..head };
    let beyond = Position { seq: head.seq.next(), ..head };
    for after in
        [other, beyond, Position { seq: Seq(u64::MAX), ..head }, Position { seq: Seq::ZERO, ..other }]
    {
        let mut client = Client::new(session.follow(Some(after)));
        while client.view.position() != Some(head) {
            client.next().await;
        }
        assert_eq!(client.view.resets, 1, "{after}");
        assert_eq!(client.view.events, kit.log(session.id()).await);
    }
    let mut client = Client::new(session.follow(Some(head)));
    session.submit(says("hi")).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(client.view.resets, 0);
}

#[tokio::test(start_paused = true)]
async fn following_survives_a_restart_with_the_position_one_had() {
    let mut kit = kit().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    session.submit(says("Schau nach")).await.unwrap();
    client.until(|event| matches!(event, Event::ToolCalled(_))).await;
    let view = client.view.clone();
    drop(client);
    kit.restart().await;
    let session = kit.open(session.id()).await;
    let mut client = Client::resumed(session.follow(view.position()), view);
    client.until_turn_ends().await;
    assert_eq!(client.view.resets, 0);
    assert_eq!(client.view.events, kit.log(session.id()).await);
}

/// Many threads, no paused clock: whoever joins while events are written must not find a gap or a repeat.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn joining_while_events_are_written_shows_no_gap_and_no_repeat() {
    const TURNS: usize = 60;
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut clients = JoinSet::new();
    for joins in 0..40 {
        let session = session.clone();
        clients.spawn(async move {
            while session.head().seq < Seq(joins * 5) {
                tokio::task::yield_now().await;
            }
            let mut client = Client::new(session.follow(None));
            while client.view.ended_turns() < TURNS {
                client.next().await;
                // Come back at odd places, too.
                if client.frames.is_multiple_of(joins as usize + 3) {
                    let view = client.view.clone();
                    client = Client::resumed(session.follow(view.position()), view);
                }
            }
            client.view
        });
    }
    let mut client = kit.client(session.id()).await;
    for turn in 1..=TURNS {
        kit.model().push([Script::new().text("a").text("b").text("c").end()]);
        session.submit(says("hi")).await.unwrap();
        client.until_turns_end(turn).await;
    }
    let log = kit.log(session.id()).await;
    while let Some(view) = clients.join_next().await {
        assert_eq!(view.unwrap().events, log);
    }
}
