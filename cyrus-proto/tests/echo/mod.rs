//! A session with one command for each kind of step, and what watches it.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cyrus_proto::frame::{LineEvent, LineFramer};
use cyrus_proto::job::{
    Done, Job, LayerError, Link, Peer, Progress, SecurityLayer, Session, Step, TlsFacts, Work,
};
use cyrus_proto::net::{Observer, Transcript};
use cyrus_proto::output::{Output, SharedBytes};

pub(crate) type Watchers = Arc<Mutex<Vec<Link>>>;

pub(crate) struct Echo {
    framer: LineFramer,
    output: Output,
    counts: Arc<Counts>,
    link: Option<Link>,
    alarm: Option<Instant>,
    tls: TlsFacts,
    user: Option<String>,
    running: bool,
    closing: bool,
    stop_later: bool,
}

impl Echo {
    pub(crate) fn new(counts: &Arc<Counts>) -> Self {
        Self {
            framer: LineFramer::new(1000),
            output: Output::new(),
            counts: Arc::clone(counts),
            link: None,
            alarm: None,
            tls: TlsFacts::default(),
            user: None,
            running: false,
            closing: false,
            stop_later: false,
        }
    }

    fn command(&mut self, line: &str, now: Instant) -> Option<Step> {
        let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
        let rest = rest.to_owned();
        let number = rest.parse::<u64>().unwrap_or(0);
        match verb {
            "ECHO" => self.output.line(&rest),
            "SHARED" => {
                let shared: Arc<dyn SharedBytes> = Arc::new(pattern(number as usize));
                self.output.put_shared(&shared, 0..number as usize);
            }
            "FILE" => {
                let mut file = tempfile::tempfile().unwrap();
                file.write_all(&pattern(number as usize)).unwrap();
                self.output.put_file(Arc::<File>::new(file), 0, number);
            }
            "JOB" => return Some(self.run(Job::once(move |out| out.line(&rest)))),
            "SLEEP" => {
                return Some(self.run(Job::once(move |out| {
                    std::thread::sleep(Duration::from_millis(number));
                    out.line("slept");
                })));
            }
            "LOCK" => {
                let gate = Arc::clone(&self.counts.gate);
                return Some(self.run(Job::once(move |out| {
                    drop(gate.lock().unwrap());
                    out.line("locked");
                })));
            }
            "PANIC" => return Some(self.run(Job::once(|_: &mut Output| -> () { panic!("on purpose") }))),
            "CHAIN" => return Some(self.run(Job::new(Chain(number)))),
            "WATCH" => {
                self.counts.watchers.lock().unwrap().extend(self.link.clone());
                self.output.line("watching");
            }
            "ALARM" => {
                self.alarm = Some(now + Duration::from_millis(number));
                self.output.line("set");
            }
            "USER" => {
                self.user = Some(rest);
                self.output.line("welcome");
            }
            "TLS" => {
                self.output.line("go");
                return Some(Step::StartTls);
            }
            "TLS?" => {
                let who = self.tls.client_identity.as_deref().unwrap_or("nobody");
                self.output
                    .line(&format!("{} {} {who}", self.tls.version, self.tls.strength_bits));
            }
            "LAYER" => {
                self.output.line("ok");
                return Some(Step::Secure(Box::new(Xor)));
            }
            "COMPRESS" => {
                self.output.line("ok");
                return Some(Step::Compress(Vec::new()));
            }
            "BARE" => {
                self.output.line("ok");
                return Some(Step::Bare);
            }
            "QUIT" => {
                self.output.line("bye");
                return Some(Step::Close);
            }
            _ => self.output.line("what?"),
        }
        None
    }

    fn run(&mut self, job: Job) -> Step {
        self.running = true;
        Step::Run(job)
    }
}

impl Session for Echo {
    fn begin(&mut self, link: &Link, _now: Instant) {
        assert!(matches!(link.peer(), Peer::Tcp { .. } | Peer::Unix));
        self.link = Some(link.clone());
        self.output.line("hello");
    }

    fn feed(&mut self, input: &[u8], _now: Instant) {
        assert!(!self.running, "fed while a job runs");
        self.framer.push(input);
    }

    fn step(&mut self, now: Instant) -> Step {
        assert!(!self.running, "stepped while a job runs");
        loop {
            if self.closing {
                return Step::Close;
            }
            match self.framer.next() {
                LineEvent::NeedInput => return Step::NeedInput,
                LineEvent::TooLong(_) => self.output.line("too long"),
                LineEvent::Line(line) => {
                    if let Some(step) = self.command(&String::from_utf8_lossy(&line), now) {
                        return step;
                    }
                }
            }
        }
    }

    fn done(&mut self, done: Done, now: Instant) {
        self.running = false;
        if done.is_aborted() {
            self.output.line("aborted");
        }
        if self.stop_later {
            self.shut_down(now);
        }
    }

    fn hint(&mut self, _now: Instant) {
        self.output.line("news");
    }

    fn tick(&mut self, _now: Instant) {
        self.alarm = None;
        self.output.line("ring");
        self.closing = true;
    }

    fn deadline(&self) -> Option<Instant> {
        self.alarm
    }

    fn output(&mut self) -> &mut Output {
        &mut self.output
    }

    fn secured(&mut self, tls: &TlsFacts) {
        self.framer.clear();
        self.tls = tls.clone();
    }

    fn end_of_input(&mut self) {
        self.output.line("ended");
    }

    fn shut_down(&mut self, _now: Instant) {
        if self.running {
            self.stop_later = true;
        } else {
            self.output.line("stopping");
            self.closing = true;
        }
    }

    fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }
}

fn pattern(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i % 251) as u8).collect()
}

struct Chain(u64);

impl Work for Chain {
    fn run(&mut self, output: &mut Output, _budget: usize) -> Progress {
        if self.0 == 0 {
            return Progress::Done(Done::new(()));
        }
        self.0 -= 1;
        output.put_vec(vec![b'z'; 60_000]);
        Progress::More
    }
}

struct Xor;

impl SecurityLayer for Xor {
    fn encode(&mut self, clear: &[u8], wire: &mut Vec<u8>) -> Result<(), LayerError> {
        wire.extend(clear.iter().map(|byte| byte ^ 0x55));
        Ok(())
    }

    fn decode(&mut self, wire: &[u8], clear: &mut Vec<u8>) -> Result<(), LayerError> {
        clear.extend(wire.iter().map(|byte| byte ^ 0x55));
        Ok(())
    }
}

#[derive(Default)]
pub(crate) struct Counts {
    pub(crate) watchers: Watchers,
    pub(crate) gate: Arc<Mutex<()>>,
    pub(crate) transcript: Arc<Mutex<Vec<u8>>>,
    jobs: AtomicUsize,
    troubles: AtomicUsize,
    tls_failures: AtomicUsize,
}

impl Counts {
    pub(crate) fn jobs(&self) -> usize {
        self.jobs.load(Ordering::SeqCst)
    }

    pub(crate) fn troubles(&self) -> usize {
        self.troubles.load(Ordering::SeqCst)
    }

    pub(crate) fn tls_failures(&self) -> usize {
        self.tls_failures.load(Ordering::SeqCst)
    }
}

impl Observer for Counts {
    fn job_ran(&self, _service: &str, _took: Duration) {
        self.jobs.fetch_add(1, Ordering::SeqCst);
    }

    fn trouble(&self, _text: &str) {
        self.troubles.fetch_add(1, Ordering::SeqCst);
    }

    fn tls_failed(&self, _service: &str, _peer: &Peer, _reason: &str) {
        self.tls_failures.fetch_add(1, Ordering::SeqCst);
    }

    fn transcript(&self, _service: &str, user: &str, _session: &str) -> Option<Box<dyn Transcript>> {
        self.transcript
            .lock()
            .unwrap()
            .extend_from_slice(format!("[{user}]").as_bytes());
        Some(Box::new(Log(Arc::clone(&self.transcript))))
    }
}

struct Log(Arc<Mutex<Vec<u8>>>);

impl Transcript for Log {
    fn received(&mut self, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap();
        log.push(b'<');
        log.extend_from_slice(bytes);
    }

    fn sent(&mut self, bytes: &[u8]) {
        let mut log = self.0.lock().unwrap();
        log.push(b'>');
        log.extend_from_slice(bytes);
    }
}

/// A self-signed certificate and its key, in files of their own.
pub(crate) struct Certificate {
    pub(crate) file: PathBuf,
    pub(crate) key: PathBuf,
    _folder: tempfile::TempDir,
}

impl Certificate {
    pub(crate) fn new(name: &str) -> Self {
        use openssl::asn1::Asn1Time;
        use openssl::ec::{EcGroup, EcKey};
        use openssl::pkey::PKey;
        use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
        use openssl::x509::{X509, X509NameBuilder};

        let group = EcGroup::from_curve_name(openssl::nid::Nid::X9_62_PRIME256V1).unwrap();
        let key = PKey::from_ec_key(EcKey::generate(&group).unwrap()).unwrap();
        let mut subject = X509NameBuilder::new().unwrap();
        subject.append_entry_by_text("CN", name).unwrap();
        let subject = subject.build();
        let mut builder = X509::builder().unwrap();
        builder.set_version(2).unwrap();
        let serial = openssl::bn::BigNum::from_u32(1)
            .unwrap()
            .to_asn1_integer()
            .unwrap();
        builder.set_serial_number(&serial).unwrap();
        builder.set_subject_name(&subject).unwrap();
        builder.set_issuer_name(&subject).unwrap();
        builder.set_pubkey(&key).unwrap();
        builder
            .set_not_before(&Asn1Time::days_from_now(0).unwrap())
            .unwrap();
        builder
            .set_not_after(&Asn1Time::days_from_now(2).unwrap())
            .unwrap();
        builder
            .append_extension(BasicConstraints::new().ca().build().unwrap())
            .unwrap();
        let names = SubjectAlternativeName::new()
            .dns(name)
            .build(&builder.x509v3_context(None, None))
            .unwrap();
        builder.append_extension(names).unwrap();
        builder
            .sign(&key, openssl::hash::MessageDigest::sha256())
            .unwrap();

        let folder = tempfile::tempdir().unwrap();
        let (file, key_file) = (folder.path().join("cert.pem"), folder.path().join("key.pem"));
        std::fs::write(&file, builder.build().to_pem().unwrap()).unwrap();
        std::fs::write(&key_file, key.private_key_to_pem_pkcs8().unwrap()).unwrap();
        Self {
            file,
            key: key_file,
            _folder: folder,
        }
    }
}
