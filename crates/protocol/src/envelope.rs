//! An event with its place in the world.

use serde::{Deserialize, Serialize};

use crate::{Epoch, Event, Position, Seq, SessionId, Timestamp};

/// An event as the log holds it and clients see it: one flat JSON object.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Envelope {
    /// Which incarnation of the log.
    pub epoch: Epoch,
    /// Its number in the session.
    pub seq: Seq,
    /// When it was written down.
    pub at: Timestamp,
    /// Whose log.
    pub session: SessionId,
    /// The fact.
    #[serde(flatten)]
    pub event: Event,
}

impl Envelope {
    /// Where a follower stands after this event.
    pub fn position(&self) -> Position {
        Position { epoch: self.epoch, seq: self.seq }
    }
}
