//! Usage of quota roots stays exact while this project's daemons and real Cyrus deliver, append, copy, move, expunge, create,
//! rename and delete under the same roots at the same moment; and `quota -f` may run meanwhile.

use std::collections::BTreeMap;
use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use crate::rig::audit::assert_sound;
use crate::rig::imap::{Imap, Reply};
use crate::rig::lmtp::Lmtp;
use crate::rig::programs::{Programs, both};
use crate::rig::server::Server;
use crate::rig::site::Site;

/// Where everything happens: two mailboxes under the user's own root, one under a root below, and shared ones.
const MAILBOXES: [&str; 4] = ["INBOX", "plain", "inner", "inner/most"];
const ROOTS: [&str; 3] = ["user/alice", "user/alice/inner", "shared"];

struct Worker<'a> {
    servers: [&'a Server; 2],
    imap: [Option<Imap>; 2],
    lmtp: [Option<Lmtp>; 2],
    random: u64,
    number: u64,
    created: u64,
}

impl Worker<'_> {
    /// A number below `limit` (splitmix64).
    fn below(&mut self, limit: usize) -> usize {
        self.random = self.random.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut word = self.random;
        word = (word ^ (word >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((word ^ (word >> 31)) >> 33).unwrap_or(0) % limit.max(1)
    }

    fn imap(&mut self) -> io::Result<&mut Imap> {
        let at = self.below(2);
        if self.imap[at].is_none() {
            self.imap[at] = Some(Imap::login(self.servers[at].imap_port, "alice")?);
        }
        Ok(self.imap[at].as_mut().expect("it was made"))
    }

    fn message(&mut self) -> Vec<u8> {
        let lines = 1 + self.below(200);
        let text = "some words in a line\r\n".repeat(lines);
        format!("Subject: {}\r\n\r\n{text}", self.random).into_bytes()
    }

    fn some_mailbox(&mut self) -> &'static str {
        let at = self.below(MAILBOXES.len());
        MAILBOXES[at]
    }

    /// One operation; the answer of the last command.
    fn work(&mut self) -> io::Result<String> {
        let (from, to) = (self.some_mailbox(), self.some_mailbox());
        let text = self.message();
        let done = |reply: Reply| Ok(reply.status);
        match self.below(10) {
            0..3 => {
                let at = self.below(2);
                if self.lmtp[at].is_none() {
                    self.lmtp[at] = Some(Lmtp::connect(&self.servers[at].lmtp_socket)?);
                }
                let lmtp = self.lmtp[at].as_mut().expect("it was made");
                Ok(lmtp.deliver(&["alice"], &text)?.remove(0))
            }
            3 => done(self.imap()?.append(to, "", &text)?),
            4 => {
                let imap = self.imap()?;
                imap.command(&format!("SELECT {from}"))?;
                done(imap.command(&format!("UID COPY 1:5 {to}"))?)
            }
            5 => {
                let imap = self.imap()?;
                imap.command(&format!("SELECT {from}"))?;
                done(imap.command(&format!("UID MOVE 1:3 {to}"))?)
            }
            6 | 7 => {
                let imap = self.imap()?;
                imap.command(&format!("SELECT {from}"))?;
                imap.command("STORE 1:2 +FLAGS.SILENT (\\Deleted)")?;
                done(imap.command("EXPUNGE")?)
            }
            8 => {
                // A mailbox of this worker's own goes from one root to the other.
                self.created += 1;
                let name = format!("w{}x{}", self.number, self.created);
                self.imap()?.command(&format!("CREATE {name}"))?;
                self.imap()?.append(&name, "", &text)?;
                self.imap()?.command(&format!("RENAME {name} inner/{name}"))?;
                self.imap()?.append(&format!("inner/{name}"), "", &text)?;
                let imap = self.imap()?;
                imap.command("UNSELECT")?;
                done(imap.command(&format!("DELETE inner/{name}"))?)
            }
            _ => {
                let imap = self.imap()?;
                imap.append("\"Shared Folders/shared/x\"", "", &text)?;
                imap.command("SELECT \"Shared Folders/shared/x\"")?;
                imap.command("STORE 1 +FLAGS.SILENT (\\Deleted)")?;
                done(imap.command("EXPUNGE")?)
            }
        }
    }
}

/// What `quota` of an implementation says.
fn told(site: &Site, programs: &Programs) -> String {
    site.tool_ok(programs, "quota", &[])
}

fn usage_stays_exact(options: &[(&str, &str)], seconds: u64) {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let site = Site::new(options, &["alice"]);
    let one = site.start(&ours);
    let two = site.start_beside(&real);
    let mut admin = one.imap("admin");
    admin.ok("CREATE user/alice");
    admin.ok("CREATE shared/x");
    admin.ok("SETACL shared/x alice lrswipte");
    let mut alice = one.imap("alice");
    for mailbox in &MAILBOXES[1..] {
        alice.ok(&format!("CREATE {mailbox}"));
    }
    for root in ROOTS {
        // Now and then a limit is in the way.
        admin.ok(&format!(
            "SETQUOTA {root} (STORAGE 400 MESSAGE 300 X-NUM-FOLDERS 50)"
        ));
    }
    let done = AtomicBool::new(false);
    let operations = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for number in 0..4 {
            let (one, two, done, operations) = (&one, &two, &done, &operations);
            scope.spawn(move || {
                let mut worker = Worker {
                    servers: [one, two],
                    imap: [None, None],
                    lmtp: [None, None],
                    random: number * 7919,
                    number,
                    created: 0,
                };
                while !done.load(Ordering::Relaxed) {
                    // A refusal is an answer like another; what is counted has to be right.
                    if let Err(error) = worker.work() {
                        panic!("worker {number}: {error}");
                    }
                    operations.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
        std::thread::sleep(Duration::from_secs(seconds));
        // Counting anew is safe on a server at work, and finds nothing wrong.
        for _ in 0..3 {
            let found = site.tool(&ours, "quota", &["-f", "-q"]);
            assert!(found.status.success(), "{}", both(&found));
            assert_eq!(String::from_utf8_lossy(&found.stdout), "", "while others work");
        }
        done.store(true, Ordering::Relaxed);
    });
    println!("{} operations", operations.load(Ordering::Relaxed));
    assert!(
        operations.load(Ordering::Relaxed) > 20,
        "there was next to no load"
    );
    let before: BTreeMap<&str, String> = [&ours, &real]
        .map(|programs| (programs.name, told(&site, programs)))
        .into();
    assert_eq!(before["ours"], before["real"]);
    for programs in [&real, &ours] {
        site.tool_ok(programs, "quota", &["-f"]);
        assert_eq!(
            told(&site, programs),
            before["ours"],
            "after quota -f of {}",
            programs.name
        );
    }
    one.stop();
    two.stop();
    assert_sound(&site, &real);
}

#[test]
fn usage_is_exact_while_both_work_under_the_same_roots() {
    usage_stays_exact(&[], 6);
}

#[test]
fn usage_is_exact_in_a_twoskip_database_too() {
    usage_stays_exact(&[("quota_db", "twoskip"), ("expunge_mode", "immediate")], 6);
}

#[test]
fn wrong_usage_is_put_right_once_and_by_either_the_same() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    for engine in ["quotalegacy", "twoskip"] {
        let mut results = Vec::new();
        for programs in [&ours, &real] {
            let site = Site::new(&[("quota_db", engine)], &["alice", "bob"]);
            let server = site.start(&ours);
            let mut admin = server.imap("admin");
            for user in ["alice", "bob"] {
                admin.ok(&format!("CREATE user/{user}"));
                admin.ok(&format!("SETQUOTA user/{user} (STORAGE 1000 MESSAGE 10)"));
                let mut imap = server.imap(user);
                imap.ok("CREATE sub");
                imap.append("sub", "", b"Subject: x\r\n\r\nhello\r\n")
                    .expect("an answer");
            }
            server.stop();
            let right = told(&site, &ours);
            match engine {
                "twoskip" => {
                    let wrong = "%(S (5 1000) M (77 10) AS (0) NF (9) MODSEQ 3)";
                    let db = site.root().join("conf/quotas.db").display().to_string();
                    site.tool_ok(&ours, "cyr_dbtool", &[&db, "twoskip", "set", "user.alice", wrong]);
                }
                _ => {
                    let path = site.root().join("conf/quota/a/user.alice");
                    std::fs::write(path, "%(S (5 1000) M (77 10) AS (0) NF (9) MODSEQ 3)\n")
                        .expect("the quota root's file");
                }
            }
            assert_ne!(told(&site, &ours), right);
            let dry = site.tool(programs, "quota", &["-f", "-n"]);
            assert!(both(&dry).contains("was 77, now 1"), "{}", both(&dry));
            assert_ne!(told(&site, &ours), right, "-n changes nothing");
            let first = both(&site.tool(programs, "quota", &["-f", "user/alice"]));
            assert_eq!(told(&site, &ours), right);
            assert_eq!(told(&site, &real), right);
            let again = both(&site.tool(programs, "quota", &["-f"]));
            assert!(!again.contains("was"), "{again}");
            results.push(first);
        }
        let [ours, real] = results.as_slice() else { return };
        let faults = |text: &str| {
            let mut lines: Vec<String> = text
                .lines()
                .filter(|line| line.contains("was"))
                .map(str::to_owned)
                .collect();
            lines.sort();
            lines
        };
        assert_eq!(faults(ours), faults(real), "{engine}");
    }
}
