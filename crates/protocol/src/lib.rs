//! Moongate's wire vocabulary: everything a client, a door, the log and the engine agree on.
//!
//! A [`Session`](SessionId) is an append-only log of numbered [`Event`]s. Clients submit
//! [`Command`]s and follow events; pieces of items still being written travel as [`Delta`]s and
//! passing states as [`Notice`]s. Nothing here knows a transport or a database.
//!
//! # Compatibility
//!
//! The JSON forms in `golden/` are promises. A change to [`Event`] answers three questions first:
//! can an old reader read what a new writer wrote (yes: unknown types and fields are kept), can a new
//! reader read old logs (yes: new fields are optional or defaulted), and can an old writer continue a
//! new log (yes: it keeps [`Event::Unknown`] byte for byte and folds it to nothing).

mod command;
mod envelope;
mod error;
mod event;
mod ids;
mod live;
mod names;
mod part;
mod position;
mod time;
mod usage;
mod view;

pub use command::*;
pub use envelope::*;
pub use error::*;
pub use event::*;
pub use ids::*;
pub use live::*;
pub use names::*;
pub use part::*;
pub use position::*;
pub use time::*;
pub use usage::*;
pub use view::*;
