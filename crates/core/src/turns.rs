//! How many turns run at once, on the node and for one caller.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use moongate_protocol::{ErrorCode, Principal};
use tokio::sync::Notify;

use crate::{Limits, Refusal};

/// When to try again, for a caller that is told to.
const RETRY_AFTER: Duration = Duration::from_secs(2);

/// The running turns of a node.
#[derive(Clone)]
pub(crate) struct Turns(Arc<Counts>);

struct Counts {
    running: Mutex<Running>,
    freed: Notify,
}

#[derive(Default)]
struct Running {
    per_node: usize,
    per_caller: usize,
    all: usize,
    by_caller: HashMap<Principal, usize>,
}

/// A share of the running turns, given back when dropped.
pub(crate) struct TurnPermit {
    turns: Turns,
    caller: Principal,
}

impl Turns {
    pub(crate) fn new(limits: &Limits) -> Self {
        let turns = Self(Arc::new(Counts { running: Mutex::default(), freed: Notify::new() }));
        turns.set(limits);
        turns
    }

    /// So many from now on; whoever waits looks again.
    pub(crate) fn set(&self, limits: &Limits) {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        (running.per_node, running.per_caller) = (limits.turns_per_node, limits.turns_per_caller);
        drop(running);
        self.0.freed.notify_waiters();
    }

    /// Number of running turns.
    pub(crate) fn count(&self) -> usize {
        self.0.running.lock().unwrap_or_else(PoisonError::into_inner).all
    }

    /// Takes a share, now or not at all.
    ///
    /// # Errors
    /// `rate_limited` when the caller has its share, `unavailable` when the node is full.
    pub(crate) fn try_acquire(&self, caller: &Principal) -> Result<TurnPermit, Refusal> {
        let mut running = self.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        let per_caller = running.per_caller;
        if running.all >= running.per_node {
            let message = format!("{} turns run already", running.all);
            return Err(Refusal::later(ErrorCode::Unavailable, message, RETRY_AFTER));
        }
        let mine = running.by_caller.entry(caller.clone()).or_default();
        if *mine >= per_caller {
            let message = format!("{mine} of your turns run already");
            return Err(Refusal::later(ErrorCode::RateLimited, message, RETRY_AFTER));
        }
        *mine += 1;
        running.all += 1;
        Ok(TurnPermit { turns: self.clone(), caller: caller.clone() })
    }

    /// Waits for a share.
    pub(crate) async fn acquire(&self, caller: &Principal) -> Option<TurnPermit> {
        loop {
            let freed = self.0.freed.notified();
            tokio::pin!(freed);
            freed.as_mut().enable();
            if let Ok(permit) = self.try_acquire(caller) {
                return Some(permit);
            }
            freed.await;
        }
    }
}

impl Drop for TurnPermit {
    fn drop(&mut self) {
        let mut running = self.turns.0.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.all = running.all.saturating_sub(1);
        if let Some(mine) = running.by_caller.get_mut(&self.caller) {
            *mine = mine.saturating_sub(1);
            if *mine == 0 {
                running.by_caller.remove(&self.caller);
            }
        }
        drop(running);
        self.turns.0.freed.notify_waiters();
    }
}
