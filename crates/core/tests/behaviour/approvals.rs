//! Calls that wait for a person: asked, decided, gone on with, through restarts.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use moongate_core::{
    Append, ApprovalView, AskFilter, AskQuery, CallerLimits, NewSession, PromptMessage, Record, Refusal,
    Scope, SessionHandle, SessionRow, Summary, ToolPolicies, ToolPolicy,
};
use moongate_protocol::{
    ApprovalRequested, ApprovalResolved, ApprovalState, Cancel, Decision, Effect, Envelope, ErrorCode, Event,
    Ground, NewInput, Notice, Overrides, PolicyPreset, RememberRule, RememberScope, Requirement, Resolve,
    SessionPatch, SessionState, ToolCalled, ToolOutcome, WaitingOn,
};
use moongate_testkit::{
    CallLedger, Client, Death, Gate, MODEL, Script, ScriptedModel, ScriptedTool, Setup, TestGateway, admin,
    bob, caller, narrowed, says,
};
use serde_json::{Value, json};

use crate::{
    recovery::check_log,
    tools::{finished, look, results},
    turn_cancelled,
};

/// A tool that changes the world, and says so in a file.
fn send(ledger: &CallLedger) -> ScriptedTool {
    let schema = json!({"type": "object", "properties": {"to": {"type": "string", "minLength": 1}}});
    ScriptedTool::new("send", Effect::Effect).takes(schema).written_in(ledger)
}

struct Desk {
    kit: TestGateway,
    session: SessionHandle,
    client: Client,
    ledger: CallLedger,
    _folder: tempfile::TempDir,
}

impl Desk {
    /// An agent that may look and, if a person lets it, send.
    async fn new() -> Self {
        Self::with(|setup| setup).await
    }

    async fn with(change: impl FnOnce(Setup) -> Setup) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let ledger = CallLedger::open(&folder.path().join("runs"));
        let setup = Setup { policy: PolicyPreset::Ask, ..Setup::default() }.tool(send(&ledger)).tool(look());
        let kit = change(setup).start().await;
        let session = kit.session().await;
        let client = kit.client(session.id()).await;
        Self { kit, session, client, ledger, _folder: folder }
    }

    /// Says something that makes the model ask for these calls.
    async fn go(&mut self, calls: &[(&str, Value)]) {
        self.go_with(calls, says("go")).await;
    }

    async fn go_with(&mut self, calls: &[(&str, Value)], input: NewInput) {
        self.kit.model().push([Script::calls(calls)]);
        self.session.submit(input).await.unwrap();
    }

    async fn asked(&mut self) -> ApprovalRequested {
        let asked = self.client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
        let Event::ApprovalRequested(request) = asked.event else { unreachable!("it was looked for") };
        request
    }

    /// Waits until nothing of the turn runs.
    async fn at_rest(&self) {
        while self.kit.gateway().running_turns() > 0 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    async fn decide(&self, request: &ApprovalRequested, decision: Decision) -> Result<ApprovalView, Refusal> {
        self.session.resolve(word(request, decision)).await
    }

    fn runs(&self) -> usize {
        self.ledger.runs().values().sum()
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

fn word(request: &ApprovalRequested, decision: Decision) -> Resolve {
    let approval = request.approval;
    Resolve { approval, decision, arguments: None, reason: None, remember: None }
}

fn calls(log: &[Envelope]) -> Vec<ToolCalled> {
    let called = log.iter().filter_map(|envelope| match &envelope.event {
        Event::ToolCalled(called) => Some(called.clone()),
        _ => None,
    });
    called.collect()
}

fn attempts(log: &[Envelope]) -> usize {
    log.iter().filter(|envelope| matches!(envelope.event, Event::TurnResumed(_))).count()
}

#[tokio::test(start_paused = true)]
async fn a_call_that_needs_a_person_runs_when_one_says_so_and_not_before() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({"to": "eve"}))]).await;
    let request = desk.asked().await;
    assert_eq!((request.tool.as_str(), &request.arguments), ("send", &json!({"to": "eve"})));
    assert_eq!(request.plan, r#"send {"to":"eve"}"#);
    assert_eq!(request.requirement, Requirement::UnlessAutoApproved);
    desk.at_rest().await;
    let waits = |notice: &Notice| matches!(notice, Notice::Waiting { on: WaitingOn::Approval, .. });
    while !desk.client.view.notices.iter().any(waits) {
        desk.client.next().await;
    }
    assert_eq!(desk.session.view().await.unwrap().state, SessionState::Waiting);
    tokio::time::sleep(Duration::from_secs(3600)).await;
    assert_eq!((desk.runs(), desk.kit.model().requests().len()), (0, 1));
    let view = desk.decide(&request, Decision::Approve).await.unwrap();
    assert_eq!((view.state(), view.already), (ApprovalState::Approved, false));
    assert_eq!(view.resolved.unwrap().by.as_str(), "bob");
    desk.client.until_turn_ends().await;
    assert_eq!(desk.runs(), 1);
    assert_eq!(results(&desk.kit), [(false, "done".to_owned())]);
    let log = desk.log().await;
    check_log(&log);
    let called = calls(&log).remove(0);
    assert_eq!(called.ground, Ground::Approval { approval: request.approval });
    assert_eq!(called.hash, request.hash, "what ran is what was approved");
    assert_eq!(attempts(&log), 0);
}

#[tokio::test(start_paused = true)]
async fn a_denied_call_never_runs_and_the_model_is_told() {
    for (reason, told) in [
        (None, "Tool call 'send' was denied by the user."),
        (Some("not her"), "Tool call 'send' was denied by the user. Reason: not her"),
    ] {
        let mut desk = Desk::new().await;
        desk.go(&[("send", json!({"to": "eve"}))]).await;
        let request = desk.asked().await;
        let resolve = Resolve { reason: reason.map(str::to_owned), ..word(&request, Decision::Deny) };
        assert_eq!(desk.session.resolve(resolve).await.unwrap().state(), ApprovalState::Denied);
        desk.client.until_turn_ends().await;
        assert_eq!((desk.runs(), results(&desk.kit)), (0, vec![(true, told.to_owned())]));
        assert_eq!(finished(&desk.client)[0].outcome, ToolOutcome::Denied);
        assert_eq!(desk.client.view.answers().last().unwrap(), "ok", "the turn goes on");
    }
}

#[tokio::test(start_paused = true)]
async fn silence_is_a_no_when_the_time_is_over() {
    let mut desk = Desk::new().await;
    let overrides = Overrides { approval_secs: Some(120), ..Overrides::default() };
    desk.go_with(&[("send", json!({}))], NewInput { overrides, ..says("go") }).await;
    let request = desk.asked().await;
    desk.kit.clock().advance(Duration::from_secs(119));
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert_eq!(desk.kit.gateway().approvals(&bob(), AskQuery::default()).await.unwrap().len(), 1);
    desk.kit.clock().advance(Duration::from_secs(1));
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, "Tool call 'send' was not approved in time.".to_owned())]);
    let late = desk.decide(&request, Decision::Approve).await.unwrap();
    assert_eq!((late.state(), late.already), (ApprovalState::Expired, true));
    assert_eq!((late.resolved.unwrap().by.as_str(), desk.runs()), ("gateway", 0));
}

#[tokio::test(start_paused = true)]
async fn a_yes_that_comes_too_late_is_a_no_even_if_nobody_looked_at_the_clock() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    desk.kit.clock().advance(Duration::from_secs(24 * 3600));
    let late = desk.decide(&request, Decision::Approve).await.unwrap();
    assert_eq!((late.state(), late.already), (ApprovalState::Expired, true));
    desk.client.until_turn_ends().await;
    assert_eq!(desk.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn of_a_hundred_answers_at_once_the_first_counts() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    let answers = (0..100).map(|i| {
        let (gateway, request) = (desk.kit.gateway().clone(), request.clone());
        async move {
            let decision = if i % 2 == 0 { Decision::Deny } else { Decision::Approve };
            let who = caller("default", "bob");
            gateway.resolve(&who, word(&request, decision)).await.unwrap()
        }
    });
    let answers = futures_util::future::join_all(answers).await;
    let first: Vec<&ApprovalView> = answers.iter().filter(|answer| !answer.already).collect();
    assert_eq!(first.len(), 1);
    assert!(answers.iter().all(|answer| answer.resolved == first[0].resolved));
    desk.client.until_turn_ends().await;
    let log = desk.log().await;
    let decided = log.iter().filter(|e| matches!(e.event, Event::ApprovalResolved(_))).count();
    let approved = first[0].state() == ApprovalState::Approved;
    assert_eq!((decided, desk.runs()), (1, usize::from(approved)));
}

#[tokio::test(start_paused = true)]
async fn changed_arguments_are_checked_and_are_what_runs_and_what_the_model_is_told() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({"to": "eve"}))]).await;
    let request = desk.asked().await;
    let with = |arguments| Resolve { arguments: Some(arguments), ..word(&request, Decision::Approve) };
    for wrong in [json!({"to": 7}), json!({"to": ""}), json!([]), json!("x")] {
        let refused = desk.session.resolve(with(wrong)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unprocessable, "{refused}");
    }
    let nothing = Resolve { arguments: Some(json!({})), ..word(&request, Decision::Deny) };
    assert_eq!(desk.session.resolve(nothing).await.unwrap_err().code, ErrorCode::Unprocessable);
    assert_eq!(desk.runs(), 0);
    desk.session.resolve(with(json!({"to": "ann"}))).await.unwrap();
    desk.client.until_turn_ends().await;
    let called = calls(&desk.log().await).remove(0);
    assert_eq!(called.arguments, json!({"to": "ann"}));
    assert_ne!(called.hash, request.hash);
    let told = results(&desk.kit).remove(0).1;
    assert!(told.contains(r#"ran with {"to":"ann"}"#) && told.ends_with("done"), "{told}");
    let view = desk.kit.gateway().approval(&bob(), request.approval).await.unwrap();
    assert_eq!(view.resolved.unwrap().hash, Some(called.hash));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_survives_restarts_without_costing_an_attempt() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({"to": "eve"})), ("look", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    for _ in 0..5 {
        desk.restart().await;
        assert_eq!(desk.kit.gateway().running_turns(), 0);
        assert_eq!(desk.session.view().await.unwrap().state, SessionState::Waiting);
    }
    desk.decide(&request, Decision::Approve).await.unwrap();
    desk.client.until_turn_ends().await;
    let log = desk.log().await;
    check_log(&log);
    assert_eq!((desk.runs(), attempts(&log)), (1, 0));
    assert_eq!(results(&desk.kit), [(false, "done".to_owned()), (false, "done".to_owned())]);
}

#[tokio::test(start_paused = true)]
async fn time_goes_on_while_the_server_is_down() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    desk.asked().await;
    desk.at_rest().await;
    desk.kit.crash().await;
    desk.kit.clock().advance(Duration::from_secs(24 * 3600));
    desk.restart().await;
    desk.client.until_turn_ends().await;
    assert_eq!(results(&desk.kit), [(true, "Tool call 'send' was not approved in time.".to_owned())]);
    assert_eq!((desk.runs(), attempts(&desk.log().await)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn an_actor_that_ended_while_its_turn_waits_is_woken_by_time_and_by_a_word() {
    for expires in [true, false] {
        let mut desk = Desk::new().await;
        desk.go(&[("send", json!({}))]).await;
        let request = desk.asked().await;
        desk.at_rest().await;
        tokio::time::sleep(Duration::from_secs(600)).await;
        if expires {
            desk.kit.clock().advance(Duration::from_secs(24 * 3600));
        } else {
            desk.decide(&request, Decision::Approve).await.unwrap();
        }
        desk.client.until_turn_ends().await;
        assert_eq!(desk.runs(), usize::from(!expires));
    }
}

#[tokio::test(start_paused = true)]
async fn parallel_calls_run_as_each_is_decided_and_the_model_waits_for_all() {
    let gate = Gate::new();
    let slow = ScriptedTool::new("slow", Effect::Read).waits_at(&gate);
    let mut desk = Desk::with(|setup| setup.tool(slow)).await;
    let all = [("send", json!({"to": "a"})), ("slow", json!({})), ("send", json!({"to": "b"}))];
    desk.go(&all).await;
    let (first, second) = (desk.asked().await, desk.asked().await);
    gate.reached().await;
    // While a sibling runs, what is approved runs too.
    desk.decide(&second, Decision::Approve).await.unwrap();
    desk.client.until(|event| matches!(event, Event::ToolFinished(f) if f.call == second.call)).await;
    assert_eq!((desk.runs(), desk.kit.model().requests().len()), (1, 1));
    gate.open();
    desk.client.until(|event| matches!(event, Event::ToolFinished(_))).await;
    desk.at_rest().await;
    assert_eq!(desk.kit.model().requests().len(), 1);
    desk.decide(&first, Decision::Deny).await.unwrap();
    desk.client.until_turn_ends().await;
    let told: Vec<bool> = results(&desk.kit).into_iter().map(|(is_error, _)| is_error).collect();
    assert_eq!(told, [true, false, false]);
    let log = desk.log().await;
    check_log(&log);
    assert_eq!((desk.runs(), attempts(&log)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn a_turn_that_waits_is_cancelled_at_once_and_nothing_of_it_stays_open() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({})), ("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.asked().await;
    desk.at_rest().await;
    let cancelled = desk.session.cancel(Cancel::default()).await.unwrap();
    assert_eq!((cancelled.turn, cancelled.stopped.len()), (Some(request.turn), 2));
    let ended = desk.client.until_turn_ends().await;
    assert_eq!(turn_cancelled(&ended).by.as_str(), "bob");
    let outcomes: Vec<_> = finished(&desk.client).into_iter().map(|finished| finished.outcome).collect();
    assert_eq!(outcomes, [ToolOutcome::Cancelled, ToolOutcome::Cancelled]);
    let late = desk.decide(&request, Decision::Approve).await.unwrap();
    assert_eq!((late.state(), late.already), (ApprovalState::Denied, true));
    assert_eq!(desk.kit.gateway().approvals(&bob(), AskQuery::default()).await.unwrap(), []);
    desk.session.submit(says("and now?")).await.unwrap();
    desk.client.until_turns_end(2).await;
    assert_eq!(desk.runs(), 0);
    check_log(&desk.log().await);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_deleted_while_its_turn_waits_leaves_nothing() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    desk.session.delete().await.unwrap();
    let kinds = async {
        desk.client.until(|event| matches!(event, Event::SessionDeleted(_))).await;
        desk.client.view.kinds().contains(&"approval.resolved")
    };
    assert!(kinds.await, "followers are told that nobody is asked any more");
    let gone = desk.kit.gateway().approval(&bob(), request.approval).await.unwrap_err();
    assert_eq!(gone.code, ErrorCode::NotFound);
    desk.kit.clock().advance(Duration::from_secs(48 * 3600));
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(desk.runs(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_word_during_a_shutdown_is_kept_and_gone_on_with_at_the_next_start() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    desk.kit.gateway().draining().cancel();
    desk.decide(&request, Decision::Approve).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(desk.runs(), 0, "a server that goes away starts nothing");
    desk.restart().await;
    desk.client.until_turn_ends().await;
    assert_eq!((desk.runs(), attempts(&desk.log().await)), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_answers_for_calls_like_it_in_this_session_only() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({"to": "eve"}))]).await;
    let request = desk.asked().await;
    let rule = |scope, rule: &str| Resolve {
        remember: Some(RememberRule { scope, rule: rule.to_owned() }),
        ..word(&request, Decision::Approve)
    };
    for (scope, wrong) in [
        (RememberScope::Agent, "send"),
        (RememberScope::Session, ""),
        (RememberScope::Session, "look"),
        (RememberScope::Session, r#"send {"to":"ann"}"#),
        (RememberScope::Session, "send {not json"),
        (RememberScope::Session, "send *"),
    ] {
        let refused = desk.session.resolve(rule(scope, wrong)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::Unprocessable, "{wrong}: {refused}");
    }
    let narrow = r#"send {"to": "eve"}"#;
    desk.session.resolve(rule(RememberScope::Session, narrow)).await.unwrap();
    desk.client.until_turn_ends().await;
    desk.restart().await;
    desk.go(&[("send", json!({"to": "eve"})), ("send", json!({"to": "ann"}))]).await;
    let other = desk
        .client
        .until(|event| matches!(event, Event::ApprovalRequested(r) if r.approval != request.approval));
    let Event::ApprovalRequested(other) = other.await.event else { unreachable!("it was looked for") };
    assert_eq!(other.arguments, json!({"to": "ann"}));
    desk.decide(&other, Decision::Deny).await.unwrap();
    desk.client.until_turns_end(2).await;
    assert_eq!(desk.runs(), 2);
    let grounds: Vec<Ground> = calls(&desk.log().await).into_iter().map(|called| called.ground).collect();
    assert_eq!(grounds[1], Ground::Rule { rule: narrow.into() });
    // Neither another session nor a fork knows it.
    let fork = desk.kit.gateway().fork(&bob(), &desk.session, None, None).await.unwrap().view.id;
    for session in [desk.kit.session().await, desk.kit.open(fork).await] {
        desk.kit.model().push([Script::calls(&[("send", json!({"to": "eve"}))])]);
        let mut client = Client::new(session.follow_live());
        session.submit(says("go")).await.unwrap();
        client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_session_that_approves_by_itself_asks_only_where_a_tool_always_does() {
    let strict = ScriptedTool::new("fire", Effect::Effect).requires(Requirement::Always);
    let mut desk = Desk::with(|setup| setup.tool(strict)).await;
    let patch = SessionPatch { auto_approve: Some(true), ..SessionPatch::default() };
    assert_eq!(desk.session.update(patch.clone()).await.unwrap_err().code, ErrorCode::Forbidden);
    let chief = desk.kit.gateway().session(&admin(), desk.session.id()).await.unwrap();
    assert!(chief.update(patch).await.unwrap().rules.auto_approve);
    desk.go(&[("send", json!({})), ("fire", json!({}))]).await;
    let request = desk.asked().await;
    assert_eq!((request.tool.as_str(), request.requirement), ("fire", Requirement::Always));
    desk.decide(&request, Decision::Deny).await.unwrap();
    desk.client.until_turn_ends().await;
    let called = calls(&desk.log().await);
    assert_eq!(called.len(), 1);
    assert_eq!((called[0].tool.as_str(), &called[0].ground), ("send", &Ground::AutoApproval));
    let audit = desk.kit.disk().audit_entries(&"default".parse().unwrap(), 9).await.unwrap();
    let said: Vec<_> = audit.iter().map(|entry| (entry.principal.as_str(), entry.action.as_str())).collect();
    let auto = [("policy", "tool.auto_approved"), ("admin", "session.policy_changed")];
    assert!(
        said.contains(&("bob", "approval.denied")) && auto.iter().all(|one| said.contains(one)),
        "{said:?}"
    );
    // Another session of the same person, and a fork of this one, ask.
    let fork = desk.kit.gateway().fork(&bob(), &desk.session, None, None).await.unwrap().view.id;
    for session in [desk.kit.session().await, desk.kit.open(fork).await] {
        desk.kit.model().push([Script::calls(&[("send", json!({}))])]);
        let mut client = Client::new(session.follow_live());
        session.submit(says("go")).await.unwrap();
        client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
    }
    assert_eq!(desk.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_approval_is_seen_and_decided_by_those_who_may_and_is_not_there_for_others() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    let gateway = desk.kit.gateway().clone();
    let open = AskQuery::default();
    let strangers = [caller("default", "eve"), caller("other", "bob")];
    for stranger in &strangers {
        assert_eq!(gateway.approvals(stranger, open.clone()).await.unwrap(), []);
        assert_eq!(gateway.approval(stranger, request.approval).await.unwrap_err().code, ErrorCode::NotFound);
        let refused = gateway.resolve(stranger, word(&request, Decision::Approve)).await.unwrap_err();
        assert_eq!(refused.code, ErrorCode::NotFound);
    }
    let reader = narrowed("default", "bob", &[Scope::SessionsRead], Default::default());
    assert_eq!(gateway.approvals(&reader, open.clone()).await.unwrap().len(), 1);
    let refused = gateway.resolve(&reader, word(&request, Decision::Approve)).await.unwrap_err();
    assert_eq!(refused.code, ErrorCode::Forbidden);
    assert_eq!(gateway.approvals(&admin(), open.clone()).await.unwrap().len(), 1);
    assert_eq!(desk.runs(), 0);
    let view = gateway.resolve(&admin(), word(&request, Decision::Approve)).await.unwrap();
    assert_eq!(view.resolved.as_ref().unwrap().by.as_str(), "admin");
    desk.client.until_turn_ends().await;
    let decided = AskQuery { filter: AskFilter::Closed, ..open };
    assert_eq!(gateway.approvals(&bob(), decided).await.unwrap(), [view]);
}

#[tokio::test(start_paused = true)]
async fn a_no_of_the_policy_counts_more_than_a_persons_yes() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    let patch = SessionPatch { policy: Some(PolicyPreset::ReadOnly), ..SessionPatch::default() };
    let chief = desk.kit.gateway().session(&admin(), desk.session.id()).await.unwrap();
    chief.update(patch).await.unwrap();
    desk.decide(&request, Decision::Approve).await.unwrap();
    desk.client.until_turn_ends().await;
    assert_eq!((desk.runs(), results(&desk.kit)[0].0), (0, true));
}

/// Asks for a call that needs a person, and speaks when it has the result.
fn sender() -> ScriptedModel {
    ScriptedModel::answering(MODEL.parse().unwrap(), |request, _| {
        let asked =
            request.messages.iter().any(|message| matches!(&***message, PromptMessage::ToolResult { .. }));
        if asked { Script::says("Sent.") } else { Script::calls(&[("send", json!({}))]) }
    })
}

/// Says yes to everything until a turn has ended.
async fn approve_all(kit: &TestGateway, client: &mut Client) {
    while client.view.ended_turns() == 0 {
        client.next().await;
        for view in kit.gateway().approvals(&bob(), AskQuery::default()).await.unwrap() {
            kit.gateway().resolve(&bob(), word(&view.request, Decision::Approve)).await.unwrap();
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_approved_call_never_runs_twice_whatever_append_the_server_dies_at() {
    let mut runs = BTreeMap::new();
    for death in [Death::Before, Death::After] {
        // The first append began the session, the second takes the input.
        for at in 3..40 {
            let mut desk = Desk::with(|setup| setup.model(sender())).await;
            desk.kit.store().die_at(at, death);
            desk.session.submit(says("go")).await.unwrap();
            let died = tokio::select! {
                () = desk.kit.store().died() => true,
                () = approve_all(&desk.kit, &mut desk.client) => false,
            };
            if !died {
                break;
            }
            desk.restart().await;
            approve_all(&desk.kit, &mut desk.client).await;
            let log = desk.log().await;
            check_log(&log);
            assert!(desk.runs() <= 1, "died at append {at}");
            assert_eq!(calls(&log).len(), 1, "died at append {at}: {log:#?}");
            *runs.entry(desk.runs()).or_insert(0) += 1;
        }
    }
    // Where it died between saying that it runs and running, nobody can know: it is not run again.
    assert!(runs[&1] > runs[&0] && runs.values().sum::<usize>() > 10, "{runs:?}");
}

#[tokio::test(start_paused = true)]
async fn what_a_namespace_may_not_use_is_not_shown_and_does_not_run() {
    let beneath = |path: &str, policy| (path.parse().unwrap(), policy);
    let names = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let policies = ToolPolicies::new(
        ToolPolicy::Deny(names(&["fire*"])),
        [
            beneath("tenant:acme", ToolPolicy::Deny(names(&["send"]))),
            beneath("tenant:acme:user:bob", ToolPolicy::AllowAll),
            beneath("tenant:globex", ToolPolicy::Allow(names(&["se*"]))),
            beneath("tenant:shut", ToolPolicy::DenyAll),
        ],
    );
    for (namespace, shown) in [
        ("tenant:acme:user:bob", &["look"][..]),
        ("tenant:acmeish", &["look", "send"]),
        ("tenant:globex", &["send"]),
        ("tenant:shut:up", &[]),
    ] {
        let ledger_folder = tempfile::tempdir().unwrap();
        let ledger = CallLedger::open(&ledger_folder.path().join("runs"));
        let setup = Setup { tool_policies: policies.clone(), ..Setup::default() };
        let fire = ScriptedTool::new("fire_all", Effect::Effect).written_in(&ledger);
        let kit = setup.tool(send(&ledger)).tool(look()).tool(fire).start().await;
        let new = NewSession { namespace: Some(namespace.parse().unwrap()), ..NewSession::default() };
        let created = kit.gateway().create(&bob(), "native", new).await.unwrap().view.id;
        let session = kit.open(created).await;
        let mut client = kit.client(created).await;
        kit.model().push([Script::calls(&[
            ("send", json!({})),
            ("look", json!({})),
            ("fire_all", json!({})),
        ])]);
        session.submit(says("go")).await.unwrap();
        client.until_turn_ends().await;
        let request = kit.model().requests().remove(0);
        let mut told: Vec<_> = request.tools.iter().map(|tool| tool.name.as_str().to_owned()).collect();
        told.sort();
        assert_eq!(told, shown, "{namespace}");
        for ((is_error, text), tool) in results(&kit).into_iter().zip(["send", "look", "fire_all"]) {
            assert_eq!(!is_error, shown.contains(&tool), "{namespace} {tool} {text}");
            if is_error {
                assert_eq!(text, format!("Tool '{tool}' is not allowed in this namespace."));
            }
        }
        assert_eq!(ledger.runs().len(), usize::from(shown.contains(&"send")));
        let audit = kit.disk().audit_entries(&"default".parse().unwrap(), 9).await.unwrap();
        let mut refused: Vec<_> = audit.iter().filter(|entry| entry.action == "tool.refused").collect();
        assert_eq!(refused.len(), 3 - shown.len(), "{audit:?}");
        let of = |tool: &str| refused.iter().any(|entry| entry.object.ends_with(&format!(" {tool}")));
        assert!(["send", "look", "fire_all"].into_iter().all(|tool| of(tool) != shown.contains(&tool)));
        refused.retain(|entry| entry.principal.as_str() != "policy");
        assert!(refused.is_empty(), "{refused:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn in_a_session_of_its_namespace_everybody_who_was_granted_it_decides() {
    let desk = Desk::new().await;
    let scopes = [Scope::SessionsRead, Scope::SessionsWrite, Scope::ApprovalsDecide];
    let granted = |who: &str, namespace: &str| {
        let namespaces = vec![namespace.parse().unwrap()];
        narrowed("default", who, &scopes, CallerLimits { namespaces, ..CallerLimits::default() })
    };
    let (ann, ben, eve) = (granted("ann", "team:a"), granted("ben", "team:a"), granted("eve", "team:b"));
    let namespace = Some("team:a".parse().unwrap());
    let new = NewSession { namespace, shared: true, ..NewSession::default() };
    let gateway = desk.kit.gateway().clone();
    let id = gateway.create(&ann, "native", new).await.unwrap().view.id;
    let session = gateway.session(&ann, id).await.unwrap();
    let mut client = Client::new(session.follow(None));
    desk.kit.model().push([Script::calls(&[("send", json!({}))])]);
    session.submit(says("go")).await.unwrap();
    client.until(|event| matches!(event, Event::ApprovalRequested(_))).await;
    let open = AskQuery { limit: 1, ..AskQuery::default() };
    assert_eq!(gateway.approvals(&eve, open.clone()).await.unwrap(), []);
    assert_eq!(gateway.approvals(&bob(), open.clone()).await.unwrap(), []);
    let seen = gateway.approvals(&ben, open).await.unwrap();
    gateway.resolve(&ben, word(&seen[0].request, Decision::Approve)).await.unwrap();
    client.until_turn_ends().await;
    assert_eq!(desk.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_session_that_is_not_kept_asks_and_is_answered_too() {
    let desk = Desk::new().await;
    let kit = &desk.kit;
    let ephemeral = kit.gateway().ephemeral(&bob(), "native", Default::default()).await.unwrap();
    let session = ephemeral.handle();
    let mut client = Client::new(session.follow(None));
    kit.model().push([Script::calls(&[("send", json!({}))]), Script::calls(&[("send", json!({}))])]);
    session.submit(says("go")).await.unwrap();
    let asked = |event: &Event| matches!(event, Event::ApprovalRequested(_));
    let Event::ApprovalRequested(request) = client.until(asked).await.event else {
        unreachable!("looked for")
    };
    assert_eq!(
        session.resolve(word(&request, Decision::Approve)).await.unwrap().state(),
        ApprovalState::Approved
    );
    client.until(asked).await;
    kit.clock().advance(Duration::from_secs(24 * 3600));
    client.until_turn_ends().await;
    assert_eq!(desk.runs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_yes_to_another_call_is_none_to_this_one() {
    let mut desk = Desk::new().await;
    desk.go(&[("send", json!({"to": "eve"}))]).await;
    let request = desk.asked().await;
    desk.at_rest().await;
    desk.kit.crash().await;
    // A log that says so, whoever wrote it: other arguments under the hash of those that were asked about.
    let mut log = desk.log().await;
    let last = log.last().unwrap().clone();
    let event = Event::ApprovalResolved(ApprovalResolved {
        turn: request.turn,
        approval: request.approval,
        decision: Decision::Approve,
        arguments: Some(json!({"to": "mallory"})),
        hash: None,
        reason: None,
        by: "bob".parse().unwrap(),
        remember: None,
    });
    let (expected, envelope) = (last.seq, Envelope { seq: last.seq.next(), event, ..last });
    log.push(envelope.clone());
    let view = Summary::fold(&log).unwrap().view().clone();
    let row = SessionRow { tenant: "default".parse().unwrap(), door: "native".into(), view };
    let records = vec![Arc::new(Record::new(envelope))];
    let disk = desk.kit.disk();
    let append = Append { fence: disk.fence(), expected, records, row, idempotency: None };
    disk.append(append).await.unwrap();
    desk.restart().await;
    desk.client.until_turn_ends().await;
    assert_eq!((desk.runs(), finished(&desk.client)[0].outcome), (0, ToolOutcome::Denied));
}
