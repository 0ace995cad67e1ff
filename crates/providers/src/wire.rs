//! What the wires have in common: a request becomes bytes, events become pieces.

use bytes::Bytes;
use moongate_core::{Fault, ModelRequest};

use crate::{
    answer::Sink,
    anthropic,
    config::{Quirks, Wire},
    openai_chat, openai_responses,
    prompt::ToolNames,
    sse::Event,
};

/// Whom a request is written for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target<'a> {
    /// The provider's own name of the model.
    pub(crate) model: &'a str,
    /// What our reasoning signatures from this provider are marked with.
    pub(crate) mark: &'a str,
    /// What is peculiar about the provider.
    pub(crate) quirks: &'a Quirks,
}

/// A request as bytes, and what is needed to read its answer.
pub(crate) struct Encoded {
    pub(crate) body: Bytes,
    pub(crate) names: ToolNames,
}

/// Reads the events of one answer. After an error nothing more is read.
pub(crate) trait Decode: Send {
    /// Takes one event; true if it was the last one.
    fn event(&mut self, event: &Event<'_>, sink: &mut Sink<'_>) -> Result<bool, Fault>;

    /// The stream ended, cleanly or not, before a last event; true if the answer is complete all the same.
    fn end(&mut self, sink: &mut Sink<'_>) -> bool;

    /// The answer itself is complete; only its end is missing.
    fn is_complete(&self) -> bool {
        false
    }
}

/// Writes a request.
pub(crate) fn encode(wire: Wire, request: &ModelRequest, target: &Target<'_>) -> serde_json::Result<Encoded> {
    match wire {
        Wire::OpenAiChat => openai_chat::encode(request, target),
        Wire::OpenAiResponses => openai_responses::encode(request, target),
        Wire::Anthropic => anthropic::encode(request, target),
    }
}

/// Makes a reader for one answer.
pub(crate) fn decoder(wire: Wire, mark: &str, names: ToolNames) -> Box<dyn Decode> {
    match wire {
        Wire::OpenAiChat => Box::new(openai_chat::Decoder::new(mark, names)),
        Wire::OpenAiResponses => Box::new(openai_responses::Decoder::new(mark, names)),
        Wire::Anthropic => Box::new(anthropic::Decoder::new(mark, names)),
    }
}
