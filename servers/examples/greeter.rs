//! A service with many connections in one process, for cyrus.conf:
//!
//! ```text
//! SERVICES {
//!   greeter  cmd="/path/to/greeter" listen="127.0.0.1:4000"
//! }
//! ```
//!
//! Greets each client with its process id and the number of the connection, then echoes lines. After SIGHUP it takes no
//! more connections and ends with its last client; SIGTERM ends it at once.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use cyrus_servers::service::MasterLink;

fn main() -> std::io::Result<()> {
    let link = MasterLink::take().ok_or_else(|| std::io::Error::other("not started by a master"))?;
    let socket = link
        .listener()
        .ok_or_else(|| std::io::Error::other("no listening socket"))?;
    let listener = TcpListener::from(socket);
    listener.set_nonblocking(true)?;
    let (finish, end) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
    signal_hook::flag::register(signal_hook::consts::SIGHUP, finish.clone())?;
    signal_hook::flag::register(signal_hook::consts::SIGTERM, end.clone())?;

    let mut clients = Vec::new();
    let mut count = 0;
    while !finish.load(Ordering::Relaxed) && !end.load(Ordering::Relaxed) {
        match listener.accept() {
            Ok((stream, _)) => {
                count += 1;
                link.connection()?;
                clients.push(thread::spawn(move || greet(stream, count)));
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                thread::sleep(Duration::from_millis(5))
            }
            Err(error) => return Err(error),
        }
    }
    drop(listener);
    link.busy()?;
    while !end.load(Ordering::Relaxed) && clients.iter().any(|client| !client.is_finished()) {
        thread::sleep(Duration::from_millis(5));
    }
    Ok(())
}

fn greet(stream: TcpStream, count: u32) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    let mut output = stream.try_clone()?;
    writeln!(output, "{} {count}", std::process::id())?;
    for line in BufReader::new(stream).lines() {
        writeln!(output, "{}", line?)?;
    }
    Ok(())
}
