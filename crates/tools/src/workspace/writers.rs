//! Calls that write the same file take turns: without, two that looked at it at once would both write, and one of the
//! changes would be lost.

use std::{
    hash::{BuildHasher as _, RandomState},
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Locks; files that share one wait for each other without need, which is rare and short.
const LOCKS: usize = 64;

/// Who writes which file.
#[derive(Debug)]
pub(super) struct Writers {
    locks: [Mutex<()>; LOCKS],
    spread: RandomState,
}

impl Writers {
    pub(super) fn new() -> Self {
        Self { locks: std::array::from_fn(|_| Mutex::new(())), spread: RandomState::new() }
    }

    /// Waits until nobody else writes this file, and keeps others from it.
    pub(super) fn enter(&self, workspace: &Path, file: &str) -> MutexGuard<'_, ()> {
        let place = usize::try_from(self.spread.hash_one((workspace, file))).unwrap_or_default() % LOCKS;
        // The lock guards no data: whoever ended while holding it left nothing half done.
        self.locks[place].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
