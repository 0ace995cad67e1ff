//! What of a session's log an operator may want to know later: what people decided, and what was decided for them.

use moongate_protocol::{Decision, Envelope, Event, Ground, Principal, Tenant, ToolOutcome};

use super::{approvals::gateway, state::State};
use crate::{AuditEntry, POLICY};

/// The audit entry an event leads to, where it leads to one, given the state after it.
pub(super) fn entry(envelope: &Envelope, state: &State, tenant: &Tenant) -> Option<AuditEntry> {
    let (principal, action, object) = match &envelope.event {
        Event::ApprovalResolved(resolved) => {
            let action = match resolved.decision {
                Decision::Approve => "approval.approved",
                Decision::Deny if resolved.by == gateway() => "approval.expired",
                Decision::Deny => "approval.denied",
            };
            (resolved.by.clone(), action, resolved.approval.to_string())
        }
        Event::QuestionAnswered(answered) if !answered.answers.is_null() => {
            (answered.by.clone(), "question.answered", answered.question.to_string())
        }
        Event::ToolCalled(called) if called.ground == Ground::AutoApproval => {
            (policy(), "tool.auto_approved", format!("{} {} {}", envelope.session, called.call, called.tool))
        }
        // What a person refused is written down as their decision.
        Event::ToolFinished(finished)
            if finished.outcome == ToolOutcome::Denied
                && state.approvals.of_call(&finished.call).is_none() =>
        {
            let tool = state.transcript.tool_of(finished.item, &finished.call).unwrap_or_default();
            (policy(), "tool.refused", format!("{} {} {tool}", envelope.session, finished.call))
        }
        Event::SessionUpdated(updated) if updated.policy.is_some() || updated.auto_approve.is_some() => {
            (updated.by.clone(), "session.policy_changed", envelope.session.to_string())
        }
        _ => return None,
    };
    let action = action.to_owned();
    Some(AuditEntry { at: envelope.at, tenant: tenant.clone(), principal, action, object, from: None })
}

fn policy() -> Principal {
    #[expect(clippy::expect_used, reason = "the literal is within the grammar")]
    POLICY.parse().expect("a principal")
}
