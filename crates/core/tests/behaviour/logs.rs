//! Random conversations: whatever people, models, tools and crashes do, the log tells all of it.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use moongate_core::{
    ASK_USER, Agent, AskFilter, AskQuery, Limits, ListQuery, MemoryStore, Piece, PromptMessage, Summary,
    testing,
};
use moongate_protocol::{
    Answer, ApprovalId, ApprovalRequested, ApprovalResolved, Cancel, Decision, Effect, Envelope, ErrorCode,
    Event, Ground, NewInput, Overlap, Part, PolicyPreset, QuestionAnswered, QuestionAsked, QuestionId,
    Requirement, Resolve, SessionPatch, SessionState, StopReason, WaitingOn,
};
use moongate_testkit::validators::validate;
use moongate_testkit::{
    AGENT, Gate, MODEL, Script, ScriptedModel, ScriptedTool, Setup, TestGateway, admin, bob, says,
};
use proptest::{collection::vec, prelude::*, sample::select};
use serde_json::json;

use crate::recovery::check_log;

/// What somebody does.
#[derive(Clone, Debug)]
enum Deed {
    Say(Overlap),
    Cancel(bool),
    /// Takes the input back that has waited longest.
    Withdraw,
    /// Decides on the approval that expires first.
    Decide(Decision),
    /// Answers the question that expires first, well or not.
    Answer(bool),
    /// The session approves by itself from here on, or not.
    Auto(bool),
    Rename,
    /// Milliseconds go by.
    Wait(u64),
    Crash,
    /// The wall clock is set.
    Jump(i64),
}

fn deed() -> impl Strategy<Value = Deed> {
    let overlaps = vec![Overlap::Queue, Overlap::Queue, Overlap::Steer, Overlap::Interrupt, Overlap::Reject];
    prop_oneof![
        6 => select(overlaps).prop_map(Deed::Say),
        1 => any::<bool>().prop_map(Deed::Cancel),
        1 => Just(Deed::Withdraw),
        3 => select(vec![Decision::Approve, Decision::Deny]).prop_map(Deed::Decide),
        3 => any::<bool>().prop_map(Deed::Answer),
        1 => any::<bool>().prop_map(Deed::Auto),
        1 => Just(Deed::Rename),
        6 => (0_u64..60).prop_map(Deed::Wait),
        1 => Just(Deed::Crash),
        1 => (-86_400_000_i64..86_400_000).prop_map(Deed::Jump),
    ]
}

/// One answer: steps a model may take, and how it ends.
fn script() -> impl Strategy<Value = Script> {
    let ms = Duration::from_millis;
    let step = (0_u8..13, 0_u64..20).prop_map(move |(kind, pause)| (kind, pause));
    (vec(step, 0..6), 0_u8..12).prop_map(move |(steps, end)| {
        let script = steps.into_iter().fold(Script::new(), |script, (kind, pause)| {
            let script = script.pause(ms(pause));
            match kind {
                0..=2 => script.text("word "),
                3 => script.reasoning("hm", None),
                4 => script.call("read", &json!({"n": pause})),
                5 => script.call("send", &json!({"n": pause})),
                6 => script.call("nothing", &json!({})),
                7 => script.raw_call("read", "{oops"),
                8 => script.waits_for(WaitingOn::RateLimit, ms(pause)),
                9 => script.call("fire", &json!({"n": pause})),
                10 => script.call("ask", &json!({"n": pause})),
                11 => script.call(ASK_USER, &json!({"question": format!("{pause}?")})),
                _ => script.piece(Piece::Text(" ".into())),
            }
        });
        match end {
            0 => script.fault(ErrorCode::ProviderCut),
            1 => script.fault(ErrorCode::ContextTooLong),
            2 => script.hang(),
            3 => script.finish(StopReason::MaxTokens),
            4 => script.panic(),
            _ => script.usage(5, 5).end(),
        }
    })
}

async fn do_deeds(kit: &mut TestGateway, id: moongate_protocol::SessionId, deeds: Vec<Deed>) {
    for deed in deeds {
        let session = kit.open(id).await;
        match deed {
            // What is refused leaves no trace, and the checks at the end would see one.
            Deed::Say(overlap) => drop(session.submit(NewInput { overlap, ..says("say something") }).await),
            Deed::Cancel(clear_queue) => drop(session.cancel(Cancel { turn: None, clear_queue }).await),
            Deed::Withdraw => {
                let queue = session.view().await.unwrap().queue;
                if let Some(first) = queue.first() {
                    drop(session.withdraw(first.input).await);
                }
            }
            Deed::Decide(decision) => {
                let open = kit.gateway().approvals(&bob(), AskQuery::default()).await.unwrap();
                if let Some(view) = open.first() {
                    let approval = view.request.approval;
                    let arguments = (decision == Decision::Approve).then(|| json!({"n": 1}));
                    let resolve = Resolve { approval, decision, arguments, reason: None, remember: None };
                    session.resolve(resolve).await.unwrap();
                }
            }
            Deed::Answer(fits) => {
                let open = kit.gateway().questions(&bob(), AskQuery::default()).await.unwrap();
                if let Some(view) = open.first() {
                    let answers = if fits { json!({"answer": "this"}) } else { json!({"other": 1}) };
                    let answered = session.answer(Answer { question: view.asked.question, answers }).await;
                    // What comes after its time does not count, fit it or not.
                    assert!(answered.map_or(!fits, |view| fits || view.already));
                }
            }
            Deed::Auto(auto_approve) => {
                let patch = SessionPatch { auto_approve: Some(auto_approve), ..SessionPatch::default() };
                let chief = kit.gateway().session(&admin(), id).await.unwrap();
                chief.update(patch).await.unwrap();
            }
            Deed::Rename => {
                let title = Some("renamed".to_owned());
                session.update(SessionPatch { title, ..SessionPatch::default() }).await.unwrap();
            }
            Deed::Wait(millis) => tokio::time::sleep(Duration::from_millis(millis)).await,
            Deed::Crash => kit.restart().await,
            Deed::Jump(millis) => kit.clock().jump(millis),
        }
    }
}

/// Stops what runs and takes back what waits, until nothing does.
async fn settle(kit: &TestGateway, id: moongate_protocol::SessionId) {
    let session = kit.open(id).await;
    loop {
        let view = session.view().await.unwrap();
        if view.state == SessionState::Idle && view.queue.is_empty() {
            return;
        }
        session.cancel(Cancel { turn: None, clear_queue: true }).await.unwrap();
    }
}

fn asks_for_a_summary(told: &[PromptMessage]) -> bool {
    let Some(PromptMessage::User(parts)) = told.last() else { return false };
    parts.last().and_then(Part::as_text).is_some_and(|text| text.starts_with("Summarise"))
}

/// Checks that the log alone says what the gateway knew while it ran.
fn check_told(kit: &TestGateway, log: &[Envelope]) -> Result<(), TestCaseError> {
    let prompts: Vec<Vec<PromptMessage>> =
        (1..=log.len()).map(|end| testing::prompt(&log[..end]).unwrap()).collect();
    for prompt in &prompts {
        prop_assert_eq!(validate(prompt), Ok(()), "{:#?}", prompt);
    }
    // A model was never told anything but the prompt of some prefix of the log, and prefixes only grow.
    let mut from = 0;
    for told in kit.model().prompts() {
        prop_assert_eq!(validate(&told), Ok(()));
        if asks_for_a_summary(&told) {
            continue;
        }
        let found = prompts[from..].iter().position(|prompt| *prompt == told);
        prop_assert!(found.is_some(), "no prefix after {} gives {:#?}", from, told);
        from += found.unwrap_or(0);
    }
    Ok(())
}

/// Checks that no call that needs a person ran without one, none on another's word, none twice on the same word, and
/// that what is listed of approvals is what the log says.
async fn check_asked(kit: &TestGateway, log: &[Envelope]) -> Result<(), TestCaseError> {
    let mut asked: BTreeMap<ApprovalId, (ApprovalRequested, Option<ApprovalResolved>)> = BTreeMap::new();
    let mut used = BTreeSet::new();
    let mut auto = false;
    for envelope in log {
        match &envelope.event {
            Event::ApprovalRequested(request) => {
                prop_assert!(asked.insert(request.approval, (request.clone(), None)).is_none());
            }
            Event::ApprovalResolved(resolved) => {
                let before = asked.get_mut(&resolved.approval).unwrap().1.replace(resolved.clone());
                prop_assert_eq!(before, None, "the first decision counts");
            }
            Event::SessionUpdated(updated) => auto = updated.auto_approve.unwrap_or(auto),
            Event::ToolCalled(called) => match &called.ground {
                Ground::Approval { approval } => {
                    let (request, resolved) = &asked[approval];
                    let resolved = resolved.as_ref().unwrap();
                    prop_assert_eq!(resolved.decision, Decision::Approve);
                    prop_assert_eq!(&called.hash, resolved.hash.as_ref().unwrap_or(&request.hash));
                    prop_assert_eq!(&called.call, &request.call);
                    prop_assert!(used.insert(*approval), "an approval is used once");
                }
                Ground::AutoApproval => prop_assert!(auto && called.tool.as_str() == "ask"),
                Ground::Policy => prop_assert!(["read", "send", ASK_USER].contains(&called.tool.as_str())),
                Ground::Rule { .. } | Ground::Configured { .. } => prop_assert!(false, "nobody made a rule"),
            },
            _ => {}
        }
    }
    let query = |filter| AskQuery { filter, limit: 1000, ..AskQuery::default() };
    let tenant = "default".parse().unwrap();
    let listed = kit.disk().approvals(&tenant, &query(AskFilter::Closed)).await.unwrap();
    prop_assert_eq!(listed.len(), asked.len(), "what no turn waits for any more is decided");
    for row in listed {
        let view = kit.gateway().approval(&bob(), row.id).await.unwrap();
        let (request, resolved) = &asked[&row.id];
        prop_assert_eq!((&view.request, &view.resolved), (request, resolved));
    }
    Ok(())
}

/// Checks that every question was closed once, with the result of its call, and that what is listed of questions is
/// what the log says.
async fn check_questions(kit: &TestGateway, log: &[Envelope]) -> Result<(), TestCaseError> {
    let mut asked: BTreeMap<QuestionId, (QuestionAsked, Option<QuestionAnswered>)> = BTreeMap::new();
    for (at, envelope) in log.iter().enumerate() {
        match &envelope.event {
            Event::QuestionAsked(question) => {
                prop_assert!(asked.insert(question.question, (question.clone(), None)).is_none());
            }
            Event::QuestionAnswered(answered) => {
                let (question, closed) = asked.get_mut(&answered.question).unwrap();
                prop_assert_eq!(closed.replace(answered.clone()), None, "the first answer counts");
                let Event::ToolFinished(result) = &log[at + 1].event else {
                    return Err(TestCaseError::fail(format!("no result follows {answered:?}")));
                };
                prop_assert_eq!(Some(&result.call), question.call.as_ref());
                prop_assert_eq!(result.data.is_some(), !answered.answers.is_null());
            }
            _ => {}
        }
    }
    let query = AskQuery { filter: AskFilter::Closed, limit: 1000, ..AskQuery::default() };
    let listed = kit.disk().questions(&"default".parse().unwrap(), &query).await.unwrap();
    prop_assert_eq!(listed.len(), asked.len(), "what no turn waits for any more is closed");
    for row in listed {
        let view = kit.gateway().question(&bob(), row.id).await.unwrap();
        let (question, answered) = &asked[&row.id];
        prop_assert_eq!((&view.asked, &view.answered), (question, answered));
    }
    Ok(())
}

async fn converse(deeds: Vec<Deed>, scripts: Vec<Script>) -> Result<(), TestCaseError> {
    let gate = Gate::new();
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |_, _| Script::new().text("ok").end());
    model.push(scripts);
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = ["read", "send", "fire", "ask", ASK_USER].map(|name| name.parse().unwrap()).into();
    agent.policy = PolicyPreset::Full;
    let mut kit = Setup { store: Arc::new(MemoryStore::new()), agents: vec![agent], ..Setup::default() }
        .model(model)
        .tool(ScriptedTool::new("read", Effect::Read).shows(&["a", "b"]))
        .tool(ScriptedTool::new("send", Effect::Effect).waits_at(&gate))
        .tool(ScriptedTool::new("fire", Effect::Effect).requires(Requirement::Always))
        .tool(ScriptedTool::new("ask", Effect::Idempotent).requires(Requirement::UnlessAutoApproved))
        .start()
        .await;
    let id = kit.session().await.id();
    let mut client = kit.client(id).await;
    do_deeds(&mut kit, id, deeds).await;
    gate.open();
    settle(&kit, id).await;
    let log = kit.log(id).await;
    check_log(&log);
    let folded = Summary::fold(&log).unwrap();
    prop_assert_eq!(&kit.disk().session(id).await.unwrap().unwrap().view, folded.view());
    check_told(&kit, &log)?;
    check_asked(&kit, &log).await?;
    check_questions(&kit, &log).await?;
    // One who followed before it all is led to the same log, through the crashes too.
    let view = std::mem::take(&mut client.view);
    let mut client = moongate_testkit::Client::resumed(kit.open(id).await.follow(view.position()), view);
    while client.view.events.len() < log.len() {
        client.next().await;
    }
    prop_assert_eq!(&client.view.events, &log);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn the_fold_of_the_log_is_what_the_gateway_knew(deeds in vec(deed(), 1..25), scripts in vec(script(), 0..12)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        runtime.unwrap().block_on(converse(deeds, scripts))?;
    }
}

/// Real threads, and actors that end whenever they have nothing to do: whoever is told that something was accepted
/// finds it where they were told.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn many_callers_on_many_threads_find_all_that_was_acknowledged() {
    let limits = Limits {
        actor_idle: Duration::from_micros(50),
        turns_per_caller: 1_000,
        turns_per_node: 1_000,
        ..Limits::default()
    };
    let model = ScriptedModel::answering(MODEL.parse().unwrap(), |_, number| {
        let script = Script::new().pause(Duration::from_micros(number as u64 % 7 * 100));
        if number % 3 == 0 { script.call("read", &json!({})).end() } else { script.text("ok").end() }
    });
    let kit = Setup { limits, ..Setup::default() }.model(model);
    let kit = Arc::new(kit.tool(ScriptedTool::new("read", Effect::Read)).start().await);
    let mut callers = tokio::task::JoinSet::new();
    for number in 0..6 {
        let id = kit.session().await.id();
        for caller in 0..8_usize {
            let kit = Arc::clone(&kit);
            callers.spawn(async move {
                let mut acknowledged = Vec::new();
                for step in 0..40 {
                    let session = kit.open(id).await;
                    match (number + caller * 7 + step * 5) % 11 {
                        0 => drop(session.cancel(Cancel { turn: None, clear_queue: step % 2 == 0 }).await),
                        1 => drop(session.update(SessionPatch::default()).await.unwrap()),
                        2 => tokio::time::sleep(Duration::from_micros(200)).await,
                        kind => {
                            let overlaps = [Overlap::Queue, Overlap::Steer, Overlap::Interrupt];
                            let overlap = overlaps[kind % overlaps.len()];
                            match session.submit(NewInput { overlap, ..says("hi") }).await {
                                Ok(accepted) => acknowledged.push(accepted),
                                Err(refusal) => assert_eq!(refusal.code, ErrorCode::QueueFull),
                            }
                        }
                    }
                }
                (id, acknowledged)
            });
        }
    }
    let mut found = 0;
    while let Some(caller) = callers.join_next().await {
        let (id, acknowledged) = caller.unwrap();
        settle(&kit, id).await;
        let log = kit.log(id).await;
        for accepted in acknowledged {
            let at = &log[usize::try_from(accepted.position.seq.0).unwrap() - 1];
            let is_it = matches!(&at.event, Event::InputAccepted(input) if input.input == accepted.input);
            assert!(is_it && at.position() == accepted.position, "{accepted:?} is {at:?}");
            found += 1;
        }
    }
    assert!(found > 500, "{found}");
    let page = ListQuery { limit: 100, ..ListQuery::default() };
    for view in kit.gateway().list(&moongate_testkit::bob(), page).await.unwrap().items {
        settle(&kit, view.id).await;
        let log = kit.log(view.id).await;
        check_log(&log);
        assert_eq!(kit.open(view.id).await.view().await.unwrap(), *Summary::fold(&log).unwrap().view());
    }
    assert_eq!(kit.gateway().running_turns(), 0);
}
