//! Tokens and money.

use serde::{Deserialize, Serialize};

/// Tokens of one or several model calls. Cache tokens are parts of `input`; reasoning tokens of `output`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tokens {
    /// All tokens of the prompt, cached ones included.
    pub input: u64,
    /// All tokens of the answer, reasoning included.
    pub output: u64,
    /// Tokens of the answer spent on reasoning.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub reasoning: u64,
    /// Prompt tokens read from the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_read: u64,
    /// Prompt tokens written to the provider's cache.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub cache_write: u64,
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

impl Tokens {
    /// Adds another call's tokens; stays at the largest number instead of overflowing.
    pub fn add(&mut self, other: Self) {
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        self.reasoning = self.reasoning.saturating_add(other.reasoning);
        self.cache_read = self.cache_read.saturating_add(other.cache_read);
        self.cache_write = self.cache_write.saturating_add(other.cache_write);
    }
}

/// Money in millionths of a US dollar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct MicroUsd(pub u64);

/// Totals over model calls. `cost` is `None` as soon as one call's price is unknown: unknown is never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UsageTotal {
    /// Tokens of all calls.
    #[serde(flatten)]
    pub tokens: Tokens,
    /// Number of model calls.
    pub calls: u64,
    /// Cost of all calls in millionths of a US dollar; `null` when any price is unknown.
    #[serde(rename = "cost_microusd")]
    pub cost: Option<MicroUsd>,
}

impl Default for UsageTotal {
    fn default() -> Self {
        Self { tokens: Tokens::default(), calls: 0, cost: Some(MicroUsd(0)) }
    }
}

impl UsageTotal {
    /// Adds one call.
    pub fn add_call(&mut self, tokens: Tokens, cost: Option<MicroUsd>) {
        self.add(Self { tokens, calls: 1, cost });
    }

    /// Adds another total.
    pub fn add(&mut self, other: Self) {
        self.tokens.add(other.tokens);
        self.calls = self.calls.saturating_add(other.calls);
        self.cost = match (self.cost, other.cost) {
            (Some(a), Some(b)) => Some(MicroUsd(a.0.saturating_add(b.0))),
            _ => None,
        };
    }
}

/// How much may be spent. What is absent has no bound.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Allowance {
    /// Money. Calls of models whose price is unknown do not count.
    #[serde(rename = "cost_microusd", default, skip_serializing_if = "Option::is_none")]
    pub cost: Option<MicroUsd>,
    /// Tokens of prompts and answers together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tokens: Option<u64>,
    /// Model calls.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u64>,
}

impl Allowance {
    /// Whether nothing is bounded.
    pub fn is_endless(&self) -> bool {
        *self == Self::default()
    }

    /// The stricter of two, bound by bound.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        fn least<T: Ord>(a: Option<T>, b: Option<T>) -> Option<T> {
            a.into_iter().chain(b).min()
        }
        Self {
            cost: least(self.cost, other.cost),
            tokens: least(self.tokens, other.tokens),
            calls: least(self.calls, other.calls),
        }
    }
}
