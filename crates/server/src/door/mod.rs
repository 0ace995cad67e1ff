//! The doors: each a translation of commands and events, and nothing else.

pub(crate) mod native;
