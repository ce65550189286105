//! imapd.conf: read, checked and typed.
//!
//! Every option of Cyrus 3.6 is known ([`Opt`]). `service_option: value` sets an option for the one service of
//! cyrus.conf that has this name, and wins over the plain line. What a file sets that nobody knows, that is on its way
//! out, or that belongs to a capability that this build lacks is collected in [`Config::reports`].

mod lines;
mod lint;
mod options;
mod show;
mod spec;
mod value;
mod words;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use self::lines::Place;
pub use self::lint::{Report, unknown_settings};
pub use self::options::{OPTIONS, Opt};
pub use self::show::{Listing, settings};
pub use self::spec::{Area, ByteUnit, Deprecated, Kind, OptionSpec, TimeUnit, UNRELEASED};
pub use self::value::BadValue;
use self::value::Value;
pub(crate) use self::value::nearest;

/// Where imapd.conf lies when no `-C` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/imapd.conf";

/// Why imapd.conf cannot be used. Programs exit with [`ConfigError::EXIT_CODE`].
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// A file cannot be read.
    #[error("{}can't open configuration file {}: {source}", place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default(), path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The line that includes it.
        place: Option<Place>,
        /// What the system said.
        source: io::Error,
    },
    /// A file is included a second time.
    #[error("{}configuration file {} included twice", place.as_ref().map(|p| format!("{p}: ")).unwrap_or_default(), path.display())]
    IncludedTwice {
        /// The file.
        path: PathBuf,
        /// The line that includes it.
        place: Option<Place>,
    },
    /// Too many files are included.
    #[error("{}: more than {most} files are included", path.display())]
    TooManyFiles {
        /// The file that was too much.
        path: PathBuf,
        /// The limit.
        most: usize,
    },
    /// A file is larger than any configuration can be.
    #[error("{}: larger than {most} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// A setting is not UTF-8.
    #[error("{place}: not UTF-8")]
    NotUtf8 {
        /// Where.
        place: Place,
    },
    /// A line has no colon.
    #[error("{place}: no colon after the option's name")]
    NoColon {
        /// Where.
        place: Place,
    },
    /// A directive other than `@include`.
    #[error("{place}: unknown directive {directive}; the only one is @include")]
    BadDirective {
        /// Where.
        place: Place,
        /// What stands there.
        directive: String,
    },
    /// A name with other characters than letters, digits, `_` and `-`.
    #[error(
        "{place}: '{name}' is not a name; names are letters, digits, _ and -, with the colon right behind"
    )]
    BadName {
        /// Where.
        place: Place,
        /// What stands there.
        name: String,
    },
    /// A name without a value.
    #[error("{place}: {name} has no value; remove the line to use the default")]
    NoValue {
        /// Where.
        place: Place,
        /// The option.
        name: String,
    },
    /// An option stands twice.
    #[error("{place}: {name} is already set in {earlier}")]
    Twice {
        /// Where it stands again.
        place: Place,
        /// The option.
        name: String,
        /// Where it stood first.
        earlier: Place,
    },
    /// A value of the wrong type.
    #[error("{place}: {name}: {problem}")]
    BadValue {
        /// Where.
        place: Place,
        /// The option, with its service prefix if there is one.
        name: String,
        /// What is wrong.
        problem: BadValue,
    },
    /// `configdirectory` is missing.
    #[error("{}: configdirectory is not set; name the directory that holds the server's state", path.display())]
    NoConfigDirectory {
        /// The file.
        path: PathBuf,
    },
    /// `defaultpartition` cannot be a partition's name.
    #[error("{place}: defaultpartition: '{name}' is not a partition's name; write letters and digits")]
    BadPartitionName {
        /// Where.
        place: Place,
        /// What stands there.
        name: String,
    },
    /// No partition is set, or not the default one.
    #[error("{}: partition-{name} is not set; name the directory of that partition", path.display())]
    NoPartition {
        /// The file.
        path: PathBuf,
        /// The partition.
        name: String,
    },
}

impl ConfigError {
    /// The exit code of a program whose configuration cannot be used (`EX_CONFIG`).
    pub const EXIT_CODE: u8 = 78;
}

/// The settings of one service.
#[derive(Debug)]
pub struct Config {
    path: PathBuf,
    service: String,
    set: Vec<Option<Setting>>,
    other: BTreeMap<String, Other>,
    reports: Vec<Report>,
}

/// A known option as set.
#[derive(Clone, Debug)]
struct Setting {
    /// As written in the file; of a default, as the table writes it.
    text: String,
    value: Value,
    /// Where it is set; `None` for a default with `{configdirectory}` filled in.
    place: Option<Place>,
    /// Whether the line has the service's prefix.
    prefixed: bool,
    /// A deprecated option whose value its successor took over.
    moved: bool,
}

/// A line that sets no option of this service: families such as `partition-*`, other services' options, typing errors.
#[derive(Clone, Debug)]
struct Other {
    value: String,
    place: Place,
    /// Set for a deprecated option, which is known under this name.
    deprecated: bool,
}

impl Config {
    /// Reads `path` for the service that cyrus.conf calls `service`; tools pass their own name.
    pub fn load(path: impl AsRef<Path>, service: &str) -> Result<Self, ConfigError> {
        Self::of(path.as_ref(), service, lines::read(path.as_ref())?)
    }

    /// Reads `content` as that of the file at `path`; files that it includes are read from the disk.
    pub fn parse(path: &Path, content: &[u8], service: &str) -> Result<Self, ConfigError> {
        Self::of(path, service, lines::parse(path, content)?)
    }

    fn of(path: &Path, service: &str, lines: Vec<lines::Line>) -> Result<Self, ConfigError> {
        let mut config = Self {
            path: path.to_owned(),
            service: service.to_owned(),
            set: vec![None; OPTIONS.len()],
            other: BTreeMap::new(),
            reports: Vec::new(),
        };
        for line in lines {
            config.take(line)?;
        }
        config.hand_over_deprecated()?;
        let directory = match config.text(Opt::Configdirectory) {
            Some(directory) => directory.into_owned(),
            None => {
                return Err(ConfigError::NoConfigDirectory {
                    path: path.to_owned(),
                });
            }
        };
        config.fill_in_directory(&directory);
        config.check_default_partition()?;
        config.report();
        Ok(config)
    }

    fn take(&mut self, line: lines::Line) -> Result<(), ConfigError> {
        let lines::Line {
            name,
            value: text,
            place,
        } = line;
        let own = name
            .strip_prefix(&self.service)
            .and_then(|rest| rest.strip_prefix('_'))
            .and_then(Opt::named);
        let Some(option) = Opt::named(&name).or(own) else {
            return self.take_other(name, text, place);
        };
        let prefixed = Opt::named(&name).is_none();
        let spec = option.spec();
        if let Some(earlier) = &self.set[option as usize] {
            if earlier.prefixed == prefixed {
                let earlier = earlier.place.clone().unwrap_or_else(|| place.clone());
                return Err(ConfigError::Twice { place, name, earlier });
            }
            if earlier.prefixed {
                // The service's own line counts; the plain one must still make sense.
                return match Value::parse(spec.kind, &text) {
                    Ok(_) => Ok(()),
                    Err(problem) => Err(ConfigError::BadValue { place, name, problem }),
                };
            }
        }
        let value = match Value::parse(spec.kind, &text) {
            Ok(value) => value,
            Err(problem) => return Err(ConfigError::BadValue { place, name, problem }),
        };
        for (word, proper) in value::deprecated_words(spec.kind, &text) {
            self.reports.push(Report::DeprecatedWord {
                place: place.clone(),
                option,
                word,
                proper,
            });
        }
        if spec.deprecated.is_some() {
            let other = Other {
                value: text.clone(),
                place: place.clone(),
                deprecated: true,
            };
            self.other.insert(name, other);
        }
        self.set[option as usize] = Some(Setting {
            text,
            value,
            place: Some(place),
            prefixed,
            moved: false,
        });
        Ok(())
    }

    fn take_other(&mut self, name: String, value: String, place: Place) -> Result<(), ConfigError> {
        if name == AUTOCREATE_ACL
            && let Some(earlier) = self.other.get_mut(&name)
        {
            // The one that may stand several times.
            earlier.value = format!("{}\n{value}", earlier.value);
            return Ok(());
        }
        if let Some(earlier) = self.other.get(&name) {
            return Err(ConfigError::Twice {
                place,
                name,
                earlier: earlier.place.clone(),
            });
        }
        self.other.insert(
            name,
            Other {
                value,
                place,
                deprecated: false,
            },
        );
        Ok(())
    }

    /// Gives the value of each deprecated option that is set to its successor, unless that is set too.
    fn hand_over_deprecated(&mut self) -> Result<(), ConfigError> {
        for spec in OPTIONS {
            let Some(deprecated) = spec.deprecated else {
                continue;
            };
            let Some(setting) = &self.set[spec.id as usize] else {
                continue;
            };
            let place = setting.place.clone();
            let mut taken = false;
            if let Some(successor) = deprecated.successor
                && self.set[successor as usize].is_none()
            {
                let value = match Value::parse(successor.spec().kind, &setting.text) {
                    Ok(value) => value,
                    Err(problem) => {
                        let Some(place) = place else { continue };
                        return Err(ConfigError::BadValue {
                            place,
                            name: spec.name.to_owned(),
                            problem,
                        });
                    }
                };
                let handed = Setting {
                    value,
                    ..setting.clone()
                };
                self.set[successor as usize] = Some(handed);
                taken = true;
            }
            if let Some(setting) = &mut self.set[spec.id as usize] {
                setting.moved = taken;
            }
            if let Some(place) = place {
                self.reports.push(Report::Deprecated {
                    place,
                    option: spec.id,
                    since: deprecated.since,
                    successor: deprecated.successor,
                    ignored: deprecated.successor.is_some() && !taken,
                });
            }
        }
        Ok(())
    }

    /// Replaces a leading `{configdirectory}`, which defaults and values may use.
    fn fill_in_directory(&mut self, directory: &str) {
        for spec in OPTIONS {
            let Kind::Text(default) = spec.kind else { continue };
            match &mut self.set[spec.id as usize] {
                Some(Setting {
                    value: Value::Text(Some(text)),
                    ..
                }) => {
                    if let Some(rest) = text.strip_prefix(CONFIGDIRECTORY) {
                        *text = format!("{directory}{rest}");
                    }
                }
                Some(_) => {}
                unset => {
                    if let Some(rest) = default.and_then(|default| default.strip_prefix(CONFIGDIRECTORY)) {
                        let value = format!("{directory}{rest}");
                        *unset = Some(Setting {
                            text: value.clone(),
                            value: Value::Text(Some(value)),
                            place: None,
                            prefixed: false,
                            moved: false,
                        });
                    }
                }
            }
        }
    }

    fn check_default_partition(&mut self) -> Result<(), ConfigError> {
        if let Some(Setting {
            value: Value::Text(Some(name)),
            place: Some(place),
            ..
        }) = &mut self.set[Opt::Defaultpartition as usize]
        {
            if !name.bytes().all(|byte| byte.is_ascii_alphanumeric()) {
                return Err(ConfigError::BadPartitionName {
                    place: place.clone(),
                    name: name.clone(),
                });
            }
            name.make_ascii_lowercase();
        }
        Ok(())
    }

    /// Checks that there is a partition to keep mail in: the default one if it is named, or else any.
    pub fn require_partitions(&self) -> Result<(), ConfigError> {
        let missing = |name: &str| ConfigError::NoPartition {
            path: self.path.clone(),
            name: name.to_owned(),
        };
        match self.text(Opt::Defaultpartition) {
            Some(name) => match self.partition(&name) {
                Some(_) => Ok(()),
                None => Err(missing(&name)),
            },
            None => match self.partitions().next() {
                Some(_) => Ok(()),
                None => Err(missing("NAME")),
            },
        }
    }

    /// The file this was read from.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The service this was read for.
    pub fn service(&self) -> &str {
        &self.service
    }

    /// What an administrator should hear about at start-up: unknown, deprecated and not yet supported settings.
    pub fn reports(&self) -> &[Report] {
        &self.reports
    }

    fn value(&self, option: Opt) -> Cow<'_, Value> {
        match &self.set[option as usize] {
            Some(setting) => Cow::Borrowed(&setting.value),
            None => Cow::Owned(Value::default_of(option.spec().kind)),
        }
    }

    /// Whether the file sets `option` for this service.
    pub fn is_set(&self, option: Opt) -> bool {
        self.set[option as usize]
            .as_ref()
            .is_some_and(|setting| setting.place.is_some())
    }

    /// The text of a STRING; `None` when it is unset.
    pub fn text(&self, option: Opt) -> Option<Cow<'_, str>> {
        match self.value(option) {
            Cow::Borrowed(Value::Text(text)) => text.as_deref().map(Cow::Borrowed),
            Cow::Owned(Value::Text(text)) => text.map(Cow::Owned),
            other => wrong_type(option, &other),
        }
    }

    /// The text of a STRING, or an empty one.
    pub fn string(&self, option: Opt) -> String {
        self.text(option).map(Cow::into_owned).unwrap_or_default()
    }

    /// A STRING that names a file or directory.
    pub fn file(&self, option: Opt) -> Option<PathBuf> {
        self.text(option)
            .filter(|text| !text.is_empty())
            .map(|text| PathBuf::from(text.as_ref()))
    }

    /// The words of a STRING that lists several, such as `admins`.
    pub fn words(&self, option: Opt) -> Vec<String> {
        self.string(option)
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect()
    }

    /// A SWITCH.
    pub fn switch(&self, option: Opt) -> bool {
        match self.value(option).as_ref() {
            Value::Switch(on) => *on,
            other => wrong_type(option, other),
        }
    }

    /// An INT.
    pub fn int(&self, option: Opt) -> i64 {
        match self.value(option).as_ref() {
            Value::Int(number) => *number,
            other => wrong_type(option, other),
        }
    }

    /// A size in octets; `None` when it is negative, which means "no limit" or "not at all".
    pub fn bytesize(&self, option: Opt) -> Option<u64> {
        let octets = match self.value(option).as_ref() {
            Value::Octets(octets) => *octets,
            Value::Int(number) => match option.spec().kind {
                Kind::Bytes(_, ByteUnit::KiB) => number.saturating_mul(1024),
                _ => *number,
            },
            other => wrong_type(option, other),
        };
        u64::try_from(octets).ok()
    }

    /// A DURATION; `None` when it is unset or negative, which means "never".
    pub fn duration(&self, option: Opt) -> Option<Duration> {
        self.seconds(option)
            .and_then(|seconds| u64::try_from(seconds).ok())
            .map(Duration::from_secs)
    }

    /// A DURATION in seconds; `None` when it is unset.
    pub fn seconds(&self, option: Opt) -> Option<i64> {
        match self.value(option).as_ref() {
            Value::Seconds(seconds) => *seconds,
            other => wrong_type(option, other),
        }
    }

    /// The word of an ENUM or STRINGLIST; empty when it is unset.
    pub fn choice(&self, option: Opt) -> &'static str {
        match self.value(option).as_ref() {
            Value::Word(word) => word.unwrap_or(""),
            other => wrong_type(option, other),
        }
    }

    /// A BITFIELD.
    pub fn bits(&self, option: Opt) -> u64 {
        match self.value(option).as_ref() {
            Value::Bits(bits) => *bits,
            other => wrong_type(option, other),
        }
    }

    /// Whether a BITFIELD holds `word`.
    pub fn has_bit(&self, option: Opt, word: &str) -> bool {
        let Kind::Bits(_, words) = option.spec().kind else {
            return false;
        };
        words
            .iter()
            .any(|(name, bit)| *name == word && self.bits(option) & bit != 0)
    }

    /// A line that is no option of the table, such as `partition-default`; the service's own line wins.
    pub fn other(&self, name: &str) -> Option<&str> {
        let own = self.other.get(&format!("{}_{name}", self.service));
        own.or_else(|| self.other.get(name))
            .filter(|other| !other.deprecated)
            .map(|other| other.value.as_str())
    }

    /// The lines whose name begins with `prefix`: the rest of the name and the value.
    fn family<'a>(&'a self, prefix: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.other
            .range::<str, _>((Bound::Included(prefix), Bound::Unbounded))
            .map_while(move |(name, other)| {
                let rest = name.strip_prefix(prefix)?;
                Some((rest, self.other(name).unwrap_or(other.value.as_str())))
            })
    }

    /// The partitions: name and directory.
    pub fn partitions(&self) -> impl Iterator<Item = (&str, &Path)> {
        self.family("partition-")
            .map(|(name, path)| (name, Path::new(path)))
    }

    /// The directory of a partition.
    pub fn partition(&self, name: &str) -> Option<&Path> {
        self.other(&format!("partition-{name}")).map(Path::new)
    }

    /// Where the metadata files of a partition lie that `metapartition_files` names.
    pub fn metapartition(&self, name: &str) -> Option<&Path> {
        self.other(&format!("metapartition-{name}")).map(Path::new)
    }

    /// The archive tier of a partition.
    pub fn archivepartition(&self, name: &str) -> Option<&Path> {
        self.other(&format!("archivepartition-{name}")).map(Path::new)
    }

    /// The lines `xlist-USE: NAME`: uses in small letters, and the names of folders that have them.
    pub fn xlist(&self) -> impl Iterator<Item = (&str, &str)> {
        self.family("xlist-")
    }

    /// Where the search indexes of a partition lie, of those in `tier`.
    pub fn searchpartition(&self, tier: &str, name: &str) -> Option<&Path> {
        self.other(&format!("{tier}searchpartition-{name}"))
            .map(Path::new)
    }

    /// The options of Cyrus SASL without their prefix `sasl_`: name and value.
    ///
    /// `sasl_minimum_layer` and `sasl_maximum_layer` are options of the table and not among them.
    pub fn sasl_options(&self) -> impl Iterator<Item = (&str, &str)> {
        self.family("sasl_")
    }

    /// Special uses of folders that are made for new users, `xlist-sent: Sent`: the use and the folder.
    pub fn folder_uses(&self) -> impl Iterator<Item = (&str, &str)> {
        self.family("xlist-")
    }

    /// Entries of the lists of folders that are made for new users, `autocreate_acl: FOLDER IDENTIFIER RIGHTS`; the folder
    /// may have blanks.
    pub fn autocreate_acl(&self) -> Vec<(String, String, String)> {
        let lines = self.other(AUTOCREATE_ACL).unwrap_or_default().lines();
        let entry = |line: &str| {
            let (rest, rights) = line.rsplit_once(char::is_whitespace)?;
            let (folder, identifier) = rest.trim_end().rsplit_once(char::is_whitespace)?;
            Some((folder.trim().to_owned(), identifier.to_owned(), rights.to_owned()))
        };
        lines.filter_map(entry).collect()
    }

    /// The state directory.
    pub fn configdirectory(&self) -> PathBuf {
        self.file(Opt::Configdirectory).unwrap_or_default()
    }

    /// The directory of proc files.
    pub fn proc_directory(&self) -> PathBuf {
        self.file(Opt::ProcPath)
            .unwrap_or_else(|| self.configdirectory().join("proc"))
    }

    /// The user the server runs as.
    ///
    /// The environment's `CYRUS_USER` wins over `cyrus_user`; without both it is `cyrus`.
    pub fn cyrus_user(&self) -> String {
        let named = std::env::var("CYRUS_USER").ok().filter(|user| !user.is_empty());
        named
            .or_else(|| self.text(Opt::CyrusUser).map(Cow::into_owned))
            .unwrap_or_else(|| "cyrus".to_owned())
    }
}

/// Asking for an option as the wrong type is a mistake in the program, found by the first test that runs the line.
fn wrong_type(option: Opt, value: &Value) -> ! {
    panic!("{} holds {value:?}: another accessor reads it", option.name())
}

/// Entries for lists of folders that are made for new users.
const AUTOCREATE_ACL: &str = "autocreate_acl";
const CONFIGDIRECTORY: &str = "{configdirectory}";

#[cfg(test)]
mod tests;
