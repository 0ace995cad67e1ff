//! The conversation as prompts need it: a fold of the log's messages, calls and summaries.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use moongate_protocol::{
    BlobHash, CallId, ContextCompacted, Effect, Envelope, Event, InputId, ItemId, MessageCompleted, Part,
    Role, Seq, StopReason, ToolFinished, ToolOutcome,
};
use serde_json::Value;

use super::approvals::Asked;
use crate::{PromptMessage, SharedMessage, turn::prompt};

/// One message of the conversation, as a prompt has it: built once, shared by all later prompts.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Entry {
    /// The event it came with.
    pub(crate) seq: Seq,
    /// `User` or `Assistant`; it may have no parts, and is no part of any prompt then.
    pub(crate) message: Arc<SharedMessage>,
    /// The model did not end it itself.
    pub(crate) partial: bool,
}

impl Entry {
    pub(crate) fn parts(&self) -> &[Part] {
        match &**self.message {
            PromptMessage::User(parts) | PromptMessage::Assistant(parts) => parts,
            PromptMessage::ToolResult { content, .. } => content,
        }
    }

    pub(crate) fn is_users(&self) -> bool {
        matches!(&**self.message, PromptMessage::User(_))
    }
}

/// What became of a call the model asked for.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum CallState {
    /// Not started.
    Asked,
    /// Started; how it ended is not known.
    Started(Effect),
    /// The client's to run, and not answered yet.
    Open,
    /// Ended.
    Finished { content: Arc<[Part]>, is_error: bool },
}

/// A summary that stands for the entries up to and with `to`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Compacted {
    pub(crate) to: Seq,
    pub(crate) text: Arc<str>,
}

/// The conversation so far.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Transcript {
    pub(crate) entries: Vec<Entry>,
    pub(crate) calls: HashMap<(ItemId, CallId), CallState>,
    pub(crate) compacted: Option<Compacted>,
    /// How often older entries were replaced by a summary.
    pub(crate) compactions: u64,
    /// The blobs prompts of this conversation refer to.
    pub(crate) blobs: Vec<BlobHash>,
    /// What inputs say that no turn has taken up yet.
    waiting: BTreeMap<InputId, Vec<Part>>,
}

/// A call of the last message that has no result yet.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct PendingCall {
    pub(crate) item: ItemId,
    pub(crate) call: CallId,
    pub(crate) tool: String,
    pub(crate) arguments: Value,
    /// It was started before a restart, with this effect.
    pub(crate) started: Option<Effect>,
    /// What became of the question whether it may run, where somebody was asked.
    pub(crate) asked: Option<Asked>,
    /// It was started, and a person or another agent has it now.
    pub(crate) handed_on: bool,
}

impl PendingCall {
    /// Whether it waits for a person, or for another agent.
    pub(crate) fn waits(&self) -> bool {
        self.handed_on || self.asked == Some(Asked::Open)
    }
}

impl Transcript {
    pub(crate) fn apply(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::InputAccepted(input) => {
                self.waiting.insert(input.input, input.parts.clone());
            }
            Event::InputWithdrawn(withdrawn) => {
                self.waiting.remove(&withdrawn.input);
            }
            Event::TurnStarted(started) => {
                let said = started.inputs.iter().filter_map(|input| self.waiting.remove(input)).flatten();
                let parts: Vec<Part> = said.collect();
                let parts = self.take_results(parts);
                self.push(envelope.seq, Role::User, parts, false);
            }
            Event::MessageCompleted(message) => self.complete(envelope.seq, message),
            Event::ToolCalled(called) => {
                self.calls.insert((called.item, called.call.clone()), CallState::Started(called.effect));
            }
            Event::ToolFinished(finished) => self.finish(finished),
            Event::ContextCompacted(compacted) => self.compact(compacted),
            Event::TurnCompleted(ended) if ended.stop_reason == StopReason::ToolUse => self.hand_over(),
            Event::SessionForked(_) => self.waiting.clear(),
            _ => {}
        }
    }

    fn push(&mut self, seq: Seq, role: Role, parts: Vec<Part>, partial: bool) {
        let message = match role {
            Role::User => PromptMessage::User(prompt::spoken(parts)),
            Role::Assistant => PromptMessage::Assistant(prompt::said(parts, partial)),
        };
        if let PromptMessage::User(parts) | PromptMessage::Assistant(parts) = &message {
            self.blobs.extend(blobs_in(parts));
        }
        self.entries.push(Entry { seq, message: Arc::new(message.into()), partial });
    }

    fn complete(&mut self, seq: Seq, message: &MessageCompleted) {
        if let Some(input) = message.input {
            self.waiting.remove(&input);
        }
        if message.role == Role::Assistant && !message.partial {
            for (item, call, ..) in calls_in(&message.parts) {
                self.calls.insert((item, call.clone()), CallState::Asked);
            }
        }
        self.push(seq, message.role, message.parts.clone(), message.partial);
    }

    fn finish(&mut self, finished: &ToolFinished) {
        let content = prompt::result(finished.content.clone());
        self.blobs.extend(blobs_in(&content));
        let is_error = finished.outcome != ToolOutcome::Ok;
        let state = CallState::Finished { content: content.into(), is_error };
        self.calls.insert((finished.item, finished.call.clone()), state);
    }

    fn compact(&mut self, compacted: &ContextCompacted) {
        let dropped: Vec<Entry> = self.entries.extract_if(.., |entry| entry.seq <= compacted.to).collect();
        for (item, call, ..) in dropped.iter().flat_map(|entry| calls_in(entry.parts())) {
            self.calls.remove(&(item, call.clone()));
        }
        let results = self.calls.values().filter_map(|state| match state {
            CallState::Finished { content, .. } => Some(&content[..]),
            _ => None,
        });
        self.blobs = self.entries.iter().map(Entry::parts).chain(results).flat_map(blobs_in).collect();
        self.compactions += 1;
        self.compacted = Some(Compacted { to: compacted.to, text: compacted.summary.as_str().into() });
    }

    /// The calls of the last message that have no result yet, in the model's order.
    pub(crate) fn pending_calls(&self) -> Vec<PendingCall> {
        let last = self.entries.last().filter(|entry| !entry.is_users());
        let calls = last.into_iter().flat_map(|entry| calls_in(entry.parts()));
        calls
            .filter_map(|(item, call, tool, arguments)| {
                let started = match self.calls.get(&(item, call.clone())) {
                    Some(CallState::Finished { .. }) => return None,
                    Some(CallState::Started(effect)) => Some(*effect),
                    Some(CallState::Asked | CallState::Open) | None => None,
                };
                let (call, tool, arguments) = (call.clone(), tool.to_owned(), arguments.clone());
                Some(PendingCall { item, call, tool, arguments, started, asked: None, handed_on: false })
            })
            .collect()
    }

    /// The tool of a call, where its message is still in the conversation.
    pub(super) fn tool_of(&self, item: ItemId, call: &CallId) -> Option<&str> {
        let mut calls = self.entries.iter().rev().flat_map(|entry| calls_in(entry.parts()));
        calls.find(|(known, id, ..)| *known == item && *id == call).map(|(_, _, tool, _)| tool)
    }

    /// Whether the last thing said is a model's complete answer without calls.
    pub(crate) fn is_answered(&self) -> bool {
        self.entries.last().is_some_and(|entry| {
            !entry.is_users() && !entry.partial && calls_in(entry.parts()).next().is_none()
        })
    }
}

/// The blobs among parts.
pub(super) fn blobs_in(parts: &[Part]) -> impl Iterator<Item = BlobHash> {
    parts.iter().filter_map(|part| match part {
        Part::Image { blob } | Part::File { blob, .. } => Some(blob.hash),
        _ => None,
    })
}

/// The tool calls among parts.
pub(crate) fn calls_in(parts: &[Part]) -> impl Iterator<Item = (ItemId, &CallId, &str, &Value)> {
    parts.iter().filter_map(|part| match part {
        Part::ToolCall { item, call, tool, arguments } => Some((*item, call, tool.as_str(), arguments)),
        _ => None,
    })
}
