//! The same dialogue with real Cyrus and with this project's daemons: every answer is equal, or its difference is written down
//! in the script with the reason.
//!
//! A script in `differential/` is lines of:
//!
//! ```text
//! # a comment
//! @ conf conversations: yes     an option of imapd.conf for both servers
//! @ tls                         both servers have a certificate
//! @ user $U@example.com         one more user who can log in
//! @ mailbox user/$U/x           a mailbox that the administrator makes first; user/$U and user/$V exist already
//! C: a1 SELECT INBOX            the client sends this and reads to the tagged answer (C2:, C3: are further connections)
//! C: a2 APPEND INBOX {*+}       a literal, whose length is filled in; its lines follow, and then the rest of the command
//! L: Subject: x
//! +:  {*}
//! l: x                          a line of a literal that has no line end; <0xE4> is one octet anywhere
//! C: a3 IDLE                    a continuation request ends the reading, too
//! W: EXISTS                     reads on until a line has this text (W2:, …)
//! M: DATA                       LMTP by the socket (N: by a port, where one must authenticate); L: lines are the message
//! ! RFC 9051, section 7.1.4     why the answer to the command above may differ,
//! < a1 NO …                     the lines that only real Cyrus says,
//! > a1 BAD …                    and those that only we say
//! ```
//!
//! `$U` and `$V` are two users and `$S` is a name for shared mailboxes, all three of this script alone. What cannot be equal (times,
//! unique ids, durations) is masked, see [`mask`]. `DIFFERENTIAL=name` runs one script and prints what both servers say.
//! What the scripts must cover is in [`checklist`].

mod checklist;
pub(crate) mod mask;
mod script;
mod talk;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use self::checklist::Covered;
use self::script::{Conf, Move, Script, Who};
use self::talk::Talk;
use crate::rig::programs::Programs;
use crate::rig::server::{Server, Start};
use crate::rig::site::Site;

/// A running server of a group, and the connections of the script in hand.
struct Side {
    server: Server,
    separator: char,
    talks: BTreeMap<Who, Talk>,
}

impl Side {
    fn start(site: &Site, programs: &Programs, separator: char) -> Self {
        let start = Start {
            lmtp_port: true,
            ..Start::default()
        };
        Self {
            server: Server::start(site, programs, start),
            separator,
            talks: BTreeMap::new(),
        }
    }

    fn prepare(&mut self, script: &Script) {
        self.talks.clear();
        if script
            .conf
            .iter()
            .any(|(name, value)| name == "allowplaintext" && value == "no")
        {
            // Nobody gets in.
            return;
        }
        let mut admin = self.server.imap("admin");
        let (number, separator) = (script.number, self.separator);
        admin.ok(&format!("CREATE user{separator}ua{number}"));
        admin.ok(&format!("CREATE user{separator}ub{number}"));
        for mailbox in &script.mailboxes {
            admin.ok(&format!("CREATE \"{mailbox}\""));
        }
    }

    fn act(&mut self, step: &Move) -> Vec<String> {
        let server = &self.server;
        let talk = (self.talks.entry(step.who.clone()))
            .or_insert_with(|| Talk::connect(server, step.who.way).expect("a connection for a script"));
        talk.act(&step.act)
            .unwrap_or_else(|error| vec![format!("({error})")])
    }
}

/// What only one of two lists holds, in order.
fn without(lines: &[String], others: &[String]) -> Vec<String> {
    let mut others: Vec<&String> = others.iter().collect();
    let mut left = Vec::new();
    for line in lines {
        match others.iter().position(|other| *other == line) {
            Some(at) => drop(others.remove(at)),
            None => left.push(line.clone()),
        }
    }
    left
}

/// Runs one script at both servers; the differences that it does not explain.
fn compare(
    script: &Script,
    real: &mut Side,
    ours: &mut Side,
    show: bool,
    covered: &Mutex<Covered>,
) -> String {
    let mut faults = String::new();
    for step in &script.moves {
        let (said, answered) = std::thread::scope(|scope| {
            let said = scope.spawn(|| real.act(step));
            let answered = ours.act(step);
            (said.join().expect("a dialogue with real Cyrus"), answered)
        });
        let what = step.act.text();
        covered
            .lock()
            .expect("no other script panics while it holds the lock")
            .note(step.who.way, &what, &said);
        let (only_real, only_ours) = (without(&said, &answered), without(&answered, &said));
        if show {
            println!("{:?}{}: {what}", step.who.way, step.who.number);
            for line in &said {
                println!("   = {line}");
            }
            for line in &only_ours {
                println!("   > {line}");
            }
        }
        let explained = only_real == step.only_real
            && only_ours == step.only_ours
            && (step.reasons == 0 || said != answered);
        let reasoned = step.reasons > 0 || only_real.is_empty() && only_ours.is_empty();
        // The order counts as well.
        let ordered = step.reasons > 0 || said == answered;
        if explained && reasoned && ordered {
            continue;
        }
        let _ = writeln!(faults, "{}:{}: {what}", script.name, step.line);
        for line in &only_real {
            let _ = writeln!(faults, "< {line}");
        }
        for line in &only_ours {
            let _ = writeln!(faults, "> {line}");
        }
        if !ordered && only_real.is_empty() && only_ours.is_empty() {
            let _ = writeln!(faults, "another order: {said:#?} {answered:#?}");
        } else if explained && !reasoned {
            let _ = writeln!(faults, "no reason is given for the difference");
        } else if only_real.is_empty() && only_ours.is_empty() && said == answered {
            let _ = writeln!(faults, "a difference is explained that is none");
        }
    }
    faults
}

fn scripts() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interop/differential");
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of scripts")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    scripts
}

/// Runs the scripts that want the same options, at two servers of their own.
fn run_group(
    conf: &Conf,
    scripts: &[Script],
    programs: &[Programs; 2],
    passwords: &Site,
    covered: &Mutex<Covered>,
) -> String {
    let plain = conf.iter().filter(|(name, _)| name != "@tls");
    let mut options: Vec<(&str, &str)> = plain.map(|(n, v)| (n.as_str(), v.as_str())).collect();
    options.push(("unix_group_enable", "no"));
    options.push(("failedloginpause", "0"));
    let separator = match options.contains(&("unixhierarchysep", "no")) {
        true => '.',
        false => '/',
    };
    let [real, ours] = programs;
    let sites = [real, ours].map(|_| {
        let site = Site::new(&options, &[]);
        site.take_passwords(passwords);
        if conf.iter().any(|(name, _)| name == "@tls") {
            site.enable_tls();
        }
        site
    });
    let mut real = Side::start(&sites[0], real, separator);
    let mut ours = Side::start(&sites[1], ours, separator);
    let show = std::env::var_os("DIFFERENTIAL").is_some();
    let mut faults = String::new();
    for script in scripts {
        real.prepare(script);
        ours.prepare(script);
        let begin = std::time::Instant::now();
        faults.push_str(&compare(script, &mut real, &mut ours, show, covered));
        println!("{}: {} ms", script.name, begin.elapsed().as_millis());
    }
    // Real Cyrus may leave a process behind.
    drop(real.server);
    ours.server.stop();
    faults
}

#[test]
fn both_servers_give_the_same_answers() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let only = std::env::var("DIFFERENTIAL").ok();
    let mut users = Vec::new();
    let mut groups: BTreeMap<Conf, Vec<Script>> = BTreeMap::new();
    for (number, path) in scripts().iter().enumerate() {
        let script = Script::read(path, number);
        if only
            .as_ref()
            .is_some_and(|only| !script.name.starts_with(only.as_str()))
        {
            continue;
        }
        users.extend([format!("ua{number}"), format!("ub{number}")]);
        users.extend(script.users.iter().cloned());
        groups.entry(script.conf.clone()).or_default().push(script);
    }
    assert!(!groups.is_empty(), "no script of that name");
    let users: Vec<&str> = users.iter().map(String::as_str).collect();
    let passwords = Site::new(&[], &users);
    let programs = [real, ours];
    let covered = Mutex::new(Covered::default());
    let mut groups: Vec<(Conf, Vec<Script>)> = groups.into_iter().collect();
    // The largest group first: it takes longest.
    groups.sort_by_key(|(_, scripts)| scripts.len());
    let (groups, faults) = (Mutex::new(groups), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let next = groups.lock().expect("nobody panics with this lock").pop();
                    let Some((conf, scripts)) = next else { return };
                    let found = run_group(&conf, &scripts, &programs, &passwords, &covered);
                    faults.lock().expect("nobody panics with this lock").push(found);
                }
            });
        }
    });
    let mut faults = faults.into_inner().expect("nobody panicked with this lock");
    faults.sort();
    let faults = faults.concat();
    assert!(faults.is_empty(), "the servers answer differently:\n{faults}");
    if only.is_none() {
        let covered = covered.into_inner().expect("nobody panicked with this lock");
        let missing = covered.missing();
        assert!(missing.is_empty(), "no script has:\n{}", missing.join("\n"));
    }
}

/// Groups of scripts that run at a time.
const AT_ONCE: usize = 3;
