//! A small IMAP client that shows exactly what the server said.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::value::{Value, announced_literal, latin1, parse};

/// A connection; every command waits for its tagged response.
pub(crate) struct Imap {
    stream: BufReader<TcpStream>,
    tags: u32,
}

/// One untagged response.
#[derive(Debug, Clone)]
pub(crate) enum Untagged {
    /// `OK`, `NO`, `BAD`, `BYE`, `PREAUTH`: the whole line.
    Status(String),
    /// Anything else.
    Data(Vec<Value>),
}

/// What came back for one command.
#[derive(Debug, Clone)]
pub(crate) struct Reply {
    pub(crate) untagged: Vec<Untagged>,
    /// The tagged response without its tag: `OK [UIDNEXT 4] Completed`.
    pub(crate) status: String,
}

impl Reply {
    pub(crate) fn is_ok(&self) -> bool {
        self.status.starts_with("OK")
    }

    /// The untagged data of one kind, such as `LIST`, without that word.
    pub(crate) fn data<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = &'a [Value]> {
        self.untagged.iter().filter_map(move |response| match response {
            Untagged::Data(values) => match values.split_first() {
                Some((first, rest)) if first.text().eq_ignore_ascii_case(kind) => Some(rest),
                _ => None,
            },
            Untagged::Status(_) => None,
        })
    }

    /// The numbers of one kind of message data, such as `EXPUNGE`, with what follows.
    pub(crate) fn numbered<'a>(&'a self, kind: &'a str) -> impl Iterator<Item = (u64, &'a [Value])> {
        self.untagged.iter().filter_map(move |response| match response {
            Untagged::Data(values) => match values.as_slice() {
                [number, word, rest @ ..] if word.text().eq_ignore_ascii_case(kind) => {
                    Some((number.number()?, rest))
                }
                _ => None,
            },
            Untagged::Status(_) => None,
        })
    }

    /// Every FETCH response that names a UID: the UID and its (item, value) pairs.
    pub(crate) fn fetched(&self) -> impl Iterator<Item = Fetched> {
        self.numbered("FETCH").filter_map(|(_, rest)| {
            let items: Vec<(String, Value)> = (rest.first()?.list().chunks(2))
                .filter_map(|pair| Some((pair.first()?.text(), pair.get(1)?.clone())))
                .collect();
            let uid = items.iter().find(|(item, _)| item == "UID")?.1.number()?;
            Some(Fetched {
                uid: u32::try_from(uid).ok()?,
                items,
            })
        })
    }

    /// The text between brackets that begins with `code`, of the tagged or an untagged status response.
    pub(crate) fn code(&self, code: &str) -> Option<String> {
        let lines = self.untagged.iter().filter_map(|response| match response {
            Untagged::Status(line) => Some(line.as_str()),
            Untagged::Data(_) => None,
        });
        lines.chain([self.status.as_str()]).find_map(|line| {
            let inside = line.split_once('[')?.1.split_once(']')?.0;
            let rest = inside.strip_prefix(code)?;
            rest.is_empty()
                .then(String::new)
                .or_else(|| rest.strip_prefix(' ').map(str::to_owned))
        })
    }
}

/// One message of a FETCH.
#[derive(Debug, Clone)]
pub(crate) struct Fetched {
    pub(crate) uid: u32,
    pub(crate) items: Vec<(String, Value)>,
}

impl Fetched {
    pub(crate) fn item(&self, name: &str) -> Option<&Value> {
        self.items
            .iter()
            .find(|(item, _)| item == name)
            .map(|(_, value)| value)
    }
}

impl Imap {
    /// Connects and reads the greeting.
    pub(crate) fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut imap = Self {
            stream: BufReader::with_capacity(1 << 16, stream),
            tags: 0,
        };
        let greeting = imap.line()?;
        if !greeting.starts_with(b"* OK") {
            return Err(io::Error::other(format!("greeting: {}", latin1(&greeting))));
        }
        Ok(imap)
    }

    /// Connects and logs in; every user of a rig has the password `pass`.
    pub(crate) fn login(port: u16, user: &str) -> io::Result<Self> {
        let mut imap = Self::connect(port)?;
        let reply = imap.command(&format!("LOGIN {user} pass"))?;
        if reply.is_ok() {
            Ok(imap)
        } else {
            Err(io::Error::other(format!("login of {user}: {}", reply.status)))
        }
    }

    /// Sends one command without literals and reads to its tagged response.
    pub(crate) fn command(&mut self, line: &str) -> io::Result<Reply> {
        self.send(&[line.as_bytes()])
    }

    /// The same, for a command that must be answered OK.
    ///
    /// Panics with the dialogue otherwise.
    pub(crate) fn ok(&mut self, line: &str) -> Reply {
        let reply = self
            .command(line)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert!(reply.is_ok(), "C: {line}\nS: {}", reply.status);
        reply
    }

    /// APPEND by a non-synchronizing literal. `options` is empty, or flags and date with a space after them.
    pub(crate) fn append(&mut self, mailbox: &str, options: &str, message: &[u8]) -> io::Result<Reply> {
        let head = format!("APPEND {} {options}{{{}+}}\r\n", quote(mailbox), message.len());
        self.send(&[head.as_bytes(), message])
    }

    /// Sends one command and returns the whole answer as text, literals inline, the tagged response last and without its
    /// tag.
    pub(crate) fn lines(&mut self, line: &str) -> io::Result<Vec<String>> {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        self.stream
            .get_mut()
            .write_all(format!("{tag}{line}\r\n").as_bytes())?;
        let mut lines = Vec::new();
        loop {
            let response = self.response()?;
            match response.strip_prefix(tag.as_bytes()) {
                Some(status) => {
                    lines.push(latin1(status));
                    return Ok(lines);
                }
                None => lines.push(latin1(&response)),
            }
        }
    }

    /// Begins IDLE.
    pub(crate) fn idle(&mut self) -> io::Result<()> {
        self.tags += 1;
        let command = format!("t{} IDLE\r\n", self.tags);
        self.stream.get_mut().write_all(command.as_bytes())?;
        let answer = self.line()?;
        match answer.starts_with(b"+ ") {
            true => Ok(()),
            false => Err(io::Error::other(format!("IDLE: {}", latin1(&answer)))),
        }
    }

    /// The lines that come while idling, up to one that contains `text`; an error if none does within `limit`.
    pub(crate) fn hear(&mut self, text: &str, limit: Duration) -> io::Result<Vec<String>> {
        let deadline = Instant::now() + limit;
        let mut lines: Vec<String> = Vec::new();
        while !lines.last().is_some_and(|line| line.contains(text)) {
            let left = deadline
                .saturating_duration_since(Instant::now())
                .max(Duration::from_millis(1));
            self.stream.get_ref().set_read_timeout(Some(left))?;
            lines.push(latin1(&self.line()?));
        }
        self.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        Ok(lines)
    }

    /// Ends IDLE.
    pub(crate) fn done(&mut self) -> io::Result<Reply> {
        self.stream.get_mut().write_all(b"DONE\r\n")?;
        let tag = format!("t{} ", self.tags);
        self.reply(tag.as_bytes())
    }

    fn send(&mut self, parts: &[&[u8]]) -> io::Result<Reply> {
        self.tags += 1;
        let tag = format!("t{} ", self.tags);
        let mut bytes = tag.clone().into_bytes();
        for part in parts {
            bytes.extend_from_slice(part);
        }
        bytes.extend_from_slice(b"\r\n");
        self.stream.get_mut().write_all(&bytes)?;
        self.reply(tag.as_bytes())
    }

    fn reply(&mut self, tag: &[u8]) -> io::Result<Reply> {
        let mut untagged = Vec::new();
        loop {
            let line = self.response()?;
            if let Some(status) = line.strip_prefix(tag) {
                return Ok(Reply {
                    untagged,
                    status: latin1(status),
                });
            }
            let Some(rest) = line.strip_prefix(b"* ") else {
                return Err(io::Error::other(format!(
                    "neither tagged nor untagged: {}",
                    latin1(&line)
                )));
            };
            let word = rest.split(|&byte| byte == b' ').next().unwrap_or_default();
            untagged.push(match word {
                b"OK" | b"NO" | b"BAD" | b"BYE" | b"PREAUTH" => Untagged::Status(latin1(rest)),
                _ => Untagged::Data(parse(rest).map_err(io::Error::other)?),
            });
        }
    }

    /// One response with its literals inline, without the last CRLF.
    fn response(&mut self) -> io::Result<Vec<u8>> {
        let mut whole = self.line()?;
        let mut line = whole.clone();
        while let Some(length) = announced_literal(&line) {
            let old = whole.len();
            whole.resize(old + length, 0);
            self.stream
                .read_exact(whole.get_mut(old..).expect("just made that long"))?;
            line = self.line()?;
            whole.extend_from_slice(&line);
        }
        whole.truncate(whole.len().saturating_sub(2));
        Ok(whole)
    }

    fn line(&mut self) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        self.stream.read_until(b'\n', &mut line)?;
        if line.ends_with(b"\r\n") {
            Ok(line)
        } else {
            Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("closed after `{}`", latin1(&line)),
            ))
        }
    }
}

/// A quoted string of IMAP.
pub(crate) fn quote(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// How long a server may take for anything.
const PATIENCE: Duration = Duration::from_secs(120);
