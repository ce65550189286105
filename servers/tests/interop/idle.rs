//! What one implementation delivers wakes the idle sessions of the other at once, whoever's `idled` runs, and ours
//! without any.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::rig::programs::{Programs, as_service_user};
use crate::rig::server::Server;
use crate::rig::site::Site;

/// Real Cyrus's sessions look by themselves once a minute; what comes sooner was told.
const AT_ONCE: Duration = Duration::from_secs(20);

/// One implementation's `idled` on a site.
struct Idled(Child);

impl Idled {
    fn start(site: &Site, programs: &Programs) -> Self {
        let socket = site.root().join("conf/socket/idle");
        let _ = std::fs::remove_file(&socket);
        let programs = programs.reachable(&site.root().join("programs"));
        let child = as_service_user(programs.path("idled"))
            .arg("-C")
            .arg(site.conf())
            .env("CYRUS_ISDAEMON", "1")
            .stdin(Stdio::null())
            .spawn()
            .expect("starting idled");
        let deadline = Instant::now() + AT_ONCE;
        while !socket.exists() {
            assert!(Instant::now() < deadline, "idled makes no socket");
            std::thread::sleep(Duration::from_millis(5));
        }
        Self(child)
    }
}

impl Drop for Idled {
    fn drop(&mut self) {
        let _ = kill_process(Pid::from_child(&self.0), Signal::TERM);
        let _ = self.0.wait();
    }
}

/// A session at `reader` idles on the INBOX while `writer` delivers into it; how long it takes to hear.
fn wake(reader: &Server, writer: &Server) -> Duration {
    let mut imap = reader.imap("alice");
    imap.ok("SELECT INBOX");
    imap.idle().expect("IDLE");
    // The session may still be on its way to idled.
    std::thread::sleep(Duration::from_millis(500));
    let begin = Instant::now();
    let replies = writer
        .lmtp()
        .deliver(&["alice"], b"Subject: wake up\r\n\r\nGood morning.\r\n")
        .expect("a delivery");
    assert!(replies[0].starts_with("250"), "{replies:?}");
    imap.hear("EXISTS", AT_ONCE).expect("news while idling");
    let took = begin.elapsed();
    assert!(imap.done().expect("DONE").is_ok());
    took
}

#[test]
fn deliveries_wake_idle_sessions_of_the_other_implementation() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(&[("duplicatesuppression", "no")], &["alice"]);
    let one = site.start(&ours);
    let two = site.start_beside(&real);
    one.imap("admin").ok("CREATE user/alice");
    println!("real delivers, ours idles, no idled: {:?}", wake(&one, &two));
    for (name, programs) in [("real", &real), ("ours", &ours)] {
        let idled = Idled::start(&site, programs);
        for (reader, writer) in [(&two, &one), (&two, &two), (&one, &two), (&one, &one)] {
            println!("idled of {name}: {:?}", wake(reader, writer));
        }
        drop(idled);
    }
    one.stop();
    two.stop();
}
