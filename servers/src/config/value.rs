//! The types of imapd.conf's values: text in, checked value out.

use super::spec::{ByteUnit, Kind, TimeUnit};

/// A value that fits its option's type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Value {
    /// STRING; `None` when unset.
    Text(Option<String>),
    /// SWITCH.
    Switch(bool),
    /// INT, and sizes in the option's own unit.
    Int(i64),
    /// A size given with a suffix, in octets.
    Octets(i64),
    /// DURATION in seconds; `None` when unset.
    Seconds(Option<i64>),
    /// ENUM and STRINGLIST.
    Word(Option<&'static str>),
    /// BITFIELD.
    Bits(u64),
}

/// Why a text is not a value of its option.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadValue {
    /// Not a switch.
    #[error("'{0}' is not a switch; write yes or no")]
    Switch(String),
    /// Not a whole number.
    #[error("'{0}' is not a whole number")]
    Int(String),
    /// Not a size.
    #[error("'{0}' is not a size; write a number, or one with K, M or G")]
    Size(String),
    /// Not a duration.
    #[error("'{0}' is not a duration; write for example 90s, 32m or 1h30m")]
    Duration(String),
    /// Not one of the words.
    #[error("'{word}' is none of: {}{}", allowed.join(", "), hint(.suggestion))]
    Word {
        /// What stands there.
        word: String,
        /// What may stand there.
        allowed: Vec<&'static str>,
        /// What was probably meant.
        suggestion: Option<&'static str>,
    },
}

fn hint(suggestion: &Option<&'static str>) -> String {
    suggestion
        .map(|word| format!("; did you mean '{word}'?"))
        .unwrap_or_default()
}

impl Value {
    /// Parses `text` as a value of type `kind`.
    pub(crate) fn parse(kind: Kind, text: &str) -> Result<Self, BadValue> {
        match kind {
            Kind::Text(_) => Ok(Self::Text(Some(text.to_owned()))),
            Kind::Switch(_) => switch(text)
                .map(Self::Switch)
                .ok_or_else(|| BadValue::Switch(text.to_owned())),
            Kind::Int(_) => int(text)
                .map(Self::Int)
                .ok_or_else(|| BadValue::Int(text.to_owned())),
            Kind::Bytes(_, unit) => size(text, unit).ok_or_else(|| BadValue::Size(text.to_owned())),
            Kind::Time(_, unit) => match seconds(text, unit) {
                Some(seconds) => Ok(Self::Seconds(Some(seconds))),
                None => Err(BadValue::Duration(text.to_owned())),
            },
            Kind::Choice(_, words) => {
                let word = match text {
                    "yes" | "on" | "t" | "true" | "1" => "on",
                    "no" | "off" | "f" | "false" | "0" => "off",
                    other => other,
                };
                one_of(word, words)
            }
            Kind::Word(_, words) => one_of(text, words),
            Kind::Bits(_, words) => {
                let mut bits = 0;
                for word in text.split_ascii_whitespace() {
                    match words.iter().find(|(name, _)| *name == word) {
                        Some((_, bit)) => bits |= bit,
                        None => return Err(bad_word(word, words.iter().map(|(name, _)| *name))),
                    }
                }
                Ok(Self::Bits(bits))
            }
        }
    }

    /// What an option of type `kind` holds when nobody sets it.
    pub(crate) fn default_of(kind: Kind) -> Self {
        match kind {
            Kind::Text(text) => Self::Text(text.map(str::to_owned)),
            Kind::Switch(on) => Self::Switch(on),
            Kind::Int(number) | Kind::Bytes(number, _) => Self::Int(number),
            Kind::Time(text, unit) => Self::Seconds(text.and_then(|text| seconds(text, unit))),
            Kind::Choice(default, words) => Self::Word(words.get(usize::from(default)).copied()),
            Kind::Word(word, _) => Self::Word(word),
            Kind::Bits(bits, _) => Self::Bits(bits),
        }
    }
}

/// The deprecated words in a value of several words, each with the proper one of the same bit.
pub(crate) fn deprecated_words(kind: Kind, text: &str) -> Vec<(&'static str, &'static str)> {
    let Kind::Bits(_, words) = kind else {
        return Vec::new();
    };
    text.split_ascii_whitespace()
        .filter_map(|word| {
            let (name, bit) = words.iter().find(|(name, _)| *name == word)?;
            let (proper, _) = words.iter().find(|(_, other)| other == bit)?;
            (name != proper).then_some((*name, *proper))
        })
        .collect()
}

/// A switch, recognized as Cyrus does: by how the word begins.
pub(crate) fn switch(text: &str) -> Option<bool> {
    match text.as_bytes() {
        [b'1' | b'y' | b't', ..] | [b'o', b'n', ..] => Some(true),
        [b'0' | b'n' | b'f', ..] | [b'o', b'f', b'f', ..] => Some(false),
        _ => None,
    }
}

/// A whole number in the notation of C: decimal, `0x` hexadecimal or `0` octal, with an optional sign.
pub(crate) fn int(text: &str) -> Option<i64> {
    let (negative, digits) = match text.as_bytes().first()? {
        b'-' => (true, &text[1..]),
        b'+' => (false, &text[1..]),
        _ => (false, text),
    };
    let (radix, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', _, ..] => (16, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if digits.starts_with(['-', '+']) {
        return None; // from_str_radix would take a second sign
    }
    let magnitude = i128::from_str_radix(digits, radix).ok()?;
    i64::try_from(if negative { -magnitude } else { magnitude }).ok()
}

fn size(text: &str, unit: ByteUnit) -> Option<Value> {
    if let Some(number) = int(text) {
        return Some(Value::Int(number));
    }
    let text = text.strip_suffix(['b', 'B']).unwrap_or(text);
    let last = text.chars().last()?;
    let shift = match last.to_ascii_uppercase() {
        'K' => 10,
        'M' => 20,
        'G' => 30,
        _ => return None,
    };
    let number = text.strip_suffix(last)?.trim_end();
    if !number.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let octets = number.parse::<i64>().ok()?.checked_mul(1 << shift)?;
    match unit {
        ByteUnit::KiB if shift == 10 => Some(Value::Int(octets >> 10)),
        _ => Some(Value::Octets(octets)),
    }
}

/// A duration in seconds: numbers with the units d, h, m and s, added up; a last bare number counts `unit`.
pub(crate) fn seconds(text: &str, unit: TimeUnit) -> Option<i64> {
    let (sign, mut rest) = match text.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, text),
    };
    if rest.is_empty() {
        return None;
    }
    let mut total: i64 = 0;
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at_checked(digits)?;
        let number = number.parse::<i64>().ok()?;
        let scale = match after.bytes().next() {
            None => unit.seconds(),
            Some(b's') => 1,
            Some(b'm') => 60,
            Some(b'h') => 3600,
            Some(b'd') => 86_400,
            Some(_) => return None,
        };
        rest = after.get(1..).unwrap_or("");
        total = total.checked_add(number.checked_mul(scale)?)?;
    }
    Some(sign * total)
}

fn one_of(word: &str, words: &'static [&'static str]) -> Result<Value, BadValue> {
    match words.iter().find(|known| **known == word) {
        Some(known) => Ok(Value::Word(Some(known))),
        None => Err(bad_word(word, words.iter().copied())),
    }
}

fn bad_word(word: &str, allowed: impl Iterator<Item = &'static str> + Clone) -> BadValue {
    let suggestion = nearest(word, allowed.clone());
    BadValue::Word {
        word: word.to_owned(),
        allowed: allowed.collect(),
        suggestion,
    }
}

/// The candidate that `word` was probably meant to be, if one is close enough.
pub(crate) fn nearest<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    guess(word, candidates).map(|(_, candidate)| candidate)
}

/// The closest candidate with its distance, if that is small enough for a typing error.
pub(crate) fn guess<'a>(word: &str, candidates: impl Iterator<Item = &'a str>) -> Option<(usize, &'a str)> {
    if word.is_empty() || word.len() > LONGEST_GUESSED {
        return None;
    }
    let word = word.to_ascii_lowercase();
    let allowance = (word.chars().count() / 4).clamp(1, 3);
    candidates
        .map(|candidate| (distance(&word, &candidate.to_ascii_lowercase()), candidate))
        .filter(|(distance, _)| *distance <= allowance)
        .min_by_key(|(distance, _)| *distance)
}

/// How many characters must be added, removed, replaced or swapped with the next to get from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().collect();
    let b: Vec<char> = b.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut previous: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, y) in b.iter().enumerate() {
            let replace = previous[j] + usize::from(x != y);
            let mut best = replace.min(previous[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *x == b[j - 1] && a[i - 1] == *y {
                best = best.min(before[j - 1] + 1);
            }
            row.push(best);
        }
        before = std::mem::replace(&mut previous, row);
    }
    previous.last().copied().unwrap_or(0)
}

const LONGEST_GUESSED: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn switches_are_told_by_how_they_begin() {
        for yes in ["1", "yes", "on", "t", "true", "tru", "10", "onn"] {
            assert_eq!(switch(yes), Some(true), "{yes}");
        }
        for no in ["0", "no", "off", "f", "false", "01", "off0"] {
            assert_eq!(switch(no), Some(false), "{no}");
        }
        for neither in ["T", "Yes", "ON", "oof", "2", "-1", ""] {
            assert_eq!(switch(neither), None, "{neither}");
        }
    }

    #[test]
    fn durations_add_up_their_parts() {
        let minutes = |text| seconds(text, TimeUnit::Minutes);
        assert_eq!(minutes("1d2h3m4s"), Some(93_784));
        assert_eq!(minutes("4s1d"), Some(86_404));
        assert_eq!(minutes("5"), Some(300));
        assert_eq!(minutes("5m5"), Some(600));
        assert_eq!(minutes("-1d"), Some(-86_400));
        for bad in [
            "",
            "-",
            "d",
            "5dd",
            "+5",
            "1w",
            "1d-2h",
            "1.5h",
            "1 d",
            "1M",
            "999999999999999999d",
        ] {
            assert_eq!(minutes(bad), None, "{bad}");
        }
    }

    #[test]
    fn numbers_follow_the_notation_of_c() {
        assert_eq!(int("0x10"), Some(16));
        assert_eq!(int("010"), Some(8));
        assert_eq!(int("+5"), Some(5));
        assert_eq!(int("-12"), Some(-12));
        for bad in ["", "-", "08", "1k", "7 7", "0x", "--1", "99999999999999999999"] {
            assert_eq!(int(bad), None, "{bad}");
        }
    }

    #[test]
    fn sizes_take_a_suffix_and_keep_bare_numbers_in_their_own_unit() {
        assert_eq!(size("64", ByteUnit::KiB), Some(Value::Int(64)));
        assert_eq!(size("64K", ByteUnit::KiB), Some(Value::Int(64)));
        assert_eq!(size("10M", ByteUnit::Octets), Some(Value::Octets(10 << 20)));
        assert_eq!(size("1GB", ByteUnit::Octets), Some(Value::Octets(1 << 30)));
        assert_eq!(size("K", ByteUnit::Octets), None);
        assert_eq!(size("99999999999G", ByteUnit::Octets), None);
    }

    #[test]
    fn a_near_miss_is_suggested_and_a_far_one_is_not() {
        let names = ["timeout", "poptimeout", "allowplaintext"];
        assert_eq!(nearest("timeuot", names.into_iter()), Some("timeout"));
        assert_eq!(
            nearest("allow_plaintext", names.into_iter()),
            Some("allowplaintext")
        );
        assert_eq!(nearest("spool", names.into_iter()), None);
        assert_eq!(nearest(&"x".repeat(5000), names.into_iter()), None);
    }
}
