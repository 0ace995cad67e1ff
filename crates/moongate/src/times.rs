//! Times as people read them.

use jiff::tz::TimeZone;
use moongate_core::{Clock as _, SystemClock};
use moongate_protocol::Timestamp;

const MINUTE: i64 = 60;
const HOUR: i64 = 60 * MINUTE;
const DAY: i64 = 24 * HOUR;

/// How long ago something was.
pub(crate) fn ago(at: Timestamp) -> String {
    let seconds = (SystemClock.now().as_millis() - at.as_millis()) / 1000;
    match seconds {
        i64::MIN..MINUTE => "just now".to_owned(),
        MINUTE..HOUR => format!("{} min ago", seconds / MINUTE),
        HOUR..DAY => format!("{} h ago", seconds / HOUR),
        _ if seconds < 30 * DAY => format!("{} d ago", seconds / DAY),
        _ => day(at),
    }
}

/// The day something was or will be, in UTC.
pub(crate) fn day(at: Timestamp) -> String {
    let time = jiff::Timestamp::from_millisecond(at.as_millis()).unwrap_or_default();
    time.to_zoned(TimeZone::UTC).date().to_string()
}
