//! How a provider is reached and what is peculiar about it.

use std::time::Duration;

use secrecy::SecretString;

use crate::{http::Endpoint, retry::RetryPolicy};

/// The protocol a provider speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Wire {
    /// OpenAI chat completions, and the many endpoints compatible with it.
    OpenAiChat,
    /// OpenAI Responses.
    OpenAiResponses,
    /// Anthropic Messages.
    Anthropic,
}

impl Wire {
    /// Every wire.
    pub const ALL: [Self; 3] = [Self::OpenAiChat, Self::OpenAiResponses, Self::Anthropic];

    /// Its name in configuration files.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAiChat => "openai-chat",
            Self::OpenAiResponses => "openai-responses",
            Self::Anthropic => "anthropic",
        }
    }

    /// The wire of this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|wire| wire.as_str() == name)
    }

    /// Where calls go, below the base address.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::OpenAiChat => "/chat/completions",
            Self::OpenAiResponses => "/responses",
            Self::Anthropic => "/messages",
        }
    }
}

/// One provider, as an operator configured it.
#[derive(Clone, Debug)]
pub struct ProviderConfig {
    /// What its models' names begin with: `name/model`.
    pub name: String,
    /// The protocol it speaks.
    pub wire: Wire,
    /// Where it is, up to and without `/chat/completions`, `/responses` or `/messages`.
    pub endpoint: Endpoint,
    /// Its key; local engines need none.
    pub key: Option<SecretString>,
    /// Headers sent with every call besides the usual ones.
    pub headers: Vec<(String, SecretString)>,
    /// What is peculiar about it.
    pub quirks: Quirks,
    /// How long to wait for what.
    pub timeouts: Timeouts,
    /// When to try again.
    pub retry: RetryPolicy,
    /// Models to list besides those of the price table.
    pub models: Vec<String>,
}

impl ProviderConfig {
    /// A provider without key and peculiarities.
    pub fn new(name: impl Into<String>, wire: Wire, endpoint: Endpoint) -> Self {
        Self {
            name: name.into(),
            wire,
            endpoint,
            key: None,
            headers: Vec::new(),
            quirks: Quirks::default(),
            timeouts: Timeouts::default(),
            retry: RetryPolicy::default(),
            models: Vec::new(),
        }
    }
}

/// Where compatible endpoints differ from the protocol's inventor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quirks {
    /// How the key is shown.
    pub auth: Auth,
    /// The field that bounds the answer (chat completions).
    pub max_tokens: MaxTokensField,
    /// The field that says how much to think (chat completions).
    pub effort: EffortField,
    /// Which ids of tool calls it takes.
    pub call_ids: CallIds,
    /// It takes `stream_options.include_usage` (chat completions).
    pub usage_option: bool,
    /// It wants `reasoning_content` back with the tool calls that followed it (chat completions).
    pub reasoning_back: bool,
    /// It refuses `content: null` beside tool calls and gets an empty text there (chat completions).
    pub empty_content: bool,
    /// It takes `prompt_cache_key`.
    pub cache_key: bool,
    /// It takes images.
    pub images: bool,
    /// It takes PDF files.
    pub files: bool,
}

impl Quirks {
    /// What most compatible endpoints take.
    pub const USUAL: Self = Self {
        auth: Auth::Usual,
        max_tokens: MaxTokensField::MaxTokens,
        effort: EffortField::ReasoningEffort,
        call_ids: CallIds::Usual,
        usage_option: true,
        reasoning_back: false,
        empty_content: false,
        cache_key: false,
        images: true,
        files: false,
    };
}

impl Default for Quirks {
    fn default() -> Self {
        Self::USUAL
    }
}

/// How a key is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Auth {
    /// As the wire's inventor does: a bearer token, or `x-api-key` for Anthropic.
    Usual,
    /// As a bearer token.
    Bearer,
    /// In a header of this name.
    Header(&'static str),
}

/// The field that bounds an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MaxTokensField {
    /// `max_tokens`.
    MaxTokens,
    /// `max_completion_tokens`.
    MaxCompletionTokens,
}

/// The field that says how much to think.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EffortField {
    /// `reasoning_effort`.
    ReasoningEffort,
    /// `reasoning.effort`.
    ReasoningObject,
    /// None.
    Omit,
}

/// Which ids of tool calls a provider takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CallIds {
    /// Up to 64 letters, digits, `_` and `-`.
    Usual,
    /// Exactly nine letters and digits.
    Nine,
}

/// How long one attempt may wait for what. All of it is bounded by `total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection, name resolution and TLS included.
    pub connect: Duration,
    /// For the answer's head after the request was sent.
    pub header: Duration,
    /// Between two arrivals of bytes. Large tool arguments can be silent for minutes.
    pub idle: Duration,
    /// For the whole answer.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            header: Duration::from_mins(2),
            idle: Duration::from_mins(5),
            total: Duration::from_mins(10),
        }
    }
}
