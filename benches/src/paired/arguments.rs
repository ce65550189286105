//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use super::Error;
use super::target::Target;

const HELP: &str = "\
paired [OPTION]...  measures mail servers beside each other

  --start KIND[=DIR]   start a private server: cyrus, dovecot, ours (programs in DIR, or target/release), or
                       `installed` for every one that is there
  --target NAME,imap=PORT,lmtp=SOCKET,pid=FILE
                       a server that runs already, with user1 to user50, password `pass`
  --cases A,B          lmtp append login ping mixed big idle syncs (all of them, in this order)
  --rounds N           measurements per server and case, after one that is thrown away (3)
  --seconds N          length of one measurement of a rate (2)
  --big N              messages in the big mailbox (20000)
  --idle N             idle connections (1000)
  --dir DIR            where started servers keep their files (a folder in /tmp, removed at the end)
  --json FILE          write every single measurement there
";

/// What a run was asked to do.
pub(super) struct Arguments {
    pub(super) start: Vec<(String, Option<PathBuf>)>,
    pub(super) targets: Vec<Target>,
    pub(super) cases: Vec<String>,
    pub(super) rounds: u32,
    pub(super) seconds: Duration,
    pub(super) big: u32,
    pub(super) idle: u32,
    pub(super) dir: Option<PathBuf>,
    pub(super) json: Option<PathBuf>,
}

impl Arguments {
    pub(super) fn parse(arguments: impl IntoIterator<Item = String>) -> Result<Self, Error> {
        let mut parsed = Self {
            start: Vec::new(),
            targets: Vec::new(),
            cases: super::cases::NAMES.map(str::to_owned).to_vec(),
            rounds: 3,
            seconds: Duration::from_secs(2),
            big: 20_000,
            idle: 1000,
            dir: None,
            json: None,
        };
        let mut arguments = arguments.into_iter();
        while let Some(option) = arguments.next() {
            if option == "--help" {
                return Err(HELP.into());
            }
            let value = arguments
                .next()
                .ok_or_else(|| format!("{option} needs a value\n{HELP}"))?;
            let number = || {
                value
                    .parse::<u32>()
                    .map_err(|error| format!("{option} {value}: {error}"))
            };
            match option.as_str() {
                "--start" => {
                    let (kind, dir) = value
                        .split_once('=')
                        .map_or((value.as_str(), None), |(kind, dir)| (kind, Some(dir)));
                    parsed.start.push((kind.to_owned(), dir.map(PathBuf::from)));
                }
                "--target" => parsed.targets.push(Target::parse(&value)?),
                "--cases" => parsed.cases = value.split(',').map(str::to_owned).collect(),
                "--rounds" => parsed.rounds = number()?.max(1),
                "--seconds" => {
                    parsed.seconds = Duration::from_secs_f64(value.parse::<f64>()?.clamp(0.1, 600.0))
                }
                "--big" => parsed.big = number()?.max(100),
                "--idle" => parsed.idle = number()?.max(1),
                "--dir" => parsed.dir = Some(value.into()),
                "--json" => parsed.json = Some(value.into()),
                _ => return Err(format!("unknown option {option}\n{HELP}").into()),
            }
        }
        Ok(parsed)
    }
}
