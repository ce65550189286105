//! Times as Cyrus's tools print them, in the local zone.

use std::time::{SystemTime, UNIX_EPOCH};

use jiff::Timestamp;
use jiff::tz::TimeZone;

/// The time, in Unix seconds.
pub(super) fn now() -> i64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// As a Date: field has it: `Wed, 03 Jan 2001 10:20:30 +0100`.
pub(super) fn rfc5322(seconds: i64) -> String {
    format(seconds, "%a, %d %b %Y %H:%M:%S %z")
}

/// As ctime(3) has it: `Wed Jan  3 10:20:30 2001`.
pub(super) fn ctime(seconds: i64) -> String {
    format(seconds, "%a %b %e %H:%M:%S %Y")
}

/// By a format of strftime(3).
pub(super) fn format(seconds: i64, form: &str) -> String {
    let time = Timestamp::from_second(seconds).unwrap_or(Timestamp::UNIX_EPOCH);
    time.to_zoned_datetime(TimeZone::system())
        .strftime(form)
        .to_string()
}
