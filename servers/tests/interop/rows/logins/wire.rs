//! A client that says what it is told to, in clear or under TLS, and shows what comes back as text.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

use openssl::ssl::{SslConnector, SslConnectorBuilder, SslFiletype, SslMethod, SslStream, SslVerifyMode};

/// A connection.
pub(super) struct Wire {
    stream: BufReader<Channel>,
    /// What the server said first.
    pub(super) greeting: String,
}

pub(super) enum Channel {
    Clear(TcpStream),
    Tls(Box<SslStream<TcpStream>>),
}

impl Read for Channel {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.read(buffer),
            Self::Tls(stream) => stream.read(buffer),
        }
    }
}

impl Write for Channel {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        match self {
            Self::Clear(stream) => stream.write(bytes),
            Self::Tls(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> std::io::Result<()> {
        match self {
            Self::Clear(stream) => stream.flush(),
            Self::Tls(stream) => stream.flush(),
        }
    }
}

/// How a client speaks TLS: it believes every server unless told otherwise.
pub(super) fn tls() -> SslConnectorBuilder {
    let mut builder = SslConnector::builder(SslMethod::tls_client()).unwrap();
    builder.set_verify(SslVerifyMode::NONE);
    builder
}

/// The same with a certificate to show.
pub(super) fn tls_as(certificate: &Path, key: &Path) -> SslConnectorBuilder {
    let mut builder = tls();
    builder.set_certificate_chain_file(certificate).unwrap();
    builder.set_private_key_file(key, SslFiletype::PEM).unwrap();
    builder
}

impl Wire {
    /// Connects in clear and reads the greeting.
    pub(super) fn connect(port: u16) -> Self {
        Self::greeted(Channel::Clear(socket(port)))
    }

    /// Connects by implicit TLS, asking for `host`.
    pub(super) fn secure(port: u16, host: &str, tls: SslConnectorBuilder) -> Result<Self, String> {
        let connector = tls.build();
        let stream = connector
            .connect(host, socket(port))
            .map_err(|error| error.to_string())?;
        let mut wire = Self {
            stream: BufReader::new(Channel::Tls(Box::new(stream))),
            greeting: String::new(),
        };
        // With TLS 1.3 a refused client certificate shows here.
        wire.greeting = wire.try_line()?;
        Ok(wire)
    }

    fn greeted(channel: Channel) -> Self {
        let mut wire = Self {
            stream: BufReader::new(channel),
            greeting: String::new(),
        };
        wire.greeting = wire.line();
        wire
    }

    /// STARTTLS, which the server must take.
    pub(super) fn start_tls(mut self, command: &str, tls: SslConnectorBuilder) -> Self {
        let reply = self.say(command);
        assert!(reply.contains("OK") || reply.starts_with("220"), "{reply}");
        let Channel::Clear(stream) = self.stream.into_inner() else {
            panic!("TLS twice");
        };
        let stream = tls.build().connect("localhost", stream).expect("a handshake");
        Self {
            stream: BufReader::new(Channel::Tls(Box::new(stream))),
            greeting: self.greeting,
        }
    }

    /// The TLS of the connection.
    pub(super) fn ssl(&self) -> &openssl::ssl::SslRef {
        match self.stream.get_ref() {
            Channel::Tls(stream) => stream.ssl(),
            Channel::Clear(_) => panic!("no TLS here"),
        }
    }

    /// Sends a line; everything up to a tagged line of it, a continuation request, or the end of the connection.
    pub(super) fn say(&mut self, line: &str) -> String {
        self.send(&format!("{line}\r\n"));
        let tag = line.split(' ').next().unwrap_or_default().to_owned();
        self.hear(&tag)
    }

    /// Everything up to a line of `tag`, a continuation request, or the end of the connection.
    pub(super) fn hear(&mut self, tag: &str) -> String {
        let mut all = String::new();
        loop {
            let Ok(line) = self.try_line() else {
                return all + "(closed)";
            };
            all.push_str(&line);
            all.push('\n');
            let is_end = line.starts_with('+') || !tag.is_empty() && line.starts_with(&format!("{tag} "));
            // LMTP answers with numbers.
            let number = line.get(..4).is_some_and(|start| {
                start.ends_with(' ') && start.bytes().take(3).all(|byte| byte.is_ascii_digit())
            });
            if is_end || number {
                return all;
            }
        }
    }

    /// Sends text as it is.
    pub(super) fn send(&mut self, text: &str) {
        // Whoever has closed already is heard of when reading.
        let _ = self.stream.get_mut().write_all(text.as_bytes());
        let _ = self.stream.get_mut().flush();
    }

    /// The next line, without its end.
    pub(super) fn line(&mut self) -> String {
        self.try_line().expect("a line")
    }

    fn try_line(&mut self) -> Result<String, String> {
        let mut line = Vec::new();
        match self.stream.read_until(b'\n', &mut line) {
            Ok(0) => Err("closed".to_owned()),
            Ok(_) => Ok(String::from_utf8_lossy(&line).trim_end().to_owned()),
            Err(error) => Err(error.to_string()),
        }
    }
}

fn socket(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).expect("a connection");
    stream.set_nodelay(true).expect("a socket option");
    stream
        .set_read_timeout(Some(Duration::from_secs(60)))
        .expect("a socket option");
    stream
}
