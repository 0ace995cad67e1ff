//! Moongate's durable log on SQLite: the log, its projections and its attachments in one folder.
//!
//! One thread owns the only writing connection. What queues while it flushes goes into its next
//! transaction, so that many sessions share one flush and nobody waits for a timer. Readers have
//! connections of their own and never wait for the writer.

mod apply;
mod asks;
mod backup;
mod blobs;
mod chain;
mod check;
mod checkpoint;
mod connect;
mod error;
mod find;
mod folder;
mod keys;
mod lines;
mod list;
mod migrate;
mod prepare;
mod read;
mod readers;
mod rebuild;
mod store;
mod turns;
mod uploads;
mod usage;
mod waiting_turns;
mod walk;
mod writer;

pub use backup::{Restored, backup, restore};
pub use check::check_folder;
pub use error::OpenError;
pub use store::SqliteStore;
