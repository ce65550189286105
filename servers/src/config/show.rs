//! A configuration as text, in the form of `cyr_info`.

use super::options::OPTIONS;
use super::spec::{Kind, LATER, OWN, OptionSpec};
use super::value::Value;
use super::{Config, Setting, lint};

/// Which settings to list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listing {
    /// Those that differ from the default, and what is not in the table.
    Set,
    /// Every option with the value it has, and what is not in the table.
    All,
    /// Every option with its default; `config` does not matter.
    Default,
}

/// Lists settings one a line, as `cyr_info conf`, `conf-all` and `conf-default` print them.
///
/// With `since`, options that have changed after that release have the release of the change in front.
pub fn settings(config: &Config, listing: Listing, since: Option<(u8, u8, u8)>) -> String {
    let mut text = String::new();
    for spec in OPTIONS
        .iter()
        .filter(|spec| ![LATER, OWN].contains(&spec.changed) || listing == Listing::Set)
    {
        let setting = config.set[spec.id as usize].as_ref();
        let value = match listing {
            Listing::Default => default_text(spec.kind),
            Listing::Set => match setting.filter(|setting| differs(spec, setting)) {
                Some(setting) => shown(spec, setting),
                None => continue,
            },
            Listing::All => match setting {
                Some(setting) if setting.moved && matches!(spec.kind, Kind::Time(..)) => " (null)".to_owned(),
                Some(setting) => shown(spec, setting),
                None if matches!(spec.kind, Kind::Time(None, _)) => " (null)".to_owned(),
                None => default_text(spec.kind),
            },
        };
        if let Some(since) = since
            && spec.changed > since
        {
            let (major, minor, patch) = spec.changed;
            text.push_str(&format!("({major}.{minor}.{patch}) "));
        }
        text.push_str(&format!("{}:{value}\n", spec.name));
    }
    if listing != Listing::Default {
        let mut others: Vec<_> = config.others().collect();
        others.sort_by_key(|(name, _)| hash_order(name));
        for (name, other) in others {
            text.push_str(&format!("{name}: {}\n", other.value));
        }
    }
    text
}

fn differs(spec: &OptionSpec, setting: &Setting) -> bool {
    if setting.place.is_none() {
        return false;
    }
    if setting.moved && lint::is_text(spec.kind) {
        return Value::default_of(spec.kind) != Value::default_of(Kind::Text(None)) && has_default(spec.kind);
    }
    match spec.kind {
        Kind::Time(default, _) => default != Some(setting.text.as_str()),
        kind => Value::default_of(kind) != setting.value,
    }
}

fn has_default(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Text(Some(_)) | Kind::Word(Some(_), _) | Kind::Time(Some(_), _)
    )
}

/// The value with the blank in front of it.
fn shown(spec: &OptionSpec, setting: &Setting) -> String {
    if setting.moved && lint::is_text(spec.kind) {
        return " ".to_owned();
    }
    match (&setting.value, spec.kind) {
        (Value::Text(text), _) => format!(" {}", text.as_deref().unwrap_or("")),
        (Value::Switch(on), _) => format!(" {}", yes_no(*on)),
        (Value::Int(number), _) => format!(" {number}"),
        (Value::Octets(_) | Value::Seconds(_), _) => format!(" {}", setting.text),
        (Value::Word(word), _) => format!(" {}", word.unwrap_or("")),
        (Value::Bits(bits), Kind::Bits(default, _)) if *bits == default => default_text(spec.kind),
        (Value::Bits(bits), Kind::Bits(_, words)) => {
            let proper = |name: &str, bit: u64| {
                words
                    .iter()
                    .find(|(_, other)| *other == bit)
                    .is_some_and(|w| w.0 == name)
            };
            words
                .iter()
                .filter(|(name, bit)| bits & bit != 0 && proper(name, *bit))
                .map(|(name, _)| format!(" {name}"))
                .collect()
        }
        (Value::Bits(bits), _) => format!(" {bits}"),
    }
}

fn default_text(kind: Kind) -> String {
    match kind {
        Kind::Text(text) | Kind::Time(text, _) | Kind::Word(text, _) => format!(" {}", text.unwrap_or("")),
        Kind::Switch(on) => format!(" {}", yes_no(on)),
        Kind::Int(number) | Kind::Bytes(number, _) => format!(" {number}"),
        Kind::Choice(default, words) => format!(" {}", words.get(usize::from(default)).unwrap_or(&"")),
        Kind::Bits(bits, words) => words
            .iter()
            .filter(|(_, bit)| bits & bit != 0)
            .map(|(name, _)| format!(" {name}"))
            .collect(),
    }
}

fn yes_no(on: bool) -> &'static str {
    if on { "yes" } else { "no" }
}

/// The key by which Cyrus's tools order settings that are no options.
///
/// They print its hash table of 30 chains, each in order of the names; scripts compare the listings of two servers.
pub(crate) fn hash_order(name: &str) -> (u32, String) {
    let seed = TABLE_SEED.to_le_bytes();
    let hash = seed
        .iter()
        .copied()
        .chain(name.bytes())
        .fold(5381u32, |hash, byte| hash.wrapping_mul(33) ^ u32::from(byte));
    (hash % TABLE_CHAINS, name.to_owned())
}

const TABLE_CHAINS: u32 = 30;
const TABLE_SEED: u32 = 1_804_289_383; // the first random number of a process that has sown no seed
