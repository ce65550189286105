//! Dates of IMAP: search dates and internal dates (RFC 3501, section 9, `date` and `date-time`).

use std::fmt;

use nom::Parser;
use nom::bytes::complete::{tag, take_while_m_n, take_while1};
use nom::combinator::opt;
use nom::sequence::delimited;

use super::command::lex::{Parsed, mismatch, take_one};

/// A day of the calendar, without time or zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date {
    year: u16,
    month: u8,
    day: u8,
}

impl Date {
    /// The day, if the calendar has it.
    pub fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let fits = (1..=12).contains(&month) && day >= 1 && day <= days_in(year, month);
        fits.then_some(Self { year, month, day })
    }

    /// The year.
    pub fn year(self) -> u16 {
        self.year
    }

    /// The month, 1 to 12.
    pub fn month(self) -> u8 {
        self.month
    }

    /// The day of the month, from 1.
    pub fn day(self) -> u8 {
        self.day
    }

    /// Days since 1 January 1970; negative before.
    pub fn days(self) -> i64 {
        // Years start in March here, so that the leap day is the last of its year.
        let (year, month) = match self.month {
            1 | 2 => (i64::from(self.year) - 1, i64::from(self.month) + 9),
            _ => (i64::from(self.year), i64::from(self.month) - 3),
        };
        let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
        let day_of_year = (month * 153 + 2) / 5 + i64::from(self.day) - 1;
        year * 365 + leap_days + day_of_year - DAYS_TO_1970
    }

    /// The day that is `days` after 1 January 1970.
    pub fn from_days(days: i64) -> Self {
        let days = days + DAYS_TO_1970;
        let mut year = days.div_euclid(146_097) * 400;
        let mut rest = days.rem_euclid(146_097);
        let centuries = (rest / 36_524).min(3);
        year += centuries * 100;
        rest -= centuries * 36_524;
        let fours = rest / 1_461;
        year += fours * 4;
        rest -= fours * 1_461;
        let ones = (rest / 365).min(3);
        year += ones;
        rest -= ones * 365;
        let month = (rest * 5 + 2) / 153;
        let day = rest - (month * 153 + 2) / 5 + 1;
        let (year, month) = if month >= 10 {
            (year + 1, month - 9)
        } else {
            (year, month + 3)
        };
        let narrow = |value: i64| u8::try_from(value).unwrap_or(1);
        Self {
            year: u16::try_from(year.clamp(0, 9999)).unwrap_or(0),
            month: narrow(month),
            day: narrow(day),
        }
    }
}

/// `1-Jan-2020`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{:04}", self.day, month_name(self.month), self.year)
    }
}

/// Appends an internal date as `FETCH` shows it: `" 1-Jan-2020 10:10:10 +0000"`, with its quotes, in the zone that is
/// `zone_seconds` east of Greenwich.
pub fn put_date_time(out: &mut Vec<u8>, unix: i64, zone_seconds: i32) {
    let local = unix.saturating_add(i64::from(zone_seconds));
    let date = Date::from_days(local.div_euclid(DAY));
    let second = local.rem_euclid(DAY);
    let zone = zone_seconds.unsigned_abs() / 60;
    let mut text = *b"\"00-Mon-0000 00:00:00 +0000\"";
    two(&mut text, 1, u32::from(date.day));
    if date.day < 10 {
        text[1] = b' ';
    }
    text[4..7].copy_from_slice(month_name(date.month).as_bytes());
    two(&mut text, 8, u32::from(date.year / 100));
    two(&mut text, 10, u32::from(date.year % 100));
    let second = u32::try_from(second).unwrap_or(0);
    two(&mut text, 13, second / 3600);
    two(&mut text, 16, second / 60 % 60);
    two(&mut text, 19, second % 60);
    if zone_seconds < 0 {
        text[22] = b'-';
    }
    two(&mut text, 23, zone / 60);
    two(&mut text, 25, zone % 60);
    out.extend_from_slice(&text);
}

fn two(text: &mut [u8], at: usize, value: u32) {
    let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
    if let Some([tens, ones]) = text.get_mut(at..at + 2) {
        *tens = digit(value / 10);
        *ones = digit(value);
    }
}

/// `date = date-text / DQUOTE date-text DQUOTE` (RFC 3501, section 9).
pub(crate) fn date(input: &[u8]) -> Parsed<'_, Date> {
    match input.first() {
        Some(b'"') => delimited(tag(&b"\""[..]), date_text, tag(&b"\""[..])).parse(input),
        _ => date_text(input),
    }
}

/// `date-text = date-day "-" date-month "-" date-year` (RFC 3501, section 9).
fn date_text(input: &[u8]) -> Parsed<'_, Date> {
    let (rest, (day, _, month, _, year)) = (
        digits(1, 2),
        tag(&b"-"[..]),
        date_month,
        tag(&b"-"[..]),
        digits(4, 4),
    )
        .parse(input)?;
    match u16::try_from(year).ok().zip(u8::try_from(day).ok()) {
        Some((year, day)) => match Date::new(year, month, day) {
            Some(date) => Ok((rest, date)),
            None => mismatch(input),
        },
        None => mismatch(input),
    }
}

/// `date-time = DQUOTE date-day-fixed "-" date-month "-" date-year SP time SP zone DQUOTE` (RFC 3501, section 9), as seconds
/// since 1970.
pub(crate) fn date_time(input: &[u8]) -> Parsed<'_, i64> {
    let (rest, _) = (tag(&b"\""[..]), opt(tag(&b" "[..]))).parse(input)?;
    let (rest, date) = date_text(rest)?;
    let (rest, (_, hour, _, minute, _, second, _)) = (
        tag(&b" "[..]),
        digits(2, 2),
        tag(&b":"[..]),
        digits(2, 2),
        tag(&b":"[..]),
        digits(2, 2),
        tag(&b" "[..]),
    )
        .parse(rest)?;
    let (rest, (sign, zone_hours, zone_minutes, _)) = (
        take_one(|c| c == b'+' || c == b'-'),
        digits(2, 2),
        digits(2, 2),
        tag(&b"\""[..]),
    )
        .parse(rest)?;
    if hour > 23 || minute > 59 || second > 60 || zone_minutes > 59 {
        return mismatch(input);
    }
    let local = date.days() * DAY + i64::from(hour * 3600 + minute * 60 + second);
    let zone = i64::from(zone_hours * 3600 + zone_minutes * 60);
    Ok((rest, if sign == b'-' { local + zone } else { local - zone }))
}

/// `date-month` (RFC 3501, section 9), in any case.
fn date_month(input: &[u8]) -> Parsed<'_, u8> {
    let (rest, name) = take_while1(|c: u8| c.is_ascii_alphabetic()).parse(input)?;
    match (1..=12_u8).find(|&month| month_name(month).as_bytes().eq_ignore_ascii_case(name)) {
        Some(month) => Ok((rest, month)),
        None => mismatch(input),
    }
}

fn digits<'i>(least: usize, most: usize) -> impl FnMut(&'i [u8]) -> Parsed<'i, u32> {
    move |input| {
        let (rest, digits) = take_while_m_n(least, most, |c: u8| c.is_ascii_digit()).parse(input)?;
        let value = digits
            .iter()
            .fold(0, |value, digit| value * 10 + u32::from(digit - b'0'));
        Ok((rest, value))
    }
}

fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

fn month_name(month: u8) -> &'static str {
    let months = [
        "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
    ];
    months.get(usize::from(month.wrapping_sub(1))).unwrap_or(&"Jan")
}

const DAY: i64 = 86_400;
/// From 1 March of the year 0 to 1 January 1970.
const DAYS_TO_1970: i64 = 719_468;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dates_are_read_with_and_without_quotes() {
        assert_eq!(date(b"1-Jan-1970 x").unwrap().1.days(), 0);
        assert_eq!(date(b"\"01-jan-2000\"").unwrap().1.days(), 10_957);
        for bad in [
            &b"foo"[..],
            b"1-Foo-2020",
            b"31-Feb-2020",
            b"1-Jan-20",
            b"\"1-Jan-2020",
        ] {
            assert!(date(bad).is_err());
        }
    }

    #[test]
    fn internal_dates_are_read_with_their_zone_and_written_as_cyrus_does() {
        let (_, unix) = date_time(b"\" 1-Jan-2020 10:10:10 +0130\"").unwrap();
        let mut out = Vec::new();
        put_date_time(&mut out, unix, 0);
        assert_eq!(out, b"\" 1-Jan-2020 08:40:10 +0000\"");
        out.clear();
        put_date_time(&mut out, unix, -5400);
        assert_eq!(out, b"\" 1-Jan-2020 07:10:10 -0130\"");
        assert!(date_time(b"\"01-Jan-2020 10:10:10\"").is_err());
        assert!(date_time(b"\"01-Jan-2020 24:10:10 +0000\"").is_err());
    }

    proptest! {
        #[test]
        fn days_and_dates_are_inverse(days in -700_000_i64..2_900_000) {
            prop_assert_eq!(Date::from_days(days).days(), days);
        }

        #[test]
        fn internal_dates_round_trip(unix in 0_i64..4_294_967_295, minutes in -720_i32..840) {
            let mut out = Vec::new();
            put_date_time(&mut out, unix, minutes * 60);
            prop_assert_eq!(date_time(&out).unwrap().1, unix);
        }
    }
}
