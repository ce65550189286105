//! The arguments of an entry of cyrus.conf as the things they mean.

use std::path::PathBuf;

use super::cron::Schedule;
use super::grammar::{Entry, Section};
use super::{Command, CyrusConfError, Daemon, Event, Listen, Proto, Service};
use crate::config::nearest;

/// An entry whose arguments are taken one by one, so that those left over can be reported.
pub(super) struct Arguments {
    entry: Entry,
    used: Vec<&'static str>,
}

impl Arguments {
    pub(super) fn of(entry: Entry) -> Self {
        Self {
            entry,
            used: Vec::new(),
        }
    }

    pub(super) fn section(&self) -> Section {
        self.entry.section
    }

    pub(super) fn error(&self, problem: String) -> CyrusConfError {
        CyrusConfError::Entry {
            place: self.entry.place.clone(),
            section: self.entry.section.name(),
            name: self.entry.name.clone(),
            problem,
        }
    }

    /// The value of `key`; of several, the first.
    fn value(&mut self, key: &'static str) -> Option<&str> {
        self.used.push(key);
        let found = self.entry.arguments.iter().find(|(name, _)| name == key);
        found
            .map(|(_, value)| value.as_str())
            .filter(|value| !value.is_empty())
    }

    fn number(&mut self, key: &'static str) -> Result<Option<i64>, CyrusConfError> {
        let Some(text) = self.value(key).map(str::to_owned) else {
            return Ok(None);
        };
        match text.parse() {
            Ok(number) => Ok(Some(number)),
            Err(_) => Err(self.error(format!("{key}: '{text}' is not a number"))),
        }
    }

    /// A number where 0 and less mean that there is no limit.
    fn limit(&mut self, key: &'static str, unlimited: i64) -> Result<Option<u32>, CyrusConfError> {
        Ok(self
            .number(key)?
            .filter(|number| *number > unlimited)
            .map(|number| u32::try_from(number).unwrap_or(u32::MAX)))
    }

    fn switch(&mut self, key: &'static str) -> Result<bool, CyrusConfError> {
        let Some(text) = self.value(key).map(str::to_owned) else {
            return Ok(false);
        };
        if let Ok(number) = text.parse::<i64>() {
            return Ok(number != 0);
        }
        match text.as_bytes() {
            [b'y' | b't' | b'Y' | b'T', ..] => Ok(true),
            [b'n' | b'f' | b'N' | b'F', ..] => Ok(false),
            _ => Err(self.error(format!("{key}: '{text}' is not a switch; write y or n"))),
        }
    }

    pub(super) fn command(&mut self) -> Result<Command, CyrusConfError> {
        if self.entry.name.is_empty() {
            return Err(self.error("the entry has no name".to_owned()));
        }
        let argv: Vec<String> = self
            .value("cmd")
            .unwrap_or("")
            .split_ascii_whitespace()
            .map(str::to_owned)
            .collect();
        if argv.is_empty() {
            return Err(self.error("cmd is missing".to_owned()));
        }
        Ok(Command {
            name: self.entry.name.clone(),
            argv,
        })
    }

    pub(super) fn service(&mut self) -> Result<Service, CyrusConfError> {
        let command = self.command()?;
        let Some(listen) = self.value("listen").map(str::to_owned) else {
            return Err(self.error("listen is missing".to_owned()));
        };
        let listen = listen_of(&listen).map_err(|problem| self.error(format!("listen: {problem}")))?;
        let proto = match self.value("proto").unwrap_or("tcp") {
            "tcp" => Proto::Tcp,
            "tcp4" => Proto::Tcp4,
            "tcp6" => Proto::Tcp6,
            "udp" => Proto::Udp,
            "udp4" => Proto::Udp4,
            "udp6" => Proto::Udp6,
            other => {
                let problem = format!("proto: '{other}' is none of tcp, tcp4, tcp6, udp, udp4, udp6");
                return Err(self.error(problem));
            }
        };
        let mut service = Service {
            command,
            listen,
            proto,
            prefork: self.limit("prefork", 0)?.unwrap_or(0),
            maxchild: self.limit("maxchild", -1)?,
            maxfds: self.limit("maxfds", 0)?,
            maxforkrate: self.limit("maxforkrate", 0)?,
            babysit: self.switch("babysit")?,
        };
        if service.babysit {
            service.prefork = service.prefork.max(1);
            service.maxforkrate = service.maxforkrate.or(Some(BABYSIT_FORKRATE));
        }
        Ok(service)
    }

    pub(super) fn event(&mut self) -> Result<Event, CyrusConfError> {
        let command = self.command()?;
        let at = self.value("at").map(str::to_owned);
        let cron = self.value("cron").map(str::to_owned);
        let period = self.number("period")?;
        let schedule = match (cron, at, period) {
            (Some(cron), _, _) => {
                Schedule::cron(&cron).map_err(|problem| self.error(format!("cron: {problem}")))?
            }
            (None, Some(at), _) => {
                Schedule::daily(&at).map_err(|problem| self.error(format!("at: {problem}")))?
            }
            (None, None, Some(minutes)) if minutes > 0 => Schedule::every(minutes.unsigned_abs()),
            (None, None, _) => Schedule::Once,
        };
        Ok(Event { command, schedule })
    }

    pub(super) fn daemon(&mut self) -> Result<Daemon, CyrusConfError> {
        Ok(Daemon {
            command: self.command()?,
            wait: self.switch("wait")?,
        })
    }

    /// Reports arguments that mean nothing in this section, and repeated ones.
    pub(super) fn report_unused(&self, reports: &mut Vec<String>) {
        let place = &self.entry.place;
        for (at, (key, _)) in self.entry.arguments.iter().enumerate() {
            if self
                .entry
                .arguments
                .iter()
                .take(at)
                .any(|(earlier, _)| earlier == key)
            {
                reports.push(format!("{place}: {key} stands twice; the first counts"));
            } else if !self.used.contains(&key.as_str()) {
                let hint = nearest(key, self.used.iter().copied())
                    .map(|known| format!("; did you mean {known}?"))
                    .unwrap_or_default();
                reports.push(format!(
                    "{place}: {key} means nothing in {} and is ignored{hint}",
                    self.section().name()
                ));
            }
        }
    }
}

fn listen_of(text: &str) -> Result<Listen, String> {
    if text.starts_with('/') {
        if text.len() > LONGEST_SOCKET_PATH {
            return Err(format!(
                "the path of a socket has at most {LONGEST_SOCKET_PATH} octets"
            ));
        }
        return Ok(Listen::Unix(PathBuf::from(text)));
    }
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest
                .split_once(']')
                .ok_or_else(|| format!("'{text}': missing ']'"))?;
            let port = port
                .strip_prefix(':')
                .ok_or_else(|| format!("'{text}': no port behind ']'"))?;
            (Some(host), port)
        }
        None => match text.rsplit_once(':') {
            Some((host, port)) => (Some(host), port),
            None => (None, text),
        },
    };
    if port.is_empty() {
        return Err(format!("'{text}' names no port"));
    }
    if port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_err() {
        return Err(format!("'{port}' is not a port; ports go up to 65535"));
    }
    let host = host.filter(|host| !host.is_empty()).map(str::to_owned);
    Ok(Listen::Port {
        host,
        port: port.to_owned(),
    })
}

const BABYSIT_FORKRATE: u32 = 10;
const LONGEST_SOCKET_PATH: usize = 107; // sun_path without its final NUL
