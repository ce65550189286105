//! The commands of `cyr_dbtool ... batch`.
//!
//! One command a line: `SHOW [prefix]`, `GET key`, `SET key [value]`, `DELETE key`, `BEGIN`, `COMMIT`, `ABORT`. Keys and
//! values are IMAP strings: atoms, quoted strings, or literals.

use std::io::{BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;

use cyrus_store::db::{Db, DbError, Txn};

/// Runs the commands up to the first that is wrong; a transaction that is open at the end is given up.
pub(super) fn run(database: &mut dyn Db, input: &mut dyn Read, out: &mut dyn Write) -> Result<u8, DbError> {
    let mut commands = Commands {
        input: BufReader::new(input),
        line: 0,
    };
    while let Some(command) = commands.next_or_complain() {
        let done = match command.name.as_str() {
            "BEGIN" if command.arguments.is_empty() => {
                let mut transaction = database.begin()?;
                match within(transaction.as_mut(), &mut commands, out)? {
                    End::Commit => transaction.commit()?,
                    End::Abort => drop(transaction),
                    End::Input => return Ok(0),
                }
                Ok(())
            }
            "COMMIT" | "ABORT" => Err("no transaction is open"),
            _ => perform(&mut Target::Database(database), &command, out)?,
        };
        if let Err(why) = done {
            commands.complain(&command.name, why);
            break;
        }
    }
    Ok(0)
}

/// How a transaction ends.
enum End {
    Commit,
    Abort,
    /// With the input, or with a command that was wrong.
    Input,
}

/// Runs the commands inside of a transaction.
fn within(
    transaction: &mut dyn Txn,
    commands: &mut Commands<'_>,
    out: &mut dyn Write,
) -> Result<End, DbError> {
    while let Some(command) = commands.next_or_complain() {
        let done = match command.name.as_str() {
            "COMMIT" if command.arguments.is_empty() => return Ok(End::Commit),
            "ABORT" if command.arguments.is_empty() => return Ok(End::Abort),
            "BEGIN" => Err("a transaction is open"),
            _ => perform(&mut Target::Transaction(transaction), &command, out)?,
        };
        if let Err(why) = done {
            commands.complain(&command.name, why);
            break;
        }
    }
    Ok(End::Input)
}

/// What a command works on.
enum Target<'a> {
    Database(&'a mut dyn Db),
    Transaction(&'a mut dyn Txn),
}

/// Runs one command; the inner error says what is wrong with it.
fn perform(
    target: &mut Target<'_>,
    command: &Command,
    out: &mut dyn Write,
) -> Result<Result<(), &'static str>, DbError> {
    match (command.name.as_str(), command.arguments.as_slice()) {
        ("SHOW", [] | [_]) => {
            let prefix = command.arguments.first().map_or(&b""[..], Vec::as_slice);
            match target {
                Target::Database(database) => database.scan(prefix, &mut print_to(out))?,
                Target::Transaction(transaction) => transaction.scan(prefix, &mut print_to(out))?,
            }
        }
        ("GET", [key]) => {
            let value = match target {
                Target::Database(database) => database.get(key)?,
                Target::Transaction(transaction) => transaction.get(key)?,
            };
            if let Some(value) = value {
                print(key, &value, out);
            }
        }
        ("SET", [key, value @ ..]) if value.len() <= 1 => {
            let value = value.first().map_or(&b""[..], Vec::as_slice);
            match target {
                Target::Database(database) => database.put(key, value)?,
                Target::Transaction(transaction) => transaction.put(key, value)?,
            }
        }
        ("DELETE", [key]) => {
            match target {
                Target::Database(database) => database.remove(key)?,
                Target::Transaction(transaction) => transaction.remove(key)?,
            };
        }
        (name, _) => return Ok(Err(why_not(name))),
    }
    Ok(Ok(()))
}

fn why_not(name: &str) -> &'static str {
    match name {
        "SHOW" | "GET" | "SET" | "DELETE" | "BEGIN" | "COMMIT" | "ABORT" => "Syntax error in parameters",
        _ => "no such command",
    }
}

fn print_to(out: &mut dyn Write) -> impl FnMut(&[u8], &[u8]) -> ControlFlow<()> {
    |key, value| {
        print(key, value, out);
        ControlFlow::Continue(())
    }
}

fn print(key: &[u8], value: &[u8], out: &mut dyn Write) {
    let line = [&astring(key)[..], b" ", &astring(value), b"\n"].concat();
    let _ = out.write_all(&line);
}

/// A string as IMAP writes it: an atom if it can be one, else quoted, else a literal.
fn astring(text: &[u8]) -> Vec<u8> {
    let is_atom = |byte: &u8| byte.is_ascii_graphic() && !b"(){%*\"\\".contains(byte);
    if !text.is_empty() && text.iter().all(is_atom) && !text.eq_ignore_ascii_case(b"NIL") {
        return text.to_vec();
    }
    let is_quotable = |byte: &u8| byte.is_ascii() && !b"\0\r\n\"\\%".contains(byte);
    if text.len() < LONGEST_QUOTED && text.iter().all(is_quotable) {
        return [b"\"", text, b"\""].concat();
    }
    [format!("{{{}}}\r\n", text.len()).as_bytes(), text].concat()
}

struct Command {
    name: String,
    arguments: Vec<Vec<u8>>,
}

struct Wrong {
    name: String,
    why: &'static str,
}

/// The commands of the input.
struct Commands<'input> {
    input: BufReader<&'input mut dyn Read>,
    line: u32,
}

impl Commands<'_> {
    fn complain(&self, name: &str, why: &str) {
        eprintln!("FAILED: line {} at cmd {name} with error {why}", self.line);
    }

    /// The next command; `None` at the end, and after a complaint about one that cannot be read.
    fn next_or_complain(&mut self) -> Option<Command> {
        match self.next() {
            Ok(command) => command,
            Err(Wrong { name, why }) => {
                self.complain(&name, why);
                None
            }
        }
    }

    /// The next command; `None` at the end.
    fn next(&mut self) -> Result<Option<Command>, Wrong> {
        loop {
            let Some(line) = self.read_line() else {
                return Ok(None);
            };
            self.line += 1;
            let mut rest = line.as_slice();
            let name: Vec<u8> = rest.iter().copied().take_while(|byte| *byte != b' ').collect();
            rest = rest.get(name.len()..).unwrap_or_default();
            let name = String::from_utf8_lossy(&name).into_owned();
            if name.is_empty() {
                continue;
            }
            let mut arguments = Vec::new();
            let mut text = rest.to_vec();
            while let Some(after) = text.strip_prefix(b" ") {
                let (argument, behind) = self.string(after.to_vec()).ok_or_else(|| Wrong {
                    name: name.clone(),
                    why: "Syntax error in parameters",
                })?;
                arguments.push(argument);
                text = behind;
            }
            if !text.is_empty() {
                return Err(Wrong {
                    name,
                    why: "Syntax error in parameters",
                });
            }
            return Ok(Some(Command { name, arguments }));
        }
    }

    /// One string at the start of `text`, and what follows it; a literal goes on in the next lines.
    fn string(&mut self, text: Vec<u8>) -> Option<(Vec<u8>, Vec<u8>)> {
        if let Some(quoted) = text.strip_prefix(b"\"") {
            let mut string = Vec::new();
            let mut bytes = quoted.iter().enumerate();
            while let Some((at, byte)) = bytes.next() {
                match byte {
                    b'"' => return Some((string, quoted.get(at + 1..)?.to_vec())),
                    b'\\' => string.push(*bytes.next()?.1),
                    byte => string.push(*byte),
                }
            }
            return None;
        }
        if let Some(literal) = text.strip_prefix(b"{") {
            let size = literal
                .strip_suffix(b"+}")
                .or_else(|| literal.strip_suffix(b"}"))?;
            let size: u64 = std::str::from_utf8(size)
                .ok()?
                .parse()
                .ok()
                .filter(|size| *size <= LONGEST_LITERAL)?;
            let mut string = Vec::new();
            (&mut self.input).take(size).read_to_end(&mut string).ok()?;
            if string.len() as u64 != size {
                return None;
            }
            return Some((string, self.read_line().unwrap_or_default()));
        }
        let length = text
            .iter()
            .take_while(|byte| byte.is_ascii_graphic() && !b"(){\"".contains(byte))
            .count();
        let (atom, behind) = text
            .split_at_checked(length)
            .filter(|(atom, _)| !atom.is_empty())?;
        Some((atom.to_vec(), behind.to_vec()))
    }

    fn read_line(&mut self) -> Option<Vec<u8>> {
        let mut line = Vec::new();
        let count = (&mut self.input)
            .take(LONGEST_LITERAL)
            .read_until(b'\n', &mut line)
            .ok()?;
        if count == 0 {
            return None;
        }
        let line = line.strip_suffix(b"\n").unwrap_or(&line);
        Some(line.strip_suffix(b"\r").unwrap_or(line).to_vec())
    }
}

const LONGEST_QUOTED: usize = 1024;
const LONGEST_LITERAL: u64 = 64 << 20;
