//! What one key may use: inputs in a minute, sockets and turns at once.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use moongate_core::Gate;
use moongate_protocol::KeyId;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::limits::KNOWN_KEYS;

/// What is left of a key's share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// How often at once.
    pub(crate) times: u32,
    /// When all of it is back.
    pub(crate) whole_in: Duration,
}

/// How often a key may do something in a minute. All of a minute's share may be used at once.
#[derive(Debug)]
pub(crate) struct Rate {
    per_minute: AtomicU32,
    buckets: Mutex<HashMap<Option<KeyId>, Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rate {
    /// So often a minute; 0 for as often as one likes.
    pub(crate) fn new(per_minute: u32) -> Self {
        Self { per_minute: AtomicU32::new(per_minute), buckets: Mutex::default() }
    }

    /// How often a minute; 0 for as often as one likes.
    pub(crate) fn per_minute(&self) -> u32 {
        self.per_minute.load(Ordering::Relaxed)
    }

    /// So often a minute from now on. Who has more left than a minute's share now has that.
    pub(crate) fn change(&self, per_minute: u32) {
        self.per_minute.store(per_minute, Ordering::Relaxed);
    }

    /// Uses one of the key's share and says how much is left of it.
    ///
    /// # Errors
    /// How long to wait, when it is used up.
    pub(crate) fn take(&self, key: Option<KeyId>) -> Result<Left, Duration> {
        self.take_at(key, Instant::now())
    }

    fn take_at(&self, key: Option<KeyId>, now: Instant) -> Result<Left, Duration> {
        let per_minute = self.per_minute();
        if per_minute == 0 {
            return Ok(Left::default());
        }
        let most = f64::from(per_minute);
        let a_second = most / 60.0;
        let refill = |bucket: &Bucket| {
            let gained = now.saturating_duration_since(bucket.at).as_secs_f64() * a_second;
            (bucket.left + gained).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if buckets.len() >= KNOWN_KEYS && !buckets.contains_key(&key) {
            // A full bucket says nothing.
            buckets.retain(|_, bucket| refill(bucket) < most);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: most, at: now });
        *bucket = Bucket { left: refill(bucket), at: now };
        if bucket.left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - bucket.left) / a_second));
        }
        bucket.left -= 1.0;
        let whole_in = Duration::from_secs_f64((most - bucket.left) / a_second);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "from 0 to a minute's share"
        )]
        let times = bucket.left as u32;
        Ok(Left { times, whole_in })
    }
}

/// How much of something a key may have at once.
#[derive(Debug)]
pub(crate) struct Shares {
    per_key: usize,
    keys: Mutex<HashMap<Option<KeyId>, Arc<Semaphore>>>,
}

/// One of them, given back when dropped.
pub(crate) type Share = OwnedSemaphorePermit;

impl Shares {
    /// So much for each key.
    pub(crate) fn new(per_key: usize) -> Self {
        Self { per_key, keys: Mutex::default() }
    }

    /// One more now, or none.
    pub(crate) fn try_take(&self, key: Option<KeyId>) -> Option<Share> {
        self.of(key).try_acquire_owned().ok()
    }

    /// What takes one for each turn that runs.
    pub(crate) fn gate(&self, key: Option<KeyId>) -> Gate {
        self.of(key)
    }

    fn of(&self, key: Option<KeyId>) -> Arc<Semaphore> {
        let mut keys = self.keys.lock().unwrap_or_else(PoisonError::into_inner);
        if !keys.contains_key(&key) {
            // Whoever has none keeps none: only keys in use stay.
            keys.retain(|_, share| Arc::strong_count(share) > 1);
        }
        Arc::clone(keys.entry(key).or_insert_with(|| Arc::new(Semaphore::new(self.per_key))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_share_may_be_used_at_once_and_comes_back_evenly() {
        let (rate, now) = (Rate::new(60), Instant::now());
        for used in 1..=60 {
            let left = Left { times: 60 - used, whole_in: Duration::from_secs(used.into()) };
            assert_eq!(rate.take_at(None, now), Ok(left));
        }
        let wait = rate.take_at(None, now).unwrap_err();
        assert!(wait > Duration::from_millis(900) && wait <= Duration::from_secs(1), "{wait:?}");
        assert!(rate.take_at(None, now + Duration::from_millis(1001)).is_ok());
        assert!(rate.take_at(None, now + Duration::from_millis(1001)).is_err());
        let other = moongate_core::Ids::default().make(KeyId::new);
        assert!(rate.take_at(Some(other), now).is_ok());
    }

    #[test]
    fn twenty_queries_every_three_seconds_are_never_too_many_for_six_hundred_a_minute() {
        let (rate, began) = (Rate::new(600), Instant::now());
        let other = moongate_core::Ids::default().make(KeyId::new);
        for round in 0..200 {
            let now = began + Duration::from_secs(3 * round);
            for _ in 0..20 {
                assert!(rate.take_at(None, now).is_ok(), "round {round}");
            }
            // Another key asks without end meanwhile.
            while rate.take_at(Some(other), now).is_ok() {}
        }
    }

    #[test]
    fn a_changed_rate_counts_at_once() {
        let (rate, now) = (Rate::new(2), Instant::now());
        assert!(rate.take_at(None, now).is_ok() && rate.take_at(None, now).is_ok());
        assert!(rate.take_at(None, now).is_err());
        rate.change(60);
        assert_eq!(rate.per_minute(), 60);
        assert!(rate.take_at(None, now + Duration::from_millis(1_001)).is_ok());
        rate.change(1);
        let later = now + Duration::from_secs(600);
        assert!(rate.take_at(None, later).is_ok() && rate.take_at(None, later).is_err());
        rate.change(0);
        assert!((0..100).all(|_| rate.take_at(None, later).is_ok()));
    }

    #[test]
    fn shares_come_back_and_leave_nothing_behind() {
        let shares = Shares::new(2);
        let ids = moongate_core::Ids::default();
        let held = [shares.try_take(None).unwrap(), shares.try_take(None).unwrap()];
        assert!(shares.try_take(None).is_none());
        drop(held);
        assert!(shares.try_take(None).is_some());
        for _ in 0..100 {
            assert!(shares.try_take(Some(ids.make(KeyId::new))).is_some());
        }
        assert!(shares.keys.lock().unwrap().len() <= 2);
    }
}
