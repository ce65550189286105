//! Thirty random clients at the same mailboxes, each of which checks whatever it is told against all that it knows: numbers and
//! UIDs, flags and modification sequences, what may be said when, and, while all stand still, everything against a new session.
//!
//! `RIG_SECONDS` sets the time under load of each test (4 seconds otherwise), `RIG_SEED` repeats a run as far as threads allow.

mod client;
mod facts;
mod view;

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, RwLock};
use std::time::{Duration, Instant};

use self::client::Client;
use self::facts::Facts;
use crate::rig::audit::assert_sound;
use crate::rig::programs::Programs;
use crate::rig::site::Site;

/// The mailboxes that all clients use.
const MAILBOXES: [&str; 3] = ["INBOX", "Work", "Work/Deep"];

/// Clients at a time.
const CLIENTS: u64 = 30;

/// A run.
struct Stress {
    facts: Facts,
    ports: Vec<u16>,
    seed: u64,
    stop: AtomicBool,
    tokens: AtomicU64,
    commands: AtomicU64,
    meetings: AtomicU64,
    /// Held for reading by each command, for writing by who compares.
    calm: RwLock<()>,
}

fn stress(programs: &[Programs], options: &[(&str, &str)]) {
    let Some(real) = Programs::real() else { return };
    let site = Site::new(options, &["alice"]);
    let mut servers = Vec::new();
    for (number, programs) in programs.iter().enumerate() {
        servers.push(match number {
            0 => site.start(programs),
            _ => site.start_beside(programs),
        });
    }
    let first = servers.first().expect("at least one server");
    first.imap("admin").ok("CREATE user/alice");
    let mut alice = first.imap("alice");
    for mailbox in &MAILBOXES[1..] {
        alice.ok(&format!("CREATE {mailbox}"));
    }
    let seed = std::env::var("RIG_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = seed.unwrap_or_else(|| u64::from(std::process::id()));
    println!("RIG_SEED={seed}");
    let stress = Stress {
        facts: Facts::default(),
        ports: servers.iter().map(|server| server.imap_port).collect(),
        seed,
        stop: AtomicBool::new(false),
        tokens: AtomicU64::new(1),
        commands: AtomicU64::new(0),
        meetings: AtomicU64::new(0),
        calm: RwLock::new(()),
    };
    let seconds = std::env::var("RIG_SECONDS")
        .ok()
        .and_then(|text| text.parse().ok());
    let end = Instant::now() + Duration::from_secs(seconds.unwrap_or(4));
    let wrong: Mutex<Vec<String>> = Mutex::default();
    std::thread::scope(|scope| {
        for number in 0..CLIENTS {
            let (stress, wrong) = (&stress, &wrong);
            scope.spawn(move || {
                let client = Client::new(stress, number).map_err(|error| error.to_string());
                if let Err(found) = client.and_then(|mut client| client.work()) {
                    stress.stop.store(true, Ordering::Relaxed);
                    wrong.lock().expect("nobody panics with this lock").push(found);
                }
            });
        }
        while Instant::now() < end && !stress.stop.load(Ordering::Relaxed) {
            std::thread::sleep(Duration::from_millis(20));
        }
        stress.stop.store(true, Ordering::Relaxed);
    });
    let wrong = wrong.into_inner().expect("nobody panicked with this lock");
    let (commands, meetings) = (
        stress.commands.load(Ordering::Relaxed),
        stress.meetings.load(Ordering::Relaxed),
    );
    println!("{commands} commands, {meetings} times compared with a new session");
    assert!(wrong.is_empty(), "RIG_SEED={seed}:\n{}", wrong.join("\n"));
    assert!(commands > 300 && meetings > 10, "there was next to no load");
    for server in servers {
        server.stop();
    }
    assert_sound(&site, &real);
}

/// The numbers of a set such as `2:4,9`.
fn numbers(set: &str) -> Vec<u32> {
    let parts = set.split(',').filter_map(|part| {
        let (first, last) = part.split_once(':').unwrap_or((part, part));
        Some(first.parse::<u32>().ok()?..=last.parse().ok()?)
    });
    parts.flatten().collect()
}

/// A set of these numbers.
fn list(uids: &[u32]) -> String {
    let uids: Vec<String> = uids.iter().map(u32::to_string).collect();
    uids.join(",")
}

#[test]
fn thirty_clients_of_one_daemon_are_told_the_truth() {
    let Some(ours) = Programs::ours() else { return };
    stress(&[ours], &[]);
}

#[test]
fn thirty_clients_of_two_daemons_are_told_the_truth() {
    let Some(ours) = Programs::ours() else { return };
    let second = Programs {
        name: "second",
        ..ours.clone()
    };
    stress(&[ours, second], &[("conversations", "yes")]);
}

#[test]
fn thirty_clients_are_told_the_truth_where_nothing_is_delayed() {
    let Some(ours) = Programs::ours() else { return };
    let second = Programs {
        name: "second",
        ..ours.clone()
    };
    stress(&[ours, second], &[("expunge_mode", "immediate")]);
}
