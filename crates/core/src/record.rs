//! An event together with its encoded form: encoded once, for the disk and for every door.

use std::sync::OnceLock;

use bytes::Bytes;
use moongate_protocol::{Envelope, Position};

/// An event of a log: its JSON text, and the typed form of it, made at most once.
#[derive(Debug)]
pub struct Record {
    position: Position,
    json: Bytes,
    envelope: OnceLock<Option<Box<Envelope>>>,
}

/// A record whose text is not an event: the log was damaged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the event at {0} is damaged")]
pub struct Damaged(pub Position);

impl Record {
    /// A new fact, encoded now.
    pub fn new(envelope: Envelope) -> Self {
        #[expect(clippy::expect_used, reason = "every event serializes: its maps have string keys")]
        let json = serde_json::to_vec(&envelope).expect("an event serializes");
        let position = envelope.position();
        Self { position, json: json.into(), envelope: OnceLock::from(Some(Box::new(envelope))) }
    }

    /// A fact as a store kept it.
    pub fn stored(position: Position, json: Bytes) -> Self {
        Self { position, json, envelope: OnceLock::new() }
    }

    /// Where it stands in its log.
    pub fn position(&self) -> Position {
        self.position
    }

    /// One JSON object without line breaks, as clients see it.
    pub fn json(&self) -> &Bytes {
        &self.json
    }

    /// The typed form.
    ///
    /// # Errors
    /// When the text is not an event or stands at another position than it says.
    pub fn envelope(&self) -> Result<&Envelope, Damaged> {
        self.envelope
            .get_or_init(|| {
                let envelope: Option<Envelope> = serde_json::from_slice(&self.json).ok();
                envelope.filter(|e| e.position() == self.position).map(Box::new)
            })
            .as_deref()
            .ok_or(Damaged(self.position))
    }
}
