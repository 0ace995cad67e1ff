//! What a Messages stream says, event by event.

use moongate_protocol::Tokens;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::json::{Count, Text};

#[derive(Deserialize)]
pub(super) struct StreamEvent<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(default)]
    pub(super) index: u32,
    #[serde(borrow, default)]
    pub(super) delta: Option<Delta<'a>>,
    #[serde(borrow, default)]
    pub(super) content_block: Option<ContentBlock<'a>>,
    #[serde(default)]
    pub(super) message: Option<MessageHead>,
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

#[derive(Deserialize)]
pub(super) struct Delta<'a> {
    #[serde(rename = "type", borrow, default)]
    pub(super) kind: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) partial_json: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) stop_reason: Option<Text<'a>>,
}

#[derive(Deserialize)]
pub(super) struct ContentBlock<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Text<'a>,
    #[serde(borrow, default)]
    pub(super) text: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) thinking: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) signature: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) data: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) name: Option<Text<'a>>,
    #[serde(borrow, default)]
    pub(super) input: Option<&'a RawValue>,
}

#[derive(Deserialize)]
pub(super) struct MessageHead {
    #[serde(default)]
    pub(super) usage: Option<Usage>,
}

/// Figures so far; each event repeats only some of them.
#[derive(Default, Deserialize)]
#[serde(default)]
pub(super) struct Usage {
    input_tokens: Count,
    output_tokens: Count,
    cache_read_input_tokens: Count,
    cache_creation_input_tokens: Count,
    output_tokens_details: Option<OutputDetails>,
}

#[derive(Clone, Copy, Default, Deserialize)]
#[serde(default)]
struct OutputDetails {
    thinking_tokens: Count,
}

impl Usage {
    pub(super) fn update(&mut self, newer: &Self) {
        self.input_tokens.update(newer.input_tokens);
        self.output_tokens.update(newer.output_tokens);
        self.cache_read_input_tokens.update(newer.cache_read_input_tokens);
        self.cache_creation_input_tokens.update(newer.cache_creation_input_tokens);
        self.output_tokens_details = newer.output_tokens_details.or(self.output_tokens_details);
    }

    /// The tokens in our terms: their input leaves the cached tokens out, ours counts them in.
    pub(super) fn tokens(&self) -> Option<Tokens> {
        if self.input_tokens.0.is_none() && self.output_tokens.0.is_none() {
            return None;
        }
        let cache_read = self.cache_read_input_tokens.or_zero();
        let cache_write = self.cache_creation_input_tokens.or_zero();
        let output = self.output_tokens.or_zero();
        let thinking = self.output_tokens_details.map(|it| it.thinking_tokens).unwrap_or_default();
        Some(Tokens {
            input: self.input_tokens.or_zero() + cache_read + cache_write,
            output,
            reasoning: thinking.or_zero().min(output),
            cache_read,
            cache_write,
        })
    }
}
