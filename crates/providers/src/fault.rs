//! What a provider's failure means: structured codes first, then the status, and searched text last of all.

use std::time::{Duration, SystemTime};

use http::{HeaderMap, header};
use moongate_core::Fault;
use moongate_protocol::ErrorCode;
use serde_json::Value;

use crate::http::TransportFault;

/// What a provider's error object says, reduced to what may be logged.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ErrorObject {
    /// Its machine-readable words (`type`, `code`, `status`), most specific first.
    pub(crate) words: Vec<String>,
    /// Its text speaks of a prompt that does not fit. The only thing ever read from the text.
    speaks_of_length: bool,
}

/// Phrases by which providers without a structured code say that the prompt is too long.
const LENGTH_PHRASES: [&str; 8] = [
    "prompt is too long",
    "maximum context length",
    "context length exceeded",
    "context window",
    "input token count",
    "exceeds the available context size",
    "reduce the length of the messages",
    "input length and `max_tokens` exceed",
];

/// Longest machine-readable word that is kept.
const MAX_WORD: usize = 64;

impl ErrorObject {
    /// Reads any of the shapes in which providers put errors: `{"error": {…}}`, `{"error": "…"}`, a list of
    /// one, or the bare object.
    pub(crate) fn read(json: &[u8]) -> Option<Self> {
        let root: Value = serde_json::from_slice(json).ok()?;
        let root = root.get(0).unwrap_or(&root);
        let nested = root.get("error").filter(|error| !error.is_null());
        let mut found = Self::default();
        for object in nested.into_iter().chain([root]) {
            for key in ["code", "type", "status"] {
                found.words.extend(object.get(key).and_then(word));
            }
            let text = object.as_str().or_else(|| object.get("message").and_then(Value::as_str));
            let text = text.unwrap_or_default().to_ascii_lowercase();
            found.speaks_of_length |= LENGTH_PHRASES.iter().any(|phrase| text.contains(phrase));
        }
        Some(found)
    }
}

/// A machine-readable word: short and of harmless characters, so that no prompt and no key can hide in it.
fn word(value: &Value) -> Option<String> {
    let text = match value {
        Value::String(text) => text.to_ascii_lowercase(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    (!text.is_empty() && text.len() <= MAX_WORD && text.bytes().all(is_plain)).then_some(text)
}

/// The fault behind an answer that is no answer.
pub(crate) fn from_status(status: u16, error: &ErrorObject, retry_after: Option<Duration>) -> Fault {
    let refused = matches!(status, 400 | 413 | 422);
    let kind = if refused && error.speaks_of_length {
        Kind::TooLong
    } else {
        by_words(error, refused).unwrap_or_else(|| by_status(status))
    };
    Fault { retry_after, ..kind.fault() }
}

/// The fault behind an error object in the middle of a stream.
pub(crate) fn from_event(error: &ErrorObject) -> Fault {
    let status = error.words.iter().find_map(|word| word.parse::<u16>().ok());
    let kind = if error.speaks_of_length {
        Kind::TooLong
    } else {
        by_words(error, true).unwrap_or_else(|| status.map_or(Kind::Failed, by_status))
    };
    kind.fault()
}

/// The fault behind a broken connection.
pub(crate) fn from_transport(fault: &TransportFault) -> Fault {
    let unreachable = |text: &str| Fault::new(ErrorCode::ProviderUnreachable, text);
    match fault {
        TransportFault::Resolve(_) => unreachable("The provider's name could not be resolved."),
        TransportFault::Connect(_) => unreachable("The provider could not be reached."),
        TransportFault::ConnectTimeout => unreachable("The provider could not be reached in time."),
        TransportFault::Tls(_) => unreachable("No secure connection to the provider could be made."),
        TransportFault::Head(error) if error.is_parse() => Kind::Protocol.fault(),
        TransportFault::Head(_) | TransportFault::Stale(_) => {
            unreachable("The provider broke off before it answered.")
        }
        TransportFault::Body(_) => cut(),
    }
}

/// The stream ended without its end.
pub(crate) fn cut() -> Fault {
    Fault::new(ErrorCode::ProviderCut, "The provider broke off in the middle of its answer.")
}

/// The provider was silent, or took too long in all.
pub(crate) fn timeout(text: &str) -> Fault {
    Fault::new(ErrorCode::ProviderTimeout, text)
}

/// How long the provider asks to wait: `retry-after-ms`, or `retry-after` in seconds or as a date.
pub(crate) fn retry_after(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    if let Some(millis) = text("retry-after-ms").and_then(seconds) {
        return Some(millis / 1000);
    }
    let value = text(header::RETRY_AFTER.as_str())?;
    seconds(value).or_else(|| {
        let at = httpdate::parse_http_date(value).ok()?;
        Some(at.duration_since(now).unwrap_or_default())
    })
}

/// A number of seconds, at most a year.
fn seconds(text: &str) -> Option<Duration> {
    const YEAR: f64 = 31_536_000.0;
    let number: f64 = text.parse().ok()?;
    (number >= 0.0).then(|| Duration::from_secs_f64(number.min(YEAR)))
}

#[derive(Clone, Copy)]
enum Kind {
    TooLong,
    NoCredit,
    Auth,
    RateLimited,
    Overloaded,
    Timeout,
    Failed,
    NotFound,
    Rejected,
    Redirected,
    Protocol,
}

fn by_words(error: &ErrorObject, refused: bool) -> Option<Kind> {
    error.words.iter().find_map(|word| {
        Some(match word.as_str() {
            "context_length_exceeded"
            | "exceed_context_size_error"
            | "context_window_exceeded"
            | "request_too_large"
            | "model_context_window_exceeded" => Kind::TooLong,
            "insufficient_quota"
            | "billing_error"
            | "billing_not_active"
            | "insufficient_balance"
            | "credits_exhausted" => Kind::NoCredit,
            "invalid_api_key"
            | "authentication_error"
            | "permission_error"
            | "permission_denied"
            | "unauthenticated"
            | "invalid_authentication_error" => Kind::Auth,
            "rate_limit_error" | "rate_limit_exceeded" | "resource_exhausted" | "too_many_requests" => {
                Kind::RateLimited
            }
            "overloaded_error"
            | "overloaded"
            | "engine_overloaded"
            | "engine_overloaded_error"
            | "server_overloaded"
            | "slow_down"
            | "unavailable"
            | "service_unavailable"
            | "insufficient_system_resource" => Kind::Overloaded,
            "timeout_error" | "deadline_exceeded" => Kind::Timeout,
            "model_not_found" | "not_found_error" => Kind::NotFound,
            "api_error" | "server_error" | "internal_error" | "internal_server_error" | "internal" => {
                Kind::Failed
            }
            "invalid_request_error"
            | "invalid_argument"
            | "badrequesterror"
            | "content_policy_violation"
            | "invalid_prompt"
            | "invalid_image"
                if refused =>
            {
                Kind::Rejected
            }
            _ => return None,
        })
    })
}

fn by_status(status: u16) -> Kind {
    match status {
        401 | 403 => Kind::Auth,
        402 => Kind::NoCredit,
        404 | 410 => Kind::NotFound,
        408 | 504 | 524 => Kind::Timeout,
        413 => Kind::TooLong,
        429 => Kind::RateLimited,
        409 | 425 | 503 | 529 => Kind::Overloaded,
        300..=399 => Kind::Redirected,
        400..=499 => Kind::Rejected,
        500..=599 => Kind::Failed,
        _ => Kind::Protocol,
    }
}

impl Kind {
    fn fault(self) -> Fault {
        let (code, text) = match self {
            Self::TooLong => (ErrorCode::ContextTooLong, "The conversation does not fit the model's window."),
            Self::NoCredit => {
                (ErrorCode::ProviderRejected, "The provider's account has no credit or quota left.")
            }
            Self::Auth => (ErrorCode::ProviderAuth, "The provider refused our credential."),
            Self::RateLimited => (ErrorCode::ProviderRateLimited, "The provider asks to slow down."),
            Self::Overloaded => (ErrorCode::ProviderOverloaded, "The provider has too much to do."),
            Self::Timeout => (ErrorCode::ProviderTimeout, "The provider gave up waiting for its model."),
            Self::Failed => (ErrorCode::ProviderUnreachable, "The provider failed."),
            Self::NotFound => {
                (ErrorCode::ProviderRejected, "The provider does not know this model or address.")
            }
            Self::Rejected => (ErrorCode::ProviderRejected, "The provider refused the request."),
            Self::Redirected => (
                ErrorCode::ProviderRejected,
                "The provider answered with a redirect, which is never followed; its base address may be wrong.",
            ),
            Self::Protocol => {
                (ErrorCode::ProviderProtocol, "The provider sent something that is not its protocol.")
            }
        };
        Fault::new(code, text)
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    fn of(status: u16, body: &str) -> ErrorCode {
        from_status(status, &ErrorObject::read(body.as_bytes()).unwrap_or_default(), None).code
    }

    #[test]
    fn statuses_and_structured_codes() {
        use ErrorCode as C;
        for (status, body, code) in [
            (
                400,
                r#"{"error":{"type":"invalid_request_error","code":"context_length_exceeded"}}"#,
                C::ContextTooLong,
            ),
            (
                400,
                r#"{"type":"error","error":{"type":"invalid_request_error","message":"prompt is too long: 9 > 8"}}"#,
                C::ContextTooLong,
            ),
            (
                400,
                r#"[{"error":{"code":400,"message":"The input token count exceeds it","status":"INVALID_ARGUMENT"}}]"#,
                C::ContextTooLong,
            ),
            (400, r#"{"error":{"code":400,"type":"exceed_context_size_error"}}"#, C::ContextTooLong),
            (413, r#"{"type":"error","error":{"type":"request_too_large"}}"#, C::ContextTooLong),
            (413, "<html>", C::ContextTooLong),
            (400, r#"{"error":{"type":"invalid_request_error"}}"#, C::ProviderRejected),
            (400, "", C::ProviderRejected),
            (401, r#"{"error":{"code":"invalid_api_key"}}"#, C::ProviderAuth),
            (403, "{}", C::ProviderAuth),
            (402, "{}", C::ProviderRejected),
            (404, r#"{"error":"model 'x' not found"}"#, C::ProviderRejected),
            (408, "", C::ProviderTimeout),
            (409, "", C::ProviderOverloaded),
            (
                429,
                r#"{"error":{"type":"insufficient_quota","code":"insufficient_quota"}}"#,
                C::ProviderRejected,
            ),
            (429, r#"{"error":{"code":"rate_limit_exceeded"}}"#, C::ProviderRateLimited),
            (429, "slow down", C::ProviderRateLimited),
            (500, r#"{"error":{"type":"server_error"}}"#, C::ProviderUnreachable),
            (502, "<html>", C::ProviderUnreachable),
            (503, "", C::ProviderOverloaded),
            (529, r#"{"type":"error","error":{"type":"overloaded_error"}}"#, C::ProviderOverloaded),
            (307, "", C::ProviderRejected),
            (204, "", C::ProviderProtocol),
        ] {
            assert_eq!(of(status, body), code, "{status} {body}");
        }
    }

    #[test]
    fn errors_in_a_stream() {
        let of = |body: &str| from_event(&ErrorObject::read(body.as_bytes()).unwrap()).code;
        assert_eq!(of(r#"{"error":{"code":429,"message":"x"}}"#), ErrorCode::ProviderRateLimited);
        assert_eq!(of(r#"{"error":{"message":"x"}}"#), ErrorCode::ProviderUnreachable);
        assert_eq!(
            of(r#"{"type":"error","error":{"type":"overloaded_error"}}"#),
            ErrorCode::ProviderOverloaded
        );
        assert_eq!(of(r#"{"type":"error","code":"rate_limit_exceeded"}"#), ErrorCode::ProviderRateLimited);
    }

    #[test]
    fn nothing_but_plain_words_is_kept_of_an_error() {
        let body = r#"{"error":{"message":"key sk-1 of prompt","code":"a b","type":"x\ny","status":"OK_1"}}"#;
        assert_eq!(ErrorObject::read(body.as_bytes()).unwrap().words, ["ok_1"]);
    }

    #[test]
    fn retry_after_in_every_form() {
        let now = httpdate::parse_http_date("Fri, 20 Nov 2026 12:00:00 GMT").unwrap();
        let read = |name: &'static str, value: &'static str| {
            retry_after(
                &HeaderMap::from_iter([(
                    header::HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )]),
                now,
            )
        };
        assert_eq!(read("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(read("retry-after", "0.5"), Some(Duration::from_millis(500)));
        assert_eq!(read("retry-after-ms", "250"), Some(Duration::from_millis(250)));
        assert_eq!(read("retry-after", "Fri, 20 Nov 2026 12:01:00 GMT"), Some(Duration::from_mins(1)));
        assert_eq!(read("retry-after", "Fri, 20 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(read("retry-after", "99999999999999"), Some(Duration::from_secs(31_536_000)));
        assert_eq!(read("retry-after", "-3"), None);
        assert_eq!(read("retry-after", "soon"), None);
        assert_eq!(read("retry-after", "nan"), None);
    }
}
