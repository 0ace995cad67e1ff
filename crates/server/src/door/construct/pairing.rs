//! Codes that become keys: pure, with the time handed in. Nothing of it is on disk: a restart drops all codes.

use std::{
    collections::{BTreeMap, HashMap},
    net::IpAddr,
    time::Duration,
};

use moongate_protocol::{KeyId, Timestamp};
use subtle::ConstantTimeEq as _;

use super::settings::Pairing;

/// Wrong guesses from anywhere after which a code is no more.
const GUESSES_PER_CODE: u32 = 10;
/// Requests of one address in a minute.
const REQUESTS_PER_MINUTE: u32 = 10;
/// The window requests are counted in.
const MINUTE: Duration = Duration::from_secs(60);
/// Addresses that are remembered; the oldest is forgotten for a new one.
const ADDRESSES: usize = 10_000;
/// Digits of a code.
const DIGITS: usize = 6;

/// What a new device will get, bound to its code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Offer<I> {
    /// Who gave the code, and what the key may do.
    pub(super) issuer: I,
    /// The device that gets a new key instead of its old one.
    pub(super) replaces: Option<KeyId>,
}

#[derive(Clone, Debug)]
struct Pending<I> {
    code: [u8; DIGITS],
    offer: Offer<I>,
    expires_at: Timestamp,
    wrong: u32,
}

#[derive(Clone, Copy, Debug)]
struct Attempts {
    began: Timestamp,
    requests: u32,
    failed: u32,
    locked_until: Option<Timestamp>,
    last: Timestamp,
}

/// Why a code was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoCode {
    /// Pairing is off.
    Disabled,
    /// Too many codes wait.
    TooMany,
}

/// Why a code was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoKey {
    /// It is not a code, or not any more.
    Invalid,
    /// The address has to wait for so long.
    Wait(Duration),
    /// This guess was one too many: the address is locked out from now on.
    LockedOut(Duration),
}

/// The codes that wait, by who gave them.
pub(super) struct Codes<I> {
    settings: Pairing,
    pending: BTreeMap<String, Pending<I>>,
    attempts: HashMap<IpAddr, Attempts>,
}

impl<I: Clone> Codes<I> {
    pub(super) fn new(settings: Pairing) -> Self {
        Self { settings, pending: BTreeMap::new(), attempts: HashMap::new() }
    }

    /// A new code of `who`, in place of the one that waits.
    pub(super) fn issue(
        &mut self,
        who: &str,
        offer: Offer<I>,
        random: [u8; 8],
        now: Timestamp,
    ) -> Result<(String, Timestamp), NoCode> {
        if !self.settings.enabled {
            return Err(NoCode::Disabled);
        }
        self.forget_old(now);
        if !self.pending.contains_key(who) && self.pending.len() >= self.settings.max_pending {
            return Err(NoCode::TooMany);
        }
        let text = format!("{:06}", u64::from_be_bytes(random) % 1_000_000);
        let mut code = [0; DIGITS];
        code.copy_from_slice(text.as_bytes());
        let expires_at = now.plus(Duration::from_secs(self.settings.code_secs));
        self.pending.insert(who.to_owned(), Pending { code, offer, expires_at, wrong: 0 });
        Ok((text, expires_at))
    }

    /// The code of `who` that waits.
    pub(super) fn of(&mut self, who: &str, now: Timestamp) -> Option<String> {
        self.forget_old(now);
        let code = &self.pending.get(who)?.code;
        Some(String::from_utf8_lossy(code).into_owned())
    }

    /// When any code may be asked for again, when too many wait.
    pub(super) fn room_in(&self, now: Timestamp) -> Duration {
        self.pending.values().map(|pending| pending.expires_at.since(now)).min().unwrap_or_default()
    }

    /// What a code stands for. A right one is used up by it.
    pub(super) fn redeem(&mut self, code: &str, from: IpAddr, now: Timestamp) -> Result<Offer<I>, NoKey> {
        self.admit(from, now)?;
        self.forget_old(now);
        let code = code.trim().as_bytes();
        let mut right = None;
        // All are compared, each in constant time: how long it takes tells nothing about any of them.
        for (who, pending) in &mut self.pending {
            let same: bool = code.ct_eq(&pending.code).into();
            if same {
                right = Some(who.clone());
            } else {
                pending.wrong += 1;
            }
        }
        if let Some(pending) = right.and_then(|who| self.pending.remove(&who)) {
            return Ok(pending.offer);
        }
        self.pending.retain(|_, pending| pending.wrong < GUESSES_PER_CODE);
        Err(self.fail(from, now))
    }

    fn admit(&mut self, from: IpAddr, now: Timestamp) -> Result<(), NoKey> {
        if self.attempts.len() >= ADDRESSES && !self.attempts.contains_key(&from) {
            let oldest = self.attempts.iter().min_by_key(|(_, attempts)| attempts.last).map(|(ip, _)| *ip);
            oldest.and_then(|oldest| self.attempts.remove(&oldest));
        }
        let fresh = Attempts { began: now, requests: 0, failed: 0, locked_until: None, last: now };
        let attempts = self.attempts.entry(from).or_insert(fresh);
        attempts.last = now;
        if let Some(until) = attempts.locked_until {
            if now < until {
                return Err(NoKey::Wait(until.since(now)));
            }
            *attempts = fresh;
        }
        if now.since(attempts.began) >= MINUTE {
            (attempts.began, attempts.requests) = (now, 0);
        }
        attempts.requests += 1;
        if attempts.requests > REQUESTS_PER_MINUTE {
            return Err(NoKey::Wait(MINUTE.saturating_sub(now.since(attempts.began))));
        }
        Ok(())
    }

    fn fail(&mut self, from: IpAddr, now: Timestamp) -> NoKey {
        let lockout = Duration::from_secs(self.settings.lockout_secs);
        let Some(attempts) = self.attempts.get_mut(&from) else { return NoKey::Invalid };
        attempts.failed += 1;
        if attempts.failed < self.settings.max_failed {
            return NoKey::Invalid;
        }
        attempts.locked_until = Some(now.plus(lockout));
        NoKey::LockedOut(lockout)
    }

    fn forget_old(&mut self, now: Timestamp) {
        self.pending.retain(|_, pending| now < pending.expires_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_millis(seconds * 1000)
    }

    fn from(n: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, n])
    }

    fn codes(change: impl FnOnce(&mut Pairing)) -> Codes<&'static str> {
        let mut settings = Pairing { max_failed: 100, ..Pairing::default() };
        change(&mut settings);
        Codes::new(settings)
    }

    fn offer(issuer: &'static str) -> Offer<&'static str> {
        Offer { issuer, replaces: None }
    }

    fn issue(codes: &mut Codes<&'static str>, who: &'static str, n: u64, now: Timestamp) -> String {
        codes.issue(who, offer(who), n.to_be_bytes(), now).unwrap().0
    }

    #[test]
    fn a_code_is_good_once_and_only_for_its_time() {
        let mut codes = codes(|_| {});
        let code = issue(&mut codes, "bob", 482_913, at(0));
        assert_eq!(code, "482913");
        assert_eq!(codes.of("bob", at(1)).as_deref(), Some("482913"));
        assert_eq!(codes.redeem(" 482913 ", from(1), at(1)), Ok(offer("bob")));
        assert_eq!(codes.redeem("482913", from(1), at(1)), Err(NoKey::Invalid));
        let code = issue(&mut codes, "bob", 7, at(0));
        assert_eq!(code, "000007");
        assert_eq!(codes.redeem(&code, from(1), at(600)), Err(NoKey::Invalid));
        assert_eq!(codes.of("bob", at(600)), None);
    }

    #[test]
    fn a_new_code_replaces_its_issuers_and_others_have_a_bound() {
        let mut codes = codes(|settings| settings.max_pending = 2);
        let old = issue(&mut codes, "a", 1, at(0));
        issue(&mut codes, "a", 2, at(0));
        issue(&mut codes, "b", 3, at(0));
        assert_eq!(codes.issue("c", offer("c"), [0; 8], at(0)), Err(NoCode::TooMany));
        assert_eq!(codes.room_in(at(100)), Duration::from_secs(500));
        assert_eq!(codes.redeem(&old, from(1), at(0)), Err(NoKey::Invalid));
        assert!(codes.issue("c", offer("c"), [0; 8], at(600)).is_ok());
    }

    #[test]
    fn ten_wrong_guesses_from_anywhere_end_a_code() {
        let mut codes = codes(|_| {});
        let code = issue(&mut codes, "bob", 5, at(0));
        for n in 0..10 {
            assert_eq!(codes.redeem("999999", from(n), at(0)), Err(NoKey::Invalid));
        }
        assert_eq!(codes.redeem(&code, from(99), at(0)), Err(NoKey::Invalid));
    }

    #[test]
    fn an_address_that_fails_is_locked_out_and_others_are_not() {
        let mut codes = codes(|settings| settings.max_failed = 5);
        let code = issue(&mut codes, "bob", 5, at(0));
        for _ in 0..4 {
            assert_eq!(codes.redeem("999999", from(1), at(0)), Err(NoKey::Invalid));
        }
        let lockout = Duration::from_secs(300);
        assert_eq!(codes.redeem("999999", from(1), at(0)), Err(NoKey::LockedOut(lockout)));
        assert_eq!(codes.redeem(&code, from(1), at(299)), Err(NoKey::Wait(Duration::from_secs(1))));
        assert_eq!(codes.redeem(&code, from(2), at(299)), Ok(offer("bob")));
        let code = issue(&mut codes, "bob", 6, at(300));
        assert_eq!(codes.redeem(&code, from(1), at(300)), Ok(offer("bob")));
    }

    #[test]
    fn an_address_asks_ten_times_a_minute() {
        let mut codes = codes(|_| {});
        for _ in 0..10 {
            assert_eq!(codes.redeem("x", from(1), at(0)), Err(NoKey::Invalid));
        }
        assert_eq!(codes.redeem("x", from(1), at(10)), Err(NoKey::Wait(Duration::from_secs(50))));
        assert_eq!(codes.redeem("x", from(1), at(60)), Err(NoKey::Invalid));
    }

    #[test]
    fn without_pairing_there_are_no_codes() {
        let mut codes = codes(|settings| settings.enabled = false);
        assert_eq!(codes.issue("a", offer("a"), [0; 8], at(0)), Err(NoCode::Disabled));
    }
}
