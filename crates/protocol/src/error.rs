//! The closed table of error codes.

use serde::{Deserialize, Serialize};

// The text is a `tt`: utoipa does not look into a `literal`, and would tell clients the variant's name instead.
macro_rules! error_codes {
    ($($(#[$doc:meta])* $name:ident = $text:tt, $status:literal, $retryable:literal;)*) => {
        /// What went wrong. The table is closed: a client may match on every code.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub enum ErrorCode {
            $($(#[$doc])* #[serde(rename = $text)] $name,)*
        }

        impl ErrorCode {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[$(Self::$name,)*];

            /// The code on the wire.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$name => $text,)* }
            }

            /// The HTTP status of a reply with this code.
            pub fn status(self) -> u16 {
                match self { $(Self::$name => $status,)* }
            }

            /// Whether the same request may succeed later.
            pub fn retryable(self) -> bool {
                match self { $(Self::$name => $retryable,)* }
            }
        }
    };
}

error_codes! {
    /// The request is not what the contract says.
    InvalidRequest = "invalid_request", 400, false;
    /// A position from another incarnation of the log, or beyond its head.
    InvalidPosition = "invalid_position", 400, false;
    /// No credential, or one that is not valid.
    Unauthorized = "unauthorized", 401, false;
    /// The credential does not allow this.
    Forbidden = "forbidden", 403, false;
    /// There is no such thing, or it is not the caller's.
    NotFound = "not_found", 404, false;
    /// The route exists, the method does not.
    MethodNotAllowed = "method_not_allowed", 405, false;
    /// The session is busy and the input asked to be refused then.
    Busy = "busy", 409, true;
    /// The thing is in a state that does not allow this.
    Conflict = "conflict", 409, false;
    /// The body is larger than its limit.
    TooLarge = "too_large", 413, false;
    /// The body's media type is not the one the route reads.
    UnsupportedMediaType = "unsupported_media_type", 415, false;
    /// The request was sent to a name this server does not answer to.
    Misdirected = "misdirected", 421, false;
    /// The idempotency key was used for another body.
    IdempotencyMismatch = "idempotency_mismatch", 422, false;
    /// The value is well formed and not acceptable (an unknown agent or model, for example).
    Unprocessable = "unprocessable", 422, false;
    /// The session's queue of waiting inputs is full.
    QueueFull = "queue_full", 429, true;
    /// Too many requests or running turns.
    RateLimited = "rate_limited", 429, true;
    /// Headers are larger than their limit.
    HeadersTooLarge = "headers_too_large", 431, false;
    /// Something failed inside; the details are in the server's log.
    Internal = "internal", 500, true;
    /// This part of the contract is not built yet.
    NotImplemented = "not_implemented", 501, false;
    /// The server is starting, draining or full.
    Unavailable = "unavailable", 503, true;
    /// The store takes no more writes until an operator looks at it.
    StoreReadOnly = "store_read_only", 503, true;
    /// No room on the disk.
    DiskFull = "disk_full", 507, true;
    /// The provider refused our credential.
    ProviderAuth = "provider_auth", 502, false;
    /// The provider refused the request as such.
    ProviderRejected = "provider_rejected", 502, false;
    /// The provider asked to slow down, longer than we may wait.
    ProviderRateLimited = "provider_rate_limited", 502, true;
    /// The provider has too much to do.
    ProviderOverloaded = "provider_overloaded", 502, true;
    /// The provider could not be reached or broke off.
    ProviderUnreachable = "provider_unreachable", 502, true;
    /// The provider was silent for too long.
    ProviderTimeout = "provider_timeout", 504, true;
    /// The provider's stream ended without an end.
    ProviderCut = "provider_cut", 502, true;
    /// The provider sent something that is not its protocol.
    ProviderProtocol = "provider_protocol", 502, true;
    /// The conversation does not fit the model's window.
    ContextTooLong = "context_too_long", 422, false;
    /// A limit of the turn (model calls, time) was reached.
    LimitReached = "limit_reached", 422, false;
    /// An operator's limit of what may be spent was reached.
    BudgetExceeded = "budget_exceeded", 403, false;
    /// The turn was tried as often as it may be.
    AttemptsExhausted = "attempts_exhausted", 500, false;
    /// The turn was cancelled.
    Cancelled = "cancelled", 409, false;
}

impl std::fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(all(test, feature = "openapi"))]
mod tests {
    use utoipa::PartialSchema as _;

    use super::ErrorCode;

    #[test]
    fn the_schema_lists_the_codes_as_they_are_sent() {
        let schema = serde_json::to_value(ErrorCode::schema()).unwrap();
        let sent: Vec<&str> = ErrorCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!(schema["enum"], serde_json::to_value(sent).unwrap());
    }
}
