//! Refusals as the protocol has them: a JSON-RPC error, with a status for what is between.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use moongate_core::{Refusal, StoreError};
use moongate_protocol::ErrorCode;
use serde::Serialize;

use super::{
    era::VERSIONS,
    message::{Id, Reply},
};
use crate::reply::{Failure, json};

/// What every step of a request answers.
pub(super) type Answer<T> = Result<T, Fault>;

/// The body is no JSON.
const PARSE: i64 = -32700;
/// The body is no request.
const INVALID_REQUEST: i64 = -32600;
/// There is no such method.
const NO_METHOD: i64 = -32601;
/// The method does not take these parameters.
const INVALID_PARAMS: i64 = -32602;
/// The server could not.
const INTERNAL: i64 = -32603;
/// A header says something else than the body.
const HEADER_MISMATCH: i64 = -32020;
/// The revision is not spoken here.
const VERSION: i64 = -32022;

/// A refusal on its way out.
#[derive(Debug)]
pub(super) struct Fault {
    status: StatusCode,
    error: ErrorInfo,
    retry_after: Option<u64>,
}

/// A JSON-RPC error.
#[derive(Clone, Debug, Serialize)]
pub(super) struct ErrorInfo {
    code: i64,
    message: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<Versions>,
}

/// Which revisions there are, for a client that asked for another.
#[derive(Clone, Debug, Serialize)]
struct Versions {
    supported: Vec<&'static str>,
    requested: String,
}

impl Fault {
    fn new(status: StatusCode, code: i64, message: impl Into<String>) -> Self {
        let error = ErrorInfo { code, message: message.into(), data: None };
        Self { status, error, retry_after: None }
    }

    /// The body is no JSON.
    pub(super) fn parse() -> Self {
        Self::new(StatusCode::BAD_REQUEST, PARSE, "the body is not JSON")
    }

    /// The body is no request.
    pub(super) fn invalid(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_REQUEST, message)
    }

    /// There is no such method.
    pub(super) fn no_method(method: &str) -> Self {
        let method: String = method.chars().take(64).filter(|c| !c.is_control()).collect();
        Self::new(StatusCode::NOT_FOUND, NO_METHOD, format!("there is no method {method:?}"))
    }

    /// The method does not take these parameters.
    pub(super) fn params(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, INVALID_PARAMS, message)
    }

    /// A header says something else than the body.
    pub(super) fn header(name: &str) -> Self {
        let message = format!("the header {name} is missing, or says something else than the body");
        Self::new(StatusCode::BAD_REQUEST, HEADER_MISMATCH, message)
    }

    /// The revision is not spoken here.
    pub(super) fn version(requested: &str) -> Self {
        let requested = requested.chars().take(64).collect();
        let data = Versions { supported: VERSIONS.to_vec(), requested };
        let mut fault =
            Self::new(StatusCode::BAD_REQUEST, VERSION, "this revision of the protocol is not spoken here");
        fault.error.data = Some(data);
        fault
    }

    /// The client ended the request itself.
    pub(super) fn stopped() -> Self {
        Self::new(StatusCode::OK, INTERNAL, "the request was cancelled")
    }

    /// What is said in the middle of a stream.
    pub(super) fn info(&self) -> ErrorInfo {
        self.error.clone()
    }

    /// The same, about one request. Before the newest revision a refusal of a method is no refusal of HTTP.
    pub(super) fn about(self, id: Option<Id>, is_stateless: bool) -> Response {
        let is_answer = matches!(self.error.code, NO_METHOD | INVALID_PARAMS);
        let status = if is_answer && id.is_some() && !is_stateless { StatusCode::OK } else { self.status };
        let mut response = json(status, &Reply::error(id, self.error));
        if let Some(seconds) = self.retry_after {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<Failure> for Fault {
    fn from(failure: Failure) -> Self {
        Self::refused(&failure)
    }
}

impl Fault {
    /// A refusal in the protocol's shape.
    pub(super) fn refused(failure: &Failure) -> Self {
        let status =
            StatusCode::from_u16(failure.code().status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let code = match failure.code() {
            ErrorCode::NotFound | ErrorCode::Unprocessable => INVALID_PARAMS,
            ErrorCode::InvalidRequest | ErrorCode::TooLarge | ErrorCode::UnsupportedMediaType => {
                INVALID_REQUEST
            }
            _ => INTERNAL,
        };
        let retry_after = failure.retry_after();
        Self { retry_after, ..Self::new(status, code, failure.message()) }
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
        self.about(None, true)
    }
}
