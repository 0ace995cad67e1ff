//! Moongate's model providers: OpenAI chat completions, OpenAI Responses and Anthropic Messages over our own
//! thin HTTP client, and the demo model that needs no provider at all.
//!
//! A [`Registry`] is made from [`ProviderConfig`]s and finds models by `provider/model`. Each wire has a pure
//! encoder (request to bytes) and a pure decoder (events to pieces); what they share is beside them.

mod answer;
mod anthropic;
mod call;
mod config;
mod demo;
#[cfg(test)]
mod encode_tests;
mod fallback;
mod fault;
mod http;
mod json;
mod models;
mod openai_chat;
mod openai_responses;
mod presets;
mod prices;
mod probe;
mod prompt;
mod provider;
mod registry;
#[cfg(test)]
mod replay;
mod retry;
mod sse;
mod watch;
mod wire;

pub use config::{Auth, CallIds, EffortField, MaxTokensField, ProviderConfig, Quirks, Timeouts, Wire};
pub use demo::{DEMO_MODEL, Demo};
pub use fallback::Fallback;
pub use http::{Endpoint, EndpointFault};
pub use presets::Preset;
pub use prices::{PriceOverride, PriceTable};
pub use probe::ProbeFault;
pub use provider::ConfigFault;
pub use registry::Registry;
pub use retry::{RetryBudget, RetryPolicy, Retrying};
