//! Sockets that wait for a session nobody has begun yet.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
};

use moongate_protocol::Alias;
use tokio::sync::watch;

/// Who waits for which session's beginning.
#[derive(Clone, Default)]
pub(super) struct Births(Arc<Mutex<HashMap<Alias, Weak<watch::Sender<()>>>>>);

/// A place among those who wait, given back when dropped.
pub(super) struct Expectation {
    births: Births,
    alias: Alias,
    sender: Option<Arc<watch::Sender<()>>>,
    news: watch::Receiver<()>,
}

impl Births {
    /// Waits for a session; taken before looking whether it is there.
    pub(super) fn expect(&self, alias: &Alias) -> Expectation {
        let mut table = self.lock();
        let sender = table.get(alias).and_then(Weak::upgrade).unwrap_or_else(|| {
            let sender = Arc::new(watch::Sender::new(()));
            table.insert(alias.clone(), Arc::downgrade(&sender));
            sender
        });
        let news = sender.subscribe();
        Expectation { births: self.clone(), alias: alias.clone(), sender: Some(sender), news }
    }

    /// Tells those who wait that a session began.
    pub(super) fn tell(&self, alias: &Alias) {
        if let Some(sender) = self.lock().get(alias).and_then(Weak::upgrade) {
            sender.send_replace(());
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Alias, Weak<watch::Sender<()>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Expectation {
    /// Waits until the session began. Cancel-safe.
    pub(super) async fn born(&mut self) {
        // The sender is held by this value: it cannot be gone.
        drop(self.news.changed().await);
    }
}

impl Drop for Expectation {
    fn drop(&mut self) {
        let mut table = self.births.lock();
        self.sender = None;
        if table.get(&self.alias).is_some_and(|sender| sender.strong_count() == 0) {
            table.remove(&self.alias);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn those_who_wait_are_told_and_nothing_stays() {
        let births = Births::default();
        let (a, b): (Alias, Alias) = ("a".parse().unwrap(), "b".parse().unwrap());
        let (mut one, mut two, other) = (births.expect(&a), births.expect(&a), births.expect(&b));
        births.tell(&a);
        one.born().await;
        two.born().await;
        assert!(!other.news.has_changed().unwrap());
        drop((one, other));
        assert_eq!(births.lock().len(), 1);
        drop(two);
        assert_eq!(births.lock().len(), 0);
    }
}
