//! The parts messages, inputs and tool results are made of.

use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CallId, ItemId, ParseError, ToolName};

/// SHA-256 of a blob's bytes, in hexadecimal: the name of an attachment or a long tool output.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BlobHash(pub [u8; 32]);

impl fmt::Display for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::str::FromStr for BlobHash {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let bytes = data_encoding::HEXLOWER.decode(text.as_bytes()).ok();
        bytes
            .and_then(|bytes| <[u8; 32]>::try_from(bytes).ok())
            .map(Self)
            .ok_or(ParseError::new("blob hash", "it is 64 lower-case hexadecimal digits"))
    }
}

impl Serialize for BlobHash {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for BlobHash {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(crate::names::ParseVisitor::<Self>::new())
    }
}

#[cfg(feature = "openapi")]
impl utoipa::PartialSchema for BlobHash {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
        crate::names::string_schema("^[0-9a-f]{64}$")
    }
}

#[cfg(feature = "openapi")]
impl utoipa::ToSchema for BlobHash {}

/// Where an attachment's bytes are: the blob store, by hash.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BlobRef {
    /// SHA-256 of the bytes.
    pub hash: BlobHash,
    /// IANA media type, for example `image/png`.
    pub media_type: String,
    /// Number of bytes.
    pub bytes: u64,
}

/// What a provider wants back on the next call to trust a reasoning block: kept exactly as it came.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReasoningSignature {
    /// Which wire produced it; another provider's signature is not sent.
    pub provider: String,
    /// The provider's id of the block, where it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The opaque signature or encrypted content.
    pub data: String,
}

/// One piece of a message, an input or a tool's result.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text, as a person or a model wrote it.
    Text {
        /// The text.
        text: String,
    },
    /// A model's reasoning. Its deltas carry `item`.
    Reasoning {
        /// The block's own item.
        item: ItemId,
        /// The readable reasoning or its summary; may be empty where the provider hides it.
        text: String,
        /// What the provider wants back.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        signature: Option<ReasoningSignature>,
    },
    /// A call the model asked for. `tool.called` says that it was started, `tool.finished` how it ended.
    ToolCall {
        /// The call's own item.
        item: ItemId,
        /// Our id of the call.
        call: CallId,
        /// The tool, as the model named it; it need not exist.
        tool: String,
        /// The arguments; a JSON string when the model's text was not JSON.
        #[cfg_attr(feature = "openapi", schema(value_type = Object))]
        arguments: Value,
    },
    /// An image.
    Image {
        /// Its bytes.
        blob: BlobRef,
    },
    /// A file.
    File {
        /// The name to show.
        name: String,
        /// Its bytes.
        blob: BlobRef,
    },
    /// What came of a call that the client ran itself. Only inputs have it.
    ToolResult {
        /// Which call.
        call: CallId,
        /// What the model is told.
        #[cfg_attr(feature = "openapi", schema(no_recursion))]
        content: Vec<Self>,
        /// The model should read it as a failure.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_error: bool,
    },
}

impl Part {
    /// A text part.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text { text: text.into() }
    }

    /// The text of a text part.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text { text } => Some(text),
            _ => None,
        }
    }

    /// The texts of all text parts, joined.
    pub fn join_text(parts: &[Self]) -> String {
        parts.iter().filter_map(Self::as_text).collect()
    }
}

/// What a tool does to the world; decides what a restart may run again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Effect {
    /// Changes nothing.
    Read,
    /// Running it twice is the same as running it once.
    Idempotent,
    /// Changes something; never run twice without a person.
    Effect,
}

/// A tool as a model is told about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ToolSpec {
    /// Its name.
    pub name: ToolName,
    /// What it is for, in the model's language.
    pub description: String,
    /// JSON Schema of the arguments (an object).
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub parameters: Value,
    /// What it does to the world.
    pub effect: Effect,
}
