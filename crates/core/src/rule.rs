//! A rule a person wants remembered: a tool's name, alone or followed by the arguments it is about.

use moongate_protocol::{ApprovalRequested, Decision, Requirement, ToolName};
use serde_json::Value;

use crate::{limits::RULE_BYTES, read_call};

/// What a person wants to be answered to calls like one they decided on.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Rule {
    pub(crate) decision: Decision,
    pub(crate) text: String,
    tool: ToolName,
    /// Exactly these; any when absent.
    arguments: Option<Value>,
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub(crate) fn parse(text: &str, decision: Decision) -> Result<Self, &'static str> {
        if text.len() > RULE_BYTES {
            return Err("the rule is too long to be kept");
        }
        let (tool, arguments) = read_call(text)?;
        Ok(Self { decision, text: text.to_owned(), tool, arguments })
    }

    /// Whether the rule speaks of such a call. No rule approves what a person wants to be asked each time.
    pub(crate) fn is_about(&self, call: &ApprovalRequested) -> bool {
        let may_answer = self.decision == Decision::Deny || call.requirement != Requirement::Always;
        may_answer
            && self.tool == call.tool
            && self.arguments.as_ref().is_none_or(|arguments| *arguments == call.arguments)
    }
}
