//! Questions to people: asked, answered, gone on with, through restarts.

use std::time::Duration;

use moongate_core::{
    ASK_USER, Agent, AskFilter, AskQuery, PromptMessage, QuestionView, Refusal, Scope, SessionHandle,
    limits::{QUESTION_ANSWERS_BYTES, QUESTION_BYTES},
};
use moongate_protocol::{
    Answer, Cancel, Decision, Effect, Envelope, ErrorCode, Event, NewInput, Notice, Overrides, PolicyPreset,
    QuestionAsked, QuestionState, Resolve, SessionState, ToolOutcome, WaitingOn,
};
use moongate_testkit::{
    AGENT, Client, Death, MODEL, Script, ScriptedModel, ScriptedTool, Setup, TestGateway, admin, bob, caller,
    narrowed, says,
};
use serde_json::{Value, json};

use crate::{
    recovery::check_log,
    tools::{finished, look, results},
    turn_cancelled,
};

/// An agent that may ask, and look, and, if a person lets it, send.
fn curious() -> Setup {
    let mut agent = Agent::new(AGENT.parse().unwrap(), MODEL.parse().unwrap());
    agent.tools = ["look", "send", ASK_USER].map(|name| name.parse().unwrap()).into();
    agent.policy = PolicyPreset::Ask;
    let setup = Setup { agents: vec![agent], ..Setup::default() };
    setup.tool(look()).tool(ScriptedTool::new("send", Effect::Effect))
}

struct Desk {
    kit: TestGateway,
    session: SessionHandle,
    client: Client,
}

impl Desk {
    async fn new() -> Self {
        Self::with(curious()).await
    }

    async fn with(setup: Setup) -> Self {
        let kit = setup.start().await;
        let session = kit.session().await;
        let client = kit.client(session.id()).await;
        Self { kit, session, client }
    }

    /// Says something that makes the model ask for these calls.
    async fn go(&mut self, calls: &[(&str, Value)]) {
        self.go_with(calls, says("go")).await;
    }

    async fn go_with(&mut self, calls: &[(&str, Value)], input: NewInput) {
        self.kit.model().push([Script::calls(calls)]);
        self.session.submit(input).await.unwrap();
    }

    async fn asked(&mut self) -> QuestionAsked {
        let asked = self.client.until(|event| matches!(event, Event::QuestionAsked(_))).await;
        let Event::QuestionAsked(asked) = asked.event else { unreachable!("it was looked for") };
        asked
    }

    /// Waits until nothing of the turn runs.
    async fn at_rest(&self) {
        while self.kit.gateway().running_turns() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn answer(&self, asked: &QuestionAsked, answers: Value) -> Result<QuestionView, Refusal> {
        self.session.answer(Answer { question: asked.question, answers }).await
    }

    async fn open(&self) -> Vec<QuestionView> {
        self.kit.gateway().questions(&bob(), AskQuery::default()).await.unwrap()
    }

    async fn restart(&mut self) {
        self.kit.restart().await;
        self.session = self.kit.open(self.session.id()).await;
        self.client = self.kit.client(self.session.id()).await;
    }

    async fn log(&self) -> Vec<Envelope> {
        self.kit.log(self.session.id()).await
    }
}

fn which() -> (&'static str, Value) {
    (ASK_USER, json!({"question": "Which colour?"}))
}

/// A form with one field of each kind.
fn form() -> Value {
    json!({
        "type": "object",
        "title": "The order",
        "properties": {
            "colour": {"type": "string", "enum": ["red", "blue"], "title": "Colour"},
            "count": {"type": "integer", "default": 1},
            "width": {"type": "number"},
            "gift": {"type": "boolean"},
            "note": {"type": "string", "description": "Anything else"},
        },
        "required": ["colour", "count"],
    })
}

fn count(log: &[Envelope], is_it: impl Fn(&Event) -> bool) -> usize {
    log.iter().filter(|envelope| is_it(&envelope.event)).count()
}

fn attempts(log: &[Envelope]) -> usize {
    count(log, |event| matches!(event, Event::TurnResumed(_)))
}

#[tokio::test(start_paused = true)]
async fn a_question_rests_until_a_person_answers_and_the_model_is_told() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    assert_eq!((asked.text.as_str(), &asked.form), ("Which colour?", &None));
    desk.at_rest().await;
    let waits = |notice: &Notice| matches!(notice, Notice::Waiting { on: WaitingOn::Question, .. });
    while !desk.client.view.notices.iter().any(waits) {
        desk.client.next().await;
    }
    assert_eq!(desk.session.view().await.unwrap().state, SessionState::Waiting);
    let open = desk.open().await;
    assert_eq!((open.len(), open[0].state(), &open[0].asked), (1, QuestionState::Open, &asked));
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!(desk.kit.model().requests().len(), 1);
    let view = desk.answer(&asked, json!({"answer": "the blue one"})).await.unwrap();
    assert_eq!((view.state(), view.already), (QuestionState::Answered, false));
    assert_eq!(view.answered.as_ref().unwrap().by.as_str(), "bob");
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(false, "the blue one".to_owned())]);
    let result = finished(&desk.client).remove(0);
    assert_eq!((result.outcome, result.data), (ToolOutcome::Ok, Some(json!({"answer": "the blue one"}))));
    assert!(result.duration_ms >= 3_600_000 || result.duration_ms == 0, "{}", result.duration_ms);
    let log = desk.log().await;
    check_log(&log);
    let at = |is_it: fn(&Event) -> bool| log.iter().position(|envelope| is_it(&envelope.event)).unwrap();
    assert_eq!(
        at(|event| matches!(event, Event::QuestionAsked(_))),
        at(|event| matches!(event, Event::ToolCalled(_))) + 1
    );
    assert_eq!(attempts(&log), 0);
    assert_eq!(desk.open().await, []);
    let closed = AskQuery { filter: AskFilter::Closed, ..AskQuery::default() };
    assert_eq!(desk.kit.gateway().questions(&bob(), closed).await.unwrap(), [view]);
    let audit = desk.kit.disk().audit_entries(&"default".parse().unwrap(), 9).await.unwrap();
    assert_eq!((audit[0].principal.as_str(), audit[0].action.as_str()), ("bob", "question.answered"));
}

#[tokio::test(start_paused = true)]
async fn answers_that_do_not_fit_the_form_are_refused_and_lose_nothing() {
    let mut desk = Desk::new().await;
    desk.go(&[(ASK_USER, json!({"question": "What shall I order?", "form": form()}))]).await;
    let asked = desk.asked().await;
    for (wrong, why) in [
        (json!("red"), "not a JSON object"),
        (json!({}), "colour is missing"),
        (json!({"colour": "red"}), "count is missing"),
        (json!({"colour": "green", "count": 1}), "colour has to be one of red, blue"),
        (json!({"colour": null, "count": 1}), "colour has to be a text"),
        (json!({"colour": "red", "count": 1.5}), "count has to be a whole number"),
        (json!({"colour": "red", "count": 1, "width": "2"}), "width has to be a number"),
        (json!({"colour": "red", "count": 1, "gift": "yes"}), "gift has to be true or false"),
        (json!({"colour": "red", "count": 1, "note": ["x"]}), "note has to be a text"),
        (json!({"colour": "red", "count": 1, "extra": 1}), "there is no field named extra"),
    ] {
        let refused = desk.answer(&asked, wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unprocessable, "{wrong}");
        assert!(refused.message.contains(why), "{wrong}: {refused}");
    }
    let long = json!({"colour": "red", "count": 1, "note": "x".repeat(QUESTION_ANSWERS_BYTES)});
    assert_eq!(desk.answer(&asked, long).await.unwrap_err().code, ErrorCode::TooLarge);
    assert_eq!(desk.open().await.len(), 1);
    let answers = json!({"colour": "blue", "count": 2, "width": 1.5, "gift": true, "note": "soon\nplease"});
    desk.answer(&asked, answers.clone()).await.unwrap();
    desk.client.until_turn_ends().await;
    let told = "colour: blue\ncount: 2\ngift: true\nnote: soon\nplease\nwidth: 1.5\n";
    assert_eq!(results(&desk.kit), [(false, told.to_owned())]);
    assert_eq!(finished(&desk.client)[0].data, Some(answers));
}

#[tokio::test(start_paused = true)]
async fn a_question_without_a_form_takes_one_answer_in_words() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    for wrong in [json!({}), json!({"answer": 7}), json!({"answer": "x", "b": 1}), json!("x"), json!(null)] {
        let refused = desk.answer(&asked, wrong.clone()).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unprocessable, "{wrong}");
    }
    desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(false, "blue".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_asked_is_a_result_and_nobody_is_asked() {
    let mut desk = Desk::new().await;
    let long = "x".repeat(QUESTION_BYTES + 1);
    desk.go(&[
        (ASK_USER, json!({})),
        (ASK_USER, json!({"question": "  "})),
        (ASK_USER, json!({"question": long})),
        (ASK_USER, json!({"question": "?", "to": "eve"})),
        (ASK_USER, json!({"question": "?", "form": {"type": "array"}})),
        (ASK_USER, json!({"question": "?", "form": {"properties": {"a": {"type": "object"}}}})),
    ])
    .await;
    desk.client.until_turn_ends().await;
    let told = results(&desk.kit);
    assert_eq!(told.len(), 6);
    assert!(told.iter().all(|(is_error, text)| *is_error && text.contains("cannot be used")), "{told:?}");
    assert_eq!(count(&desk.log().await, |event| matches!(event, Event::QuestionAsked(_))), 0);
}

#[tokio::test(start_paused = true)]
async fn only_an_agent_that_was_given_the_tool_may_ask() {
    let mut desk = Desk::with(Setup::default().tool(look())).await;
    desk.go(&[which()]).await;
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, format!("There is no tool named {ASK_USER}."))]);
    let shown = |desk: &Desk| {
        let request = desk.kit.model().requests().remove(0);
        request.tools.iter().any(|tool| tool.name.as_str() == ASK_USER)
    };
    assert!(!shown(&desk));
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    desk.asked().await;
    assert!(shown(&desk));
}

#[tokio::test(start_paused = true)]
async fn nothing_in_a_question_is_invisible() {
    let mut desk = Desk::new().await;
    let question = "Pay \u{202e}eve?\u{200b}\n“Yes” or no";
    let form = json!({"properties": {"a": {"title": "A\u{2066}", "description": "b\u{7}"}}});
    desk.go(&[(ASK_USER, json!({"question": question, "form": form}))]).await;
    let asked = desk.asked().await;
    assert_eq!(asked.text, "Pay \\u{202e}eve?\\u{200b}\n“Yes” or no");
    let field = &asked.form.unwrap()["properties"]["a"];
    assert_eq!((&field["title"], &field["description"]), (&json!(r"A\u{2066}"), &json!(r"b\u{7}")));
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_answers_at_once_the_first_counts() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    let answers = (0..100).map(|i| {
        let (gateway, question) = (desk.kit.gateway().clone(), asked.question);
        async move {
            let answers = json!({"answer": format!("{i}")});
            gateway.answer(&caller("default", "bob"), Answer { question, answers }).await.unwrap()
        }
    });
    let answers = futures_util::future::join_all(answers).await;
    let first: Vec<&QuestionView> = answers.iter().filter(|answer| !answer.already).collect();
    assert_eq!(first.len(), 1);
    assert!(answers.iter().all(|answer| answer.answered == first[0].answered));
    desk.client.until_turn_ends().await;
    let log = desk.log().await;
    check_log(&log);
    assert_eq!(count(&log, |event| matches!(event, Event::QuestionAnswered(_))), 1);
    assert_eq!(count(&log, |event| matches!(event, Event::ToolFinished(_))), 1);
    let said = &first[0].answered.as_ref().unwrap().answers["answer"];
    assert_eq!(results(&desk.kit), [(false, said.as_str().unwrap().to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn silence_ends_a_question_when_the_time_is_over() {
    let mut desk = Desk::new().await;
    let overrides = Overrides { approval_secs: Some(120), ..Overrides::default() };
    desk.go_with(&[which()], NewInput { overrides, ..says("go") }).await;
    let asked = desk.asked().await;
    desk.kit.clock().advance(Duration::from_secs(119));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(desk.open().await.len(), 1);
    desk.kit.clock().advance(Duration::from_secs(1));
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, "Nobody answered in time.".to_owned())]);
    assert_eq!(finished(&desk.client)[0].outcome, ToolOutcome::Error);
    let late = desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    assert_eq!((late.state(), late.already), (QuestionState::Expired, true));
    assert_eq!(late.answered.unwrap().by.as_str(), "gateway");
    check_log(&desk.log().await);
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_comes_too_late_is_none_even_if_nobody_looked_at_the_clock() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    desk.at_rest().await;
    desk.kit.clock().advance(Duration::from_secs(24 * 3600));
    let late = desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    assert_eq!((late.state(), late.already), (QuestionState::Expired, true));
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, "Nobody answered in time.".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_while_the_server_is_down() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    desk.asked().await;
    desk.at_rest().await;
    desk.kit.crash().await;
    desk.kit.clock().advance(Duration::from_secs(24 * 3600));
    desk.restart().await;
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, "Nobody answered in time.".to_owned())]);
    assert_eq!(attempts(&desk.log().await), 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_asked_survives_restarts_without_costing_an_attempt() {
    let mut desk = Desk::new().await;
    desk.go(&[which(), ("look", json!({}))]).await;
    let asked = desk.asked().await;
    desk.at_rest().await;
    for _ in 0..5 {
        desk.restart().await;
        assert_eq!(desk.kit.gateway().running_turns(), 0);
        assert_eq!(desk.session.view().await.unwrap().state, SessionState::Waiting);
    }
    desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    desk.client.until_turn_ends().await;
    let log = desk.log().await;
    check_log(&log);
    assert_eq!(attempts(&log), 0);
    assert_eq!(results(&desk.kit), [(false, "blue".to_owned()), (false, "done".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_ended_while_its_question_waits_is_woken_by_time_and_by_an_answer() {
    for expires in [true, false] {
        let mut desk = Desk::new().await;
        desk.go(&[which()]).await;
        let asked = desk.asked().await;
        desk.at_rest().await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        if expires {
            desk.kit.clock().advance(Duration::from_secs(24 * 3600));
        } else {
            desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
        }
        desk.client.until_turn_ends().await;
        assert_eq!(results(&desk.kit)[0].0, expires);
    }
}

#[tokio::test(start_paused = true)]
async fn the_model_waits_for_every_question_and_approval_and_nothing_runs_between_them() {
    let mut desk = Desk::new().await;
    desk.go(&[which(), ("send", json!({})), (ASK_USER, json!({"question": "How many?"}))]).await;
    let (first, second) = (desk.asked().await, desk.asked().await);
    desk.at_rest().await;
    let approvals = desk.kit.gateway().approvals(&bob(), AskQuery::default()).await.unwrap();
    assert_eq!((approvals.len(), desk.open().await.len()), (1, 2));
    desk.kit.clock().advance(Duration::from_secs(1));
    desk.answer(&first, json!({"answer": "blue"})).await.unwrap();
    desk.client.until(|event| matches!(event, Event::QuestionAnswered(_))).await;
    let rested = desk.client.view.notices.clone();
    tokio::time::sleep(Duration::from_secs(60)).await;
    let approval = approvals[0].request.approval;
    let decision = Decision::Deny;
    let resolve = Resolve { approval, decision, arguments: None, reason: None, remember: None };
    desk.session.resolve(resolve).await.unwrap();
    desk.client.until(|event| matches!(event, Event::ApprovalResolved(_))).await;
    assert_eq!(desk.client.view.notices, rested, "no task was started while others held the turn up");
    desk.client
        .until(|event| matches!(event, Event::ToolFinished(f) if f.outcome == ToolOutcome::Denied))
        .await;
    desk.at_rest().await;
    assert_eq!(desk.kit.model().requests().len(), 1);
    desk.answer(&second, json!({"answer": "two"})).await.unwrap();
    desk.client.until_turn_ends().await;
    let told: Vec<_> = results(&desk.kit).into_iter().map(|(_, text)| text).collect();
    assert_eq!((told[0].as_str(), told[2].as_str()), ("blue", "two"));
    let log = desk.log().await;
    check_log(&log);
    assert_eq!(attempts(&log), 0);
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_asked_is_cancelled_at_once_and_nobody_is_asked_any_more() {
    let mut desk = Desk::new().await;
    desk.go(&[which(), which()]).await;
    let asked = desk.asked().await;
    desk.asked().await;
    desk.at_rest().await;
    let cancelled = desk.session.cancel(Cancel::default()).await.unwrap();
    assert_eq!((cancelled.turn, cancelled.stopped.len()), (Some(asked.turn), 2));
    let ended = desk.client.until_turn_ends().await;
    assert_eq!(turn_cancelled(&ended).by.as_str(), "bob");
    let outcomes: Vec<_> = finished(&desk.client).into_iter().map(|finished| finished.outcome).collect();
    assert_eq!(outcomes, [ToolOutcome::Cancelled, ToolOutcome::Cancelled]);
    let late = desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    assert_eq!((late.state(), late.already), (QuestionState::Closed, true));
    assert_eq!(desk.open().await, []);
    desk.session.submit(says("and now?")).await.unwrap();
    desk.client.until_turns_end(2).await;
    check_log(&desk.log().await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_asks_nobody_and_a_fork_never_did() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    desk.at_rest().await;
    let fork = desk.kit.gateway().fork(&bob(), &desk.session, None, None).await.unwrap().view;
    assert_eq!(fork.state, SessionState::Idle);
    assert_eq!(desk.open().await.len(), 1, "the fork asks nobody");
    let forked = desk.kit.open(fork.id).await;
    let answer = Answer { question: asked.question, answers: json!({"answer": "blue"}) };
    assert_eq!(forked.answer(answer).await.unwrap_err().code, ErrorCode::NotFound);
    desk.session.delete().await.unwrap();
    desk.client.until(|event| matches!(event, Event::SessionDeleted(_))).await;
    assert!(desk.client.view.kinds().contains(&"question.answered"), "followers are told");
    assert_eq!(desk.open().await, []);
    let gone = desk.kit.gateway().question(&bob(), asked.question).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
}

#[tokio::test(start_paused = true)]
async fn an_answer_during_a_shutdown_is_kept_and_gone_on_with_at_the_next_start() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    desk.at_rest().await;
    desk.kit.gateway().draining().cancel();
    desk.answer(&asked, json!({"answer": "blue"})).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(desk.kit.model().requests().len(), 1, "a server that goes away starts nothing");
    desk.restart().await;
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(false, "blue".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn a_question_is_seen_and_answered_by_those_who_may_and_is_not_there_for_others() {
    let mut desk = Desk::new().await;
    desk.go(&[which()]).await;
    let asked = desk.asked().await;
    desk.at_rest().await;
    let gateway = desk.kit.gateway().clone();
    let answer = || Answer { question: asked.question, answers: json!({"answer": "blue"}) };
    for stranger in [caller("default", "eve"), caller("other", "bob")] {
        assert_eq!(gateway.questions(&stranger, AskQuery::default()).await.unwrap(), []);
        let refused = gateway.question(&stranger, asked.question).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound);
        assert_eq!(gateway.answer(&stranger, answer()).await.unwrap_err().code, ErrorCode::NotFound);
    }
    let reader = narrowed("default", "bob", &[Scope::SessionsRead], Default::default());
    assert_eq!(gateway.questions(&reader, AskQuery::default()).await.unwrap().len(), 1);
    assert_eq!(gateway.answer(&reader, answer()).await.unwrap_err().code, ErrorCode::Forbidden);
    assert_eq!(desk.open().await.len(), 1);
    let view = gateway.answer(&admin(), answer()).await.unwrap();
    assert_eq!(view.answered.as_ref().unwrap().by.as_str(), "admin");
    desk.client.until_turn_ends().await;
    assert_eq!(gateway.question(&bob(), asked.question).await.unwrap(), view);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_kept_asks_and_is_answered_too() {
    let desk = Desk::new().await;
    let ephemeral = desk.kit.gateway().ephemeral(&bob(), "native", Default::default()).await.unwrap();
    let session = ephemeral.handle();
    let mut client = Client::new(session.follow(None));
    desk.kit.model().push([Script::calls(&[which()])]);
    session.submit(says("go")).await.unwrap();
    let asked = client.until(|event| matches!(event, Event::QuestionAsked(_))).await;
    let Event::QuestionAsked(asked) = asked.event else { unreachable!("it was looked for") };
    let answer = Answer { question: asked.question, answers: json!({"answer": "blue"}) };
    assert_eq!(session.answer(answer).await.unwrap().state(), QuestionState::Answered);
    client.until_turn_ends().await;
}

/// Asks once, and speaks when it has the answer.
fn asker() -> ScriptedModel {
    ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        let asked =
            request.messages.iter().any(|message| matches!(&***message, PromptMessage::ToolResult { .. }));
        if asked { Script::says("Good.") } else { Script::calls(&[which()]) }
    })
}

/// Answers everything until a turn has ended.
async fn answer_all(kit: &TestGateway, client: &mut Client) {
    while client.view.ended_turns() == 0 {
        client.next().await;
        for view in kit.gateway().questions(&bob(), AskQuery::default()).await.unwrap() {
            let answer = Answer { question: view.asked.question, answers: json!({"answer": "blue"}) };
            kit.gateway().answer(&bob(), answer).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_once_whatever_append_the_server_dies_at() {
    let mut deaths = 0;
    for death in [Death::Before, Death::After] {
        // The first append began the session, the second takes the input.
        for at in 3..40 {
            let mut desk = Desk::with(curious().model(asker())).await;
            desk.kit.store().die_at(at, death);
            desk.session.submit(says("go")).await.unwrap();
            let died = tokio::select! {
                () = desk.kit.store().died() => true,
                () = answer_all(&desk.kit, &mut desk.client) => false,
            };
            if !died {
                break;
            }
            deaths += 1;
            desk.restart().await;
            answer_all(&desk.kit, &mut desk.client).await;
            let log = desk.log().await;
            check_log(&log);
            for kind in ["question.asked", "question.answered", "tool.called", "tool.finished"] {
                let times = count(&log, |event| event.kind() == kind);
                assert_eq!(times, 1, "died at append {at}: {kind}");
            }
            let told = finished(&desk.client).remove(0);
            assert_eq!((told.outcome, told.data), (ToolOutcome::Ok, Some(json!({"answer": "blue"}))));
        }
    }
    assert!(deaths >= 8, "{deaths}");
}
