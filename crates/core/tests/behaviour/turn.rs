//! A turn from its input to its end.

use std::time::Duration;

use moongate_core::{FrameBody, Limits, MemoryStore, PromptMessage};
use moongate_protocol::{
    Effort, ErrorCode, Event, Notice, Overrides, Part, ReasoningSignature, SessionState, StopReason, TurnId,
    WaitingOn,
};
use moongate_testkit::{Client, Gate, MODEL, Script, ScriptedModel, ScriptedModels, Setup, says};

use crate::turn_failed;

#[tokio::test(start_paused = true)]
async fn a_turn_goes_from_its_input_to_one_end() {
    let kit = Setup::default().start().await;
    let script = Script::new().reasoning("Hm.", None).typed("Hello, 世界!").usage(12, 7).end();
    kit.model().push([script]);
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let accepted = session.submit(says("hi")).await.unwrap();
    client.until_turn_ends().await;
    let kinds = [
        "session.created",
        "input.accepted",
        "turn.started",
        "message.completed",
        "usage.recorded",
        "turn.completed",
    ];
    assert_eq!(client.view.kinds(), kinds);
    assert_eq!(accepted.position, client.view.events[1].position());
    assert_eq!(accepted.queue_length, 0);
    assert_eq!(client.view.answers(), ["Hello, 世界!"]);
    assert_eq!(client.view.texts, client.view.finished_texts());
    let Event::TurnCompleted(completed) = &client.view.events[5].event else { panic!("it completed") };
    assert_eq!((completed.usage.tokens.input, completed.usage.tokens.output), (12, 7));
    assert_eq!((completed.usage.calls, completed.stop_reason), (1, StopReason::EndTurn));
    let view = session.view().await.unwrap();
    assert_eq!((view.state, view.turn, view.queue.len()), (SessionState::Idle, None, 0));
    assert_eq!(view.head, client.view.position().unwrap());
    assert_eq!(view.title.as_deref(), Some("hi"));
    assert_eq!(client.view.events, kit.log(session.id()).await);
}

#[tokio::test(start_paused = true)]
async fn the_next_turn_is_told_all_that_was_said() {
    let kit = Setup::default().start().await;
    let signature = ReasoningSignature { provider: "x".into(), id: None, data: "sealed".into() };
    kit.model().push([
        Script::new().reasoning("Thinking.", Some(signature.clone())).text("First.").end(),
        Script::says("Second."),
    ]);
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    for text in ["one", "two"] {
        session.submit(says(text)).await.unwrap();
        client.until_turn_ends().await;
    }
    let prompts = kit.model().prompts();
    assert_eq!(prompts[0].len(), 1);
    let [first, answer, second] = &prompts[1][..] else { panic!("{:?}", prompts[1]) };
    assert_eq!(*first, PromptMessage::User(vec![Part::text("one")]));
    assert_eq!(*second, PromptMessage::User(vec![Part::text("two")]));
    let PromptMessage::Assistant(parts) = answer else { panic!("{answer:?}") };
    let Part::Reasoning { signature: kept, text, .. } = &parts[0] else { panic!("{parts:?}") };
    assert_eq!((kept.as_ref(), text.as_str()), (Some(&signature), "Thinking."));
    assert_eq!(parts[1], Part::text("First."));
    assert_eq!(kit.model().requests()[1].cache_key.as_deref(), Some(session.id().to_string().as_str()));
}

#[tokio::test(start_paused = true)]
async fn nothing_of_the_answer_is_shown_before_the_input_is_on_disk() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    client.until(|event| matches!(event, Event::SessionCreated(_))).await;
    let (disk, answering) = (Gate::new(), Gate::new());
    kit.model().push([Script::new().text("early").gate(&answering).text(" late").end()]);
    kit.store().hold(Some(disk.clone()));
    let submit = tokio::spawn({
        let session = session.clone();
        async move { session.submit(says("hi")).await }
    });
    disk.reached().await;
    // The model has been called meanwhile: that is what beginning early is for.
    while kit.model().requests().is_empty() {
        tokio::task::yield_now().await;
    }
    let early = tokio::time::timeout(Duration::from_secs(5), client.next()).await;
    assert!(early.is_err(), "nothing is shown of what is not on disk, but {early:?}");
    assert!(!submit.is_finished(), "nothing is acknowledged that is not on disk");
    kit.store().hold(None);
    disk.open();
    submit.await.unwrap().unwrap();
    client.until_shown("early").await;
    assert_eq!(client.view.kinds(), ["session.created", "input.accepted", "turn.started"]);
    answering.open();
    client.until_turn_ends().await;
    assert_eq!(client.view.answers(), ["early late"]);
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_the_provider_ends_the_turn_and_keeps_what_was_said() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([
        Script::new().text("Half a sen").fault(ErrorCode::ProviderCut),
        Script::new().reasoning("only", None).fault(ErrorCode::ProviderTimeout),
        Script::new().fault(ErrorCode::ProviderAuth),
        Script::says("fine"),
    ]);
    for (code, kept) in [
        (ErrorCode::ProviderCut, Some("Half a sen")),
        (ErrorCode::ProviderTimeout, Some("")),
        (ErrorCode::ProviderAuth, None),
    ] {
        let before = client.view.answers().len();
        session.submit(says("hi")).await.unwrap();
        let ended = client.until_turn_ends().await;
        assert_eq!(turn_failed(&ended).code, code);
        assert_eq!(turn_failed(&ended).retryable, code.retryable());
        let answers = client.view.answers();
        assert_eq!(answers.get(before).map(String::as_str), kept);
        if kept.is_some() {
            let partial = client.view.events.iter().rev().find_map(|e| match &e.event {
                Event::MessageCompleted(message) => Some((message.partial, message.stop_reason)),
                _ => None,
            });
            assert_eq!(
                partial,
                Some((true, Some(StopReason::Cut))),
                "a cut stream is not stored as complete"
            );
        }
    }
    session.submit(says("again")).await.unwrap();
    assert!(matches!(client.until_turn_ends().await.event, Event::TurnCompleted(_)));
    let messages = kit.model().prompts().pop().unwrap();
    let partial = PromptMessage::Assistant(vec![Part::text("Half a sen")]);
    assert!(messages.contains(&partial), "the model sees its own partial words");
}

#[tokio::test(start_paused = true)]
async fn a_model_that_panics_fails_its_turn_and_nothing_else() {
    let kit = Setup::default().start().await;
    let (poison, other) = (kit.session().await, kit.session().await);
    let gate = Gate::new();
    kit.model().push([
        Script::new().text("one ").gate(&gate).text("two").end(),
        Script::new().typed("Oh").panic(),
        Script::says("well again"),
    ]);
    let mut other_client = kit.client(other.id()).await;
    other.submit(says("hi")).await.unwrap();
    gate.reached().await;
    let mut client = kit.client(poison.id()).await;
    poison.submit(says("hi")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::Internal);
    poison.submit(says("again")).await.unwrap();
    assert!(matches!(client.until_turn_ends().await.event, Event::TurnCompleted(_)));
    assert_eq!(client.view.answers(), ["Oh", "well again"], "what was shown is kept");
    gate.open();
    other_client.until_turn_ends().await;
    assert_eq!(other_client.view.answers(), ["one two"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_has_a_longest_time() {
    let limits = Limits { turn_duration: Duration::from_secs(60), ..Limits::default() };
    let kit = Setup { limits, ..Setup::default() }.start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    kit.model().push([Script::new().text("…").hang()]);
    session.submit(says("hi")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::LimitReached);
    assert_eq!(client.view.answers(), ["…"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_turn_waits_for_is_told_also_to_those_who_come_later() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let gate = Gate::new();
    let wait = Duration::from_secs(20);
    kit.model().push([Script::new().waits_for(WaitingOn::RateLimit, wait).gate(&gate).text("ok").end()]);
    let mut early = kit.client(session.id()).await;
    session.submit(says("hi")).await.unwrap();
    let rate_limited = |frame: &FrameBody| {
        matches!(frame, FrameBody::Notice(Notice::Waiting { on: WaitingOn::RateLimit, .. }))
    };
    while !rate_limited(&early.next().await.body) {}
    let mut late = Client::new(session.follow_live());
    assert!(rate_limited(&late.next().await.body), "the first thing a late follower is told");
    gate.open();
    early.until_turn_ends().await;
    let mut after = Client::new(session.follow_live());
    let quiet = tokio::time::timeout(Duration::from_secs(1), after.next()).await;
    assert!(quiet.is_err(), "nothing is waited for any more, but {quiet:?}");
}

#[tokio::test(start_paused = true)]
async fn an_input_changes_its_own_turn_only() {
    let models = [MODEL, "scripted/other"].map(|name| ScriptedModel::new(name.parse().unwrap()));
    let kit = Setup { models: ScriptedModels::new(models), ..Setup::default() }.start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let overrides = Overrides {
        model: Some("scripted/other".parse().unwrap()),
        effort: Some(Effort::High),
        temperature: Some(0.25),
        max_output_tokens: Some(77),
        ..Overrides::default()
    };
    let input = moongate_protocol::NewInput { overrides, ..says("hi") };
    session.submit(input.clone()).await.unwrap();
    client.until_turn_ends().await;
    session.submit(says("hi")).await.unwrap();
    client.until_turn_ends().await;
    let other = kit.models().scripted("scripted/other").requests();
    assert_eq!(other.len(), 1);
    let settings = other[0].settings;
    assert_eq!(
        (settings.effort, settings.temperature, settings.max_output_tokens),
        (Some(Effort::High), Some(0.25), Some(77))
    );
    assert_eq!(kit.model().requests().len(), 1);
    assert_eq!(kit.model().requests()[0].settings, Default::default());
    for (field, overrides) in [
        ("model", Overrides { model: Some("no/such".parse().unwrap()), ..Overrides::default() }),
        ("temperature", Overrides { temperature: Some(2.5), ..Overrides::default() }),
        ("temperature", Overrides { temperature: Some(f32::NAN), ..Overrides::default() }),
        ("tokens", Overrides { max_output_tokens: Some(0), ..Overrides::default() }),
    ] {
        let refused = session.submit(moongate_protocol::NewInput { overrides, ..input.clone() }).await;
        assert!(!refused.as_ref().unwrap_err().code.retryable(), "{field}: {refused:?}");
    }
    assert_eq!(kit.log(session.id()).await.len(), client.view.events.len(), "a refusal leaves no trace");
}

#[tokio::test(start_paused = true)]
async fn an_input_may_name_the_agent_of_its_own_turn() {
    let models = [MODEL, "scripted/other"].map(|name| ScriptedModel::new(name.parse().unwrap()));
    let kit = Setup { models: ScriptedModels::new(models), ..Setup::default() }.start().await;
    let mut catalog = (*kit.gateway().catalog()).clone();
    let scout = moongate_core::Agent::new("scout".parse().unwrap(), "scripted/other".parse().unwrap());
    catalog.agents.insert(scout.name.clone(), scout.into());
    kit.gateway().set_catalog(catalog);
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    let by = |agent: &str| moongate_protocol::NewInput {
        overrides: Overrides { agent: Some(agent.parse().unwrap()), ..Overrides::default() },
        ..says("hi")
    };
    // One that starts its turn, one that waits for it, and one for the session's own agent.
    for input in [by("scout"), by("scout"), says("hi")] {
        session.submit(input).await.unwrap();
    }
    client.until_turns_end(3).await;
    assert_eq!(kit.models().scripted("scripted/other").requests().len(), 2);
    assert_eq!(kit.model().requests().len(), 1);
    assert_eq!(session.submit(by("nobody")).await.unwrap_err().code, ErrorCode::Unprocessable);
}

#[tokio::test(start_paused = true)]
async fn an_idle_actor_ends_and_comes_back_with_all_it_knew() {
    let store = std::sync::Arc::new(MemoryStore::new());
    let limits = Limits { actor_idle: Duration::from_secs(5), ..Limits::default() };
    let kit = Setup { store, limits, ..Setup::default() }.start().await;
    let id = {
        let session = kit.session().await;
        let mut client = kit.client(session.id()).await;
        session.submit(says("one")).await.unwrap();
        client.until_turn_ends().await;
        session.id()
    };
    assert_eq!(kit.gateway().open_sessions(), 1);
    // The actor ends after its idle time, the slot at the next round of housekeeping.
    while kit.gateway().open_sessions() > 0 {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    let session = kit.open(id).await;
    let mut client = kit.client(id).await;
    session.submit(says("two")).await.unwrap();
    client.until_turns_end(2).await;
    assert_eq!(kit.model().prompts()[1].len(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_model_that_does_not_count_its_tokens_is_still_stopped() {
    let limits = Limits { model_calls_per_turn: 5, ..Limits::default() };
    let asks = |_: &moongate_core::ModelRequest, _: usize| {
        Script::new().call("look", &serde_json::json!({})).finish(StopReason::ToolUse)
    };
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), asks);
    let setup = Setup { limits, ..Setup::default() }.model(model);
    let kit = setup.tool(crate::tools::look()).start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    session.submit(says("hi")).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert_eq!(turn_failed(&ended).code, ErrorCode::LimitReached);
    assert_eq!(kit.model().requests().len(), 5);
}

#[tokio::test(start_paused = true)]
async fn every_turn_has_its_own_id_and_every_event_says_whose_it_is() {
    let kit = Setup::default().start().await;
    let session = kit.session().await;
    let mut client = kit.client(session.id()).await;
    for _ in 0..3 {
        session.submit(says("hi")).await.unwrap();
        client.until_turn_ends().await;
    }
    let mut open: Option<TurnId> = None;
    let mut seen = Vec::new();
    for envelope in &client.view.events {
        match &envelope.event {
            Event::TurnStarted(started) => {
                assert_eq!(open.replace(started.turn), None, "one turn at a time");
                assert!(!seen.contains(&started.turn));
                seen.push(started.turn);
            }
            event => assert_eq!(event.turn(), open, "{}", event.kind()),
        }
        if envelope.event.ends_turn().is_some() {
            open = None;
        }
    }
    assert_eq!(seen.len(), 3);
}
