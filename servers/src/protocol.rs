//! The daemons that serve connections, `imapd` and `lmtpd`: their switches, and their start under a master.
//!
//! One process serves all connections of its service, so `-U` (connections before a process ends) and `-T` (how long an
//! idle process waits) have nothing to say; `-N` (no tcpwrappers) neither.

use std::ffi::OsString;
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::Arc;

use cyrus_proto::net::Service;

use crate::config::{Config, Opt};
use crate::daemon::{self, exit, fail};
use crate::engine::{Engine, ServiceSwitches, StartError};
use crate::{getopt, serve, syslog};

/// What a daemon speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `imapd`.
    Imap,
    /// `lmtpd`.
    Lmtp,
}

/// What the command line of a daemon says.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// `-C`: the configuration file.
    pub imapd_conf: Option<String>,
    /// `-D`: `debug_command` is run before the service begins.
    pub debugger: bool,
    /// What it says about the service.
    pub switches: ServiceSwitches,
}

impl Protocol {
    /// By the name of the daemon, as cyrus.conf has it.
    pub fn of_program(path: &str) -> Option<Self> {
        let name = Path::new(path).file_name()?.to_str()?;
        [Self::Imap, Self::Lmtp]
            .into_iter()
            .find(|protocol| protocol.program() == name)
    }

    /// The name of the daemon.
    pub const fn program(self) -> &'static str {
        match self {
            Self::Imap => "imapd",
            Self::Lmtp => "lmtpd",
        }
    }

    /// The service of a daemon that no master named.
    const fn service(self) -> &'static str {
        match self {
            Self::Imap => "imap",
            Self::Lmtp => "lmtp",
        }
    }

    /// Reads a daemon's command line (without the program's name); on a unix socket everybody who reaches `lmtpd` may
    /// deliver, as with `-a`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn command_line(self, args: impl IntoIterator<Item = OsString>) -> Result<CommandLine, String> {
        let known = match self {
            Self::Imap => "C:DHNp:sT:U:",
            Self::Lmtp => "aC:DHT:U:",
        };
        let line = getopt::parse(args, known).map_err(|error| error.to_string())?;
        if line.has('H') {
            return Err("-H (the PROXY protocol) is not supported by this build".to_owned());
        }
        let external_strength = match line.argument('p').map(str::parse) {
            None => 0,
            Some(Ok(bits)) => bits,
            Some(Err(_)) => return Err("-p takes a number of bits".to_owned()),
        };
        Ok(CommandLine {
            imapd_conf: line.argument('C').map(str::to_owned),
            debugger: line.has('D'),
            switches: ServiceSwitches {
                implicit_tls: line.has('s'),
                preauthorised: line.has('a'),
                external_strength,
            },
        })
    }

    /// The service, with the settings of `config`, which was read for it; `is_unix` if it listens on a unix socket.
    ///
    /// # Errors
    /// A setting that cannot be carried out.
    pub fn serve_with(
        self,
        engine: &Engine,
        config: &Config,
        mut switches: ServiceSwitches,
        is_unix: bool,
    ) -> Result<Service, StartError> {
        switches.preauthorised |= is_unix;
        match self {
            Self::Imap => engine.imap(config, switches),
            Self::Lmtp => engine.lmtp(config, switches),
        }
    }

    /// Runs the daemon under its master with the arguments `args` (without the program's name).
    pub fn main(self, args: impl IntoIterator<Item = OsString>) -> ExitCode {
        match self.run(args) {
            Ok(()) => ExitCode::SUCCESS,
            Err(code) => ExitCode::from(code),
        }
    }

    fn run(self, args: impl IntoIterator<Item = OsString>) -> Result<(), u8> {
        let line = self.command_line(args).map_err(|error| {
            syslog::open_plain(self.program());
            fail(exit::USAGE, &format!("{}: {error}", self.program()))
        })?;
        let daemon = daemon::begin(line.imapd_conf.as_deref(), self.service())?;
        let link = daemon
            .master
            .ok_or_else(|| fail(exit::USAGE, "master starts this program; cyrusd serves by itself"))?;
        let config = Arc::new(daemon.config);
        if line.debugger
            && let Some(format) = config.text(Opt::DebugCommand)
        {
            debug(&debug_command(
                &format,
                self.program(),
                process::id(),
                link.service(),
            ));
        }
        let config_error = |error: StartError| fail(exit::CONFIG, &error.to_string());
        let engine = Engine::new(&config).map_err(config_error)?;
        let service = self
            .serve_with(&engine, &config, line.switches, link.is_unix())
            .map_err(config_error)?;
        let served = serve::serve(link, &config, service);
        engine.store().flush_deliveries();
        served
    }
}

/// Runs a debugger and waits for its end, as Cyrus does.
fn debug(command: &str) {
    syslog::log(
        syslog::Level::Debug,
        &format!("running external debugger: {command}"),
    );
    let status = process::Command::new("/bin/sh").arg("-c").arg(command).status();
    let status = match status {
        Ok(status) => status.to_string(),
        Err(error) => error.to_string(),
    };
    syslog::log(syslog::Level::Debug, &format!("debugger returned: {status}"));
}

/// `debug_command` with what it is given: the program for the first `%s`, its process for `%d`, the service for the next `%s`.
fn debug_command(format: &str, program: &str, process: u32, service: &str) -> String {
    let mut command = String::new();
    let mut names = [program, service].into_iter();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            command.push(letter);
            continue;
        }
        match letters.next() {
            Some('s') => command.push_str(names.next().unwrap_or_default()),
            Some('d' | 'i' | 'u') => command.push_str(&process.to_string()),
            Some('%') | None => command.push('%'),
            Some(other) => command.extend(['%', other]),
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(protocol: Protocol, args: &[&str]) -> Result<CommandLine, String> {
        protocol.command_line(args.iter().map(OsString::from))
    }

    #[test]
    fn switches_are_those_of_cyrus() {
        let line = parsed(
            Protocol::Imap,
            &["-s", "-C", "/c", "-p", "128", "-U", "250", "-T60", "-DN"],
        );
        let switches = ServiceSwitches {
            implicit_tls: true,
            preauthorised: false,
            external_strength: 128,
        };
        let imapd_conf = Some("/c".to_owned());
        let wanted = CommandLine {
            imapd_conf,
            debugger: true,
            switches,
        };
        assert_eq!(line, Ok(wanted));
        assert!(parsed(Protocol::Lmtp, &["-a"]).unwrap().switches.preauthorised);
        for (protocol, bad) in [
            (Protocol::Imap, &["-a"][..]),
            (Protocol::Imap, &["-p", "strong"]),
            (Protocol::Lmtp, &["-s"]),
            (Protocol::Imap, &["-H"]),
            (Protocol::Lmtp, &["-C"]),
        ] {
            assert!(parsed(protocol, bad).is_err(), "{protocol:?} {bad:?}");
        }
    }

    #[test]
    fn a_debugger_is_told_program_process_and_service() {
        let command = |format| debug_command(format, "imapd", 42, "imaps");
        assert_eq!(command("/usr/bin/gdb /bin/%s %d"), "/usr/bin/gdb /bin/imapd 42");
        assert_eq!(
            command("trace -p %x %d %s %s 100%% %"),
            "trace -p %x 42 imapd imaps 100% %"
        );
    }

    #[test]
    fn a_daemon_is_known_by_its_name_wherever_it_lies() {
        assert_eq!(
            Protocol::of_program("/usr/lib/cyrus/bin/imapd"),
            Some(Protocol::Imap)
        );
        assert_eq!(Protocol::of_program("lmtpd"), Some(Protocol::Lmtp));
        assert_eq!(Protocol::of_program("/usr/bin/pop3d"), None);
    }
}
