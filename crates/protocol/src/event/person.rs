//! What a turn asks of people, and their answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::payload;
use crate::{ApprovalId, CallId, Principal, QuestionId, Timestamp, ToolName, TurnId};

/// When a call of a tool needs a person's word, whatever else allows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Requirement {
    /// The policy alone decides.
    Never,
    /// Unless the session approves by itself, or a person approved such calls before.
    #[default]
    UnlessAutoApproved,
    /// Each time.
    Always,
}

/// The tool's name in requests that were written before they said it.
fn unnamed() -> ToolName {
    #[expect(clippy::expect_used, reason = "the literal is within the grammar")]
    "unknown".parse().expect("a tool's name")
}

payload!(
    /// The exact call a person has to decide on.
    ApprovalRequested {
        /// In which turn.
        turn: TurnId,
        /// Its id.
        approval: ApprovalId,
        /// The call.
        call: CallId,
        /// The tool.
        #[serde(default = "unnamed")]
        tool: ToolName,
        /// The arguments that would run.
        #[serde(default)]
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        arguments: Value,
        /// Whether anything but a person's word could have answered.
        #[serde(default)]
        requirement: Requirement,
        /// What would run, in full, rendered by the gateway: nothing in it is invisible.
        plan: String,
        /// What it would change as things are, in lines for a person, where the tool can tell; for files a unified diff.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        preview: Option<String>,
        /// Why a person is asked.
        reason: String,
        /// SHA-256 of the canonical call and of what it works on, in hexadecimal: what is approved, and nothing else.
        hash: String,
        /// When silence becomes a no.
        expires_at: Timestamp,
    }
);

/// A decision on an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Decision {
    /// The call runs.
    Approve,
    /// The call does not run.
    Deny,
}

/// How far a decision reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum RememberScope {
    /// This session.
    Session,
    /// The agent, in every session.
    Agent,
}

payload!(
    /// A rule made from a decision.
    RememberRule {
        /// How far it reaches.
        scope: RememberScope,
        /// The rule: a tool's name, alone or followed by the arguments it is about, as JSON.
        rule: String,
    }
);

payload!(
    /// What was decided, and by whom.
    ApprovalResolved {
        /// In which turn.
        turn: TurnId,
        /// Which approval.
        approval: ApprovalId,
        /// The decision.
        decision: Decision,
        /// The arguments as the person changed them.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        arguments: Option<Value>,
        /// SHA-256 of the canonical call with the changed arguments.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        hash: Option<String>,
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who; `gateway` at expiry.
        by: Principal,
        /// A rule to keep.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        remember: Option<RememberRule>,
    }
);

payload!(
    /// What the agent wants to know.
    QuestionAsked {
        /// In which turn.
        turn: TurnId,
        /// Its id.
        question: QuestionId,
        /// The question in words.
        text: String,
        /// JSON Schema of the answers (an object), where a form is wanted.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        form: Option<Value>,
        /// When silence ends the question.
        expires_at: Timestamp,
    }
);

payload!(
    /// What a person answered.
    QuestionAnswered {
        /// In which turn.
        turn: TurnId,
        /// Which question.
        question: QuestionId,
        /// The answers, by field.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        answers: Value,
        /// Who.
        by: Principal,
    }
);
