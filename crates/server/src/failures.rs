//! How often authentication failed lately, and whether that is too often.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use crate::{
    address::counted,
    limits::{
        DOOR_FAILURES, DOOR_PENALTY, FAILURE_ADDRESSES, FAILURE_WINDOW, FAILURES_GLOBAL, FAILURES_PER_ADDRESS,
    },
};

/// Counts failures in windows, by address and over all. Loopback is not exempt.
#[derive(Debug, Default)]
pub(crate) struct Failures(Mutex<Counts>);

#[derive(Debug, Default)]
struct Counts {
    began: Option<Instant>,
    all: u32,
    by_address: HashMap<IpAddr, u32>,
}

impl Failures {
    /// How long this address has to wait before it may try again; none when it may now.
    pub(crate) fn wait(&self, address: IpAddr) -> Option<Duration> {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let left = counts.turn(Instant::now());
        let own = counts.by_address.get(&counted(address)).copied().unwrap_or(0);
        (counts.all >= FAILURES_GLOBAL || own >= FAILURES_PER_ADDRESS).then_some(left)
    }

    /// Counts a failure; says whether it used up this address's budget.
    pub(crate) fn count(&self, address: IpAddr) -> bool {
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        counts.turn(Instant::now());
        counts.all = counts.all.saturating_add(1);
        let address = counted(address);
        if counts.by_address.len() >= FAILURE_ADDRESSES && !counts.by_address.contains_key(&address) {
            return false;
        }
        let own = counts.by_address.entry(address).or_default();
        *own = own.saturating_add(1);
        *own == FAILURES_PER_ADDRESS
    }
}

impl Counts {
    /// Begins a new window when the old one is over; says how long the current one lasts.
    fn turn(&mut self, now: Instant) -> Duration {
        let over = self.began.is_none_or(|began| now.duration_since(began) >= FAILURE_WINDOW);
        if over {
            *self = Self { began: Some(now), ..Self::default() };
        }
        let began = self.began.unwrap_or(now);
        FAILURE_WINDOW.saturating_sub(now.duration_since(began))
    }
}

/// Counts failures at the doors, and makes an address that has too many wait. It holds back failing requests
/// only, so a valid key is not held up by who shares its address.
#[derive(Debug, Default)]
pub(crate) struct Penalties(Mutex<HashMap<IpAddr, Record>>);

#[derive(Clone, Copy, Debug)]
struct Record {
    began: Instant,
    failed: u32,
    until: Option<Instant>,
}

/// What one more failure leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing yet.
    Below,
    /// The next one will be held back.
    Reached,
    /// Held back for so long.
    Over(Duration),
}

impl Penalties {
    /// Counts a failure.
    pub(crate) fn count(&self, address: IpAddr) -> Verdict {
        self.count_at(counted(address), Instant::now())
    }

    fn count_at(&self, address: IpAddr, now: Instant) -> Verdict {
        let mut records = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if records.len() >= FAILURE_ADDRESSES && !records.contains_key(&address) {
            let over = |record: &Record| record.until.unwrap_or(record.began + FAILURE_WINDOW) <= now;
            records.retain(|_, record| !over(record));
            let oldest = records.iter().min_by_key(|(_, record)| record.began).map(|(address, _)| *address);
            if let Some(oldest) = oldest.filter(|_| records.len() >= FAILURE_ADDRESSES) {
                records.remove(&oldest);
            }
        }
        let fresh = Record { began: now, failed: 0, until: None };
        let record = records.entry(address).or_insert(fresh);
        match record.until {
            Some(until) if now < until => return Verdict::Over(until - now),
            Some(_) => *record = fresh,
            None if now.duration_since(record.began) >= FAILURE_WINDOW => *record = fresh,
            None => {}
        }
        record.failed += 1;
        if record.failed < DOOR_FAILURES {
            return Verdict::Below;
        }
        record.until = Some(now + DOOR_PENALTY);
        Verdict::Reached
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_past_its_budget_waits_and_others_do_not_until_all_are_past_theirs() {
        let failures = Failures::default();
        let address = |n: u32| IpAddr::from((0x0a00_0000 + n).to_be_bytes());
        for n in 0..FAILURES_PER_ADDRESS {
            assert!(failures.wait(address(1)).is_none(), "after {n}");
            assert_eq!(failures.count(address(1)), n + 1 == FAILURES_PER_ADDRESS);
        }
        assert!(failures.wait(address(1)).is_some_and(|wait| wait <= FAILURE_WINDOW));
        assert!(failures.wait(address(2)).is_none());
        for n in 0..FAILURES_GLOBAL {
            failures.count(address(100 + n));
        }
        assert!(failures.wait(address(2)).is_some());
    }

    #[test]
    fn one_customers_ipv6_addresses_share_a_budget() {
        let failures = Failures::default();
        for n in 0..u128::from(FAILURES_PER_ADDRESS) {
            failures.count(IpAddr::from((0x2001_0db8_u128 << 96 | n).to_be_bytes()));
        }
        assert!(failures.wait("2001:db8::ffff".parse().unwrap()).is_some());
        assert!(failures.wait("2001:db8:0:1::1".parse().unwrap()).is_none());
    }

    #[test]
    fn at_a_door_an_address_past_its_budget_is_held_back_and_then_begins_anew() {
        let penalties = Penalties::default();
        let (address, now) = ("192.0.2.1".parse().unwrap(), Instant::now());
        for _ in 1..DOOR_FAILURES {
            assert_eq!(penalties.count_at(address, now), Verdict::Below);
        }
        assert_eq!(penalties.count_at(address, now), Verdict::Reached);
        assert_eq!(penalties.count_at(address, now), Verdict::Over(DOOR_PENALTY));
        assert_eq!(penalties.count_at("192.0.2.2".parse().unwrap(), now), Verdict::Below);
        assert_eq!(penalties.count_at(address, now + DOOR_PENALTY), Verdict::Below);
        for n in 0..u32::try_from(2 * FAILURE_ADDRESSES).unwrap() {
            penalties.count_at(IpAddr::from((0x0a00_0000 + n).to_be_bytes()), now);
        }
        assert!(penalties.0.lock().unwrap().len() <= FAILURE_ADDRESSES);
    }
}
