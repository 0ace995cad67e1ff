//! Why a caller does not get what it asked for.

use std::time::Duration;

use moongate_protocol::ErrorCode;

use crate::StoreError;

/// An answer in the negative: a code of the closed table and words fit for the caller.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct Refusal {
    /// From the closed table.
    pub code: ErrorCode,
    /// In words, fit for the caller.
    pub message: String,
    /// When to try again, where that is known.
    pub retry_after: Option<Duration>,
}

impl Refusal {
    /// A refusal without a time to try again.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), retry_after: None }
    }

    /// A refusal that may pass after `wait`.
    pub fn later(code: ErrorCode, message: impl Into<String>, wait: Duration) -> Self {
        Self { code, message: message.into(), retry_after: Some(wait) }
    }

    /// There is no such thing, or it is not the caller's: the same answer for both.
    pub fn not_found(what: &str) -> Self {
        Self::new(ErrorCode::NotFound, format!("there is no such {what}"))
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let code = error.code();
        let message = match &error {
            StoreError::NotFound => "there is no such session",
            StoreError::Conflict | StoreError::AliasTaken(_) | StoreError::KeyTaken => {
                "somebody else was first; try again"
            }
            StoreError::DiskFull => "there is no room on the server's disk",
            StoreError::ReadOnly(_) => "the server's store takes no writes until an operator looks at it",
            StoreError::Damaged(_) => "part of this session's log is damaged",
            StoreError::Engine(_) => "the server's store failed",
        };
        if matches!(error, StoreError::Damaged(_) | StoreError::Engine(_) | StoreError::ReadOnly(_)) {
            tracing::error!(error = %error, "the store refused");
        }
        let retry_after = code.retryable().then_some(Duration::from_secs(1));
        Self { code, message: message.into(), retry_after }
    }
}
