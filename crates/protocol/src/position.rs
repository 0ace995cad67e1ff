//! Where a follower stands in a session's log.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::{ParseError, names::ParseVisitor};

/// Number of an event in its session: 1, 2, 3, … without a gap. 0 is "before the first".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first event.
    pub const ZERO: Self = Self(0);

    /// The number after this one.
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The number `count` after this one.
    pub fn plus(self, count: usize) -> Self {
        Self(self.0 + count as u64)
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// One incarnation of a log. It changes when a log's tail was lost (a restore from a backup), so that no
/// client can resume into a different history.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Epoch(pub u32);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Epoch {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let canonical = |value: &u32| format!("{value:x}") == text;
        u32::from_str_radix(text, 16)
            .ok()
            .filter(canonical)
            .map(Self)
            .ok_or(ParseError::new("epoch", "it is up to 8 lower-case hexadecimal digits"))
    }
}

impl Serialize for Epoch {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Epoch {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(ParseVisitor::<Self>::new())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for Epoch {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        crate::names::string_schema("^[0-9a-f]{1,8}$")
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for Epoch {}

/// `(epoch, seq)`. As text, the SSE id and the `after` parameter: `6f2c.41`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Position {
    /// Which incarnation of the log.
    pub epoch: Epoch,
    /// The last event seen.
    pub seq: Seq,
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.seq)
    }
}

impl FromStr for Position {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bad = ParseError::new("position", "it is <epoch>.<seq>, as in an event's id");
        let (epoch, seq) = text.split_once('.').ok_or(bad.clone())?;
        let digits = !seq.is_empty() && seq.bytes().all(|b| b.is_ascii_digit());
        match (epoch.parse(), seq.parse::<u64>()) {
            (Ok(epoch), Ok(number)) if digits && (seq == "0" || !seq.starts_with('0')) => {
                Ok(Self { epoch, seq: Seq(number) })
            }
            _ => Err(bad),
        }
    }
}
