//! News of all sessions at once: durable events only, live only.

use std::sync::Arc;

use tokio::sync::{Notify, broadcast};

use crate::{
    Caller, Record, Scope, Totals, caller::is_of_its_namespace, limits::ACTIVITY_EVENTS, session::Identity,
};

/// An event and whose it is.
#[derive(Clone)]
pub(crate) struct News {
    identity: Arc<Identity>,
    record: Arc<Record>,
}

/// Where the events of all sessions pass by.
pub(crate) struct Activity {
    news: broadcast::Sender<News>,
    pub(crate) totals: Totals,
    /// Rings when a session begins.
    pub(crate) births: Notify,
}

impl Activity {
    pub(crate) fn new() -> Self {
        let news = broadcast::channel(ACTIVITY_EVENTS).0;
        Self { news, totals: Totals::default(), births: Notify::new() }
    }

    pub(crate) fn publish(&self, identity: &Identity, records: &[Arc<Record>]) {
        self.totals.take(records);
        if self.news.receiver_count() == 0 {
            return;
        }
        let identity = Arc::new(identity.clone());
        for record in records {
            // Nobody listening any more is no fault.
            drop(self.news.send(News { identity: Arc::clone(&identity), record: Arc::clone(record) }));
        }
    }

    pub(crate) fn follow(&self, caller: Caller) -> ActivityFollower {
        ActivityFollower { caller, news: self.news.subscribe() }
    }
}

/// A caller's view of the events of all sessions it may see.
pub struct ActivityFollower {
    caller: Caller,
    news: broadcast::Receiver<News>,
}

/// What a follower of all sessions is told.
pub enum Happening {
    /// An event of a session the caller may see.
    Event(Arc<Record>),
    /// The follower was too slow and missed events: list the sessions again.
    Missed(u64),
    /// The server goes away.
    Closed,
}

impl ActivityFollower {
    /// Waits for what happens next. Cancel-safe.
    pub async fn next(&mut self) -> Happening {
        loop {
            match self.news.recv().await {
                Ok(news) if sees(&self.caller, &news.identity) => return Happening::Event(news.record),
                Ok(_) => {}
                Err(broadcast::error::RecvError::Lagged(missed)) => return Happening::Missed(missed),
                Err(broadcast::error::RecvError::Closed) => return Happening::Closed,
            }
        }
    }
}

/// Whether a caller may see a session: its own tenant's, its own or all owners', within its namespaces and
/// agents.
pub(crate) fn sees(caller: &Caller, identity: &Identity) -> bool {
    caller.may(Scope::SessionsRead) && reaches(caller, identity)
}

/// Whether a session is the caller's, whatever rights it has over its sessions.
pub(crate) fn reaches(caller: &Caller, identity: &Identity) -> bool {
    *caller.tenant() == identity.tenant
        && (caller.sees_all_owners()
            || *caller.principal() == identity.owner
            || (is_of_its_namespace(&identity.owner) && caller.is_granted(&identity.namespace)))
        && caller.may_enter(&identity.namespace)
        && caller.may_use(&identity.agent)
}
