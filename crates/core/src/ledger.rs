//! What was spent today, in memory: read from the store once, then kept up with every model call that is on disk.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use moongate_protocol::{AgentName, Namespace, Principal, Tenant, Timestamp};

use crate::{Spent, SpentRow};

/// Milliseconds of a UTC day.
const DAY: i64 = 24 * 3600 * 1000;

/// Whose spending is summed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Account {
    /// Everybody's.
    Everything,
    /// What one principal set off.
    Caller(Principal),
    /// One agent's.
    Agent(AgentName),
    /// One namespace's and that of all beneath it.
    Namespace(Namespace),
}

/// The sums of one UTC day. Only this process writes, so that they are what the store would say.
#[derive(Debug, Default)]
pub(crate) struct Ledger(Mutex<Sums>);

#[derive(Debug, Default)]
struct Sums {
    /// Days since the Unix epoch.
    day: i64,
    accounts: HashMap<(Tenant, Account), Spent>,
    /// What earlier processes spent is in them.
    is_loaded: bool,
}

/// When the UTC day of a time began.
pub(crate) fn day_began(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(DAY) * DAY)
}

impl Ledger {
    /// Whether what earlier processes spent today is known.
    pub(crate) fn is_loaded(&self) -> bool {
        self.sums().is_loaded
    }

    /// Takes in what earlier processes spent since the day of `now` began.
    pub(crate) fn load(&self, now: Timestamp, rows: Vec<SpentRow>) {
        let mut sums = self.sums();
        for row in rows {
            sums.add(now, row);
        }
        sums.is_loaded = true;
    }

    /// Takes in what was spent at `at`.
    pub(crate) fn note(&self, at: Timestamp, row: SpentRow) {
        self.sums().add(at, row);
    }

    /// What was spent on the day of `now`. A clock that was set back does not give anything back.
    pub(crate) fn today(&self, now: Timestamp, tenant: &Tenant, account: Account) -> Spent {
        let sums = self.sums();
        if day_of(now) > sums.day {
            return Spent::default();
        }
        sums.accounts.get(&(tenant.clone(), account)).copied().unwrap_or_default()
    }

    fn sums(&self) -> MutexGuard<'_, Sums> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Sums {
    fn add(&mut self, at: Timestamp, row: SpentRow) {
        let day = day_of(at);
        if day > self.day {
            self.day = day;
            self.accounts.clear();
        }
        let SpentRow { tenant, principal, namespace, agent, spent } = row;
        let namespaces = namespace.iter().flat_map(upwards).map(Account::Namespace);
        let accounts = [Account::Everything, Account::Agent(agent)];
        for account in accounts.into_iter().chain(principal.map(Account::Caller)).chain(namespaces) {
            self.accounts.entry((tenant.clone(), account)).or_default().add(spent);
        }
    }
}

fn day_of(at: Timestamp) -> i64 {
    at.as_millis().div_euclid(DAY)
}

/// A namespace and all above it.
fn upwards(namespace: &Namespace) -> impl Iterator<Item = Namespace> {
    let text = namespace.as_str();
    let ends = text.match_indices(':').map(|(end, _)| end).chain([text.len()]);
    ends.filter_map(move |end| text[..end].parse().ok())
}
