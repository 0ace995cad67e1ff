//! What clients call their sessions.

use std::{fmt, sync::Arc};

use moongate_core::Ids;
use moongate_protocol::ParseError;

/// Longest name of a session, in bytes.
const ID_BYTES: usize = 128;
/// What the old server's lists put before a session's name.
const OLD_STORAGE_KEY: &str = "gw_";

/// A session as a client names it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ChatId(Arc<str>);

impl ChatId {
    /// A new name that nobody has.
    pub(super) fn fresh(ids: &Ids) -> Self {
        let mut bytes: [u8; 16] = ids.random();
        bytes[6] = bytes[6] & 0x0f | 0x40;
        bytes[8] = bytes[8] & 0x3f | 0x80;
        let hex = data_encoding::HEXLOWER.encode(&bytes);
        let parts = [&hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..]];
        Self(parts.join("-").into())
    }

    /// The text itself.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }

    /// The name behind an old list's storage key.
    pub(super) fn without_storage_key(&self) -> Option<Self> {
        self.0.strip_prefix(OLD_STORAGE_KEY)?.parse().ok()
    }
}

impl fmt::Display for ChatId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::str::FromStr for ChatId {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        let rest = text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:@-".contains(&b));
        if first && rest && text.len() <= ID_BYTES {
            return Ok(Self(text.into()));
        }
        Err(ParseError {
            kind: "session id",
            reason: "it has 1 to 128 letters, digits and . _ : @ - and begins with a letter or digit",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_what_the_pattern_says() {
        for good in ["a", "0", "s-1", "wf-live-9", "A.b_c:d@e-f", &"x".repeat(128)] {
            assert_eq!(good.parse::<ChatId>().unwrap().as_str(), good);
        }
        for bad in ["", ".", "-a", "_a", "a/b", "..", "a b", "ä", "a\n", "%2e", &"x".repeat(129)] {
            assert!(bad.parse::<ChatId>().is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_storage_key_is_taken_away_once() {
        let id = |text: &str| text.parse::<ChatId>().unwrap();
        assert_eq!(id("gw_gw_a").without_storage_key(), Some(id("gw_a")));
        assert_eq!(id("gw_").without_storage_key(), None);
        assert_eq!(id("a").without_storage_key(), None);
    }

    #[test]
    fn fresh_ids_are_random_uuids_and_ids() {
        let ids = Ids::default();
        let (a, b) = (ChatId::fresh(&ids), ChatId::fresh(&ids));
        assert_ne!(a, b);
        assert_eq!(a.as_str().parse::<ChatId>().unwrap(), a);
        let bytes = a.as_str().as_bytes();
        assert_eq!((bytes.len(), bytes[14]), (36, b'4'));
        assert!(b"89ab".contains(&bytes[19]));
    }
}
