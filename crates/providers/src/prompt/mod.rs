//! What writing a prompt has in common for all wires: names, ids, arguments and media that every provider takes.

mod arguments;
mod calls;
mod media;
mod names;

pub(crate) use arguments::{Arguments, Schema};
pub(crate) use calls::CallNames;
pub(crate) use media::{Base64, DataUrl, Media, read_parts, text_of};
pub(crate) use names::ToolNames;
