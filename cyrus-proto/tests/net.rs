//! The mio core, with a small session that has one command for each kind of step.
#![cfg(feature = "net")]
#![allow(clippy::unwrap_used)]

mod echo;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use cyrus_proto::net::{
    ConnectTlsOptions, Handle, Handshake, Listener, NetOptions, Server, Service, TlsOptions, TlsPipe,
    TlsRead, TlsServer, connect_tls,
};
use echo::{Certificate, Counts, Echo};
use miniz_oxide::deflate::core::{CompressionStrategy, CompressorOxide, TDEFLFlush, compress_to_output};
use miniz_oxide::inflate::stream::{InflateState, inflate};
use miniz_oxide::{DataFormat, MZFlush};

struct Running {
    address: SocketAddr,
    handle: Handle,
    thread: Option<JoinHandle<()>>,
    counts: Arc<Counts>,
    service: Arc<Service>,
}

impl Running {
    fn start(options: &NetOptions, change: impl FnOnce(&mut Service)) -> Self {
        let counts = Arc::new(Counts::default());
        let server = Server::new(options, counts.clone()).unwrap();
        let shared = Arc::clone(&counts);
        let mut service = Service::new("echo", move |_| Box::new(Echo::new(&shared)));
        change(&mut service);
        let service = Arc::new(service);
        let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let handle = server.handle();
        handle.listen(listener, service.clone());
        let thread = std::thread::spawn(move || server.run().unwrap());
        Self {
            address,
            handle,
            thread: Some(thread),
            counts,
            service,
        }
    }

    fn connect(&self) -> TcpStream {
        let mut stream = self.connect_silently();
        assert_eq!(read_line(&mut stream), "hello");
        stream
    }

    fn connect_silently(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        stream
    }

    fn stop(&mut self) {
        self.handle.stop(Duration::from_secs(5));
        self.thread.take().unwrap().join().unwrap();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.handle.stop(Duration::ZERO);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

fn both_ways(test: impl Fn(&Running)) {
    for (reactors, workers) in [(1, 0), (1, 2), (3, 2)] {
        let options = NetOptions {
            reactors,
            workers,
            ..NetOptions::default()
        };
        test(&Running::start(&options, |_| {}));
    }
}

fn read_line(stream: &mut impl Read) -> String {
    let mut line = Vec::new();
    let mut byte = [0];
    while stream.read(&mut byte).unwrap() == 1 && byte[0] != b'\n' {
        line.push(byte[0]);
    }
    String::from_utf8(line).unwrap().trim_end().to_owned()
}

fn read_to_end(stream: &mut impl Read) -> Vec<u8> {
    let mut all = Vec::new();
    stream.read_to_end(&mut all).unwrap();
    all
}

#[test]
fn commands_with_and_without_jobs_answer_in_order() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream
            .write_all(b"ECHO a\r\nJOB b\r\nECHO c\r\nJOB d\r\nQUIT\r\n")
            .unwrap();
        assert_eq!(read_to_end(&mut stream), b"a\r\nb\r\nc\r\nd\r\nbye\r\n");
    });
}

#[test]
fn large_shared_and_file_slices_arrive_whole() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream
            .write_all(b"SHARED 3000000\r\nFILE 2000000\r\nCHAIN 50\r\nQUIT\r\n")
            .unwrap();
        let all = read_to_end(&mut stream);
        assert_eq!(all.len(), 3_000_000 + 2_000_000 + 50 * 60_000 + b"bye\r\n".len());
        assert!(
            all[..3_000_000]
                .iter()
                .enumerate()
                .all(|(i, &b)| b == (i % 251) as u8)
        );
        assert!(
            all[3_000_000..5_000_000]
                .iter()
                .enumerate()
                .all(|(i, &b)| b == (i % 251) as u8)
        );
        assert!(all.ends_with(b"bye\r\n"));
    });
}

#[test]
fn a_client_that_does_not_read_stops_its_own_job_only() {
    both_ways(|server| {
        let mut slow = server.connect();
        slow.write_all(b"CHAIN 1000\r\nQUIT\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let pieces = server.counts.jobs();
        assert!(pieces < 500, "the chain paused; {pieces} pieces ran");
        let mut other = server.connect();
        other.write_all(b"JOB x\r\n").unwrap();
        assert_eq!(read_line(&mut other), "x");
        assert_eq!(read_to_end(&mut slow).len(), 1000 * 60_000 + b"bye\r\n".len());
    });
}

#[test]
fn a_panicking_job_costs_only_its_command() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"PANIC\r\nJOB y\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "aborted");
        assert_eq!(read_line(&mut stream), "y");
        assert_eq!(server.counts.troubles(), 1);
    });
}

#[test]
fn jobs_that_wait_for_a_lock_do_not_hold_up_the_others() {
    let server = Running::start(
        &NetOptions {
            workers: 1,
            most_workers: 4,
            ..NetOptions::default()
        },
        |_| {},
    );
    let gate = Arc::clone(&server.counts.gate);
    let held = gate.lock().unwrap();
    let mut stuck: Vec<_> = (0..3).map(|_| server.connect()).collect();
    for stream in &mut stuck {
        stream.write_all(b"LOCK\r\n").unwrap();
    }
    let mut other = server.connect();
    other.write_all(b"JOB x\r\n").unwrap();
    assert_eq!(read_line(&mut other), "x");
    drop(held);
    for stream in &mut stuck {
        assert_eq!(read_line(stream), "locked");
    }
}

#[test]
fn a_hint_reaches_an_idle_session() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"WATCH\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "watching");
        for link in server.counts.watchers.lock().unwrap().iter() {
            link.wake();
        }
        assert_eq!(read_line(&mut stream), "news");
    });
}

#[test]
fn a_deadline_ticks_and_can_close() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"ALARM 100\r\n").unwrap();
        assert_eq!(read_to_end(&mut stream), b"set\r\nring\r\n");
    });
}

#[test]
fn stopping_finishes_the_command_in_hand_and_says_goodbye() {
    for workers in [0, 2] {
        let mut server = Running::start(
            &NetOptions {
                workers,
                ..NetOptions::default()
            },
            |_| {},
        );
        let mut idle = server.connect();
        let mut busy = server.connect();
        busy.write_all(b"SLEEP 300\r\n").unwrap();
        std::thread::sleep(Duration::from_millis(50));
        server.stop();
        assert_eq!(read_to_end(&mut idle), b"stopping\r\n");
        assert_eq!(read_to_end(&mut busy), b"slept\r\nstopping\r\n");
    }
}

#[test]
fn one_connection_too_many_is_told_so() {
    let server = Running::start(&NetOptions::default(), |service| {
        service.max_connections = 2;
        service.refusal = b"too many\r\n".to_vec();
    });
    let _first = server.connect();
    let second = server.connect();
    assert_eq!(read_to_end(&mut server.connect_silently()), b"too many\r\n");
    drop(second);
    let patience = Instant::now() + Duration::from_secs(10);
    while server.service.open_connections() > 1 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    server.connect();
}

#[test]
fn the_last_words_reach_a_client_that_keeps_sending() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"QUIT\r\n").unwrap();
        let mut copy = stream.try_clone().unwrap();
        let sender = std::thread::spawn(move || while copy.write_all(&[b'x'; 4096]).is_ok() {});
        std::thread::sleep(Duration::from_millis(100));
        assert_eq!(read_line(&mut stream), "bye");
        drop(stream);
        server.handle.stop(Duration::ZERO);
        sender.join().unwrap();
    });
}

#[test]
fn a_half_closed_connection_gets_its_answers() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"JOB a\r\nECHO b\r\n").unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(read_to_end(&mut stream), b"a\r\nb\r\nended\r\n");
    });
}

#[test]
fn a_security_layer_covers_everything_after_it() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"LAYER\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "ok");
        let hidden: Vec<u8> = b"JOB secret\r\nQUIT\r\n".iter().map(|b| b ^ 0x55).collect();
        stream.write_all(&hidden).unwrap();
        let answer: Vec<u8> = read_to_end(&mut stream).iter().map(|b| b ^ 0x55).collect();
        assert_eq!(answer, b"secret\r\nbye\r\n");
    });
}

#[test]
fn a_transcript_starts_with_the_login() {
    let server = Running::start(&NetOptions::default(), |service| service.transcripts = true);
    let mut stream = server.connect();
    stream.write_all(b"ECHO before\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "before");
    stream.write_all(b"USER fred\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "welcome");
    stream.write_all(b"FILE 3000\r\nQUIT\r\n").unwrap();
    assert_eq!(read_to_end(&mut stream).len(), 3005);
    let log = server.counts.transcript.lock().unwrap().clone();
    assert!(log.starts_with(b"[fred]"), "{}", String::from_utf8_lossy(&log));
    assert!(log.windows(11).any(|w| w == b"<FILE 3000\r") && log.ends_with(b"bye\r\n"));
}

#[test]
fn adopted_unix_sockets_are_served() {
    both_ways(|server| {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        server.handle.adopt(theirs, server.service.clone());
        assert_eq!(read_line(&mut ours), "hello");
        ours.write_all(b"JOB x\r\nQUIT\r\n").unwrap();
        assert_eq!(read_to_end(&mut ours), b"x\r\nbye\r\n");
    });
}

#[test]
fn a_pair_of_buffers_is_enough_to_serve_a_session() {
    let input = b"JOB a\r\nCHAIN 3\r\nECHO b\r\n".as_slice();
    let mut output = Vec::new();
    let link = cyrus_proto::job::Link::detached(cyrus_proto::job::Peer::Unix);
    let mut session = Echo::new(&Arc::default());
    cyrus_proto::drive::drive(&mut session, input, &mut output, &link).unwrap();
    assert!(output.starts_with(b"hello\r\na\r\nzzz") && output.ends_with(b"zzzb\r\nended\r\n"));
    assert_eq!(output.len(), 180_000 + b"hello\r\na\r\nb\r\nended\r\n".len());
}

#[test]
fn many_connections_at_once_are_all_answered() {
    let server = Running::start(
        &NetOptions {
            reactors: 2,
            workers: 2,
            ..NetOptions::default()
        },
        |_| {},
    );
    let mut streams: Vec<_> = (0..200).map(|_| server.connect_silently()).collect();
    for (number, stream) in streams.iter_mut().enumerate() {
        stream.write_all(format!("JOB {number}\r\n").as_bytes()).unwrap();
    }
    for (number, stream) in streams.iter_mut().enumerate() {
        assert_eq!(read_line(stream), "hello");
        assert_eq!(read_line(stream), number.to_string());
    }
}

#[test]
fn clients_that_vanish_at_any_moment_leave_nothing_behind() {
    let certificate = Certificate::new("localhost");
    let tls = TlsServer::new(&TlsOptions::new(&certificate.file, &certificate.key)).unwrap();
    let options = NetOptions {
        reactors: 2,
        workers: 2,
        ..NetOptions::default()
    };
    let server = Running::start(&options, |service| service.tls = Some(tls));
    std::thread::scope(|scope| {
        for thread in 0..4_usize {
            let server = &server;
            scope.spawn(move || {
                for round in 0..60 {
                    let mut stream = server.connect_silently();
                    let lines: &[u8] = match (round + thread) % 8 {
                        0 => b"",
                        1 => b"JOB x\r\n",
                        2 => b"CHAIN 100\r\n",
                        3 => b"TLS\r\n",
                        4 => b"TLS\r\n\x16\x03\x01\x02",
                        5 => b"SLEEP 5\r\nSLEEP 5\r\n",
                        6 => b"FILE 300000\r\nQUIT\r\n",
                        _ => b"PANIC\r\nECHO half a li",
                    };
                    // The server may have hung up on it already.
                    let _ = stream.write_all(lines);
                    if round % 3 == 0 {
                        let _ = stream.read(&mut [0; 100]);
                    }
                    if round % 5 == 0 {
                        let _ = stream.shutdown(std::net::Shutdown::Write);
                    }
                }
            });
        }
    });
    let patience = Instant::now() + Duration::from_secs(30);
    while server.service.open_connections() > 0 && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(server.service.open_connections(), 0);
    let mut stream = server.connect();
    stream.write_all(b"JOB still here\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "still here");
}

#[test]
fn an_unlistened_service_accepts_no_more_and_keeps_what_it_has() {
    let counts = Arc::new(Counts::default());
    let server = Server::new(&NetOptions::default(), counts.clone()).unwrap();
    let shared = Arc::clone(&counts);
    let service = Arc::new(Service::new("echo", move |_| Box::new(Echo::new(&shared))));
    let listener = Listener::tcp("127.0.0.1:0".parse().unwrap()).unwrap();
    let address = listener.local_addr().unwrap();
    let handle = server.handle();
    let id = handle.listen(listener, service);
    let thread = std::thread::spawn(move || server.run().unwrap());
    let mut stream = TcpStream::connect(address).unwrap();
    assert_eq!(read_line(&mut stream), "hello");
    handle.unlisten(id);
    let patience = Instant::now() + Duration::from_secs(10);
    while TcpStream::connect(address).is_ok() && Instant::now() < patience {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(TcpStream::connect(address).is_err());
    stream.write_all(b"QUIT\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "bye");
    handle.stop(Duration::from_secs(1));
    thread.join().unwrap();
}

/// The client's side of COMPRESS: what it says, and all that was said to it.
struct Packed {
    deflate: Box<CompressorOxide>,
    inflate: Box<InflateState>,
}

impl Packed {
    fn new() -> Self {
        Self {
            deflate: Box::new(CompressorOxide::with_params(
                DataFormat::Raw,
                6,
                CompressionStrategy::Default,
                15,
            )),
            inflate: InflateState::new_boxed(DataFormat::Raw),
        }
    }

    fn pack(&mut self, clear: &[u8]) -> Vec<u8> {
        let mut wire = Vec::new();
        compress_to_output(&mut self.deflate, clear, TDEFLFlush::Sync, |bytes| {
            wire.extend_from_slice(bytes);
            true
        });
        wire
    }

    fn unpack(&mut self, mut wire: &[u8]) -> Vec<u8> {
        let mut clear = Vec::new();
        let mut buffer = [0; 8_192];
        loop {
            let result = inflate(&mut self.inflate, wire, &mut buffer, MZFlush::None);
            wire = &wire[result.bytes_consumed..];
            clear.extend_from_slice(&buffer[..result.bytes_written]);
            if result.bytes_written == 0 && (wire.is_empty() || result.status.is_err()) {
                return clear;
            }
        }
    }

    /// Reads until the clear text ends so.
    fn hear(&mut self, stream: &mut TcpStream, end: &[u8], key: u8) -> Vec<u8> {
        let (mut clear, mut buffer) = (Vec::new(), [0; 4_096]);
        while !clear.ends_with(end) {
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "closed after {:?}", String::from_utf8_lossy(&clear));
            let wire: Vec<u8> = buffer[..count].iter().map(|byte| byte ^ key).collect();
            clear.extend(self.unpack(&wire));
        }
        clear
    }
}

#[test]
fn a_compressed_connection_gets_each_answer_at_once() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"COMPRESS\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "ok");
        let mut packed = Packed::new();
        for _ in 0..3 {
            stream.write_all(&packed.pack(b"ECHO a\r\n")).unwrap();
            assert_eq!(packed.hear(&mut stream, b"\r\n", 0), b"a\r\n");
        }
        // A long answer made by jobs one after another, a file, and what comes in pieces.
        stream.write_all(&packed.pack(b"CHAIN 5\r\nECHO b\r\n")).unwrap();
        let all = packed.hear(&mut stream, b"b\r\n", 0);
        assert_eq!(all.len(), 5 * 60_000 + 3);
        stream
            .write_all(&packed.pack(b"FILE 300000\r\nECHO c\r\n"))
            .unwrap();
        assert_eq!(packed.hear(&mut stream, b"c\r\n", 0).len(), 300_003);
        for byte in packed.pack(b"JOB d\r\n") {
            stream.write_all(&[byte]).unwrap();
        }
        assert_eq!(packed.hear(&mut stream, b"\r\n", 0), b"d\r\n");
        // A client may say much that takes little room.
        let many = "ECHO x\r\n".repeat(100_000);
        let wire = packed.pack(many.as_bytes());
        assert!(wire.len() < 10_000);
        let mut writer = stream.try_clone().unwrap();
        let sending = std::thread::spawn(move || writer.write_all(&wire).unwrap());
        let mut answers = Vec::new();
        while answers.len() < 300_000 {
            answers.extend(packed.hear(&mut stream, b"x\r\n", 0));
        }
        assert_eq!(answers, "x\r\n".repeat(100_000).as_bytes());
        sending.join().unwrap();
        stream.write_all(&packed.pack(b"QUIT\r\n")).unwrap();
        assert_eq!(packed.unpack(&read_to_end(&mut stream)), b"bye\r\n");
    });
}

#[test]
fn compression_comes_before_the_security_layer_whichever_was_first() {
    both_ways(|server| {
        for (first, second) in [("COMPRESS", "LAYER"), ("LAYER", "COMPRESS")] {
            let mut stream = server.connect();
            let mut packed = Packed::new();
            stream.write_all(format!("{first}\r\n").as_bytes()).unwrap();
            assert_eq!(read_line(&mut stream), "ok");
            let covered = |bytes: &[u8]| bytes.iter().map(|byte| byte ^ 0x55).collect::<Vec<u8>>();
            let second = format!("{second}\r\n");
            if first == "COMPRESS" {
                stream.write_all(&packed.pack(second.as_bytes())).unwrap();
                assert_eq!(packed.hear(&mut stream, b"\r\n", 0), b"ok\r\n");
            } else {
                stream.write_all(&covered(second.as_bytes())).unwrap();
                let mut ok = [0; 4];
                stream.read_exact(&mut ok).unwrap();
                assert_eq!(covered(&ok), b"ok\r\n");
            }
            stream.write_all(&covered(&packed.pack(b"ECHO a\r\n"))).unwrap();
            assert_eq!(packed.hear(&mut stream, b"\r\n", 0x55), b"a\r\n");
            stream.write_all(&covered(&packed.pack(b"BARE\r\n"))).unwrap();
            assert_eq!(packed.hear(&mut stream, b"\r\n", 0x55), b"ok\r\n");
            stream.write_all(b"ECHO bare\r\n").unwrap();
            assert_eq!(read_line(&mut stream), "bare");
        }
    });
}

#[test]
fn what_follows_the_end_of_compression_may_come_with_it() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"COMPRESS\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "ok");
        let mut packed = Packed::new();
        let mut wire = packed.pack(b"ECHO a\r\nBARE\r\n");
        wire.extend_from_slice(b"ECHO b\r\nQUIT\r\n");
        stream.write_all(&wire).unwrap();
        let all = read_to_end(&mut stream);
        let bare = all.windows(6).position(|w| w == b"b\r\nbye").unwrap();
        assert_eq!(packed.unpack(&all[..bare]), b"a\r\nok\r\n");
        assert_eq!(&all[bare..], b"b\r\nbye\r\n");
    });
}

#[test]
fn noise_on_a_compressed_connection_ends_it() {
    both_ways(|server| {
        let mut stream = server.connect();
        stream.write_all(b"COMPRESS\r\n").unwrap();
        assert_eq!(read_line(&mut stream), "ok");
        // A block of the reserved kind.
        stream.write_all(b"\xff\xff\xff\xff").unwrap();
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest);
        assert!(rest.is_empty());
    });
}

/// A blocking TLS client over a pipe.
struct Client {
    stream: TcpStream,
    pipe: Box<dyn TlsPipe>,
}

impl Client {
    fn handshake(stream: TcpStream, options: &ConnectTlsOptions) -> Result<Self, String> {
        let pipe = connect_tls("localhost", options).map_err(|error| error.to_string())?;
        let mut client = Self { stream, pipe };
        loop {
            let wire = std::mem::take(client.pipe.wire());
            client
                .stream
                .write_all(&wire)
                .map_err(|error| error.to_string())?;
            match client.pipe.handshake() {
                Ok(Handshake::Done(_)) => break,
                Ok(Handshake::Wants) => {}
                Err(error) => return Err(error.to_string()),
            }
            let wire = std::mem::take(client.pipe.wire());
            client
                .stream
                .write_all(&wire)
                .map_err(|error| error.to_string())?;
            client.fill()?;
        }
        let wire = std::mem::take(client.pipe.wire());
        client
            .stream
            .write_all(&wire)
            .map_err(|error| error.to_string())?;
        Ok(client)
    }

    fn fill(&mut self) -> Result<(), String> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err("closed".to_owned()),
            Ok(count) => {
                self.pipe.feed(&buffer[..count]);
                Ok(())
            }
            Err(error) => Err(error.to_string()),
        }
    }

    fn say(&mut self, text: &str) {
        self.say_bytes(text.as_bytes());
    }

    /// What comes next, until it ends so.
    fn hear(&mut self, end: &[u8]) -> Vec<u8> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        while all.is_empty() || !all.ends_with(end) {
            match self.pipe.read(&mut buffer).unwrap() {
                TlsRead::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                TlsRead::Wants => self.fill().unwrap(),
                TlsRead::Closed => break,
            }
        }
        all
    }

    fn say_bytes(&mut self, bytes: &[u8]) {
        self.pipe.write(bytes).unwrap();
        let wire = std::mem::take(self.pipe.wire());
        self.stream.write_all(&wire).unwrap();
    }

    fn hear_to_end(&mut self) -> Result<Vec<u8>, String> {
        let (mut all, mut buffer) = (Vec::new(), [0; 4096]);
        loop {
            match self.pipe.read(&mut buffer).map_err(|error| error.to_string())? {
                TlsRead::Bytes(count) => all.extend_from_slice(&buffer[..count]),
                TlsRead::Wants => self.fill()?,
                TlsRead::Closed => return Ok(all),
            }
        }
    }
}

fn tls_server(certificate: &Certificate, implicit: bool, change: impl FnOnce(&mut TlsOptions)) -> Running {
    let mut options = TlsOptions::new(&certificate.file, &certificate.key);
    change(&mut options);
    let tls = TlsServer::new(&options).unwrap();
    Running::start(
        &NetOptions {
            workers: 1,
            ..NetOptions::default()
        },
        |service| {
            service.tls = Some(tls);
            service.implicit_tls = implicit;
        },
    )
}

fn trusting(certificate: &Certificate) -> ConnectTlsOptions {
    ConnectTlsOptions {
        ca_file: Some(certificate.file.clone()),
        ..ConnectTlsOptions::default()
    }
}

#[test]
fn implicit_tls_carries_large_answers() {
    let certificate = Certificate::new("localhost");
    let server = tls_server(&certificate, true, |_| {});
    let mut client = Client::handshake(server.connect_silently(), &trusting(&certificate)).unwrap();
    client.say("JOB a\r\nFILE 1000000\r\nTLS?\r\nQUIT\r\n");
    let all = client.hear_to_end().unwrap();
    assert!(all.starts_with(b"hello\r\na\r\n\x00\x01"));
    assert!(
        all.ends_with(b"TLSv1.3 256 nobody\r\nbye\r\n"),
        "{:?}",
        String::from_utf8_lossy(&all[1_000_000..])
    );
    assert_eq!(
        all.len(),
        b"hello\r\na\r\n".len() + 1_000_000 + b"TLSv1.3 256 nobody\r\nbye\r\n".len()
    );
}

#[test]
fn starttls_forgets_what_was_said_before_it() {
    let certificate = Certificate::new("localhost");
    let server = tls_server(&certificate, false, |options| {
        options.newest = cyrus_proto::net::TlsVersion::Tls1_2
    });
    let mut stream = server.connect();
    // The second line is what an attacker on the way would have added.
    stream.write_all(b"TLS\r\nECHO injected\r\n").unwrap();
    assert_eq!(read_line(&mut stream), "go");
    let mut client = Client::handshake(stream, &trusting(&certificate)).unwrap();
    client.say("ECHO mine\r\nTLS?\r\nQUIT\r\n");
    let all = String::from_utf8(client.hear_to_end().unwrap()).unwrap();
    assert_eq!(all, "mine\r\nTLSv1.2 256 nobody\r\nbye\r\n");
}

#[test]
fn compression_ends_and_tls_stays() {
    let certificate = Certificate::new("localhost");
    let server = tls_server(&certificate, true, |_| {});
    let mut client = Client::handshake(server.connect_silently(), &trusting(&certificate)).unwrap();
    let mut packed = Packed::new();
    client.say("ECHO clear\r\nCOMPRESS\r\n");
    assert_eq!(client.hear(b"ok\r\n"), b"hello\r\nclear\r\nok\r\n");
    client.say_bytes(&packed.pack(b"FILE 200000\r\nBARE\r\n"));
    let mut all = Vec::new();
    while !all.ends_with(b"ok\r\n") {
        let wire = client.hear(b"");
        all.extend(packed.unpack(&wire));
    }
    assert_eq!(all.len(), 200_004);
    client.say("TLS?\r\nQUIT\r\n");
    assert_eq!(client.hear_to_end().unwrap(), b"TLSv1.3 256 nobody\r\nbye\r\n");
}

#[test]
fn a_required_client_certificate_names_its_owner() {
    let (certificate, fred) = (Certificate::new("localhost"), Certificate::new("fred"));
    let server = tls_server(&certificate, true, |options| {
        options.client_ca_file = Some(fred.file.clone());
        options.client_certificates = cyrus_proto::net::ClientCertificates::Require;
        options.newest = cyrus_proto::net::TlsVersion::Tls1_2;
    });
    let mut options = trusting(&certificate);
    assert!(Client::handshake(server.connect_silently(), &options).is_err());
    options.identity = Some((fred.file.clone(), fred.key.clone()));
    let mut client = Client::handshake(server.connect_silently(), &options).unwrap();
    client.say("TLS?\r\nQUIT\r\n");
    assert_eq!(
        client.hear_to_end().unwrap(),
        b"hello\r\nTLSv1.2 256 fred\r\nbye\r\n"
    );
}

/// A list of revoked certificates, signed by `authority`; one that signed itself may be on its own list.
fn revocations(authority: &Certificate, revoked: bool, dir: &std::path::Path) -> std::path::PathBuf {
    let openssl = |args: &[&str]| {
        let output = std::process::Command::new("openssl").args(args).output().unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    };
    let (file, key) = (authority.file.to_str().unwrap(), authority.key.to_str().unwrap());
    let serial = openssl(&["x509", "-in", file, "-noout", "-serial"]);
    let serial = serial.trim().strip_prefix("serial=").unwrap();
    let index = match revoked {
        true => format!("R\t491231235959Z\t200101000000Z\t{serial}\tunknown\t/CN=fred\n"),
        false => String::new(),
    };
    let (index_file, conf) = (dir.join("index"), dir.join("conf"));
    std::fs::write(&index_file, index).unwrap();
    std::fs::write(
        &conf,
        format!(
            "[ca]\ndefault_ca = d\n[d]\ndatabase = {}\ndefault_md = sha256\ndefault_crl_days = 30\n",
            index_file.display()
        ),
    )
    .unwrap();
    let list = dir.join("crl.pem");
    openssl(&[
        "ca",
        "-gencrl",
        "-config",
        conf.to_str().unwrap(),
        "-cert",
        file,
        "-keyfile",
        key,
        "-out",
        list.to_str().unwrap(),
    ]);
    list
}

#[test]
fn a_revoked_client_certificate_is_refused() {
    for revoked in [false, true] {
        let (certificate, fred) = (Certificate::new("localhost"), Certificate::new("fred"));
        let dir = tempfile::tempdir().unwrap();
        let list = revocations(&fred, revoked, dir.path());
        let server = tls_server(&certificate, true, |options| {
            options.client_ca_file = Some(fred.file.clone());
            options.client_crl = Some(list);
            options.client_certificates = cyrus_proto::net::ClientCertificates::Require;
            options.newest = cyrus_proto::net::TlsVersion::Tls1_2;
        });
        let mut options = trusting(&certificate);
        options.identity = Some((fred.file.clone(), fred.key.clone()));
        let handshake = Client::handshake(server.connect_silently(), &options);
        assert_eq!(handshake.is_err(), revoked);
    }
}

#[test]
fn files_of_revocations_and_parameters_that_are_none_are_errors_that_name_them() {
    let certificate = Certificate::new("localhost");
    let dir = tempfile::tempdir().unwrap();
    let noise = dir.path().join("noise.pem");
    std::fs::write(&noise, "no PEM\n").unwrap();
    let mut options = TlsOptions::new(&certificate.file, &certificate.key);
    options.dh_parameters = Some(noise.clone());
    let error = TlsServer::new(&options).unwrap_err().to_string();
    assert!(error.contains("noise.pem"), "{error}");
    options.dh_parameters = None;
    options.client_ca_file = Some(certificate.file.clone());
    options.client_crl = Some(noise);
    let error = TlsServer::new(&options).unwrap_err().to_string();
    assert!(error.contains("noise.pem"), "{error}");
}

#[test]
fn clear_text_where_tls_is_expected_is_refused_and_counted() {
    let certificate = Certificate::new("localhost");
    let server = tls_server(&certificate, true, |_| {});
    let mut stream = server.connect_silently();
    stream.write_all(b"a LOGIN fred secret\r\n").unwrap();
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    assert!(!rest.windows(5).any(|w| w == b"hello"));
    assert_eq!(server.counts.tls_failures(), 1);
}

#[test]
fn a_wrong_key_is_an_error_that_names_the_file() {
    let (one, two) = (Certificate::new("localhost"), Certificate::new("localhost"));
    let error = TlsServer::new(&TlsOptions::new(&one.file, &two.key))
        .unwrap_err()
        .to_string();
    assert!(error.contains(two.key.to_str().unwrap()), "{error}");
    let missing = TlsServer::new(&TlsOptions::new("/nonexistent.pem", &two.key))
        .unwrap_err()
        .to_string();
    assert!(missing.contains("/nonexistent.pem"), "{missing}");
}
