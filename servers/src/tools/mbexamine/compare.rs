//! `-c`: the index beside the message files, and only what differs.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use cyrus_store::message::MessageParser;
use cyrus_store::{Guid, Mailbox, MailboxEntry, MailboxError, Message, ModSeq};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Wanted;
use super::print::{directory, local};

/// Prints each message whose file is missing, has no record, or has other content than on record.
pub(super) fn run(
    mailbox: &mut Mailbox,
    entry: &MailboxEntry,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let data = directory(mailbox.store(), entry)?;
    let mut files = BTreeMap::new();
    let paths = entry.id.as_ref().zip(entry.partition.as_ref());
    if let Some((id, partition)) = paths {
        let legacy = entry.mbtype.legacy_dirs;
        let paths = mailbox
            .store()
            .options()
            .mailbox_paths(partition, id, &entry.name, legacy)?;
        for directory in [&paths.archive, &paths.data] {
            files.extend(message_files(directory));
        }
    }
    let read = mailbox.read()?;
    let _ = writeln!(
        out,
        "\n Mailbox Header Info:\n  Path to mailbox: {}\n\n {:<55}\tMessage File Info:",
        data.display(),
        "Index Record Info:"
    );
    // What is expunged may still have a file, or not.
    for change in read.changed_since(ModSeq(0)).filter(|change| !change.visible) {
        files.remove(&change.uid.get());
    }
    let mut messages = (1..).zip(read.messages()).peekable();
    loop {
        let next = messages.peek().map(|(_, message)| message.uid().get());
        let file = files.first_key_value().map(|(uid, _)| *uid);
        let Some(uid) = [next, file].into_iter().flatten().min() else {
            break;
        };
        let message = messages.next_if(|(_, message)| message.uid().get() == uid);
        let path = files.remove(&uid);
        let number = message.as_ref().map_or(0, |(number, _)| *number);
        if !wanted.includes(number, uid) {
            continue;
        }
        let by_index = message.map(|(_, message)| of_record(&message)).transpose()?;
        let by_file = match path.map(|path| of_file(&path)).transpose() {
            Ok(by_file) => by_file,
            Err(error) => {
                eprintln!("mbexamine: message file {uid}. cannot be read: {error}");
                None
            }
        };
        let same = by_index.as_ref().zip(by_file.as_ref());
        if same.is_none_or(|(index, file)| index.guid != file.guid) {
            print(uid, by_index.as_ref(), by_file.as_ref(), out);
        }
    }
    Ok(())
}

/// What is compared of a message.
struct Summary {
    guid: String,
    size: String,
    date: String,
    from: Vec<u8>,
    subject: Vec<u8>,
}

/// One of its texts.
type Field = fn(&Summary) -> &[u8];

fn of_record(message: &Message<'_>) -> Result<Summary, MailboxError> {
    let record = message.record()?;
    // Without a cache record only the file could tell, and it may be what is wrong.
    let cached = message.cache().ok();
    let cache = cached.as_ref().map(|cached| cached.record());
    Ok(Summary {
        guid: record.guid.to_string(),
        size: record.size.to_string(),
        date: local(record.sentdate, DATE),
        from: cache
            .as_ref()
            .map(|cache| cache.from().to_vec())
            .unwrap_or_default(),
        subject: cache
            .as_ref()
            .map(|cache| cache.subject().to_vec())
            .unwrap_or_default(),
    })
}

fn of_file(path: &Path) -> io::Result<Summary> {
    let bytes = std::fs::read(path)?;
    let parsed = MessageParser::parse(&bytes).map_err(io::Error::other)?;
    let sent = parsed.sent_date(offset_at).unwrap_or_default();
    Ok(Summary {
        guid: Guid(*parsed.guid()).to_string(),
        size: bytes.len().to_string(),
        date: local(u32::try_from(sent).unwrap_or_default(), DATE),
        from: parsed.record().from().to_vec(),
        subject: parsed.record().subject().to_vec(),
    })
}

/// Seconds east of UTC of the server's clock at a local time given as if it were UTC.
fn offset_at(local: i64) -> i64 {
    let offset = |instant| {
        let time = Timestamp::from_second(instant).unwrap_or_default();
        i64::from(TimeZone::system().to_offset(time).seconds())
    };
    offset(local.saturating_sub(offset(local)))
}

fn print(uid: u32, index: Option<&Summary>, file: Option<&Summary>, out: &mut dyn Write) {
    let _ = writeln!(out, "  UID: {uid:08}");
    let fields: [(&str, Field); 5] = [
        ("GUID", |summary| summary.guid.as_bytes()),
        ("Size", |summary| summary.size.as_bytes()),
        ("Date", |summary| summary.date.as_bytes()),
        ("From", |summary| &summary.from),
        ("Subj", |summary| &summary.subject),
    ];
    for (name, of) in fields {
        let mut line = format!("   {name}: ").into_bytes();
        line.extend(column(index.map(of).unwrap_or_default()));
        if let Some(file) = file {
            line.push(b'\t');
            line.extend(column(of(file)));
        }
        line.push(b'\n');
        let _ = out.write_all(&line);
    }
    let _ = out.write_all(b"\n");
}

/// The beginning of a text, as wide as a column.
fn column(text: &[u8]) -> Vec<u8> {
    let mut column = text.get(..COLUMN).unwrap_or(text).to_vec();
    column.resize(COLUMN, b' ');
    column
}

/// The message files of a directory by UID.
fn message_files(directory: &Path) -> Vec<(u32, PathBuf)> {
    let Ok(entries) = std::fs::read_dir(directory) else {
        return Vec::new();
    };
    let uid = |path: &Path| path.file_name()?.to_str()?.strip_suffix('.')?.parse().ok();
    entries
        .flatten()
        .filter_map(|entry| Some((uid(&entry.path())?, entry.path())))
        .collect()
}

const DATE: &str = "%a, %d %b %Y %H:%M:%S %z";
const COLUMN: usize = 50;
