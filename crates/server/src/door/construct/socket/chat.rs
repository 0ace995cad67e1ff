//! The session a socket is for, and why the socket ends.

use std::collections::BTreeMap;

use moongate_core::StoreError;
use moongate_protocol::{AgentName, InputId, TurnId};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::door::{
    construct::{
        attach::{Attached, Resume},
        births::Expectation,
        fold::Told,
        id::ChatId,
    },
    shared::socket::End,
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
    Over(End),
    NoAgent,
    Fault,
}

impl From<End> for Ending {
    fn from(end: End) -> Self {
        Self::Over(end)
    }
}

impl Ending {
    pub(super) fn code(self) -> Option<(CloseCode, &'static str)> {
        Some(match self {
            Self::Over(End::Gone | End::Silent) => return None,
            Self::Over(End::GoingAway) => (CloseCode::Away, "The gateway shuts down"),
            Self::Over(End::Revoked) => (CloseCode::Policy, "The key is no longer valid"),
            Self::Over(End::Slow) => (CloseCode::Again, "The client does not read"),
            Self::Over(End::TooLarge) => (CloseCode::Size, "The message is too large"),
            Self::Over(End::Protocol(code)) => (code, ""),
            Self::NoAgent => (CloseCode::Error, "Agent initialization failed"),
            Self::Fault => (CloseCode::Error, "Internal fault"),
        })
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
