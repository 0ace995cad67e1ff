//! Submissions that were made before, by the names their clients gave them.

use moongate_protocol::{IdempotencyKey, InputId, Position, Principal, SessionId, Tenant, Timestamp};

use crate::DoorName;

/// A client's name for a submission. It is its principal's own: others may use the same one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SubmissionKey {
    /// Where it counts.
    pub place: KeyPlace,
    /// Whose it is.
    pub by: Principal,
    /// The name.
    pub key: IdempotencyKey,
}

/// Where a client's name for a submission counts.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum KeyPlace {
    /// In one session.
    Session(SessionId),
    /// In all sessions of a tenant that were opened through one door.
    Door(Tenant, DoorName),
}

/// An idempotency key's row, written with the events it stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyRow {
    /// The client's name for the submission.
    pub name: SubmissionKey,
    /// Where it was submitted.
    pub session: SessionId,
    /// SHA-256 of what was submitted.
    pub body_hash: [u8; 32],
    /// The input it became.
    pub input: InputId,
    /// Where its event stands.
    pub position: Position,
    /// The queue's length that was answered.
    pub queue_length: usize,
    /// When; rows are kept for at least 24 hours.
    pub at: Timestamp,
}
