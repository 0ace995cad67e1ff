//! What an operator lets be spent is not passed: no model is called any more, and everything is kept.

use std::time::Duration;

use moongate_core::{
    Allowance, AskQuery, Beginning, Caller, NewSession, OnLimit, Price, SessionHandle, SpendLimits, Spending,
};
use moongate_protocol::{
    Answer, Cancel, Envelope, ErrorCode, Event, MicroUsd, QuestionAsked, SessionId, SessionState, SpendScope,
};
use moongate_testkit::{
    Client, Gate, MODEL, Script, ScriptedModel, Setup, Step, TestGateway, bob, caller, log_of, says,
};
use serde_json::json;

use crate::{tools::look, turn_failed};

/// Ten calls of ten tokens in and two out.
fn calls(calls: u64) -> Allowance {
    Allowance { calls: Some(calls), ..Allowance::default() }
}

fn tokens(tokens: u64) -> Allowance {
    Allowance { tokens: Some(tokens), ..Allowance::default() }
}

fn cost(micro: u64) -> Allowance {
    Allowance { cost: Some(MicroUsd(micro)), ..Allowance::default() }
}

fn turn(turn: Allowance) -> Spending {
    Spending { everywhere: SpendLimits { turn, ..SpendLimits::default() }, ..Spending::default() }
}

fn session(session: Allowance) -> Spending {
    Spending { everywhere: SpendLimits { session, ..SpendLimits::default() }, ..Spending::default() }
}

fn day(day: Allowance) -> Spending {
    Spending { everywhere: SpendLimits { day, ..SpendLimits::default() }, ..Spending::default() }
}

/// A model of which each call costs 10 + 2·5 millionths of a dollar.
fn priced() -> ScriptedModel {
    let price = Price {
        input: MicroUsd(1_000_000),
        output: MicroUsd(5_000_000),
        cache_read: None,
        cache_write: None,
        source: "test".into(),
    };
    ScriptedModel::new(MODEL.parse().unwrap()).with_price(price)
}

async fn start(spending: Spending) -> TestGateway {
    Setup { spending, ..Setup::default() }.model(priced()).tool(look()).start().await
}

async fn session_of(kit: &TestGateway, who: &Caller, new: NewSession) -> SessionHandle {
    let id = kit.gateway().create(who, "native", new).await.unwrap().view.id;
    kit.gateway().session(who, id).await.unwrap()
}

/// Says something and waits for the turn's end.
async fn say(session: &SessionHandle) -> Envelope {
    let mut client = Client::new(session.follow_live());
    session.submit(says("hi")).await.unwrap();
    client.until_turn_ends().await
}

fn is_over_budget(ended: &Envelope) -> bool {
    match &ended.event {
        Event::TurnFailed(failed) => {
            assert_eq!((failed.code, failed.retryable), (ErrorCode::BudgetExceeded, false), "{ended:?}");
            true
        }
        _ => false,
    }
}

#[tokio::test(start_paused = true)]
async fn each_bound_of_a_session_ends_the_next_inputs_turn_before_a_model_is_called() {
    for allowance in [calls(2), tokens(24), tokens(13), cost(40), cost(21)] {
        let kit = start(session(allowance)).await;
        let session = kit.session().await;
        for expected in [false, false, true, true] {
            assert_eq!(is_over_budget(&say(&session).await), expected, "{allowance:?}");
        }
        assert_eq!(kit.model().requests().len(), 2, "{allowance:?}");
        // Another session has its own share.
        assert!(!is_over_budget(&say(&kit.session().await).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_passes_a_bound_midway_stops_before_the_next_call_and_keeps_everything() {
    for spending in [turn(calls(2)), turn(tokens(24)), turn(cost(40)), session(calls(2)), day(calls(2))] {
        let kit = start(spending.clone()).await;
        kit.model().push((0..3).map(|_| Script::calls(&[("look", json!({}))])));
        let ended = say(&kit.session().await).await;
        assert!(is_over_budget(&ended), "{spending:?}");
        let failed = turn_failed(&ended);
        assert_eq!((failed.usage.calls, failed.usage.cost), (2, Some(MicroUsd(40))));
        assert_eq!(kit.model().requests().len(), 2);
        let kinds: Vec<_> = kit.log(ended.session).await.iter().map(|e| e.event.kind().to_owned()).collect();
        assert_eq!(kinds.iter().filter(|kind| *kind == "message.completed").count(), 2);
        assert_eq!(kinds.iter().filter(|kind| *kind == "tool.finished").count(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_turns_bound_is_for_each_turn_anew() {
    let kit = start(turn(calls(1))).await;
    let session = kit.session().await;
    for _ in 0..3 {
        assert!(!is_over_budget(&say(&session).await));
    }
}

#[tokio::test(start_paused = true)]
async fn a_caller_has_a_days_share_that_a_restart_does_not_renew() {
    let spending = Spending { caller: calls(2), ..Spending::default() };
    let mut kit = start(spending).await;
    let eve = caller("default", "eve");
    say(&kit.session().await).await;
    kit.restart().await;
    say(&kit.session().await).await;
    assert!(is_over_budget(&say(&kit.session().await).await));
    assert!(!is_over_budget(&say(&session_of(&kit, &eve, NewSession::default()).await).await));
    kit.restart().await;
    assert!(is_over_budget(&say(&kit.session().await).await));
    kit.clock().advance(Duration::from_secs(12 * 3600));
    assert!(!is_over_budget(&say(&kit.session().await).await), "a new day");
    // A clock that is set back gives nothing back.
    say(&kit.session().await).await;
    kit.clock().jump(-24 * 3600 * 1000);
    assert!(is_over_budget(&say(&kit.session().await).await));
}

#[tokio::test(start_paused = true)]
async fn a_limit_set_while_the_server_runs_counts_what_was_spent_before() {
    let mut kit = start(Spending::default()).await;
    say(&kit.session().await).await;
    kit.restart().await;
    say(&kit.session().await).await;
    let set = |allowance| {
        let mut catalog = moongate_core::Catalog::clone(&kit.gateway().catalog());
        catalog.spending = day(allowance);
        kit.gateway().set_catalog(catalog);
    };
    set(calls(2));
    assert!(is_over_budget(&say(&kit.session().await).await));
    set(calls(3));
    assert!(!is_over_budget(&say(&kit.session().await).await));
    assert!(is_over_budget(&say(&kit.session().await).await));
}

/// The first look at the day's sum comes while another call's bill is on its way to the disk.
#[tokio::test(start_paused = true)]
async fn a_bill_on_its_way_to_the_disk_is_counted_once() {
    let kit = start(Spending::default()).await;
    let (answer, disk) = (Gate::new(), Gate::new());
    kit.model().push([Script::new().step(Step::Gate(answer.clone())).text("one").usage(10, 2).end()]);
    let set = |spending| {
        let mut catalog = moongate_core::Catalog::clone(&kit.gateway().catalog());
        catalog.spending = spending;
        kit.gateway().set_catalog(catalog);
    };
    let (one, two) = (kit.session().await, kit.session().await);
    let mut client = Client::new(one.follow_live());
    one.submit(says("hi")).await.unwrap();
    answer.reached().await;
    set(day(calls(1)));
    kit.store().hold(Some(disk.clone()));
    answer.open();
    disk.reached().await;
    let mut other = Client::new(two.follow_live());
    let submitted = tokio::spawn(async move { two.submit(says("hi")).await.map(|_| two) });
    tokio::time::sleep(Duration::from_secs(1)).await;
    disk.open();
    submitted.await.unwrap().unwrap();
    assert!(!is_over_budget(&client.until_turn_ends().await));
    assert!(is_over_budget(&other.until_turn_ends().await), "the other's call is on disk");
    set(day(calls(2)));
    assert!(!is_over_budget(&say(&kit.session().await).await), "it was one call");
}

#[tokio::test(start_paused = true)]
async fn a_days_bound_is_for_all_and_deleting_sessions_gives_nothing_back() {
    let mut kit = start(day(tokens(24))).await;
    for who in [bob(), caller("default", "eve")] {
        let session = session_of(&kit, &who, NewSession::default()).await;
        assert!(!is_over_budget(&say(&session).await));
        session.delete().await.unwrap();
    }
    assert!(is_over_budget(&say(&kit.session().await).await));
    kit.restart().await;
    assert!(is_over_budget(&say(&kit.session().await).await));
    // Behind another wall nothing was spent.
    let other = caller("elsewhere", "bob");
    assert!(!is_over_budget(&say(&session_of(&kit, &other, NewSession::default()).await).await));
}

#[tokio::test(start_paused = true)]
async fn a_namespace_and_an_agent_have_bounds_of_their_own() {
    let beneath =
        |path: &str, day: Allowance| (path.parse().unwrap(), SpendLimits { day, ..Default::default() });
    let spending = Spending { beneath: vec![beneath("tenant:acme", calls(2))], ..Spending::default() };
    let mut kit = start(spending).await;
    let at = |path: &str| NewSession { namespace: Some(path.parse().unwrap()), ..NewSession::default() };
    for path in ["tenant:acme:user:a", "tenant:acme"] {
        assert!(!is_over_budget(&say(&session_of(&kit, &bob(), at(path)).await).await));
    }
    assert!(is_over_budget(&say(&session_of(&kit, &bob(), at("tenant:acme:user:b")).await).await));
    assert!(!is_over_budget(&say(&session_of(&kit, &bob(), at("tenant:acmeville")).await).await));
    kit.restart().await;
    assert!(is_over_budget(&say(&session_of(&kit, &bob(), at("tenant:acme:user:c")).await).await));

    let spend = SpendLimits { day: calls(1), ..SpendLimits::default() };
    let kit = Setup { spend, ..Setup::default() }.start().await;
    assert!(!is_over_budget(&say(&kit.session().await).await));
    assert!(is_over_budget(&say(&kit.session().await).await));
}

#[tokio::test(start_paused = true)]
async fn a_price_that_is_unknown_bounds_no_cost_but_its_tokens_count() {
    let kit = Setup { spending: turn(cost(1)), ..Setup::default() }.start().await;
    assert!(!is_over_budget(&say(&kit.session().await).await));
    let kit = Setup { spending: day(cost(1)), ..Setup::default() }.start().await;
    let session = kit.session().await;
    for _ in 0..3 {
        assert!(!is_over_budget(&say(&session).await));
    }
    let both = Allowance { tokens: Some(24), ..cost(1) };
    let kit = Setup { spending: day(both), ..Setup::default() }.start().await;
    let ends =
        [say(&kit.session().await).await, say(&kit.session().await).await, say(&kit.session().await).await];
    assert_eq!(ends.each_ref().map(is_over_budget), [false, false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_summary_is_a_call_that_has_to_be_within_the_bounds_too() {
    let model = ScriptedModel::new(MODEL.parse().unwrap()).with_window(1_000);
    let kit = Setup { spending: session(calls(6)), ..Setup::default() }.model(model).start().await;
    let session = kit.session().await;
    for number in 1..=6 {
        kit.model().push([Script::new().text("long").usage(if number == 6 { 900 } else { 10 }, 5).end()]);
        say(&session).await;
    }
    assert!(is_over_budget(&say(&session).await));
    assert_eq!(kit.model().requests().len(), 6);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_kept_spends_its_callers_share() {
    let mut kit = start(Spending { caller: calls(1), ..Spending::default() }).await;
    let talk = kit.gateway().ephemeral(&bob(), "openai", Beginning::default()).await.unwrap();
    assert!(!is_over_budget(&say(talk.handle()).await));
    assert!(is_over_budget(&say(talk.handle()).await));
    drop(talk);
    kit.restart().await;
    assert!(is_over_budget(&say(&kit.session().await).await));
}

#[tokio::test(start_paused = true)]
async fn a_fork_begins_with_a_session_share_of_its_own() {
    let kit = start(session(calls(1))).await;
    let session = kit.session().await;
    say(&session).await;
    assert!(is_over_budget(&say(&session).await));
    let fork = kit.gateway().fork(&bob(), &session, None, None).await.unwrap().view.id;
    assert!(!is_over_budget(&say(&kit.open(fork).await).await));
}

/// The account is whoever said something, and the agent that answered, not whose session it is.
#[tokio::test(start_paused = true)]
async fn the_ledger_knows_who_spent_in_anothers_session() {
    let kit = start(Spending { caller: calls(1), ..Spending::default() }).await;
    let session = kit.session().await;
    let admin = moongate_testkit::admin();
    let theirs = kit.gateway().session(&admin, session.id()).await.unwrap();
    assert!(!is_over_budget(&say(&theirs).await));
    assert!(!is_over_budget(&say(&session).await), "bob spent nothing yet");
    assert!(is_over_budget(&say(&theirs).await));
    let authors = |id: SessionId| async move {
        let log = log_of(&**kit.disk(), id).await;
        let billed = log.into_iter().filter_map(|envelope| match envelope.event {
            Event::UsageRecorded(usage) => Some(usage.author.map(|author| author.to_string())),
            _ => None,
        });
        billed.collect::<Vec<_>>()
    };
    assert_eq!(authors(session.id()).await, [Some("admin".to_owned()), None]);
}

/// An agent that looks twice and then speaks, under limits that ask.
async fn asking(spending: Spending) -> (TestGateway, SessionHandle, Client) {
    let kit = start(Spending { on_limit: OnLimit::Ask, ..spending }).await;
    let look = || Script::calls(&[("look", json!({}))]);
    kit.model().push([look(), look(), Script::says("Seen.")]);
    let session = kit.session().await;
    let client = kit.client(session.id()).await;
    session.submit(says("hi")).await.unwrap();
    (kit, session, client)
}

async fn asked(client: &mut Client) -> QuestionAsked {
    let asked = client.until(|event| matches!(event, Event::QuestionAsked(_))).await;
    let Event::QuestionAsked(asked) = asked.event else { unreachable!("it was looked for") };
    asked
}

async fn at_rest(kit: &TestGateway) {
    while kit.gateway().running_turns() > 0 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

fn go_on(asked: &QuestionAsked, yes: bool) -> Answer {
    Answer { question: asked.question, answers: json!({"go_on": yes}) }
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_asks_lets_a_turn_spend_as_much_again_for_each_yes() {
    for (spending, scope) in [(turn(calls(1)), SpendScope::Turn), (session(tokens(12)), SpendScope::Session)]
    {
        let (mut kit, mut session, mut client) = asking(spending).await;
        for made in 1..=2 {
            let question = asked(&mut client).await;
            assert_eq!((question.limit, &question.call), (Some(scope), &None));
            assert!(question.text.contains("spend limit of the"), "{}", question.text);
            at_rest(&kit).await;
            assert_eq!(session.view().await.unwrap().state, SessionState::Waiting);
            assert_eq!(kit.model().requests().len(), made);
            kit.restart().await;
            assert_eq!(kit.gateway().running_turns(), 0);
            session = kit.open(session.id()).await;
            client = Client::new(session.follow_live());
            let wrong = Answer { question: question.question, answers: json!({"answer": "yes"}) };
            assert_eq!(session.answer(wrong).await.unwrap_err().code, ErrorCode::Unprocessable);
            session.answer(go_on(&question, true)).await.unwrap();
        }
        let ended = client.until_turn_ends().await;
        assert!(matches!(ended.event, Event::TurnCompleted(_)), "{ended:?}");
        assert_eq!(kit.model().requests().len(), 3);
        // What a turn was let is its own; what a session was let stays.
        session.submit(says("and now?")).await.unwrap();
        let again = client.until(|event| match event {
            Event::QuestionAsked(_) => scope == SpendScope::Session,
            event => event.ends_turn().is_some() && scope == SpendScope::Turn,
        });
        again.await;
        let log = log_of(&**kit.disk(), session.id()).await;
        let resumed = log.iter().filter(|envelope| matches!(envelope.event, Event::TurnResumed(_))).count();
        assert_eq!(resumed, 0, "a turn that rests costs no attempt");
    }
}

#[tokio::test(start_paused = true)]
async fn a_no_and_silence_end_the_turn_as_a_limit_that_does_not_ask() {
    for silent in [false, true] {
        let (kit, session, mut client) = asking(turn(calls(1))).await;
        let question = asked(&mut client).await;
        if silent {
            kit.clock().advance(Duration::from_secs(24 * 3600));
        } else {
            session.answer(go_on(&question, false)).await.unwrap();
        }
        assert!(is_over_budget(&client.until_turn_ends().await));
        assert_eq!(kit.model().requests().len(), 1);
        assert_eq!(kit.gateway().questions(&bob(), AskQuery::default()).await.unwrap(), []);
    }
    let (kit, session, mut client) = asking(turn(calls(1))).await;
    asked(&mut client).await;
    at_rest(&kit).await;
    session.cancel(Cancel::default()).await.unwrap();
    let ended = client.until_turn_ends().await;
    assert!(matches!(ended.event, Event::TurnCancelled(_)), "{ended:?}");
    assert_eq!(kit.gateway().questions(&bob(), AskQuery::default()).await.unwrap(), []);
}

#[tokio::test(start_paused = true)]
async fn nobody_is_asked_about_the_limit_of_a_day() {
    let (kit, _session, mut client) = asking(day(calls(1))).await;
    assert!(is_over_budget(&client.until_turn_ends().await));
    assert_eq!(kit.model().requests().len(), 1);
    assert!(!client.view.kinds().contains(&"question.asked"));
}
