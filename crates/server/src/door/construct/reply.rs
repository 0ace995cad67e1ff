//! The door's replies: every refusal is an object with `error` and `code`.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use moongate_core::{Refusal, Scope, StoreError};
use moongate_protocol::ErrorCode;
use serde::{Serialize, de::DeserializeOwned};

use super::routes::is_out_of_scope;
use crate::{
    door::shared::{Cause, Refused},
    reply::{Failure, json},
};

/// When to come again where nobody knows better.
const LATER: Duration = Duration::from_secs(5);

/// What every route answers.
pub(super) type Reply<T = Response> = Result<T, Trouble>;

/// A refusal on its way out.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Trouble {
    pub(super) status: StatusCode,
    pub(super) code: &'static str,
    pub(super) message: String,
    pub(super) retry_after: Option<Duration>,
    /// What the body says besides.
    pub(super) more: Box<More>,
}

/// More about a refusal.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub(super) struct More {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) session_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) turn_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) paired: Option<bool>,
}

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
    code: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    retry_after: Option<u64>,
    #[serde(flatten)]
    more: &'a More,
}

impl Trouble {
    pub(super) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { status, code, message: message.into(), retry_after: None, more: Box::default() }
    }

    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "invalid_request", message)
    }

    pub(super) fn no_session() -> Self {
        Self::new(StatusCode::NOT_FOUND, "session_not_found", "Session not found")
    }

    /// Too much of something, for a while.
    pub(super) fn later(code: &'static str, message: impl Into<String>, wait: Duration) -> Self {
        let retry_after = Some(wait);
        Self { retry_after, ..Self::new(StatusCode::TOO_MANY_REQUESTS, code, message) }
    }

    pub(super) fn with(self, more: More) -> Self {
        Self { more: more.into(), ..self }
    }

    /// Whole seconds, rounded up: never earlier than asked for. Who has to come later is always told when.
    fn seconds(&self) -> Option<u64> {
        let comes_later = matches!(self.status.as_u16(), 429 | 503);
        let wait = self.retry_after.or(comes_later.then_some(LATER))?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

impl IntoResponse for Trouble {
    fn into_response(self) -> Response {
        let retry_after = self.seconds();
        let body = Body { error: &self.message, code: self.code, retry_after, more: &self.more };
        let mut response = json(self.status, &body);
        if let Some(seconds) = retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// The door's code and status for one of the engine's.
fn code(code: ErrorCode) -> (StatusCode, &'static str) {
    let name = match code {
        ErrorCode::NotFound => "session_not_found",
        ErrorCode::Forbidden => "forbidden",
        ErrorCode::Unauthorized => "unauthorized",
        ErrorCode::MethodNotAllowed => "method_not_allowed",
        ErrorCode::Busy | ErrorCode::QueueFull => "session_busy",
        ErrorCode::RateLimited => "rate_limited",
        ErrorCode::TooLarge => "payload_too_large",
        ErrorCode::Misdirected => "misdirected",
        ErrorCode::IdempotencyMismatch => "idempotency_mismatch",
        ErrorCode::DiskFull => "storage_full",
        ErrorCode::StoreReadOnly => "storage_error",
        ErrorCode::Unavailable => "unavailable",
        ErrorCode::Internal => "internal",
        _ => "invalid_request",
    };
    let status = if code == ErrorCode::Busy { 429 } else { code.status() };
    (StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), name)
}

impl From<Refusal> for Trouble {
    fn from(refusal: Refusal) -> Self {
        if refusal.code == ErrorCode::NotFound {
            return Self::no_session();
        }
        let (status, code) = code(refusal.code);
        Self { retry_after: refusal.retry_after, ..Self::new(status, code, refusal.message) }
    }
}

impl From<StoreError> for Trouble {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<Failure> for Trouble {
    fn from(failure: Failure) -> Self {
        let (status, code) = code(failure.code());
        let retry_after = failure.retry_after().map(Duration::from_secs);
        Self { retry_after, ..Self::new(status, code, failure.message()) }
    }
}

/// A refusal of the guard in the door's words.
pub(super) fn refused(refused: &Refused) -> Response {
    let trouble = Trouble::from(Failure::new(refused.failure.code(), refused.failure.message()));
    let retry_after = refused.failure.retry_after().map(Duration::from_secs);
    let trouble = Trouble { retry_after, ..trouble };
    let said = |code, message: &str| Trouble { code, message: message.to_owned(), ..trouble.clone() };
    match refused.cause {
        Cause::Credential => unauthorized(),
        Cause::NoRoute if is_out_of_scope(&refused.path) => {
            said("out_of_scope", "Not supported by this gateway")
        }
        Cause::NoRoute => said("not_found", "Not found"),
        Cause::NoMethod => said("method_not_allowed", "Method not allowed"),
        Cause::Host => said("misdirected", "This gateway does not answer to that name"),
        Cause::Origin => said("origin_not_allowed", "Pages of this origin may not talk to this gateway"),
        Cause::Guessing => said("rate_limited", "Too many failed attempts; try again later"),
        Cause::Panic => said("internal", "Something failed inside the gateway"),
        Cause::Unready => said("unavailable", "The gateway cannot answer now"),
        _ => trouble,
    }
    .into_response()
}

/// There is no key, or it is not valid.
pub(super) fn unauthorized() -> Trouble {
    let message = "Unauthorized — pair first via POST /pair, then send Authorization: Bearer <token>";
    Trouble::new(StatusCode::UNAUTHORIZED, "unauthorized", message)
}

/// The key is good and may not do this.
pub(super) fn lacks(scope: Scope) -> Trouble {
    let message = format!("Forbidden — this key lacks {}", scope.as_str());
    Trouble::new(StatusCode::FORBIDDEN, "forbidden", message)
}

/// A 200 reply.
pub(super) fn ok<T: Serialize>(value: &T) -> Reply {
    Ok(json(StatusCode::OK, value))
}

/// Reads a JSON body; `None` when there is none.
pub(super) fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Reply<Option<T>> {
    if bytes.trim_ascii().is_empty() {
        return Ok(None);
    }
    let invalid = |error: serde_json::Error| {
        Trouble::new(StatusCode::BAD_REQUEST, "invalid_json", format!("Invalid JSON: {error}"))
    };
    serde_json::from_slice(bytes).map(Some).map_err(invalid)
}
