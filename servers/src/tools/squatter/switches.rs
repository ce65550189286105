//! The command line of `squatter`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::getopt;

/// What to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    Index,
    Compact,
    List,
    Audit,
    SyncLog(PathBuf),
    Rolling { foreground: bool },
}

/// The command line, understood.
#[derive(Debug)]
pub(super) struct Switches {
    pub(super) config: Option<String>,
    pub(super) mode: Mode,
    pub(super) verbose: u32,
    /// -a
    pub(super) by_annotation: bool,
    /// -r
    pub(super) recursive: bool,
    /// -i
    pub(super) incremental: bool,
    /// -u: the sources are users.
    pub(super) users: bool,
    /// -N
    pub(super) from_name: Option<String>,
    /// -S
    pub(super) pause: Option<Duration>,
    /// -s
    pub(super) skip_unmodified: Option<Duration>,
    /// -B
    pub(super) skip_locked: bool,
    /// -X, or -T
    pub(super) reindex: bool,
    /// -U
    pub(super) only_upgrade: bool,
    /// -n
    pub(super) channel: String,
    /// -t, -T
    pub(super) source_tiers: Vec<String>,
    /// -z
    pub(super) target_tier: Option<String>,
    pub(super) sources: Vec<String>,
}

impl Switches {
    /// Reads a command line; the problem, for the user, is empty where the usage says it all.
    pub(super) fn parse(args: impl IntoIterator<Item = OsString>) -> Result<Self, String> {
        let line = getopt::parse_long(args, KNOWN, NAMES).map_err(|error| error.to_string())?;
        if line.has('h') {
            return Err(String::new());
        }
        let refused = REFUSED.iter().find(|(letter, _)| line.has(*letter));
        if let Some((letter, why)) = refused {
            return Err(format!("-{letter}: {why}"));
        }
        let level = line.argument('L').filter(|level| level.parse::<u8>().is_err());
        if let Some(level) = level {
            return Err(format!("{level}: invalid level argument"));
        }
        let seconds = |letter| match line.argument(letter) {
            None => Ok(None),
            Some(text) => match text
                .parse::<f64>()
                .ok()
                .and_then(|time| Duration::try_from_secs_f64(time).ok())
            {
                Some(time) => Ok(Some(time)),
                None => Err(format!("-{letter}: '{text}' is no number of seconds")),
            },
        };
        let tiers = |letter| -> Vec<String> {
            let text = line.argument(letter).unwrap_or_default();
            text.split(',')
                .filter(|tier| !tier.is_empty())
                .map(str::to_owned)
                .collect()
        };
        let compact = line.has('t') || line.has('z');
        let modes = [
            line.has('R'),
            line.has('f'),
            compact,
            line.has('l'),
            line.has('A'),
        ];
        if modes.iter().filter(|mode| **mode).count() > 1 {
            return Err("only one of -R, -f, -t and -z, -l and -A makes sense".to_owned());
        }
        let mode = match modes {
            [true, ..] => Mode::Rolling {
                foreground: line.has('d'),
            },
            [_, true, ..] => Mode::SyncLog(line.argument('f').unwrap_or_default().into()),
            [_, _, true, ..] if line.has('t') && line.has('z') => Mode::Compact,
            [_, _, true, ..] => return Err("-t and -z belong together".to_owned()),
            [.., true, _] => Mode::List,
            [.., true] => Mode::Audit,
            _ => Mode::Index,
        };
        if line.has('T') && mode != Mode::Compact {
            return Err("-T is for compacting: it needs -t and -z".to_owned());
        }
        let mut source_tiers = tiers('t');
        source_tiers.extend(tiers('T'));
        let sources = line.arguments.clone();
        if line.has('u') && sources.is_empty() {
            return Err("-u needs the names of users".to_owned());
        }
        Ok(Self {
            config: line.argument('C').map(str::to_owned),
            mode,
            verbose: line.switches.iter().filter(|(letter, _)| *letter == 'v').count() as u32,
            by_annotation: line.has('a'),
            recursive: line.has('r'),
            incremental: line.has('i'),
            users: line.has('u'),
            from_name: line.argument('N').map(str::to_owned),
            pause: seconds('S')?.filter(|pause| !pause.is_zero()),
            skip_unmodified: seconds('s')?,
            skip_locked: line.has('B'),
            reindex: line.has('X') || line.has('T'),
            only_upgrade: line.has('U'),
            channel: line.argument('n').unwrap_or("squatter").to_owned(),
            source_tiers,
            target_tier: line.argument('z').map(str::to_owned),
            sources,
        })
    }

    /// Whether all mailboxes of the site are meant.
    pub(super) fn is_everything(&self) -> bool {
        self.sources.is_empty() && self.from_name.is_none() && !self.by_annotation
    }
}

/// As for getopt(3).
const KNOWN: &str = "ABC:DFL:N:PRS:T:UXZade:f:hilmn:oprs:t:uvz:";

const NAMES: &[(&str, char)] = &[
    ("squat-annot", 'a'),
    ("recursive", 'r'),
    ("synclog", 'f'),
    ("rolling", 'R'),
    ("compact", 'z'),
    ("list", 'l'),
    ("audit", 'A'),
    ("incremental", 'i'),
    ("allow-partials", 'p'),
    ("reindex-partials", 'P'),
    ("reindex-minlevel", 'L'),
    ("name", 'N'),
    ("sleep", 'S'),
    ("internalindex", 'Z'),
    ("squat-skip", 's'),
    ("user", 'u'),
    ("channel", 'n'),
    ("nodaemon", 'd'),
    ("srctier", 't'),
    ("filter", 'F'),
    ("reindex-tier", 'T'),
    ("reindex", 'X'),
    ("copydb", 'o'),
    ("only-upgrade", 'U'),
    ("skip-locked", 'B'),
    ("verbose", 'v'),
    ("help", 'h'),
];

/// Switches for what is not there, and why. -F, -p, -P and -Z ask for what is always so.
const REFUSED: &[(char, &str)] = &[
    (
        'o',
        "an index has nothing to copy it to: there is one tier; leave the switch out, and it is compacted in place",
    ),
    ('D', "there is no such mode"),
    ('e', "searching is for IMAP; the index by itself has no answers"),
    ('m', "there is no such mode"),
];

pub(super) const USAGE: &str = "usage: squatter [mode] [options] [source]

Mode flags: 
  none                         index [source] (default)
  -a, --squat-annot            index [source] using /squat annotations
  -r, --recursive              index [source] recursively
  -f, --synclog=FILE           index from synclog file
  -R, --rolling                start rolling indexer
  -z, --compact=TIER           compact the indexes in TIER, with -t TIER
  -l, --list                   list paths
  -A, --audit                  report unindexed messages

Index mode options:
  -i, --incremental            index incrementally
  -p, --allow-partials         (always so)
  -P, --reindex-partials       (always so with -i)
  -L, --reindex-minlevel=LEVEL (attachments have no levels)
  -N, --name=NAME              index mailbox names starting with NAME
  -S, --sleep=SECONDS          sleep SECONDS between indexing mailboxes
  -Z, --internalindex          (always so)
  -s, --squat-skip=DELTA       skip unmodified mailboxes

Index sources:
  none                         all mailboxes (default)
  mailbox...                   index mailboxes
  -u, --user=USER...           index mailboxes of USER

Rolling indexer options:
  -n, --channel=CHANNEL        listen to CHANNEL
  -d, --nodaemon               don't background process

Compact mode options:
  -t, --srctier=TIER           compact from TIER
  -F, --filter                 (always so)
  -T, --reindex-tier=TIER      reindex TIER
  -X, --reindex                reindex during compaction
  -U, --only-upgrade           only compact if re-indexing
  -B, --skip-locked            skip users that are locked by another process

General options:
  -v, --verbose                be verbose
  -h, --help                   show usage
";

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str]) -> Result<Switches, String> {
        Switches::parse(args.iter().map(OsString::from))
    }

    #[test]
    fn modes_exclude_each_other() {
        assert_eq!(parsed(&["-i", "user/x"]).unwrap().mode, Mode::Index);
        assert_eq!(parsed(&["-R"]).unwrap().mode, Mode::Rolling { foreground: false });
        assert_eq!(
            parsed(&["--rolling", "-d"]).unwrap().mode,
            Mode::Rolling { foreground: true }
        );
        assert_eq!(parsed(&["-t", "a", "-z", "a"]).unwrap().mode, Mode::Compact);
        assert_eq!(parsed(&["-l"]).unwrap().mode, Mode::List);
        assert_eq!(parsed(&["--audit"]).unwrap().mode, Mode::Audit);
        for bad in [
            &["-R", "-l"][..],
            &["-t", "a"],
            &["-T", "a"],
            &["-u"],
            &["-S", "x"],
            &["-s", "-1"],
        ] {
            assert!(parsed(bad).is_err_and(|why| !why.is_empty()), "{bad:?}");
        }
        assert_eq!(parsed(&["-h"]).unwrap_err(), "");
        assert_eq!(parsed(&["-L", "x"]).unwrap_err(), "x: invalid level argument");
    }

    #[test]
    fn each_switch_of_cyrus_is_known_by_both_names() {
        for (name, letter) in NAMES {
            assert!(KNOWN.contains(*letter), "{name}");
            assert!(
                USAGE.contains(&format!("-{letter}, --{name}"))
                    || REFUSED.iter().any(|(refused, _)| refused == letter),
                "{name}"
            );
        }
        assert!(parsed(&["-o"]).unwrap_err().starts_with("-o: "));
    }
}
