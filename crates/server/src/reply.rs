//! What leaves the server: JSON replies, and every refusal in one shape.

use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderValue, StatusCode, header};
use moongate_core::{Refusal, StoreError};
use moongate_protocol::{ErrorCode, ParseError, Position};
use serde::Serialize;
use utoipa::ToSchema;

/// What every route answers: a reply, or a refusal in the one shape.
pub(crate) type Answer<T = Response> = Result<T, Failure>;

/// A refusal on its way out.
#[derive(Debug)]
pub(crate) struct Failure(Box<Content>);

#[derive(Debug)]
struct Content {
    refusal: Refusal,
    details: Option<Details>,
}

/// The body of every reply that is not a success.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorBody {
    /// What went wrong.
    pub(crate) error: ErrorInfo,
}

/// What went wrong, for programs and for people.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErrorInfo {
    /// From the closed table.
    pub(crate) code: ErrorCode,
    /// The same in words.
    pub(crate) message: String,
    /// Seconds to wait before trying again, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) retry_after_s: Option<u64>,
    /// More, where there is more to say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) details: Option<Details>,
}

/// More about a failure.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Details {
    /// Where in the request it is.
    Field {
        /// The field's path, for example `parts[0].text`.
        field: String,
    },
    /// Where to start from instead.
    Start {
        /// The position.
        position: Position,
    },
}

impl Failure {
    /// A failure with a code and words.
    pub(crate) fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Refusal::new(code, message).into()
    }

    /// The request is not what the contract says.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::new(ErrorCode::InvalidRequest, message)
    }

    /// One field of the request is not what the contract says.
    pub(crate) fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(message).with(Details::Field { field: field.into() })
    }

    /// The same with more to say.
    pub(crate) fn with(mut self, details: Details) -> Self {
        self.0.details = Some(details);
        self
    }

    /// The same, with the place it is about before the words.
    pub(crate) fn at(mut self, place: &str) -> Self {
        self.0.refusal.message = format!("{place}: {}", self.0.refusal.message);
        self
    }

    /// The code.
    pub(crate) fn code(&self) -> ErrorCode {
        self.0.refusal.code
    }

    /// The words.
    pub(crate) fn message(&self) -> &str {
        &self.0.refusal.message
    }

    /// The body.
    pub(crate) fn body(&self) -> ErrorBody {
        let Content { refusal, details } = &*self.0;
        ErrorBody {
            error: ErrorInfo {
                code: refusal.code,
                message: refusal.message.clone(),
                retry_after_s: self.retry_after(),
                details: details.clone(),
            },
        }
    }

    /// Whole seconds, rounded up: never earlier than asked for.
    pub(crate) fn retry_after(&self) -> Option<u64> {
        let wait = self.0.refusal.retry_after?;
        Some(wait.as_secs() + u64::from(wait.subsec_nanos() > 0))
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        Self(Box::new(Content { refusal, details: None }))
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        Refusal::from(error).into()
    }
}

impl From<ParseError> for Failure {
    fn from(error: ParseError) -> Self {
        Self::invalid(error.to_string())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = json(status, &self.body());
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if status == StatusCode::UNAUTHORIZED {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}

/// A JSON reply.
pub(crate) fn json<T: Serialize>(status: StatusCode, value: &T) -> Response {
    let mut body = Vec::with_capacity(256);
    match serde_json::to_writer(&mut body, value) {
        Ok(()) => bytes(status, "application/json", body.into()),
        Err(error) => {
            tracing::error!(%error, "a reply could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A 200 JSON reply.
pub(crate) fn ok<T: Serialize>(value: &T) -> Answer {
    Ok(json(StatusCode::OK, value))
}

/// A reply without a body.
pub(crate) fn no_content() -> Response {
    StatusCode::NO_CONTENT.into_response()
}

/// A reply of these bytes.
pub(crate) fn bytes(status: StatusCode, media_type: &'static str, body: Bytes) -> Response {
    let mut response = Response::new(axum::body::Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    response
}
