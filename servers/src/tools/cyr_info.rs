//! `cyr_info`: settings in effect, defaults, unknown settings, running sessions.

mod top;

use std::ffi::OsString;
use std::io::Write;
use std::time::Duration;

use super::{USAGE, fatal, load_config};
use crate::config::{Config, ConfigError, Listing, settings, unknown_settings};
use crate::{cyrus_conf, getopt, procdir, version};

/// Runs with the arguments `args` (without the program's name), writing to `out`.
pub fn run(args: impl IntoIterator<Item = OsString>, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:M:n:s:i:1") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_info: {bad}");
            return usage();
        }
    };
    let since = match line.argument('s').map(release).transpose() {
        Ok(since) => since,
        Err(NotARelease) => return usage(),
    };
    let interval = match line.argument('i').map(str::parse::<f64>) {
        None => INTERVAL,
        Some(Ok(seconds)) if (0.1..=3600.0).contains(&seconds) => Duration::from_secs_f64(seconds),
        Some(_) => return usage(),
    };
    let Some(command) = line.arguments.first() else {
        return usage();
    };
    if command == "version" {
        return print(out, &format!("cyrus-imapd {}\n", version::cyrus_version()));
    }
    let config = match load_config(line.argument('C'), line.argument('n').unwrap_or("cyr_info")) {
        Ok(config) => config,
        Err(code) => return code,
    };
    match command.as_str() {
        "conf" => print(out, &settings(&config, Listing::Set, since)),
        "conf-all" => print(out, &settings(&config, Listing::All, since)),
        "conf-default" => print(out, &settings(&config, Listing::Default, since)),
        "conf-lint" => lint(&config, line.argument('M'), out),
        "proc" => processes(&config, out),
        "top" => top::run(&config.proc_directory(), interval, line.has('1'), out),
        _ => usage(),
    }
}

fn lint(config: &Config, cyrus_conf: Option<&str>, out: &mut dyn Write) -> u8 {
    let (services, remarks) = match cyrus_conf::service_names(cyrus_conf.unwrap_or(cyrus_conf::DEFAULT_PATH))
    {
        Ok(found) => found,
        Err(error) => return fatal(&error, ConfigError::EXIT_CODE),
    };
    let unknown = unknown_settings(config, &services);
    let lines: String = unknown
        .iter()
        .map(|(name, value)| format!("{name}: {value}\n"))
        .collect();
    // The lines are for scripts; the reasons, with file and line, are for people.
    for remark in config.reports().iter().map(ToString::to_string).chain(remarks) {
        eprintln!("{remark}");
    }
    print(out, &lines)
}

fn processes(config: &Config, out: &mut dyn Write) -> u8 {
    // No directory: nothing has run yet.
    let sessions = procdir::sessions(&config.proc_directory()).unwrap_or_default();
    let lines: String = sessions
        .iter()
        .map(|(number, line)| format!("{number} {}\n", line.replacen('\t', " ", 4)))
        .collect();
    print(out, &lines)
}

fn print(out: &mut dyn Write, text: &str) -> u8 {
    // A reader that has seen enough is no failure.
    let _ = out.write_all(text.as_bytes());
    0
}

fn usage() -> u8 {
    eprintln!("{TEXT}");
    USAGE
}

/// How often the live view looks.
const INTERVAL: Duration = Duration::from_secs(2);

struct NotARelease;

/// `3.1.8` as numbers; missing ones are 0, and what follows them does not matter.
fn release(text: &str) -> Result<(u8, u8, u8), NotARelease> {
    if text.is_empty() {
        return Ok((0, 0, 0));
    }
    let mut numbers = [0; 3];
    let mut rest = text;
    for (at, number) in numbers.iter_mut().enumerate() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (first, after) = rest.split_at(digits);
        if digits == 0 {
            if at == 0 {
                return Err(NotARelease);
            }
            break;
        }
        *number = first.parse().map_err(|_| NotARelease)?;
        match after.strip_prefix('.') {
            Some(after) => rest = after,
            None => break,
        }
    }
    Ok((numbers[0], numbers[1], numbers[2]))
}

const TEXT: &str = "\
usage: cyr_info [-C imapd.conf] [-M cyrus.conf] [-n service] [-s release] [-i seconds] [-1] command

  conf          settings that differ from their defaults
  conf-all      all settings
  conf-default  all defaults
  conf-lint     settings that nobody knows; reasons on stderr
  proc          sessions that are open
  top           the same as a live view, with the processes that serve them
  version       the version

-n shows the settings as that service sees them.
-s marks options that have changed after that release.
-i is how often the live view looks, -1 has it look once.";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_may_be_short_or_have_a_tail() {
        assert!(matches!(release("3"), Ok((3, 0, 0))));
        assert!(matches!(release("3.1-beta"), Ok((3, 1, 0))));
        assert!(matches!(release("3.1.8.2"), Ok((3, 1, 8))));
        assert!(matches!(release(""), Ok((0, 0, 0))));
        assert!(release("x").is_err());
        assert!(release("300.1").is_err());
    }
}
