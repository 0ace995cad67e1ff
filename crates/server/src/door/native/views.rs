//! What clients are shown, where it differs from what the engine holds.

use moongate_core::{Cancelled, Scope};
use moongate_protocol::{
    AgentName, Alias, CallId, ErrorCode, InputId, MessageView, Metadata, MicroUsd, Namespace, Parent,
    PolicyPreset, Position, Principal, QueuedInput, SessionId, SessionState, SessionView, StopReason,
    Timestamp, Tokens, ToolOutcome, TurnId, UsageTotal,
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr,
        schema::{ObjectBuilder, Schema, Type},
    },
};

/// A session.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionBody {
    /// Its id.
    id: SessionId,
    #[serde(flatten)]
    settings: SettingsBody,
    #[serde(flatten)]
    progress: ProgressBody,
}

/// What a session is called, and who answers.
#[derive(Serialize, ToSchema)]
pub(crate) struct SettingsBody {
    /// The client's own name for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    alias: Option<Alias>,
    /// What to show in a list.
    title: Option<String>,
    /// Who owns it.
    owner: Principal,
    /// Which agent answers.
    agent: AgentName,
    /// Where it belongs.
    namespace: Namespace,
    /// The client's labels.
    metadata: Metadata,
    /// Whether it is put away.
    archived: bool,
    /// What the agent may do, where it differs from the agent's own policy.
    #[serde(skip_serializing_if = "Option::is_none")]
    policy: Option<PolicyPreset>,
    /// Whether calls that would wait for a person run without one.
    auto_approve: bool,
    /// The call it was begun for, where an agent delegated.
    #[serde(skip_serializing_if = "Option::is_none")]
    parent: Option<Parent>,
}

/// What a session is doing, and what it used.
#[derive(Serialize, ToSchema)]
pub(crate) struct ProgressBody {
    /// What it is doing.
    state: SessionState,
    /// The turn that runs or waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    turn: Option<TurnId>,
    /// The last event.
    head: Position,
    /// The inputs that wait.
    queue: Vec<QueuedInput>,
    /// When it was created.
    created_at: Timestamp,
    /// When something last happened.
    updated_at: Timestamp,
    /// Totals of all its model calls.
    usage: UsageBody,
}

impl From<SessionView> for SessionBody {
    fn from(view: SessionView) -> Self {
        Self {
            id: view.id,
            settings: SettingsBody {
                alias: view.alias,
                title: view.title,
                owner: view.owner,
                agent: view.agent,
                namespace: view.namespace,
                metadata: view.metadata,
                archived: view.archived,
                policy: view.rules.policy,
                auto_approve: view.rules.auto_approve,
                parent: view.parent,
            },
            progress: ProgressBody {
                state: view.state,
                turn: view.turn,
                head: view.head,
                queue: view.queue,
                created_at: view.created_at,
                updated_at: view.updated_at,
                usage: view.sums.usage.into(),
            },
        }
    }
}

/// Tokens and cost of model calls.
#[derive(Serialize, ToSchema)]
pub(crate) struct UsageBody {
    /// Tokens of all calls.
    #[serde(flatten)]
    pub(crate) tokens: Tokens,
    /// Number of calls.
    pub(crate) calls: u64,
    /// Cost of all calls in US dollars; `null` when a price is not known.
    pub(crate) cost_usd: Option<f64>,
}

impl From<UsageTotal> for UsageBody {
    fn from(total: UsageTotal) -> Self {
        Self { tokens: total.tokens, calls: total.calls, cost_usd: total.cost.map(usd) }
    }
}

/// US dollars, as clients read money.
pub(crate) fn usd(cost: MicroUsd) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "exact up to nine billion dollars")]
    let micros = cost.0 as f64;
    micros / 1e6
}

/// A page of sessions.
#[derive(Serialize, ToSchema)]
pub(crate) struct SessionsBody {
    /// Newest activity first.
    pub(crate) items: Vec<SessionBody>,
    /// Where the next page begins; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_cursor: Option<String>,
}

/// A page of the transcript.
#[derive(Serialize, ToSchema)]
pub(crate) struct MessagesBody {
    /// Oldest first; the page before this one ends before its first `seq`.
    pub(crate) items: Vec<MessageView>,
    /// Whether there are earlier messages.
    pub(crate) more: bool,
}

/// An input that is on disk.
#[derive(Serialize, ToSchema)]
pub(crate) struct AcceptedBody {
    /// What it became.
    pub(crate) input: InputId,
    /// Where its event stands.
    pub(crate) position: Position,
    /// Inputs that wait, this one included if it does.
    pub(crate) queue_length: usize,
}

impl From<&moongate_core::Accepted> for AcceptedBody {
    fn from(accepted: &moongate_core::Accepted) -> Self {
        Self { input: accepted.input, position: accepted.position, queue_length: accepted.queue_length }
    }
}

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Ending {
    /// Well.
    Completed,
    /// Badly; `error` says why.
    Failed,
    /// A person or a limit stopped it.
    Cancelled,
    /// The input was taken back before a turn began.
    Withdrawn,
}

/// An input's turn, from beginning to end.
#[derive(Serialize, ToSchema)]
pub(crate) struct TurnBody {
    /// The input.
    pub(crate) input: InputId,
    /// The turn; absent when the input was taken back.
    pub(crate) turn: Option<TurnId>,
    /// How it ended.
    pub(crate) ending: Ending,
    /// The text of the last message.
    pub(crate) text: String,
    /// Why the model stopped.
    pub(crate) stop_reason: Option<StopReason>,
    /// Totals of the turn's model calls.
    pub(crate) usage: UsageBody,
    /// The tools it called.
    pub(crate) tool_calls: Vec<ToolCallBody>,
    /// Why it failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) error: Option<TurnError>,
}

/// A tool call of a turn.
#[derive(Serialize, ToSchema)]
pub(crate) struct ToolCallBody {
    /// Which call.
    pub(crate) call: CallId,
    /// The tool, as the model named it.
    pub(crate) tool: String,
    /// The arguments.
    #[schema(value_type = Object)]
    pub(crate) arguments: serde_json::Value,
    /// How it ended.
    pub(crate) outcome: Option<ToolOutcome>,
}

/// Why a turn failed.
#[derive(Serialize, ToSchema)]
pub(crate) struct TurnError {
    /// From the closed table.
    pub(crate) code: ErrorCode,
    /// The same in words.
    pub(crate) message: String,
    /// Whether the same input may work later.
    pub(crate) retryable: bool,
}

/// A cancel that is on disk.
#[derive(Serialize, ToSchema)]
pub(crate) struct CancelledBody {
    /// The turn that was stopped; none when nothing ran.
    turn: Option<TurnId>,
    /// What was running: `model`, or a tool call's id.
    stopped: Vec<String>,
}

impl From<Cancelled> for CancelledBody {
    fn from(cancelled: Cancelled) -> Self {
        Self { turn: cancelled.turn, stopped: cancelled.stopped }
    }
}

/// A scope by its name.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScopeName(Scope);

impl ScopeName {
    /// The scope itself.
    pub(crate) fn scope(self) -> Scope {
        self.0
    }
}

impl From<Scope> for ScopeName {
    fn from(scope: Scope) -> Self {
        Self(scope)
    }
}

impl Serialize for ScopeName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for ScopeName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Scope::deserialize(deserializer).map(Self)
    }
}

impl PartialSchema for ScopeName {
    fn schema() -> RefOr<Schema> {
        let names = Scope::ALL.iter().map(|scope| scope.as_str());
        ObjectBuilder::new().schema_type(Type::String).enum_values(Some(names)).into()
    }
}

impl ToSchema for ScopeName {}
