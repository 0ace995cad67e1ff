//! What a turn asks of people, and their answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::payload;
use crate::{ApprovalId, CallId, Principal, QuestionId, Timestamp, TurnId};

payload!(
    /// The exact call a person has to decide on.
    ApprovalRequested {
        /// In which turn.
        turn: TurnId,
        /// Its id.
        approval: ApprovalId,
        /// The call.
        call: CallId,
        /// What would run, rendered by the gateway.
        plan: String,
        /// Why a person is asked.
        reason: String,
        /// SHA-256 of the canonical plan, in hexadecimal.
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
        /// The rule, in the policy's language.
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
        /// Why.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reason: Option<String>,
        /// Who; the gateway itself at expiry.
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
