//! OpenAI Responses, without anything stored at the provider: reasoning travels encrypted with the prompt.

mod body;
mod decode;
mod encode;
mod event;

pub(crate) use decode::Decoder;
pub(crate) use encode::encode;
