//! The line grammar of imapd.conf: comments, continuation lines, `name: value`, `@include`.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::ConfigError;

/// Where a setting stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub path: Arc<Path>,
    /// The line, counted from 1; of a continued line, the first.
    pub line: u32,
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.path.display(), self.line)
    }
}

/// One setting as written: the name in lower case, the value without the blanks around it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Line {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) place: Place,
}

/// Reads the settings of `path` and of the files that it includes, in the order in which they stand.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>, ConfigError> {
    let mut reader = Reader {
        lines: Vec::new(),
        read: Vec::new(),
    };
    reader.file(path, None)?;
    Ok(reader.lines)
}

/// Reads the settings of `content`, which stands for the file at `path`.
pub(crate) fn parse(path: &Path, content: &[u8]) -> Result<Vec<Line>, ConfigError> {
    let mut reader = Reader {
        lines: Vec::new(),
        read: vec![path.to_owned()],
    };
    reader.content(path, content)?;
    Ok(reader.lines)
}

struct Reader {
    lines: Vec<Line>,
    read: Vec<PathBuf>,
}

impl Reader {
    fn file(&mut self, path: &Path, from: Option<Place>) -> Result<(), ConfigError> {
        if self.read.iter().any(|earlier| earlier == path) {
            return Err(ConfigError::IncludedTwice {
                path: path.to_owned(),
                place: from,
            });
        }
        self.read.push(path.to_owned());
        if self.read.len() > MOST_FILES {
            return Err(ConfigError::TooManyFiles {
                path: path.to_owned(),
                most: MOST_FILES,
            });
        }
        let unreadable = |source| ConfigError::Unreadable {
            path: path.to_owned(),
            place: from.clone(),
            source,
        };
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(unreadable)?;
        file.take(LARGEST_FILE + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        if bytes.len() as u64 > LARGEST_FILE {
            return Err(ConfigError::TooLarge {
                path: path.to_owned(),
                most: LARGEST_FILE,
            });
        }
        self.content(path, &bytes)
    }

    fn content(&mut self, path: &Path, bytes: &[u8]) -> Result<(), ConfigError> {
        let path: Arc<Path> = Arc::from(path);
        for (line, bytes) in logical_lines(bytes) {
            self.line(
                &bytes,
                Place {
                    path: path.clone(),
                    line,
                },
            )?;
        }
        Ok(())
    }

    fn line(&mut self, bytes: &[u8], place: Place) -> Result<(), ConfigError> {
        let bytes = bytes.trim_ascii();
        if bytes.is_empty() || bytes.starts_with(b"#") {
            return Ok(());
        }
        let Ok(text) = std::str::from_utf8(bytes) else {
            return Err(ConfigError::NotUtf8 { place });
        };
        let Some((name, value)) = text.split_once(':') else {
            return Err(ConfigError::NoColon { place });
        };
        let value = value.trim_matches(|c: char| c.is_ascii_whitespace());
        if let Some(directive) = name.strip_prefix('@') {
            if !directive.eq_ignore_ascii_case("include") {
                return Err(ConfigError::BadDirective {
                    place,
                    directive: name.to_owned(),
                });
            }
            return self.file(Path::new(value), Some(place));
        }
        if name.is_empty()
            || !name
                .bytes()
                .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
        {
            return Err(ConfigError::BadName {
                place,
                name: name.to_owned(),
            });
        }
        if value.is_empty() {
            return Err(ConfigError::NoValue {
                place,
                name: name.to_owned(),
            });
        }
        self.lines.push(Line {
            name: name.to_ascii_lowercase(),
            value: value.to_owned(),
            place,
        });
        Ok(())
    }
}

/// The lines of a file with continuations joined, each with the number of its first physical line.
///
/// A backslash as the last character joins the next line, in comments too.
fn logical_lines(bytes: &[u8]) -> Vec<(u32, Vec<u8>)> {
    let mut lines: Vec<(u32, Vec<u8>)> = Vec::new();
    let mut joined = false;
    for (number, physical) in (1u32..).zip(bytes.split(|byte| *byte == b'\n')) {
        let physical = physical.strip_suffix(b"\r").unwrap_or(physical);
        let (content, continues) = match physical.strip_suffix(b"\\") {
            Some(content) => (content, true),
            None => (physical, false),
        };
        match lines.last_mut() {
            Some((_, line)) if joined => line.extend_from_slice(content),
            _ => lines.push((number, content.to_vec())),
        }
        joined = continues;
    }
    lines
}

const LARGEST_FILE: u64 = 16 << 20;
const MOST_FILES: usize = 64;

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(text: &str) -> Result<Vec<(String, String, u32)>, ConfigError> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("imapd.conf");
        std::fs::write(&path, text.replace("DIR", dir.path().to_str().unwrap())).unwrap();
        std::fs::write(dir.path().join("more"), "postmaster: root\n").unwrap();
        Ok(read(&path)?
            .into_iter()
            .map(|line| (line.name, line.value, line.place.line))
            .collect())
    }

    #[test]
    fn a_backslash_joins_lines_without_adding_blanks() {
        let lines = lines_of("option:\\\n    value1 value2 \\\n       value3\nb:c").unwrap();
        assert_eq!(
            lines[0],
            ("option".into(), "value1 value2        value3".into(), 1)
        );
        assert_eq!(lines[1], ("b".into(), "c".into(), 4));
    }

    #[test]
    fn comments_blank_lines_and_carriage_returns_are_no_settings() {
        let lines = lines_of("# one\\\ntwo: 2\n\n   # x\n\tTHREE:  3 # not a comment \r\n").unwrap();
        assert_eq!(lines, [("three".into(), "3 # not a comment".into(), 5)]);
    }

    #[test]
    fn an_included_file_stands_in_the_place_of_its_directive() {
        let lines = lines_of("a: 1\n@Include: DIR/more\nb: 2\n").unwrap();
        assert_eq!(
            lines.iter().map(|line| line.0.as_str()).collect::<Vec<_>>(),
            ["a", "postmaster", "b"]
        );
    }

    #[test]
    fn malformed_lines_are_refused_with_file_and_line() {
        for (text, message) in [
            ("a: 1\nnocolon value\n", "imapd.conf:2: no colon"),
            ("a : 1\n", "imapd.conf:1: 'a ' is not a name"),
            ("a:\n", "imapd.conf:1: a has no value"),
            ("@foo: x\n", "imapd.conf:1: unknown directive @foo"),
            ("@include: DIR/none\n", "No such file"),
            ("@include: DIR/imapd.conf\n", "included twice"),
        ] {
            let error = lines_of(text).unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        }
    }
}
