//! The grammar of cyrus.conf: sections, entries, arguments.

use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;

use super::CyrusConfError;
use crate::config::Place;

/// The sections that mean something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Section {
    Start,
    Services,
    Events,
    Daemon,
}

impl Section {
    const ALL: [Self; 4] = [Self::Start, Self::Services, Self::Events, Self::Daemon];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Start => "START",
            Self::Services => "SERVICES",
            Self::Events => "EVENTS",
            Self::Daemon => "DAEMON",
        }
    }

    fn named(name: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|section| section.name().eq_ignore_ascii_case(name))
    }
}

/// One line of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) section: Section,
    pub(super) name: String,
    pub(super) arguments: Vec<(String, String)>,
    pub(super) place: Place,
}

/// Which sections must be without mistakes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Strict {
    All,
    /// A broken line of another section is skipped with a remark.
    Only(Section),
}

/// Reads the entries of `path` in order, and remarks about what was skipped.
pub(super) fn read(path: &Path, strict: Strict) -> Result<(Vec<Entry>, Vec<String>), CyrusConfError> {
    let unreadable = |source| CyrusConfError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST_FILE + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST_FILE {
        return Err(CyrusConfError::TooLarge {
            path: path.to_owned(),
            most: LARGEST_FILE,
        });
    }
    parse(path, &bytes, strict)
}

/// Parses the content of `path`.
pub(super) fn parse(
    path: &Path,
    bytes: &[u8],
    strict: Strict,
) -> Result<(Vec<Entry>, Vec<String>), CyrusConfError> {
    let shared: Arc<Path> = Arc::from(path);
    let text = String::from_utf8_lossy(bytes);
    let mut reader = Reader {
        state: State::Outside,
        seen: Vec::new(),
        entries: Vec::new(),
        reports: Vec::new(),
    };
    for (line, text) in (1u32..).zip(text.lines()) {
        let text = text.split('#').next().unwrap_or("").trim();
        if !text.is_empty() {
            reader.line(
                text,
                Place {
                    path: shared.clone(),
                    line,
                },
                strict,
            )?;
        }
    }
    if let State::Inside(section) = reader.state {
        reader.reports.push(format!(
            "{}: section {} is not closed",
            path.display(),
            section.name()
        ));
    }
    Ok((reader.entries, reader.reports))
}

struct Reader {
    state: State,
    seen: Vec<Section>,
    entries: Vec<Entry>,
    reports: Vec<String>,
}

enum State {
    Outside,
    Inside(Section),
    /// In a section that is skipped.
    Skipping,
}

impl Reader {
    fn line(&mut self, text: &str, place: Place, strict: Strict) -> Result<(), CyrusConfError> {
        match self.state {
            State::Outside => self.outside(text, place),
            State::Skipping => {
                if text.starts_with('}') {
                    self.state = State::Outside;
                }
            }
            State::Inside(_) if text.starts_with('}') => {
                if text.len() > 1 {
                    self.reports
                        .push(format!("{place}: the text behind '}}' is ignored"));
                }
                self.state = State::Outside;
            }
            State::Inside(_) if text.starts_with('{') => {
                self.reports
                    .push(format!("{place}: a line that begins with '{{' is ignored"));
            }
            State::Inside(section) => match entry(section, text, &place) {
                Ok(entry) => self.entries.push(entry),
                Err(problem) if strict == Strict::All || strict == Strict::Only(section) => {
                    return Err(CyrusConfError::Syntax { place, problem });
                }
                Err(problem) => self.reports.push(format!("{place}: {problem}")),
            },
        }
        Ok(())
    }

    fn outside(&mut self, text: &str, place: Place) {
        let (word, rest) = text.split_at(text.bytes().take_while(u8::is_ascii_alphanumeric).count());
        let Some((_, behind)) = rest.split_once('{') else {
            self.reports
                .push(format!("{place}: ignored: neither a section nor an entry of one"));
            return;
        };
        if !behind.trim().is_empty() {
            self.reports.push(format!(
                "{place}: the text behind '{{' is ignored; entries stand on lines of their own"
            ));
        }
        self.state = match Section::named(word) {
            Some(section) if self.seen.contains(&section) => {
                self.reports
                    .push(format!("{place}: a second section {} is ignored", section.name()));
                State::Skipping
            }
            Some(section) => {
                self.seen.push(section);
                State::Inside(section)
            }
            None => {
                self.reports.push(format!(
                    "{place}: section '{word}' is ignored; there are START, SERVICES, EVENTS and DAEMON"
                ));
                State::Skipping
            }
        };
    }
}

/// Parses `name key=value key="quoted value"`.
fn entry(section: Section, text: &str, place: &Place) -> Result<Entry, String> {
    let (name, mut rest) = text.split_at(text.bytes().take_while(u8::is_ascii_alphanumeric).count());
    if let Some(bad) = rest.chars().next()
        && !bad.is_ascii_whitespace()
    {
        return Err(format!(
            "bad character '{bad}' in the name; names are letters and digits"
        ));
    }
    let mut arguments = Vec::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let is_key = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        let (key, behind) = rest.split_at(rest.bytes().take_while(is_key).count());
        let Some(value) = behind.strip_prefix('=') else {
            return Err(match behind.chars().next() {
                Some(bad) if !bad.is_whitespace() => {
                    format!("bad character '{bad}' in an argument; write key=value")
                }
                _ => format!("'{key}' has no value; write {key}=value"),
            });
        };
        let (value, after) = match value.strip_prefix('"') {
            Some(quoted) => quoted
                .split_once('"')
                .ok_or_else(|| format!("missing closing '\"' in the value of {key}"))?,
            None => value.split_at(
                value
                    .find(|c: char| c.is_ascii_whitespace())
                    .unwrap_or(value.len()),
            ),
        };
        rest = after;
        if arguments.len() == MOST_ARGUMENTS {
            return Err(format!("more than {MOST_ARGUMENTS} arguments"));
        }
        arguments.push((key.to_owned(), value.to_owned()));
    }
    Ok(Entry {
        section,
        name: name.to_owned(),
        arguments,
        place: place.clone(),
    })
}

const LARGEST_FILE: u64 = 1 << 20;
const MOST_ARGUMENTS: usize = 64;
