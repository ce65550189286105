//! What an administrator should hear about a configuration that can be used all the same.

use std::fmt;

use super::lines::Place;
use super::options::{OPTIONS, Opt};
use super::spec::{Area, Kind};
use super::value::{Value, guess};
use super::{Config, Other};

/// One remark about a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Report {
    /// A name that is no option.
    Unknown {
        /// Where.
        place: Place,
        /// The name.
        name: String,
        /// What was probably meant.
        suggestion: Option<String>,
    },
    /// An option that has been replaced or has lost its meaning.
    Deprecated {
        /// Where.
        place: Place,
        /// The option.
        option: Opt,
        /// Since which release.
        since: &'static str,
        /// What took its place.
        successor: Option<Opt>,
        /// The successor is set as well, so this line has no effect.
        ignored: bool,
    },
    /// A word of a value that has a newer name.
    DeprecatedWord {
        /// Where.
        place: Place,
        /// The option.
        option: Opt,
        /// The old word.
        word: &'static str,
        /// The new one.
        proper: &'static str,
    },
    /// An option of a capability that this build lacks is set to something else than its default.
    NotBuilt {
        /// Where.
        place: Place,
        /// The option.
        option: Opt,
        /// The capability.
        area: Area,
    },
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unknown {
                place,
                name,
                suggestion,
            } => {
                write!(f, "{place}: unknown option {name} is ignored")?;
                match suggestion {
                    Some(suggestion) => write!(f, "; did you mean {suggestion}?"),
                    None => Ok(()),
                }
            }
            Self::Deprecated {
                place,
                option,
                since,
                successor: Some(successor),
                ignored,
            } => {
                let (name, new) = (option.name(), successor.name());
                match ignored {
                    true => write!(
                        f,
                        "{place}: {name} is ignored: its successor {new} is set as well"
                    ),
                    false => write!(
                        f,
                        "{place}: {name} is deprecated since version {since}; set {new} instead"
                    ),
                }
            }
            Self::Deprecated {
                place,
                option,
                since,
                successor: None,
                ..
            } => {
                write!(
                    f,
                    "{place}: {} is deprecated since version {since}; remove the line",
                    option.name()
                )
            }
            Self::DeprecatedWord {
                place,
                option,
                word,
                proper,
            } => {
                write!(
                    f,
                    "{place}: {}: '{word}' is deprecated; write '{proper}' instead",
                    option.name()
                )
            }
            Self::NotBuilt { place, option, area } => {
                let (name, area) = (option.name(), area.name());
                match option.spec().area.is_built() {
                    true => write!(
                        f,
                        "{place}: {name} has no effect: this server does not obey it yet"
                    ),
                    false => write!(
                        f,
                        "{place}: {name} has no effect: {area} is not supported by this server yet"
                    ),
                }
            }
        }
    }
}

impl Config {
    /// Collects the remarks that need the whole configuration.
    pub(super) fn report(&mut self) {
        let mut found = Vec::new();
        for (name, other) in &self.other {
            if !other.deprecated && !is_plausible(name) {
                found.push(Report::Unknown {
                    place: other.place.clone(),
                    name: name.clone(),
                    suggestion: suggestion(name),
                });
            }
        }
        for spec in OPTIONS.iter().filter(|spec| !spec.id.is_obeyed()) {
            let Some(setting) = &self.set[spec.id as usize] else {
                continue;
            };
            let Some(place) = &setting.place else { continue };
            if setting.value != Value::default_of(spec.kind) && !setting.moved {
                found.push(Report::NotBuilt {
                    place: place.clone(),
                    option: spec.id,
                    area: spec.area,
                });
            }
        }
        self.reports.extend(found);
    }

    /// The settings besides the options of the table, as written: name and value, deprecated names included.
    pub(super) fn others(&self) -> impl Iterator<Item = (&str, &Other)> {
        self.other.iter().map(|(name, other)| (name.as_str(), other))
    }
}

/// The settings that `cyr_info conf-lint` lists: names that are no option, for none of `services` either.
///
/// Deprecated names are listed too. The order is that of Cyrus, whose hash table it is.
pub fn unknown_settings<'a>(config: &'a Config, services: &[String]) -> Vec<(&'a str, &'a str)> {
    let channels = config.words(Opt::SyncLogChannels);
    let known = |name: &str| {
        let is_partition = |rest: &str| config.other.contains_key(&format!("partition-{rest}"));
        let families = ["partition-", "backuppartition-", "sasl_", "xlist-"];
        if families.iter().any(|family| name.starts_with(family)) {
            return true;
        }
        if let Some(rest) = name
            .strip_prefix("metapartition-")
            .or_else(|| name.strip_prefix("archivepartition-"))
        {
            return is_partition(rest);
        }
        if name
            .split_once("searchpartition-")
            .is_some_and(|(_, rest)| is_partition(rest))
        {
            return true;
        }
        let of_service = services.iter().any(|service| {
            rest_after(name, service)
                .is_some_and(|rest| Opt::named(rest).is_some() || rest.starts_with("partition-"))
        });
        of_service
            || channels.iter().any(|channel| {
                rest_after(name, channel)
                    .is_some_and(|rest| rest.starts_with("sync_") && Opt::named(rest).is_some())
            })
    };
    let mut unknown: Vec<_> = config
        .others()
        .filter(|(name, other)| other.deprecated || !known(name))
        .map(|(name, other)| (name, other.value.as_str()))
        .collect();
    unknown.sort_by_key(|(name, _)| super::show::hash_order(name));
    unknown
}

fn rest_after<'a>(name: &'a str, prefix: &str) -> Option<&'a str> {
    name.strip_prefix(prefix)?.strip_prefix('_')
}

/// Whether a name that is no option may be meant for somebody: a family, or some service's or channel's option.
fn is_plausible(name: &str) -> bool {
    let family = |name: &str| {
        name.starts_with("sasl_")
            || name.starts_with("xlist-")
            || name.contains("partition-")
            || name == "autocreate_acl"
    };
    family(name)
        || name.match_indices('_').any(|(at, _)| {
            name.get(at + 1..)
                .is_some_and(|rest| Opt::named(rest).is_some() || family(rest))
        })
}

fn suggestion(name: &str) -> Option<String> {
    let names = || {
        OPTIONS
            .iter()
            .filter(|spec| spec.deprecated.is_none())
            .map(|spec| spec.name)
    };
    let plain = guess(name, names()).map(|(distance, option)| (distance, option.to_owned()));
    // A service's option: `imap_timeuot`.
    let prefixed = name.split_once('_').and_then(|(service, rest)| {
        guess(rest, names()).map(|(distance, option)| (distance, format!("{service}_{option}")))
    });
    prefixed
        .into_iter()
        .chain(plain)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

/// Whether a value of this type can be written with nothing in it (a default of no words or no text).
pub(super) fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text(_) | Kind::Word(..) | Kind::Time(..))
}
