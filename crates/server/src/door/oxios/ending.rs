//! Why a turn did not end well, in the door's closed list of kinds and sentences.

use std::borrow::Cow;

use moongate_protocol::{ErrorCode, TurnFailed};
use serde::Serialize;

/// What every client is told of a cancelled turn.
pub(super) const CANCELLED: &str = "Turn cancelled by user";
/// What stands for the reply of a turn that said nothing.
pub(super) const NO_TEXT: &str = "(no text)";

/// The door's kinds of errors.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Kind {
    ProviderError,
    ApiKeyMissing,
    Timeout,
    PermissionDenied,
    ValidationError,
    ExecutionFailed,
    Cancelled,
    Internal,
}

/// What went wrong, as every transport tells it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Problem {
    pub(super) kind: Kind,
    pub(super) message: Cow<'static, str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) suggestion: Option<&'static str>,
    pub(super) retryable: bool,
}

impl Kind {
    fn sentence(self) -> &'static str {
        match self {
            Self::ProviderError => "The model service failed.",
            Self::ApiKeyMissing => "No API key is configured for the model provider.",
            Self::Timeout => "The request took too long.",
            Self::PermissionDenied => "This action is not permitted.",
            Self::ValidationError => "The request is not valid.",
            Self::ExecutionFailed => "The task could not be carried out.",
            Self::Cancelled => CANCELLED,
            Self::Internal => "An internal error occurred.",
        }
    }

    fn suggestion(self) -> Option<&'static str> {
        match self {
            Self::ProviderError => Some("Try again in a minute or choose another model."),
            Self::ApiKeyMissing => Some("Add the key on the server."),
            Self::Timeout => Some("Try a smaller request."),
            _ => None,
        }
    }

    fn retryable(self) -> bool {
        matches!(self, Self::ProviderError | Self::Timeout | Self::ExecutionFailed | Self::Internal)
    }

    /// The problem with the kind's own sentence.
    pub(super) fn problem(self) -> Problem {
        self.saying(self.sentence())
    }

    /// The problem with a more precise text.
    pub(super) fn saying(self, message: impl Into<Cow<'static, str>>) -> Problem {
        let (suggestion, retryable) = (self.suggestion(), self.retryable());
        Problem { kind: self, message: message.into(), suggestion, retryable }
    }
}

/// What a failed turn's code and words are here.
pub(super) fn problem(failed: &TurnFailed) -> Problem {
    match failed.code {
        ErrorCode::ProviderAuth => Kind::ApiKeyMissing.problem(),
        ErrorCode::ProviderRejected
        | ErrorCode::ProviderRateLimited
        | ErrorCode::ProviderOverloaded
        | ErrorCode::ProviderUnreachable
        | ErrorCode::ProviderCut
        | ErrorCode::ProviderProtocol => Kind::ProviderError.problem(),
        ErrorCode::ProviderTimeout | ErrorCode::LimitReached => Kind::Timeout.problem(),
        ErrorCode::Forbidden | ErrorCode::Unauthorized => Kind::PermissionDenied.problem(),
        ErrorCode::ContextTooLong
        | ErrorCode::InvalidRequest
        | ErrorCode::Unprocessable
        | ErrorCode::NotFound
        | ErrorCode::TooLarge => Kind::ValidationError.saying(failed.message.clone()),
        ErrorCode::RateLimited
        | ErrorCode::QueueFull
        | ErrorCode::Busy
        | ErrorCode::Conflict
        | ErrorCode::BudgetExceeded => Kind::ExecutionFailed.saying(failed.message.clone()),
        ErrorCode::AttemptsExhausted => Kind::Internal.saying("The turn was interrupted by a restart."),
        ErrorCode::Cancelled => Kind::Cancelled.problem(),
        _ => Kind::Internal.problem(),
    }
}
