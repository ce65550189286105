//! One POST to an HTTP or HTTPS server, within a time limit: what asking about a token needs, and no more.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::Instant;

use native_tls::TlsConnector;

/// Where to post to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) secure: bool,
    pub(super) host: String,
    pub(super) port: u16,
    /// With the query.
    path: String,
}

impl Endpoint {
    /// The parts of an `http` or `https` URL.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let told = |what: &str| format!("{url:?} {what}");
        if url.bytes().any(|byte| !byte.is_ascii_graphic()) {
            return Err(told("has spaces or other characters that no URL has"));
        }
        let (secure, rest) = match url.split_once("://") {
            Some(("https", rest)) => (true, rest),
            Some(("http", rest)) => (false, rest),
            _ => return Err(told("is no http or https URL")),
        };
        let (authority, path) = match rest.find(['/', '?', '#']) {
            Some(at) => rest.split_at(at),
            None => (rest, ""),
        };
        let path = path.split('#').next().unwrap_or_default();
        if authority.contains('@') {
            return Err(told(
                "holds a password; set oauth_client_id and oauth_client_secret instead",
            ));
        }
        let default = if secure { 443 } else { 80 };
        // An address of version 6 stands in brackets.
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => match port.parse() {
                Ok(port) => (host, port),
                Err(_) => return Err(told("has no number for its port")),
            },
            _ => (authority, default),
        };
        let host = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        if host.is_empty() {
            return Err(told("names no host"));
        }
        Ok(Self {
            secure,
            host: host.to_owned(),
            port,
            path: match path.starts_with('/') {
                true => path.to_owned(),
                false => format!("/{path}"),
            },
        })
    }

    /// Posts a form and returns the body of the answer, which must be 200; all before `deadline`, but for the time that looking
    /// up the host's name takes.
    ///
    /// # Errors
    /// What went wrong, without anything of what was sent.
    pub(super) fn post(
        &self,
        form: &str,
        authorization: Option<&str>,
        tls: &TlsConnector,
        deadline: Instant,
    ) -> Result<Vec<u8>, String> {
        let stream = self
            .connect(deadline)
            .map_err(|error| format!("connecting: {error}"))?;
        let stream = Timed { stream, deadline };
        let host = match (self.host.contains(':'), self.port, self.secure) {
            (true, port, _) => format!("[{}]:{port}", self.host),
            (false, 443, true) | (false, 80, false) => self.host.clone(),
            (false, port, _) => format!("{}:{port}", self.host),
        };
        let mut request = format!(
            "POST {} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nAccept: application/json\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n",
            self.path,
            form.len()
        );
        if let Some(authorization) = authorization {
            request.push_str(&format!("Authorization: {authorization}\r\n"));
        }
        request.push_str("\r\n");
        request.push_str(form);
        let answer = match self.secure {
            false => exchange(stream, request.as_bytes()),
            true => {
                let stream = tls.connect(&self.host, stream).map_err(|error| match error {
                    native_tls::HandshakeError::Failure(error) => format!("TLS: {error}"),
                    native_tls::HandshakeError::WouldBlock(_) => "TLS: no answer in time".to_owned(),
                })?;
                exchange(stream, request.as_bytes())
            }
        };
        body(&answer.map_err(|error| format!("no answer: {error}"))?)
    }

    fn connect(&self, deadline: Instant) -> io::Result<TcpStream> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for address in (self.host.as_str(), self.port).to_socket_addrs()? {
            match TcpStream::connect_timeout(&address, left(deadline)?) {
                Ok(stream) => {
                    stream.set_nodelay(true)?;
                    return Ok(stream);
                }
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

fn left(deadline: Instant) -> io::Result<std::time::Duration> {
    let left = deadline.saturating_duration_since(Instant::now());
    match left.is_zero() {
        true => Err(io::Error::new(io::ErrorKind::TimedOut, "no answer in time")),
        false => Ok(left),
    }
}

/// A socket on which everything together ends at the deadline.
#[derive(Debug)]
struct Timed {
    stream: TcpStream,
    deadline: Instant,
}

/// The system calls it "would block" when a socket's time is over.
fn in_time(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::WouldBlock => io::Error::new(io::ErrorKind::TimedOut, "no answer in time"),
        _ => error,
    }
}

impl Read for Timed {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.deadline)?))?;
        self.stream.read(buffer).map_err(in_time)
    }
}

impl Write for Timed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.deadline)?))?;
        self.stream.write(bytes).map_err(in_time)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

/// Sends a request and reads what comes until the answer is whole or the server closes.
fn exchange(mut stream: impl Read + Write, request: &[u8]) -> io::Result<Vec<u8>> {
    stream.write_all(request)?;
    stream.flush()?;
    let mut answer = Vec::new();
    let mut buffer = [0; 8192];
    loop {
        let count = match stream.read(&mut buffer) {
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            // Servers end TLS in uncivil ways; whether the answer is whole shows when it is read.
            Err(error) if !answer.is_empty() && error.kind() != io::ErrorKind::TimedOut => 0,
            Err(error) => return Err(error),
        };
        answer.extend_from_slice(buffer.get(..count).unwrap_or_default());
        if answer.len() > LARGEST {
            return Err(io::Error::other("the answer is too long"));
        }
        if count == 0 || is_whole(&answer) {
            return Ok(answer);
        }
    }
}

/// Whether the answer has all that its head announces.
fn is_whole(answer: &[u8]) -> bool {
    matches!(head(answer), Ok(Some(head)) if content(&head, answer).is_ok_and(|content| content.is_some()))
}

struct Head {
    status: u16,
    /// Where the body begins.
    at: usize,
    length: Option<usize>,
    chunked: bool,
}

/// The head of an answer; `None` while it is not whole.
fn head(answer: &[u8]) -> Result<Option<Head>, String> {
    let mut fields = [httparse::EMPTY_HEADER; 64];
    let mut response = httparse::Response::new(&mut fields);
    let at = match response.parse(answer) {
        Ok(httparse::Status::Complete(at)) => at,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(error) => return Err(format!("the answer is not HTTP: {error}")),
    };
    let field = |name: &str| {
        let mut named = response
            .headers
            .iter()
            .filter(|field| field.name.eq_ignore_ascii_case(name));
        named
            .next()
            .map(|field| String::from_utf8_lossy(field.value).trim().to_owned())
    };
    let length = match field("content-length") {
        None => None,
        Some(length) => Some(length.parse().map_err(|_| "its length is no number".to_owned())?),
    };
    Ok(Some(Head {
        status: response.code.unwrap_or_default(),
        at,
        length,
        chunked: field("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked")),
    }))
}

/// The body as far as its length is told; `None` while it is not whole.
fn content(head: &Head, answer: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let body = answer.get(head.at..).unwrap_or_default();
    match (head.chunked, head.length) {
        (true, _) => chunks(body),
        (false, Some(length)) => Ok(body.get(..length).map(<[u8]>::to_vec)),
        (false, None) => Ok(None),
    }
}

/// `chunked-body` (RFC 9112, section 7.1), without its trailer; `None` while it is not whole.
fn chunks(mut body: &[u8]) -> Result<Option<Vec<u8>>, String> {
    let bad = |_| "a chunk has no size".to_owned();
    let mut whole = Vec::new();
    loop {
        let (at, size) = match httparse::parse_chunk_size(body).map_err(bad)? {
            httparse::Status::Complete(found) => found,
            httparse::Status::Partial => return Ok(None),
        };
        let size = usize::try_from(size).unwrap_or(usize::MAX);
        if size == 0 {
            return Ok(Some(whole));
        }
        let rest = body.get(at..).unwrap_or_default();
        let Some((chunk, after)) = rest.split_at_checked(size) else {
            return Ok(None);
        };
        whole.extend_from_slice(chunk);
        let Some(after) = after.strip_prefix(b"\r\n") else {
            return match after.len() < 2 {
                true => Ok(None),
                false => Err("a chunk is longer than it says".to_owned()),
            };
        };
        body = after;
    }
}

/// The body of a whole answer of status 200.
pub(super) fn body(answer: &[u8]) -> Result<Vec<u8>, String> {
    let head = head(answer)?.ok_or("the answer ends early")?;
    if head.status != 200 {
        return Err(format!("the answer is HTTP {}", head.status));
    }
    match (content(&head, answer)?, head.chunked || head.length.is_some()) {
        (Some(content), _) => Ok(content),
        // Without a length the end of the connection is the end.
        (None, false) => Ok(answer.get(head.at..).unwrap_or_default().to_vec()),
        (None, true) => Err("the answer ends early".to_owned()),
    }
}

/// Octets of an answer.
const LARGEST: usize = 256 * 1024;

/// A text in a form (`application/x-www-form-urlencoded`).
pub(super) fn form_text(text: &str) -> String {
    let mut encoded = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => encoded.push(byte.into()),
            b' ' => encoded.push('+'),
            _ => encoded.push_str(&format!("%{byte:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;
    use std::time::Duration;

    #[test]
    fn urls_are_taken_apart() {
        let parsed =
            |url: &str| Endpoint::parse(url).map(|at| (at.secure, at.host.clone(), at.port, at.path.clone()));
        let is = |secure, host: &str, port, path: &str| Ok((secure, host.to_owned(), port, path.to_owned()));
        assert_eq!(
            parsed("https://id.example.org/oauth/introspect?x=1#y"),
            is(true, "id.example.org", 443, "/oauth/introspect?x=1")
        );
        assert_eq!(parsed("http://127.0.0.1:8080"), is(false, "127.0.0.1", 8080, "/"));
        assert_eq!(parsed("http://[::1]:81/a"), is(false, "::1", 81, "/a"));
        assert_eq!(parsed("http://[::1]?a"), is(false, "::1", 80, "/?a"));
        for bad in [
            "id.example.org/x",
            "ftp://x/",
            "https:///x",
            "https://u:p@x/",
            "http://x:y/",
            "http://x/ y",
            "http://x/\r\nHost: y",
        ] {
            assert!(parsed(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_are_read_by_length_by_chunks_or_to_their_end() {
        for (answer, expected) in [
            ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", Ok("{}")),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n1;x=y\r\n}\r\n0\r\n\r\n",
                Ok("{}"),
            ),
            ("HTTP/1.0 200 OK\r\n\r\n{}", Ok("{}")),
            (
                "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n",
                Err("HTTP 401"),
            ),
            (
                "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{}",
                Err("ends early"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{",
                Err("ends early"),
            ),
            (
                "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{}x\r\n",
                Err("longer than it says"),
            ),
            ("HTTP/1.1 200 OK\r\nContent-Le", Err("ends early")),
            ("* OK IMAP ready\r\n", Err("not HTTP")),
        ] {
            match (body(answer.as_bytes()), expected) {
                (Ok(body), Ok(expected)) => assert_eq!(body, expected.as_bytes(), "{answer}"),
                (Err(error), Err(expected)) => assert!(error.contains(expected), "{answer}: {error}"),
                (got, _) => panic!("{answer}: {got:?}"),
            }
        }
    }

    #[test]
    fn a_server_that_says_nothing_or_little_is_left_in_time() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let tls = TlsConnector::new().unwrap();
        let drip = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            while stream.write_all(b"H").is_ok() {
                std::thread::sleep(Duration::from_millis(20));
            }
        });
        let deadline = Instant::now() + Duration::from_millis(300);
        let error = Endpoint::parse(&url)
            .unwrap()
            .post("token=x", None, &tls, deadline);
        let error = error.unwrap_err();
        assert!(error.contains("HTTP") || error.contains("in time"), "{error}");
        drip.join().unwrap();
    }

    #[test]
    fn a_form_holds_any_text() {
        assert_eq!(form_text("a b&c=ü~"), "a+b%26c%3D%C3%BC%7E");
    }
}
