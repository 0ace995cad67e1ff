//! What models cost and hold: a vendored snapshot of public list prices, and the operator's own figures.
//!
//! The snapshot goes by the seller's host, because the same model costs differently elsewhere. What is not in
//! it is unknown, never free.

use std::{collections::BTreeMap, sync::LazyLock};

use moongate_core::Price;
use moongate_protocol::{MicroUsd, ModelName};
use serde::Deserialize;

/// The operator's figures for one model.
#[derive(Clone, Debug, PartialEq)]
pub struct PriceOverride {
    /// Which model, as `provider/model`.
    pub model: ModelName,
    /// Its price; `None` leaves the snapshot's.
    pub price: Option<Price>,
    /// Tokens it holds; `None` leaves the snapshot's.
    pub context_window: Option<u64>,
}

/// Prices and context windows.
#[derive(Clone, Debug, Default)]
pub struct PriceTable {
    overrides: BTreeMap<ModelName, PriceOverride>,
}

#[derive(Debug, Deserialize)]
struct Snapshot {
    date: String,
    hosts: BTreeMap<String, BTreeMap<String, Entry>>,
}

/// Millionths of a US dollar for a million tokens.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    input: Option<u64>,
    output: Option<u64>,
    cache_read: Option<u64>,
    cache_write: Option<u64>,
    context: Option<u64>,
}

/// Read once; the test below reads the same text, so a damaged one cannot be built into a release.
static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
    serde_json::from_str(include_str!("prices.json"))
        .unwrap_or_else(|_| Snapshot { date: String::new(), hosts: BTreeMap::new() })
});

impl PriceTable {
    /// The snapshot with the operator's figures before it.
    pub fn with_overrides(overrides: impl IntoIterator<Item = PriceOverride>) -> Self {
        Self { overrides: overrides.into_iter().map(|it| (it.model.clone(), it)).collect() }
    }

    /// What a model costs and how many tokens it holds, as far as is known.
    pub(crate) fn find(&self, name: &ModelName, host: &str, model: &str) -> (Option<Price>, Option<u64>) {
        let own = self.overrides.get(name);
        let listed = listed(host, model);
        let price = own.and_then(|own| own.price.clone()).or_else(|| listed.and_then(Entry::price));
        let context = own.and_then(|own| own.context_window).or_else(|| listed.and_then(|it| it.context));
        (price, context)
    }

    /// The models the snapshot lists for a host.
    pub(crate) fn models(host: &str) -> impl Iterator<Item = &str> {
        SNAPSHOT.hosts.get(host).into_iter().flat_map(BTreeMap::keys).map(String::as_str)
    }

    /// The models the operator gave figures for.
    pub(crate) fn overridden(&self) -> impl Iterator<Item = &ModelName> {
        self.overrides.keys()
    }
}

impl Entry {
    fn price(&self) -> Option<Price> {
        Some(Price {
            input: MicroUsd(self.input?),
            output: MicroUsd(self.output?),
            cache_read: self.cache_read.map(MicroUsd),
            cache_write: self.cache_write.map(MicroUsd),
            source: format!("snapshot {}", SNAPSHOT.date),
        })
    }
}

/// The entry of a model, or of the model its dated name is a release of.
fn listed(host: &str, model: &str) -> Option<&'static Entry> {
    let models = SNAPSHOT.hosts.get(host)?;
    models.get(model).or_else(|| models.get(undated(model)?))
}

/// The name without `-latest`, `-20250929` or `-2025-09-29` at its end.
fn undated(model: &str) -> Option<&str> {
    if let Some(name) = model.strip_suffix("-latest") {
        return Some(name);
    }
    let digits = |text: &str, len: usize| text.len() == len && text.bytes().all(|b| b.is_ascii_digit());
    let (rest, last) = model.rsplit_once('-')?;
    if digits(last, 8) {
        return Some(rest);
    }
    let (rest, month) = rest.rsplit_once('-')?;
    let (name, year) = rest.rsplit_once('-')?;
    (digits(last, 2) && digits(month, 2) && digits(year, 4)).then_some(name)
}

#[cfg(test)]
mod tests {
    use moongate_protocol::Tokens;

    use super::*;

    fn name(text: &str) -> ModelName {
        text.parse().unwrap()
    }

    #[test]
    fn the_snapshot_is_sound() {
        let snapshot: Snapshot = serde_json::from_str(include_str!("prices.json")).unwrap();
        assert!(!snapshot.date.is_empty());
        for (model, entry) in snapshot.hosts.values().flatten() {
            assert_eq!(entry.input.is_some(), entry.output.is_some(), "{model}");
            assert!(entry.context.is_some_and(|n| n >= 8192), "{model}");
            if let (Some(input), Some(output)) = (entry.input, entry.output) {
                assert!(0 < input && input < output && output < 1_000_000_000, "{model}");
                assert!(entry.cache_read.is_none_or(|read| read < input), "{model}");
            }
        }
    }

    #[test]
    fn dated_names_find_their_model_and_unknown_ones_nothing() {
        let table = PriceTable::default();
        let find = |host: &str, model: &str| table.find(&name("x/y"), host, model).0;
        let input = |model: &str| find("api.anthropic.com", model).map(|price| price.input.0);
        assert_eq!(input("claude-sonnet-4-5-20250929"), Some(3_000_000));
        assert_eq!(input("claude-3-5-haiku-latest"), Some(800_000));
        assert_eq!(find("api.openai.com", "gpt-5-2025-08-07").map(|price| price.input.0), Some(1_250_000));
        assert_eq!(input("claude-next"), None);
        assert_eq!(find("127.0.0.1", "gpt-5"), None);
        assert_eq!(find("generativelanguage.googleapis.com", "gemini-2.5-pro"), None);
    }

    #[test]
    fn the_operator_has_the_last_word() {
        let own = Price {
            input: MicroUsd(7),
            output: MicroUsd(8),
            cache_read: None,
            cache_write: None,
            source: "operator".into(),
        };
        let table = PriceTable::with_overrides([PriceOverride {
            model: name("openai/gpt-5"),
            price: Some(own.clone()),
            context_window: None,
        }]);
        assert_eq!(table.find(&name("openai/gpt-5"), "api.openai.com", "gpt-5"), (Some(own), Some(400_000)));
    }

    #[test]
    fn a_call_costs_what_the_list_says() {
        let (price, _) = PriceTable::default().find(&name("a/b"), "api.anthropic.com", "claude-sonnet-4-5");
        let tokens = Tokens { input: 1_000_000, output: 100_000, cache_read: 500_000, ..Tokens::default() };
        assert_eq!(price.unwrap().cost(tokens), MicroUsd(1_500_000 + 150_000 + 1_500_000));
    }
}
