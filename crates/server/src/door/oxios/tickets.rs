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

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::caller::Known;

    fn caller() -> Authenticated {
        Authenticated(Arc::new(Known {
            caller: moongate_testkit::bob(),
            ended: Default::default(),
            expires_at: None,
            networks: Vec::new(),
            agents: Vec::new(),
            namespaces: Vec::new(),
            browser: None,
        }))
    }

    #[test]
    fn o17_a_ticket_is_good_once_here_and_for_half_a_minute() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let later = |secs| now + Duration::from_secs(secs);
        let text = tickets.issue(&caller(), None, [1; 16], now);
        assert!(tickets.redeem(&text, None, later(29)).is_some());
        assert!(tickets.redeem(&text, None, later(29)).is_none(), "it was used");
        let text = tickets.issue(&caller(), None, [2; 16], now);
        assert!(tickets.redeem(&text, None, later(31)).is_none(), "it was too late");
        let page = Some("https://a.example");
        let text = tickets.issue(&caller(), page, [3; 16], now);
        assert!(tickets.redeem(&text, Some("https://b.example"), now).is_none(), "another page");
        let text = tickets.issue(&caller(), page, [4; 16], now);
        assert!(tickets.redeem(&text, page, now).is_some());
        let revoked = caller();
        let text = tickets.issue(&revoked, None, [5; 16], now);
        revoked.0.ended.cancel();
        assert!(tickets.redeem(&text, None, now).is_none(), "its key has ended");
    }

    #[test]
    fn the_oldest_ticket_of_a_key_goes_first() {
        let (tickets, now) = (Tickets::default(), Instant::now());
        let texts: Vec<_> = (0..17_u8).map(|n| tickets.issue(&caller(), None, [n; 16], now)).collect();
        assert!(tickets.redeem(&texts[0], None, now).is_none());
        assert!(texts[1..].iter().all(|text| tickets.redeem(text, None, now).is_some()));
    }
}
