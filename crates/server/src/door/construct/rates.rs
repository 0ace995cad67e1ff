//! How often a key may say something, and how many sockets it may have.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use moongate_core::Caller;
use moongate_protocol::{KeyId, Principal};

/// The window inputs are counted in.
const MINUTE: Duration = Duration::from_secs(60);
/// Keys that are counted apart; past it those whose window is over are forgotten.
const KEYS: usize = 10_000;

/// Whose share it is: a key's, or the administrator's.
type Whose = Result<KeyId, Principal>;

fn whose(caller: &Caller) -> Whose {
    caller.key().ok_or_else(|| caller.principal().clone())
}

/// Inputs of each key in the running minute.
pub(super) struct Inputs {
    most: u32,
    counts: Mutex<HashMap<Whose, (Instant, u32)>>,
}

impl Inputs {
    pub(super) fn new(most: u32) -> Self {
        Self { most, counts: Mutex::default() }
    }

    /// Counts an input; how long to wait, when there were too many.
    pub(super) fn take(&self, caller: &Caller) -> Option<Duration> {
        self.take_at(whose(caller), Instant::now())
    }

    fn take_at(&self, whose: Whose, now: Instant) -> Option<Duration> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() >= KEYS {
            counts.retain(|_, (began, _)| now.duration_since(*began) < MINUTE);
        }
        let (began, count) = counts.entry(whose).or_insert((now, 0));
        if now.duration_since(*began) >= MINUTE {
            (*began, *count) = (now, 0);
        }
        if *count >= self.most {
            return Some(MINUTE.saturating_sub(now.duration_since(*began)));
        }
        *count += 1;
        None
    }
}

/// Open sockets of each key.
#[derive(Clone)]
pub(super) struct Sockets {
    most: usize,
    counts: Arc<Mutex<HashMap<Whose, usize>>>,
}

/// A place among a key's sockets, given back when dropped.
pub(super) struct Place {
    sockets: Sockets,
    whose: Whose,
}

impl Sockets {
    pub(super) fn new(most: usize) -> Self {
        Self { most, counts: Arc::default() }
    }

    /// A place for one more; `None` when there are as many as there may be.
    pub(super) fn take(&self, caller: &Caller) -> Option<Place> {
        let whose = whose(caller);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(whose.clone()).or_default();
        if *count >= self.most {
            return None;
        }
        *count += 1;
        Some(Place { sockets: self.clone(), whose })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.sockets.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.whose) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                counts.remove(&self.whose);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_past_its_share_waits_for_the_next_minute() {
        let inputs = Inputs::new(2);
        let (bob, eve): (Whose, Whose) = (Err("bob".parse().unwrap()), Err("eve".parse().unwrap()));
        let now = Instant::now();
        assert_eq!(inputs.take_at(bob.clone(), now), None);
        assert_eq!(inputs.take_at(bob.clone(), now), None);
        let later = now + Duration::from_secs(20);
        assert_eq!(inputs.take_at(bob.clone(), later), Some(Duration::from_secs(40)));
        assert_eq!(inputs.take_at(eve, later), None);
        assert_eq!(inputs.take_at(bob, now + MINUTE), None);
    }
}
