//! What a Responses stream says, event by event.

use moongate_protocol::Tokens;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Count, Text};

/// The part of an event that is read for every event; the rest is read only where it is needed.
#[derive(Deserialize)]
pub(super) struct StreamEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default)]
    pub(super) output_index: Option<u32>,
    #[serde(borrow, default)]
    pub(super) item_id: Option<Text<'a>>,
    #[serde(default)]
    pub(super) summary_index: u32,
    #[serde(borrow, default)]
    pub(super) delta: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) item: Option<&'a RawValue>,
    #[serde(borrow, default)]
    pub(super) response: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct Item<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) id: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) arguments: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) encrypted_content: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) content: Option<Vec<ItemText<'a>>>,
    #[serde(borrow, default)]
    pub(super) summary: Option<Vec<ItemText<'a>>>,
}

#[derive(Deserialize)]
pub(super) struct ItemText<'a> {
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) refusal: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(super) struct Response<'a> {
    #[serde(borrow, default)]
    pub(super) status: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) incomplete_details: Option<IncompleteDetails<'a>>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct IncompleteDetails<'a> {
    #[serde(borrow, default)]
    pub(super) reason: Option<Text<'a>>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    input_tokens: Count,
    input_tokens_details: Option<InputDetails>,
    output_tokens: Count,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct InputDetails {
    cached_tokens: Count,
    cache_write_tokens: Count,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    reasoning_tokens: Count,
}

impl Usage {
    /// The tokens in our terms; `None` where the provider gave no usable figure.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        if self.input_tokens.0.is_none() && self.output_tokens.0.is_none() {
            return None;
        }
        let (input, output) = (self.input_tokens.or_zero(), self.output_tokens.or_zero());
        let cached = self.input_tokens_details.as_ref();
        let cache_read = cached.map_or(0, |it| it.cached_tokens.or_zero()).min(input);
        let cache_write = cached.map_or(0, |it| it.cache_write_tokens.or_zero()).min(input - cache_read);
        let reasoning = self.output_tokens_details.as_ref().map_or(0, |it| it.reasoning_tokens.or_zero());
        Some(Tokens { input, output, reasoning: reasoning.min(output), cache_read, cache_write })
    }
}
