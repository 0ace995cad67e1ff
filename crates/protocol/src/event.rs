//! The event vocabulary: every fact a session's log can hold.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    AgentName, Alias, ApprovalId, CallId, Effect, ErrorCode, IdempotencyKey, InputId, ItemId, MicroUsd,
    ModelName, Namespace, Part, Principal, QuestionId, Seq, SessionId, Timestamp, Tokens, ToolName, TurnId,
    UsageTotal,
};

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
    /// The type's name.
    #[serde(rename = "type")]
    pub kind: String,
    /// The payload, kept so that it can be written again.
    #[serde(flatten)]
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub fields: serde_json::Map<String, Value>,
}

macro_rules! payload {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $ty:ty,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $name { $($(#[$field_doc])* pub $field: $ty,)* }
    };
}

payload!(
    /// Who owns the session and what it talks to.
    SessionCreated {
        /// Who created it.
        owner: Principal,
        /// Where it belongs.
        namespace: Namespace,
        /// Which agent answers.
        agent: AgentName,
        /// The client's own name for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        alias: Option<Alias>,
        /// What to show in a list.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// The client's labels.
        #[serde(default, skip_serializing_if = "Metadata::is_empty")]
        metadata: Metadata,
    }
);

payload!(
    /// Only the fields that changed.
    SessionUpdated {
        /// The new title.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        title: Option<String>,
        /// All labels, new and kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        metadata: Option<Metadata>,
        /// Whether the session is put away.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        archived: Option<bool>,
        /// Which agent answers from the next turn on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        agent: Option<AgentName>,
        /// What the agent may do from the next turn on.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        policy: Option<PolicyPreset>,
        /// Who changed it.
        by: Principal,
    }
);

/// A named set of rules for what an agent may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum PolicyPreset {
    /// Tools that change nothing run; all others are denied.
    ReadOnly,
    /// Tools that change nothing run; a person decides on all others.
    Ask,
    /// As `ask`, and files of the workspace may be changed.
    WorkspaceWrite,
    /// Everything runs.
    Full,
}

payload!(
    /// Where the history before this event came from.
    SessionForked {
        /// The session copied from.
        from: SessionId,
        /// The last event copied.
        at: Seq,
        /// Who forked it.
        by: Principal,
    }
);

payload!(
    /// Who deleted the session.
    SessionDeleted {
        /// Who.
        by: Principal,
    }
);

/// What an input does when a turn is running.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Overlap {
    /// Wait until the turn ended.
    #[default]
    Queue,
    /// Join the running turn at its next model call.
    Steer,
    /// Cancel the running turn, then run.
    Interrupt,
    /// Be refused.
    Reject,
}

/// How much a model should think, in the providers' common words.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effort {
    /// As little as the model allows.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// Much.
    High,
}

/// What one input changes about its agent, for its turn only.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Overrides {
    /// Another model.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model: Option<ModelName>,
    /// How much to think.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub effort: Option<Effort>,
    /// Sampling temperature, 0 to 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f32>,
    /// Most tokens an answer may have.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_output_tokens: Option<u32>,
    /// Another persona.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub persona: Option<String>,
    /// Which project the turn works in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
}

payload!(
    /// What was said, by whom, and how it meets a running turn.
    InputAccepted {
        /// Its id.
        input: InputId,
        /// Who said it.
        author: Principal,
        /// What was said.
        parts: Vec<Part>,
        /// How it meets a running turn.
        #[serde(default)]
        overlap: Overlap,
        /// The client's name for this submission.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        idempotency_key: Option<IdempotencyKey>,
        /// What it changes for its turn.
        #[serde(default, skip_serializing_if = "is_default")]
        overrides: Overrides,
        /// The client's labels.
        #[serde(default, skip_serializing_if = "Metadata::is_empty")]
        metadata: Metadata,
    }
);

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

payload!(
    /// Which input, and who took it back.
    InputWithdrawn {
        /// Which.
        input: InputId,
        /// Who.
        by: Principal,
    }
);

payload!(
    /// The agent as it was when the turn began; a later change of configuration does not touch the turn.
    AgentSnapshot {
        /// Its name.
        agent: AgentName,
        /// The model that answers.
        model: ModelName,
        /// Hash of the policy in force.
        policy_hash: String,
    }
);

payload!(
    /// What the turn works on and who runs it.
    TurnStarted {
        /// Its id.
        turn: TurnId,
        /// The inputs it answers.
        inputs: Vec<InputId>,
        /// The agent as it was.
        agent: AgentSnapshot,
        /// 1 at first.
        attempt: u32,
        /// The owner generation that runs it.
        fence: u64,
    }
);

payload!(
    /// The next try after a restart.
    TurnResumed {
        /// Which turn.
        turn: TurnId,
        /// 2 at the first restart.
        attempt: u32,
        /// The owner generation that runs it.
        fence: u64,
    }
);

/// A step of a program.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Finding out what is wanted.
    Interview,
    /// Writing down what is wanted.
    Seed,
    /// Doing it.
    Execute,
    /// Judging it.
    Evaluate,
    /// Improving the task description.
    Evolve,
}

payload!(
    /// Which phase began.
    PhaseEntered {
        /// Of which turn.
        turn: TurnId,
        /// Which.
        phase: Phase,
        /// A word for the person watching.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        note: Option<String>,
    }
);

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// A person.
    User,
    /// The model.
    Assistant,
}

/// Why a model stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum StopReason {
    /// It had said everything.
    EndTurn,
    /// It wants tools to run.
    ToolUse,
    /// The token limit was reached.
    MaxTokens,
    /// A stop sequence was written.
    StopSequence,
    /// It, or its provider's filter, refused.
    Refusal,
    /// A person or a limit stopped it.
    Cancelled,
    /// The stream ended without saying that it was complete.
    Cut,
}

payload!(
    /// A message with all its parts.
    MessageCompleted {
        /// In which turn.
        turn: TurnId,
        /// The message's item; its text deltas carried it.
        item: ItemId,
        /// Who speaks.
        role: Role,
        /// What was said.
        parts: Vec<Part>,
        /// Why the model stopped; absent for a person's message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stop_reason: Option<StopReason>,
        /// The steering input this message is, for a person's message that joined a running turn.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        input: Option<InputId>,
        /// A cancel or a cut ended it.
        #[serde(default, skip_serializing_if = "is_default")]
        partial: bool,
    }
);

payload!(
    /// The exact call that is about to run.
    ToolCalled {
        /// In which turn.
        turn: TurnId,
        /// The call's item.
        item: ItemId,
        /// The call.
        call: CallId,
        /// The tool.
        tool: ToolName,
        /// The arguments that run.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        arguments: Value,
        /// SHA-256 of the canonical call, in hexadecimal.
        hash: String,
        /// What it does to the world.
        effect: Effect,
    }
);

/// How a tool call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ToolOutcome {
    /// It ran and succeeded.
    Ok,
    /// It ran and failed, or could not be started.
    Error,
    /// The policy or a person said no.
    Denied,
    /// It was stopped.
    Cancelled,
    /// It was started and nobody knows how it ended.
    Unknown,
}

payload!(
    /// A call's result, as the model will see it.
    ToolFinished {
        /// In which turn.
        turn: TurnId,
        /// The call's item.
        item: ItemId,
        /// The call.
        call: CallId,
        /// How it ended.
        outcome: ToolOutcome,
        /// What the model is told.
        content: Vec<Part>,
        /// The tool's own result data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[cfg_attr(feature = "openapi", schema(value_type = Option<Object>))]
        data: Option<Value>,
        /// The content was cut to fit.
        #[serde(default, skip_serializing_if = "is_default")]
        truncated: bool,
        /// How long it ran, in milliseconds.
        duration_ms: u64,
    }
);

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

payload!(
    /// The task an interview led to.
    SeedCrystallised {
        /// In which turn.
        turn: TurnId,
        /// The goal in one sentence.
        goal: String,
        /// What must hold.
        constraints: Vec<String>,
        /// How success is judged.
        criteria: Vec<String>,
    }
);

payload!(
    /// One criterion's judgement.
    CriterionNote {
        /// The criterion.
        criterion: String,
        /// Whether it holds.
        passed: bool,
        /// Why.
        note: String,
    }
);

payload!(
    /// A result's judgement.
    EvaluationFinished {
        /// In which turn.
        turn: TurnId,
        /// Whether it is good enough.
        passed: bool,
        /// 0 to 1.
        score: f64,
        /// Per criterion.
        notes: Vec<CriterionNote>,
    }
);

payload!(
    /// One model call's tokens and price.
    UsageRecorded {
        /// In which turn.
        turn: TurnId,
        /// The model that answered.
        model: ModelName,
        /// Its tokens.
        tokens: Tokens,
        /// Its cost in millionths of a US dollar; `null` when the price is unknown.
        #[serde(rename = "cost_microusd")]
        cost: Option<MicroUsd>,
        /// Where the price came from.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        price_source: Option<String>,
    }
);

payload!(
    /// Which part of the log a summary stands for in later prompts. The log keeps it whole.
    ContextCompacted {
        /// In which turn.
        turn: TurnId,
        /// First event replaced.
        from: Seq,
        /// Last event replaced.
        to: Seq,
        /// The summary's item.
        item: ItemId,
        /// The summary.
        summary: String,
    }
);

payload!(
    /// The turn's totals.
    TurnCompleted {
        /// Which turn.
        turn: TurnId,
        /// All its model calls.
        usage: UsageTotal,
        /// Why the last model call stopped.
        stop_reason: StopReason,
    }
);

payload!(
    /// Why the turn failed.
    TurnFailed {
        /// Which turn.
        turn: TurnId,
        /// What went wrong, from the closed table.
        code: ErrorCode,
        /// The same in words, fit for anybody.
        message: String,
        /// Whether the same input may work later.
        retryable: bool,
        /// All its model calls.
        usage: UsageTotal,
    }
);

payload!(
    /// Who stopped the turn, and what was stopped with it.
    TurnCancelled {
        /// Which turn.
        turn: TurnId,
        /// Who.
        by: Principal,
        /// What was running: `model`, or a tool call's id.
        stopped: Vec<String>,
        /// All its model calls.
        usage: UsageTotal,
    }
);

impl Event {
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
