//! How often each key may ask.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moongate_protocol::KeyId;
use tokio::time::Instant;

use super::Owner;
use crate::{caller::Authenticated, door::oxios::stream::owner};

/// Keys whose rate is remembered.
const KEYS: usize = 16_384;

/// Requests a minute for each key; as many may come at once.
#[derive(Debug)]
pub(super) struct Rates {
    per_minute: u32,
    buckets: Mutex<HashMap<(Owner, Option<KeyId>), Bucket>>,
}

#[derive(Clone, Copy, Debug)]
struct Bucket {
    left: f64,
    at: Instant,
}

impl Rates {
    pub(super) fn new(per_minute: u32) -> Self {
        Self { per_minute, buckets: Mutex::default() }
    }

    /// Takes one request of a key's rate, or says how long it has to wait.
    pub(super) fn take(&self, caller: &Authenticated) -> Result<(), Duration> {
        if self.per_minute == 0 {
            return Ok(());
        }
        let (most, now) = (f64::from(self.per_minute), Instant::now());
        let a_second = most / 60.0;
        let filled = |bucket: &Bucket| {
            (bucket.left + now.duration_since(bucket.at).as_secs_f64() * a_second).min(most)
        };
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (owner(caller), caller.key());
        if buckets.len() >= KEYS && !buckets.contains_key(&key) {
            buckets.retain(|_, bucket| filled(bucket) < most);
        }
        let bucket = buckets.entry(key).or_insert(Bucket { left: most, at: now });
        let left = filled(bucket);
        if left < 1.0 {
            return Err(Duration::from_secs_f64((1.0 - left) / a_second));
        }
        *bucket = Bucket { left: left - 1.0, at: now };
        Ok(())
    }
}
