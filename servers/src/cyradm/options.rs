//! The command line of `cyradm`: the switches of the original, and those for programs.

use std::ffi::OsString;

use cyrus_proto::sasl::Credentials;

use super::client::{Login, Target};
use super::shell::Form;

/// What the command line asks for.
#[derive(Debug, Default)]
pub(super) struct Options {
    pub(super) target: Target,
    pub(super) login: Login,
    pub(super) form: Form,
    /// Commands in place of those of a script or a person.
    pub(super) execute: Vec<String>,
    /// A script.
    pub(super) file: Option<String>,
    /// The startup files are read.
    pub(super) rc: bool,
    pub(super) system_rc: Option<String>,
    pub(super) user_rc: Option<String>,
    /// Go on behind a command that failed.
    pub(super) keep_going: bool,
}

/// What else a command line may be.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Other {
    /// Help is asked for.
    Help,
    /// The version is.
    Version,
    /// It is wrong.
    Wrong(String),
}

/// An option: its long name, its letter, and whether it takes a value.
const KNOWN: &[(&str, Option<char>, bool)] = &[
    ("user", Some('u'), true),
    ("authz", Some('z'), true),
    ("rc", Some('r'), false),
    ("norc", None, false),
    ("systemrc", Some('S'), true),
    ("userrc", None, true),
    ("server", Some('s'), true),
    ("port", Some('p'), true),
    ("auth", Some('a'), true),
    ("password", Some('w'), true),
    ("password-file", None, true),
    ("tlskey", Some('t'), true),
    ("notls", None, false),
    ("imaps", None, false),
    ("insecure", None, false),
    ("cafile", None, true),
    ("cadir", None, true),
    ("capath", None, true),
    ("service", None, true),
    ("minssf", None, true),
    ("maxssf", None, true),
    ("json", Some('j'), false),
    ("execute", Some('e'), true),
    ("file", Some('f'), true),
    ("keep-going", Some('k'), false),
    ("help", Some('h'), false),
    ("version", Some('v'), false),
];

impl Options {
    /// Takes a command line apart (without the program's name).
    pub(super) fn of(args: impl IntoIterator<Item = OsString>) -> Result<Self, Other> {
        let mut options = Self {
            rc: true,
            ..Self::default()
        };
        options.login.service = "imap".to_owned();
        let mut port = None;
        let mut words = Vec::new();
        for arg in args {
            words.push(arg.into_string().map_err(|_| wrong("an argument is not UTF-8"))?);
        }
        let mut words = words.into_iter();
        let mut servers = Vec::new();
        while let Some(word) = words.next() {
            if word == "--" {
                servers.extend(words);
                break;
            }
            let Some((name, takes_value, attached)) = option(&word)? else {
                servers.push(word);
                continue;
            };
            let value = match (takes_value, attached) {
                (false, None) => String::new(),
                (true, Some(value)) => value,
                (true, None) => words
                    .next()
                    .ok_or_else(|| wrong(&format!("--{name} requires an argument")))?,
                (false, Some(_)) => return Err(wrong(&format!("--{name} takes no argument"))),
            };
            match name {
                "port" => port = Some(value.parse().map_err(|_| wrong("--port takes a number"))?),
                "server" => servers.push(value),
                name => options.set(name, value)?,
            }
        }
        options.target.port = port.unwrap_or(if options.target.implicit_tls { 993 } else { 143 });
        if let Some(server) = servers.pop() {
            options.target.host = server;
        }
        match servers.is_empty() {
            true => Ok(options),
            false => Err(wrong("one server at a time")),
        }
    }

    fn set(&mut self, name: &str, value: String) -> Result<(), Other> {
        let Credentials {
            authenticate_as,
            act_as,
            password,
            ..
        } = &mut self.login.credentials;
        let number = |value: &str| {
            value
                .parse()
                .map_err(|_| wrong(&format!("--{name} takes a number")))
        };
        match name {
            "user" => *authenticate_as = Some(value),
            "authz" => *act_as = Some(value),
            "password" => *password = Some(value),
            "password-file" => {
                let text =
                    std::fs::read_to_string(&value).map_err(|error| wrong(&format!("{value}: {error}")))?;
                *password = Some(text.lines().next().unwrap_or_default().to_owned());
            }
            "auth" => {
                let words = value.split([' ', ',']).filter(|word| !word.is_empty());
                self.login.mechanisms = words.map(str::to_uppercase).collect();
            }
            "service" => self.login.service = value,
            "minssf" => self.login.minimum_layer = number(&value)?,
            "maxssf" => self.login.maximum_layer = number(&value)?,
            "rc" => self.rc = true,
            "norc" => self.rc = false,
            "systemrc" => self.system_rc = Some(value),
            "userrc" => self.user_rc = Some(value),
            "tlskey" => self.target.key_file = Some(value).filter(|value| !value.is_empty()),
            "notls" => self.target.no_tls = true,
            "imaps" => self.target.implicit_tls = true,
            "insecure" => self.target.insecure = true,
            "cafile" => self.target.ca_file = Some(value),
            "cadir" | "capath" => self.target.ca_folder = Some(value),
            "json" => self.form = Form::Json,
            "execute" => self.execute.push(value),
            "file" => self.file = Some(value),
            "keep-going" => self.keep_going = true,
            "help" => return Err(Other::Help),
            _ => return Err(Other::Version),
        }
        Ok(())
    }
}

/// An option's name, whether it takes a value, and the value that is attached; `None` for what is no option.
#[allow(clippy::type_complexity)]
fn option(word: &str) -> Result<Option<(&'static str, bool, Option<String>)>, Other> {
    let unknown = || wrong(&format!("Unknown option: {}", word.trim_start_matches('-')));
    if let Some(long) = word.strip_prefix("--") {
        let (name, attached) = match long.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (long, None),
        };
        let whole = KNOWN.iter().find(|(known, ..)| *known == name);
        // As long as it is clear which is meant, a name may be cut short.
        let mut beginnings = KNOWN.iter().filter(|(known, ..)| known.starts_with(name));
        let found = whole.or_else(|| match (beginnings.next(), beginnings.next()) {
            (only, None) => only,
            _ => None,
        });
        let (name, _, takes_value) = found.ok_or_else(unknown)?;
        return Ok(Some((name, *takes_value, attached)));
    }
    let Some(short) = word.strip_prefix('-').filter(|short| !short.is_empty()) else {
        return Ok(None);
    };
    let mut letters = short.chars();
    let letter = letters.next();
    let rest = letters.as_str();
    let (name, _, takes_value) = KNOWN
        .iter()
        .find(|(_, known, _)| known.is_some() && *known == letter)
        .ok_or_else(unknown)?;
    let attached = (!rest.is_empty()).then(|| rest.trim_start_matches('=').to_owned());
    Ok(Some((name, *takes_value, attached)))
}

fn wrong(what: &str) -> Other {
    Other::Wrong(what.to_owned())
}

pub(super) const HELP: &str = "\
Usage: cyradm [args] server
  --user <user>         Connect as <user> (authentication name)
  --authz <user>        Authorize as <user>
  --[no]rc              (Do not) load the configuration files
  --systemrc <file>     Use system-wide configuration <file>
  --userrc <file>       Use user configuration <file>
  --port <port>         Connect to server on <port>
  --auth <mechanism>    Authenticate with <mechanism>, or one of several
  --password <text>     The password; better --password-file, or CYRADM_PASSWORD in the environment
  --password-file <file>
  --tlskey <keyfile>    Use certificate with keyfile to authenticate with server
  --notls               Disable StartTLS negotiation
  --imaps               TLS from the beginning
  --cafile <cacertfile> Use CA certificate file to validate server certificate
  --cadir <directory>   Use CA certificate directory to validate server certificate
  --insecure            Trust any certificate
  --minssf, --maxssf    The weakest and the strongest security layer of the mechanism, in bits
  --help                This help message
  --version             The version of Cyrus IMAP this utility is a part of

For programs:
  --execute <command>   Run a command instead of reading any; may be given more than once
  --file <script>       Run the commands of a script
  --json                Answer each command with a line that is a JSON object
  --keep-going          Go on behind a command that failed; scripts on the standard input always do

Defaults to interactive mode. See the 'help' command in the shell for details.
The exit code is that of the last command: 0 if it was done.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn of(args: &[&str]) -> Result<Options, Other> {
        Options::of(args.iter().map(OsString::from))
    }

    #[test]
    fn switches_are_those_of_the_original() {
        let options = of(&[
            "--user",
            "cyrus",
            "-w",
            "x",
            "--port=1143",
            "--auth",
            "plain",
            "--norc",
            "h",
        ])
        .unwrap();
        assert_eq!((options.target.host.as_str(), options.target.port), ("h", 1143));
        assert_eq!(
            options.login.credentials.authenticate_as.as_deref(),
            Some("cyrus")
        );
        assert_eq!(options.login.mechanisms, ["PLAIN"]);
        assert!(!options.rc);
        assert_eq!(of(&["-ucyrus", "--server", "h"]).unwrap().target.port, 143);
        assert_eq!(of(&["--imaps", "h"]).unwrap().target.port, 993);
    }

    #[test]
    fn wrong_command_lines_say_what_is_wrong() {
        let why = |args| match of(args) {
            Err(Other::Wrong(why)) => why,
            other => panic!("{other:?}"),
        };
        assert_eq!(why(&["--bogus"]), "Unknown option: bogus");
        assert_eq!(why(&["-X"]), "Unknown option: X");
        assert_eq!(why(&["--user"]), "--user requires an argument");
        assert_eq!(why(&["--port", "x"]), "--port takes a number");
        assert_eq!(why(&["a", "b"]), "one server at a time");
        assert_eq!(of(&["--help"]).unwrap_err(), Other::Help);
    }
}
