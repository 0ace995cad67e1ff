//! What may be spent on models: as it is written, and as it is in force.

use std::collections::BTreeMap;

use moongate_core::{Allowance, OnLimit, SpendLimits, Spending};
use moongate_protocol::{MicroUsd, Namespace};
use schemars::JsonSchema;
use serde::Deserialize;

use super::check::{Reading, micro_usd};

/// More than this is a mistake in the unit.
const MAX_USD: f64 = 1e9;

/// What may be spent on models. What is left out has no limit.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct SpendTable {
    /// What happens where a turn reaches its own limit or its session's: it fails, or people are asked whether it may
    /// spend as much again. Limits of a day are never asked about.
    pub(crate) on_limit: Reaction,
    /// One turn.
    pub(crate) turn: AllowanceTable,
    /// One session, as long as it lives.
    pub(crate) session: AllowanceTable,
    /// One caller in one UTC day. Keys that act as the same principal are one caller.
    pub(crate) caller: AllowanceTable,
    /// Everything in one UTC day.
    pub(crate) day: AllowanceTable,
    /// The sessions of single namespaces, each with all beneath it.
    pub(crate) namespaces: BTreeMap<String, ScopeTable>,
}

/// What happens at a limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reaction {
    /// The turn fails.
    #[default]
    Fail,
    /// People are asked.
    Ask,
}

/// What an agent or a namespace may spend besides what `[spend]` says of everything.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct ScopeTable {
    /// One turn.
    pub(crate) turn: AllowanceTable,
    /// One session, as long as it lives.
    pub(crate) session: AllowanceTable,
    /// All of it in one UTC day.
    pub(crate) day: AllowanceTable,
}

/// How much. The first of them that is reached counts.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct AllowanceTable {
    /// US dollars. Calls of models whose price is unknown do not count: bound their tokens or their number.
    #[schemars(range(min = 0.0, max = 1e9))]
    pub(crate) cost_usd: Option<f64>,
    /// Tokens of prompts and answers together.
    #[schemars(range(min = 1))]
    pub(crate) tokens: Option<u64>,
    /// Model calls.
    #[schemars(range(min = 1))]
    pub(crate) model_calls: Option<u64>,
}

impl Reading<'_> {
    /// What may be spent, whoever answers.
    pub(crate) fn spending(&mut self, table: &SpendTable) -> Spending {
        let everywhere = SpendLimits {
            turn: self.allowance(&["spend", "turn"], &table.turn),
            session: self.allowance(&["spend", "session"], &table.session),
            day: self.allowance(&["spend", "day"], &table.day),
        };
        let caller = self.allowance(&["spend", "caller"], &table.caller);
        let mut beneath = Vec::new();
        for (name, scope) in &table.namespaces {
            let path = ["spend", "namespaces", name];
            let limits = self.spend_limits(&path, scope);
            match name.parse::<Namespace>().ok().filter(|_| name != "*") {
                Some(namespace) => beneath.push((namespace, limits)),
                None => self.fault(&path, "this is no namespace: it is like \"tenant:acme\""),
            }
        }
        let on_limit = match table.on_limit {
            Reaction::Fail => OnLimit::Fail,
            Reaction::Ask => OnLimit::Ask,
        };
        Spending { everywhere, caller, beneath, on_limit }
    }

    /// What an agent or a namespace may spend.
    pub(crate) fn spend_limits(&mut self, path: &[&str], table: &ScopeTable) -> SpendLimits {
        let at = |last| path.iter().copied().chain([last]).collect::<Vec<_>>();
        SpendLimits {
            turn: self.allowance(&at("turn"), &table.turn),
            session: self.allowance(&at("session"), &table.session),
            day: self.allowance(&at("day"), &table.day),
        }
    }

    fn allowance(&mut self, path: &[&str], table: &AllowanceTable) -> Allowance {
        let mut refuse = |last, message: String| {
            let path: Vec<_> = path.iter().copied().chain([last]).collect();
            self.fault(&path, message);
        };
        if table.cost_usd.is_some_and(|usd| !(0.0..=MAX_USD).contains(&usd) || usd == 0.0) {
            refuse("cost_usd", format!("it is in US dollars, more than 0 and at most {MAX_USD}"));
            return Allowance::default();
        }
        for (key, stated) in [("tokens", table.tokens), ("model_calls", table.model_calls)] {
            if stated == Some(0) {
                refuse(key, "0 would stop everything: it has to be at least 1".into());
            }
        }
        // Less than the smallest amount there is would be nothing at all.
        let cost = table.cost_usd.map(|usd| micro_usd(usd).max(MicroUsd(1)));
        Allowance { cost, tokens: table.tokens, calls: table.model_calls }
    }
}

/// Every limit there is, by the keys it stands under, with its value as the file writes it.
pub(crate) fn shown(limits: &SpendLimits) -> impl Iterator<Item = (&'static str, &'static str, String)> {
    let parts = [("turn", limits.turn), ("session", limits.session), ("day", limits.day)];
    parts.into_iter().flat_map(|(of, allowance)| {
        shown_one(allowance).into_iter().map(move |(key, value)| (of, key, value))
    })
}

/// The bounds of one allowance, with their values as the file writes them.
pub(crate) fn shown_one(allowance: Allowance) -> Vec<(&'static str, String)> {
    let cost = allowance.cost.map(|cost| ("cost_usd", super::show::usd(cost.0).to_string()));
    let tokens = allowance.tokens.map(|tokens| ("tokens", tokens.to_string()));
    let calls = allowance.calls.map(|calls| ("model_calls", calls.to_string()));
    [cost, tokens, calls].into_iter().flatten().collect()
}
