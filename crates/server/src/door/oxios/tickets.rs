//! Tickets: a credential for one WebSocket, for half a minute, in place of a key in a URL.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tokio::time::Instant;

use crate::caller::Authenticated;

/// Begins every ticket.
const PREFIX: &str = "wst_";
/// How long a ticket is good.
pub(super) const GOOD_FOR: Duration = Duration::from_secs(30);
/// Open tickets of one key; the oldest goes first.
const PER_KEY: usize = 16;
/// Open tickets of all keys: far more than clients that connect within half a minute.
const OPEN: usize = 8_192;

/// The tickets nobody used yet, by their hashes.
#[derive(Default)]
pub(super) struct Tickets(Mutex<Open>);

#[derive(Default)]
struct Open {
    by_hash: HashMap<[u8; 32], Ticket>,
    issued: u64,
}

struct Ticket {
    caller: Authenticated,
    origin: Option<String>,
    expires_at: Instant,
    number: u64,
}

impl Tickets {
    /// Issues a ticket for the caller's key and, where a page asked, for its origin.
    pub(super) fn issue(
        &self,
        caller: &Authenticated,
        origin: Option<&str>,
        random: [u8; 16],
        now: Instant,
    ) -> String {
        let text = format!("{PREFIX}{}", HEXLOWER.encode(&random));
        let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        open.by_hash.retain(|_, ticket| now < ticket.expires_at);
        open.make_room(|ticket| ticket.caller.key() == caller.key(), PER_KEY);
        open.make_room(|_| true, OPEN);
        open.issued += 1;
        let ticket = Ticket {
            caller: caller.clone(),
            origin: origin.map(str::to_owned),
            expires_at: now + GOOD_FOR,
            number: open.issued,
        };
        open.by_hash.insert(hash(&text), ticket);
        text
    }

    /// Uses a ticket up: its caller, if it is good here and now.
    pub(super) fn redeem(&self, text: &str, origin: Option<&str>, now: Instant) -> Option<Authenticated> {
        let ticket = {
            let mut open = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            open.by_hash.remove(&hash(text))?
        };
        let known = &ticket.caller.0;
        // Its own expiry is seen where callers are let in.
        let alive = !known.ended.is_cancelled();
        let here = ticket.origin.is_none() || ticket.origin.as_deref() == origin;
        (alive && here && now < ticket.expires_at).then_some(ticket.caller)
    }
}

impl Open {
    /// Drops the oldest of some tickets until one more has room.
    fn make_room(&mut self, of: impl Fn(&Ticket) -> bool, most: usize) {
        let mut numbers: Vec<u64> =
            self.by_hash.values().filter(|ticket| of(ticket)).map(|ticket| ticket.number).collect();
        if numbers.len() < most {
            return;
        }
        numbers.sort_unstable();
        let newest_to_go = numbers[numbers.len() - most];
        self.by_hash.retain(|_, ticket| !of(ticket) || ticket.number > newest_to_go);
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}
