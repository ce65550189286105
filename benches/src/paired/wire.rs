//! Plain-socket clients that look at as little of the answers as they can.

use std::io::{self, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use super::target::Target;

/// An IMAP connection.
pub(super) struct Imap {
    stream: TcpStream,
    buffer: Vec<u8>,
    tags: u32,
}

impl Imap {
    /// Connects and reads the greeting.
    pub(super) fn connect(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", target.imap))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(600)))?;
        let mut imap = Self {
            stream,
            buffer: vec![0; 1 << 18],
            tags: 0,
        };
        let mut got = 0;
        while !imap
            .buffer
            .get(..got)
            .is_some_and(|bytes| bytes.ends_with(b"\r\n"))
        {
            got += imap.receive(got)?;
        }
        Ok(imap)
    }

    /// Connects and logs in; the password is `pass`.
    pub(super) fn login(target: &Target, user: &str) -> io::Result<Self> {
        let mut imap = Self::connect(target)?;
        imap.command(format!("LOGIN {user} pass").as_bytes())?;
        Ok(imap)
    }

    /// Sends a command and reads to its tagged OK; how many octets came.
    pub(super) fn command(&mut self, command: &[u8]) -> io::Result<usize> {
        self.exchange(command, &mut |_| {})
    }

    /// The same, with everything that came.
    pub(super) fn answer(&mut self, command: &str) -> io::Result<Vec<u8>> {
        let mut answer = Vec::new();
        self.exchange(command.as_bytes(), &mut |bytes| answer.extend_from_slice(bytes))?;
        Ok(answer)
    }

    /// Sends a command whose answer is a continuation request, such as IDLE.
    pub(super) fn start(&mut self, command: &str) -> io::Result<()> {
        self.send(command.as_bytes())?;
        let got = self.receive(0)?;
        match self.buffer.get(..got) {
            Some([b'+', ..]) => Ok(()),
            other => Err(io::Error::other(format!(
                "{command}: {}",
                text(other.unwrap_or_default())
            ))),
        }
    }

    fn send(&mut self, command: &[u8]) -> io::Result<String> {
        self.tags += 1;
        let tag = format!("b{} ", self.tags);
        let mut line = Vec::with_capacity(command.len() + 16);
        line.extend_from_slice(tag.as_bytes());
        line.extend_from_slice(command);
        line.extend_from_slice(b"\r\n");
        self.stream.write_all(&line)?;
        Ok(tag)
    }

    fn exchange(&mut self, command: &[u8], see: &mut dyn FnMut(&[u8])) -> io::Result<usize> {
        let tag = self.send(command)?;
        let (mut total, mut kept) = (0, 0);
        loop {
            let got = self.receive(kept)?;
            total += got;
            see(self.buffer.get(kept..kept + got).unwrap_or_default());
            let bytes = self.buffer.get(..kept + got).unwrap_or_default();
            if let Some(last) = last_line(bytes).filter(|last| last.starts_with(tag.as_bytes())) {
                let status = last.get(tag.len()..).unwrap_or_default();
                if status.starts_with(b"OK") {
                    return Ok(total);
                }
                return Err(io::Error::other(format!(
                    "{}: {}",
                    text(command.get(..60).unwrap_or(command)),
                    text(status)
                )));
            }
            // Keep the end, in which the tagged response may have begun.
            let end = bytes.len();
            let tail = end.saturating_sub(8192);
            self.buffer.copy_within(tail..end, 0);
            kept = end - tail;
        }
    }

    /// Reads once, behind what is kept in the buffer.
    fn receive(&mut self, kept: usize) -> io::Result<usize> {
        match self
            .stream
            .read(self.buffer.get_mut(kept..).unwrap_or_default())?
        {
            0 => Err(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "the server closed the connection",
            )),
            got => Ok(got),
        }
    }
}

/// The last complete line, if the octets end with one.
fn last_line(bytes: &[u8]) -> Option<&[u8]> {
    let line = bytes.strip_suffix(b"\r\n")?;
    let begin = line
        .iter()
        .rposition(|&byte| byte == b'\n')
        .map_or(0, |at| at + 1);
    line.get(begin..)
}

/// An LMTP connection.
pub(super) struct Lmtp {
    stream: UnixStream,
    buffer: Vec<u8>,
    filled: usize,
}

impl Lmtp {
    /// Connects and says LHLO.
    pub(super) fn connect(target: &Target) -> io::Result<Self> {
        let stream = UnixStream::connect(&target.lmtp)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        let mut lmtp = Self {
            stream,
            buffer: vec![0; 1 << 14],
            filled: 0,
        };
        lmtp.replies(1, b'2')?;
        lmtp.stream.write_all(b"LHLO bench.example\r\n")?;
        lmtp.replies(1, b'2')?;
        Ok(lmtp)
    }

    /// Delivers one message to each recipient; the envelope is pipelined.
    pub(super) fn deliver(&mut self, recipients: &[String], message: &[u8]) -> io::Result<()> {
        let mut envelope = Vec::with_capacity(64 + recipients.len() * 24);
        envelope.extend_from_slice(b"MAIL FROM:<sender@bench.example>\r\n");
        for recipient in recipients {
            envelope.extend_from_slice(format!("RCPT TO:<{recipient}>\r\n").as_bytes());
        }
        envelope.extend_from_slice(b"DATA\r\n");
        self.stream.write_all(&envelope)?;
        self.replies(1 + recipients.len(), b'2')?;
        self.replies(1, b'3')?;
        self.stream.write_all(&[message, b".\r\n"].concat())?;
        self.replies(recipients.len(), b'2')
    }

    /// Reads a number of replies, each of which must begin with a digit.
    fn replies(&mut self, count: usize, digit: u8) -> io::Result<()> {
        let mut left = count;
        while left > 0 {
            let Some(end) = self
                .buffer
                .get(..self.filled)
                .and_then(|bytes| bytes.iter().position(|&byte| byte == b'\n'))
            else {
                let got = self
                    .stream
                    .read(self.buffer.get_mut(self.filled..).unwrap_or_default())?;
                if got == 0 {
                    return Err(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                self.filled += got;
                continue;
            };
            let line = self.buffer.get(..=end).unwrap_or_default();
            let last = line.get(3) != Some(&b'-');
            if last && line.first() != Some(&digit) {
                return Err(io::Error::other(text(line)));
            }
            left -= usize::from(last);
            self.buffer.copy_within(end + 1..self.filled, 0);
            self.filled -= end + 1;
        }
        Ok(())
    }
}

/// The octets as text for an error message.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).trim_end().to_owned()
}
