//! The same dialogue with real Cyrus and with this project's imapd: every answer is equal, or its difference is written down
//! in the script with the reason.
//!
//! A script in `differential/` is lines of:
//!
//! ```text
//! # a comment
//! @ conf conversations: yes     an option of imapd.conf for both servers
//! @ mailbox user/$U/x           a mailbox that the administrator makes first; user/$U and user/$V exist already
//! C: a1 SELECT INBOX            the client sends this and reads to the tagged answer (C2:, C3: are further connections)
//! C: a2 APPEND INBOX {*+}       a literal, whose length is filled in; its lines follow, and then the rest of the command
//! L: Subject: x
//! +:  {*}
//! C: a3 IDLE                    a continuation request ends the reading, too
//! W: EXISTS                     reads on until a line has this text (W2:, …)
//! ! RFC 9051, section 7.1.4     why the answer to the command above may differ,
//! < a1 NO …                     the lines that only real Cyrus says,
//! > a1 BAD …                    and those that only we say
//! ```
//!
//! `$U` and `$V` are two users and `$S` is a name for shared mailboxes, all three of this script alone. What cannot be equal (times,
//! unique ids, durations) is masked, see [`mask`]. `DIFFERENTIAL=name` runs one script and prints what both servers say.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::rig::programs::Programs;
use crate::rig::server::Server;
use crate::rig::site::Site;
use crate::rig::value::{announced_literal, latin1};

/// Lines of real Cyrus for capabilities that this project does not have yet.
const NOT_YET: &[&str] = &["* OK [URLMECH "];

/// Options of imapd.conf.
type Conf = Vec<(String, String)>;

/// One script.
struct Script {
    name: String,
    conf: Conf,
    mailboxes: Vec<String>,
    moves: Vec<Move>,
}

/// One thing that a client does, and how the answers may differ.
struct Move {
    line: usize,
    client: String,
    act: Act,
    reasons: usize,
    only_real: Vec<String>,
    only_ours: Vec<String>,
}

enum Act {
    /// The pieces of a command: text, each but the last followed by a literal.
    Say(Vec<(String, Option<String>)>),
    Wait(String),
}

impl Script {
    fn read(path: &Path, number: usize) -> Self {
        let name = path
            .file_stem()
            .map_or_else(String::new, |stem| stem.to_string_lossy().into_owned());
        let text = std::fs::read_to_string(path).expect("a script");
        let text = text
            .replace("$U", &format!("ua{number}"))
            .replace("$V", &format!("ub{number}"))
            .replace("$S", &format!("sh{number}"));
        let mut script = Self {
            name,
            conf: Vec::new(),
            mailboxes: Vec::new(),
            moves: Vec::new(),
        };
        for (line, text) in (1..).zip(text.lines()) {
            script.line(line, text);
        }
        script
    }

    fn line(&mut self, line: usize, text: &str) {
        let wrong = |what: &str| -> ! { panic!("{}:{line}: {what}: {text}", self.name) };
        if text.is_empty() || text.starts_with('#') {
            return;
        }
        if let Some(setting) = text.strip_prefix("@ conf ") {
            let (name, value) = setting.split_once(':').unwrap_or_else(|| wrong("no colon"));
            self.conf.push((name.to_owned(), value.trim().to_owned()));
            return;
        }
        if let Some(mailbox) = text.strip_prefix("@ mailbox ") {
            self.mailboxes.push(mailbox.to_owned());
            return;
        }
        if let Some((mark @ ("!" | "<" | ">"), rest)) = text.split_once(' ') {
            let Some(last) = self.moves.last_mut() else {
                wrong("nothing was sent yet");
            };
            match mark {
                "!" => last.reasons += 1,
                "<" => last.only_real.push(rest.to_owned()),
                _ => last.only_ours.push(rest.to_owned()),
            }
            return;
        }
        let Some((who, said)) = text.split_once(':') else {
            wrong("not a script line");
        };
        let said = said.strip_prefix(' ').unwrap_or(said);
        let (kind, client) = who.split_at(1);
        match kind {
            "C" => self.push(line, client, Act::Say(vec![(said.to_owned(), None)])),
            "W" => self.push(line, client, Act::Wait(said.to_owned())),
            "L" | "+" => {
                let Some(Move {
                    act: Act::Say(pieces),
                    ..
                }) = self.moves.last_mut()
                else {
                    wrong("no command to go on with");
                };
                if kind == "+" {
                    pieces.push((said.to_owned(), None));
                } else if let Some((_, literal)) = pieces.last_mut() {
                    let literal = literal.get_or_insert_default();
                    literal.push_str(said);
                    literal.push_str("\r\n");
                }
            }
            _ => wrong("not a script line"),
        }
    }

    fn push(&mut self, line: usize, client: &str, act: Act) {
        self.moves.push(Move {
            line,
            client: client.to_owned(),
            act,
            reasons: 0,
            only_real: Vec::new(),
            only_ours: Vec::new(),
        });
    }
}

/// One client's connection to one server.
struct Talk {
    stream: BufReader<TcpStream>,
    /// The tag of a command that waits for more from the client.
    open: Option<String>,
}

impl Talk {
    fn connect(port: u16) -> io::Result<Self> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let mut talk = Self {
            stream: BufReader::new(stream),
            open: None,
        };
        talk.response()?;
        Ok(talk)
    }

    /// Sends a command; the masked lines of the answer.
    fn say(&mut self, pieces: &[(String, Option<String>)]) -> io::Result<Vec<String>> {
        let tag = match self.open.take() {
            Some(tag) => tag,
            None => pieces
                .first()
                .and_then(|(text, _)| text.split(' ').next())
                .unwrap_or("*")
                .to_owned(),
        };
        let mut answer = Vec::new();
        for (text, literal) in pieces {
            let Some(literal) = literal else {
                self.stream
                    .get_mut()
                    .write_all(format!("{text}\r\n").as_bytes())?;
                return self.answer(tag, answer);
            };
            let head = text.replace("{*", &format!("{{{}", literal.len()));
            self.stream
                .get_mut()
                .write_all(format!("{head}\r\n").as_bytes())?;
            if !head.ends_with("+}") {
                answer = self.answer(tag.clone(), answer)?;
                if self.open.take().is_none() {
                    return Ok(answer);
                }
            }
            self.stream.get_mut().write_all(literal.as_bytes())?;
        }
        self.stream.get_mut().write_all(b"\r\n")?;
        self.answer(tag, answer)
    }

    /// Reads to a tagged answer, a continuation request or the end of the connection.
    fn answer(&mut self, tag: String, mut answer: Vec<String>) -> io::Result<Vec<String>> {
        loop {
            let Some(line) = self.response()? else {
                answer.push("(closed)".to_owned());
                return Ok(answer);
            };
            let ends = line
                .strip_prefix(tag.as_str())
                .is_some_and(|rest| rest.starts_with(' '))
                || line.starts_with("* BAD ");
            let continues = line.starts_with('+');
            if !NOT_YET.iter().any(|code| line.starts_with(code)) {
                answer.push(mask(&line));
            }
            if continues {
                self.open = Some(tag);
                return Ok(answer);
            }
            if ends {
                return Ok(answer);
            }
        }
    }

    fn wait(&mut self, text: &str) -> io::Result<Vec<String>> {
        let mut answer = Vec::new();
        loop {
            let Some(line) = self.response()? else {
                answer.push("(closed)".to_owned());
                return Ok(answer);
            };
            let found = line.contains(text);
            answer.push(mask(&line));
            if found {
                return Ok(answer);
            }
        }
    }

    /// One response, its literals inline; `None` at the end of the connection.
    fn response(&mut self) -> io::Result<Option<String>> {
        let mut whole = Vec::new();
        loop {
            let start = whole.len();
            self.stream.read_until(b'\n', &mut whole)?;
            let line = whole.get(start..).unwrap_or_default();
            if !line.ends_with(b"\r\n") {
                return Ok(None);
            }
            let Some(length) = announced_literal(line) else {
                break;
            };
            let old = whole.len();
            whole.resize(old + length, 0);
            self.stream
                .read_exact(whole.get_mut(old..).expect("just made that long"))?;
        }
        whole.truncate(whole.len().saturating_sub(2));
        Ok(Some(latin1(&whole)))
    }
}

/// Takes out of a line what two servers cannot say alike: unique ids, session ids, durations, times of this run, what ID
/// tells, and capabilities (which have a test of their own).
pub(crate) fn mask(line: &str) -> String {
    let mut line = line.to_owned();
    for (before, after) in [
        ("SESSIONID=<", ">"),
        ("MAILBOXID (", ")"),
        ("[CAPABILITY ", "]"),
        ("* CAPABILITY ", "\r"),
        ("* ID (", "\r"),
        ("INTERNALDATE \"", "\""),
        ("SAVEDATE \"", "\""),
        ("[CREATIONID ", "]"),
        ("[REFERRAL ", "]"),
        ("/uniqueid\" \"", "\""),
        ("/lastupdate\" \"", "\""),
        ("/foldermodseq\" \"", "\""),
        ("/freespace\" \"", "\""),
        ("/freespace/total\" \"", "\""),
        ("/freespace/percent/most\" \"", "\""),
    ] {
        blank(&mut line, before, after);
    }
    // We say what is wrong with them.
    for text in ["NO Invalid mailbox name", "NO Invalid identifier"] {
        if let Some(at) = line.find(text) {
            line.truncate(at + text.len());
        }
    }
    if let Some(at) = line.rfind(" sec") {
        let start = line.get(..at).and_then(|head| head.rfind('('));
        if let Some(start) = start {
            line.truncate(start);
            line.push_str("(<time>)");
        }
    }
    times(&line)
}

/// Blanks everything between two texts, wherever they stand. A date that is not of today is left.
fn blank(line: &mut String, before: &str, after: &str) {
    let mut from = 0;
    while let Some(at) = line.get(from..).and_then(|rest| rest.find(before)) {
        let start = from + at + before.len();
        let length = line
            .get(start..)
            .map_or(0, |rest| rest.find(after).unwrap_or(rest.len()));
        from = start;
        let old = before.contains("DATE")
            && line
                .get(start..start + length)
                .is_some_and(|date| ["-19", "-200", "-201"].iter().any(|year| date.contains(year)));
        if !old {
            line.replace_range(start..start + length, "<*>");
        }
    }
}

/// Blanks numbers of ten digits that are times of these years: UIDVALIDITY and its like.
fn times(line: &str) -> String {
    let mut masked = String::with_capacity(line.len());
    let mut digits = String::new();
    for c in line.chars().chain(['\0']) {
        if c.is_ascii_digit() {
            digits.push(c);
            continue;
        }
        match digits.len() == 10 && digits.starts_with('1') {
            true => masked.push_str("<time>"),
            false => masked.push_str(&digits),
        }
        digits.clear();
        if c != '\0' {
            masked.push(c);
        }
    }
    masked
}

/// A running server of a group, and the connections of the script in hand.
struct Side {
    server: Server,
    talks: BTreeMap<String, Talk>,
}

impl Side {
    fn prepare(&mut self, script: &Script, number: usize) {
        let mut admin = self.server.imap("admin");
        admin.ok(&format!("CREATE user/ua{number}"));
        admin.ok(&format!("CREATE user/ub{number}"));
        for mailbox in &script.mailboxes {
            admin.ok(&format!("CREATE \"{mailbox}\""));
        }
        self.talks.clear();
    }

    fn act(&mut self, step: &Move) -> Vec<String> {
        let port = self.server.imap_port;
        let talk = (self.talks.entry(step.client.clone()))
            .or_insert_with(|| Talk::connect(port).expect("a connection for a script"));
        let answer = match &step.act {
            Act::Say(pieces) => talk.say(pieces),
            Act::Wait(text) => talk.wait(text),
        };
        answer.unwrap_or_else(|error| vec![format!("({error})")])
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
fn compare(script: &Script, real: &mut Side, ours: &mut Side, show: bool) -> String {
    let mut faults = String::new();
    for step in &script.moves {
        let (said, answered) = (real.act(step), ours.act(step));
        let (only_real, only_ours) = (without(&said, &answered), without(&answered, &said));
        let what = match &step.act {
            Act::Say(pieces) => pieces.iter().map(|(text, _)| text.as_str()).collect::<String>(),
            Act::Wait(text) => format!("(wait for {text})"),
        };
        if show {
            println!("C{}: {what}", step.client);
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
        let _ = writeln!(faults, "{}:{}: C{}: {what}", script.name, step.line, step.client);
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
    let only = std::env::var("DIFFERENTIAL").ok();
    let mut scripts: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("the folder of scripts")
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .filter(|path| {
            only.as_deref()
                .is_none_or(|only| path.file_stem().is_some_and(|stem| stem == only))
        })
        .collect();
    scripts.sort();
    scripts
}

#[test]
fn both_servers_give_the_same_answers() {
    let (Some(real), Some(ours)) = (Programs::real(), Programs::ours()) else {
        return;
    };
    let show = std::env::var_os("DIFFERENTIAL").is_some();
    let mut groups: BTreeMap<Conf, Vec<(usize, Script)>> = BTreeMap::new();
    for (number, path) in scripts().iter().enumerate() {
        let script = Script::read(path, number);
        groups
            .entry(script.conf.clone())
            .or_default()
            .push((number, script));
    }
    assert!(!groups.is_empty(), "no script of that name");
    let mut faults = String::new();
    for (conf, scripts) in &groups {
        let mut options: Vec<(&str, &str)> = conf.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
        options.push(("unix_group_enable", "no"));
        let users: Vec<String> = scripts
            .iter()
            .flat_map(|(number, _)| [format!("ua{number}"), format!("ub{number}")])
            .collect();
        let users: Vec<&str> = users.iter().map(String::as_str).collect();
        let sites = [Site::new(&options, &users), Site::new(&options, &users)];
        let side = |site: &Site, programs: &Programs| Side {
            server: site.start(programs),
            talks: BTreeMap::new(),
        };
        let (mut real, mut ours) = (side(&sites[0], &real), side(&sites[1], &ours));
        for (number, script) in scripts {
            real.prepare(script, *number);
            ours.prepare(script, *number);
            faults.push_str(&compare(script, &mut real, &mut ours, show));
        }
        real.server.stop();
        ours.server.stop();
    }
    assert!(faults.is_empty(), "the servers answer differently:\n{faults}");
}

#[test]
fn what_cannot_be_equal_is_masked_and_nothing_else() {
    assert_eq!(
        mask("* STATUS x (UIDVALIDITY 1795641234 MESSAGES 3)"),
        "* STATUS x (UIDVALIDITY <time> MESSAGES 3)"
    );
    assert_eq!(
        mask("a OK [MAILBOXID (abc)] Completed (0.001 secs 3 calls)"),
        "a OK [MAILBOXID (<*>)] Completed (<time>)"
    );
    let dated = "* 1 FETCH (INTERNALDATE \"01-Jan-2001 00:00:00 +0000\")";
    assert_eq!(mask(dated), dated);
}
