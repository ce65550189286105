//! A socket of its own for scrapes: one small thread, one answer at a time, with limits on everything.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::NetMetrics;
use crate::syslog::{Level, log};

/// Why there is no socket for scrapes.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The setting is no address.
    #[error("metrics_listen: {0} is no address; say 127.0.0.1:9190")]
    Address(String),
    /// The system did not allow it.
    #[error("metrics_listen: {address}: {error}")]
    Socket {
        /// The address.
        address: SocketAddr,
        /// What it said.
        error: io::Error,
    },
}

/// Answers scrapes at an address from now on. Returns the address, with the port that was chosen where 0 was asked for; `None`
/// if somebody else has it still, as a predecessor may that serves its last sessions: then it waits for him.
///
/// # Errors
/// It cannot listen there.
pub fn listen(address: &str, metrics: Arc<NetMetrics>) -> Result<Option<SocketAddr>, ListenError> {
    let found = address.to_socket_addrs().ok().and_then(|mut found| found.next());
    let address = found.ok_or_else(|| ListenError::Address(address.to_owned()))?;
    let failed = |error| ListenError::Socket { address, error };
    let first = match TcpListener::bind(address) {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => None,
        bound => Some(bound.map_err(failed)?),
    };
    let bound = first
        .as_ref()
        .map(TcpListener::local_addr)
        .transpose()
        .map_err(failed)?;
    thread::Builder::new()
        .name("metrics".to_owned())
        .spawn(move || serve(&first.unwrap_or_else(|| wait_for(address)), &metrics))
        .map_err(failed)?;
    Ok(bound)
}

/// Waits until an address is free.
fn wait_for(address: SocketAddr) -> TcpListener {
    let what = format!(
        "metrics_listen: {address} is in use; each daemon needs one of its own (SERVICE_metrics_listen)"
    );
    log(Level::Warning, &what);
    loop {
        thread::sleep(Duration::from_secs(2));
        if let Ok(listener) = TcpListener::bind(address) {
            return listener;
        }
    }
}

fn serve(listener: &TcpListener, metrics: &NetMetrics) {
    loop {
        let answered = listener.accept().and_then(|(stream, _)| answer(stream, metrics));
        if let Err(error) = answered
            && matches!(
                error.raw_os_error(),
                Some(libc_emfile::EMFILE | libc_emfile::ENFILE)
            )
        {
            log(Level::Warning, &format!("metrics: {error}"));
            thread::sleep(Duration::from_secs(1));
        }
    }
}

/// What the system says when there are too many descriptors, in the process or at all.
mod libc_emfile {
    pub(super) const EMFILE: i32 = nix::errno::Errno::EMFILE as i32;
    pub(super) const ENFILE: i32 = nix::errno::Errno::ENFILE as i32;
}

fn answer(mut stream: TcpStream, metrics: &NetMetrics) -> io::Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut head = BufReader::new(stream.try_clone()?.take(MAX_REQUEST));
    let mut request = String::new();
    head.read_line(&mut request)?;
    let mut line = String::new();
    while head.read_line(&mut line)? > 2 {
        line.clear();
    }
    let mut words = request.split_whitespace();
    let (status, body) = match (words.next(), words.next()) {
        (Some("GET" | "HEAD"), Some("/metrics" | "/")) => ("200 OK", metrics.text()),
        (Some("GET" | "HEAD"), Some(_)) => ("404 Not Found", "metrics are at /metrics\n".to_owned()),
        _ => ("400 Bad Request", "say GET /metrics\n".to_owned()),
    };
    let sent = if request.starts_with("HEAD") { "" } else { &body };
    write!(
        stream,
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{sent}",
        body.len()
    )?;
    stream.shutdown(std::net::Shutdown::Write)
}

/// How long a scraper may take for anything.
const PATIENCE: Duration = Duration::from_secs(5);
/// Octets of a request.
const MAX_REQUEST: u64 = 8 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        answer
    }

    #[test]
    fn scrapes_are_answered_and_anything_else_is_told_why_not() {
        let address = listen("127.0.0.1:0", Arc::default()).unwrap().unwrap();
        let scraped = ask(address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(scraped.starts_with("HTTP/1.1 200 OK\r\n"), "{scraped}");
        assert!(scraped.contains("\ncyrus_jobs_waiting 0\n"), "{scraped}");
        assert!(ask(address, "GET /x HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(ask(address, "nonsense\r\n\r\n").starts_with("HTTP/1.1 400 "));
        assert!(matches!(
            listen("nowhere", Arc::default()),
            Err(ListenError::Address(_))
        ));
    }
}
