//! The calls that are under way, so that a client can end one from another request.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moongate_protocol::{KeyId, Principal, Tenant};
use tokio_util::sync::CancellationToken;

use super::message::Id;

/// Whose request it is: ids are the client's, and one client's are not another's.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Whose {
    pub(super) tenant: Tenant,
    pub(super) principal: Principal,
    pub(super) key: Option<KeyId>,
    /// What the handshake called the client, where there was one. A name, and no credential.
    pub(super) client: Option<String>,
    pub(super) id: Id,
}

/// All of them. As many as there are open requests.
#[derive(Debug, Default)]
pub(super) struct Running(Mutex<HashMap<Whose, Vec<CancellationToken>>>);

/// One of them, until it is dropped.
#[derive(Debug)]
pub(super) struct Entry {
    running: Arc<Running>,
    whose: Whose,
    /// Fires when the client wants it ended.
    pub(super) stop: CancellationToken,
}

impl Running {
    /// Adds a call.
    pub(super) fn add(self: &Arc<Self>, whose: Whose) -> Entry {
        let stop = CancellationToken::new();
        self.calls().entry(whose.clone()).or_default().push(stop.clone());
        Entry { running: Arc::clone(self), whose, stop }
    }

    /// Ends the call of that name. Where a client without a handshake shares its key with another, and both have a
    /// call of that name, nobody knows which one is meant, and none ends.
    pub(super) fn stop(&self, whose: &Whose) {
        if let Some([only]) = self.calls().get(whose).map(Vec::as_slice) {
            only.cancel();
        }
    }

    fn calls(&self) -> MutexGuard<'_, HashMap<Whose, Vec<CancellationToken>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        // Fired or not, it is told from the others by that from now on.
        self.stop.cancel();
        let mut calls = self.running.calls();
        if let Some(tokens) = calls.get_mut(&self.whose) {
            tokens.retain(|token| !token.is_cancelled());
            if tokens.is_empty() {
                calls.remove(&self.whose);
            }
        }
    }
}
