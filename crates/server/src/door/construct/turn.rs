//! A turn's part of the translation: from its events and deltas to what sockets are told.

use std::{collections::HashMap, sync::Arc};

use moongate_core::Models;
use moongate_protocol::{
    ApprovalRequested, CallId, DelegationStarted, Delta, DeltaKind, Event, InputId, MessageCompleted,
    ModelName, Part, Role, Timestamp, ToolFinished, ToolOutcome, TurnId, TurnStarted, UsageTotal,
};
use serde_json::Value;

use super::{
    frames::{Bill, SnapshotTool, ToolCall, ToolResult, TurnSnapshot, TurnStart, Word},
    stream::{Rest, Stream},
};

/// What a failed call's output begins with.
const ERROR: &str = "Error";
/// What a call that was still open at the turn's end gets.
const INTERRUPTED: &str = "Error: interrupted";

/// A tool call of the turn.
#[derive(Clone, Debug)]
struct Call {
    id: CallId,
    name: String,
    args: Value,
    told: bool,
    result: Option<(String, bool)>,
}

/// The turn that runs, as far as a socket has been told.
#[derive(Clone, Debug)]
pub(super) struct TurnFold {
    pub(super) id: TurnId,
    pub(super) input: Option<InputId>,
    pub(super) began: Timestamp,
    pub(super) agent: String,
    pub(super) model: ModelName,
    text: Stream,
    thoughts: Stream,
    /// The text of the last model step.
    step: String,
    calls: Vec<Call>,
    /// What other agents are at work on.
    delegated: HashMap<CallId, DelegationStarted>,
    last_input_tokens: Option<u64>,
    reported: bool,
}

impl TurnFold {
    pub(super) fn begin(started: &TurnStarted, at: Timestamp) -> Self {
        Self {
            id: started.turn,
            input: started.inputs.first().copied(),
            began: at,
            agent: started.agent.agent.to_string(),
            model: started.agent.model.clone(),
            text: Stream::default(),
            thoughts: Stream::default(),
            step: String::new(),
            calls: Vec::new(),
            delegated: HashMap::new(),
            last_input_tokens: None,
            reported: false,
        }
    }

    pub(super) fn start_word(&self) -> Word {
        let (_, model) = split(&self.model);
        Word::TurnStart(TurnStart {
            input_id: self.input,
            agent: self.agent.clone(),
            model: model.to_owned(),
        })
    }

    /// A piece of an unfinished item.
    pub(super) fn delta(&mut self, delta: &Delta) -> Option<Word> {
        match delta.kind {
            DeltaKind::Text => self.text.delta(delta.item, delta.offset, &delta.text).map(Word::Chunk),
            DeltaKind::Reasoning => {
                self.thoughts.delta(delta.item, delta.offset, &delta.text).map(Word::Thinking)
            }
            DeltaKind::ToolArguments | DeltaKind::ToolOutput => None,
        }
    }

    /// An event within the turn.
    pub(super) fn event(&mut self, event: &Event, out: &mut Vec<Word>) {
        match event {
            Event::TurnResumed(_) => {
                let (text, thoughts) = (self.text.drop_unfinished(), self.thoughts.drop_unfinished());
                if text || thoughts {
                    self.tell_anew(out);
                }
            }
            Event::MessageCompleted(message) if message.role == Role::Assistant => {
                self.message(message, out);
            }
            Event::ToolCalled(called) => {
                let at = self.call(&called.call, called.tool.as_str(), &called.arguments);
                self.calls[at].args = called.arguments.clone();
                self.announce(at, out);
            }
            Event::ToolFinished(finished) => self.finished(finished, out),
            Event::DelegationStarted(started) => {
                self.delegated.insert(started.call.clone(), started.clone());
            }
            Event::DelegationFinished(finished) => drop(self.delegated.remove(&finished.call)),
            Event::UsageRecorded(usage) => {
                self.reported |= usage.tokens.input > 0 || usage.tokens.output > 0;
                self.last_input_tokens = Some(usage.tokens.input).filter(|&tokens| tokens > 0);
                self.model = usage.model.clone();
            }
            _ => {}
        }
    }

    /// A call that somebody has to decide on is announced before it may run.
    pub(super) fn asked(&mut self, asked: &ApprovalRequested, out: &mut Vec<Word>) {
        let at = self.call(&asked.call, asked.tool.as_str(), &asked.arguments);
        self.announce(at, out);
    }

    /// Ends the calls nobody ended.
    pub(super) fn interrupt(&mut self, out: &mut Vec<Word>) {
        for call in self.calls.iter_mut().filter(|call| call.told && call.result.is_none()) {
            call.result = Some((INTERRUPTED.to_owned(), true));
            out.push(Word::ToolResult(ToolResult {
                name: call.name.clone(),
                output: INTERRUPTED.to_owned(),
                id: call.id.to_string(),
                is_error: true,
                truncated: false,
                duration_ms: 0,
            }));
        }
    }

    /// What other agents are at work on.
    pub(super) fn delegated(&self) -> impl Iterator<Item = &DelegationStarted> {
        self.delegated.values()
    }

    /// The text of the last model step: the answer of a turn that ended well.
    pub(super) fn answer(&self) -> String {
        self.step.clone()
    }

    /// All text so far.
    pub(super) fn all_text(&self) -> String {
        self.text.all()
    }

    /// Whether any text was told.
    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// What the turn cost, as far as anybody said.
    pub(super) fn bill(&self, usage: &UsageTotal, models: &Arc<dyn Models>) -> Bill {
        let (provider, model) = split(&self.model);
        let known = |tokens: u64| self.reported.then_some(tokens);
        let window = models.get(&self.model).and_then(|model| model.info().context_window);
        #[expect(clippy::cast_precision_loss, reason = "an amount of money far below 2^53 micro-dollars")]
        let cost = usage.cost.filter(|_| self.reported).map(|cost| cost.0 as f64 / 1_000_000.0);
        Bill {
            input_tokens: known(usage.tokens.input),
            output_tokens: known(usage.tokens.output),
            tokens_used: known(usage.tokens.input.saturating_add(usage.tokens.output)),
            last_input_tokens: self.last_input_tokens,
            max_context_tokens: window,
            cost_usd: cost,
            model: model.to_owned(),
            provider: provider.to_owned(),
        }
    }

    /// What a socket that comes in the middle needs to draw the turn.
    pub(super) fn snapshot(&self, as_of_seq: u64) -> Vec<Word> {
        let mut words = Vec::new();
        self.tell_anew(&mut words);
        let tools = self.calls.iter().filter(|call| call.told).map(|call| SnapshotTool {
            id: call.id.to_string(),
            name: call.name.clone(),
            args: call.args.clone(),
            output: call.result.as_ref().map(|(output, _)| output.clone()),
            is_error: call.result.as_ref().map(|&(_, is_error)| is_error),
        });
        words.push(Word::TurnSnapshot(Box::new(TurnSnapshot {
            text: self.text.all(),
            thinking: self.thoughts.all(),
            tools: tools.collect(),
            as_of_seq,
        })));
        words
    }

    fn tell_anew(&self, out: &mut Vec<Word>) {
        use super::frames::Text;
        out.push(Word::ChunkReset);
        let whole = |stream: &Stream| Text { content: stream.all(), offset: 0 };
        if !self.thoughts.is_empty() {
            out.push(Word::Thinking(whole(&self.thoughts)));
        }
        if !self.text.is_empty() {
            out.push(Word::Chunk(whole(&self.text)));
        }
    }

    fn message(&mut self, message: &MessageCompleted, out: &mut Vec<Word>) {
        let mut anew = false;
        for part in &message.parts {
            let Part::Reasoning { item, text, .. } = part else { continue };
            match self.thoughts.complete(*item, text) {
                Rest::Nothing => {}
                Rest::More(text) => out.push(Word::Thinking(text)),
                Rest::Another => anew = true,
            }
        }
        self.step = Part::join_text(&message.parts);
        match self.text.complete(message.item, &self.step) {
            Rest::Nothing => {}
            Rest::More(text) => out.push(Word::Chunk(text)),
            Rest::Another => anew = true,
        }
        if anew {
            self.tell_anew(out);
        }
        for part in &message.parts {
            if let Part::ToolCall { call, tool, arguments, .. } = part {
                self.call(call, tool, arguments);
            }
        }
    }

    fn call(&mut self, id: &CallId, name: &str, args: &Value) -> usize {
        if let Some(at) = self.calls.iter().position(|call| call.id == *id) {
            return at;
        }
        let (name, args) = (name.to_owned(), args.clone());
        self.calls.push(Call { id: id.clone(), name, args, told: false, result: None });
        self.calls.len() - 1
    }

    fn announce(&mut self, at: usize, out: &mut Vec<Word>) {
        let call = &mut self.calls[at];
        if !std::mem::replace(&mut call.told, true) {
            let (name, args, id) = (call.name.clone(), call.args.clone(), call.id.to_string());
            out.push(Word::ToolCall(ToolCall { name, args, id }));
        }
    }

    fn finished(&mut self, finished: &ToolFinished, out: &mut Vec<Word>) {
        let at = self.call(&finished.call, "tool", &Value::Null);
        self.announce(at, out);
        let call = &mut self.calls[at];
        if call.result.is_some() {
            return;
        }
        let is_error = finished.outcome != ToolOutcome::Ok;
        let said = Part::join_text(&finished.content);
        let output = match is_error && !said.starts_with(ERROR) {
            true => format!("{ERROR}: {said}"),
            false => said,
        };
        call.result = Some((output.clone(), is_error));
        out.push(Word::ToolResult(ToolResult {
            name: call.name.clone(),
            output,
            id: call.id.to_string(),
            is_error,
            truncated: finished.truncated,
            duration_ms: finished.duration_ms,
        }));
    }
}

/// A model's provider and its name there.
pub(super) fn split(model: &ModelName) -> (&str, &str) {
    split_name(model.as_str())
}

/// The same of a model's name.
pub(super) fn split_name(model: &str) -> (&str, &str) {
    model.split_once('/').unwrap_or(("", model))
}
