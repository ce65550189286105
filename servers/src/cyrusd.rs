//! `cyrusd`: every service of a cyrus.conf that this build has, in one process and without a master.
//!
//! One process shares one store, so that deliveries wake idle clients at once and locks between services cost nothing.
//! Sections other than SERVICES are for master, and `cyrusd` says so. `cyrusd --demo DIR` makes a configuration, a user
//! and a certificate in `DIR` first.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use cyrus_proto::net::{Listener, Service};

use crate::config::{Config, DEFAULT_PATH};
use crate::cyrus_conf::{self, CyrusConf};
use crate::daemon::{exit, fail};
use crate::engine::Engine;
use crate::protocol::Protocol;
use crate::syslog::{self, Level, log};
use crate::{getopt, limits, listen, privilege, serve};

pub mod demo;

/// Runs the daemon with the arguments `args` (without the program's name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    match run(args.into_iter().collect()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(code) => ExitCode::from(code),
    }
}

const USAGE: &str = "usage: cyrusd [-C imapd.conf] [-M cyrus.conf] | cyrusd --demo DIR";

fn run(args: Vec<OsString>) -> Result<(), u8> {
    syslog::open_plain("cyrusd");
    if let [flag, directory] = &args[..]
        && flag == "--demo"
    {
        let demo =
            demo::Demo::make(Path::new(directory)).map_err(|error| fail(exit::CONFIG, &error.to_string()))?;
        syslog::to_stderr(true);
        return start(&demo.imapd_conf(), &demo.cyrus_conf(), |engine, services| {
            demo.make_mailbox(engine)
                .map_err(|error| fail(exit::SOFTWARE, &error.to_string()))?;
            println!("{}", demo.how_to_use(services));
            Ok(())
        });
    }
    let line = getopt::parse(args, "C:M:")
        .map_err(|error| fail(exit::USAGE, &format!("cyrusd: {error}\n{USAGE}")))?;
    if let Some(extra) = line.arguments.first() {
        return Err(fail(exit::USAGE, &format!("cyrusd: what is '{extra}'?\n{USAGE}")));
    }
    let imapd_conf = line.argument('C').unwrap_or(DEFAULT_PATH);
    let cyrus_conf = line.argument('M').unwrap_or(cyrus_conf::DEFAULT_PATH);
    start(imapd_conf, cyrus_conf, |_, _| Ok(()))
}

fn start(
    imapd_conf: &str,
    cyrus_conf: &str,
    before: impl FnOnce(&Engine, &CyrusConf) -> Result<(), u8>,
) -> Result<(), u8> {
    let config =
        Config::load(imapd_conf, "cyrusd").map_err(|error| fail(exit::CONFIG, &error.to_string()))?;
    let services = CyrusConf::load(cyrus_conf).map_err(|error| fail(exit::CONFIG, &error.to_string()))?;
    limits::raise_open_files();
    limits::set_umask(&config);
    // Ports below 1024 are root's, everything after is not.
    let bound = bind(&services)?;
    privilege::become_cyrus_user(&config).map_err(|error| fail(exit::OSERR, &error.to_string()))?;
    syslog::open(&config);
    for report in config.reports() {
        log(Level::Warning, &report.to_string());
    }
    for report in &services.reports {
        log(Level::Warning, report);
    }
    for (what, count) in [
        ("START", services.start.len()),
        ("EVENTS", services.events.len()),
        ("DAEMON", services.daemons.len()),
    ] {
        if count > 0 {
            log(
                Level::Warning,
                &format!("{cyrus_conf}: {what} is for master; cyrusd runs no other programs"),
            );
        }
    }
    let engine = Engine::new(&config).map_err(|error| fail(exit::CONFIG, &error.to_string()))?;
    let mut serving = Vec::new();
    for (entry, sockets) in services.services.iter().zip(bound) {
        let Some(service) = service(&engine, imapd_conf, entry)? else {
            continue;
        };
        let service = Arc::new(service);
        for socket in sockets {
            serving.push((socket, Arc::clone(&service)));
        }
    }
    if serving.is_empty() {
        return Err(fail(
            exit::CONFIG,
            &format!("{cyrus_conf}: no service that this build has"),
        ));
    }
    before(&engine, &services)?;
    let served = serve::serve_all(&Arc::new(config), serving);
    engine.store().flush_deliveries();
    served
}

/// Binds the sockets of every service that there is a daemon for.
fn bind(services: &CyrusConf) -> Result<Vec<Vec<Listener>>, u8> {
    let mut bound = Vec::new();
    for entry in &services.services {
        if protocol(entry).is_none() {
            log(
                Level::Warning,
                &format!(
                    "{}: this build has no such service; it is left out",
                    entry.command.name
                ),
            );
            bound.push(Vec::new());
            continue;
        }
        let (sockets, failures) = listen::bind_all(&entry.listen, entry.proto, BACKLOG);
        if let Some(failure) = failures.first() {
            return Err(fail(exit::OSERR, &format!("{}: {failure}", entry.command.name)));
        }
        let mut listeners = Vec::new();
        for socket in sockets {
            listeners.push(
                Listener::inherited(socket.socket)
                    .map_err(|error| fail(exit::OSERR, &format!("{}: {error}", entry.command.name)))?,
            );
        }
        bound.push(listeners);
    }
    Ok(bound)
}

/// Connections that the kernel keeps for us while we are busy.
const BACKLOG: i32 = 4096;

/// What the program of an entry speaks, if this build has it.
fn protocol(entry: &cyrus_conf::Service) -> Option<Protocol> {
    Protocol::of_program(entry.command.argv.first()?)
}

fn service(engine: &Engine, imapd_conf: &str, entry: &cyrus_conf::Service) -> Result<Option<Service>, u8> {
    let Some(protocol) = protocol(entry) else {
        return Ok(None);
    };
    let name = &entry.command.name;
    let config_error = |error: &dyn std::fmt::Display| fail(exit::CONFIG, &format!("{name}: {error}"));
    let args = entry.command.argv.iter().skip(1).map(OsString::from);
    let line = protocol
        .command_line(args)
        .map_err(|error| config_error(&error))?;
    let config = Config::load(line.imapd_conf.as_deref().unwrap_or(imapd_conf), name)
        .map_err(|error| config_error(&error))?;
    let is_unix = matches!(entry.listen, cyrus_conf::Listen::Unix(_));
    let mut service = protocol
        .serve_with(engine, &config, line.switches, is_unix)
        .map_err(|error| config_error(&error))?;
    if let Some(maxchild) = entry.maxchild {
        service.max_connections = usize::try_from(maxchild).unwrap_or(usize::MAX);
    }
    Ok(Some(service))
}
