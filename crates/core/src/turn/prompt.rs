//! From the conversation to a prompt: a pure function whose result is valid for every provider, from any
//! prefix of any log.
//!
//! Valid means: it begins with a user message and does not end with an assistant one; user messages do not
//! follow each other, nor do assistant messages; every tool call is answered at once, in order, by exactly one
//! result and no result stands alone; no message and no text is empty; call ids do not repeat.

use std::{collections::HashSet, sync::Arc};

use moongate_protocol::{CallId, Part, Role, ToolOutcome};

use crate::{
    PromptMessage,
    session::{CallState, Entry, Transcript, calls_in},
};

/// Said for a person when the conversation would otherwise end, or begin, with the model.
const GO_ON: &str = "(continue)";
/// Stands before a summary of older messages.
const SUMMARY_INTRO: &str = "(Summary of the conversation so far, which was too long to keep whole:)\n";

/// Builds the prompt of a conversation.
pub(crate) fn build(transcript: &Transcript) -> Vec<Arc<PromptMessage>> {
    let mut prompt = Prompt::default();
    if let Some(compacted) = &transcript.compacted {
        prompt.user(vec![Part::text(format!("{SUMMARY_INTRO}{}", compacted.text))]);
    }
    for entry in &transcript.entries {
        match entry.role {
            Role::User => prompt.user(spoken(&entry.parts)),
            Role::Assistant => prompt.assistant(transcript, entry),
        }
    }
    prompt.finish()
}

#[derive(Default)]
struct Prompt {
    messages: Vec<Arc<PromptMessage>>,
    calls: HashSet<CallId>,
}

impl Prompt {
    fn last(&self) -> Option<&PromptMessage> {
        self.messages.last().map(Arc::as_ref)
    }

    fn push(&mut self, message: PromptMessage) {
        self.messages.push(Arc::new(message));
    }

    fn user(&mut self, parts: Vec<Part>) {
        if parts.is_empty() {
            return;
        }
        match self.messages.pop().map(Arc::unwrap_or_clone) {
            Some(PromptMessage::User(mut before)) => {
                before.extend(parts);
                self.push(PromptMessage::User(before));
            }
            other => {
                self.messages.extend(other.map(Arc::new));
                self.push(PromptMessage::User(parts));
            }
        }
    }

    fn assistant(&mut self, transcript: &Transcript, entry: &Entry) {
        let parts = self.said(entry);
        if parts.is_empty() {
            return;
        }
        if !matches!(self.last(), Some(PromptMessage::User(_) | PromptMessage::ToolResult { .. })) {
            self.user(vec![Part::text(GO_ON)]);
        }
        let results: Vec<_> =
            calls_in(&parts).map(|(item, call, tool, _)| (item, call.clone(), tool.to_owned())).collect();
        self.push(PromptMessage::Assistant(parts));
        for (item, call, tool) in results {
            let (is_error, content) = result(transcript.calls.get(&(item, call.clone())));
            self.push(PromptMessage::ToolResult { call, tool, is_error, content });
        }
    }

    /// What an assistant message contributes: not its empty texts; of a message that was broken off neither
    /// calls, which never ran, nor reasoning, which is not signed.
    fn said(&mut self, entry: &Entry) -> Vec<Part> {
        let kept = |part: &&Part| match part {
            Part::Text { text } => !text.trim().is_empty(),
            Part::Reasoning { .. } => !entry.partial,
            Part::ToolCall { call, .. } => !entry.partial && self.calls.insert(call.clone()),
            Part::Image { .. } | Part::File { .. } => true,
        };
        let parts: Vec<Part> = entry.parts.iter().filter(kept).cloned().collect();
        // Reasoning alone is not a message to any provider.
        let only_reasoning = parts.iter().all(|part| matches!(part, Part::Reasoning { .. }));
        if only_reasoning { Vec::new() } else { parts }
    }

    fn finish(mut self) -> Vec<Arc<PromptMessage>> {
        if matches!(self.last(), None | Some(PromptMessage::Assistant(_))) {
            self.user(vec![Part::text(GO_ON)]);
        }
        self.messages
    }
}

fn spoken(parts: &[Part]) -> Vec<Part> {
    let says = |part: &&Part| part.as_text().is_none_or(|text| !text.trim().is_empty());
    parts.iter().filter(says).cloned().collect()
}

/// What the model is told of a call. One without a stored end gets words that say what is known, never more.
fn result(state: Option<&CallState>) -> (bool, Vec<Part>) {
    match state {
        Some(CallState::Finished { outcome, content }) => {
            let mut content = spoken(content);
            if content.is_empty() {
                content.push(Part::text("(no output)"));
            }
            (*outcome != ToolOutcome::Ok, content)
        }
        Some(CallState::Started(_)) => (true, vec![Part::text(crate::turn::UNKNOWN_OUTCOME)]),
        Some(CallState::Asked) | None => {
            (true, vec![Part::text("This call was not started: the turn was stopped before.")])
        }
    }
}
