//! One client's connection to one server.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::mask::mask;
use super::script::{Act, Way, octets};
use crate::rig::server::Server;
use crate::rig::value::{announced_literal, latin1};

/// Lines of real Cyrus for capabilities that this project does not have yet.
const NOT_YET: &[&str] = &["* OK [URLMECH "];

/// A connection.
pub(super) enum Talk {
    Imap(ImapTalk),
    Lmtp(LmtpTalk),
}

impl Talk {
    pub(super) fn connect(server: &Server, way: Way) -> io::Result<Self> {
        let port = match way {
            Way::Imap => server.imap_port,
            Way::LmtpPort => server.lmtp_port,
            Way::LmtpSocket => {
                let stream = UnixStream::connect(&server.lmtp_socket)?;
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                return Ok(Self::Lmtp(LmtpTalk::new(Box::new(stream))));
            }
        };
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        if way == Way::LmtpPort {
            return Ok(Self::Lmtp(LmtpTalk::new(Box::new(stream))));
        }
        let mut talk = ImapTalk {
            stream: BufReader::new(stream),
            open: None,
            tagged: false,
        };
        talk.response()?;
        Ok(Self::Imap(talk))
    }

    /// Does what a script says; the masked lines of the answer.
    pub(super) fn act(&mut self, act: &Act) -> io::Result<Vec<String>> {
        match (self, act) {
            (Self::Imap(talk), Act::Say(pieces)) => talk.say(pieces),
            (Self::Imap(talk), Act::Wait(text)) => talk.wait(text),
            (Self::Lmtp(talk), Act::Say(pieces)) => talk.say(pieces),
            (Self::Lmtp(_), Act::Wait(_)) => Err(io::Error::other("nothing comes unasked in LMTP")),
        }
    }
}

pub(super) struct ImapTalk {
    stream: BufReader<TcpStream>,
    /// The tag of a command that waits for more from the client.
    open: Option<String>,
    /// What was sent has a tag and a command.
    tagged: bool,
}

impl ImapTalk {
    /// Sends a command; the masked lines of the answer.
    fn say(&mut self, pieces: &[(String, Option<String>)]) -> io::Result<Vec<String>> {
        let tag = match self.open.take() {
            Some(tag) => tag,
            None => pieces
                .first()
                .and_then(|(text, _)| text.split(' ').next())
                .unwrap_or("*")
                .to_owned(),
        };
        self.tagged = (pieces.first()).is_some_and(|(text, _)| text.contains(' ') || text.contains("DONE"));
        let mut answer = Vec::new();
        for (text, literal) in pieces {
            let Some(literal) = literal else {
                self.stream.get_mut().write_all(&octets(&format!("{text}\r\n")))?;
                return self.answer(tag, answer);
            };
            let literal = octets(literal);
            let head = text.replace("{*", &format!("{{{}", literal.len()));
            self.stream.get_mut().write_all(&octets(&format!("{head}\r\n")))?;
            if !head.ends_with("+}") {
                answer = self.answer(tag.clone(), answer)?;
                if self.open.take().is_none() {
                    return Ok(answer);
                }
            }
            self.stream.get_mut().write_all(&literal)?;
        }
        self.stream.get_mut().write_all(b"\r\n")?;
        self.answer(tag, answer)
    }

    /// Reads to a tagged answer, a continuation request or the end of the connection.
    fn answer(&mut self, tag: String, mut answer: Vec<String>) -> io::Result<Vec<String>> {
        loop {
            let line = match self.response() {
                Ok(Some(line)) => line,
                Ok(None) => {
                    answer.push("(closed)".to_owned());
                    return Ok(answer);
                }
                Err(error) => {
                    answer.push(format!("({})", error.kind()));
                    return Ok(answer);
                }
            };
            let ends = line
                .strip_prefix(tag.as_str())
                .is_some_and(|rest| rest.starts_with(' '))
                || line.starts_with("* BAD ")
                    && !(self.tagged && !tag.is_empty() && tag.chars().all(|c| c.is_ascii_alphanumeric()));
            let continues = line.starts_with('+');
            if !NOT_YET.iter().any(|code| line.starts_with(code)) {
                answer.push(mask(&line));
            }
            if continues {
                self.open = Some(tag);
                return Ok(answer);
            }
            if ends {
                return Ok(answer);
            }
        }
    }

    fn wait(&mut self, text: &str) -> io::Result<Vec<String>> {
        let mut answer = Vec::new();
        loop {
            let Some(line) = self.response()? else {
                answer.push("(closed)".to_owned());
                return Ok(answer);
            };
            let found = line.contains(text);
            answer.push(mask(&line));
            if found {
                return Ok(answer);
            }
        }
    }

    /// One response, its literals inline; `None` at the end of the connection.
    fn response(&mut self) -> io::Result<Option<String>> {
        let mut whole = Vec::new();
        loop {
            let start = whole.len();
            self.stream.read_until(b'\n', &mut whole)?;
            let line = whole.get(start..).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Ok(None);
            }
            let Some(length) = announced_literal(line) else {
                break;
            };
            let old = whole.len();
            whole.resize(old + length, 0);
            self.stream
                .read_exact(whole.get_mut(old..).expect("just made that long"))?;
        }
        whole.truncate(whole.len().saturating_sub(2));
        Ok(Some(latin1(&whole)))
    }
}

trait Stream: Read + Write + Send {}

impl<S: Read + Write + Send> Stream for S {}

pub(super) struct LmtpTalk {
    stream: BufReader<Box<dyn Stream>>,
    greeted: bool,
    /// Recipients who were accepted since MAIL.
    accepted: usize,
}

impl LmtpTalk {
    fn new(stream: Box<dyn Stream>) -> Self {
        Self {
            stream: BufReader::new(stream),
            greeted: false,
            accepted: 0,
        }
    }

    /// Sends a command, and a message if one follows and is wanted; the masked lines of all replies, after the greeting if
    /// it is the first.
    fn say(&mut self, pieces: &[(String, Option<String>)]) -> io::Result<Vec<String>> {
        let mut answer = Vec::new();
        if !self.greeted {
            self.reply(&mut answer)?;
            self.greeted = true;
        }
        let Some((text, message)) = pieces.first() else {
            return Ok(answer);
        };
        self.stream.get_mut().write_all(&octets(&format!("{text}\r\n")))?;
        let code = self.reply(&mut answer)?;
        let verb = text.get(..4).unwrap_or_default().to_ascii_uppercase();
        match (verb.as_str(), code.as_str()) {
            ("RCPT", "250") => self.accepted += 1,
            ("RSET" | "LHLO", _) | ("MAIL", "250") => self.accepted = 0,
            _ => {}
        }
        if code == "354" {
            let message = message.as_deref().unwrap_or_default();
            self.stream
                .get_mut()
                .write_all(&octets(&format!("{message}.\r\n")))?;
            for _ in 0..std::mem::take(&mut self.accepted) {
                if self.reply(&mut answer)?.is_empty() {
                    break;
                }
            }
        }
        Ok(answer)
    }

    /// Reads one reply, and returns its code.
    fn reply(&mut self, answer: &mut Vec<String>) -> io::Result<String> {
        loop {
            let mut line = Vec::new();
            if let Err(error) = self.stream.read_until(b'\n', &mut line) {
                answer.push(format!("({})", error.kind()));
                return Ok(String::new());
            }
            if !line.ends_with(b"\r\n") {
                answer.push("(closed)".to_owned());
                return Ok(String::new());
            }
            line.truncate(line.len() - 2);
            let line = latin1(&line);
            answer.push(mask(&line));
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.get(..3).unwrap_or_default().to_owned());
            }
        }
    }
}

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(20);
