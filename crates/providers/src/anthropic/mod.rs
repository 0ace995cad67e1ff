//! Anthropic Messages, and endpoints compatible with it.

mod body;
mod decode;
mod encode;
mod event;

pub(crate) use decode::Decoder;
pub(crate) use encode::encode;

/// The version of the protocol we speak.
pub(crate) const VERSION: &str = "2023-06-01";

/// Marks a signature that holds a block the provider hides even from us.
const REDACTED: &str = "redacted_thinking";
