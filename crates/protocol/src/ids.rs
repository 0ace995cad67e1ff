//! Identifiers: a prefix that names the kind and a UUIDv7 in base32hex, so that ids sort by creation time.

use std::{fmt, str::FromStr};

use data_encoding::{BASE32HEX_NOPAD, Specification};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::Timestamp;

/// Length of the unique part: 128 bits in base32.
const UNIQUE_LEN: usize = 26;

/// Why a text is not an id, name, position or other value of a fixed grammar.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a valid {kind}: {reason}")]
pub struct ParseError {
    /// What was expected, in words a client understands.
    pub kind: &'static str,
    /// What is wrong with the text. Never repeats the text.
    pub reason: &'static str,
}

impl ParseError {
    pub(crate) fn new(kind: &'static str, reason: &'static str) -> Self {
        Self { kind, reason }
    }
}

/// Builds the 128 bits of an id from the wall clock and 10 random bytes (RFC 9562, version 7).
fn uuid_v7(at: Timestamp, random: &[u8; 10]) -> u128 {
    let millis = u64::try_from(at.as_millis()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, random).into_uuid().as_u128()
}

fn encode(bits: u128, out: &mut [u8; UNIQUE_LEN]) {
    BASE32HEX_NOPAD.encode_mut(&bits.to_be_bytes(), out);
    out.make_ascii_lowercase();
}

fn decode(text: &str, kind: &'static str) -> Result<u128, ParseError> {
    if text.len() != UNIQUE_LEN || text.bytes().any(|b| b.is_ascii_uppercase()) {
        return Err(ParseError::new(kind, "its unique part is 26 lower-case base32 characters"));
    }
    let upper = text.to_ascii_uppercase();
    let mut bytes = [0_u8; 16];
    let written = BASE32HEX_NOPAD
        .decode_mut(upper.as_bytes(), &mut bytes)
        .map_err(|_| ParseError::new(kind, "its unique part is not base32"))?;
    debug_assert_eq!(written, bytes.len());
    Ok(u128::from_be_bytes(bytes))
}

/// The alphabet ids are written in, for documentation and schema patterns.
pub fn id_alphabet() -> Specification {
    BASE32HEX_NOPAD.specification()
}

macro_rules! id {
    ($(#[$doc:meta])* $name:ident, $prefix:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(u128);

        impl $name {
            /// What every id of this kind begins with.
            pub const PREFIX: &'static str = $prefix;

            /// Makes an id from the wall clock and ten random bytes.
            pub fn new(at: Timestamp, random: &[u8; 10]) -> Self {
                Self(uuid_v7(at, random))
            }

            /// The 128 bits, as a store keeps them.
            pub fn bits(self) -> u128 {
                self.0
            }

            /// An id from the bits a store kept.
            pub fn from_bits(bits: u128) -> Self {
                Self(bits)
            }

            /// When it was made, as the clock said then.
            pub fn at(self) -> Timestamp {
                Timestamp::from_millis(i64::try_from(self.0 >> 80).unwrap_or(i64::MAX))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let mut unique = [0_u8; UNIQUE_LEN];
                encode(self.0, &mut unique);
                f.write_str($prefix)?;
                f.write_str(std::str::from_utf8(&unique).unwrap_or_default())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let unique = text
                    .strip_prefix($prefix)
                    .ok_or(ParseError::new(stringify!($name), concat!("it begins with ", $prefix)))?;
                decode(unique, stringify!($name)).map(Self)
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                let mut text = [0_u8; $prefix.len() + UNIQUE_LEN];
                text[..$prefix.len()].copy_from_slice($prefix.as_bytes());
                let mut unique = [0_u8; UNIQUE_LEN];
                encode(self.0, &mut unique);
                text[$prefix.len()..].copy_from_slice(&unique);
                serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(crate::names::ParseVisitor::<Self>::new())
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                crate::names::string_schema(concat!("^", $prefix, "[0-9a-v]{25}[048cgkos]$"))
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

id!(
    /// A session: one conversation, one log.
    SessionId, "ses_"
);
id!(
    /// An input: something a user said, durably accepted.
    InputId, "inp_"
);
id!(
    /// A turn: the work one or more inputs set off.
    TurnId, "trn_"
);
id!(
    /// An item: one message, reasoning block or tool call inside a turn.
    ItemId, "itm_"
);
id!(
    /// An approval: a durable question whether one exact tool call may run.
    ApprovalId, "apr_"
);
id!(
    /// A question from the agent to a person.
    QuestionId, "qst_"
);
id!(
    /// A file that was sent ahead of the input that uses it.
    FileId, "file_"
);
id!(
    /// An API key's public part.
    KeyId, "key_"
);

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_form_round_trips_and_sorts_like_the_bits(a: u128, b: u128) {
            let (x, y) = (SessionId::from_bits(a), SessionId::from_bits(b));
            prop_assert_eq!(x.to_string().parse::<SessionId>().unwrap(), x);
            prop_assert_eq!(x.to_string().cmp(&y.to_string()), a.cmp(&b));
            prop_assert_eq!(serde_json::to_string(&x).unwrap(), format!("\"{x}\""));
        }

        #[test]
        fn an_id_says_when_it_was_made(millis in 0..1_i64 << 48, random: [u8; 10]) {
            let at = Timestamp::from_millis(millis);
            prop_assert_eq!(FileId::new(at, &random).at(), at);
        }

        #[test]
        fn any_other_text_is_refused_and_never_panics(text in ".{0,64}") {
            if let Ok(id) = text.parse::<SessionId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }
}
