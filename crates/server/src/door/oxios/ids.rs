//! Oxios names objects by UUIDs and sessions by any text: the same 128 bits, and aliases of the principal's own.

use std::fmt;

use moongate_protocol::{Alias, InputId, Principal, SessionId, SessionView};
use serde::{Serialize, Serializer};

use crate::reply::{Answer, Failure};

/// Longest id a client may choose for a session.
const SESSION_CHARS: usize = 128;
/// Begins the alias of a session that was opened by a request with an id of its own; no client can choose it.
const BY_REQUEST: char = '!';

/// A native id's 128 bits as a lower-case UUID.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Uuid(pub(super) u128);

impl Uuid {
    /// Reads a UUID in its usual form, in either case.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        let hyphens = [8, 13, 18, 23];
        let form = |(at, byte): (usize, &u8)| match hyphens.contains(&at) {
            true => *byte == b'-',
            false => byte.is_ascii_hexdigit(),
        };
        if bytes.len() != 36 || !bytes.iter().enumerate().all(form) {
            return None;
        }
        let digits: String = text.chars().filter(|c| *c != '-').collect();
        u128::from_str_radix(&digits, 16).ok().map(Self)
    }
}

impl fmt::Display for Uuid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d] = [self.0 >> 96, self.0 >> 80, self.0 >> 64, self.0 >> 48];
        let (b, c, d) = (b & 0xffff, c & 0xffff, d & 0xffff);
        write!(f, "{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", self.0 & 0xffff_ffff_ffff)
    }
}

impl Serialize for Uuid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// The id of an input on the wire: the client's own request id where it sent one.
pub(super) fn message_id(input: InputId, request: Option<&str>) -> Uuid {
    request.and_then(Uuid::parse).unwrap_or(Uuid(input.bits()))
}

/// Which session a request is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Named {
    /// A new one.
    New,
    /// One by its native id.
    Native(SessionId),
    /// One by the client's own name, opened when there is none.
    Alias(Alias),
}

impl Named {
    /// Reads a session id; absent and empty mean a new session.
    pub(super) fn parse(text: Option<&str>, principal: &Principal) -> Answer<Self> {
        let Some(text) = text.filter(|text| !text.is_empty()) else { return Ok(Self::New) };
        if let Ok(id) = text.parse() {
            return Ok(Self::Native(id));
        }
        Self::alias(text, principal).map(Self::Alias)
    }

    /// The alias a client's own name stands for.
    pub(super) fn alias(text: &str, principal: &Principal) -> Answer<Alias> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | ':' | '-');
        let refused = || Failure::invalid("invalid session_id");
        if text.len() > SESSION_CHARS
            || !text.chars().all(allowed)
            || text.starts_with('.')
            || text == "prune"
        {
            return Err(refused());
        }
        format!("{principal}/{text}").parse().map_err(|_| refused())
    }

    /// The session a request with an id of its own opens, and finds again when it is repeated.
    pub(super) fn by_request(request: Uuid, principal: &Principal) -> Answer<Self> {
        let alias = format!("{principal}/{BY_REQUEST}{request}").parse();
        alias.map(Self::Alias).map_err(|_| Failure::invalid("invalid request_id"))
    }
}

/// A session's id on the wire: the name its client gave it, or its own.
pub(super) fn session_id(view: &SessionView, is_ours: bool) -> String {
    let alias = view.alias.as_ref().filter(|_| is_ours);
    let own = alias.and_then(|alias| alias.as_str().strip_prefix(view.owner.as_str())?.strip_prefix('/'));
    match own.filter(|own| !own.starts_with(BY_REQUEST)) {
        Some(own) => own.to_owned(),
        None => view.id.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bob() -> Principal {
        "bob".parse().unwrap()
    }

    #[test]
    fn a_uuid_and_a_native_id_are_the_same_bits() {
        for bits in [0, 1, u128::MAX, 0x0199_aa55_0001_7abc_8def_0123_4567_89ab] {
            let text = Uuid(bits).to_string();
            assert_eq!(text.len(), 36);
            assert_eq!(Uuid::parse(&text), Some(Uuid(bits)));
            assert_eq!(Uuid::parse(&text.to_uppercase()), Some(Uuid(bits)));
        }
        for bad in ["", "x", "0199aa5500017abc8def0123456789ab", "0199aa55-0001-7abc-8def-0123456789ag"] {
            assert_eq!(Uuid::parse(bad), None, "{bad}");
        }
        assert_eq!(Uuid::parse("+199aa55-0001-7abc-8def-0123456789ab"), None);
    }

    #[test]
    fn a_session_is_named_natively_or_within_the_principals_own_names() {
        let native = SessionId::from_bits(7);
        assert_eq!(Named::parse(None, &bob()).unwrap(), Named::New);
        assert_eq!(Named::parse(Some(""), &bob()).unwrap(), Named::New);
        assert_eq!(Named::parse(Some(&native.to_string()), &bob()).unwrap(), Named::Native(native));
        let own = Named::parse(Some("my-chat"), &bob()).unwrap();
        assert_eq!(own, Named::Alias("bob/my-chat".parse().unwrap()));
        let longest = "x".repeat(128);
        assert!(Named::parse(Some(&longest), &bob()).is_ok());
        let too_long = "x".repeat(129);
        for bad in [".hidden", "prune", "../../config", "a/b", "a b", "é", "a\0", "!x", too_long.as_str()] {
            assert!(Named::parse(Some(bad), &bob()).is_err(), "{bad}");
        }
    }
}
