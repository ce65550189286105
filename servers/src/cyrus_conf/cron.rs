//! When an event runs: every so many minutes, daily, or by five fields as in crontab.

/// A minute of local time, as a schedule sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Moment {
    /// 0 to 59.
    pub minute: u8,
    /// 0 to 23.
    pub hour: u8,
    /// 1 to 31.
    pub day: u8,
    /// 1 to 12.
    pub month: u8,
    /// 0 (Sunday) to 6.
    pub weekday: u8,
}

/// When an event runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Schedule {
    /// When master starts, and never again.
    Once,
    /// When master starts and then every so many minutes.
    Period {
        /// The minutes between two runs.
        minutes: u64,
    },
    /// In the minutes that match.
    Cron {
        /// Bit n: minute n.
        minutes: u64,
        /// Bit n: hour n.
        hours: u64,
        /// Bit n: day n of the month.
        days: u64,
        /// Bit n: month n.
        months: u64,
        /// Bit n: weekday n, Sunday being 0.
        weekdays: u64,
        /// Both day fields name days, so that one of them is enough.
        either_day: bool,
    },
}

impl Schedule {
    /// `period=minutes`.
    pub(super) fn every(minutes: u64) -> Self {
        Self::Period { minutes }
    }

    /// `at=hhmm`.
    pub(super) fn daily(at: &str) -> Result<Self, String> {
        let wrong = || format!("'{at}' is not a time; write hhmm, 0000 to 2359");
        if at.len() != 4 || !at.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(wrong());
        }
        let number: u64 = at.parse().map_err(|_| wrong())?;
        let (hour, minute) = (number / 100, number % 100);
        if hour > 23 || minute > 59 {
            return Err(wrong());
        }
        Self::cron(&format!("{minute} {hour} * * *"))
    }

    /// `cron="minute hour day month weekday"`.
    pub(super) fn cron(text: &str) -> Result<Self, String> {
        let fields: Vec<&str> = text.split_ascii_whitespace().collect();
        let [minute, hour, day, month, weekday] = fields.as_slice() else {
            return Err(format!(
                "'{text}' has {} fields; write minute hour day month weekday",
                fields.len()
            ));
        };
        let weekdays = field(weekday, 0, 7, WEEKDAYS)?;
        Ok(Self::Cron {
            minutes: field(minute, 0, 59, &[])?,
            hours: field(hour, 0, 23, &[])?,
            days: field(day, 1, 31, &[])?,
            months: field(month, 1, 12, MONTHS)?,
            weekdays: (weekdays | weekdays >> 7) & 0x7f,
            either_day: !day.starts_with('*') && !weekday.starts_with('*'),
        })
    }

    /// Whether a schedule of fields names this minute.
    pub fn matches(&self, now: Moment) -> bool {
        let Self::Cron {
            minutes,
            hours,
            days,
            months,
            weekdays,
            either_day,
        } = self
        else {
            return false;
        };
        let has = |set: &u64, at: u8| set >> at & 1 == 1;
        let (day, weekday) = (has(days, now.day), has(weekdays, now.weekday));
        let day = if *either_day {
            day || weekday
        } else {
            day && weekday
        };
        has(minutes, now.minute) && has(hours, now.hour) && has(months, now.month) && day
    }
}

/// One field: `*`, numbers, names, ranges and steps, separated by commas, as a set of bits.
fn field(text: &str, low: u64, high: u64, names: &[&str]) -> Result<u64, String> {
    let mut set = 0;
    for part in text.split(',') {
        let wrong = || format!("'{part}' is not a value or range between {low} and {high}");
        let (range, step) = match part.split_once('/') {
            Some((range, step)) => (
                range,
                step.parse::<u64>()
                    .ok()
                    .filter(|step| (1..=high).contains(step))
                    .ok_or_else(wrong)?,
            ),
            None => (part, 1),
        };
        let value = |text: &str| {
            let named = names.iter().position(|name| text.eq_ignore_ascii_case(name));
            let number = match named {
                Some(at) => low + at as u64,
                None => text.parse().ok()?,
            };
            (low..=high).contains(&number).then_some(number)
        };
        let (first, last) = match range.split_once('-') {
            _ if range == "*" => (low, high),
            Some((first, last)) => (value(first).ok_or_else(wrong)?, value(last).ok_or_else(wrong)?),
            None => {
                let first = value(range).ok_or_else(wrong)?;
                (first, if part.contains('/') { high } else { first })
            }
        };
        if first > last {
            return Err(wrong());
        }
        let mut at = first;
        while at <= last {
            set |= 1 << at;
            at += step;
        }
    }
    Ok(set)
}

const MONTHS: &[&str] = &[
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec",
];
const WEEKDAYS: &[&str] = &["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

#[cfg(test)]
mod tests {
    use super::*;

    const NOON: Moment = Moment {
        minute: 0,
        hour: 12,
        day: 24,
        month: 11,
        weekday: 2,
    };

    #[test]
    fn a_daily_time_is_one_minute_of_each_day() {
        let four = Schedule::daily("0405").unwrap();
        assert!(four.matches(Moment {
            minute: 5,
            hour: 4,
            ..NOON
        }));
        assert!(!four.matches(Moment {
            minute: 6,
            hour: 4,
            ..NOON
        }));
        for bad in ["9999", "2400", "0060", "400", "noon", ""] {
            assert!(Schedule::daily(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn fields_take_lists_ranges_steps_and_names() {
        let matches = |text: &str, now| Schedule::cron(text).unwrap().matches(now);
        assert!(matches("*/15 9-17 * * mon-fri", NOON));
        assert!(!matches("*/15 9-17 * * mon-fri", Moment { weekday: 0, ..NOON }));
        assert!(!matches("*/15 9-17 * * mon-fri", Moment { minute: 20, ..NOON }));
        assert!(matches("0 0,12 * nov *", NOON));
        assert!(matches("0 12 * * 7", Moment { weekday: 0, ..NOON }));
        assert!(matches("0 12 1 * tue", NOON), "one of two named days is enough");
        assert!(!matches("0 12 1 * *", NOON));
        for bad in [
            "* * * *",
            "60 * * * *",
            "* * 0 * *",
            "5-1 * * * *",
            "*/0 * * * *",
            "x * * * *",
            "* * * foo *",
        ] {
            assert!(Schedule::cron(bad).is_err(), "{bad}");
        }
    }
}
