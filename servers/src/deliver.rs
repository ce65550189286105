//! `deliver`: a message from standard input into mailboxes, by LMTP over the server's unix socket.
//!
//! For mail programs that run a command per message. Switches, addresses and exit codes are Cyrus's: 0 when everybody
//! got the message, 75 when trying again makes sense for somebody, 65 when it does not.

use std::ffi::OsString;
use std::io::{self, BufRead, BufReader, BufWriter, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;

use crate::config::{Config, DEFAULT_PATH, Opt};
use crate::daemon::{exit, fail};
use crate::getopt::{self, CommandLine};
use crate::syslog;
use crate::version::cyrus_version;

/// The peer's replies and ours.
struct Lmtp {
    input: BufReader<UnixStream>,
    output: BufWriter<UnixStream>,
}

/// Why nothing was delivered at all.
#[derive(Debug, thiserror::Error)]
enum DeliverError {
    #[error("couldn't connect to lmtpd: {}: {source}", socket.display())]
    Connect { socket: PathBuf, source: io::Error },
    #[error("lost the connection to lmtpd: {0}")]
    Lost(#[from] io::Error),
    #[error("lmtpd refuses: {0}")]
    Refused(String),
}

/// Runs the program with the arguments `args` (without its name).
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    syslog::open_plain("deliver");
    let line = match getopt::parse(args, "C:df:r:m:a:F:eE:lqD") {
        Ok(line) if !line.has('F') && !line.has('E') => line,
        Ok(_) => return usage("the switches -E and -F are no longer supported"),
        Err(error) => return usage(&error.to_string()),
    };
    let config = match Config::load(line.argument('C').unwrap_or(DEFAULT_PATH), "deliver") {
        Ok(config) => config,
        Err(error) => return ExitCode::from(fail(exit::CONFIG, &error.to_string())),
    };
    let socket = config
        .file(Opt::Lmtpsocket)
        .unwrap_or_else(|| config.configdirectory().join("socket/lmtp"));
    let code = if line.has('l') {
        relay(socket)
    } else {
        let recipients = recipients(&line);
        if recipients.is_empty() {
            return usage("no user and no mailbox");
        }
        deliver(&config, socket, &line, &recipients)
    };
    match code {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("deliver: {error}");
            ExitCode::from(exit::TEMPFAIL)
        }
    }
}

fn usage(problem: &str) -> ExitCode {
    eprintln!("deliver: {problem}");
    eprintln!(
        "421-4.3.0 usage: deliver [-C <alt_config> ] [-m mailbox] [-a auth] [-r return_path] [-l] [-D]"
    );
    eprintln!("421 4.3.0 {}", cyrus_version());
    ExitCode::from(exit::USAGE)
}

/// The addresses: users, each with the mailbox of `-m`, or a shared mailbox.
fn recipients(line: &CommandLine) -> Vec<String> {
    match (line.argument('m'), &line.arguments[..]) {
        (Some(mailbox), []) => vec![format!("+{mailbox}")],
        (Some(mailbox), users) => users.iter().map(|user| format!("{user}+{mailbox}")).collect(),
        (None, users) => users.to_vec(),
    }
}

fn deliver(
    config: &Config,
    socket: PathBuf,
    line: &CommandLine,
    recipients: &[String],
) -> Result<u8, DeliverError> {
    let mut lmtp = Lmtp::connect(socket)?;
    lmtp.expect_good()?;
    lmtp.say("LHLO deliver")?;
    lmtp.expect_good()?;
    let sender = match line.argument('r').or(line.argument('f')) {
        Some("<>") => String::new(),
        Some(path) => path.to_owned(),
        None => own_name(config),
    };
    let auth = line.argument('a').map_or_else(|| "<>".to_owned(), xtext);
    lmtp.say(&format!("MAIL FROM:<{sender}> AUTH={auth}"))?;
    lmtp.expect_good()?;
    let extra = if line.has('q') { " IGNOREQUOTA" } else { "" };
    let mut worst = 0;
    let mut accepted = Vec::new();
    for recipient in recipients {
        lmtp.say(&format!("RCPT TO:<{recipient}>{extra}"))?;
        let reply = lmtp.reply()?;
        match reply.is_good() {
            true => accepted.push(recipient),
            false => worst = worst.max(reply.explain(recipient)),
        }
    }
    if !accepted.is_empty() {
        lmtp.say("DATA")?;
        let reply = lmtp.reply()?;
        if reply.code / 100 != 3 {
            return Err(DeliverError::Refused(reply.text));
        }
        send_message(&mut io::stdin().lock(), &mut lmtp.output)?;
        lmtp.output.flush()?;
        for recipient in accepted {
            let reply = lmtp.reply()?;
            if !reply.is_good() {
                worst = worst.max(reply.explain(recipient));
            }
        }
    }
    // The message is where it belongs; how the connection ends does not matter.
    let _ = lmtp.say("QUIT");
    Ok(worst)
}

/// The user who runs this, as the sender of what comes from nobody else.
fn own_name(config: &Config) -> String {
    nix::unistd::User::from_uid(nix::unistd::getuid())
        .ok()
        .flatten()
        .map_or_else(|| config.cyrus_user(), |user| user.name)
}

/// RFC 3461 xtext.
fn xtext(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'+' | b'=' | ..=b' ' | 127.. => format!("+{byte:02X}"),
            _ => char::from(byte).to_string(),
        })
        .collect()
}

/// Sends lines with CRLF and stuffed dots, and the final dot.
fn send_message(from: &mut impl Read, to: &mut impl Write) -> io::Result<()> {
    let mut from = BufReader::with_capacity(64 * 1024, from);
    let mut at_line_start = true;
    let mut after_cr = false;
    loop {
        let chunk = from.fill_buf()?;
        if chunk.is_empty() {
            break;
        }
        for &byte in chunk {
            if at_line_start && byte == b'.' {
                to.write_all(b".")?;
            }
            if byte == b'\n' && !after_cr {
                to.write_all(b"\r")?;
            }
            to.write_all(&[byte])?;
            at_line_start = byte == b'\n';
            after_cr = byte == b'\r';
        }
        let count = chunk.len();
        from.consume(count);
    }
    to.write_all(if at_line_start { b".\r\n" } else { b"\r\n.\r\n" })
}

/// `-l`: standard input and output as they are, for mail programs that speak LMTP to a command.
fn relay(socket: PathBuf) -> Result<u8, DeliverError> {
    let stream = connect(socket)?;
    let mut outgoing = stream.try_clone()?;
    // Ends with the process when the server closes first.
    thread::spawn(move || {
        let _ = io::copy(&mut io::stdin().lock(), &mut outgoing);
        let _ = outgoing.shutdown(std::net::Shutdown::Write);
    });
    let mut incoming = stream;
    let mut stdout = io::stdout().lock();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = incoming.read(&mut buffer)?;
        if count == 0 {
            return Ok(0);
        }
        stdout.write_all(buffer.get(..count).unwrap_or_default())?;
        stdout.flush()?;
    }
}

fn connect(socket: PathBuf) -> Result<UnixStream, DeliverError> {
    UnixStream::connect(&socket).map_err(|source| DeliverError::Connect { socket, source })
}

impl Lmtp {
    fn connect(socket: PathBuf) -> Result<Self, DeliverError> {
        let stream = connect(socket)?;
        Ok(Self {
            input: BufReader::new(stream.try_clone()?),
            output: BufWriter::new(stream),
        })
    }

    fn say(&mut self, line: &str) -> io::Result<()> {
        write!(self.output, "{line}\r\n")?;
        self.output.flush()
    }

    fn reply(&mut self) -> Result<Reply, DeliverError> {
        loop {
            let mut line = Vec::new();
            (&mut self.input).take(MAX_REPLY).read_until(b'\n', &mut line)?;
            if line.is_empty() {
                return Err(DeliverError::Lost(io::ErrorKind::UnexpectedEof.into()));
            }
            let text = String::from_utf8_lossy(&line).trim_end().to_owned();
            let code = text.get(..3).and_then(|code| code.parse().ok());
            let code = code.ok_or_else(|| DeliverError::Refused(text.clone()))?;
            if text.as_bytes().get(3) != Some(&b'-') {
                return Ok(Reply { code, text });
            }
        }
    }

    fn expect_good(&mut self) -> Result<(), DeliverError> {
        let reply = self.reply()?;
        match reply.is_good() {
            true => Ok(()),
            false => Err(DeliverError::Refused(reply.text)),
        }
    }
}

/// Octets of a reply line; RFC 5321 allows 512.
const MAX_REPLY: u64 = 8 * 1024;

/// The last line of a reply.
struct Reply {
    code: u16,
    text: String,
}

impl Reply {
    fn is_good(&self) -> bool {
        self.code / 100 == 2
    }

    /// Says on stderr why somebody does not get the message, unless trying again helps; returns the exit code.
    fn explain(&self, recipient: &str) -> u8 {
        let enhanced = self.text.get(4..).unwrap_or_default();
        if self.code / 100 == 4 {
            return exit::TEMPFAIL;
        }
        let why = match enhanced {
            text if text.starts_with("5.1.1") => "Mailbox does not exist",
            text if text.starts_with("5.2.2") => "Over quota",
            text if text.starts_with("5.7.1") => "Permission denied",
            other => other,
        };
        eprintln!("{recipient}: {why}");
        DATA_ERROR
    }
}

/// EX_DATAERR of sysexits.h.
const DATA_ERROR: u8 = 65;

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(message: &str) -> String {
        let mut out = Vec::new();
        send_message(&mut message.as_bytes(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn lines_get_crlf_and_dots_are_stuffed() {
        assert_eq!(sent("a\n.b\r\n..c"), "a\r\n..b\r\n...c\r\n.\r\n");
        assert_eq!(sent(""), ".\r\n");
        assert_eq!(sent("a\r\n"), "a\r\n.\r\n");
    }

    #[test]
    fn mailboxes_are_plus_addresses_as_cyrus_writes_them() {
        let line = |args: &[&str]| getopt::parse(args.iter().map(OsString::from), "m:").unwrap();
        assert_eq!(recipients(&line(&["-m", "work", "bob"])), ["bob+work"]);
        assert_eq!(recipients(&line(&["-m", "shared.x"])), ["+shared.x"]);
        assert_eq!(recipients(&line(&["bob", "carol"])), ["bob", "carol"]);
    }

    #[test]
    fn xtext_hides_what_would_end_the_parameter() {
        assert_eq!(xtext("bob"), "bob");
        assert_eq!(xtext("a b+c="), "a+20b+2Bc+3D");
    }
}
