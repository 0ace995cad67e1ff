//! From the conversation to a prompt: a pure function whose result is valid for every provider, from any
//! prefix of any log.
//!
//! Valid means: it begins with a user message and does not end with an assistant one; user messages do not
//! follow each other, nor do assistant messages; every tool call is answered at once, in order, by exactly one
//! result and no result stands alone; no message and no text is empty; call ids do not repeat.

use std::{collections::HashSet, sync::Arc};

use moongate_protocol::{CallId, Part};

use crate::{
    PromptMessage, SharedMessage,
    session::{CallState, Entry, Transcript, calls_in},
};

/// Said for a person when the conversation would otherwise end, or begin, with the model.
const GO_ON: &str = "(continue)";
/// Stands before a summary of older messages.
const SUMMARY_INTRO: &str = "(Summary of the conversation so far, which was too long to keep whole:)\n";

/// A prompt's messages, oldest first, shared with whoever holds the prompt.
pub(crate) type Messages = Arc<Vec<Arc<SharedMessage>>>;

/// Builds the prompt of a conversation. Messages that need no change are shared with earlier prompts.
pub(crate) fn build(transcript: &Transcript) -> Messages {
    Draft::default().next(transcript)
}

/// The prompt of one conversation, kept from one model call to the next: only what came since is added.
#[derive(Default)]
pub(crate) struct Draft {
    prompt: Prompt,
    /// How many of the conversation's entries are in the prompt, and nothing to come changes what they say.
    taken: usize,
    /// The conversation's compactions then: each replaces what was taken.
    compactions: u64,
}

impl Draft {
    /// The prompt of the conversation as it is now, which is the same one, further on.
    pub(crate) fn next(&mut self, transcript: &Transcript) -> Messages {
        if self.taken == 0 || transcript.compactions != self.compactions {
            *self = Self { prompt: Prompt::begin(transcript), taken: 0, compactions: transcript.compactions };
        }
        while let Some(entry) =
            transcript.entries.get(self.taken).filter(|entry| is_settled(transcript, entry))
        {
            self.prompt.take(transcript, entry);
            self.taken += 1;
        }
        if self.taken == transcript.entries.len() && !self.prompt.ends_with_the_model() {
            return Arc::clone(&self.prompt.messages);
        }
        let mut prompt = self.prompt.clone();
        transcript.entries[self.taken..].iter().for_each(|entry| prompt.take(transcript, entry));
        prompt.finish()
    }
}

/// Whether nothing to come changes what an entry says: all its calls have their results.
fn is_settled(transcript: &Transcript, entry: &Entry) -> bool {
    calls_in(entry.parts()).all(|(item, call, ..)| {
        matches!(transcript.calls.get(&(item, call.clone())), Some(CallState::Finished { .. }))
    })
}

/// What a person's message, or a result, contributes: not its empty texts, and nothing only a model says.
pub(crate) fn spoken(mut parts: Vec<Part>) -> Vec<Part> {
    parts.retain(|part| match part {
        Part::Text { text } => !text.trim().is_empty(),
        Part::Image { .. } | Part::File { .. } => true,
        Part::Reasoning { .. } | Part::ToolCall { .. } | Part::ToolResult { .. } => false,
    });
    parts
}

/// What an assistant message contributes: not its empty texts; of a message that was broken off neither calls,
/// which never ran, nor reasoning, which is not signed. Reasoning that nothing follows is no end of a message to any
/// provider, and alone no message.
pub(crate) fn said(mut parts: Vec<Part>, partial: bool) -> Vec<Part> {
    parts.retain(|part| match part {
        Part::Text { text } => !text.trim().is_empty(),
        Part::Reasoning { .. } | Part::ToolCall { .. } => !partial,
        Part::Image { .. } | Part::File { .. } => true,
        Part::ToolResult { .. } => false,
    });
    let end = parts.iter().rposition(|part| !matches!(part, Part::Reasoning { .. }));
    parts.truncate(end.map_or(0, |last| last + 1));
    parts
}

/// What a call's result contributes; never nothing.
pub(crate) fn result(content: Vec<Part>) -> Vec<Part> {
    let mut content = spoken(content);
    if content.is_empty() {
        content.push(Part::text("(no output)"));
    }
    content
}

#[derive(Clone, Default)]
struct Prompt {
    messages: Messages,
    /// The calls so far: an id that came before names that call, not another.
    calls: HashSet<CallId>,
}

impl Prompt {
    fn begin(transcript: &Transcript) -> Self {
        let mut prompt = Self::default();
        if let Some(compacted) = &transcript.compacted {
            let parts = vec![Part::text(format!("{SUMMARY_INTRO}{}", compacted.text))];
            prompt.push(Arc::new(PromptMessage::User(parts).into()));
        }
        prompt
    }

    fn take(&mut self, transcript: &Transcript, entry: &Entry) {
        if entry.parts().is_empty() {
            return;
        }
        if entry.is_users() {
            self.user(&entry.message);
        } else {
            self.assistant(transcript, entry);
        }
    }

    /// Copies the list first only while an earlier call's prompt is still in use.
    fn push(&mut self, message: Arc<SharedMessage>) {
        Arc::make_mut(&mut self.messages).push(message);
    }

    fn last(&self) -> Option<&PromptMessage> {
        self.messages.last().map(|last| &***last)
    }

    /// Or is empty: then no model can be asked either.
    fn ends_with_the_model(&self) -> bool {
        matches!(self.last(), None | Some(PromptMessage::Assistant(_)))
    }

    fn user(&mut self, message: &Arc<SharedMessage>) {
        let (Some(PromptMessage::User(before)), PromptMessage::User(parts)) = (self.last(), &***message)
        else {
            return self.push(Arc::clone(message));
        };
        let joined = before.iter().chain(parts).cloned().collect();
        Arc::make_mut(&mut self.messages).pop();
        self.push(Arc::new(PromptMessage::User(joined).into()));
    }

    fn go_on(&mut self) {
        self.push(Arc::new(PromptMessage::User(vec![Part::text(GO_ON)]).into()));
    }

    fn assistant(&mut self, transcript: &Transcript, entry: &Entry) {
        if self.ends_with_the_model() {
            self.go_on();
        }
        if calls_in(entry.parts()).next().is_none() {
            return self.push(Arc::clone(&entry.message));
        }
        let calls = &mut self.calls;
        let fresh =
            |part: &&Part| !matches!(part, Part::ToolCall { call, .. } if !calls.insert(call.clone()));
        let parts: Vec<Part> = entry.parts().iter().filter(fresh).cloned().collect();
        if parts.len() == entry.parts().len() {
            self.push(Arc::clone(&entry.message));
        } else {
            let parts = said(parts, false);
            if parts.is_empty() {
                return;
            }
            self.push(Arc::new(PromptMessage::Assistant(parts).into()));
        }
        let asked = self.messages.last().map(Arc::clone);
        let Some(PromptMessage::Assistant(parts)) = asked.as_ref().map(|asked| &***asked) else { return };
        for (item, call, tool, _) in calls_in(parts) {
            let (is_error, content) = answer(transcript.calls.get(&(item, call.clone())));
            let (call, tool) = (call.clone(), tool.to_owned());
            self.push(Arc::new(PromptMessage::ToolResult { call, tool, is_error, content }.into()));
        }
    }

    fn finish(mut self) -> Messages {
        if self.ends_with_the_model() {
            self.go_on();
        }
        self.messages
    }
}

/// What the model is told of a call. One without a stored end gets words that say what is known, never more.
fn answer(state: Option<&CallState>) -> (bool, Vec<Part>) {
    match state {
        Some(CallState::Finished { content, is_error }) => (*is_error, content.to_vec()),
        Some(CallState::Started(_)) => (true, vec![Part::text(crate::turn::UNKNOWN_OUTCOME)]),
        Some(CallState::Open) => (true, vec![Part::text(crate::turn::UNANSWERED)]),
        Some(CallState::Asked) | None => {
            (true, vec![Part::text("This call was not started: the turn was stopped before.")])
        }
    }
}
