//! Servers that rows share, and the words of a row: `bovik`, `fred`, `carol` and `bboard` are other users and mailboxes in
//! each row, and look the same to it.

use std::collections::HashMap;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError, mpsc};

use crate::rig::imap::Imap;
use crate::rig::programs::{Programs, both};
use crate::rig::server::Server;
use crate::rig::site::Site;

/// The options of imapd.conf that a group of rows wants.
pub(crate) type Options = &'static [(&'static str, &'static str)];

/// Names with dots, one's own mailboxes below INBOX: how the rows of the table are written.
pub(crate) const NETNEWS: Options = &[("unixhierarchysep", "no"), ("altnamespace", "no")];

/// Runs a row, against real Cyrus where it is installed, and then against this project.
pub(crate) fn row(id: &str, options: Options, test: impl Fn(&Row)) {
    for programs in [Programs::real(), Programs::ours()].into_iter().flatten() {
        row_of(&programs, id, options, &test);
    }
}

/// Runs a row against this project alone.
pub(crate) fn row_of_ours(id: &str, options: Options, test: impl Fn(&Row)) {
    if let Some(programs) = Programs::ours() {
        row_of(&programs, id, options, &test);
    }
}

fn row_of(programs: &Programs, id: &str, options: Options, test: &impl Fn(&Row)) {
    eprintln!("row {id}, {}", programs.name);
    test(&Row {
        number: id.chars().filter(char::is_ascii_digit).collect(),
        stage: stage(programs, options),
    });
}

/// One server that stays up as long as the tests run.
#[derive(Clone, Copy)]
struct Stage {
    site: &'static Site,
    server: &'static Server,
    programs: &'static Programs,
}

/// The server with these options; started for the first row that asks.
fn stage(programs: &Programs, options: Options) -> Stage {
    type Stages = Mutex<HashMap<(&'static str, Options), &'static OnceLock<Stage>>>;
    static STAGES: OnceLock<Stages> = OnceLock::new();
    let stage = {
        let mut stages = STAGES
            .get_or_init(Stages::default)
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *stages
            .entry((programs.name, options))
            .or_insert_with(|| Box::leak(Box::default()))
    };
    *stage.get_or_init(|| {
        let (programs, (give, take)) = (programs.clone(), mpsc::channel());
        // A server ends with the thread that started it: this one ends with the process.
        std::thread::spawn(move || {
            let site = Site::new(options, &[]);
            site.unset("sasl_pwcheck_method");
            site.configure("sasl_pwcheck_method: alwaystrue\n");
            sweep_later(&site);
            let server = site.start(&programs);
            let stage = Stage {
                site: Box::leak(Box::new(site)),
                server: Box::leak(Box::new(server)),
                programs: Box::leak(Box::new(programs)),
            };
            give.send(stage).expect("the row waits");
            loop {
                std::thread::park();
            }
        });
        take.recv().expect("the server starts")
    })
}

/// Removes the folder of a site when this process has ended, however it did.
fn sweep_later(site: &Site) {
    if std::env::var_os("RIG_KEEP").is_some() {
        return;
    }
    let broom = Command::new("sh")
        .args(["-c", "cat; sleep 2; rm -rf \"$0\""])
        .arg(site.root())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .expect("sh");
    // Its input ends when nobody is left who could write to it.
    Box::leak(Box::new(broom));
}

/// One row at one server.
pub(crate) struct Row {
    number: String,
    stage: Stage,
}

impl Row {
    /// Whether this is real Cyrus.
    pub(crate) fn is_real(&self) -> bool {
        self.stage.programs.name == "real"
    }

    /// A connection logged in as the administrator.
    pub(crate) fn admin(&self) -> Client<'_> {
        self.login("admin")
    }

    /// A connection logged in as a user of the row.
    pub(crate) fn login(&self, user: &str) -> Client<'_> {
        let mut client = self.connect();
        client.ok(&format!("LOGIN {user} pass"));
        client
    }

    /// A connection that is not logged in.
    pub(crate) fn connect(&self) -> Client<'_> {
        Client {
            row: self,
            imap: Imap::connect(self.stage.server.imap_port).expect("a connection"),
        }
    }

    /// Delivers a message to an address; the reply.
    pub(crate) fn deliver(&self, address: &str, message: &str) -> String {
        let replies = (self.stage.server.lmtp())
            .deliver(&[&self.inward(address)], message.as_bytes())
            .expect("LMTP");
        self.outward(replies.first().expect("one reply for one recipient"))
    }

    /// What a tool says that must succeed.
    pub(crate) fn tool(&self, program: &str, arguments: &[&str]) -> String {
        let arguments: Vec<String> = arguments.iter().map(|text| self.inward(text)).collect();
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let output = self.stage.site.tool(self.stage.programs, program, &arguments);
        assert!(
            output.status.success(),
            "{program} {arguments:?}: {}",
            both(&output)
        );
        self.outward(&both(&output))
    }

    /// The folder of the site.
    pub(crate) fn root(&self) -> &Path {
        self.stage.site.root()
    }

    /// Writes a file of the site as the daemons would.
    pub(crate) fn write(&self, path: &Path, content: &str) {
        for folder in path
            .ancestors()
            .skip(1)
            .take_while(|folder| !folder.exists())
            .collect::<Vec<_>>()
            .iter()
            .rev()
        {
            std::fs::create_dir(folder).expect("a folder of the site");
            self.stage.site.own(folder);
        }
        std::fs::write(path, content).expect("a file of the site");
        self.stage.site.own(path);
    }

    /// The files and links of the site whose path holds one of these texts, relative to it; the texts are left out.
    pub(crate) fn traces(&self, texts: &[&str]) -> Vec<String> {
        let mut found = Vec::new();
        let mut open = vec![self.root().to_owned()];
        while let Some(directory) = open.pop() {
            for entry in std::fs::read_dir(&directory).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() && !path.is_symlink() {
                    open.push(path);
                } else if let Ok(path) = path.strip_prefix(self.root()) {
                    found.push(self.outward(&path.display().to_string()));
                }
            }
        }
        found.retain(|path| texts.iter().any(|text| holds_word(path, text)));
        for path in &mut found {
            for text in texts {
                *path = path.replace(text, "*");
            }
        }
        found.sort();
        found
    }

    /// What the row's words end in at the server.
    pub(crate) fn number(&self) -> &str {
        &self.number
    }

    /// The internal names and lists of the row's mailboxes that are below one of these, tombstones left out.
    pub(crate) fn mailboxes(&self) -> Vec<(String, String)> {
        let dump = self.tool("ctl_mboxlist", &["-d"]);
        let dump: serde_json::Value =
            serde_json::from_str(&dump).unwrap_or_else(|error| panic!("{error}: {dump}"));
        let mut found: Vec<(String, String)> = dump
            .as_object()
            .expect("an object of mailboxes")
            .iter()
            .map(|(name, row)| (name.clone(), row["acl"].to_string()))
            .filter(|(name, _)| self.is_mine(name))
            .collect();
        found.sort();
        found
    }

    /// The internal names of the row's mailboxes.
    pub(crate) fn names(&self) -> Vec<String> {
        self.mailboxes().into_iter().map(|(name, _)| name).collect()
    }

    /// The row's words as the server knows them.
    fn inward(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in WORDS {
            text = text.replace(word, &format!("{word}{}", self.number));
        }
        text
    }

    /// The server's words as the row knows them.
    fn outward(&self, text: &str) -> String {
        let mut text = text.to_owned();
        for word in WORDS {
            text = text.replace(&format!("{word}{}", self.number), word);
        }
        text
    }

    /// Whether a text that has gone outward is about this row and no other.
    fn is_mine(&self, text: &str) -> bool {
        WORDS.iter().any(|word| holds_word(text, word))
    }

    /// Whether a line is about another row.
    fn is_foreign(&self, line: &str) -> bool {
        let listed = ["* LIST ", "* LSUB "].iter().any(|kind| line.starts_with(kind));
        let named = WORDS.iter().any(|word| line.contains(word));
        listed && named && !self.is_mine(line)
    }
}

/// A client of a row's.
pub(crate) struct Client<'r> {
    row: &'r Row,
    imap: Imap,
}

impl Client<'_> {
    /// Says a command and returns the lines of the answer, the tagged one last and without its tag; what cannot be equal
    /// is masked.
    pub(crate) fn says(&mut self, command: &str) -> Vec<String> {
        self.raw(command)
            .into_iter()
            .filter(|line| !self.row.is_foreign(line))
            .map(|line| crate::differential::mask(&line))
            .collect()
    }

    /// [`Client::says`] with nothing masked.
    pub(crate) fn raw(&mut self, command: &str) -> Vec<String> {
        let command = self.row.inward(command);
        let lines = self
            .imap
            .lines(&command)
            .unwrap_or_else(|error| panic!("{command}: {error}"));
        lines.iter().map(|line| self.row.outward(line)).collect()
    }

    /// A command that must succeed; the untagged lines.
    pub(crate) fn ok(&mut self, command: &str) -> Vec<String> {
        let mut lines = self.says(command);
        let tagged = lines.pop().unwrap_or_default();
        assert!(
            tagged.starts_with("OK"),
            "C: {command}\nS: {lines:#?}\nS: {tagged}"
        );
        lines
    }

    /// A command that must fail; the tagged line.
    pub(crate) fn no(&mut self, command: &str) -> String {
        let tagged = self.says(command).pop().unwrap_or_default();
        assert!(!tagged.starts_with("OK"), "C: {command}\nS: {tagged}");
        tagged
    }

    /// APPEND of a small message; the tagged line.
    pub(crate) fn append(&mut self, mailbox: &str) -> String {
        let mailbox = self.row.inward(mailbox);
        let reply = self
            .imap
            .append(&mailbox, "", b"Subject: hello\r\n\r\nHello.\r\n")
            .expect("APPEND");
        self.row.outward(&reply.status)
    }

    /// The names that `LIST "" pattern` tells.
    pub(crate) fn list(&mut self, pattern: &str) -> Vec<String> {
        let lines = self.ok(&format!("LIST \"\" {pattern}"));
        lines.iter().filter_map(|line| name_of(line)).collect()
    }

    /// The names that `LSUB "" pattern` tells.
    pub(crate) fn lsub(&mut self, pattern: &str) -> Vec<String> {
        let lines = self.ok(&format!("LSUB \"\" {pattern}"));
        lines.iter().filter_map(|line| name_of(line)).collect()
    }

    /// The rights that MYRIGHTS tells.
    pub(crate) fn my_rights(&mut self, mailbox: &str) -> String {
        let lines = self.ok(&format!("MYRIGHTS {mailbox}"));
        let line = lines.first().expect("an untagged answer");
        line.rsplit(' ').next().unwrap_or_default().to_owned()
    }
}

/// Whether a word is in a text without a number behind it, which would be another row's.
fn holds_word(text: &str, word: &str) -> bool {
    text.match_indices(word).any(|(at, _)| {
        let next = text.get(at + word.len()..).and_then(|rest| rest.chars().next());
        !next.is_some_and(|next| next.is_ascii_digit())
    })
}

/// The name at the end of a LIST line, without its quotes.
fn name_of(line: &str) -> Option<String> {
    let rest = line
        .strip_prefix("* LIST (")
        .or_else(|| line.strip_prefix("* LSUB ("))?;
    let (_, rest) = rest.split_once(") ")?;
    let (_, name) = rest.split_once(' ')?;
    Some(name.trim_matches('"').to_owned())
}

/// The users, shared mailboxes and groups of a row.
const WORDS: [&str; 5] = ["bovik", "fred", "carol", "bboard", "cmu"];
