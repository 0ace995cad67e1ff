//! OpenAI chat completions, and every endpoint compatible with it.

mod chunk;
mod decode;
mod details;
mod encode;

pub(crate) use decode::Decoder;
pub(crate) use encode::encode;

/// Marks a reasoning signature that is no reasoning of its own: what the provider attached to the tool call
/// that follows, and wants back with it.
const EXTRA_CONTENT: &str = "extra_content";

/// Marks a reasoning signature that holds the whole answer's `reasoning_details`.
const REASONING_DETAILS: &str = "reasoning_details";
