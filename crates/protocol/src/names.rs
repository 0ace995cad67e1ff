//! Names chosen by people, each with its own grammar, and the shared parsing of such values.

use std::{borrow::Borrow, fmt, marker::PhantomData, str::FromStr, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::ParseError;

/// Deserializes any value of a fixed text grammar without an intermediate copy.
pub(crate) struct ParseVisitor<T>(PhantomData<T>);

impl<T> ParseVisitor<T> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }
}

impl<T: FromStr<Err = ParseError>> de::Visitor<'_> for ParseVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<T, E> {
        text.parse().map_err(E::custom)
    }
}

/// The schema of a string with a pattern.
#[cfg(feature = "openapi")]
pub(crate) fn string_schema(pattern: &str) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).into()
}

/// The same with a bound in bytes. The pattern counts characters: it tells clients the form, and the words the bound.
#[cfg(feature = "openapi")]
fn bytes_schema(pattern: &str, most: usize) -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
    use utoipa::openapi::schema::{ObjectBuilder, Type};
    let said = format!("At most {most} bytes in UTF-8.");
    ObjectBuilder::new().schema_type(Type::String).pattern(Some(pattern)).description(Some(said)).into()
}

macro_rules! name {
    ($(#[$doc:meta])* $name:ident, max $max:literal, pattern $pattern:literal, $allowed:expr) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Longest accepted form, in bytes.
            pub const MAX_BYTES: usize = $max;

            /// The text itself.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&*self.0, f)
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = ParseError;

            fn from_str(text: &str) -> Result<Self, ParseError> {
                let allowed: fn(char) -> bool = $allowed;
                if text.is_empty() {
                    return Err(ParseError::new(stringify!($name), "it is empty"));
                }
                if text.len() > $max {
                    return Err(ParseError::new(stringify!($name), concat!("it is longer than ", $max, " bytes")));
                }
                if !text.chars().all(allowed) {
                    return Err(ParseError::new(stringify!($name), concat!("it has to match ", $pattern)));
                }
                Ok(Self(text.into()))
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                deserializer.deserialize_str(ParseVisitor::<Self>::new())
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                bytes_schema($pattern, $max)
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    };
}

fn is_slug(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.')
}

fn is_visible(c: char) -> bool {
    !c.is_control()
}

name!(
    /// The wall around everything one customer owns. A single-user install has one, `default`.
    Tenant, max 64, pattern "^[A-Za-z0-9_.-]{1,64}$", is_slug
);
name!(
    /// Who did something: a key's owner, the administrator, or the gateway itself.
    Principal, max 128, pattern "^[A-Za-z0-9_.:@-]{1,128}$", |c| is_slug(c) || matches!(c, ':' | '@')
);
name!(
    /// A named agent configuration.
    AgentName, max 64, pattern "^[A-Za-z0-9_.-]{1,64}$", is_slug
);
name!(
    /// A model as an operator names it: `provider/model`, for example `openai/gpt-5`.
    ModelName, max 200, pattern "^[\\x21-\\x7e]{1,200}$", |c| c.is_ascii_graphic()
);
name!(
    /// A tool's name as the model sees it.
    ToolName, max 128, pattern "^[A-Za-z0-9_.-]{1,128}$", is_slug
);
name!(
    /// A tool call's id, unique within its turn. Minted by us; a provider's own id is kept beside it.
    CallId, max 128, pattern "^[A-Za-z0-9_.:-]{1,128}$", |c| is_slug(c) || c == ':'
);
name!(
    /// A path of steps that groups sessions, for example `tenant:acme:user:bob`.
    Namespace, max 512, pattern "^[^\\x00-\\x1f\\x7f-\\x9f]{1,512}$", is_visible
);
name!(
    /// A session's client-chosen name, unique in its tenant and door.
    Alias, max 768, pattern "^[^\\x00-\\x1f\\x7f-\\x9f]{1,768}$", is_visible
);
name!(
    /// A client's name for one submission, so that sending it again changes nothing.
    IdempotencyKey, max 255, pattern "^[\\x21-\\x7e]{1,255}$", |c| c.is_ascii_graphic()
);
