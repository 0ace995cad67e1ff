//! Clients that talk until the server is gone, each in its own session, each with its own ledger.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::Duration,
};

use super::{
    api::Api,
    ledger::{Ledger, Said, Tally},
    wait::{Chance, pause},
};
use crate::shell::Failed;

/// What a client says: short and long turns, a thought, a tool that does not exist.
const WORDS: &[&str] =
    &["hello", "/slow 2\n/long 20", "/think hm\nwhy?", "/tool nothing {\"a\": 1}", "/long 300"];
/// Longest a client thinks before it speaks again.
const THOUGHT: Duration = Duration::from_millis(40);

/// Clients in sessions of their own.
pub(super) struct Talkers(Vec<Talker>);

struct Talker {
    session: String,
    ledger: Ledger,
    said: usize,
    chance: Chance,
}

impl Talkers {
    pub(super) fn new(api: &Api, count: usize, chance: &mut Chance) -> Result<Self, Failed> {
        let talker = |_| {
            let session = api.create_session().map_err(|e| Failed::new(format!("no session: {e}")))?;
            Ok(Talker {
                session,
                ledger: Ledger::default(),
                said: 0,
                chance: Chance::new(chance.below(u64::MAX)),
            })
        };
        (0..count).map(talker).collect::<Result<_, _>>().map(Self)
    }

    /// Has all of them talk while something is done to the server, and until it is done.
    pub(super) fn talk_during<T>(&mut self, api: &Api, harm: impl FnOnce() -> T) -> Result<T, Failed> {
        let over = AtomicBool::new(false);
        thread::scope(|scope| {
            let talking: Vec<_> =
                self.0.iter_mut().map(|talker| scope.spawn(|| talker.talk(api, &over))).collect();
            let done = harm();
            over.store(true, Ordering::Release);
            for thread in talking {
                thread.join().unwrap_or_else(|_| Err(Failed::new("a client panicked")))?;
            }
            Ok(done)
        })
    }

    /// The clients' sessions.
    pub(super) fn sessions(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|talker| talker.session.as_str())
    }

    pub(super) fn acked(&self) -> usize {
        self.0.iter().map(|talker| talker.ledger.acked()).sum()
    }

    /// Sends again what was not answered, and holds everything against the ledgers.
    pub(super) fn settle_and_verify(&mut self, api: &Api) -> Result<Tally, Failed> {
        self.verify_each(|ledger| ledger.settle_and_verify(api))
    }

    /// Holds everything against the ledgers.
    pub(super) fn verify(&mut self, api: &Api) -> Result<Tally, Failed> {
        self.verify_each(|ledger| ledger.verify(api))
    }

    fn verify_each(
        &mut self,
        verify: impl Fn(&mut Ledger) -> Result<Tally, Failed>,
    ) -> Result<Tally, Failed> {
        let mut tally = Tally::default();
        for talker in &mut self.0 {
            tally.join(verify(&mut talker.ledger)?);
        }
        Ok(tally)
    }
}

impl Talker {
    fn talk(&mut self, api: &Api, over: &AtomicBool) -> Result<(), Failed> {
        while !over.load(Ordering::Acquire) {
            self.said += 1;
            let key = format!("{}-{}", self.session, self.said);
            let words = WORDS[usize::try_from(self.chance.below(WORDS.len() as u64)).unwrap_or(0)];
            match self.ledger.say(api, &self.session, &key, &format!("{words}\nI am {key}"))? {
                Said::Acked | Said::Refused(429 | 503, _) => pause(self.chance.up_to(THOUGHT)),
                Said::Lost => return Ok(()),
                Said::Refused(status, code) => {
                    return Err(Failed::new(format!("{words:?} was refused with {status} {code}")));
                }
            }
        }
        Ok(())
    }
}
