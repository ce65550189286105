//! `ctl_conversationsdb`: shows, restores, counts, builds and checks the conversations of users.

use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;

use cyrus_store::{ConversationDifference, MailboxError, Splitting, Store};

use super::{BAD_USAGE, TEMPORARY, enter, fatal, open_store};
use crate::getopt::{self, CommandLine};
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name), reading what is to be restored from `input`.
pub fn run(args: impl IntoIterator<Item = OsString>, input: &mut dyn Read, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "AC:FRST:bdruvz") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("ctl_conversationsdb: {bad}");
            return usage();
        }
    };
    let modes: Vec<char> = line
        .switches
        .iter()
        .map(|(letter, _)| *letter)
        .filter(|letter| "AFRbduz".contains(*letter))
        .collect();
    let ([mode], 0..=1) = (modes.as_slice(), line.arguments.len()) else {
        return usage();
    };
    let userid = line.arguments.first();
    if userid.is_none() && !line.has('r') {
        return usage();
    }
    let config = match enter(line.argument('C'), "ctl_conversationsdb") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let store = match open_store(&config, |_| {}) {
        Ok(store) => store,
        Err(code) => return code,
    };
    if !store.options().conversations {
        return fatal(
            &"there are no conversations: imapd.conf does not say `conversations: yes`",
            NO_INPUT,
        );
    }
    // With -r the main operation is for all users, whatever name is given, as in Cyrus.
    let users = match (line.has('r'), userid) {
        (false, Some(userid)) => vec![userid.clone()],
        _ => match store.users() {
            Ok(users) => users,
            Err(error) => return fatal(&error, TEMPORARY),
        },
    };
    let mut code = 0;
    for userid in users {
        match one(*mode, &store, &line, &userid, input, out) {
            Ok(0) => {}
            Ok(bad) => code = bad,
            Err(error) => {
                log(Level::Error, &format!("{userid}: {error}"));
                eprintln!("{userid}: {error}");
                code = NO_INPUT;
            }
        }
    }
    if let Err(error) = out.flush() {
        return fatal(&error, TEMPORARY);
    }
    code
}

/// What became impossible: the store's work, or writing what was found.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error(transparent)]
    Store(#[from] MailboxError),
    #[error("standard input or output: {0}")]
    Io(#[from] io::Error),
    #[error("line {0} of the dump has no TAB between key and value")]
    Dump(usize),
}

fn one(
    mode: char,
    store: &Store,
    line: &CommandLine,
    userid: &str,
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let verbose = line.has('v');
    match mode {
        'd' => dump(store, userid, out),
        'u' => undump(store, userid, input),
        'z' => Ok(store.clear_conversations(userid).map(|()| 0)?),
        'b' => {
            let splitting = match line.has('S') {
                true => Splitting::Allowed,
                false => Splitting::Forbidden,
            };
            Ok(store.build_conversations(userid, splitting).map(|()| 0)?)
        }
        'R' => {
            let mut said = Ok(());
            store.recount_conversations(userid, &mut |mailbox| {
                if verbose && said.is_ok() {
                    said = writeln!(out, "{mailbox}");
                }
            })?;
            said?;
            Ok(0)
        }
        'A' => audit(store, userid, line.argument('T').map(Path::new), verbose, out),
        _ => {
            let unique = store.conversation_folders_are_unique(userid)?;
            writeln!(out, "{} {userid}", if unique { "OK" } else { "DUPLICATE" })?;
            Ok(0)
        }
    }
}

/// Prints all rows, key TAB value, as they are.
fn dump(store: &Store, userid: &str, out: &mut dyn Write) -> Result<u8, Failure> {
    let mut written = Ok(());
    let found = store.dump_conversations(userid, &mut |key, value| {
        if written.is_ok() {
            let line = [key, b"\t", value, b"\n"].concat();
            written = out.write_all(&line);
        }
    })?;
    written?;
    if !found {
        eprintln!("{userid} has no conversations database");
        return Ok(NO_INPUT);
    }
    Ok(0)
}

/// Replaces all rows by those of a dump.
fn undump(store: &Store, userid: &str, input: &mut dyn Read) -> Result<u8, Failure> {
    let mut text = Vec::new();
    input.read_to_end(&mut text)?;
    let rows = parse_dump(&text)?;
    if !store.restore_conversations(userid, rows)? {
        eprintln!("{userid} has no INBOX");
        return Ok(NO_INPUT);
    }
    Ok(0)
}

/// A key and its value.
type Row = (Vec<u8>, Vec<u8>);

/// The rows of a dump. Values are not quoted: those with line ends in them, which rows of messages may have, are known by
/// their length. (Cyrus cuts them at their first NUL; after restoring such a dump, `-R` makes them anew.)
fn parse_dump(text: &[u8]) -> Result<Vec<Row>, Failure> {
    let mut rows = Vec::new();
    let mut rest = text;
    while !rest.is_empty() {
        let tab = memchr(b'\t', rest).ok_or(Failure::Dump(rows.len() + 1))?;
        let (key, after) = rest.split_at(tab);
        let after = after.get(1..).unwrap_or_default();
        let is_binary = key.first() == Some(&b'G') && after.first().is_some_and(|byte| byte & 0x80 != 0);
        let is_whole = matches!(after.get(GUID_ROW), None | Some(b'\n')) && after.len() >= GUID_ROW;
        let length = match is_binary {
            true if is_whole => GUID_ROW,
            true => memchr(b'\n', after).unwrap_or(after.len()),
            false => end_of_value(after),
        };
        let (value, after) = after.split_at(length);
        rows.push((key.to_vec(), value.to_vec()));
        rest = after.strip_prefix(b"\n").unwrap_or(after);
    }
    Ok(rows)
}

/// Where a value of text ends: at the line end before what looks like another key, or at the end. Literals in it have line
/// ends, too.
fn end_of_value(text: &[u8]) -> usize {
    let mut from = 0;
    while let Some(end) = memchr(b'\n', text.get(from..).unwrap_or_default()) {
        let end = from + end;
        let before = text.get(..end).unwrap_or_default();
        if !before.ends_with(b"+}\r") {
            return end;
        }
        let open = before.iter().rposition(|&byte| byte == b'{').unwrap_or(end);
        let digits = before.get(open + 1..end.saturating_sub(3)).unwrap_or_default();
        let size = std::str::from_utf8(digits)
            .ok()
            .and_then(|digits| digits.parse().ok());
        from = (end + 1).saturating_add(size.unwrap_or(0_usize)).min(text.len());
    }
    text.len()
}

fn memchr(byte: u8, text: &[u8]) -> Option<usize> {
    text.iter().position(|&found| found == byte)
}

/// Counts a user's messages in a copy, and says whether the database agrees.
fn audit(
    store: &Store,
    userid: &str,
    folder: Option<&Path>,
    verbose: bool,
    out: &mut dyn Write,
) -> Result<u8, Failure> {
    let mut said = Ok(());
    if verbose {
        writeln!(out, "User {userid}")?;
        writeln!(out, "Pass 1: recalculate counts into temporary db")?;
    }
    let differences = store.audit_conversations(userid, folder, &mut |mailbox| {
        if verbose && said.is_ok() {
            said = writeln!(out, "{mailbox}");
        }
    })?;
    said?;
    if verbose {
        writeln!(out, "Pass 2: find differences from recalculated to live dbs")?;
        for difference in &differences {
            show(difference, out)?;
        }
    }
    if differences.is_empty() {
        if verbose {
            writeln!(out, "{userid} is OK")?;
        }
    } else {
        writeln!(out, "{userid} is BROKEN ({} differences)", differences.len())?;
    }
    Ok(0)
}

fn show(difference: &ConversationDifference, out: &mut dyn Write) -> io::Result<()> {
    let mut line = |word: &str, value: &[u8]| {
        write!(out, "{word}: \"")?;
        out.write_all(&difference.key)?;
        out.write_all(b"\" data \"")?;
        out.write_all(value)?;
        out.write_all(b"\"\n")
    };
    match (&difference.live, &difference.counted) {
        (Some(live), Some(counted)) => {
            line("REAL", live)?;
            line("TEMP", counted)
        }
        (Some(live), None) => line("REALONLY", live),
        (None, Some(counted)) => line("TEMPONLY", counted),
        (None, None) => Ok(()),
    }
}

fn usage() -> u8 {
    eprintln!("{TEXT}");
    BAD_USAGE
}

const TEXT: &str = "\
usage: ctl_conversationsdb [options] [-u|-d|-z|-b|-R|-A|-F] [-r] username

options are:
    -v             be more verbose
    -C altconfig   use altconfig instead of imapd.conf
    -u             undump the conversations database from stdin
    -d             dump the conversations database to stdout
    -z             zero the conversations DB (make all NULLs)
    -b             build conversations entries for any NULL records
    -R             recalculate all counts
    -A             audit conversations DB counts
    -F             check folder names
    -S             with -b, split conversations that are too long
    -T dir         store temporary data for audit in dir

    -r             recursive mode: all users
";
/// A database is not there or cannot be used (`EX_NOINPUT`).
const NO_INPUT: u8 = 66;
/// Octets of the value of a row of a message or part.
const GUID_ROW: usize = 25;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dump_reads_back_with_line_ends_in_its_values() {
        let mut guid = vec![0x82];
        guid.extend([b'\n'; 24]);
        let rows = vec![
            (b"$COUNTED_FLAGS".to_vec(), b"\\Draft".to_vec()),
            (b"<1@x>".to_vec(), b"0 4129db455222eb10 1".to_vec()),
            (
                b"B4129db455222eb10".to_vec(),
                b"1 (1 1 1 1 () ((0 1 1 1 1)) () {5+}\r\nCaf\n\xa9 5 () 1)".to_vec(),
            ),
            (b"G00:0:1".to_vec(), guid),
            (b"Q".to_vec(), b"1 %(E 1 S 5)".to_vec()),
        ];
        let text: Vec<u8> = rows
            .iter()
            .flat_map(|(key, value)| [key.as_slice(), b"\t", value, b"\n"].concat())
            .collect();
        assert_eq!(parse_dump(&text).unwrap(), rows);
        assert!(parse_dump(b"no tab here\n").is_err());
        let cut = parse_dump(b"G00:0:1\t\x82\x10\nQ\t1 %(E 1 S 5)\n").unwrap();
        assert_eq!(cut[0].1, b"\x82\x10");
        assert_eq!(cut[1].0, b"Q");
    }
}
