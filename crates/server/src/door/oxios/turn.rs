//! One turn as its events tell it: what HTTP replies, session details, agents and `done` frames are made of.

use std::borrow::Cow;

use moongate_protocol::{
    CallId, Envelope, Event, InputId, ItemId, Part, Role, Timestamp, ToolFinished, ToolOutcome, TurnId,
    TurnStarted, UsageTotal,
};
use serde::Serialize;
use serde_json::Value;

use super::{
    ending::{CANCELLED, NO_TEXT, Problem, problem},
    ids::Uuid,
    mask,
};

/// Characters of a tool's output that clients are shown.
const OUTPUT_CHARS: usize = 16_384;
/// Between two blocks of text of one turn.
pub(super) const BLANK_LINE: &str = "\n\n";

/// One tool call of a turn.
#[derive(Clone, Debug)]
pub(super) struct Call {
    pub(super) id: CallId,
    pub(super) item: ItemId,
    pub(super) tool: String,
    pub(super) input: Value,
    pub(super) output: String,
    pub(super) duration_ms: u64,
    /// How it ended, once it did.
    pub(super) outcome: Option<ToolOutcome>,
    /// When it was asked for, and begun once it was.
    pub(super) at: Timestamp,
    /// It was begun, so its `tool_start` is out.
    pub(super) started: bool,
    /// Which of the turn's model calls asked for it.
    pub(super) asked_by: usize,
}

/// How a turn ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Completed,
    Failed(Problem),
    Cancelled,
}

/// A turn's facts so far.
#[derive(Clone, Debug)]
pub(super) struct Turn {
    pub(super) id: TurnId,
    pub(super) inputs: Vec<InputId>,
    pub(super) model: String,
    pub(super) started_at: Timestamp,
    /// All complete text blocks, a blank line between two.
    pub(super) text: String,
    pub(super) calls: Vec<Call>,
    pub(super) usage: UsageTotal,
    /// When each model call ended.
    pub(super) model_calls: Vec<Timestamp>,
    pub(super) end: Option<(Timestamp, Ending)>,
}

impl Turn {
    pub(super) fn begin(started: &TurnStarted, at: Timestamp) -> Self {
        Self {
            id: started.turn,
            inputs: started.inputs.clone(),
            model: started.agent.model.to_string(),
            started_at: at,
            text: String::new(),
            calls: Vec::new(),
            usage: UsageTotal::default(),
            model_calls: Vec::new(),
            end: None,
        }
    }

    /// Takes one of the turn's events in.
    pub(super) fn take(&mut self, envelope: &Envelope) {
        match &envelope.event {
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.say(&Part::join_text(&message.parts));
                let asked_by = self.model_calls.len();
                self.model_calls.push(envelope.at);
                let calls = message.parts.iter().filter_map(|part| asked(part, envelope.at, asked_by));
                self.calls.extend(calls);
            }
            Event::ToolCalled(called) => {
                if let Some(call) = self.calls.iter_mut().find(|call| call.id == called.call) {
                    call.input = called.arguments.clone();
                    (call.at, call.started) = (envelope.at, true);
                }
            }
            Event::ToolFinished(finished) => self.finish(finished),
            Event::UsageRecorded(usage) => self.usage.add_call(usage.tokens, usage.cost),
            Event::TurnCompleted(_) => self.end = Some((envelope.at, Ending::Completed)),
            Event::TurnFailed(failed) => self.end = Some((envelope.at, Ending::Failed(problem(failed)))),
            Event::TurnCancelled(_) => self.end = Some((envelope.at, Ending::Cancelled)),
            _ => {}
        }
    }

    fn say(&mut self, text: &str) {
        if !text.is_empty() {
            if !self.text.is_empty() {
                self.text.push_str(BLANK_LINE);
            }
            self.text.push_str(text);
        }
    }

    fn finish(&mut self, finished: &ToolFinished) {
        if let Some(call) = self.calls.iter_mut().find(|call| call.id == finished.call) {
            call.output = shown(&mask::text(&Part::join_text(&finished.content)), OUTPUT_CHARS);
            call.duration_ms = finished.duration_ms;
            call.outcome = Some(finished.outcome);
        }
    }

    pub(super) fn call(&self, id: &CallId) -> Option<&Call> {
        self.calls.iter().find(|call| call.id == *id)
    }

    /// The whole reply: the text, and after it what went wrong.
    pub(super) fn reply(&self) -> Cow<'_, str> {
        let after: &str = match &self.end {
            Some((_, Ending::Failed(problem))) => &problem.message,
            Some((_, Ending::Cancelled)) => CANCELLED,
            _ if self.text.is_empty() => NO_TEXT,
            _ => return Cow::Borrowed(&self.text),
        };
        match self.text.is_empty() {
            true => Cow::Owned(after.to_owned()),
            false => Cow::Owned(format!("{}{BLANK_LINE}{after}", self.text)),
        }
    }

    /// The phase the turn ended in.
    pub(super) fn phase(&self) -> &'static str {
        match &self.end {
            Some((_, Ending::Failed(_))) => "",
            Some((_, Ending::Cancelled)) => "cancelled",
            _ => "execute",
        }
    }

    /// Whether the turn did what was asked; nobody knows of a cancelled one.
    pub(super) fn passed(&self) -> Option<bool> {
        match &self.end {
            Some((_, Ending::Completed)) => Some(true),
            Some((_, Ending::Failed(_))) => Some(false),
            _ => None,
        }
    }

    /// From the turn's start to its end.
    pub(super) fn duration_ms(&self) -> Option<u64> {
        let took = self.end.as_ref()?.0.since(self.started_at);
        u64::try_from(took.as_millis()).ok()
    }

    /// What went wrong, if anything did.
    pub(super) fn problem(&self) -> Option<Problem> {
        match &self.end {
            Some((_, Ending::Failed(problem))) => Some(problem.clone()),
            Some((_, Ending::Cancelled)) => Some(super::ending::Kind::Cancelled.problem()),
            _ => None,
        }
    }

    /// The calls that ended, as clients are shown them.
    pub(super) fn tool_calls(&self, message: Uuid) -> Vec<ToolCall> {
        let ended = self.calls.iter().filter(|call| call.outcome.is_some());
        ended.map(|call| ToolCall::of(call, message)).collect()
    }
}

/// A call a message asks for.
fn asked(part: &Part, at: Timestamp, asked_by: usize) -> Option<Call> {
    let Part::ToolCall { item, call, tool, arguments } = part else { return None };
    Some(Call {
        id: call.clone(),
        item: *item,
        tool: tool.clone(),
        input: arguments.clone(),
        output: String::new(),
        duration_ms: 0,
        outcome: None,
        at,
        started: false,
        asked_by,
    })
}

/// A tool call as clients are shown it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub(super) struct ToolCall {
    pub(super) tool_name: String,
    pub(super) tool: String,
    pub(super) input: Value,
    pub(super) output: String,
    pub(super) duration_ms: u64,
    pub(super) is_error: bool,
    pub(super) tool_call_id: CallId,
    pub(super) message_id: Uuid,
    pub(super) timestamp: Timestamp,
}

impl ToolCall {
    fn of(call: &Call, message_id: Uuid) -> Self {
        Self {
            tool_name: call.tool.clone(),
            tool: call.tool.clone(),
            input: object(&call.input),
            output: call.output.clone(),
            duration_ms: call.duration_ms,
            is_error: call.outcome != Some(ToolOutcome::Ok),
            tool_call_id: call.id.clone(),
            message_id,
            timestamp: call.at,
        }
    }
}

/// Arguments as an object, whatever the model made of them, without keys.
pub(super) fn object(arguments: &Value) -> Value {
    match mask::value(arguments) {
        object @ Value::Object(_) => object,
        other => Value::Object(serde_json::Map::from_iter([("value".to_owned(), other)])),
    }
}

/// A text of at most `chars` characters, with a word where it was cut.
pub(super) fn shown(text: &str, chars: usize) -> String {
    match text.char_indices().nth(chars) {
        Some((at, _)) => format!("{}… [truncated]", &text[..at]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_fall_on_characters_whatever_they_are_made_of() {
        for one in ["a", "é", "世", "🐕"] {
            for cap in [500, 2_000, 3_000, 4_000, 16_384] {
                let exact = one.repeat(cap);
                assert_eq!(shown(&exact, cap), exact);
                let cut = shown(&one.repeat(cap + 1), cap);
                assert_eq!(cut, format!("{exact}… [truncated]"));
            }
        }
    }
}
