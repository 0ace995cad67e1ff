//! The orra door over real sockets: the contract's transcripts, and the faults that must not come back. Each runs
//! beneath the door's prefix and on a listener of its own.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod delegation;
mod faults;
mod kit;
mod promises;
mod tools;
mod transcripts;
mod turns;
