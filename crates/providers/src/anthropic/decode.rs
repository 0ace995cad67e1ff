//! A Messages stream as pieces.

use std::collections::BTreeMap;

use moongate_core::Fault;
use moongate_protocol::{ReasoningSignature, StopReason};

use super::{
    REDACTED,
    event::{ContentBlock, Delta, StreamEvent, Usage},
};
use crate::{
    answer::{Sink, protocol_fault},
    fault::{ErrorObject, from_event},
    json::filled,
    prompt::ToolNames,
    sse::Event,
    wire::Decode,
};

/// Reads one answer.
pub(crate) struct Decoder {
    mark: String,
    names: ToolNames,
    open: BTreeMap<u32, Open>,
    usage: Usage,
    stop: Option<StopReason>,
}

/// A block being written.
enum Open {
    Text,
    Thinking {
        signature: String,
    },
    Tool {
        slot: u32,
        /// The arguments some compatible servers send whole at the block's start.
        input: Option<String>,
    },
    Other,
}

impl Decoder {
    pub(crate) fn new(mark: &str, names: ToolNames) -> Self {
        Self { mark: mark.to_owned(), names, open: BTreeMap::new(), usage: Usage::default(), stop: None }
    }

    fn begin(&mut self, index: u32, block: &ContentBlock<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        // A server that begins a block twice has ended the first one.
        self.end_block(index, sink)?;
        let open = match &*block.kind {
            "text" => {
                sink.text(block.text.as_deref().unwrap_or_default());
                Open::Text
            }
            "thinking" => {
                sink.reasoning(block.thinking.as_deref().unwrap_or_default());
                Open::Thinking { signature: block.signature.as_deref().unwrap_or_default().to_owned() }
            }
            "redacted_thinking" => {
                let data = block.data.as_deref().unwrap_or_default().to_owned();
                sink.end_reasoning(None);
                sink.seal_reasoning(self.signature(Some(REDACTED.to_owned()), data));
                Open::Other
            }
            "tool_use" => {
                let slot = sink.begin_call(self.names.ours(filled(&block.name).unwrap_or_default()))?;
                let input = block.input.map(|input| input.get()).filter(|input| !is_empty_object(input));
                Open::Tool { slot, input: input.map(str::to_owned) }
            }
            _ => Open::Other,
        };
        self.open.insert(index, open);
        Ok(())
    }

    fn delta(&mut self, index: u32, delta: &Delta<'_>, sink: &mut Sink<'_>) -> Result<(), Fault> {
        match (delta.kind.as_deref().unwrap_or_default(), self.open.get_mut(&index)) {
            ("text_delta", Some(Open::Text) | None) => sink.text(delta.text.as_deref().unwrap_or_default()),
            ("thinking_delta", Some(Open::Thinking { .. })) => {
                sink.reasoning(delta.thinking.as_deref().unwrap_or_default());
            }
            ("signature_delta", Some(Open::Thinking { signature })) => {
                signature.push_str(delta.signature.as_deref().unwrap_or_default());
            }
            ("input_json_delta", Some(Open::Tool { slot, .. })) => {
                sink.arguments(*slot, delta.partial_json.as_deref().unwrap_or_default())?;
            }
            ("input_json_delta", None) => {
                return Err(protocol_fault("The provider sent tool arguments without a call."));
            }
            _ => {}
        }
        Ok(())
    }

    fn end_block(&mut self, index: u32, sink: &mut Sink<'_>) -> Result<(), Fault> {
        match self.open.remove(&index) {
            Some(Open::Thinking { signature }) if signature.is_empty() => sink.end_reasoning(None),
            Some(Open::Thinking { signature }) => sink.seal_reasoning(self.signature(None, signature)),
            Some(Open::Tool { slot, input: Some(input) }) if !sink.has_arguments(slot) => {
                sink.arguments(slot, &input)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn signature(&self, id: Option<String>, data: String) -> ReasoningSignature {
        ReasoningSignature { provider: self.mark.clone(), id, data }
    }

    fn usage(&mut self, newer: &Usage, sink: &mut Sink<'_>) {
        self.usage.update(newer);
        if let Some(tokens) = self.usage.tokens() {
            sink.usage(tokens);
        }
    }

    fn finish(&mut self, sink: &mut Sink<'_>) -> Result<(), Fault> {
        let open: Vec<u32> = self.open.keys().copied().collect();
        for index in open {
            self.end_block(index, sink)?;
        }
        sink.finish(self.stop.unwrap_or(StopReason::EndTurn));
        Ok(())
    }
}

impl Decode for Decoder {
    fn event(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> Result<bool, Fault> {
        let parsed: StreamEvent<'_> = serde_json::from_slice(event.data)
            .map_err(|_| protocol_fault("The provider sent something that is not its protocol."))?;
        match &*parsed.kind {
            "content_block_delta" => {
                if let Some(delta) = &parsed.delta {
                    self.delta(parsed.index, delta, sink)?;
                }
            }
            "content_block_start" => {
                if let Some(block) = &parsed.content_block {
                    self.begin(parsed.index, block, sink)?;
                }
            }
            "content_block_stop" => self.end_block(parsed.index, sink)?,
            "message_start" => {
                if let Some(usage) = parsed.message.and_then(|message| message.usage) {
                    self.usage(&usage, sink);
                }
            }
            "message_delta" => {
                let delta = parsed.delta.as_ref();
                self.stop = delta.and_then(|it| filled(&it.stop_reason)).map(stop_reason).or(self.stop);
                if let Some(usage) = &parsed.usage {
                    self.usage(usage, sink);
                }
            }
            "message_stop" => {
                self.finish(sink)?;
                return Ok(true);
            }
            "error" => return Err(from_event(&ErrorObject::read(event.data).unwrap_or_default())),
            _ => {}
        }
        Ok(false)
    }

    fn end(&mut self, _: &mut Sink<'_>) -> bool {
        false
    }
}

fn is_empty_object(json: &str) -> bool {
    json.strip_prefix('{')
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|inner| inner.trim().is_empty())
}

fn stop_reason(reason: &str) -> StopReason {
    match reason {
        "tool_use" => StopReason::ToolUse,
        "max_tokens" | "model_context_window_exceeded" => StopReason::MaxTokens,
        "stop_sequence" => StopReason::StopSequence,
        "refusal" => StopReason::Refusal,
        _ => StopReason::EndTurn,
    }
}
