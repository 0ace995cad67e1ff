//! How much may be spent on models: bounds an operator sets, each looked at before a model is called. A call that
//! began is not broken off.

pub use moongate_protocol::Allowance;
use moongate_protocol::{
    AgentName, ErrorCode, MicroUsd, Namespace, Principal, SpendScope, Tokens, UsageTotal,
};
use serde_json::Value;

use crate::{Fault, is_beneath, ledger::Account};

/// What model calls came to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// Money, for the calls whose price is known.
    pub cost: MicroUsd,
    /// Tokens of prompts and answers together.
    pub tokens: u64,
    /// Model calls.
    pub calls: u64,
}

impl Spent {
    /// What one call came to.
    pub fn call(tokens: Tokens, cost: Option<MicroUsd>) -> Self {
        let tokens = tokens.input.saturating_add(tokens.output);
        Self { cost: cost.unwrap_or_default(), tokens, calls: 1 }
    }

    /// What several calls came to.
    pub(crate) fn total(usage: UsageTotal) -> Self {
        Self { calls: usage.calls, ..Self::call(usage.tokens, usage.cost) }
    }

    /// Adds what others came to; stays at the largest number instead of overflowing.
    pub fn add(&mut self, other: Self) {
        self.cost = MicroUsd(self.cost.0.saturating_add(other.cost.0));
        self.tokens = self.tokens.saturating_add(other.tokens);
        self.calls = self.calls.saturating_add(other.calls);
    }
}

/// The bound that is reached, in words.
fn reached(allowance: &Allowance, spent: Spent) -> Option<String> {
    if let Some(cost) = allowance.cost.filter(|cost| spent.cost >= *cost) {
        return Some(format!("{} US dollars", usd(cost)));
    }
    if let Some(tokens) = allowance.tokens.filter(|tokens| spent.tokens >= *tokens) {
        return Some(format!("{tokens} tokens"));
    }
    allowance.calls.filter(|calls| spent.calls >= *calls).map(|calls| format!("{calls} model calls"))
}

/// What is left of an allowance.
fn left(allowance: &Allowance, spent: Spent) -> Allowance {
    Allowance {
        cost: allowance.cost.map(|cost| MicroUsd(cost.0.saturating_sub(spent.cost.0))),
        tokens: allowance.tokens.map(|tokens| tokens.saturating_sub(spent.tokens)),
        calls: allowance.calls.map(|calls| calls.saturating_sub(spent.calls)),
    }
}

#[expect(clippy::cast_precision_loss, reason = "for show only")]
fn usd(micro: MicroUsd) -> f64 {
    micro.0 as f64 / 1e6
}

/// How much each of several things may come to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpendLimits {
    /// One turn.
    pub turn: Allowance,
    /// One session, as long as it lives.
    pub session: Allowance,
    /// Everything in one UTC day.
    pub day: Allowance,
}

/// What happens where a turn reaches its own limit or its session's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnLimit {
    /// The turn fails.
    #[default]
    Fail,
    /// People are asked whether it may spend as much again.
    Ask,
}

/// The spend limits of a node. Each agent has its own besides.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Spending {
    /// For everything.
    pub everywhere: SpendLimits,
    /// What one caller may spend in one UTC day. Keys that act as the same principal are one caller.
    pub caller: Allowance,
    /// For single namespaces, each with all beneath it.
    pub beneath: Vec<(Namespace, SpendLimits)>,
    /// What happens at the limits of a turn and of a session. Those of a day are walls.
    pub on_limit: OnLimit,
}

/// The field of a question about a limit.
pub(crate) const GO_ON: &str = "go_on";

/// How often people let a limit be passed by as much again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Raised {
    /// The open turn's.
    turn: u64,
    /// The session's.
    session: u64,
    /// They said no in the open turn, or nothing.
    pub(crate) refused: bool,
}

impl Raised {
    /// Another turn begins.
    pub(crate) fn begin_turn(&mut self) {
        (self.turn, self.refused) = (0, false);
    }

    /// Takes what people said about a limit.
    pub(crate) fn take(&mut self, scope: SpendScope, answers: &Value) {
        match (answers.get(GO_ON).and_then(Value::as_bool), scope) {
            (Some(true), SpendScope::Turn) => self.turn += 1,
            (Some(true), SpendScope::Session) => self.session += 1,
            (Some(false) | None, _) => self.refused = true,
        }
    }
}

/// A limit that is reached.
#[derive(Debug)]
pub(crate) struct Reached {
    /// Why the turn fails, if it does.
    pub(crate) fault: Fault,
    /// What people may let it go past.
    pub(crate) scope: Option<SpendScope>,
}

impl From<Fault> for Reached {
    fn from(fault: Fault) -> Self {
        Self { fault, scope: None }
    }
}

/// What a turn and its session have spent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct SoFar {
    pub(crate) turn: Spent,
    pub(crate) session: Spent,
    /// What people let be spent besides.
    pub(crate) raised: Raised,
}

impl SoFar {
    fn check_turn(&self, limit: &Allowance) -> Result<(), Reached> {
        let limit = raised(limit, self.raised.turn);
        let reached = |fault| Reached { fault, scope: Some(SpendScope::Turn) };
        within(&limit, self.turn, "of the turn").map_err(reached)
    }

    fn check_session(&self, limit: &Allowance) -> Result<(), Reached> {
        let limit = raised(limit, self.raised.session);
        let reached = |fault| Reached { fault, scope: Some(SpendScope::Session) };
        within(&limit, self.session, "of the session").map_err(reached)
    }
}

/// An allowance, and as much again so many times.
fn raised(allowance: &Allowance, times: u64) -> Allowance {
    let raise = |amount: u64| amount.saturating_mul(times.saturating_add(1));
    Allowance {
        cost: allowance.cost.map(|cost| MicroUsd(raise(cost.0))),
        tokens: allowance.tokens.map(raise),
        calls: allowance.calls.map(raise),
    }
}

/// Who spends: whose limits count.
#[derive(Clone, Copy)]
pub(crate) struct Spender<'a> {
    pub(crate) author: &'a Principal,
    pub(crate) namespace: &'a Namespace,
    pub(crate) agent: &'a AgentName,
    /// The agent's own limits.
    pub(crate) own: &'a SpendLimits,
    /// What the turn was given, where another one delegated to it.
    pub(crate) given: &'a Allowance,
}

impl Spending {
    /// Whether another model call may be made.
    ///
    /// # Errors
    /// `budget_exceeded` with the first limit that is reached; of those the narrowest counts first.
    pub(crate) fn check(
        &self,
        spender: Spender<'_>,
        so_far: SoFar,
        today: impl Fn(Account) -> Spent,
    ) -> Result<(), Reached> {
        within(spender.given, so_far.turn, "of the turn that delegated")?;
        for limits in self.on(spender) {
            so_far.check_turn(&limits.turn)?;
            so_far.check_session(&limits.session)?;
        }
        let day = |limit: &Allowance, account: Account, of: &str| {
            if limit.is_endless() { Ok(()) } else { within(limit, today(account), of) }
        };
        day(&self.caller, Account::Caller(spender.author.clone()), "of the caller for today")?;
        day(&spender.own.day, Account::Agent(spender.agent.clone()), "of the agent for today")?;
        for (path, limits) in self.on_path(spender.namespace) {
            day(&limits.day, Account::Namespace(path.clone()), "of the namespace for today")?;
        }
        Ok(day(&self.everywhere.day, Account::Everything, "of the server for today")?)
    }

    /// Whether any limit by day counts for a spender.
    pub(crate) fn looks_at_days(&self, spender: Spender<'_>) -> bool {
        !self.caller.is_endless() || self.on(spender).any(|limits| !limits.day.is_endless())
    }

    /// What the turn has left for others to spend. Limits by day are everybody's, and looked at by each.
    pub(crate) fn left(&self, spender: Spender<'_>, so_far: SoFar) -> Allowance {
        let given = left(spender.given, so_far.turn);
        self.on(spender).fold(given, |least, limits| {
            let turn = raised(&limits.turn, so_far.raised.turn);
            let session = raised(&limits.session, so_far.raised.session);
            least.and(left(&turn, so_far.turn)).and(left(&session, so_far.session))
        })
    }

    /// The limits that count, the narrowest first.
    fn on<'a>(&'a self, spender: Spender<'a>) -> impl Iterator<Item = &'a SpendLimits> {
        let namespaces = self.on_path(spender.namespace).map(|(_, limits)| limits);
        std::iter::once(spender.own).chain(namespaces).chain([&self.everywhere])
    }

    fn on_path<'a>(&'a self, namespace: &'a Namespace) -> impl Iterator<Item = &'a (Namespace, SpendLimits)> {
        self.beneath.iter().filter(move |(path, _)| is_beneath(namespace, path))
    }
}

fn within(limit: &Allowance, spent: Spent, of: &str) -> Result<(), Fault> {
    reached(limit, spent).map_or(Ok(()), |bound| {
        Err(Fault::new(ErrorCode::BudgetExceeded, format!("the spend limit {of} is reached: {bound}")))
    })
}
