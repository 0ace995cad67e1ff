//! What a turn and its actor say to each other.

use moongate_protocol::{
    ApprovalRequested, BlobHash, CallId, Event, Ground, ItemId, QuestionAsked, StopReason, TurnId,
};
use tokio::sync::oneshot;

use super::prompt::Messages;
use crate::{Fault, delegate::Errand, session::PendingCall, spend::SoFar};

/// What a turn wants to happen after its facts are on disk.
#[derive(Debug)]
pub(crate) enum Then {
    /// Go on with what the turn is doing.
    Go,
    /// Run a call, if a person says so: they are asked, unless somebody gave that word before.
    Ask(Box<ApprovalRequested>),
    /// Ask people something.
    Inquire(Box<QuestionAsked>),
    /// Hand a call to another agent, if it may.
    Delegate(Box<Wish>),
    /// See which calls may run by now.
    Look,
    /// All calls that may run have run: the model is next, or a person.
    Called,
    /// Call the model again, with all that has been said meanwhile.
    CallModel,
    /// Summarise older messages, half as many each time the model could not take them.
    Compact { halvings: u32 },
    /// The turn is over.
    Complete(StopReason),
    /// The turn is over and failed.
    Fail(Fault),
    /// The turn was told to stop and has stopped; what was running, in words.
    Cancelled(Vec<String>),
}

/// A call that is to be handed to another agent.
#[derive(Debug)]
pub(crate) struct Wish {
    pub(crate) item: ItemId,
    pub(crate) call: CallId,
    pub(crate) errand: Errand,
}

/// Facts of a turn, and what it wants to do next.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) turn: TurnId,
    pub(crate) events: Vec<Event>,
    pub(crate) then: Then,
    pub(crate) reply: oneshot::Sender<Verdict>,
}

/// What a turn may do, once its facts are on disk.
#[derive(Debug)]
pub(crate) enum Verdict {
    Go,
    /// The call may run.
    Run(Ground),
    /// The call may not run.
    Denied,
    /// A person is asked.
    Asked,
    /// Another agent is at work on the call.
    HandedOn,
    /// No other agent may be, for this reason.
    NotHandedOn(String),
    /// The prompt to call the model with.
    Call(Work),
    /// What may be summarised, if anything, and what was spent.
    Compact(Option<Box<super::compact::Range>>, SoFar),
    /// It was told to stop; its facts were not written.
    Stop,
    /// It is over.
    Ended,
}

/// What the next model call works with.
#[derive(Debug, Default)]
pub(crate) struct Work {
    pub(crate) prompt: Messages,
    /// Calls of the last message without a result: they come before the model.
    pub(crate) pending: Vec<PendingCall>,
    /// Blobs the prompt refers to.
    pub(crate) blobs: Vec<BlobHash>,
    /// Model calls the turn has made.
    pub(crate) calls_made: u64,
    /// Tokens the last call's prompt and answer had.
    pub(crate) window_used: u64,
    /// What the turn and its session have spent.
    pub(crate) spent: SoFar,
}
