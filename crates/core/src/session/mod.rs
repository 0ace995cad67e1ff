//! A session: one log, one actor, many followers.

mod actor;
mod approvals;
mod audit;
mod decide;
mod delegations;
mod gates;
mod handle;
mod load;
mod log;
mod open_calls;
mod parked;
mod questions;
mod repeated;
mod running;
mod state;
mod task;
mod transcript;

use std::sync::{Arc, Mutex, PoisonError};

use moongate_protocol::{AgentName, Namespace, Position, Principal, SessionId, Tenant};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

pub(crate) use self::{
    actor::Message,
    approvals::{Asked, gateway as gateway_principal, lapsed},
    decide::{check_metadata, check_title},
    parked::NOT_STARTED,
    state::State,
    transcript::{CallState, Entry, PendingCall, Transcript, calls_in},
};
pub use self::{
    gates::Gate,
    handle::{Accepted, Cancelled, SessionHandle, TakenIn},
};
use crate::{Store, feed::Feed};

/// What never changes about a session.
#[derive(Clone, Debug)]
pub struct Identity {
    /// Behind which wall.
    pub tenant: Tenant,
    /// Who owns it.
    pub owner: Principal,
    /// Where it belongs.
    pub namespace: Namespace,
    /// The agent it began with; narrowed keys are held to it.
    pub agent: AgentName,
    /// Which door its alias belongs to.
    pub door: Arc<str>,
}

/// Where a session's log is, and for how long.
pub(crate) struct Place {
    pub(crate) store: Arc<dyn Store>,
    /// Fires when a session that is not kept is over.
    pub(crate) over: Option<CancellationToken>,
}

/// A session in use: its live side, and its actor while there is one.
pub(crate) struct Slot {
    id: SessionId,
    identity: Identity,
    feed: Arc<Feed>,
    /// Where the log is.
    store: Arc<dyn Store>,
    /// Fires when a session that is not kept is over.
    over: Option<CancellationToken>,
    mailbox: Mutex<Option<mpsc::Sender<Message>>>,
}

impl Slot {
    pub(crate) fn new(id: SessionId, identity: Identity, head: Position, place: Place) -> Self {
        let feed = Arc::new(Feed::new(id, head));
        Self { id, identity, feed, store: place.store, over: place.over, mailbox: Mutex::new(None) }
    }

    /// Where the log is.
    pub(crate) fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Where the log is, for one that is to be beside it.
    pub(crate) fn place(&self) -> Place {
        Place { store: Arc::clone(&self.store), over: self.over.clone() }
    }

    /// Waits until a session that is not kept is over; for ever for one that is.
    pub(crate) async fn over(&self) {
        match &self.over {
            Some(over) => over.cancelled().await,
            None => std::future::pending().await,
        }
    }

    /// Whether the log is kept.
    pub(crate) fn is_kept(&self) -> bool {
        self.over.is_none()
    }

    /// Ends a session that is not kept.
    pub(crate) fn end(&self) {
        if let Some(over) = &self.over {
            over.cancel();
        }
    }

    /// Whether the session was not kept and is over.
    pub(crate) fn is_over(&self) -> bool {
        self.over.as_ref().is_some_and(CancellationToken::is_cancelled)
    }

    pub(crate) fn id(&self) -> SessionId {
        self.id
    }

    pub(crate) fn identity(&self) -> &Identity {
        &self.identity
    }

    pub(crate) fn feed(&self) -> &Arc<Feed> {
        &self.feed
    }

    /// The actor's mailbox; `start` makes an actor when there is none.
    pub(crate) fn mailbox(&self, start: impl FnOnce() -> mpsc::Sender<Message>) -> mpsc::Sender<Message> {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        match &*mailbox {
            Some(sender) if !sender.is_closed() => sender.clone(),
            _ => mailbox.insert(start()).clone(),
        }
    }

    /// Takes the mailbox away if nobody else can be about to write to it: then the actor may end.
    pub(crate) fn retire(&self, receiver: &mpsc::Receiver<Message>) -> bool {
        let mut mailbox = self.mailbox.lock().unwrap_or_else(PoisonError::into_inner);
        let unused = receiver.is_empty() && receiver.sender_strong_count() <= 1;
        if unused {
            *mailbox = None;
        }
        unused
    }

    /// Whether an actor works on the session.
    pub(crate) fn is_live(&self) -> bool {
        self.mailbox.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }
}
