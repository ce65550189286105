//! A small LMTP client over a Unix-domain socket.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A connection after LHLO.
pub(crate) struct Lmtp {
    stream: BufReader<UnixStream>,
}

impl Lmtp {
    /// Connects and says LHLO.
    pub(crate) fn connect(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(Duration::from_secs(120)))?;
        stream.set_write_timeout(Some(Duration::from_secs(120)))?;
        let mut lmtp = Self {
            stream: BufReader::new(stream),
        };
        lmtp.expect("220")?;
        lmtp.stream.get_mut().write_all(b"LHLO rig.example\r\n")?;
        lmtp.expect("250")?;
        Ok(lmtp)
    }

    /// Delivers one message (CRLF lines) to some recipients; the last line of each one's reply.
    ///
    /// A recipient refused at RCPT has that reply.
    pub(crate) fn deliver(&mut self, recipients: &[&str], message: &[u8]) -> io::Result<Vec<String>> {
        let mut replies = Vec::new();
        self.deliver_noting(recipients, message, &mut replies)?;
        Ok(replies)
    }

    /// The same; after an error `replies` holds the replies that came before it, in the order of the recipients, if the
    /// connection broke after DATA, and is empty if it broke earlier.
    pub(crate) fn deliver_noting(
        &mut self,
        recipients: &[&str],
        message: &[u8],
        replies: &mut Vec<String>,
    ) -> io::Result<()> {
        let mut envelope = String::from("MAIL FROM:<sender@rig.example>\r\n");
        for recipient in recipients {
            // Parameters come behind the address.
            let closed = if recipient.contains('>') { "" } else { ">" };
            envelope.push_str(&format!("RCPT TO:<{recipient}{closed}\r\n"));
        }
        self.stream.get_mut().write_all(envelope.as_bytes())?;
        self.expect("250")?;
        let mut accepted = Vec::new();
        for _ in recipients {
            accepted.push(self.reply()?);
        }
        if !accepted.iter().any(|reply| reply.starts_with("250")) {
            self.stream.get_mut().write_all(b"RSET\r\n")?;
            self.expect("250")?;
            *replies = accepted;
            return Ok(());
        }
        self.stream.get_mut().write_all(b"DATA\r\n")?;
        self.expect("354")?;
        self.stream.get_mut().write_all(&dot_stuffed(message))?;
        for reply in accepted {
            replies.push(if reply.starts_with("250") {
                self.reply()?
            } else {
                reply
            });
        }
        Ok(())
    }

    /// Says LHLO again, and returns every line of the answer.
    pub(crate) fn lhlo(&mut self) -> io::Result<Vec<String>> {
        self.stream.get_mut().write_all(b"LHLO rig.example\r\n")?;
        let mut lines: Vec<String> = Vec::new();
        while lines
            .last()
            .is_none_or(|line| line.as_bytes().get(3) == Some(&b'-'))
        {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            lines.push(line.trim_end().to_owned());
        }
        Ok(lines)
    }

    fn expect(&mut self, code: &str) -> io::Result<()> {
        let reply = self.reply()?;
        if reply.starts_with(code) {
            Ok(())
        } else {
            Err(io::Error::other(format!("wanted {code}, got {reply}")))
        }
    }

    fn reply(&mut self) -> io::Result<String> {
        loop {
            let mut line = String::new();
            if self.stream.read_line(&mut line)? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                return Ok(line.trim_end().to_owned());
            }
        }
    }
}

/// The message as DATA wants it: dots doubled at line starts, the lone dot at the end.
fn dot_stuffed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(message.len() + 8);
    for line in message.split_inclusive(|&byte| byte == b'\n') {
        if line.first() == Some(&b'.') {
            out.push(b'.');
        }
        out.extend_from_slice(line);
    }
    if !out.ends_with(b"\r\n") {
        out.extend_from_slice(b"\r\n");
    }
    out.extend_from_slice(b".\r\n");
    out
}
