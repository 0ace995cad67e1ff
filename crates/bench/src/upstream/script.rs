//! What a mock model does, read from its name.

use std::time::Duration;

/// Most tokens of an answer; a name asks for no more memory than this.
const TOKENS_MOST: usize = 100_000;

/// An answer's length and pace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Script {
    /// How many tokens: `zq0 `, `zq1 `, …
    pub(super) tokens: usize,
    /// Before each token.
    gap: Duration,
    /// Before the first token, where it differs.
    first: Option<Duration>,
}

impl Script {
    /// Reads `mock-<N>t-<D>ms[-<F>first]`, with or without a provider in front: N tokens, D milliseconds before
    /// each, F milliseconds before the first.
    pub(super) fn named(model: &str) -> Option<Self> {
        let name = model.rsplit('/').next()?.strip_prefix("mock-")?;
        let (mut tokens, mut gap, mut first) = (None, None, None);
        for part in name.split('-') {
            if let Some(ms) = part.strip_suffix("ms") {
                gap = Some(Duration::from_millis(ms.parse().ok()?));
            } else if let Some(ms) = part.strip_suffix("first") {
                first = Some(Duration::from_millis(ms.parse().ok()?));
            } else {
                tokens = Some(part.strip_suffix('t')?.parse().ok().filter(|count| *count <= TOKENS_MOST)?);
            }
        }
        Some(Self { tokens: tokens?, gap: gap?, first })
    }

    /// Time to wait before this token.
    pub(super) fn before(&self, token: usize) -> Duration {
        if token == 0 { self.first.unwrap_or(self.gap) } else { self.gap }
    }

    /// Time the whole answer takes.
    pub(super) fn total(&self) -> Duration {
        let others = u32::try_from(self.tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        self.before(0) + self.gap * others
    }

    /// The tokens, one by one.
    pub(super) fn words(&self) -> impl Iterator<Item = String> {
        (0..self.tokens).map(|token| format!("zq{token} "))
    }

    /// All tokens together.
    pub(super) fn text(&self) -> String {
        self.words().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_length_and_pace() {
        let ms = Duration::from_millis;
        let script = Script::named("mock/mock-20t-5ms-30first").unwrap();
        assert_eq!((script.tokens, script.before(0), script.before(1)), (20, ms(30), ms(5)));
        assert_eq!(script.total(), ms(30 + 19 * 5));
        assert_eq!(Script::named("mock-3t-0ms").unwrap().text(), "zq0 zq1 zq2 ");
        for wrong in ["gpt-5", "mock-20t", "mock-0ms", "mock-xt-0ms", "mock-999999999t-0ms"] {
            assert_eq!(Script::named(wrong), None, "{wrong}");
        }
    }
}
