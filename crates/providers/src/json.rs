//! Reading providers' JSON: borrowed where possible, forgiving where providers are careless.

use std::{borrow::Cow, fmt, ops::Deref};

use serde::{
    Deserialize, Deserializer,
    de::{IgnoredAny, MapAccess, SeqAccess, Visitor},
};

/// More tokens than any call can have; a larger figure is a provider's mistake.
const MAX_TOKENS: u64 = 100_000_000;

/// A text borrowed from the input unless it holds escapes. Works inside `Option`, where a plain `Cow` would copy.
#[derive(Debug, Default, Deserialize)]
pub(crate) struct Text<'a>(#[serde(borrow)] Cow<'a, str>);

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

/// The text, if there is one and it is not empty.
pub(crate) fn filled<'a>(text: &'a Option<Text<'_>>) -> Option<&'a str> {
    text.as_deref().filter(|text| !text.is_empty())
}

/// A number of tokens; `None` for what cannot be one: negative, absurdly large, or no number at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Count(pub(crate) Option<u64>);

impl Count {
    pub(crate) fn or_zero(self) -> u64 {
        self.0.unwrap_or(0)
    }

    /// Takes the newer figure where there is one.
    pub(crate) fn update(&mut self, newer: Self) {
        self.0 = newer.0.or(self.0);
    }
}

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(CountVisitor)
    }
}

struct CountVisitor;

impl<'de> Visitor<'de> for CountVisitor {
    type Value = Count;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of tokens")
    }

    fn visit_u64<E>(self, n: u64) -> Result<Count, E> {
        Ok(Count((n <= MAX_TOKENS).then_some(n)))
    }

    fn visit_i64<E: serde::de::Error>(self, n: i64) -> Result<Count, E> {
        u64::try_from(n).map_or(Ok(Count(None)), |n| self.visit_u64(n))
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the range is checked first")]
    fn visit_f64<E>(self, n: f64) -> Result<Count, E> {
        const MAX: f64 = 1e8;
        Ok(Count((0.0..=MAX).contains(&n).then_some(n as u64)))
    }

    fn visit_bool<E>(self, _: bool) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_str<E>(self, _: &str) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_unit<E>(self) -> Result<Count, E> {
        Ok(Count(None))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Count, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Count, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Count(None))
    }
}

/// Follows JSON text as it arrives and knows whether a whole value has been written.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct JsonProgress {
    depth: u32,
    in_string: bool,
    escaped: bool,
    begun: bool,
}

impl JsonProgress {
    pub(crate) fn push(&mut self, text: &str) {
        for byte in text.bytes() {
            if self.in_string {
                match byte {
                    _ if self.escaped => self.escaped = false,
                    b'\\' => self.escaped = true,
                    b'"' => self.in_string = false,
                    _ => {}
                }
                continue;
            }
            match byte {
                b'"' => self.in_string = true,
                b'{' | b'[' => self.depth += 1,
                b'}' | b']' => self.depth = self.depth.saturating_sub(1),
                _ => {}
            }
            self.begun |= !byte.is_ascii_whitespace();
        }
    }

    /// Whether anything but white space has been written.
    pub(crate) fn has_begun(self) -> bool {
        self.begun
    }

    /// Whether every bracket and string is closed.
    pub(crate) fn is_closed(self) -> bool {
        self.begun && self.depth == 0 && !self.in_string
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_inside_an_option_is_borrowed() {
        #[derive(Deserialize)]
        struct Holder<'a> {
            #[serde(borrow)]
            text: Option<Text<'a>>,
        }
        let holder: Holder<'_> = serde_json::from_str(r#"{"text":"plain"}"#).unwrap();
        assert!(matches!(holder.text, Some(Text(Cow::Borrowed("plain")))));
        let holder: Holder<'_> = serde_json::from_str(r#"{"text":"a\nb"}"#).unwrap();
        assert_eq!(holder.text.as_deref(), Some("a\nb"));
    }

    #[test]
    fn counts_that_cannot_be_are_unknown() {
        for (json, count) in [
            ("12", Some(12)),
            ("12.0", Some(12)),
            ("2000000", Some(2_000_000)),
            ("-5", None),
            ("1e300", None),
            ("18446744073709551615", None),
            ("\"many\"", None),
            ("null", None),
            ("true", None),
            ("[1,2]", None),
            ("{\"a\":[1]}", None),
        ] {
            assert_eq!(serde_json::from_str::<Count>(json).unwrap(), Count(count), "{json}");
        }
    }

    #[test]
    fn json_is_closed_only_at_its_end() {
        let json = r#"{"a":"x}\"]","b":[1,{"c":2}]}"#;
        for cut in 0..json.len() {
            let mut progress = JsonProgress::default();
            progress.push(&json[..cut]);
            assert!(!progress.is_closed(), "{}", &json[..cut]);
        }
        let mut progress = JsonProgress::default();
        progress.push(json);
        assert!(progress.is_closed());
    }
}
