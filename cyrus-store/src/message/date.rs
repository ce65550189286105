//! The date-time of a `Date:` field (RFC 5322, section 3.3), read as leniently as Cyrus reads it.
//!
//! A day of the month past the end of the month, an hour past 23 and the like are carried over, never refused.
//! A zone without sign counts as west; a lower-case military letter gives the odd offset that Cyrus gives it. A byte
//! above 7F ends a word here; Cyrus looks such bytes up outside its tables, so what it makes of them is chance.

/// A calendar day and, if it was readable, a time of day with zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DateTime {
    /// Seconds since 1970 of 00:00 on the day named, as if it were UTC.
    pub(super) midnight: i64,
    /// Seconds since 1970, UTC.
    pub(super) instant: Option<i64>,
}

/// Reads `text`, the unfolded value of a `Date:` field; `None` if it names no day.
pub(super) fn parse(text: &[u8]) -> Option<DateTime> {
    let mut scan = Scan { text, at: 0 };
    let midnight = scan.day()?;
    let instant = scan.time_of_day().and_then(|(local, west)| {
        let instant = midnight.checked_add(local)?;
        // Times before 1970 cannot be represented; the zone is applied after that check.
        (instant >= 0).then_some(instant - west)
    });
    Some(DateTime { midnight, instant })
}

/// One word of letters and digits, at most `MAX_TOKEN` of it.
#[derive(Clone, Copy)]
struct Token<'a>(&'a [u8]);

const MAX_TOKEN: usize = 32;

impl Token<'_> {
    fn number(self) -> Option<i64> {
        let digits = self.0.iter().all(u8::is_ascii_digit).then_some(self.0)?;
        // 32-bit arithmetic that wraps, as in Cyrus; only absurd years get there.
        let fold = |sum: i32, digit: &u8| sum.wrapping_mul(10).wrapping_add(i32::from(digit - b'0'));
        Some(i64::from(digits.iter().fold(0, fold)))
    }

    fn short_number(self) -> Option<i64> {
        matches!(self.0.len(), 1 | 2).then(|| self.number())?
    }
}

struct Scan<'a> {
    text: &'a [u8],
    at: usize,
}

impl<'a> Scan<'a> {
    /// The byte at the cursor; byte FF reads as the end, as it does in Cyrus.
    fn current(&self) -> Option<u8> {
        self.text.get(self.at).copied().filter(|&byte| byte != 0xFF)
    }

    fn advance(&mut self) {
        if self.at < self.text.len() {
            self.at += 1;
        }
    }

    fn skip_blanks(&mut self) {
        while matches!(self.current(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.advance();
        }
    }

    /// The letters and digits at the cursor, perhaps none; `None` at the end of the text.
    fn token(&mut self) -> Option<Token<'a>> {
        self.current()?;
        let rest = self.text.get(self.at..)?;
        let len = rest
            .iter()
            .take(MAX_TOKEN)
            .take_while(|byte| byte.is_ascii_alphanumeric())
            .count();
        self.at += len;
        if rest.get(len) == Some(&0xFF) {
            return None;
        }
        rest.get(..len).map(Token)
    }

    fn token_then_gap(&mut self) -> Option<Token<'a>> {
        let token = self.token()?;
        Some(token).inspect(|_| {
            self.advance();
            self.skip_blanks();
        })
    }

    /// `[day-name ","] day month year`: seconds since 1970 of that midnight.
    fn day(&mut self) -> Option<i64> {
        self.skip_blanks();
        if self.current()?.is_ascii_alphabetic() {
            (self.token()?.0.len() == 3 && self.current() == Some(b',')).then_some(())?;
            self.advance();
            self.skip_blanks();
        }
        let day = self.token_then_gap()?.short_number()?;
        let month = self.token_then_gap()?.0;
        let month = MONTHS.iter().position(|name| name.eq_ignore_ascii_case(month))?;
        let word = self.token()?;
        let year = word.number()?;
        let year = match word.0.len() {
            2 if year < 70 => year + 2000,
            2 => year + 1900,
            _ if year < 1900 => return None,
            _ => year,
        };
        let month = i64::try_from(month).ok()?;
        let midnight = (days_before(year, month) + day - 1) * 86_400;
        Some(midnight)
    }

    /// `hour ":" minute [":" second] zone`: seconds since midnight, and seconds to take off for UTC.
    fn time_of_day(&mut self) -> Option<(i64, i64)> {
        self.skip_blanks();
        let hour = self.token()?.short_number()?;
        self.colon()?;
        let minute = self.token()?.short_number()?;
        let second = match self.colon() {
            Some(()) => self.token()?.short_number()?,
            None => 0,
        };
        self.skip_blanks();
        let sign = self.current();
        if matches!(sign, Some(b'+' | b'-')) {
            self.advance();
        }
        let minutes = self
            .token()
            .map_or(0, |zone| zone_minutes(zone.0, sign == Some(b'+')));
        Some((hour * 3600 + minute * 60 + second, minutes * 60))
    }

    fn colon(&mut self) -> Option<()> {
        matches!(self.current(), Some(b':' | b'.')).then(|| self.advance())
    }
}

/// Minutes east of UTC that the word `zone` stands for; 0 for one that nobody knows.
fn zone_minutes(zone: &[u8], plus: bool) -> i64 {
    match *zone {
        [letter] => {
            let plain = i64::from(letter);
            match letter.to_ascii_uppercase() {
                upper if upper < b'J' => (plain - i64::from(b'A') + 1) * 60,
                b'J' => 0,
                b'K'..=b'M' => (plain - i64::from(b'A')) * 60,
                upper if upper < b'Z' => (i64::from(b'M') - plain) * 60,
                _ => 0,
            }
        }
        [first, kind, b't' | b'T'] => {
            let from_utc = match first.to_ascii_uppercase() {
                b'A' => -4,
                b'E' => -5,
                b'C' => -6,
                b'M' => -7,
                b'P' => -8,
                b'Y' => -9,
                b'H' => -10,
                b'B' => -11,
                _ => return 0,
            };
            match kind.to_ascii_uppercase() {
                b'D' => (from_utc + 1) * 60,
                b'S' => from_utc * 60,
                _ => 0,
            }
        }
        [a, b, c, d] if zone.iter().all(u8::is_ascii_digit) => {
            let [a, b, c, d] = [a, b, c, d].map(|digit| i64::from(digit - b'0'));
            let minutes = (a * 10 + b) * 60 + c * 10 + d;
            if plus { minutes } else { -minutes }
        }
        _ => 0,
    }
}

/// Days from 1970-01-01 to the first of `month` (0 = January) of `year`, in the Gregorian calendar.
fn days_before(year: i64, month: i64) -> i64 {
    // Count years from March, so that the leap day is the last of its year.
    let (year, month) = if month < 2 {
        (year - 1, month + 10)
    } else {
        (year, month - 2)
    };
    let leap_days = year.div_euclid(4) - year.div_euclid(100) + year.div_euclid(400);
    year * 365 + leap_days + (month * 153 + 2) / 5 - 719_468
}

const MONTHS: [&[u8; 3]; 12] = [
    b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec",
];

#[cfg(test)]
mod tests {
    use super::*;

    fn instant(text: &str) -> Option<i64> {
        parse(text.as_bytes())?.instant
    }

    #[test]
    fn the_usual_forms_give_the_usual_instants() {
        assert_eq!(instant("Thu, 1 Jan 1970 00:00:00 +0000"), Some(0));
        assert_eq!(instant("Sat, 01 Jan 2000 12:00:00 +0100"), Some(946_724_400));
        assert_eq!(instant("1 Jan 00 12:00 EST"), Some(946_746_000));
        assert_eq!(
            parse(b"29 Feb 2024 xx").map(|date| date.midnight),
            Some(1_709_164_800)
        );
    }

    #[test]
    fn days_past_the_end_of_the_month_are_carried_over() {
        assert_eq!(instant("Mon, 31 Feb 2020 10:00:00 +0200"), Some(1_583_136_000));
    }

    #[test]
    fn a_date_without_day_month_or_year_is_none() {
        for text in [
            "",
            "Monday, 1 Jan 2000",
            "1 Foo 2000",
            "1 Jan",
            "Jan 1 2000",
            "100 Jan 2000",
            "1 Jan 1850",
        ] {
            assert_eq!(parse(text.as_bytes()), None, "{text}");
        }
    }
}
