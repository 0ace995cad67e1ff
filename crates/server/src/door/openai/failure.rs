//! Refusals as clients of OpenAI expect them.

use std::{
    hash::{BuildHasher as _, Hasher as _, RandomState},
    sync::atomic::{AtomicU64, Ordering},
};

use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use moongate_core::{Refusal, StoreError};
use moongate_protocol::ErrorCode;
use serde::Serialize;

use crate::reply::{Details, Failure, json};

/// What every handler of the door answers.
pub(super) type Reply<T = Response> = Result<T, Fault>;

/// Characters of what a client sent that are said back to it.
const QUOTED_CHARS: usize = 100;

/// The header that tells OpenAI's SDKs whether to try again, whatever the status says.
const SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");
/// The header that names a request.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Fault {
    failure: Box<Failure>,
    /// The status and code OpenAI has for it, where they are not ours.
    known: Option<(StatusCode, &'static str)>,
}

/// The body of a refusal.
#[derive(Debug, Serialize)]
pub(super) struct Body {
    pub(super) error: Info,
}

/// What went wrong, in OpenAI's words.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Info {
    pub(super) message: String,
    #[serde(rename = "type")]
    pub(super) kind: &'static str,
    pub(super) param: Option<String>,
    pub(super) code: Option<&'static str>,
}

impl Fault {
    /// The request is not what the contract says.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Failure::invalid(message).into()
    }

    /// One field of the request is not what the contract says.
    pub(super) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Failure::field(field, message).into()
    }

    /// Something this server does not do.
    pub(super) fn unsupported(field: &str, message: impl Into<String>) -> Self {
        let known = Some((StatusCode::BAD_REQUEST, "unsupported_parameter"));
        Self { known, ..Self::field(field, message) }
    }

    /// Refuses the first field that asks for what would change the answer and is not done.
    pub(super) fn unless_done(asked: &[(&str, bool)]) -> Reply<()> {
        match asked.iter().find(|(_, is_asked)| *is_asked) {
            Some((field, _)) => {
                let message = format!("this server does not do what {field} asks for");
                Err(Self::unsupported(field, message))
            }
            None => Ok(()),
        }
    }

    /// There is no such thing, or it is not the caller's.
    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Failure::new(ErrorCode::NotFound, message).into()
    }

    /// The same about a thing that has an id.
    pub(super) fn no_such(what: &str, id: &str) -> Self {
        Self::not_found(format!("{what} with id '{}' not found.", quoted(id)))
    }

    /// A refusal with a status and a code OpenAI has for it.
    pub(super) fn known(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        Self { known: Some((status, code)), ..Self::invalid(message) }
    }

    /// The same with a status and a code OpenAI has for it.
    pub(super) fn with_code(self, status: StatusCode, code: &'static str) -> Self {
        Self { known: Some((status, code)), ..self }
    }

    /// The code of our own table.
    pub(super) fn code(&self) -> ErrorCode {
        self.failure.code()
    }

    /// The status of the reply.
    pub(super) fn status(&self) -> StatusCode {
        if let Some((status, _)) = self.known {
            return status;
        }
        let code = self.failure.code();
        // Clients try a 409 again by themselves, and what is in the way here does not go away.
        let status = match code {
            ErrorCode::Conflict | ErrorCode::Unprocessable | ErrorCode::InvalidPosition => 400,
            ErrorCode::BudgetExceeded => 429,
            _ => code.status(),
        };
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    /// What went wrong.
    pub(super) fn info(&self) -> Info {
        let status = self.status();
        let own = self.failure.code();
        let code = match (self.known, own) {
            (Some((_, code)), _) => code,
            (None, ErrorCode::Unauthorized) => "invalid_api_key",
            (None, ErrorCode::RateLimited | ErrorCode::QueueFull) => "rate_limit_exceeded",
            (None, ErrorCode::BudgetExceeded) => "insufficient_quota",
            (None, ErrorCode::ContextTooLong) => "context_length_exceeded",
            (None, _) => own.as_str(),
        };
        let body = self.failure.body();
        let param = body.error.details.and_then(|details| match details {
            Details::Field { field } => Some(field),
            Details::Start { .. } => None,
        });
        let kind = if own == ErrorCode::BudgetExceeded { code } else { kind(status) };
        Info { message: body.error.message, kind, param, code: Some(code) }
    }
}

fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        403 => "permission_error",
        429 => "rate_limit_error",
        500.. => "server_error",
        _ => "invalid_request_error",
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self { failure: Box::new(failure), known: None }
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

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut response = json(self.status(), &Body { error: self.info() });
        if let Some(seconds) = self.failure.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.failure.code() == ErrorCode::BudgetExceeded {
            // A 429 is tried again by itself, and what was spent stays spent.
            response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
        }
        response
    }
}

/// What a client sent, in words to it: no longer than it helps.
pub(super) fn quoted(text: &str) -> &str {
    text.char_indices().nth(QUOTED_CHARS).map_or(text, |(end, _)| &text[..end])
}

/// Names requests, so that a person can ask about one.
#[derive(Debug)]
pub(super) struct RequestIds {
    start: u64,
    next: AtomicU64,
}

impl RequestIds {
    /// Names nobody used before, as likely as chance has it.
    pub(super) fn new() -> Self {
        Self { start: RandomState::new().build_hasher().finish(), next: AtomicU64::new(0) }
    }

    /// The reply with its request's name.
    pub(super) fn mark(&self, mut response: Response) -> Response {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        if let Ok(value) = HeaderValue::try_from(format!("req_{:016x}{number:08x}", self.start)) {
            response.headers_mut().entry(REQUEST_ID).or_insert(value);
        }
        response
    }
}
