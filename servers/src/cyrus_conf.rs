//! cyrus.conf: what master starts, listens for, runs at times and keeps alive.
//!
//! Sections START, SERVICES, EVENTS and DAEMON hold one entry a line: a name and `key=value` arguments. A `#` starts a
//! comment wherever it stands, inside quotes too. Text outside of a section and sections with other names are skipped,
//! each with a remark in [`CyrusConf::reports`].

mod cron;
mod entry;
mod grammar;

use std::path::{Path, PathBuf};

pub use self::cron::{Moment, Schedule};
use self::entry::Arguments;
use self::grammar::{Entry, Section, Strict};
use crate::config::Place;

/// Where cyrus.conf lies when no `-M` says otherwise.
pub const DEFAULT_PATH: &str = "/etc/cyrus.conf";

/// Everything that cyrus.conf says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CyrusConf {
    /// START: commands that run to their end, one after the other, before anything else.
    pub start: Vec<Command>,
    /// SERVICES: programs with a listening socket.
    pub services: Vec<Service>,
    /// EVENTS: commands that run at times.
    pub events: Vec<Event>,
    /// DAEMON: programs that are kept alive.
    pub daemons: Vec<Daemon>,
    /// What an administrator should hear about.
    pub reports: Vec<String>,
}

/// A program to run, with the entry's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    /// The entry's name.
    pub name: String,
    /// Program and arguments; never empty.
    pub argv: Vec<String>,
}

/// An entry of SERVICES.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// What to run; the name is the ident for imapd.conf's `name_option`, for syslog and for proc files.
    pub command: Command,
    /// Where to listen.
    pub listen: Listen,
    /// How.
    pub proto: Proto,
    /// Idle processes to keep ready, for each bound address.
    pub prefork: u32,
    /// The most processes at a time.
    pub maxchild: Option<u32>,
    /// The limit of open files of a process.
    pub maxfds: Option<u32>,
    /// The most processes to start in a second.
    pub maxforkrate: Option<u32>,
    /// Restart it however often it dies.
    pub babysit: bool,
}

/// An entry of EVENTS.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// What to run.
    pub command: Command,
    /// When.
    pub schedule: Schedule,
}

/// An entry of DAEMON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Daemon {
    /// What to run.
    pub command: Command,
    /// Whether master waits until the daemon reports on descriptor 3 that it is up.
    pub wait: bool,
}

/// Where a service listens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Listen {
    /// A socket in the file system.
    Unix(PathBuf),
    /// A port, on all addresses when no host is named; the port is a number or a name of /etc/services.
    Port {
        /// Name or address.
        host: Option<String>,
        /// Number or name.
        port: String,
    },
}

/// The transport of a service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Proto {
    /// TCP on IPv4 and IPv6.
    Tcp,
    /// TCP on IPv4.
    Tcp4,
    /// TCP on IPv6.
    Tcp6,
    /// UDP on IPv4 and IPv6.
    Udp,
    /// UDP on IPv4.
    Udp4,
    /// UDP on IPv6.
    Udp6,
}

impl Proto {
    /// Whether it is datagrams.
    pub fn is_udp(self) -> bool {
        matches!(self, Self::Udp | Self::Udp4 | Self::Udp6)
    }

    /// Whether an address of this family is wanted.
    pub fn wants(self, is_ipv6: bool) -> bool {
        match self {
            Self::Tcp | Self::Udp => true,
            Self::Tcp4 | Self::Udp4 => !is_ipv6,
            Self::Tcp6 | Self::Udp6 => is_ipv6,
        }
    }
}

/// Why cyrus.conf cannot be used. Master exits with `EX_CONFIG`.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CyrusConfError {
    /// The file cannot be read.
    #[error("can't open configuration file {}: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// The file is larger than any cyrus.conf can be.
    #[error("{}: larger than {most} octets", path.display())]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// The limit.
        most: u64,
    },
    /// A line breaks the grammar.
    #[error("{place}: {problem}")]
    Syntax {
        /// Where.
        place: Place,
        /// How.
        problem: String,
    },
    /// An entry is not complete or has a value of the wrong type.
    #[error("{place}: {section} entry '{name}': {problem}")]
    Entry {
        /// Where.
        place: Place,
        /// The section.
        section: &'static str,
        /// The entry.
        name: String,
        /// What is wrong.
        problem: String,
    },
}

impl CyrusConf {
    /// Reads `path`.
    pub fn load(path: impl AsRef<Path>) -> Result<Self, CyrusConfError> {
        let (entries, reports) = grammar::read(path.as_ref(), Strict::All)?;
        Self::of(entries, reports)
    }

    /// Parses the content of the file at `path`.
    pub fn parse(path: &Path, content: &[u8]) -> Result<Self, CyrusConfError> {
        let (entries, reports) = grammar::parse(path, content, Strict::All)?;
        Self::of(entries, reports)
    }

    fn of(entries: Vec<Entry>, reports: Vec<String>) -> Result<Self, CyrusConfError> {
        let mut conf = Self {
            reports,
            ..Self::default()
        };
        for entry in entries {
            let mut arguments = Arguments::of(entry);
            match arguments.section() {
                Section::Start => conf.start.push(arguments.command()?),
                Section::Services => {
                    let service = arguments.service()?;
                    if conf
                        .services
                        .iter()
                        .any(|other| other.command.name == service.command.name)
                    {
                        return Err(arguments.error("the name is taken by an earlier entry".to_owned()));
                    }
                    conf.services.push(service);
                }
                Section::Events => conf.events.push(arguments.event()?),
                Section::Daemon => conf.daemons.push(arguments.daemon()?),
            }
            arguments.report_unused(&mut conf.reports);
        }
        Ok(conf)
    }

    /// The names of the services, as in [`unknown_settings`](crate::config::unknown_settings).
    pub fn service_names(&self) -> Vec<String> {
        self.services
            .iter()
            .map(|service| service.command.name.clone())
            .collect()
    }
}

/// The names of the services in the file at `path`, and remarks about the file.
///
/// Mistakes in other sections and in the entries' arguments are remarks here, not errors.
pub fn service_names(path: impl AsRef<Path>) -> Result<(Vec<String>, Vec<String>), CyrusConfError> {
    let (entries, reports) = grammar::read(path.as_ref(), Strict::Only(Section::Services))?;
    let services = entries
        .into_iter()
        .filter(|entry| entry.section == Section::Services);
    Ok((services.map(|entry| entry.name).collect(), reports))
}

#[cfg(test)]
mod tests;
