//! `tls_prune`: forgets TLS sessions that can no longer be resumed.
//!
//! This server gives clients tickets and keeps no sessions; Cyrus's daemons beside it, and before it, keep theirs in
//! `tls_sessions.db`, each with the time until which it is good.

use std::ffi::OsString;
use std::ops::ControlFlow;

use cyrus_store::db::{self, Create, DbError, Engine};

use super::databases::context;
use super::{TEMPORARY, USAGE, enter, fatal, time};
use crate::config::{Config, Opt};
use crate::getopt;
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name).
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let line = match getopt::parse(args, "C:") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("tls_prune: {bad}\ntls_prune [-C <altconfig>]");
            return USAGE;
        }
    };
    let config = match enter(line.argument('C'), "tls_prune") {
        Ok(config) => config,
        Err(code) => return code,
    };
    match prune(&config, time::now()) {
        Ok(Pruned { seen, forgotten }) => {
            log(
                Level::Notice,
                &format!("tls_prune: purged {forgotten} out of {seen} entries"),
            );
            0
        }
        Err(error) => fatal(&error, TEMPORARY),
    }
}

struct Pruned {
    seen: usize,
    forgotten: usize,
}

fn prune(config: &Config, now: i64) -> Result<Pruned, DbError> {
    let path = config
        .file(Opt::TlsSessionsDbPath)
        .unwrap_or_else(|| config.configdirectory().join("tls_sessions.db"));
    let nothing = Pruned {
        seen: 0,
        forgotten: 0,
    };
    let Ok(engine) = config.choice(Opt::TlsSessionsDb).parse::<Engine>() else {
        return Ok(nothing);
    };
    let mut database = match db::open(&context(config), &path, engine, Create::No) {
        Ok(database) => database,
        Err(DbError::Missing { .. }) => return Ok(nothing),
        Err(error) => return Err(error),
    };
    let (mut seen, mut stale) = (0, Vec::new());
    database.scan(b"", &mut |key, value| {
        seen += 1;
        if until(value).is_none_or(|until| until < now) {
            stale.push(key.to_vec());
        }
        ControlFlow::Continue(())
    })?;
    if !stale.is_empty() {
        let mut transaction = database.begin()?;
        for key in &stale {
            transaction.remove(key)?;
        }
        transaction.commit()?;
    }
    Ok(Pruned {
        seen,
        forgotten: stale.len(),
    })
}

/// Until when a session is good: Unix seconds, in the byte order of the host, before the session itself.
fn until(value: &[u8]) -> Option<i64> {
    value.first_chunk::<8>().map(|time| i64::from_ne_bytes(*time))
}
