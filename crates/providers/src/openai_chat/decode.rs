//! A chat completions stream as pieces.

use moongate_core::Fault;
use moongate_protocol::{ErrorCode, ReasoningSignature, StopReason};
use serde_json::value::RawValue;

use super::{
    EXTRA_CONTENT, REASONING_DETAILS,
    chunk::{CallDelta, Choice, Chunk, Content, ContentPart, Delta},
    details::Details,
};
use crate::{
    answer::{Sink, protocol_fault},
    fault::{ErrorObject, cut, from_event},
    json::{Text, filled},
    prompt::ToolNames,
    sse::Event,
    wire::Decode,
};

/// Reads one answer.
pub(crate) struct Decoder {
    mark: String,
    names: ToolNames,
    calls: Vec<Call>,
    details: Details,
    stop: Option<StopReason>,
    refused: bool,
}

/// A tool call being written. It is announced with its first argument, because its name may come in pieces.
struct Call {
    index: Option<u32>,
    id: String,
    name: String,
    slot: Option<u32>,
}

impl Decoder {
    pub(crate) fn new(mark: &str, names: ToolNames) -> Self {
        Self {
            mark: mark.to_owned(),
            names,
            calls: Vec::new(),
            details: Details::default(),
            stop: None,
            refused: false,
        }
    }

    fn choice(&mut self, choice: &Choice<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if let Some(delta) = &choice.delta {
            self.delta(delta, sink)?;
        }
        if let Some(reason) = filled(&choice.finish_reason) {
            self.stop = Some(stop_reason(reason)?);
        }
        Ok(())
    }

    fn delta(&mut self, delta: &Delta<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        if let Some(text) = filled(&delta.reasoning_content).or(filled(&delta.reasoning)) {
            sink.reasoning(text);
        }
        if let Some(details) = delta.reasoning_details {
            self.details.push(details.get());
        }
        match &delta.content {
            Some(Content::Text(text)) => self.text(text, sink),
            Some(Content::Parts(parts)) => self.parts(parts, sink),
            None => {}
        }
        if let Some(text) = filled(&delta.refusal) {
            self.refused = true;
            self.text(text, sink);
        }
        delta.tool_calls.iter().flatten().try_for_each(|call| self.call(call, sink))
    }

    fn text(&self, text: &str, sink: &mut Sink<'_>) {
        if !text.is_empty() {
            self.end_reasoning(sink);
            sink.text(text);
        }
    }

    fn parts(&self, parts: &[ContentPart<'_>], sink: &mut Sink<'_>) {
        for part in parts {
            for thought in part.thinking.iter().flatten() {
                sink.reasoning(thought.text.as_deref().unwrap_or_default());
            }
            self.text(part.text.as_deref().unwrap_or_default(), sink);
        }
    }

    /// Chat reasoning carries no signature; ours says where it came from, so that it can be given back there.
    fn end_reasoning(&self, sink: &mut Sink<'_>) {
        if sink.is_reasoning() {
            sink.seal_reasoning(self.signature(None, String::new()));
        }
    }

    fn signature(&self, id: Option<&str>, data: String) -> ReasoningSignature {
        ReasoningSignature { provider: self.mark.clone(), id: id.map(str::to_owned), data }
    }

    fn call(&mut self, delta: &CallDelta<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let function = delta.function.as_ref();
        let name = function.and_then(|it| filled(&it.name)).unwrap_or_default();
        let id = filled(&delta.id).unwrap_or_default();
        let at = match self.find(delta.index, id, name) {
            Some(at) => at,
            None if name.is_empty() && id.is_empty() && self.calls.is_empty() => {
                return Err(protocol_fault("The provider sent tool arguments without a call."));
            }
            None => {
                self.announce_all(sink)?;
                self.calls.push(Call {
                    index: delta.index,
                    id: id.to_owned(),
                    name: String::new(),
                    slot: None,
                });
                self.calls.len() - 1
            }
        };
        let call = &mut self.calls[at];
        // A repeated name is a repetition; a different one continues it.
        if call.slot.is_none() && call.name != name {
            call.name.push_str(name);
        }
        if let Some(extra) = delta.extra_content.filter(|_| call.slot.is_none()) {
            self.end_reasoning(sink);
            sink.seal_reasoning(self.signature(Some(EXTRA_CONTENT), extra.get().to_owned()));
        }
        match function.and_then(|it| it.arguments) {
            Some(arguments) => self.arguments(at, arguments, sink),
            None => Ok(()),
        }
    }

    /// The call a piece belongs to, by index, else by id, else the last one.
    fn find(&self, index: Option<u32>, id: &str, name: &str) -> Option<usize> {
        let other_id = |call: &Call| !id.is_empty() && !call.id.is_empty() && call.id != id;
        if index.is_some() {
            let at = self.calls.iter().rposition(|call| call.index == index)?;
            // The same index with another id and a name is another call all the same.
            return (name.is_empty() || !other_id(&self.calls[at])).then_some(at);
        }
        if !id.is_empty() {
            return self.calls.iter().rposition(|call| call.id == id);
        }
        let last = self.calls.len().checked_sub(1)?;
        let begins_another = !name.is_empty() && self.calls[last].slot.is_some();
        (!begins_another).then_some(last)
    }

    fn arguments(&mut self, at: usize, arguments: &RawValue, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let json = arguments.get();
        if json == "null" || json == "\"\"" {
            return Ok(());
        }
        let slot = self.announce(at, sink)?;
        if json.starts_with('"') {
            let text: Text<'_> = serde_json::from_str(json).map_err(|_| malformed())?;
            sink.arguments(slot, &text)
        } else {
            sink.arguments(slot, json)
        }
    }

    fn announce_all(&mut self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        (0..self.calls.len()).try_for_each(|at| self.announce(at, sink).map(|_| ()))
    }

    fn announce(&mut self, at: usize, sink: &mut Sink<'_>) -> Result<u32, Fault> {
        if let Some(slot) = self.calls[at].slot {
            return Ok(slot);
        }
        self.end_reasoning(sink);
        let slot = sink.begin_call(self.names.ours(&self.calls[at].name))?;
        self.calls[at].slot = Some(slot);
        Ok(slot)
    }

    /// Ends the answer if the provider has said why it stopped.
    fn finish(&mut self, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let Some(stop) = self.stop else { return Ok(false) };
        self.announce_all(sink)?;
        self.end_reasoning(sink);
        if let Some(details) = self.details.take() {
            sink.seal_reasoning(self.signature(Some(REASONING_DETAILS), details));
        }
        let refused = self.refused && stop == StopReason::EndTurn;
        sink.finish(if refused { StopReason::Refusal } else { stop });
        Ok(true)
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let data = event.data.trim_ascii();
        if data.is_empty() {
            return Ok(false);
        }
        if data == b"[DONE]" {
            return if self.finish(sink)? { Ok(true) } else { Err(cut()) };
        }
        let chunk: Chunk<'_> = serde_json::from_slice(data).map_err(|_| malformed())?;
        if chunk.error.is_some_and(|error| error.get() != "null") {
            return Err(from_event(&ErrorObject::read(data).unwrap_or_default()));
        }
        for choice in chunk.choices.iter().flatten().filter(|choice| choice.index == 0) {
            self.choice(choice, sink)?;
        }
        if let Some(tokens) = chunk.usage.and_then(|usage| usage.tokens()) {
            sink.usage(tokens);
        }
        Ok(false)
    }

    fn end(&mut self, sink: &mut Sink<'_>) -> bool {
        self.finish(sink).unwrap_or(false)
    }

    fn is_complete(&self) -> bool {
        self.stop.is_some()
    }
}

fn malformed() -> Fault {
    protocol_fault("The provider sent something that is not its protocol.")
}

fn stop_reason(reason: &str) -> Result<StopReason, Fault> {
    Ok(match reason {
        "length" | "max_tokens" | "model_length" => StopReason::MaxTokens,
        "tool_calls" | "function_call" => StopReason::ToolUse,
        "content_filter" | "sensitive" | "refusal" => StopReason::Refusal,
        "stop_sequence" => StopReason::StopSequence,
        "error" | "network_error" => return Err(cut()),
        "insufficient_system_resource" => {
            return Err(Fault::new(ErrorCode::ProviderOverloaded, "The provider has too much to do."));
        }
        _ => StopReason::EndTurn,
    })
}
