//! What was spent today, in memory: read from the store when a limit first asks for it, then kept up with every model
//! call that is on disk.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use moongate_protocol::{AgentName, Namespace, Principal, Tenant, Timestamp};
use tokio::sync::{RwLock, RwLockReadGuard};

use crate::{Bill, Spent, SpentRow, Store, StoreError};

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
pub(crate) struct Ledger {
    store: Arc<dyn Store>,
    /// Shared by those who write bills, so that the sums are read when each bill is on disk and noted, or neither.
    bills: RwLock<()>,
    /// None before they were first asked for: the store has everything.
    sums: Mutex<Option<Sums>>,
}

/// The right to write bills, which have to be noted with it.
pub(crate) struct Billing<'a> {
    ledger: &'a Ledger,
    _shared: RwLockReadGuard<'a, ()>,
}

#[derive(Debug, Default)]
struct Sums {
    /// Days since the Unix epoch.
    day: i64,
    accounts: HashMap<(Tenant, Account), Spent>,
}

/// When the UTC day of a time began.
fn day_began(at: Timestamp) -> Timestamp {
    Timestamp::from_millis(at.as_millis().div_euclid(DAY) * DAY)
}

impl Ledger {
    /// A ledger of what this store holds, none of it read yet: a node without limits by day never reads it.
    pub(crate) fn new(store: Arc<dyn Store>) -> Self {
        Self { store, bills: RwLock::default(), sums: Mutex::default() }
    }

    /// Reads what was spent since the day of `now` began, unless that was done before.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub(crate) async fn read(&self, now: Timestamp) -> Result<(), StoreError> {
        if self.sums().is_some() {
            return Ok(());
        }
        let _alone = self.bills.write().await;
        if self.sums().is_some() {
            return Ok(());
        }
        let mut sums = Sums::default();
        for row in self.store.spent(day_began(now)).await? {
            sums.add(now, row);
        }
        *self.sums() = Some(sums);
        Ok(())
    }

    /// Has to be held while bills are written to the store, and until they are noted.
    pub(crate) async fn billing(&self) -> Billing<'_> {
        Billing { ledger: self, _shared: self.bills.read().await }
    }

    /// What was spent on the day of `now`, when it was read. A clock that was set back does not give anything back.
    pub(crate) fn today(&self, now: Timestamp, tenant: &Tenant, account: Account) -> Spent {
        let sums = self.sums();
        let today = sums.as_ref().filter(|sums| day_of(now) <= sums.day);
        today.and_then(|sums| sums.accounts.get(&(tenant.clone(), account))).copied().unwrap_or_default()
    }

    fn sums(&self) -> MutexGuard<'_, Option<Sums>> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Billing<'_> {
    /// Takes in bills that are on disk.
    pub(crate) fn note(self, bills: Vec<Bill>) {
        if let Some(sums) = self.ledger.sums().as_mut() {
            bills.into_iter().for_each(|bill| sums.add(bill.call.at, bill.spent()));
        }
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
