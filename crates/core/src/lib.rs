//! Moongate's engine. It knows no transport, no database and no vendor.
//!
//! A gateway holds the sessions that are in use. Each is owned by one actor that decides on commands
//! (pure), appends the events they lead to (durable), applies them (pure) and publishes them. A turn is a
//! task the actor starts. Doors submit commands and follow events; nothing hangs on a connection.

mod caller;
mod clock;
mod derived;
mod memory;
mod model;
mod record;
mod store;
mod summary;
mod tool;
mod words;

pub use caller::*;
pub use clock::*;
pub use derived::*;
pub use memory::*;
pub use model::*;
pub use record::*;
pub use store::*;
pub use summary::*;
pub use tool::*;
pub use words::*;
