//! What people were asked in a session's open turn and what they answered, and what they want remembered: a fold
//! of the log, and the decisions on it.

use std::collections::BTreeMap;

use moongate_protocol::{
    ApprovalId, ApprovalRequested, ApprovalResolved, CallId, Decision as Word, ErrorCode, Event, Principal,
    RememberRule, RememberScope, Resolve, Timestamp,
};
use serde_json::Value;

use super::{
    decide::{Context, Decision, TurnChange},
    state::State,
};
use crate::{
    Refusal,
    limits::{APPROVAL_REASON_BYTES, REMEMBERED_RULES},
    plan,
    rule::Rule,
};

/// A call somebody was asked about.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct AskedCall {
    pub(crate) request: ApprovalRequested,
    pub(crate) resolved: Option<ApprovalResolved>,
}

/// What became of the question whether a call may run.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Asked {
    /// Nobody answered yet.
    Open,
    /// It may, with these arguments where they were changed.
    Approved { approval: ApprovalId, arguments: Option<Value>, hash: String },
    /// It may not.
    Denied { reason: Option<String> },
    /// Nobody answered in time.
    Expired,
}

/// What people were asked, and what they want remembered.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Approvals {
    /// In the open turn.
    asked: BTreeMap<ApprovalId, AskedCall>,
    /// In the session, oldest first.
    rules: Vec<Rule>,
}

impl Approvals {
    pub(crate) fn apply(&mut self, event: &Event) {
        match event {
            Event::ApprovalRequested(request) => {
                let asked = AskedCall { request: request.clone(), resolved: None };
                self.asked.insert(request.approval, asked);
            }
            Event::ApprovalResolved(resolved) => {
                if let Some(asked) = self.asked.get_mut(&resolved.approval) {
                    asked.resolved.get_or_insert_with(|| resolved.clone());
                }
                let kept = resolved.remember.as_ref().filter(|kept| kept.scope == RememberScope::Session);
                self.rules.extend(kept.and_then(|kept| Rule::parse(&kept.rule, resolved.decision).ok()));
            }
            Event::SessionForked(_) => *self = Self::default(),
            Event::TurnStarted(_) => self.asked.clear(),
            event if event.ends_turn().is_some() => self.asked.clear(),
            _ => {}
        }
    }

    /// The questions nobody answered yet.
    pub(crate) fn open(&self) -> impl Iterator<Item = &ApprovalRequested> {
        self.asked.values().filter(|asked| asked.resolved.is_none()).map(|asked| &asked.request)
    }

    /// When the first open question becomes a no.
    pub(crate) fn next_expiry(&self) -> Option<Timestamp> {
        self.open().map(|request| request.expires_at).min()
    }

    /// What became of the question about a call, where there was one; of two the later.
    pub(crate) fn of_call(&self, call: &CallId) -> Option<Asked> {
        let asked = self.asked.values().rev().find(|asked| asked.request.call == *call)?;
        let Some(resolved) = &asked.resolved else { return Some(Asked::Open) };
        Some(match resolved.decision {
            Word::Approve => Asked::Approved {
                approval: resolved.approval,
                arguments: resolved.arguments.clone(),
                hash: resolved.hash.clone().unwrap_or_else(|| asked.request.hash.clone()),
            },
            Word::Deny if resolved.by == gateway() => Asked::Expired,
            Word::Deny => Asked::Denied { reason: resolved.reason.clone() },
        })
    }

    /// What people said before about such a call: a no before a yes.
    pub(crate) fn remembered(&self, request: &ApprovalRequested) -> Option<&Rule> {
        let about = |decision| {
            self.rules.iter().find(move |rule| rule.decision == decision && rule.is_about(request))
        };
        about(Word::Deny).or_else(|| about(Word::Approve))
    }
}

/// The gateway as a principal: who denies what nobody answered in time.
pub(crate) fn gateway() -> Principal {
    crate::Caller::gateway().principal().clone()
}

/// Decides on an approval.
///
/// # Errors
/// A refusal; the approval stays as it is then.
pub(super) fn resolve(state: &State, resolve: &Resolve, context: &Context<'_>) -> Result<Decision, Refusal> {
    let Some(asked) = state.approvals.asked.get(&resolve.approval) else {
        return Err(Refusal::not_found("open approval"));
    };
    let request = &asked.request;
    if asked.resolved.is_some() {
        return Ok(Decision { already: true, ..Decision::only(Vec::new()) });
    }
    if request.expires_at <= context.ids.now() {
        let late = vec![expired(request)];
        return Ok(Decision { change: TurnChange::Resume, already: true, ..Decision::only(late) });
    }
    if resolve.reason.as_ref().is_some_and(|reason| reason.len() > APPROVAL_REASON_BYTES) {
        let message = format!("a reason has at most {APPROVAL_REASON_BYTES} bytes");
        return Err(Refusal::new(ErrorCode::TooLarge, message));
    }
    let arguments = edited(request, resolve, context)?;
    let called = ApprovalRequested {
        arguments: arguments.clone().unwrap_or_else(|| request.arguments.clone()),
        ..request.clone()
    };
    let remember = resolve.remember.as_ref().map(|kept| remembered(state, kept, &called, resolve.decision));
    let session = state.view().id;
    let decided = Event::ApprovalResolved(ApprovalResolved {
        turn: request.turn,
        approval: request.approval,
        decision: resolve.decision,
        hash: arguments
            .as_ref()
            .map(|arguments| plan::hash(session, &request.call, (request.tool.as_str(), arguments), None)),
        arguments,
        reason: resolve.reason.clone(),
        by: context.by.clone(),
        remember: remember.transpose()?,
    });
    Ok(Decision { change: TurnChange::Resume, ..Decision::only(vec![decided]) })
}

/// The changed arguments, where they are acceptable to the tool and really changed.
fn edited(
    request: &ApprovalRequested,
    resolve: &Resolve,
    context: &Context<'_>,
) -> Result<Option<Value>, Refusal> {
    let Some(arguments) = &resolve.arguments else { return Ok(None) };
    let refuse = |message: String| Err(Refusal::new(ErrorCode::Unprocessable, message));
    if resolve.decision == Word::Deny {
        return refuse("a call that is denied has no arguments to change".into());
    }
    if let Err(fault) = context.catalog.tools.check(request.tool.as_str(), arguments) {
        return refuse(fault);
    }
    if plan::render(request.tool.as_str(), arguments).is_none() {
        return refuse("the arguments are longer than a person can read".into());
    }
    Ok((*arguments != request.arguments).then(|| arguments.clone()))
}

/// The rule to keep, where it is one for the call that was decided on.
fn remembered(
    state: &State,
    kept: &RememberRule,
    called: &ApprovalRequested,
    decision: Word,
) -> Result<RememberRule, Refusal> {
    let refuse = |message: String| Err(Refusal::new(ErrorCode::Unprocessable, message));
    if kept.scope == RememberScope::Agent {
        return refuse(
            "rules for an agent are in the operator's configuration; use the scope session".into(),
        );
    }
    let rule = match Rule::parse(&kept.rule, decision) {
        Ok(rule) => rule,
        Err(fault) => return refuse(fault.to_owned()),
    };
    if !rule.is_about(called) {
        return refuse("the rule is not about the call that is decided on".into());
    }
    if state.approvals.rules.len() >= REMEMBERED_RULES {
        return refuse(format!("a session keeps at most {REMEMBERED_RULES} rules"));
    }
    Ok(kept.clone())
}

/// Nobody answered in time.
pub(crate) fn expired(request: &ApprovalRequested) -> Event {
    Event::ApprovalResolved(resolved(request, gateway(), None))
}

fn resolved(request: &ApprovalRequested, by: Principal, reason: Option<String>) -> ApprovalResolved {
    ApprovalResolved {
        turn: request.turn,
        approval: request.approval,
        decision: Word::Deny,
        arguments: None,
        hash: None,
        reason,
        by,
        remember: None,
    }
}

/// What became of a question whose turn ended without another word about it.
pub(crate) fn lapsed(request: &ApprovalRequested) -> ApprovalResolved {
    resolved(request, gateway(), Some("the turn ended".into()))
}

/// What is said about the open questions of a turn that ends: nothing of it stays open.
pub(crate) fn voided(approvals: &Approvals, by: &Principal) -> Vec<Event> {
    let reason = || Some("the turn was stopped".to_owned());
    let denied = |request| Event::ApprovalResolved(resolved(request, by.clone(), reason()));
    approvals.open().map(denied).collect()
}
