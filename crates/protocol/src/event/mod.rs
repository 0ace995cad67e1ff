//! The event vocabulary: every fact a session's log can hold.

mod delegation;
mod input;
mod message;
mod person;
mod program;
mod session;
mod tool;
mod turn;
mod usage;

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

pub use self::{
    delegation::*, input::*, message::*, person::*, program::*, session::*, tool::*, turn::*, usage::*,
};
use crate::TurnId;

/// Client-chosen labels of a session or an input.
pub type Metadata = BTreeMap<String, String>;

/// A fact in a session's log. Never changed, never reused.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type")]
pub enum Event {
    /// The log begins.
    #[serde(rename = "session.created")]
    SessionCreated(SessionCreated),
    /// Title, metadata or settings changed.
    #[serde(rename = "session.updated")]
    SessionUpdated(SessionUpdated),
    /// What stands before this was copied from another session.
    #[serde(rename = "session.forked")]
    SessionForked(SessionForked),
    /// The session is gone; nothing follows.
    #[serde(rename = "session.deleted")]
    SessionDeleted(SessionDeleted),
    /// A user said something.
    #[serde(rename = "input.accepted")]
    InputAccepted(InputAccepted),
    /// A waiting input was taken back.
    #[serde(rename = "input.withdrawn")]
    InputWithdrawn(InputWithdrawn),
    /// Work on one or more inputs begins.
    #[serde(rename = "turn.started")]
    TurnStarted(TurnStarted),
    /// Work goes on after a restart.
    #[serde(rename = "turn.resumed")]
    TurnResumed(TurnResumed),
    /// A program entered a phase.
    #[serde(rename = "phase.entered")]
    PhaseEntered(PhaseEntered),
    /// A message is complete, or as complete as it will ever be.
    #[serde(rename = "message.completed")]
    MessageCompleted(MessageCompleted),
    /// A tool is about to run. Written before the effect.
    #[serde(rename = "tool.called")]
    ToolCalled(ToolCalled),
    /// A tool call ended, whether or not it ran.
    #[serde(rename = "tool.finished")]
    ToolFinished(ToolFinished),
    /// A call waits for another agent, in a session of its own.
    #[serde(rename = "delegation.started")]
    DelegationStarted(DelegationStarted),
    /// It does not wait any more.
    #[serde(rename = "delegation.finished")]
    DelegationFinished(DelegationFinished),
    /// A person has to decide.
    #[serde(rename = "approval.requested")]
    ApprovalRequested(ApprovalRequested),
    /// A person decided, or time did.
    #[serde(rename = "approval.resolved")]
    ApprovalResolved(ApprovalResolved),
    /// The agent asks a person.
    #[serde(rename = "question.asked")]
    QuestionAsked(QuestionAsked),
    /// A person answered.
    #[serde(rename = "question.answered")]
    QuestionAnswered(QuestionAnswered),
    /// An interview became a task description.
    #[serde(rename = "seed.crystallised")]
    SeedCrystallised(SeedCrystallised),
    /// A result was judged.
    #[serde(rename = "evaluation.finished")]
    EvaluationFinished(EvaluationFinished),
    /// A model call was billed.
    #[serde(rename = "usage.recorded")]
    UsageRecorded(UsageRecorded),
    /// Older messages are represented by a summary from here on.
    #[serde(rename = "context.compacted")]
    ContextCompacted(ContextCompacted),
    /// The turn ended well.
    #[serde(rename = "turn.completed")]
    TurnCompleted(TurnCompleted),
    /// The turn ended badly.
    #[serde(rename = "turn.failed")]
    TurnFailed(TurnFailed),
    /// The turn was stopped.
    #[serde(rename = "turn.cancelled")]
    TurnCancelled(TurnCancelled),
    /// A type this version does not know: kept as it is, folded to nothing.
    #[serde(untagged)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    Unknown(UnknownEvent),
}

/// An event of a type this version does not know, with all its fields.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnknownEvent {
    /// The type's name; never one this version knows.
    #[serde(rename = "type", deserialize_with = "unknown_kind")]
    pub kind: String,
    /// The payload, kept so that it can be written again.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub fields: serde_json::Map<String, Value>,
}

/// An event whose type is known and whose payload is not that type's is damaged, not unknown.
fn unknown_kind<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let kind = String::deserialize(deserializer)?;
    if Event::KINDS.contains(&kind.as_str()) {
        return Err(de::Error::custom(format_args!("not a valid {kind}")));
    }
    Ok(kind)
}

impl Event {
    /// Every type's name, in the order of the vocabulary.
    pub const KINDS: &'static [&'static str] = &[
        "session.created",
        "session.updated",
        "session.forked",
        "session.deleted",
        "input.accepted",
        "input.withdrawn",
        "turn.started",
        "turn.resumed",
        "phase.entered",
        "message.completed",
        "tool.called",
        "tool.finished",
        "delegation.started",
        "delegation.finished",
        "approval.requested",
        "approval.resolved",
        "question.asked",
        "question.answered",
        "seed.crystallised",
        "evaluation.finished",
        "usage.recorded",
        "context.compacted",
        "turn.completed",
        "turn.failed",
        "turn.cancelled",
    ];

    /// The type's name on the wire.
    pub fn kind(&self) -> &str {
        match self {
            Self::SessionCreated(_) => "session.created",
            Self::SessionUpdated(_) => "session.updated",
            Self::SessionForked(_) => "session.forked",
            Self::SessionDeleted(_) => "session.deleted",
            Self::InputAccepted(_) => "input.accepted",
            Self::InputWithdrawn(_) => "input.withdrawn",
            Self::TurnStarted(_) => "turn.started",
            Self::TurnResumed(_) => "turn.resumed",
            Self::PhaseEntered(_) => "phase.entered",
            Self::MessageCompleted(_) => "message.completed",
            Self::ToolCalled(_) => "tool.called",
            Self::ToolFinished(_) => "tool.finished",
            Self::DelegationStarted(_) => "delegation.started",
            Self::DelegationFinished(_) => "delegation.finished",
            Self::ApprovalRequested(_) => "approval.requested",
            Self::ApprovalResolved(_) => "approval.resolved",
            Self::QuestionAsked(_) => "question.asked",
            Self::QuestionAnswered(_) => "question.answered",
            Self::SeedCrystallised(_) => "seed.crystallised",
            Self::EvaluationFinished(_) => "evaluation.finished",
            Self::UsageRecorded(_) => "usage.recorded",
            Self::ContextCompacted(_) => "context.compacted",
            Self::TurnCompleted(_) => "turn.completed",
            Self::TurnFailed(_) => "turn.failed",
            Self::TurnCancelled(_) => "turn.cancelled",
            Self::Unknown(unknown) => &unknown.kind,
        }
    }

    /// The turn the event belongs to, where it belongs to one.
    pub fn turn(&self) -> Option<TurnId> {
        match self {
            Self::TurnStarted(e) => Some(e.turn),
            Self::TurnResumed(e) => Some(e.turn),
            Self::PhaseEntered(e) => Some(e.turn),
            Self::MessageCompleted(e) => Some(e.turn),
            Self::ToolCalled(e) => Some(e.turn),
            Self::ToolFinished(e) => Some(e.turn),
            Self::DelegationStarted(e) => Some(e.turn),
            Self::DelegationFinished(e) => Some(e.turn),
            Self::ApprovalRequested(e) => Some(e.turn),
            Self::ApprovalResolved(e) => Some(e.turn),
            Self::QuestionAsked(e) => Some(e.turn),
            Self::QuestionAnswered(e) => Some(e.turn),
            Self::SeedCrystallised(e) => Some(e.turn),
            Self::EvaluationFinished(e) => Some(e.turn),
            Self::UsageRecorded(e) => Some(e.turn),
            Self::ContextCompacted(e) => Some(e.turn),
            Self::TurnCompleted(e) => Some(e.turn),
            Self::TurnFailed(e) => Some(e.turn),
            Self::TurnCancelled(e) => Some(e.turn),
            _ => None,
        }
    }

    /// The turn this event ends, where it ends one.
    pub fn ends_turn(&self) -> Option<TurnId> {
        match self {
            Self::TurnCompleted(e) => Some(e.turn),
            Self::TurnFailed(e) => Some(e.turn),
            Self::TurnCancelled(e) => Some(e.turn),
            _ => None,
        }
    }
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
    };
}

pub(crate) use payload;
