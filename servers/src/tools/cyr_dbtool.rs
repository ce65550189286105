//! `cyr_dbtool`: shows and changes single entries of a database.

mod batch;

use std::ffi::OsString;
use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::path::Path;

use cyrus_store::db::{self, Create, Db, DbContext, DbError, Engine, Recovered, Salvage};

use super::databases::{ABSOLUTE_PLEASE, BACKENDS, context};
use super::{OS_ERROR, SOFTWARE, TEMPORARY, USAGE, enter, fatal};
use crate::config::ConfigError;
use crate::getopt::{self, BadSwitch};
use crate::syslog::{Level, log};

/// Runs with the arguments `args` (without the program's name), reading keys from `input` where none are given.
pub fn run(args: impl IntoIterator<Item = OsString>, input: &mut dyn Read, out: &mut dyn Write) -> u8 {
    let line = match getopt::parse(args, "C:Mnotc T") {
        Ok(line) => line,
        Err(bad) => {
            eprintln!("cyr_dbtool: {bad}");
            if bad == BadSwitch::NotUtf8 {
                eprintln!("cyr_dbtool: pass such keys on stdin");
            }
            return usage(out);
        }
    };
    let (path, engine, action, rest) = match line.arguments.as_slice() {
        [path, engine, action, rest @ ..] => (path, engine, action, rest),
        _ => return usage(out),
    };
    if !path.starts_with('/') {
        let _ = writeln!(out, "{ABSOLUTE_PLEASE}");
        return OS_ERROR;
    }
    let config = match enter(line.argument('C'), "cyr_dbtool") {
        Ok(config) => config,
        Err(code) => return code,
    };
    let engine: Engine = match engine.parse() {
        Ok(engine) => engine,
        Err(unknown) => return fatal(&unknown, ConfigError::EXIT_CODE),
    };
    let context = context(&config);
    let path = Path::new(path);
    let create = if line.has('n') { Create::Yes } else { Create::No };
    // A damaged file cannot be opened, but can be looked at.
    if matches!(action.as_str(), "consistent" | "consistency")
        && let Ok(report) = db::check(&context, path, engine)
        && !report.is_consistent()
    {
        let _ = writeln!(out, "No, not consistent");
        for problem in &report.problems {
            let _ = writeln!(out, "{} at octet {}", problem.what, problem.at);
        }
        let opens = db::open(&context, path, engine, Create::No).and_then(|mut file| file.get(b"$"));
        return if opens.is_ok() { INCONSISTENT } else { TEMPORARY };
    }
    // It can be mended, and taken apart for what is left.
    if matches!(action.as_str(), "recover" | "repair" | "salvage") {
        return mend(&context, path, engine, action, out);
    }
    // So can its structure.
    if action == "dump" {
        let shown = db::dump(&context, path, engine, &mut |line| match out
            .write_all(line)
            .and_then(|()| out.write_all(b"\n"))
        {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        });
        return match shown {
            Ok(()) => 0,
            Err(error) => fatal(&format_args!("can't open database: {error}"), TEMPORARY),
        };
    }
    let mut database = match db::open(&context, path, engine, create) {
        Ok(database) => database,
        Err(error) => {
            log(Level::Error, &format!("can't open database: {error}"));
            return fatal(&format_args!("can't open database: {error}"), TEMPORARY);
        }
    };
    match perform(database.as_mut(), action, rest, input, out) {
        Ok(code) => code,
        Err(error) => {
            log(Level::Error, &error.to_string());
            fatal(&error, TEMPORARY)
        }
    }
}

/// Mends a file without guessing, or with `salvage` keeps what can be read of it.
fn mend(context: &DbContext, path: &Path, engine: Engine, action: &str, out: &mut dyn Write) -> u8 {
    let done = match action {
        "salvage" => db::salvage(context, path, engine),
        _ => db::recover(context, path, engine).map(Salvage::Recovered),
    };
    let (told, code) = match done {
        Ok(Salvage::Recovered(Recovered::Clean { records })) => {
            (format!("nothing is wrong with it, {records} records"), 0)
        }
        Ok(Salvage::Recovered(Recovered::Mended { records })) => (format!("mended, {records} records"), 0),
        Ok(Salvage::Recovered(Recovered::Rebuilt { records })) => {
            (format!("rebuilt from its transactions, {records} records"), 0)
        }
        Ok(Salvage::Salvaged {
            records,
            damaged,
            aside,
        }) => (
            format!(
                "{records} records salvaged, {damaged} places could not be read; the damaged file is {}",
                aside.display()
            ),
            INCONSISTENT,
        ),
        Err(error) => {
            log(Level::Error, &error.to_string());
            return fatal(
                &format_args!(
                    "{error}; `cyr_dbtool {} {engine} salvage` keeps what can be read",
                    path.display()
                ),
                TEMPORARY,
            );
        }
    };
    let _ = writeln!(out, "{}: {told}", path.display());
    code
}

fn perform(
    database: &mut dyn Db,
    action: &str,
    rest: &[String],
    input: &mut dyn Read,
    out: &mut dyn Write,
) -> Result<u8, DbError> {
    let key = rest.first().map(String::as_bytes);
    match (action, key, rest.get(1)) {
        ("show", prefix, _) => show(database, prefix.unwrap_or_default(), out)?,
        ("get", Some(key), _) => get(database, key, out)?,
        ("get", None, _) => for_each_line(input, |key, _| get(database, key, out))?,
        ("set", Some(key), Some(value)) => database.put(key, value.as_bytes())?,
        ("set", Some(_), None) => {
            eprintln!("cyr_dbtool: set needs a value behind the key, or both on stdin");
            return Ok(usage(out));
        }
        ("set", None, _) => {
            let mut transaction = database.begin()?;
            for_each_line(input, |key, value| transaction.put(key, value))?;
            transaction.commit()?;
        }
        ("delete", Some(key), _) => {
            database.remove(key)?;
        }
        ("delete", None, _) => {
            let mut transaction = database.begin()?;
            for_each_line(input, |key, _| transaction.remove(key).map(drop))?;
            transaction.commit()?;
        }
        ("consistent", ..) => {
            let _ = writeln!(out, "Yes, consistent");
        }
        ("consistency", ..) => {}
        ("repack", ..) => database.checkpoint()?,
        ("damage", ..) => {
            let mut transaction = database.begin()?;
            transaction.put(b"INVALID", b"CRASHME")?;
            transaction.break_off()?;
            eprintln!("fatal error: stopped inside a commit, as was asked");
            return Ok(SOFTWARE);
        }
        ("batch", ..) => return batch::run(database, input, out),
        (unknown, ..) => {
            let _ = writeln!(out, "Unknown action {unknown}");
        }
    }
    Ok(0)
}

fn show(database: &mut dyn Db, prefix: &[u8], out: &mut dyn Write) -> Result<(), DbError> {
    database.scan(prefix, &mut |key, value| {
        let line = [key, b"\t", value, b"\n"].concat();
        match out.write_all(&line) {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    })
}

/// Prints the value; of a missing key, an empty line.
fn get(database: &mut dyn Db, key: &[u8], out: &mut dyn Write) -> Result<(), DbError> {
    let value = database.get(key)?.unwrap_or_default();
    let _ = out.write_all(&[&value[..], b"\n"].concat());
    Ok(())
}

/// Calls `each` with the key and the value of each line (`key TAB value`), up to the first without a key.
fn for_each_line(
    input: &mut dyn Read,
    mut each: impl FnMut(&[u8], &[u8]) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let mut input = BufReader::new(input);
    let mut line = Vec::new();
    loop {
        line.clear();
        match (&mut input).take(LONGEST_LINE).read_until(b'\n', &mut line) {
            Ok(0) | Err(_) => return Ok(()),
            Ok(_) => {}
        }
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let mut parts = text.splitn(2, |byte| *byte == b'\t');
        let key = parts.next().unwrap_or_default();
        if key.is_empty() {
            return Ok(());
        }
        each(key, parts.next().unwrap_or_default())?;
    }
}

fn usage(out: &mut dyn Write) -> u8 {
    let _ = writeln!(out, "{TEXT}\n\nFormats: {BACKENDS}");
    USAGE
}

const TEXT: &str = "\
usage: cyr_dbtool [-C imapd.conf] [-n] <db file> <format> <action> [<key>] [<value>]

  show [<prefix>]     all entries, or those whose key begins so
  get <key>           the value of a key
  set <key> <value>   makes or replaces an entry
  delete <key>        removes an entry
  dump                how the file is built: its records and what they point to
  consistent          whether the file is without damage
  recover             undoes what was left unfinished, and rebuilds the file if every transaction can be read
  salvage             the same, and where that cannot be done, keeps what can be read; the damaged file stays beside it
  repack              writes the file anew without what is no longer needed
  damage              begins a commit and stops in it, to try recovery
  batch               commands from stdin: SHOW, GET, SET, DELETE, BEGIN, COMMIT, ABORT

Without key or value, get, set and delete read lines of key TAB value from stdin.
-n makes the file if it is missing; -M, -T, -c, -o and -t are accepted and change nothing.";
const INCONSISTENT: u8 = 1;
const LONGEST_LINE: u64 = 64 << 20;
