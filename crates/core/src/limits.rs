//! Every bound of the engine: a name, a default, its unit and its reason. Doors have their own.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use crate::Gateway;

/// Waiting inputs a session may have: more is a client that does not listen.
pub const QUEUE_INPUTS: usize = 64;
/// Turns a node runs at once: each holds a provider connection and a prompt.
pub const TURNS_PER_NODE: usize = 256;
/// Turns one caller runs at once, so that one cannot take the whole node.
pub const TURNS_PER_CALLER: usize = 16;
/// Bytes of one input's text: about 64,000 tokens.
pub const INPUT_TEXT_BYTES: usize = 256 * 1024;
/// Parts of one input.
pub const INPUT_PARTS: usize = 64;
/// Bytes of a session's or an input's metadata.
pub const METADATA_BYTES: usize = 16 * 1024;
/// Bytes of a title.
pub const TITLE_BYTES: usize = 1024;
/// Model calls of one turn: past it the agent goes in circles.
pub const MODEL_CALLS_PER_TURN: u64 = 50;
/// Wall time of one turn.
pub const TURN_DURATION: Duration = Duration::from_secs(3600);
/// Wall time of one tool call.
pub const TOOL_DURATION: Duration = Duration::from_secs(300);
/// Tool calls of one message that run at once.
pub const PARALLEL_TOOLS: usize = 8;
/// Tool calls one message may ask for.
pub const TOOL_CALLS_PER_MESSAGE: usize = 128;
/// Bytes of one tool call's arguments.
pub const TOOL_ARGUMENT_BYTES: usize = 1024 * 1024;
/// Bytes of a tool's output that are shown to the model.
pub const TOOL_OUTPUT_SHOWN_BYTES: usize = 64 * 1024;
/// Bytes of a tool's output that are kept where it is longer than what is shown.
pub const TOOL_OUTPUT_KEPT_BYTES: usize = 1024 * 1024;
/// Bytes of a result's images and files together: they are in every later prompt of the session.
pub const TOOL_ATTACHMENT_BYTES: usize = 16 * 1024 * 1024;
/// Tools a client may bring along with one input.
pub const CLIENT_TOOLS: usize = 128;
/// Bytes of those tools' descriptions and schemas: they are in the log, and in every prompt of their turn.
pub const CLIENT_TOOL_BYTES: usize = 256 * 1024;
/// Messages that were said elsewhere and are taken in at once: they are one transaction.
pub const HISTORY_MESSAGES: usize = 10_000;
/// Bytes of one answer, text and reasoning together: far beyond any model's limit.
pub const ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// How long a person may take to decide on a call before silence is a no.
pub const APPROVAL_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Bytes of a call as a person is shown it: more is not read, so it cannot be approved.
pub const PLAN_BYTES: usize = 256 * 1024;
/// Bytes of what a call would change, as a person is shown it beside the call.
pub const PREVIEW_BYTES: usize = 64 * 1024;
/// Bytes of the reason of a decision.
pub const APPROVAL_REASON_BYTES: usize = 4 * 1024;
/// Rules a session remembers: each is looked at for each call that would wait for a person.
pub const REMEMBERED_RULES: usize = 256;
/// Bytes of one such rule.
pub const RULE_BYTES: usize = 16 * 1024;
/// Approvals one page lists.
pub const APPROVALS_LISTED: usize = 1000;
/// Times a task is handed on from agent to agent: deeper nobody follows who does what.
pub const DELEGATION_DEPTH: usize = 4;
/// Tasks one turn may hand to other agents: each is a session of its own.
pub const DELEGATIONS_PER_TURN: usize = 16;
/// How long the sessions of a turn that ends may take to stop: longer than one of them has to stop its own turn.
pub const CHILD_GRACE: Duration = Duration::from_secs(10);
/// Times a turn is tried: a turn that ends the process each time must not do so for ever.
pub const TURN_ATTEMPTS: u32 = 3;
/// Frames a follower may be behind before it goes back to the log.
pub const FOLLOWER_FRAMES: usize = 1024;
/// Bytes of frames a follower may be behind before it goes back to the log.
pub const FOLLOWER_BYTES: usize = 4 * 1024 * 1024;
/// How long a file that was sent ahead waits for the input that uses it.
pub const UPLOAD_WAIT: Duration = Duration::from_secs(24 * 3600);
/// Events read from the store at once.
pub const READ_BATCH: usize = 256;
/// Commands that wait for a session's actor.
pub const MAILBOX: usize = 256;
/// How long an actor with nothing to do stays in memory.
pub const ACTOR_IDLE: Duration = Duration::from_secs(60);
/// How long a cancelled turn may take to stop before its task is ended.
pub const CANCEL_GRACE: Duration = Duration::from_secs(5);
/// Events a follower of all sessions may be behind before it is told to list again.
pub const ACTIVITY_EVENTS: usize = 4096;
/// Part of a model's window that may be full before older messages are summarised, in percent.
pub const COMPACT_AT_PERCENT: u64 = 80;
/// Messages at the end of a conversation that are never summarised.
pub const COMPACT_KEEPS: usize = 6;
/// Times the part to summarise is halved when it is itself too long for the model: one in sixteen is left then.
pub const COMPACT_HALVINGS: u32 = 4;

/// The bounds an operator may change.
#[derive(Clone, Debug)]
pub struct Limits {
    /// See [`QUEUE_INPUTS`].
    pub queue_inputs: usize,
    /// See [`TURNS_PER_NODE`].
    pub turns_per_node: usize,
    /// See [`TURNS_PER_CALLER`].
    pub turns_per_caller: usize,
    /// See [`MODEL_CALLS_PER_TURN`].
    pub model_calls_per_turn: u64,
    /// See [`TURN_DURATION`].
    pub turn_duration: Duration,
    /// See [`TOOL_DURATION`].
    pub tool_duration: Duration,
    /// See [`APPROVAL_WAIT`].
    pub approval_wait: Duration,
    /// See [`ACTOR_IDLE`].
    pub actor_idle: Duration,
    /// See [`DELEGATION_DEPTH`].
    pub delegation_depth: usize,
    /// See [`DELEGATIONS_PER_TURN`].
    pub delegations_per_turn: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            queue_inputs: QUEUE_INPUTS,
            turns_per_node: TURNS_PER_NODE,
            turns_per_caller: TURNS_PER_CALLER,
            model_calls_per_turn: MODEL_CALLS_PER_TURN,
            turn_duration: TURN_DURATION,
            tool_duration: TOOL_DURATION,
            approval_wait: APPROVAL_WAIT,
            actor_idle: ACTOR_IDLE,
            delegation_depth: DELEGATION_DEPTH,
            delegations_per_turn: DELEGATIONS_PER_TURN,
        }
    }
}

/// The bounds in force. They are exchanged as a whole; who took them keeps them.
pub(crate) struct InForce(RwLock<Arc<Limits>>);

impl InForce {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(RwLock::new(Arc::new(limits)))
    }

    pub(crate) fn get(&self) -> Arc<Limits> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Gateway {
    /// The bounds in force.
    pub fn limits(&self) -> Arc<Limits> {
        self.shared.limits.get()
    }

    /// Exchanges the bounds; a running turn keeps those it began with. Where more turns run than now may, none is
    /// stopped and the next one waits.
    pub fn set_limits(&self, limits: Limits) {
        self.shared.turns.set(&limits);
        *self.shared.limits.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(limits);
    }
}
