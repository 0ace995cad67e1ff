//! Sums of what model calls used.

use moongate_protocol::{MicroUsd, Principal, SessionId, Timestamp, Tokens};

/// What usage is summed by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UsageGroup {
    /// UTC day.
    Day,
    /// Agent.
    Agent,
    /// Model.
    Model,
    /// Session.
    Session,
}

/// Which calls to sum.
#[derive(Clone, Debug)]
pub struct UsageQuery {
    /// By what.
    pub group: UsageGroup,
    /// Not before.
    pub from: Timestamp,
    /// Before.
    pub to: Timestamp,
    /// Only those that this principal set off.
    pub principal: Option<Principal>,
    /// Only those of this session.
    pub session: Option<SessionId>,
}

impl UsageQuery {
    /// All calls between two times, the second excluded.
    pub fn between(group: UsageGroup, from: Timestamp, to: Timestamp) -> Self {
        Self { group, from, to, principal: None, session: None }
    }
}

/// One group's sums.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UsageRow {
    /// The day, agent, model or session.
    pub group: String,
    /// Tokens of all calls.
    pub tokens: Tokens,
    /// Number of calls.
    pub calls: u64,
    /// Cost of the calls whose price is known.
    pub cost: MicroUsd,
    /// Number of calls whose price is not known.
    pub unpriced_calls: u64,
}
