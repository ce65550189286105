//! Command lines as getopt(3) reads them, so that switches work as they do with Cyrus's programs.

use std::ffi::OsString;

/// A command line taken apart: switches in order, then the other arguments.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct CommandLine {
    /// Each switch, with its argument if it takes one.
    pub switches: Vec<(char, Option<String>)>,
    /// What is no switch.
    pub arguments: Vec<String>,
}

/// A switch that the program does not have, or that lacks its argument. Prints as getopt(3) does.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadSwitch {
    /// Not a switch of this program.
    #[error("invalid option -- '{0}'")]
    Unknown(char),
    /// The argument is missing.
    #[error("option requires an argument -- '{0}'")]
    NoArgument(char),
    /// No long switch of this program, or the beginning of several.
    #[error("unrecognized option '--{0}'")]
    UnknownLong(String),
    /// An argument that the switch does not take.
    #[error("option '--{0}' doesn't allow an argument")]
    NeedlessArgument(String),
    /// An argument is not UTF-8.
    #[error("an argument is not UTF-8")]
    NotUtf8,
}

/// Takes `args` (without the program's name) apart; `known` is as for getopt(3): letters, those with an argument
/// followed by a colon. Switches may stand behind other arguments; `--` ends them.
pub fn parse(args: impl IntoIterator<Item = OsString>, known: &str) -> Result<CommandLine, BadSwitch> {
    let mut line = CommandLine::default();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let arg = arg.into_string().map_err(|_| BadSwitch::NotUtf8)?;
        let letters = match arg.strip_prefix('-') {
            Some("-") => {
                for rest in args {
                    line.arguments
                        .push(rest.into_string().map_err(|_| BadSwitch::NotUtf8)?);
                }
                break;
            }
            Some(letters) if !letters.is_empty() => letters,
            _ => {
                line.arguments.push(arg);
                continue;
            }
        };
        let mut rest = letters.chars();
        while let Some(letter) = rest.next() {
            let at = known
                .find(letter)
                .filter(|_| letter != ':')
                .ok_or(BadSwitch::Unknown(letter))?;
            let takes_argument = known
                .get(at + letter.len_utf8()..)
                .is_some_and(|after| after.starts_with(':'));
            if !takes_argument {
                line.switches.push((letter, None));
                continue;
            }
            let attached = rest.as_str();
            let argument = match attached.is_empty() {
                false => attached.to_owned(),
                true => args
                    .next()
                    .ok_or(BadSwitch::NoArgument(letter))?
                    .into_string()
                    .map_err(|_| BadSwitch::NotUtf8)?,
            };
            line.switches.push((letter, Some(argument)));
            break;
        }
    }
    Ok(line)
}

/// As [`parse`], with long names as getopt_long(3) reads them: `--name`, `--name=argument` or `--name argument`, and any
/// beginning of a name that no other one has.
pub fn parse_long(
    args: impl IntoIterator<Item = OsString>,
    known: &str,
    names: &[(&str, char)],
) -> Result<CommandLine, BadSwitch> {
    let mut short = Vec::new();
    let mut args = args.into_iter();
    while let Some(arg) = args.next() {
        let long = arg.to_str().and_then(|arg| arg.strip_prefix("--"));
        let Some(long) = long else {
            short.push(arg);
            continue;
        };
        if long.is_empty() {
            short.push(arg);
            short.extend(args.by_ref());
            break;
        }
        let (name, argument) = match long.split_once('=') {
            Some((name, argument)) => (name, Some(argument)),
            None => (long, None),
        };
        let exact = names.iter().find(|(known, _)| *known == name);
        let mut alike = names.iter().filter(|(known, _)| known.starts_with(name));
        let found = exact.or_else(|| alike.next().filter(|_| alike.next().is_none()));
        let Some((_, letter)) = found else {
            return Err(BadSwitch::UnknownLong(name.to_owned()));
        };
        short.push(format!("-{letter}").into());
        match argument {
            Some(argument) if known.contains(&format!("{letter}:")) => short.push(argument.into()),
            Some(_) => return Err(BadSwitch::NeedlessArgument(name.to_owned())),
            None => {}
        }
    }
    parse(short, known)
}

impl CommandLine {
    /// Whether `letter` was given.
    pub fn has(&self, letter: char) -> bool {
        self.switches.iter().any(|(given, _)| *given == letter)
    }

    /// The argument of the last `letter`.
    pub fn argument(&self, letter: char) -> Option<&str> {
        self.switches
            .iter()
            .rev()
            .find(|(given, _)| *given == letter)
            .and_then(|(_, argument)| argument.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(args: &[&str], known: &str) -> Result<CommandLine, BadSwitch> {
        parse(args.iter().map(OsString::from), known)
    }

    #[test]
    fn switches_may_be_joined_attached_and_in_any_place() {
        let line = parsed(&["show", "-xrCfile", "-C", "other", "--", "-x"], "C:rx").unwrap();
        assert_eq!(line.arguments, ["show", "-x"]);
        assert!(line.has('x') && line.has('r'));
        assert_eq!(line.argument('C'), Some("other"));
    }

    #[test]
    fn long_switches_may_be_cut_short_where_that_is_clear() {
        let names = [("name", 'N'), ("nodaemon", 'd'), ("incremental", 'i')];
        let parsed = |args: &[&str]| parse_long(args.iter().map(OsString::from), "N:di", &names);
        let line = parsed(&["--incr", "x", "--name=a", "--", "--nodaemon"]).unwrap();
        assert!(line.has('i') && !line.has('d'));
        assert_eq!(
            (line.argument('N'), line.arguments.clone()),
            (Some("a"), vec!["x".to_owned(), "--nodaemon".to_owned()])
        );
        assert_eq!(parsed(&["--name", "b"]).unwrap().argument('N'), Some("b"));
        assert_eq!(parsed(&["--n"]), Err(BadSwitch::UnknownLong("n".to_owned())));
        assert_eq!(
            parsed(&["--nod=1"]),
            Err(BadSwitch::NeedlessArgument("nod".to_owned()))
        );
    }

    #[test]
    fn wrong_switches_read_like_those_of_libc() {
        assert_eq!(
            parsed(&["-Z"], "C:").unwrap_err().to_string(),
            "invalid option -- 'Z'"
        );
        assert_eq!(
            parsed(&["-C"], "C:").unwrap_err().to_string(),
            "option requires an argument -- 'C'"
        );
        assert_eq!(parsed(&["-:"], "C:").unwrap_err(), BadSwitch::Unknown(':'));
        assert_eq!(parsed(&["-"], "C:").unwrap().arguments, ["-"]);
    }
}
