//! What each sent frame's number stood for, so that a client that comes back gets what it missed.

use std::{
    collections::{HashMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use moongate_protocol::{Position, Principal, SessionId, Tenant, Timestamp};

use super::show::Progress;

/// How long a number is known: a client that was away longer reads the session.
const KEPT: Duration = Duration::from_secs(600);
/// Numbers known of one principal.
const KEPT_FRAMES: usize = 4_096;

/// Where a client stands after a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cursor {
    /// In which session.
    pub(super) session: SessionId,
    /// The last event it was shown whole.
    pub(super) after: Position,
    /// Frames it was shown of what comes after that.
    pub(super) skip: usize,
    /// What it was shown of the message being written.
    pub(super) progress: Progress,
}

/// Whose frames.
type Owner = (Tenant, Principal);

/// The door's numbers, and what the newest ones stood for.
#[derive(Debug)]
pub(super) struct Cursors(Mutex<Table>);

#[derive(Debug)]
struct Table {
    last: u64,
    owners: HashMap<Owner, VecDeque<(u64, Timestamp, Cursor)>>,
}

impl Cursors {
    /// Begins above every number of an earlier start.
    pub(super) fn new(now: Timestamp) -> Self {
        let last = u64::try_from(now.as_millis()).unwrap_or(0).saturating_mul(1_000);
        Self(Mutex::new(Table { last, owners: HashMap::new() }))
    }

    /// The next number, for a frame nobody comes back to.
    pub(super) fn next(&self) -> u64 {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.last += 1;
        table.last
    }

    /// The next number, for a frame that leaves its client at `cursor`.
    pub(super) fn put(&self, owner: &Owner, cursor: Cursor, now: Timestamp) -> u64 {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.last += 1;
        let seq = table.last;
        if !table.owners.contains_key(owner) {
            table.owners.retain(|_, kept| kept.back().is_some_and(|last| now.since(last.1) <= KEPT));
            table.owners.insert(owner.clone(), VecDeque::new());
        }
        if let Some(kept) = table.owners.get_mut(owner) {
            kept.push_back((seq, now, cursor));
            while kept.len() > KEPT_FRAMES || kept.front().is_some_and(|first| now.since(first.1) > KEPT) {
                kept.pop_front();
            }
        }
        seq
    }

    /// What a number stood for, if that is still known.
    pub(super) fn find(&self, owner: &Owner, seq: u64, now: Timestamp) -> Option<Cursor> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = table.owners.get(owner)?;
        let at = kept.binary_search_by_key(&seq, |(known, ..)| *known).ok()?;
        kept.get(at).filter(|(_, put, _)| now.since(*put) <= KEPT).map(|(.., cursor)| cursor.clone())
    }
}

#[cfg(test)]
mod tests {
    use moongate_protocol::{Epoch, Seq};

    use super::*;

    fn owner(name: &str) -> Owner {
        ("default".parse().unwrap(), name.parse().unwrap())
    }

    fn cursor(seq: u64) -> Cursor {
        let after = Position { epoch: Epoch(1), seq: Seq(seq) };
        Cursor { session: SessionId::from_bits(1), after, skip: 0, progress: Progress::default() }
    }

    #[test]
    fn numbers_grow_and_are_forgotten_after_their_time_or_by_newer_ones() {
        let at = |secs: i64| Timestamp::from_millis(1_000_000 + secs * 1_000);
        let cursors = Cursors::new(at(0));
        let first = cursors.put(&owner("bob"), cursor(1), at(0));
        assert_eq!(first, 1_000_000_001);
        assert!(cursors.next() > first);
        assert_eq!(cursors.find(&owner("bob"), first, at(600)), Some(cursor(1)));
        assert_eq!(cursors.find(&owner("bob"), first, at(601)), None);
        assert_eq!(cursors.find(&owner("eve"), first, at(1)), None);
        for n in 0..KEPT_FRAMES as u64 {
            cursors.put(&owner("bob"), cursor(n), at(2));
        }
        assert_eq!(cursors.find(&owner("bob"), first, at(2)), None);
        assert!(Cursors::new(at(1)).next() > Cursors::new(at(0)).next());
    }
}
