//! Whether the store takes writes, by a real one that is not old.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moongate_core::Store;
use tokio::time::{Instant, timeout};

/// How old an answer may be.
const FRESH: Duration = Duration::from_secs(5);
/// How long a write may take; one that takes longer is none.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the last write said.
#[derive(Debug, Default)]
pub(super) struct Readiness(Mutex<Option<(Instant, bool)>>);

impl Readiness {
    /// Whether writes go through. One of those who ask finds out, the others are told what is known meanwhile.
    pub(super) async fn takes_writes(&self, store: &dyn Store) -> bool {
        if store.fault().is_some() {
            return false;
        }
        if let Some(known) = self.known() {
            return known;
        }
        let writes = timeout(PATIENCE, store.probe()).await.is_ok_and(|written| written.is_ok());
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some((Instant::now(), writes));
        writes
    }

    /// What is known, while it is fresh. Whoever gets nothing has to find out.
    fn known(&self) -> Option<bool> {
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (at, known) = last.unwrap_or((Instant::now(), true));
        let is_fresh = last.is_some() && at.elapsed() < FRESH;
        if !is_fresh {
            *last = Some((Instant::now(), known));
        }
        is_fresh.then_some(known)
    }
}
