//! The door's closed table of codes, each with its status and its one sentence.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::StatusCode;
use moongate_core::{Refusal, StoreError};
use moongate_protocol::ErrorCode;
use serde::Serialize;

use crate::{
    door::shared::{Cause, Refused},
    reply::{Failure, json},
};

macro_rules! codes {
    ($($name:ident = $text:literal, $status:literal, $retryable:literal, $sentence:literal;)*) => {
        /// What went wrong, in the door's words.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(super) enum Code { $($name,)* }

        impl Code {
            /// As it is sent.
            pub(super) fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The status of a reply with it.
            fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same may work later.
            pub(super) fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }

            /// The same in words: always these, so that nothing of a provider or of this machine gets out.
            pub(super) fn sentence(self) -> &'static str {
                match self { $(Self::$name => $sentence,)* }
            }
        }
    };
}

codes! {
    InvalidJson = "invalid_json", 400, false, "the body is not acceptable JSON";
    InvalidRequest = "invalid_request", 400, false, "a field is missing or has the wrong type";
    InvalidFrame = "invalid_frame", 400, false, "the frame has no known type, or a field is missing or of the wrong type";
    EmptyMessage = "empty_message", 400, false, "the message is empty";
    InvalidNamespace = "invalid_namespace", 400, false, "the namespace is not acceptable";
    ModelNotAllowed = "model_not_allowed", 400, false, "this model is not allowed";
    NotSupported = "not_supported", 400, false, "this server does not support that";
    ApprovalNotFound = "approval_not_found", 404, false, "there is no such approval";
    Cancelled = "cancelled", 409, false, "the turn was cancelled";
    Unauthorized = "unauthorized", 401, false, "authentication failed";
    Forbidden = "forbidden", 403, false, "this key may not do that";
    NamespaceForbidden = "namespace_forbidden", 403, false, "this key may not use that namespace";
    OriginNotAllowed = "origin_not_allowed", 403, false, "pages of this origin may not talk to this server";
    BudgetExceeded = "budget_exceeded", 403, false, "a spend limit is reached";
    NotFound = "not_found", 404, false, "there is no such route";
    SessionNotFound = "session_not_found", 404, false, "there is no such session";
    AgentNotFound = "agent_not_found", 404, false, "there is no such agent";
    MethodNotAllowed = "method_not_allowed", 405, false, "the route does not have this method";
    PayloadTooLarge = "payload_too_large", 413, false, "this is larger than allowed";
    UnsupportedMediaType = "unsupported_media_type", 415, false, "send application/json";
    Misdirected = "misdirected", 421, false, "this server does not answer to that name";
    IdempotencyMismatch = "idempotency_mismatch", 422, false, "this idempotency key was used for another body";
    ContextLengthExceeded = "context_length_exceeded", 422, false, "the conversation does not fit the model";
    RateLimited = "rate_limited", 429, true, "too many requests; try again later";
    QueueFull = "queue_full", 429, true, "too many messages wait in this namespace";
    MaxTurnsExceeded = "max_turns_exceeded", 500, false, "a limit of the turn was reached";
    Interrupted = "interrupted", 500, true, "the turn was interrupted";
    InternalError = "internal_error", 500, true, "something failed inside";
    ProviderAuth = "provider_auth", 502, false, "the model's provider refused the gateway's credential";
    ProviderError = "provider_error", 502, true, "the model's provider failed";
    ProviderOverloaded = "provider_overloaded", 503, true, "the model's provider has too much to do";
    QueueTimeout = "queue_timeout", 503, true, "the message was not begun in time";
    Unavailable = "unavailable", 503, true, "the server is not available now";
    StorageError = "storage_error", 503, true, "the message could not be stored";
    Timeout = "timeout", 504, true, "the turn is still running; its answer will be in the history";
    ProviderTimeout = "provider_timeout", 504, true, "the model's provider did not answer in time";
}

impl Code {
    /// The door's word for a code of the engine.
    pub(super) fn of(code: ErrorCode) -> Self {
        match code {
            ErrorCode::InvalidRequest
            | ErrorCode::InvalidPosition
            | ErrorCode::Unprocessable
            | ErrorCode::HeadersTooLarge => Self::InvalidRequest,
            ErrorCode::Unauthorized => Self::Unauthorized,
            ErrorCode::Forbidden => Self::Forbidden,
            ErrorCode::NotFound => Self::SessionNotFound,
            ErrorCode::MethodNotAllowed => Self::MethodNotAllowed,
            ErrorCode::TooLarge => Self::PayloadTooLarge,
            ErrorCode::UnsupportedMediaType => Self::UnsupportedMediaType,
            ErrorCode::Misdirected => Self::Misdirected,
            ErrorCode::IdempotencyMismatch => Self::IdempotencyMismatch,
            ErrorCode::QueueFull | ErrorCode::Busy => Self::QueueFull,
            ErrorCode::RateLimited => Self::RateLimited,
            ErrorCode::NotImplemented => Self::NotSupported,
            ErrorCode::Unavailable => Self::Unavailable,
            ErrorCode::StoreReadOnly | ErrorCode::DiskFull => Self::StorageError,
            ErrorCode::ProviderAuth => Self::ProviderAuth,
            ErrorCode::ProviderRejected
            | ErrorCode::ProviderUnreachable
            | ErrorCode::ProviderCut
            | ErrorCode::ProviderProtocol => Self::ProviderError,
            ErrorCode::ProviderRateLimited | ErrorCode::ProviderOverloaded => Self::ProviderOverloaded,
            ErrorCode::ProviderTimeout => Self::ProviderTimeout,
            ErrorCode::ContextTooLong => Self::ContextLengthExceeded,
            ErrorCode::LimitReached => Self::MaxTurnsExceeded,
            ErrorCode::BudgetExceeded => Self::BudgetExceeded,
            ErrorCode::AttemptsExhausted => Self::Interrupted,
            ErrorCode::Cancelled => Self::Cancelled,
            ErrorCode::Internal | ErrorCode::Conflict => Self::InternalError,
        }
    }
}

/// A refusal on its way out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fault {
    pub(super) code: Code,
    pub(super) retry_after: Option<u64>,
}

/// What every route answers.
pub(super) type Reply<T = Response> = Result<T, Fault>;

/// The body of every reply that is not a success.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Body {
    error: &'static str,
    code: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
}

impl Fault {
    /// The same, with the seconds to wait.
    pub(super) fn later(code: Code, wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self { code, retry_after: Some(seconds.max(1)) }
    }

    /// The status of a reply with it.
    pub(super) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// Seconds to wait: every 429 and 503 says some.
    pub(super) fn wait(self) -> Option<u64> {
        let asked = matches!(self.code.status(), 429 | 503);
        self.retry_after.or(asked.then_some(2))
    }
}

impl Fault {
    /// What its reply says at least.
    pub(super) fn body(self) -> Body {
        Body { error: self.code.sentence(), code: self.code.as_str(), retry_after: self.wait() }
    }

    /// A reply with it that says more.
    pub(super) fn reply(self, body: &impl Serialize) -> Response {
        let mut response = json(self.status(), body);
        if let Some(seconds) = self.wait() {
            response.headers_mut().insert(http::header::RETRY_AFTER, seconds.into());
        }
        response
    }
}

impl From<Code> for Fault {
    fn from(code: Code) -> Self {
        Self { code, retry_after: None }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        Failure::from(refusal).into()
    }
}

impl From<StoreError> for Fault {
    fn from(error: StoreError) -> Self {
        Failure::from(error).into()
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { code: Code::of(failure.code()), retry_after: failure.retry_after() }
    }
}

impl From<&Refused> for Fault {
    fn from(refused: &Refused) -> Self {
        let code = match refused.cause {
            Cause::Size => Code::PayloadTooLarge,
            Cause::Host => Code::Misdirected,
            Cause::Origin => Code::OriginNotAllowed,
            Cause::Credential => Code::Unauthorized,
            Cause::CredentialInUrl => Code::InvalidRequest,
            Cause::Address => Code::Forbidden,
            Cause::Guessing => Code::RateLimited,
            Cause::NoRoute => Code::NotFound,
            Cause::NoMethod => Code::MethodNotAllowed,
            Cause::Unready => Code::Unavailable,
            Cause::Panic => Code::InternalError,
        };
        Self { code, retry_after: refused.failure.retry_after() }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        self.reply(&self.body())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.code.sentence())
    }
}
