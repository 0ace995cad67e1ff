//! The session a socket is for, and why the socket ends.

use std::{collections::BTreeMap, time::Duration};

use moongate_core::StoreError;
use moongate_protocol::{AgentName, InputId, SessionId, TurnId};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::door::construct::{
    attach::{Attached, Resume},
    births::Expectation,
    fold::Told,
    id::ChatId,
    settings::Timing,
};

/// What a socket was opened for.
pub(in crate::door::construct) struct Opening {
    pub(in crate::door::construct) id: ChatId,
    pub(in crate::door::construct) name: Option<String>,
    pub(in crate::door::construct) agent: Option<String>,
    pub(in crate::door::construct) resume: Option<Resume>,
}

/// Why a socket is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ending {
    Gone,
    Away,
    Revoked,
    NoAgent,
    Fault,
    Slow,
    Protocol(CloseCode),
}

impl Ending {
    pub(super) fn code(self) -> Option<(CloseCode, &'static str)> {
        match self {
            Self::Gone => None,
            Self::Away => Some((CloseCode::Away, "The gateway shuts down")),
            Self::Revoked => Some((CloseCode::Policy, "The key is no longer valid")),
            Self::NoAgent => Some((CloseCode::Error, "Agent initialization failed")),
            Self::Fault => Some((CloseCode::Error, "Internal fault")),
            Self::Slow => Some((CloseCode::Again, "The client does not read")),
            Self::Protocol(code) => Some((code, "")),
        }
    }
}

/// An input of this socket that has not begun.
pub(super) struct Own {
    pub(super) position: usize,
    pub(super) client_message_id: Option<String>,
    /// When it is taken back.
    pub(super) deadline: Option<Instant>,
    pub(super) expired: bool,
}

/// The session a socket is for.
pub(super) struct Chat {
    pub(super) id: ChatId,
    pub(super) agent: AgentName,
    pub(super) attached: Option<Attached>,
    /// Held while there is no session.
    pub(super) expected: Option<Expectation>,
    pub(super) own: BTreeMap<InputId, Own>,
    /// The turn of an input of this socket, and the client's name for it.
    pub(super) asked: Option<(TurnId, Option<String>)>,
    /// The client said something in it.
    pub(super) spoken: bool,
}

/// Between pings, and what the client owes.
pub(super) struct Pulse {
    pub(super) next: Instant,
    pub(super) unanswered: u32,
    /// When a client that said nothing is one that listens.
    pub(super) listens_at: Option<Instant>,
    /// The end of a turn that was sent and not yet answered by a sign of life.
    pub(super) shown: Option<(SessionId, u64)>,
}

impl Pulse {
    pub(super) fn new(timing: Timing) -> Self {
        let now = Instant::now();
        Self {
            next: now + Duration::from_secs(timing.ping_secs),
            unanswered: 0,
            listens_at: Some(now + Duration::from_secs(timing.first_frame_secs)),
            shown: None,
        }
    }
}

impl Chat {
    pub(super) fn nowhere(id: ChatId, agent: AgentName) -> Self {
        let (attached, expected, asked) = (None, None, None);
        Self { id, agent, attached, expected, own: BTreeMap::new(), asked, spoken: false }
    }

    /// When the next input of this socket is taken back.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.own.values().filter_map(|own| own.deadline).min()
    }

    /// Waits for news of the session. Cancel-safe.
    pub(super) async fn news(&mut self, told: &mut Vec<Told>) -> Result<(), StoreError> {
        match (&mut self.attached, &mut self.expected) {
            (Some(attached), _) => attached.next(told).await,
            (None, Some(expected)) => {
                expected.born().await;
                Ok(())
            }
            (None, None) => std::future::pending().await,
        }
    }
}
