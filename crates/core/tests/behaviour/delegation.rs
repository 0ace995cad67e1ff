//! Tasks that agents hand to each other: begun once, waited for through restarts, stopped and deleted with the
//! session that delegated, and with no more rights than it has.

use std::time::Duration;

use moongate_core::{
    Agent, Allowance, Beginning, Caller, CallerLimits, Limits, ListQuery, MemoryStore, NewSession,
    PromptMessage, Scope, SessionHandle, SpendLimits, Spending, ToolPolicies, ToolPolicy,
};
use moongate_protocol::{
    Cancel, Decision, DelegationFinished, DelegationStarted, Effect, Envelope, ErrorCode, Event, Namespace,
    Notice, Part, PolicyPreset, Resolve, SessionId, SessionState, ToolFinished, ToolOutcome, WaitingOn,
};
use moongate_testkit::{
    Client, Death, Gate, Script, ScriptedModel, ScriptedModels, ScriptedTool, Setup, TestGateway, bob,
    narrowed, says,
};
use serde_json::{Value, json};

use crate::{recovery::check_log, tools::look, turn_cancelled};

/// An agent with a model of its own that may hand tasks to these.
fn agent(name: &str, delegates: &[&str]) -> Agent {
    let mut agent = Agent::new(name.parse().unwrap(), format!("scripted/{name}").parse().unwrap());
    agent.policy = PolicyPreset::Full;
    agent.tools = ["look", "send"].map(|name| name.parse().unwrap()).into();
    agent.delegates = delegates.iter().map(|name| name.parse().unwrap()).collect();
    agent
}

/// `main` may hand tasks to `scout`, that to `digger`, and that back to `main`.
fn setup() -> Setup {
    let agents = vec![
        agent("main", &["scout", "digger"]),
        agent("scout", &["digger", "main", "scout"]),
        agent("digger", &["main"]),
    ];
    let names = ["main", "scout", "digger"];
    let models = names.map(|name| ScriptedModel::new(format!("scripted/{name}").parse().unwrap()));
    let send = ScriptedTool::new("send", Effect::Effect);
    Setup { agents, models: ScriptedModels::new(models), ..Setup::default() }.tool(look()).tool(send)
}

fn task(agent: &str, task: &str) -> (&'static str, Value) {
    ("delegate", json!({"agent": agent, "task": task}))
}

/// The next answer of an agent's model hands tasks on.
fn hands_on(kit: &TestGateway, who: &str, tasks: &[(&str, Value)]) {
    kit.models().scripted(&format!("scripted/{who}")).push([Script::calls(tasks)]);
}

fn answers(kit: &TestGateway, who: &str, script: Script) {
    kit.models().scripted(&format!("scripted/{who}")).push([script]);
}

fn started(log: &[Envelope]) -> Vec<DelegationStarted> {
    let started = log.iter().filter_map(|envelope| match &envelope.event {
        Event::DelegationStarted(started) => Some(started.clone()),
        _ => None,
    });
    started.collect()
}

fn ended(log: &[Envelope]) -> Vec<DelegationFinished> {
    let ended = log.iter().filter_map(|envelope| match &envelope.event {
        Event::DelegationFinished(finished) => Some(finished.clone()),
        _ => None,
    });
    ended.collect()
}

fn results(log: &[Envelope]) -> Vec<(ToolOutcome, String)> {
    let results = log.iter().filter_map(|envelope| match &envelope.event {
        Event::ToolFinished(ToolFinished { outcome, content, .. }) => {
            Some((*outcome, Part::join_text(content)))
        }
        _ => None,
    });
    results.collect()
}

fn resumed(log: &[Envelope]) -> usize {
    log.iter().filter(|envelope| matches!(envelope.event, Event::TurnResumed(_))).count()
}

async fn go(kit: &TestGateway) -> (SessionHandle, Client) {
    let session = kit.session().await;
    let client = kit.client(session.id()).await;
    session.submit(says("go")).await.unwrap();
    (session, client)
}

async fn child_of(client: &mut Client) -> SessionId {
    let begun = client.until(|event| matches!(event, Event::DelegationStarted(_))).await;
    let Event::DelegationStarted(started) = begun.event else { unreachable!("it was looked for") };
    started.child
}

/// The log of a session whose turn has come to its end.
async fn whole(kit: &TestGateway, id: SessionId) -> Vec<Envelope> {
    kit.client(id).await.until_turn_ends().await;
    let log = kit.log(id).await;
    check_log(&log);
    log
}

async fn sessions(kit: &TestGateway) -> usize {
    kit.gateway().list(&bob(), ListQuery { limit: 100, ..ListQuery::default() }).await.unwrap().items.len()
}

#[tokio::test(start_paused = true)]
async fn a_task_is_done_in_a_session_of_its_own_and_its_answer_is_the_calls_result() {
    let kit = setup().start().await;
    hands_on(&kit, "main", &[task("scout", "Find the moon.")]);
    answers(&kit, "scout", Script::new().text("Up there.").usage(20, 4).end());
    let (session, mut client) = go(&kit).await;
    client.until_turn_ends().await;
    let log = whole(&kit, session.id()).await;
    let kinds: Vec<_> = log.iter().map(|envelope| envelope.event.kind()).collect();
    let between = ["tool.called", "delegation.started", "delegation.finished", "tool.finished"];
    assert_eq!(kinds[5..9], between, "{kinds:?}");
    assert_eq!(results(&log), [(ToolOutcome::Ok, "Up there.".to_owned())]);
    let [begun] = &started(&log)[..] else { panic!("one was begun") };
    let [finished] = &ended(&log)[..] else { panic!("one has ended") };
    assert_eq!((finished.child, finished.usage.tokens.input, finished.usage.calls), (begun.child, 20, 1));
    assert_eq!(client.view.answers().last().map(String::as_str), Some("ok"));

    let view = kit.open(begun.child).await.view().await.unwrap();
    let parent = view.parent.unwrap();
    assert_eq!((parent.session, parent.turn, &parent.call), (session.id(), begun.turn, &begun.call));
    assert_eq!((view.agent.as_str(), view.owner), ("scout", bob().principal().clone()));
    assert_eq!((view.title.as_deref(), view.state), (Some("Find the moon."), SessionState::Idle));
    assert_eq!(sessions(&kit).await, 2, "it is in the list");
    check_log(&kit.log(begun.child).await);

    let scout = kit.models().scripted("scripted/scout").prompts();
    assert_eq!(scout, [[PromptMessage::User(vec![Part::text("Find the moon.")])]], "and sees nothing else");
    let request = kit.models().scripted("scripted/main").requests().remove(0);
    let spec = request.tools.iter().find(|tool| tool.name.as_str() == "delegate").unwrap();
    assert_eq!(spec.parameters["properties"]["agent"]["enum"], json!(["scout", "digger"]));
}

#[tokio::test(start_paused = true)]
async fn whatever_append_a_process_dies_at_the_task_is_begun_once_and_its_answer_comes() {
    for death in [Death::Before, Death::After] {
        for append in 2..100 {
            let mut kit = setup().start().await;
            hands_on(&kit, "main", &[task("scout", "Find the moon.")]);
            let session = kit.session().await.id();
            kit.store().die_at(append, death);
            let handle = kit.open(session).await;
            let accepted = handle.submit(says("go"));
            let accepted = tokio::time::timeout(Duration::from_secs(5), accepted).await;
            let heard = matches!(accepted, Ok(Ok(_)));
            tokio::time::sleep(Duration::from_secs(5)).await;
            let died = kit.store().appends() >= append;
            kit.restart().await;
            if kit.log(session).await.len() > 1 {
                let log = whole(&kit, session).await;
                // A model that is asked again answers what comes next: the task was handed on, or is not any more.
                let begun = started(&log);
                assert_eq!(begun.len(), ended(&log).len(), "{death:?} {append}");
                assert!(begun.len() <= 1, "{death:?} {append}");
                for begun in &begun {
                    assert_eq!(results(&log), [(ToolOutcome::Ok, "ok".to_owned())], "{death:?} {append}");
                    check_log(&kit.log(begun.child).await);
                }
                assert_eq!(sessions(&kit).await, 1 + begun.len(), "{death:?} {append}");
            } else {
                assert!(!heard, "{death:?} {append}");
            }
            if !died {
                assert!(append > 7, "there are that many appends: {append}");
                break;
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn while_another_agent_is_at_work_a_turn_rests_and_a_restart_costs_it_no_attempt() {
    let mut kit = setup().start().await;
    let gate = Gate::new();
    hands_on(&kit, "main", &[task("scout", "Find the moon.")]);
    answers(&kit, "scout", Script::new().text("Up").gate(&gate).end());
    let (session, mut client) = go(&kit).await;
    let child = child_of(&mut client).await;
    gate.reached().await;
    while kit.gateway().running_turns() > 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    let waits = |notice: &Notice| matches!(notice, Notice::Waiting { on: WaitingOn::Tool, .. });
    assert!(client.view.notices.iter().any(waits), "{:?}", client.view.notices);
    // Longer than a tool may run, and than an actor with nothing to do stays.
    tokio::time::sleep(Duration::from_secs(3000)).await;
    assert_eq!(session.view().await.unwrap().state, SessionState::Running);
    for attempt in 2..=3 {
        answers(&kit, "scout", Script::new().gate(&gate).end());
        kit.restart().await;
        let goes_on = |event: &Event| matches!(event, Event::TurnResumed(again) if again.attempt == attempt);
        kit.client(child).await.until(goes_on).await;
    }
    assert_eq!(resumed(&kit.log(session.id()).await), 0);
    gate.open();
    let log = whole(&kit, session.id()).await;
    assert_eq!((started(&log).len(), resumed(&log)), (1, 0));
    assert_eq!(started(&log)[0].child, child);
    assert_eq!(sessions(&kit).await, 2);
}

#[tokio::test(start_paused = true)]
async fn tasks_handed_on_at_once_are_done_at_once_beside_the_turns_own_calls() {
    let kit = setup().start().await;
    let (scout, digger) = (Gate::new(), Gate::new());
    hands_on(&kit, "main", &[task("scout", "up"), ("look", json!({})), task("digger", "down")]);
    answers(&kit, "scout", Script::new().gate(&scout).text("air").end());
    answers(&kit, "digger", Script::new().gate(&digger).text("earth").end());
    let (session, mut client) = go(&kit).await;
    tokio::join!(scout.reached(), digger.reached());
    digger.open();
    client.until(|event| matches!(event, Event::DelegationFinished(_))).await;
    assert_eq!(kit.models().scripted("scripted/main").requests().len(), 1, "one is not done yet");
    scout.open();
    client.until_turn_ends().await;
    let log = whole(&kit, session.id()).await;
    let told: Vec<_> = results(&log).into_iter().map(|(_, text)| text).collect();
    assert_eq!(told, ["done", "earth", "air"]);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_for_another_agent_takes_no_share_of_the_running_turns() {
    let limits = Limits { turns_per_caller: 1, turns_per_node: 1, ..Limits::default() };
    let kit = Setup { limits, ..setup() }.start().await;
    hands_on(&kit, "main", &[task("scout", "a")]);
    hands_on(&kit, "scout", &[task("digger", "b")]);
    let (session, _) = go(&kit).await;
    let log = whole(&kit, session.id()).await;
    assert_eq!(results(&log), [(ToolOutcome::Ok, "ok".to_owned())]);
    let [usage] = ended(&log)[..].iter().map(|ended| ended.usage).collect::<Vec<_>>()[..] else { panic!() };
    assert_eq!(usage.calls, 3, "what was handed on further is in it");
}

#[tokio::test(start_paused = true)]
async fn a_cancel_goes_down_to_all_that_work_for_the_turn() {
    let kit = setup().start().await;
    let digger = Gate::new();
    hands_on(&kit, "main", &[task("scout", "a")]);
    hands_on(&kit, "scout", &[task("digger", "b")]);
    answers(&kit, "digger", Script::new().text("half").gate(&digger).end());
    let (session, mut client) = go(&kit).await;
    let scout = child_of(&mut client).await;
    let below = child_of(&mut kit.client(scout).await).await;
    digger.reached().await;
    let cancelled = session.cancel(Cancel::default()).await.unwrap();
    assert_eq!(cancelled.stopped.len(), 1, "{:?}", cancelled.stopped);
    for id in [below, scout, session.id()] {
        let log = kit.log(id).await;
        check_log(&log);
        assert_eq!(turn_cancelled(log.last().unwrap()).by, *bob().principal(), "{id}");
    }
    let log = kit.log(session.id()).await;
    assert_eq!(results(&log)[0].0, ToolOutcome::Cancelled);
    let spent: u64 = ended(&log).iter().map(|ended| ended.usage.calls).sum();
    assert_eq!(spent, 1, "the scout's call was paid for");
    assert_eq!(kit.gateway().running_turns(), 0);
    assert_eq!(kit.models().scripted("scripted/scout").requests().len(), 1, "nobody goes on");
}

#[tokio::test(start_paused = true)]
async fn a_task_does_not_come_back_nor_go_too_deep_nor_to_whom_it_may_not() {
    let limits = Limits { delegation_depth: 1, delegations_per_turn: 2, ..Limits::default() };
    for (limits, below, why) in [
        (Limits::default(), task("main", "back"), "does not get it back"),
        (Limits::default(), task("scout", "me"), "does not get it back"),
        (limits.clone(), task("digger", "deeper"), "handed on 1 times at most"),
        (Limits::default(), task("nobody", "who?"), "no agent named nobody"),
        (Limits::default(), task("digger", "  "), "says nothing"),
        (Limits::default(), ("delegate", json!({"agent": "digger"})), "missing field"),
    ] {
        let kit = Setup { limits, ..setup() }.start().await;
        hands_on(&kit, "main", &[task("scout", "go")]);
        hands_on(&kit, "scout", &[below]);
        let (session, mut client) = go(&kit).await;
        let child = child_of(&mut client).await;
        whole(&kit, session.id()).await;
        let log = whole(&kit, child).await;
        let [(outcome, text)] = &results(&log)[..] else { panic!("one result") };
        assert!(*outcome != ToolOutcome::Ok && text.contains(why), "{outcome:?} {text}");
        assert_eq!(sessions(&kit).await, 2, "{why}");
    }
    let kit = Setup { limits, ..setup() }.start().await;
    hands_on(&kit, "main", &[task("scout", "1"), task("scout", "2"), task("scout", "3")]);
    let (session, _) = go(&kit).await;
    let told = results(&whole(&kit, session.id()).await);
    assert_eq!(told.iter().filter(|(outcome, _)| *outcome == ToolOutcome::Ok).count(), 2, "{told:?}");
    assert!(told.iter().any(|(_, text)| text.contains("2 tasks at most")), "{told:?}");
}

#[tokio::test(start_paused = true)]
async fn a_key_for_some_agents_reaches_no_other_through_them() {
    let kit = setup().start().await;
    let agents = ["main", "scout"].map(|name| name.parse().unwrap()).into();
    let scopes = [Scope::SessionsRead, Scope::SessionsWrite];
    let narrow: Caller =
        narrowed("default", "bob", &scopes, CallerLimits { agents, ..CallerLimits::default() });
    hands_on(&kit, "main", &[task("digger", "a"), task("scout", "b")]);
    hands_on(&kit, "scout", &[task("digger", "c")]);
    let id = kit.gateway().create(&narrow, "native", NewSession::default()).await.unwrap().view.id;
    kit.gateway().session(&narrow, id).await.unwrap().submit(says("go")).await.unwrap();
    let log = whole(&kit, id).await;
    let [begun] = &started(&log)[..] else { panic!("the scout alone") };
    assert!(results(&log).iter().any(|(_, text)| text.contains("may not be used here")));
    let below = results(&whole(&kit, begun.child).await);
    assert!(below[0].1.contains("may not be used here"), "{below:?}");
    assert!(kit.models().scripted("scripted/digger").requests().is_empty());
}

#[tokio::test(start_paused = true)]
async fn the_rules_of_the_turn_that_delegates_hold_below_it() {
    // The scout's own policy lets everything run; the main agent's does not.
    for policy in [PolicyPreset::Ask, PolicyPreset::ReadOnly] {
        let mut main = agent("main", &["scout"]);
        main.policy = policy;
        let mut setup = setup();
        setup.agents[0] = main;
        let kit = setup.start().await;
        hands_on(&kit, "main", &[task("scout", "write")]);
        hands_on(&kit, "scout", &[("send", json!({}))]);
        let (session, mut client) = go(&kit).await;
        let child = child_of(&mut client).await;
        if policy == PolicyPreset::Ask {
            let asked = kit.client(child).await.until(|e| matches!(e, Event::ApprovalRequested(_))).await;
            let Event::ApprovalRequested(asked) = asked.event else { unreachable!() };
            assert_eq!(kit.open(child).await.view().await.unwrap().state, SessionState::Waiting);
            let resolve = Resolve {
                approval: asked.approval,
                decision: Decision::Deny,
                arguments: None,
                reason: None,
                remember: None,
            };
            kit.gateway().resolve(&bob(), resolve).await.unwrap();
        }
        whole(&kit, session.id()).await;
        let told = results(&whole(&kit, child).await);
        assert_eq!(told[0].0, ToolOutcome::Denied, "{told:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_tool_that_a_namespace_denies_runs_by_no_path() {
    let here: Namespace = "user:bob".parse().unwrap();
    let denied = |names: &[&str]| ToolPolicy::Deny(names.iter().map(|&name| name.to_owned()).collect());
    let tool_policies = ToolPolicies::new(ToolPolicy::AllowAll, [(here.clone(), denied(&["send"]))]);
    let kit = Setup { tool_policies, ..setup() }.start().await;
    hands_on(&kit, "main", &[("send", json!({})), task("scout", "send")]);
    hands_on(&kit, "scout", &[("send", json!({}))]);
    let (session, mut client) = go(&kit).await;
    let child = child_of(&mut client).await;
    let refused = (ToolOutcome::Denied, "Tool 'send' is not allowed in this namespace.".to_owned());
    assert!(results(&whole(&kit, session.id()).await).contains(&refused));
    assert_eq!(results(&whole(&kit, child).await), [refused]);
    // And so may handing on itself.
    let tool_policies = ToolPolicies::new(ToolPolicy::AllowAll, [(here, denied(&["delegate"]))]);
    let kit = Setup { tool_policies, ..setup() }.start().await;
    hands_on(&kit, "main", &[task("scout", "x")]);
    let (session, _) = go(&kit).await;
    assert_eq!(results(&whole(&kit, session.id()).await)[0].0, ToolOutcome::Denied);
    let tools = &kit.models().scripted("scripted/main").requests()[0].tools;
    assert!(tools.iter().all(|tool| tool.name.as_str() != "delegate"));
}

#[tokio::test(start_paused = true)]
async fn what_others_spend_for_a_turn_counts_for_it_and_is_bounded_by_what_it_had_left() {
    let calls = |calls| Allowance { calls: Some(calls), ..Allowance::default() };
    for (most, below, above) in [(3, 2, 1), (4, 3, 1), (5, 3, 2), (6, 3, 2)] {
        let limits = SpendLimits { turn: calls(most), ..SpendLimits::default() };
        let spending = Spending { everywhere: limits, ..Spending::default() };
        let kit = Setup { spending, ..setup() }.start().await;
        hands_on(&kit, "main", &[task("scout", "look around")]);
        for _ in 0..2 {
            hands_on(&kit, "scout", &[("look", json!({}))]);
        }
        let (session, mut client) = go(&kit).await;
        let child = child_of(&mut client).await;
        let log = whole(&kit, session.id()).await;
        let requests = |who: &str| kit.models().scripted(&format!("scripted/{who}")).requests().len();
        assert_eq!((requests("scout"), requests("main")), (below, above), "of {most}");
        let child = kit.log(child).await;
        let cut_short = matches!(&child.last().unwrap().event,
            Event::TurnFailed(failed) if failed.code == ErrorCode::BudgetExceeded);
        assert_eq!(cut_short, most == 3, "of {most}");
        assert_eq!(matches!(log.last().unwrap().event, Event::TurnFailed(_)), most < 5, "of {most}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_task_that_fails_or_is_stopped_is_a_result_the_model_sees() {
    let kit = setup().start().await;
    hands_on(&kit, "main", &[task("scout", "fail")]);
    answers(&kit, "scout", Script::new().fault(ErrorCode::ProviderRejected));
    let (session, _) = go(&kit).await;
    let [(outcome, text)] = &results(&whole(&kit, session.id()).await)[..] else { panic!("one result") };
    assert!(*outcome == ToolOutcome::Error && text.starts_with("The agent scout failed: "), "{text}");

    for delete in [false, true] {
        let kit = setup().start().await;
        let gate = Gate::new();
        hands_on(&kit, "main", &[task("scout", "wait")]);
        answers(&kit, "scout", Script::new().gate(&gate).end());
        let (session, mut client) = go(&kit).await;
        let child = kit.open(child_of(&mut client).await).await;
        gate.reached().await;
        match delete {
            true => child.delete().await.unwrap(),
            false => drop(child.cancel(Cancel::default()).await.unwrap()),
        }
        let log = whole(&kit, session.id()).await;
        assert_eq!(results(&log)[0].0, ToolOutcome::Cancelled);
        assert!(matches!(log.last().unwrap().event, Event::TurnCompleted(_)));
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_is_deleted_with_all_it_delegated_to() {
    for done in [true, false] {
        let kit = setup().start().await;
        let gate = Gate::new();
        hands_on(&kit, "main", &[task("scout", "a")]);
        hands_on(&kit, "scout", &[task("digger", "b")]);
        answers(&kit, "digger", Script::new().gate(&gate).end());
        let (session, mut client) = go(&kit).await;
        child_of(&mut client).await;
        gate.reached().await;
        if done {
            gate.open();
            client.until_turn_ends().await;
        }
        assert_eq!(sessions(&kit).await, 3);
        session.delete().await.unwrap();
        assert_eq!((sessions(&kit).await, kit.gateway().running_turns()), (0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_who_works_and_the_next_start_hands_the_answer_over() {
    let mut kit = setup().start().await;
    let gate = Gate::new();
    hands_on(&kit, "main", &[task("scout", "a")]);
    answers(&kit, "scout", Script::new().gate(&gate).text("just in time").end());
    let (session, _) = go(&kit).await;
    gate.reached().await;
    let gateway = kit.gateway().clone();
    let drain = tokio::spawn(async move { gateway.drain(Duration::from_secs(30)).await });
    kit.gateway().draining().cancelled().await;
    gate.open();
    drain.await.unwrap();
    assert!(!kit.log(session.id()).await.iter().any(|envelope| envelope.event.ends_turn().is_some()));
    kit.restart().await;
    let log = whole(&kit, session.id()).await;
    assert_eq!(results(&log), [(ToolOutcome::Ok, "just in time".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_a_session_that_is_not_kept_delegates_is_not_kept_either() {
    let store = std::sync::Arc::new(MemoryStore::new());
    let kit = Setup { store, ..setup() }.start().await;
    hands_on(&kit, "main", &[task("scout", "a")]);
    answers(&kit, "scout", Script::says("seen"));
    let fleeting = kit.gateway().ephemeral(&bob(), "native", Beginning::default()).await.unwrap();
    let mut client = Client::new(fleeting.handle().follow(None));
    fleeting.handle().submit(says("go")).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(results(&client.view.events), [(ToolOutcome::Ok, "seen".to_owned())]);
    assert_eq!(sessions(&kit).await, 0);
}

#[tokio::test(start_paused = true)]
async fn a_fork_of_a_delegated_session_is_a_session_like_any_other() {
    let kit = setup().start().await;
    hands_on(&kit, "main", &[task("scout", "a")]);
    let (session, mut client) = go(&kit).await;
    let child = child_of(&mut client).await;
    whole(&kit, session.id()).await;
    let copy = kit.gateway().fork(&bob(), &kit.open(child).await, None, None).await.unwrap().view;
    assert_eq!(copy.parent, None);
    session.delete().await.unwrap();
    assert_eq!(sessions(&kit).await, 1, "the copy stays");
}
