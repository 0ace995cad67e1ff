//! Whether a call may run: what it is, what the policy says, what people said.

use std::sync::Arc;

use moongate_protocol::{
    ApprovalId, ApprovalRequested, Ground, Part, Requirement, Timestamp, ToolCalled, ToolOutcome, ToolSpec,
};
use serde_json::Value;

use super::{Step, Then, Turn, Verdict};
use crate::{
    Reach, Tool, ToolResult,
    delegate::{self, DELEGATE},
    limits::PLAN_BYTES,
    plan, policy,
    session::{Asked, NOT_STARTED, PendingCall},
};

/// Said where a person's yes was for something else.
const NOT_AS_APPROVED: &str = "Another call than this one was approved, or what it works on was changed since. Look again before you ask again.";

/// A call that can run, if it may.
pub(super) struct Prepared {
    pub(super) call: PendingCall,
    pub(super) callee: Callee,
    /// The arguments that run: the model's, or a person's.
    pub(super) arguments: Value,
    /// What the call works on as a person saw it, where they did.
    pub(super) operands: Option<[u8; 32]>,
}

/// Who answers a call.
pub(super) enum Callee {
    Tool(Arc<dyn Tool>),
    /// Another agent, which the arguments name.
    Agents(Box<ToolSpec>),
}

impl Callee {
    fn spec(&self) -> &ToolSpec {
        match self {
            Self::Tool(tool) => tool.spec(),
            Self::Agents(spec) => spec,
        }
    }

    fn requirement(&self) -> Requirement {
        match self {
            Self::Tool(tool) => tool.requirement(),
            Self::Agents(_) => Requirement::Never,
        }
    }
}

impl Prepared {
    /// What the call reaches for.
    fn reach(&self) -> Reach {
        match &self.callee {
            Callee::Tool(tool) => tool.reach(&self.arguments),
            Callee::Agents(_) => Reach::Anything,
        }
    }

    /// What the model is told where other arguments ran than it wished.
    pub(super) fn note(&self) -> Option<Part> {
        let changed = self.arguments != self.call.arguments;
        changed.then(|| {
            Part::text(format!(
                "A person changed the arguments of this call. It ran with {}.\n",
                self.arguments
            ))
        })
    }
}

/// What was decided about a call.
pub(super) enum Judged {
    May(Ground),
    /// A person was asked.
    Waits,
    /// It does not run.
    Over(ToolResult),
}

fn denied(text: impl Into<String>) -> ToolResult {
    ToolResult::ended(ToolOutcome::Denied, text)
}

impl Turn {
    /// Finds the tool and the arguments, and checks both.
    pub(super) fn prepare(&self, call: PendingCall) -> Result<Prepared, ToolResult> {
        match &call.asked {
            Some(Asked::Denied { reason: None }) => return Err(denied(denied_by_user(&call.tool))),
            Some(Asked::Denied { reason: Some(reason) }) => {
                return Err(denied(format!("{} Reason: {reason}", denied_by_user(&call.tool))));
            }
            Some(Asked::Expired) => {
                return Err(denied(format!("Tool call '{}' was not approved in time.", call.tool)));
            }
            Some(Asked::Open | Asked::Approved { .. }) | None => {}
        }
        let refuse = |text: String| Err(ToolResult::ended(ToolOutcome::Error, text));
        let setting = &self.setting;
        let Some(callee) = self.callee(&call.tool) else {
            return refuse(format!("There is no tool named {}.", call.tool));
        };
        if !setting.catalog.tool_policies.allow(&setting.namespace, &call.tool) {
            return Err(denied(format!("Tool '{}' is not allowed in this namespace.", call.tool)));
        }
        let arguments = match &call.asked {
            Some(Asked::Approved { arguments: Some(changed), .. }) => changed.clone(),
            _ => call.arguments.clone(),
        };
        if matches!(callee, Callee::Tool(_))
            && let Err(fault) = setting.catalog.tools.check(&call.tool, &arguments)
        {
            return refuse(fault);
        }
        Ok(Prepared { callee, call, arguments, operands: None })
    }

    fn callee(&self, name: &str) -> Option<Callee> {
        let agent = &self.setting.agent;
        if name == DELEGATE {
            return delegate::spec(agent).map(|spec| Callee::Agents(Box::new(spec)));
        }
        let tool = self.setting.catalog.tools.get(name).filter(|_| agent.has_tool(name))?;
        Some(Callee::Tool(Arc::clone(tool)))
    }

    /// Whether a call may run. A no of the policy counts more than a person's yes, and a person's yes is for the
    /// call they were shown and no other.
    pub(super) async fn judge(&self, prepared: &mut Prepared) -> Step<Judged> {
        let effect = prepared.callee.spec().effect;
        let preset = policy::judge(self.setting.policy, effect, &prepared.reach());
        let (verdict, requirement) = policy::combine(preset, prepared.callee.requirement());
        Ok(match (verdict, prepared.call.asked.clone()) {
            (policy::Verdict::Deny, _) => Judged::Over(denied("The policy does not allow this call.")),
            (_, Some(Asked::Approved { approval, hash, arguments })) => {
                // Of arguments a person wrote themselves they were shown no more than they wrote.
                if arguments.is_none()
                    && let Err(over) = self.foresee(prepared).await
                {
                    return Ok(Judged::Over(over));
                }
                // What was started was the call that was approved, and may have changed what it works on.
                if prepared.call.started.is_some() || hash == self.hash(prepared) {
                    Judged::May(Ground::Approval { approval })
                } else {
                    Judged::Over(denied(NOT_AS_APPROVED))
                }
            }
            (policy::Verdict::Allow, _) => Judged::May(Ground::Policy),
            (policy::Verdict::Ask, _) => self.ask(prepared, requirement).await?,
        })
    }

    async fn ask(&self, prepared: &mut Prepared, requirement: Requirement) -> Step<Judged> {
        let preview = match self.foresee(prepared).await {
            Ok(preview) => preview,
            Err(over) => return Ok(Judged::Over(over)),
        };
        let name = prepared.callee.spec().name.clone();
        let Some(plan) = plan::render(name.as_str(), &prepared.arguments) else {
            let words = format!(
                "This call needs a person's approval, and its arguments are longer than a person can read: \
                 {PLAN_BYTES} bytes at most."
            );
            return Ok(Judged::Over(ToolResult::ended(ToolOutcome::Error, words)));
        };
        let asked = ApprovalRequested {
            turn: self.id,
            approval: self.ids.make(ApprovalId::new),
            call: prepared.call.call.clone(),
            tool: name,
            arguments: prepared.arguments.clone(),
            requirement,
            plan,
            preview,
            reason: reason(requirement, prepared.callee.requirement()).into(),
            hash: self.hash(prepared),
            expires_at: self.expiry(),
        };
        Ok(match self.report(Vec::new(), Then::Ask(Box::new(asked))).await? {
            Verdict::Run(ground) => Judged::May(ground),
            Verdict::Asked => Judged::Waits,
            Verdict::Denied => Judged::Over(denied(denied_by_user(&prepared.call.tool))),
            _ => Judged::Over(ToolResult::ended(ToolOutcome::Cancelled, NOT_STARTED)),
        })
    }

    /// What the call would change, for the person; from here on it is bound to what it works on.
    async fn foresee(&self, prepared: &mut Prepared) -> Result<Option<String>, ToolResult> {
        let Callee::Tool(tool) = &prepared.callee else { return Ok(None) };
        let place = self.place();
        let note = tokio::select! {
            biased;
            note = tool.plan(&place, &prepared.arguments) => note?,
            () = self.cancel.cancelled() => {
                return Err(ToolResult::ended(ToolOutcome::Cancelled, NOT_STARTED));
            }
            () = tokio::time::sleep(self.limits.tool_duration) => {
                let words = format!("What the call would do took longer than {:?} to find out.", self.limits.tool_duration);
                return Err(ToolResult::ended(ToolOutcome::Error, words));
            }
        };
        prepared.operands = note.as_ref().map(|note| note.operands);
        Ok(note.map(|note| plan::preview(&note.preview)))
    }

    /// When silence becomes a no.
    fn expiry(&self) -> Timestamp {
        let wished = self.setting.overrides.approval_secs.map(u64::from).map(std::time::Duration::from_secs);
        let wait = wished.map_or(self.limits.approval_wait, |wished| wished.min(self.limits.approval_wait));
        let millis = i64::try_from(wait.as_millis()).unwrap_or(i64::MAX);
        Timestamp::from_millis(self.ids.now().as_millis().saturating_add(millis))
    }

    fn hash(&self, prepared: &Prepared) -> String {
        let (call, tool) = (&prepared.call.call, prepared.callee.spec().name.as_str());
        plan::hash(self.session, call, (tool, &prepared.arguments), prepared.operands.as_ref())
    }

    /// What is written before a call runs.
    pub(super) fn called(&self, prepared: &Prepared, ground: Ground) -> ToolCalled {
        ToolCalled {
            turn: self.id,
            item: prepared.call.item,
            call: prepared.call.call.clone(),
            tool: prepared.callee.spec().name.clone(),
            arguments: prepared.arguments.clone(),
            hash: self.hash(prepared),
            effect: prepared.callee.spec().effect,
            ground,
        }
    }
}

fn denied_by_user(tool: &str) -> String {
    format!("Tool call '{tool}' was denied by the user.")
}

/// Why a person is asked, for the person.
fn reason(requirement: Requirement, own: Requirement) -> &'static str {
    match (requirement, own) {
        (Requirement::Always, _) => "this tool asks each time it is to run",
        (_, Requirement::UnlessAutoApproved) => "this tool asks before it runs",
        _ => "the policy asks before a tool changes anything",
    }
}
