//! What a caller can ask of a session.

use serde_json::Value;

use crate::{
    AgentName, ApprovalId, Decision, IdempotencyKey, InputId, Metadata, Overlap, Overrides, Part,
    PolicyPreset, QuestionId, RememberRule, Role, Seq, Timestamp, ToolSpec, TurnId,
};

/// One request to a session's actor. Decided purely, answered when its events are on disk.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Say something.
    Submit(Box<NewInput>),
    /// Take in what was said elsewhere, oldest first. Nothing of it is answered.
    TakeIn(Vec<Said>),
    /// Take a waiting input back.
    Withdraw(InputId),
    /// Stop the running turn.
    Cancel(Cancel),
    /// The same, asked for from outside the conversation.
    Abort(Cancel),
    /// Change the session's settings.
    Update(SessionPatch),
    /// Decide on an approval.
    Resolve(Resolve),
    /// Answer a question.
    Answer(Answer),
    /// Stop the turn and remove everything.
    Delete,
    /// Remove everything, unless something runs or waits, or happened after this time.
    Forget(Timestamp),
}

/// Something a user says.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct NewInput {
    /// What is said; at least one part.
    pub parts: Vec<Part>,
    /// How it meets a running turn.
    pub overlap: Overlap,
    /// The client's name for this submission, with the hash of its body.
    pub idempotency: Option<Idempotency>,
    /// What it changes for its turn.
    pub overrides: Overrides,
    /// Tools the client runs itself. A call of one ends the turn; an input with its result begins the next.
    pub client_tools: Vec<ToolSpec>,
    /// Be refused unless this is the log's last event: then nobody said anything since the client looked.
    pub after: Option<Seq>,
    /// The client's labels.
    pub metadata: Metadata,
    /// Refused when more inputs than this would run or wait in the session, this one included; only the server's
    /// own bound when absent.
    pub queue_limit: Option<usize>,
    /// The only agents whoever says it may use; any when empty. The gateway says so itself, from the caller.
    pub agents: Vec<AgentName>,
}

/// One message of a conversation that was held elsewhere.
#[derive(Clone, Debug, PartialEq)]
pub struct Said {
    /// Who said it. Results of calls are a person's.
    pub role: Role,
    /// What was said.
    pub parts: Vec<Part>,
}

/// A submission's client-chosen name and the hash of what was submitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The name.
    pub key: IdempotencyKey,
    /// SHA-256 of the request's body.
    pub body_hash: [u8; 32],
    /// Where the name counts.
    pub space: KeySpace,
    /// What was submitted under the name before, where that came to nothing and this is to count in its place.
    pub instead_of: Option<InputId>,
}

/// Where a principal's name for a submission counts. Others may use the same one for something else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum KeySpace {
    /// In the session it is used in.
    #[default]
    Session,
    /// In all sessions of the session's door.
    Door,
}

/// Which turn to stop.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cancel {
    /// Only this turn; any running turn when absent.
    pub turn: Option<TurnId>,
    /// Also withdraw all waiting inputs.
    pub clear_queue: bool,
}

/// The settings to change; absent ones stay.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SessionPatch {
    /// The new title.
    pub title: Option<String>,
    /// All labels.
    pub metadata: Option<Metadata>,
    /// Whether the session is put away.
    pub archived: Option<bool>,
    /// Which agent answers from the next turn on.
    pub agent: Option<AgentName>,
    /// What the agent may do from the next turn on.
    pub policy: Option<PolicyPreset>,
    /// Whether calls that would wait for a person run without one, from the next call on.
    pub auto_approve: Option<bool>,
}

/// A decision on an approval.
#[derive(Clone, Debug, PartialEq)]
pub struct Resolve {
    /// Which approval.
    pub approval: ApprovalId,
    /// The decision.
    pub decision: Decision,
    /// Changed arguments.
    pub arguments: Option<Value>,
    /// Why.
    pub reason: Option<String>,
    /// A rule to keep.
    pub remember: Option<RememberRule>,
}

/// An answer to a question.
#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    /// Which question.
    pub question: QuestionId,
    /// The answers, by field.
    pub answers: Value,
}
