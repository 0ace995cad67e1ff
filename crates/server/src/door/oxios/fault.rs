//! Refusals in the door's one shape: `{"error": "<text>"}`.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use moongate_core::Refusal;
use moongate_protocol::ErrorCode;
use serde::Serialize;

use crate::reply::{Failure, json};

/// Seconds after which a store that takes no writes may take them again.
const STORE_WAIT: u64 = 2;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Fault(pub(super) Failure);

/// What every route answers.
pub(super) type Reply<T = Response> = Result<T, Fault>;

#[derive(Serialize)]
struct Body<'a> {
    error: &'a str,
}

impl Fault {
    /// There is no such thing, or it is not the caller's.
    pub(super) fn not_found(what: &str) -> Self {
        Self(Failure::new(ErrorCode::NotFound, what))
    }

    /// A field is missing or of the wrong type.
    pub(super) fn unprocessable(message: impl Into<String>) -> Self {
        Self(Failure::new(ErrorCode::Unprocessable, message))
    }

    /// The content is larger than it may be.
    pub(super) fn too_large(size: usize, limit: usize) -> Self {
        Self(Failure::new(ErrorCode::TooLarge, format!("{size} bytes exceeds limit of {limit} bytes")))
    }

    /// More than the key may ask.
    pub(super) fn too_often(wait: Duration) -> Self {
        Self(Refusal::later(ErrorCode::RateLimited, "rate limit exceeded", wait).into())
    }
}

impl<T: Into<Failure>> From<T> for Fault {
    fn from(failure: T) -> Self {
        Self(failure.into())
    }
}

/// A refusal's status here: a store that cannot write is not ready.
fn status(code: ErrorCode) -> StatusCode {
    match code {
        ErrorCode::StoreReadOnly | ErrorCode::DiskFull => StatusCode::SERVICE_UNAVAILABLE,
        ErrorCode::Conflict => StatusCode::BAD_REQUEST,
        code => StatusCode::from_u16(code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
    }
}

/// A failure as a reply.
pub(super) fn refuse(failure: &Failure) -> Response {
    let status = status(failure.code());
    let mut response = json(status, &Body { error: failure.message() });
    let wait = failure.retry_after().or((status == StatusCode::SERVICE_UNAVAILABLE).then_some(STORE_WAIT));
    if let Some(seconds) = wait {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

/// A refusal with a status of its own.
pub(super) fn refusal(status: StatusCode, error: &str) -> Response {
    json(status, &Body { error })
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        refuse(&self.0)
    }
}
