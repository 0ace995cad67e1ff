//! What clients are shown of sessions and their contents.

use serde::{Deserialize, Serialize};

use crate::{
    AgentName, Alias, InputId, ItemId, Metadata, Namespace, Overlap, Parent, Part, PolicyPreset, Position,
    Principal, Role, Seq, SessionId, Timestamp, TurnId, UsageTotal,
};

/// What a session is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum SessionState {
    /// Nothing.
    #[default]
    Idle,
    /// A turn runs.
    Running,
    /// A turn waits for a person.
    Waiting,
}

/// An input that waits for its turn.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct QueuedInput {
    /// Its id.
    pub input: InputId,
    /// Who said it.
    pub author: Principal,
    /// What was said.
    pub parts: Vec<Part>,
    /// How it meets a running turn.
    pub overlap: Overlap,
    /// When it was accepted.
    pub at: Timestamp,
}

/// What a session's agent may do, where that is not what the agent itself may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionRules {
    /// Another policy than the agent's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyPreset>,
    /// Whether calls that would wait for a person run without one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub auto_approve: bool,
}

/// What a session adds up to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionSums {
    /// Totals of all its model calls.
    pub usage: UsageTotal,
    /// What was said: inputs that turns took, and answers of turns. Unknown of rows an earlier version wrote.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub messages: Option<u64>,
}

/// A session as lists and clients show it: a fold of its log.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SessionView {
    /// Its id.
    pub id: SessionId,
    /// The client's own name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alias: Option<Alias>,
    /// What to show in a list.
    pub title: Option<String>,
    /// Who owns it.
    pub owner: Principal,
    /// Which agent answers.
    pub agent: AgentName,
    /// Where it belongs.
    pub namespace: Namespace,
    /// What it is doing.
    pub state: SessionState,
    /// The turn that runs or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// The last event.
    pub head: Position,
    /// The inputs that wait.
    pub queue: Vec<QueuedInput>,
    /// When it was created.
    pub created_at: Timestamp,
    /// When something last happened.
    pub updated_at: Timestamp,
    /// What it adds up to.
    #[serde(flatten)]
    pub sums: SessionSums,
    /// The client's labels.
    pub metadata: Metadata,
    /// Whether it is put away.
    #[serde(default)]
    pub archived: bool,
    /// What the agent may do here.
    #[serde(flatten)]
    pub rules: SessionRules,
    /// The call it was begun for, where an agent delegated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
}

/// What became of an approval.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ApprovalState {
    /// Nobody decided yet.
    Open,
    /// The call may run.
    Approved,
    /// A person said no, or the turn ended before anybody said anything.
    Denied,
    /// Nobody decided in time.
    Expired,
}

/// What became of a question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum QuestionState {
    /// Nobody answered yet.
    Open,
    /// A person did.
    Answered,
    /// The turn ended before anybody did.
    Closed,
    /// Nobody did in time.
    Expired,
}

/// A message of the transcript.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MessageView {
    /// Its number in the log, the cursor for `before`.
    pub seq: Seq,
    /// Its item; absent for an input.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub item: Option<ItemId>,
    /// The input, for a person's message.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<InputId>,
    /// Its turn; absent while an input waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turn: Option<TurnId>,
    /// Who speaks.
    pub role: Role,
    /// What was said.
    pub parts: Vec<Part>,
    /// When.
    pub at: Timestamp,
    /// A cancel or a cut ended it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub partial: bool,
}
