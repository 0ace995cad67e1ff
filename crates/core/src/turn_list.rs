//! Turns as lists show them: derived from the logs, the same in every engine.

use std::collections::BTreeMap;

use moongate_protocol::{Principal, Seq, SessionId, Tenant, Timestamp, TurnId};

/// How a turn ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TurnEnding {
    /// Well.
    Completed,
    /// Badly.
    Failed,
    /// It was stopped.
    Cancelled,
}

/// A turn as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TurnRow {
    /// Its id.
    pub turn: TurnId,
    /// In which session.
    pub session: SessionId,
    /// Whose session.
    pub owner: Principal,
    /// The event that began it.
    pub seq: Seq,
    /// The beginning of what set it off; absent when that waited before and stands earlier in the log.
    pub name: Option<String>,
    /// When it began.
    pub started_at: Timestamp,
    /// When and how it ended, once it did.
    pub ended: Option<(Timestamp, TurnEnding)>,
}

/// Which turns to list, newest first.
#[derive(Clone, Debug, Default)]
pub struct TurnQuery {
    /// Only of this owner's sessions.
    pub owner: Option<Principal>,
    /// Only of this session.
    pub session: Option<SessionId>,
    /// Rows to leave out first.
    pub offset: usize,
    /// Most rows to return.
    pub limit: usize,
}

/// How many turns there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TurnCounts {
    /// That have not ended.
    pub open: u64,
    /// That ended well.
    pub completed: u64,
    /// That ended badly.
    pub failed: u64,
    /// That were stopped.
    pub cancelled: u64,
}

impl TurnCounts {
    /// All of them.
    pub fn all(self) -> u64 {
        self.open + self.completed + self.failed + self.cancelled
    }

    /// Adds turns that ended so, or have not ended.
    pub fn add(&mut self, ending: Option<TurnEnding>, count: u64) {
        let one = match ending {
            None => &mut self.open,
            Some(TurnEnding::Completed) => &mut self.completed,
            Some(TurnEnding::Failed) => &mut self.failed,
            Some(TurnEnding::Cancelled) => &mut self.cancelled,
        };
        *one += count;
    }
}

/// A change of the turns of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TurnChange {
    /// One began.
    Began {
        /// Which.
        turn: TurnId,
        /// The event that says so.
        seq: Seq,
        /// When.
        at: Timestamp,
        /// What set it off, where the same append says so.
        name: Option<String>,
    },
    /// One ended.
    Ended(TurnId, Timestamp, TurnEnding),
}

/// The turns of a store in memory.
#[derive(Debug, Default)]
pub(crate) struct TurnTable(BTreeMap<(Tenant, TurnId, SessionId), TurnRow>);

impl TurnTable {
    /// Takes a session's changes in.
    pub(crate) fn apply(
        &mut self,
        (tenant, session, owner): (&Tenant, SessionId, &Principal),
        changes: Vec<TurnChange>,
    ) {
        for change in changes {
            match change {
                TurnChange::Began { turn, seq, at, name } => {
                    let owner = owner.clone();
                    let row = TurnRow { turn, session, owner, seq, name, started_at: at, ended: None };
                    self.0.insert((tenant.clone(), turn, session), row);
                }
                TurnChange::Ended(turn, at, ending) => {
                    if let Some(row) = self.0.get_mut(&(tenant.clone(), turn, session)) {
                        row.ended = Some((at, ending));
                    }
                }
            }
        }
    }

    /// Forgets a session's turns.
    pub(crate) fn forget(&mut self, session: SessionId) {
        self.0.retain(|_, row| row.session != session);
    }

    /// The turn of this id.
    pub(crate) fn get(&self, tenant: &Tenant, turn: TurnId) -> Option<TurnRow> {
        let session = |bits| (tenant.clone(), turn, SessionId::from_bits(bits));
        self.0.range(session(0)..=session(u128::MAX)).next().map(|(_, row)| row.clone())
    }

    /// Turns, newest first.
    pub(crate) fn list(&self, tenant: &Tenant, query: &TurnQuery) -> Vec<TurnRow> {
        self.matching(tenant, query).skip(query.offset).take(query.limit).cloned().collect()
    }

    /// Counts turns.
    pub(crate) fn count(&self, tenant: &Tenant, query: &TurnQuery) -> TurnCounts {
        let mut counts = TurnCounts::default();
        self.matching(tenant, query).for_each(|row| counts.add(row.ended.map(|(_, ending)| ending), 1));
        counts
    }

    fn matching<'a>(&'a self, tenant: &Tenant, query: &'a TurnQuery) -> impl Iterator<Item = &'a TurnRow> {
        let tenant = tenant.clone();
        let rows = self.0.iter().rev().filter(move |((whose, ..), _)| *whose == tenant);
        rows.map(|(_, row)| row).filter(|row| {
            query.owner.as_ref().is_none_or(|owner| row.owner == *owner)
                && query.session.is_none_or(|session| row.session == session)
        })
    }
}
