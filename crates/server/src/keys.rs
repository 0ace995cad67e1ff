//! API keys: their grammar, how they are made, and the hash that is kept of them.
//!
//! `mg_<kind>_<id>_<secret>_<checksum>`: a prefix that scanners know, the key's public part, 256 random bits,
//! and a CRC-32 so that a mistyped key is known for one without asking the store.

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use moongate_core::Ids;
use moongate_protocol::{KeyId, ParseError};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use subtle::ConstantTimeEq as _;

/// Bytes of a secret.
const SECRET_BYTES: usize = 32;
/// Characters of a secret.
const SECRET_CHARS: usize = 43;
/// Characters of a checksum.
const CHECKSUM_CHARS: usize = 8;
/// Characters of an id without its prefix.
const ID_CHARS: usize = 26;
/// What a key of each kind begins with.
pub(crate) const PREFIXES: [&str; 3] = ["mg_api_", "mg_adm_", "mg_web_"];

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Made over the API, kept as a hash in the store.
    Api,
    /// The administrator's, kept in a file beside the store.
    Admin,
    /// Made when a browser signs in; kept as a hash in the store, and carried by a cookie alone.
    Browser,
}

impl Kind {
    fn prefix(self) -> &'static str {
        match self {
            Self::Api => PREFIXES[0],
            Self::Admin => PREFIXES[1],
            Self::Browser => PREFIXES[2],
        }
    }
}

/// SHA-256 of a whole key: all that is kept of it, and what it is remembered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct KeyHash(pub(crate) [u8; 32]);

impl KeyHash {
    /// Compares in a time that does not depend on the difference.
    pub(crate) fn matches(&self, other: &[u8; 32]) -> bool {
        self.0.ct_eq(other).into()
    }
}

impl KeyHash {
    /// The hash of a text that may be a key.
    pub(crate) fn of(text: &str) -> Self {
        Self(Sha256::digest(text).into())
    }
}

/// A well-formed key that somebody presented.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Presented {
    pub(crate) kind: Kind,
    pub(crate) id: KeyId,
}

impl Presented {
    /// Parses a key and checks its checksum.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let kinds = [Kind::Api, Kind::Admin, Kind::Browser];
        let kind = kinds.into_iter().find(|kind| text.starts_with(kind.prefix()))?;
        let rest = &text[kind.prefix().len()..];
        if !text.is_ascii() || rest.len() != ID_CHARS + SECRET_CHARS + CHECKSUM_CHARS + 2 {
            return None;
        }
        let (id, rest) = rest.split_at(ID_CHARS);
        let (secret, checksum) = rest.strip_prefix('_')?.split_at(SECRET_CHARS);
        let checksum = checksum.strip_prefix('_')?;
        let signed = &text[..text.len() - CHECKSUM_CHARS - 1];
        let id = format!("{}{id}", KeyId::PREFIX).parse().ok()?;
        let whole = URL_SAFE_NO_PAD.decode(secret).is_ok_and(|secret| secret.len() == SECRET_BYTES);
        let intact = whole && checksum == self::checksum(signed);
        intact.then_some(Self { kind, id })
    }
}

/// A new key. Its text is shown once and kept nowhere.
pub(crate) struct Minted {
    pub(crate) id: KeyId,
    pub(crate) text: SecretString,
    pub(crate) hash: KeyHash,
}

/// Makes a key.
pub(crate) fn mint(ids: &Ids, kind: Kind) -> Minted {
    let id = ids.make(KeyId::new);
    let unique = id.to_string();
    let secret = URL_SAFE_NO_PAD.encode(ids.random::<SECRET_BYTES>());
    let signed = format!("{}{}_{secret}", kind.prefix(), &unique[KeyId::PREFIX.len()..]);
    let text = format!("{signed}_{}", checksum(&signed));
    Minted { id, hash: KeyHash::of(&text), text: text.into() }
}

fn checksum(signed: &str) -> String {
    format!("{:08x}", crc32fast::hash(signed.as_bytes()))
}

/// The administrator's key, as the binary reads it from its file: only its hash is kept.
#[derive(Clone)]
pub struct AdminKey {
    pub(crate) id: KeyId,
    pub(crate) hash: KeyHash,
}

impl AdminKey {
    /// Makes the key of a new installation: the text to write down, and the key.
    pub fn generate(ids: &Ids) -> (SecretString, Self) {
        let minted = mint(ids, Kind::Admin);
        (minted.text, Self { id: minted.id, hash: minted.hash })
    }

    /// Reads the key from its file's text.
    ///
    /// # Errors
    /// When it is not a key [`AdminKey::generate`] made: a weak one is never accepted.
    pub fn parse(text: &SecretString) -> Result<Self, ParseError> {
        let bad =
            ParseError { kind: "admin key", reason: "it is not a key that moongate made, or it was cut" };
        let text = text.expose_secret().trim();
        let presented = Presented::parse(text).ok_or(bad.clone())?;
        if presented.kind != Kind::Admin {
            return Err(bad);
        }
        Ok(Self { id: presented.id, hash: KeyHash::of(text) })
    }
}

impl std::fmt::Debug for AdminKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("AdminKey")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_reads_back_and_every_changed_character_is_noticed() {
        let minted = mint(&Ids::default(), Kind::Api);
        let text = minted.text.expose_secret();
        let read = Presented::parse(text).unwrap();
        assert_eq!((read.id, read.kind), (minted.id, Kind::Api));
        assert!(KeyHash::of(text).matches(&minted.hash.0));
        for at in 0..text.len() {
            let mut changed = text.to_owned().into_bytes();
            changed[at] = if changed[at] == b'a' { b'b' } else { b'a' };
            assert!(Presented::parse(std::str::from_utf8(&changed).unwrap()).is_none(), "at {at}");
            assert!(Presented::parse(&text[..at]).is_none());
        }
        assert!(Presented::parse(&format!("{text}a")).is_none());
    }

    #[test]
    fn only_an_admin_key_is_read_as_one() {
        let ids = Ids::default();
        let (text, key) = AdminKey::generate(&ids);
        assert_eq!(AdminKey::parse(&text).unwrap().hash, key.hash);
        assert!(AdminKey::parse(&mint(&ids, Kind::Api).text).is_err());
        assert!(AdminKey::parse(&"hunter2".to_owned().into()).is_err());
        assert!(!format!("{key:?}").contains(text.expose_secret()));
    }
}
