//! Reading a script.

use std::path::Path;

/// Options of imapd.conf; `@tls` among them stands for a certificate.
pub(super) type Conf = Vec<(String, String)>;

/// One script.
pub(super) struct Script {
    pub(super) name: String,
    /// In this script's names of users and mailboxes.
    pub(super) number: usize,
    pub(super) conf: Conf,
    /// Users who can log in besides the two that every script has.
    pub(super) users: Vec<String>,
    pub(super) mailboxes: Vec<String>,
    pub(super) moves: Vec<Move>,
}

/// One thing that a client does, and how the answers may differ.
pub(super) struct Move {
    pub(super) line: usize,
    pub(super) who: Who,
    pub(super) act: Act,
    pub(super) reasons: usize,
    pub(super) only_real: Vec<String>,
    pub(super) only_ours: Vec<String>,
}

/// A client: the protocol and way that its connection takes, and its number.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Who {
    pub(super) way: Way,
    pub(super) number: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Way {
    Imap,
    /// By the socket, where nobody has to authenticate.
    LmtpSocket,
    LmtpPort,
}

pub(super) enum Act {
    /// The pieces of a command: text, each but the last followed by a literal; or, in LMTP, a command and a message.
    Say(Vec<(String, Option<String>)>),
    Wait(String),
}

/// The octets of a text, in which `<0xE4>` is one octet.
pub(super) fn octets(text: &str) -> Vec<u8> {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once("<0x") {
        octets.extend_from_slice(before.as_bytes());
        let octet = after.split_once('>').and_then(|(number, after)| {
            octets.push(u8::from_str_radix(number, 16).ok()?);
            Some(after)
        });
        rest = octet.unwrap_or_else(|| panic!("an octet is written <0xE4>: {text}"));
    }
    octets.extend_from_slice(rest.as_bytes());
    octets
}

impl Act {
    /// What is sent, literals left out.
    pub(super) fn text(&self) -> String {
        match self {
            Self::Say(pieces) => pieces.iter().map(|(text, _)| text.as_str()).collect(),
            Self::Wait(text) => format!("(wait for {text})"),
        }
    }
}

impl Script {
    pub(super) fn read(path: &Path, number: usize) -> Self {
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
            number,
            conf: Vec::new(),
            users: Vec::new(),
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
        if text == "@ tls" {
            self.conf.push(("@tls".to_owned(), String::new()));
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
        if let Some(user) = text.strip_prefix("@ user ") {
            self.users.push(user.to_owned());
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
        let (kind, number) = who.split_at_checked(1).unwrap_or_else(|| wrong("nobody speaks"));
        let way = match kind {
            "M" => Way::LmtpSocket,
            "N" => Way::LmtpPort,
            _ => Way::Imap,
        };
        match kind {
            "C" | "M" | "N" => self.push(line, way, number, Act::Say(vec![(said.to_owned(), None)])),
            "W" => self.push(line, way, number, Act::Wait(said.to_owned())),
            "L" | "l" | "+" => {
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
                    literal.push_str(if kind == "L" { "\r\n" } else { "" });
                }
            }
            _ => wrong("not a script line"),
        }
    }

    fn push(&mut self, line: usize, way: Way, number: &str, act: Act) {
        self.moves.push(Move {
            line,
            who: Who {
                way,
                number: number.to_owned(),
            },
            act,
            reasons: 0,
            only_real: Vec::new(),
            only_ours: Vec::new(),
        });
    }
}
