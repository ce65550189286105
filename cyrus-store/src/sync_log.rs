//! The logs of what changed, one a channel, from which others work: `squatter` here, Cyrus's `squatter` and `sync_client`.
//!
//! A line is an event and its mailboxes: `APPEND user.bovik`, `MAILBOX "user.bovik.old mail"`. Whoever writes locks the file,
//! looks whether it still has its name, and appends. Whoever reads renames `log` to `log-run`, waits until nobody is writing
//! there any more, works through it, and removes it: what a crash leaves behind is read again.
//!
//! Of Cyrus's events those are written that tell of messages: `APPEND` and `MAILBOX`. A log is a help, not the truth: nothing
//! syncs it, and a commit does not fail because of it.

use std::path::{Path, PathBuf};

use crate::error::MailboxError;
use crate::lock::{Recheck, Wait};
use crate::name::MailboxName;
use crate::store::Store;
use crate::sys::{Mode, Open};

/// What happened to a mailbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum News {
    /// It got messages.
    Appended,
    /// Something in it changed.
    Changed,
}

/// Events of one channel, taken out of its log.
#[derive(Debug)]
pub struct SyncEvents {
    /// Where they are until [`Store::finish_sync_events`].
    path: PathBuf,
    /// Each event with its arguments, in their order.
    pub events: Vec<Vec<String>>,
}

impl Store {
    /// Writes news of a mailbox into the logs of all channels.
    pub(crate) fn log_news(&self, name: &MailboxName, news: News) {
        let channels = &self.options().sync_channels;
        if channels.is_empty() {
            return;
        }
        let name = quoted(name.as_str());
        let lines = match news {
            News::Appended => format!("APPEND {name}\nMAILBOX {name}\n"),
            News::Changed => format!("MAILBOX {name}\n"),
        };
        for channel in channels {
            if let Err(error) = self.append_to_log(&self.sync_log(channel), &lines) {
                self.report("a change is not in the sync log", &error);
            }
        }
    }

    fn append_to_log(&self, path: &Path, lines: &str) -> Result<(), MailboxError> {
        if let Some(parent) = path.parent()
            && self.disk().try_stat(parent)?.is_none()
        {
            self.disk().make_dirs(parent)?;
        }
        let file = self.locks().data_file(path);
        let how = Open::create().mode(0o600);
        let mut lock = file.lock(Mode::Exclusive, self.wait(), how, Recheck::Replaced)?;
        let end = lock.file().size()?;
        Ok(lock.write_at(lines.as_bytes(), end)?)
    }

    /// The log of a channel; the one without a name is Cyrus's `sync_client`'s.
    pub fn sync_log(&self, channel: &str) -> PathBuf {
        let sync = self.options().config_dir.join("sync");
        match channel {
            "" => sync.join("log"),
            channel => sync.join(channel).join("log"),
        }
    }

    /// Takes the events out of the log of a channel; `None` if there are none.
    ///
    /// # Errors
    /// The log cannot be renamed or read.
    pub fn take_sync_events(&self, channel: &str) -> Result<Option<SyncEvents>, MailboxError> {
        let log = self.sync_log(channel);
        let running = log.with_file_name("log-run");
        let disk = self.disk();
        if disk.try_stat(&running)?.is_none() {
            match disk.rename(&log, &running) {
                Ok(()) => {}
                Err(error) if error.is_not_found() => return Ok(None),
                Err(error) => return Err(error.into()),
            }
        }
        self.read_sync_events(&running).map(Some)
    }

    /// Reads a file of events, which stays where it is until [`Store::finish_sync_events`].
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read_sync_events(&self, path: &Path) -> Result<SyncEvents, MailboxError> {
        let file = self.locks().data_file(path);
        // Somebody may be at his last line.
        let lock = file.lock(Mode::Exclusive, Wait::Forever, Open::write(), Recheck::Replaced)?;
        let text = lock.file().read_all()?;
        drop(lock);
        let lines = text.split(|&byte| byte == b'\n').filter(|line| !line.is_empty());
        Ok(SyncEvents {
            path: path.to_owned(),
            events: lines.map(words).filter(|words| !words.is_empty()).collect(),
        })
    }

    /// Forgets events that have been dealt with.
    ///
    /// # Errors
    /// The file cannot be removed.
    pub fn finish_sync_events(&self, events: SyncEvents) -> Result<(), MailboxError> {
        Ok(self.disk().unlink_if_exists(&events.path)?)
    }
}

/// A name as an argument of an event.
fn quoted(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-+&,/@=~^!:".contains(&byte);
    if !name.is_empty() && name.bytes().all(is_plain) {
        return name.to_owned();
    }
    let mut quoted = String::with_capacity(name.len() + 2);
    quoted.push('"');
    for char in name.chars() {
        if matches!(char, '"' | '\\') {
            quoted.push('\\');
        }
        quoted.push(char);
    }
    quoted.push('"');
    quoted
}

/// The words of a line: atoms and quoted strings.
fn words(line: &[u8]) -> Vec<String> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    while let Some(&first) = bytes.peek() {
        let mut word = Vec::new();
        match first {
            b' ' | b'\r' | b'\t' => {
                bytes.next();
                continue;
            }
            b'"' => {
                bytes.next();
                while let Some(byte) = bytes.next().filter(|&byte| byte != b'"') {
                    word.extend(if byte == b'\\' { bytes.next() } else { Some(byte) });
                }
            }
            _ => {
                while let Some(byte) = bytes.next_if(|byte| !b" \r\t".contains(byte)) {
                    word.push(byte);
                }
            }
        }
        words.push(String::from_utf8_lossy(&word).into_owned());
    }
    words
}

/// For the fuzz target: whatever the words of a line are, they can be written and read back.
pub(crate) fn fuzz(data: &[u8]) {
    for line in data.split(|&byte| byte == b'\n') {
        let known = words(line);
        let written: Vec<String> = known.iter().map(|word| quoted(word)).collect();
        assert_eq!(
            words(written.join(" ").as_bytes()),
            known,
            "what was written reads back"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::StoreOptions;
    use proptest::prelude::*;

    #[test]
    fn names_are_written_as_cyrus_writes_them() {
        assert_eq!(quoted("user.user1.&AOQ-x"), "user.user1.&AOQ-x");
        assert_eq!(quoted("user.user1.sp ace"), "\"user.user1.sp ace\"");
        assert_eq!(
            words(b"DOUBLEMAILBOX user.user1 \"user.user1.sp ace\""),
            ["DOUBLEMAILBOX", "user.user1", "user.user1.sp ace"]
        );
        assert_eq!(words(b"APPEND \"cut off"), ["APPEND", "cut off"]);
    }

    #[test]
    fn events_are_taken_once_and_survive_until_they_are_dealt_with() {
        let dir = tempfile::tempdir().unwrap();
        let mut options = StoreOptions::new(dir.path());
        options.sync_channels = vec!["squatter".to_owned(), String::new()];
        let store = Store::open(options).unwrap();
        let name = MailboxName::parse("user.bovik").unwrap();
        assert!(store.take_sync_events("squatter").unwrap().is_none());
        store.log_news(&name, News::Appended);
        let taken = store.take_sync_events("squatter").unwrap().unwrap();
        let expected = [["APPEND", "user.bovik"], ["MAILBOX", "user.bovik"]];
        assert_eq!(taken.events, expected);
        store.log_news(&name, News::Changed);
        // Whoever took the events died.
        drop(taken);
        let again = store.take_sync_events("squatter").unwrap().unwrap();
        assert_eq!(again.events, expected);
        store.finish_sync_events(again).unwrap();
        let later = store.take_sync_events("squatter").unwrap().unwrap();
        assert_eq!(later.events, [["MAILBOX", "user.bovik"]]);
        store.finish_sync_events(later).unwrap();
        assert!(store.take_sync_events("squatter").unwrap().is_none());
        assert!(dir.path().join("sync/log").exists());
    }

    proptest! {
        #[test]
        fn any_line_can_be_written_and_read_back(line in ".*|(\"[^\n]*\"?| |\\\\|[a-z]+)*") {
            fuzz(line.as_bytes());
        }

        #[test]
        fn any_name_can_be_read_back(name in "[^\n\r\t]{1,20}") {
            let line = format!("APPEND {}", quoted(&name));
            prop_assert_eq!(words(line.as_bytes()), vec!["APPEND".to_owned(), name]);
        }
    }
}
