//! The connection to a server: commands out, answers in, STARTTLS and logins.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

use cyrus_proto::job::SecurityLayer;
use cyrus_proto::sasl::{ClientLogin, ClientSecurity, Credentials};
use native_tls::{Certificate, Identity, TlsConnector};

use super::wire::{self, Response, Status, Value};

/// Where to, and how it is protected.
#[derive(Clone, Debug, Default)]
pub(super) struct Target {
    pub(super) host: String,
    pub(super) port: u16,
    /// TLS from the first octet.
    pub(super) implicit_tls: bool,
    /// No STARTTLS.
    pub(super) no_tls: bool,
    /// Authorities that are trusted beside the system's.
    pub(super) ca_file: Option<String>,
    /// The same, a folder of them.
    pub(super) ca_folder: Option<String>,
    /// A client certificate with its key, PEM in one file.
    pub(super) key_file: Option<String>,
    /// Whoever it is.
    pub(super) insecure: bool,
}

/// How to log in.
#[derive(Clone, Debug, Default)]
pub(super) struct Login {
    pub(super) credentials: Credentials,
    /// The mechanisms that may be used; any if empty.
    pub(super) mechanisms: Vec<String>,
    pub(super) service: String,
    pub(super) minimum_layer: u32,
    pub(super) maximum_layer: u32,
}

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub(super) enum Failure {
    /// The server says no, or does not understand.
    #[error("{0}")]
    Refused(String),
    /// The server cannot be reached, or went away.
    #[error("{0}")]
    Connection(String),
    /// It was asked for in the wrong way.
    #[error("{0}")]
    Usage(String),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Connection(error.to_string())
    }
}

/// The answer to a command.
#[derive(Debug, Default)]
pub(super) struct Reply {
    pub(super) data: Vec<(String, Vec<Value>)>,
    /// Texts of `* NO` and `* OK [ALERT]`.
    pub(super) notices: Vec<String>,
    /// The code and the text of the end.
    pub(super) code: String,
    pub(super) text: String,
}

impl Reply {
    /// The data of one name.
    pub(super) fn named(&self, name: &str) -> impl Iterator<Item = &[Value]> {
        self.data
            .iter()
            .filter(move |(known, _)| known == name)
            .map(|(_, values)| values.as_slice())
    }
}

/// A part of a command.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part<'a> {
    /// As it stands.
    Raw(&'a str),
    /// A string, written as it has to be.
    Text(&'a str),
}

trait Channel: Read + Write + Send {}
impl<T: Read + Write + Send> Channel for T {}

/// A connection.
pub(super) struct Client {
    channel: Box<dyn Channel>,
    /// The same socket, for its time limits.
    socket: TcpStream,
    layer: Option<Box<dyn SecurityLayer>>,
    buffer: Vec<u8>,
    at: usize,
    tags: u32,
    capabilities: Vec<String>,
    encrypted: bool,
    pub(super) host: String,
    pub(super) greeting: String,
    /// Called while an answer is waited for.
    pub(super) waiting: Option<Box<dyn FnMut(Duration) + Send>>,
}

impl Client {
    /// Connects, and starts TLS where the server has it.
    pub(super) fn connect(target: &Target) -> Result<Self, Failure> {
        let socket = reach(&target.host, target.port)?;
        socket.set_nodelay(true)?;
        let mut client = Self {
            channel: Box::new(socket.try_clone()?),
            socket,
            layer: None,
            buffer: Vec::new(),
            at: 0,
            tags: 0,
            capabilities: Vec::new(),
            encrypted: false,
            host: target.host.clone(),
            greeting: String::new(),
            waiting: None,
        };
        if target.implicit_tls {
            client.start_tls(target)?;
        }
        client.greet()?;
        if client.capabilities.is_empty() {
            client.ask_capabilities()?;
        }
        if !target.no_tls && !client.encrypted && client.has("STARTTLS") {
            client.command(&[Part::Raw("STARTTLS")])?;
            // What came before TLS may be anybody's.
            client.buffer.clear();
            client.at = 0;
            client.start_tls(target)?;
            client.ask_capabilities()?;
        }
        Ok(client)
    }

    fn greet(&mut self) -> Result<(), Failure> {
        match self.response(Some(PATIENCE))? {
            Response::Status {
                status: Status::Ok | Status::PreAuth,
                code,
                text,
                ..
            } => {
                self.note_capabilities(&code);
                self.greeting = text;
                Ok(())
            }
            Response::Status { text, .. } => Err(Failure::Refused(text)),
            _ => Err(wire::malformed("no greeting").into()),
        }
    }

    fn start_tls(&mut self, target: &Target) -> Result<(), Failure> {
        let failed = |what: &str| {
            let what = what.to_owned();
            move |error: &dyn std::fmt::Display| Failure::Connection(format!("{what}: {error}"))
        };
        let mut builder = TlsConnector::builder();
        if let Some(path) = &target.ca_file {
            let pem = std::fs::read(path).map_err(|error| failed(path)(&error))?;
            let authority = Certificate::from_pem(&pem).map_err(|error| failed(path)(&error))?;
            builder.add_root_certificate(authority);
        }
        if let Some(folder) = &target.ca_folder {
            let files = std::fs::read_dir(folder).map_err(|error| failed(folder)(&error))?;
            for file in files.flatten() {
                // Folders of authorities hold links by hash and other things, too.
                if let Ok(pem) = std::fs::read(file.path())
                    && let Ok(authority) = Certificate::from_pem(&pem)
                {
                    builder.add_root_certificate(authority);
                }
            }
        }
        if let Some(path) = &target.key_file {
            let pem = std::fs::read(path).map_err(|error| failed(path)(&error))?;
            let identity = Identity::from_pkcs8(&pem, &pem).map_err(|error| failed(path)(&error))?;
            builder.identity(identity);
        }
        // To oneself, a certificate proves nothing that the kernel does not.
        let is_here = self.socket.peer_addr().is_ok_and(|peer| peer.ip().is_loopback());
        if target.insecure || is_here && target.ca_file.is_none() && target.ca_folder.is_none() {
            builder.danger_accept_invalid_certs(true);
            builder.danger_accept_invalid_hostnames(true);
        }
        let connector = builder.build().map_err(|error| failed("TLS")(&error))?;
        self.socket.set_read_timeout(Some(PATIENCE))?;
        let stream = connector
            .connect(&target.host, self.socket.try_clone()?)
            .map_err(|error| {
                Failure::Connection(format!(
                    "TLS with {}: {error}; --cafile names its authority, --insecure trusts anybody, --notls goes without",
                    target.host
                ))
            })?;
        self.channel = Box::new(stream);
        self.encrypted = true;
        Ok(())
    }

    /// Whether the connection is protected by TLS.
    pub(super) fn is_encrypted(&self) -> bool {
        self.encrypted
    }

    /// Whether the server has a capability.
    pub(super) fn has(&self, capability: &str) -> bool {
        self.capabilities
            .iter()
            .any(|known| known.eq_ignore_ascii_case(capability))
    }

    fn ask_capabilities(&mut self) -> Result<(), Failure> {
        self.capabilities.clear();
        self.command(&[Part::Raw("CAPABILITY")]).map(drop)
    }

    fn note_capabilities(&mut self, code: &str) {
        if let Some(list) = code.strip_prefix("CAPABILITY ") {
            self.capabilities = list.split_whitespace().map(str::to_owned).collect();
        }
    }

    /// Logs in with the best mechanism that works; without one, by LOGIN.
    pub(super) fn login(&mut self, login: &Login) -> Result<String, Failure> {
        let offered = self
            .capabilities
            .iter()
            .filter_map(|capability| capability.strip_prefix("AUTH="))
            .map(str::to_owned);
        let is_wanted = |name: &String| {
            let any = login.mechanisms.is_empty();
            any || login
                .mechanisms
                .iter()
                .any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let mut mechanisms: Vec<String> = offered.filter(is_wanted).collect();
        let mut why = None;
        while !mechanisms.is_empty() {
            match self.authenticate(login, &mechanisms) {
                Ok(mechanism) => return self.logged_in(mechanism),
                Err(Tried {
                    mechanism: Some(mechanism),
                    failure: Failure::Refused(text),
                }) => {
                    why = Some(text);
                    let before = mechanisms.len();
                    mechanisms.retain(|name| !name.eq_ignore_ascii_case(&mechanism));
                    if mechanisms.len() == before {
                        break;
                    }
                }
                Err(Tried {
                    mechanism: None,
                    failure: Failure::Refused(text),
                }) => {
                    why.get_or_insert(text);
                    break;
                }
                Err(tried) => return Err(tried.failure),
            }
        }
        let by_command = login.mechanisms.is_empty()
            || login
                .mechanisms
                .iter()
                .any(|name| name.eq_ignore_ascii_case("LOGIN"));
        let (user, password) = (&login.credentials.authenticate_as, &login.credentials.password);
        if let (Some(user), Some(password)) = (user, password)
            && by_command
            && why.is_none()
            && login
                .credentials
                .act_as
                .as_ref()
                .is_none_or(|other| other == user)
            && !self.has("LOGINDISABLED")
        {
            self.command(&[
                Part::Raw("LOGIN "),
                Part::Text(user),
                Part::Raw(" "),
                Part::Text(password),
            ])?;
            return self.logged_in("LOGIN".to_owned());
        }
        Err(Failure::Refused(why.unwrap_or_else(|| {
            "the server offers no way to log in that is wanted and usable".to_owned()
        })))
    }

    fn logged_in(&mut self, mechanism: String) -> Result<String, Failure> {
        self.ask_capabilities()?;
        Ok(mechanism)
    }

    fn authenticate(&mut self, login: &Login, mechanisms: &[String]) -> Result<String, Tried> {
        let security = ClientSecurity {
            minimum: login.minimum_layer,
            maximum: login.maximum_layer,
            external: if self.encrypted { TLS_STRENGTH } else { 0 },
        };
        let begin = |mechanisms: &[String]| {
            let credentials = login.credentials.clone();
            ClientLogin::begin(&login.service, &self.host, mechanisms, credentials, security)
        };
        // The best may lack something, a ticket perhaps, that is known only when it begins.
        let begun = begin(mechanisms).or_else(|error| {
            let usable = mechanisms
                .iter()
                .find_map(|name| begin(std::slice::from_ref(name)).ok());
            usable.ok_or(error)
        });
        let mut exchange = begun.map_err(|error| Tried {
            mechanism: None,
            failure: Failure::Refused(error.to_string()),
        })?;
        let mechanism = exchange.mechanism().to_owned();
        let tried = |failure: Failure| Tried {
            mechanism: Some(mechanism.clone()),
            failure,
        };
        let with_initial = self.has("SASL-IR");
        let initial = exchange.initial_response().map(encoded);
        let mut command = format!("AUTHENTICATE {mechanism}");
        let mut pending = initial;
        if with_initial && let Some(first) = pending.take() {
            command.push(' ');
            command.push_str(if first.is_empty() { "=" } else { &first });
        }
        let tag = self.send_line(&command).map_err(|error| tried(error.into()))?;
        loop {
            let response = self.response(None).map_err(|error| tried(error.into()))?;
            match response {
                Response::Continue(challenge) => {
                    let answer = match pending.take() {
                        Some(first) => Ok(first),
                        None => decoded(&challenge)
                            .and_then(|challenge| {
                                exchange.respond(&challenge).map_err(|error| error.to_string())
                            })
                            .map(|answer| encoded(&answer)),
                    };
                    match answer {
                        Ok(answer) => self.send(format!("{answer}\r\n").as_bytes()),
                        Err(why) => {
                            // The exchange is cancelled, and the server says so.
                            self.send(b"*\r\n").map_err(|error| tried(error.into()))?;
                            self.finish(&tag)
                                .map(drop)
                                .map_err(|_| tried(Failure::Refused(why)))?;
                            return Err(tried(Failure::Refused("the exchange was cancelled".to_owned())));
                        }
                    }
                    .map_err(|error| tried(error.into()))?;
                }
                Response::Status {
                    tag: ended,
                    status,
                    code,
                    text,
                } if ended == tag => {
                    if status != Status::Ok {
                        return Err(tried(Failure::Refused(text)));
                    }
                    self.note_capabilities(&code);
                    if !exchange.is_done() {
                        let proof = exchange.respond(b"").map_err(|error| error.to_string());
                        proof.map_err(|why| {
                            tried(Failure::Connection(format!("the server proved nothing: {why}")))
                        })?;
                    }
                    self.layer = exchange.into_layer().map(|(_, layer)| layer);
                    return Ok(mechanism);
                }
                Response::Status {
                    status: Status::Bye,
                    text,
                    ..
                } => return Err(tried(Failure::Connection(text))),
                _ => {}
            }
        }
    }

    /// Runs a command that must succeed.
    pub(super) fn command(&mut self, parts: &[Part<'_>]) -> Result<Reply, Failure> {
        let tag = self.next_tag();
        let mut line = format!("{tag} ").into_bytes();
        for part in parts {
            match *part {
                Part::Raw(text) => line.extend_from_slice(text.as_bytes()),
                Part::Text(text) if is_quotable(text) => {
                    let text = text.replace('\\', "\\\\").replace('"', "\\\"");
                    line.extend_from_slice(format!("\"{text}\"").as_bytes());
                }
                Part::Text(text) => {
                    let plus = self.has("LITERAL+");
                    line.extend_from_slice(
                        format!("{{{}{}}}\r\n", text.len(), if plus { "+" } else { "" }).as_bytes(),
                    );
                    if !plus {
                        self.send(&line)?;
                        line.clear();
                        self.wait_for_continue(&tag)?;
                    }
                    line.extend_from_slice(text.as_bytes());
                }
            }
        }
        line.extend_from_slice(b"\r\n");
        self.send(&line)?;
        self.finish(&tag)
    }

    fn wait_for_continue(&mut self, tag: &str) -> Result<(), Failure> {
        loop {
            match self.response(None)? {
                Response::Continue(_) => return Ok(()),
                Response::Status { tag: ended, text, .. } if ended == tag => {
                    return Err(Failure::Refused(text));
                }
                Response::Status {
                    status: Status::Bye,
                    text,
                    ..
                } => return Err(Failure::Connection(text)),
                _ => {}
            }
        }
    }

    /// Reads up to the end of a command.
    fn finish(&mut self, tag: &str) -> Result<Reply, Failure> {
        let mut reply = Reply::default();
        let mut bye = None;
        loop {
            let response = match self.response(None) {
                Ok(response) => response,
                Err(error) => return Err(bye.map_or_else(|| error.into(), Failure::Connection)),
            };
            match response {
                Response::Data { name, values } => {
                    if name == "CAPABILITY" {
                        self.capabilities = values.iter().map(Value::text).collect();
                    }
                    reply.data.push((name, values));
                }
                Response::Status {
                    tag: ended,
                    status,
                    code,
                    text,
                } if ended == tag => {
                    return match status {
                        Status::Ok => {
                            self.note_capabilities(&code);
                            (reply.code, reply.text) = (code, text);
                            Ok(reply)
                        }
                        _ => Err(Failure::Refused(text)),
                    };
                }
                Response::Status {
                    status: Status::Bye,
                    text,
                    ..
                } => bye = Some(text),
                Response::Status {
                    status, code, text, ..
                } => {
                    if status == Status::No || code == "ALERT" {
                        reply.notices.push(text);
                    }
                }
                Response::Continue(_) => {}
            }
        }
    }

    /// Says goodbye.
    pub(super) fn logout(mut self) {
        // The server may have gone already.
        let _ = self.command(&[Part::Raw("LOGOUT")]);
    }

    fn next_tag(&mut self) -> String {
        self.tags = self.tags.wrapping_add(1);
        format!("c{}", self.tags)
    }

    fn send_line(&mut self, line: &str) -> io::Result<String> {
        let tag = self.next_tag();
        self.send(format!("{tag} {line}\r\n").as_bytes())?;
        Ok(tag)
    }

    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.layer {
            None => self.channel.write_all(bytes)?,
            Some(layer) => {
                let mut wire = Vec::new();
                layer.encode(bytes, &mut wire).map_err(io::Error::other)?;
                self.channel.write_all(&wire)?;
            }
        }
        self.channel.flush()
    }

    /// The next response; waits without end unless there is a limit.
    fn response(&mut self, limit: Option<Duration>) -> io::Result<Response> {
        let mut whole = Vec::new();
        loop {
            let line = self.line(limit)?;
            whole.extend_from_slice(&line);
            let Some(length) = wire::literal_after(&line) else {
                return wire::response(&whole);
            };
            if length > wire::MOST.saturating_sub(whole.len()) {
                return Err(wire::malformed("it is too long"));
            }
            whole.extend_from_slice(b"\r\n");
            while self.buffer.len() - self.at < length {
                self.fill(limit)?;
            }
            let end = self.at + length;
            whole.extend_from_slice(self.buffer.get(self.at..end).unwrap_or_default());
            self.at = end;
        }
    }

    fn line(&mut self, limit: Option<Duration>) -> io::Result<Vec<u8>> {
        let mut searched = self.at;
        loop {
            let fresh = self.buffer.get(searched..).unwrap_or_default();
            if let Some(found) = fresh.iter().position(|&byte| byte == b'\n') {
                let end = searched + found;
                let line = self.buffer.get(self.at..end).unwrap_or_default();
                let line = line.strip_suffix(b"\r").unwrap_or(line).to_vec();
                self.at = end + 1;
                return Ok(line);
            }
            searched = self.buffer.len();
            if searched - self.at > wire::MOST {
                return Err(wire::malformed("a line without end"));
            }
            let before = self.at;
            self.fill(limit)?;
            // What was used up may have gone.
            searched = searched + self.at - before;
        }
    }

    /// Reads more into the buffer.
    fn fill(&mut self, limit: Option<Duration>) -> io::Result<()> {
        if self.at > 0 {
            self.buffer.drain(..self.at);
            self.at = 0;
        }
        let began = Instant::now();
        let mut bytes = [0; 16 * 1024];
        loop {
            self.socket.set_read_timeout(Some(TICK))?;
            match self.channel.read(&mut bytes) {
                Ok(0) => {
                    return Err(io::Error::new(
                        ErrorKind::UnexpectedEof,
                        "the server closed the connection",
                    ));
                }
                Ok(count) => {
                    let read = bytes.get(..count).unwrap_or_default();
                    match &mut self.layer {
                        None => self.buffer.extend_from_slice(read),
                        Some(layer) => layer.decode(read, &mut self.buffer).map_err(io::Error::other)?,
                    }
                    return Ok(());
                }
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    let waited = began.elapsed();
                    if limit.is_some_and(|limit| waited > limit) {
                        return Err(io::Error::new(ErrorKind::TimedOut, "the server does not answer"));
                    }
                    if let Some(waiting) = &mut self.waiting {
                        waiting(waited);
                    }
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }
}

/// A login that failed, and the mechanism that did.
struct Tried {
    mechanism: Option<String>,
    failure: Failure,
}

fn reach(host: &str, port: u16) -> Result<TcpStream, Failure> {
    let unreachable = |error: io::Error| Failure::Connection(format!("{host}:{port}: {error}"));
    let mut last = io::Error::new(ErrorKind::NotFound, "no such host");
    for address in (host, port).to_socket_addrs().map_err(unreachable)? {
        match TcpStream::connect_timeout(&address, PATIENCE) {
            Ok(socket) => return Ok(socket),
            Err(error) => last = error,
        }
    }
    Err(unreachable(last))
}

/// Whether a text may stand in quotation marks.
fn is_quotable(text: &str) -> bool {
    text.len() < 1024 && text.bytes().all(|byte| (b' '..=b'~').contains(&byte))
}

fn encoded(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

fn decoded(text: &[u8]) -> Result<Vec<u8>, String> {
    use base64::Engine;
    base64::engine::general_purpose::STANDARD
        .decode(text.trim_ascii())
        .map_err(|_| "the server's challenge is not base64".to_owned())
}

/// How long a connection may take to be made and to say its greeting.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often somebody who waits is told.
const TICK: Duration = Duration::from_millis(500);
/// What TLS is taken for, in bits.
const TLS_STRENGTH: u32 = 128;
