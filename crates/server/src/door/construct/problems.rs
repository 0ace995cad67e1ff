//! Everything that can go wrong, in the door's words: fixed sentences and numbers, nothing of a provider's.

use moongate_protocol::ErrorCode;

use super::frames::Problem;

/// A failure's class: code, reason, whether the same may work later, and words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Class {
    pub(super) code: &'static str,
    pub(super) reason: &'static str,
    pub(super) retryable: bool,
    pub(super) message: &'static str,
}

/// The class of a turn that failed.
pub(super) fn class(code: ErrorCode) -> Class {
    let (class, reason, retryable, message) = match code {
        ErrorCode::ProviderAuth => {
            ("AUTH_ERROR", "provider_auth", false, "The model provider refused the gateway's credentials.")
        }
        ErrorCode::ProviderRateLimited | ErrorCode::ProviderOverloaded => {
            ("PROVIDER_ERROR", "rate_limited", true, "The model provider has too much to do.")
        }
        ErrorCode::ProviderUnreachable => {
            ("PROVIDER_ERROR", "unavailable", true, "The model provider could not be reached.")
        }
        ErrorCode::ProviderTimeout => {
            ("PROVIDER_ERROR", "timeout", true, "The model provider did not answer in time.")
        }
        ErrorCode::ProviderCut => ("PROVIDER_ERROR", "stream_cut", true, "The model stream ended early."),
        ErrorCode::ProviderProtocol => {
            ("PROVIDER_ERROR", "bad_response", true, "The model provider's answer could not be read.")
        }
        ErrorCode::ContextTooLong => {
            ("PROVIDER_ERROR", "context_length", false, "The conversation is too long for the model.")
        }
        ErrorCode::Unprocessable | ErrorCode::NotFound => {
            ("PROVIDER_ERROR", "unknown_model", false, "The model is not known.")
        }
        ErrorCode::ProviderRejected | ErrorCode::InvalidRequest => {
            ("PROVIDER_ERROR", "rejected", false, "The model provider rejected the request.")
        }
        ErrorCode::LimitReached => {
            ("AGENT_ERROR", "max_steps", false, "The turn reached a limit of steps or time.")
        }
        ErrorCode::BudgetExceeded => {
            ("AGENT_ERROR", "budget_exceeded", false, "A spend limit of the gateway is reached.")
        }
        ErrorCode::AttemptsExhausted | ErrorCode::Unavailable => {
            ("AGENT_ERROR", "interrupted", true, "The gateway was restarted during the turn.")
        }
        _ => ("AGENT_ERROR", "internal", true, "Something failed inside the gateway."),
    };
    Class { code: class, reason, retryable, message }
}

/// A turn that failed.
pub(super) fn turn_failed(code: ErrorCode, partial: bool) -> Problem {
    let Class { code, reason, retryable, message } = class(code);
    Problem { reason: Some(reason), retryable, partial: Some(partial), ..plain(code, message) }
}

/// A failure with a code and words only.
pub(super) fn plain(code: &'static str, message: impl Into<String>) -> Problem {
    Problem {
        message: message.into(),
        code,
        reason: None,
        retryable: false,
        retry_after: None,
        partial: None,
        client_message_id: None,
        input_id: None,
    }
}

/// Why a session takes no more inputs, or took this one back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Busy {
    /// So many run or wait.
    Full(usize),
    /// It waited too long.
    TimedOut,
    /// Somebody emptied the queue.
    Cleared,
}

/// A session that is busy. Clients that know the reasons get them as the code.
pub(super) fn busy(session: &str, why: Busy, split: bool) -> Problem {
    let (reason, message) = match why {
        Busy::Full(pending) => {
            let message = format!("Session {session} queue full ({pending} pending requests)");
            ("SESSION_QUEUE_FULL", message)
        }
        Busy::TimedOut => ("SESSION_QUEUE_TIMEOUT", format!("Timed out waiting for session {session}")),
        Busy::Cleared => ("SESSION_QUEUE_CLEARED", format!("The queue of session {session} was cleared")),
    };
    let code = if split { reason } else { "SESSION_BUSY" };
    Problem { reason: Some(reason), retryable: true, ..plain(code, message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_of_the_table_has_a_class_and_short_words() {
        for code in ErrorCode::ALL {
            let class = class(*code);
            assert!(["AUTH_ERROR", "PROVIDER_ERROR", "AGENT_ERROR"].contains(&class.code));
            assert!(class.message.len() < 500);
        }
        assert_eq!(class(ErrorCode::ProviderCut).message, "The model stream ended early.");
    }

    #[test]
    fn a_busy_session_says_how_in_reason_or_in_code() {
        let one = busy("s-5", Busy::Full(2), false);
        assert_eq!(
            (one.code, one.message.as_str()),
            ("SESSION_BUSY", "Session s-5 queue full (2 pending requests)")
        );
        assert_eq!(busy("s-5", Busy::TimedOut, true).code, "SESSION_QUEUE_TIMEOUT");
    }
}
