//! The Construct door, over real sockets on both its mounts: the contract's transcripts, and the faults of the
//! original that must not come back.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

mod approvals;
mod bounds;
mod counted;
mod delegation;
mod faults;
mod golden;
mod hooks;
mod kit;
mod pairing;
mod principals;
mod sessions;
mod sink;
mod sockets;
