//! What the engine does, through the door its doors use: `Gateway` and `SessionHandle`.

#![expect(clippy::unwrap_used, reason = "what cannot go on fails the test")]

mod approvals;
mod cancel;
mod client_tools;
mod compaction;
mod delegation;
mod ephemeral;
mod follow;
mod idempotency;
mod limits;
mod logs;
mod prompts;
mod prune;
mod questions;
mod queue;
mod recovery;
mod sessions;
mod spend;
mod store_faults;
mod tools;
mod turn;
mod wall;

use moongate_protocol::{Envelope, Event, TurnCancelled, TurnFailed};

/// How a turn failed, when that is how it ended.
fn turn_failed(ended: &Envelope) -> &TurnFailed {
    let Event::TurnFailed(failed) = &ended.event else { panic!("it did not fail: {ended:?}") };
    failed
}

/// How a turn was cancelled, when that is how it ended.
fn turn_cancelled(ended: &Envelope) -> &TurnCancelled {
    let Event::TurnCancelled(cancelled) = &ended.event else { panic!("it was not cancelled: {ended:?}") };
    cancelled
}
