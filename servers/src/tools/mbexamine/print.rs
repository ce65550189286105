//! Everything that the files of a mailbox say.

use std::io::Write;
use std::path::PathBuf;

use cyrus_store::format::index::{Record, options};
use cyrus_store::{IndexRead, Mailbox, MailboxEntry, MailboxError, Message, Store, SystemFlags};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::Wanted;

/// Prints the header, the index header and the messages that are wanted.
pub(super) fn run(
    mailbox: &mut Mailbox,
    entry: &MailboxEntry,
    wanted: Wanted,
    out: &mut dyn Write,
) -> Result<(), MailboxError> {
    let path = directory(mailbox.store(), entry)?;
    let deleteright = mailbox.store().options().deleteright;
    let read = mailbox.read()?;
    let _ = writeln!(
        out,
        " Mailbox Header Info:\n  Path to mailbox: {}",
        path.display()
    );
    let acl: String = entry
        .acl
        .entries()
        .map(|(identifier, rights)| format!("{identifier}\t{}\t", rights.to_text(deleteright)))
        .collect();
    let _ = writeln!(out, "  Mailbox ACL: {acl}");
    let id = entry.id.as_ref().map_or("", |id| id.as_str());
    let keywords: String = read
        .keywords()
        .iter()
        .flatten()
        .map(|keyword| format!("{} ", keyword.as_str()))
        .collect();
    let keywords = if keywords.is_empty() { "[none]" } else { &keywords };
    let _ = writeln!(out, "  Unique ID: {id}\n  User Flags: {keywords}\n");
    index_header(&read, out);
    let mut printed = false;
    let _ = writeln!(out, "\n Message Info:");
    for (number, shown) in (1..).zip(read.messages()) {
        if wanted.includes(number, shown.uid().get()) {
            message(number, &shown, out)?;
            printed = true;
        }
    }
    if !printed && !matches!(wanted, Wanted::All) {
        let _ = writeln!(out, "Desired message not found");
    }
    Ok(())
}

/// The directory of the messages.
pub(super) fn directory(store: &Store, entry: &MailboxEntry) -> Result<PathBuf, MailboxError> {
    let (Some(id), Some(partition)) = (&entry.id, &entry.partition) else {
        return Err(MailboxError::NotAMailbox);
    };
    let legacy = entry.mbtype.legacy_dirs;
    Ok(store
        .options()
        .mailbox_paths(partition, id, &entry.name, legacy)?
        .data)
}

fn index_header(read: &IndexRead<'_>, out: &mut dyn Write) {
    let header = read.header();
    let layout = header.layout;
    let set: String = OPTIONS
        .iter()
        .filter(|(bit, _)| header.options & bit != 0)
        .map(|(_, name)| format!(" {name}"))
        .collect();
    let _ = writeln!(
        out,
        " Index Header Info:
  Generation Number: {}
  Minor Version: {}
  Header Size: {} bytes  Record Size: {} bytes
  Number of Messages: {}  Mailbox Size: {} bytes  Annotations Size: {} bytes
  Last Append Date: ({}) {}
  UIDValidity: {}  Last UID: {}
  Deleted: {}  Answered: {}  Flagged: {}
  Mailbox Options:{set}
  Last POP3 Login: ({}) {}
  Highest Mod Sequence: {}",
        header.generation,
        layout.minor,
        layout.header_size,
        layout.record_size,
        read.exists(),
        header.quota_mailbox_used,
        header.quota_annot_used,
        header.last_appenddate,
        local_time(header.last_appenddate),
        header.uidvalidity,
        header.last_uid,
        header.deleted,
        header.answered,
        header.flagged,
        header.pop3_last_login,
        local_time(header.pop3_last_login),
        header.highestmodseq
    );
}

fn message(number: u32, message: &Message<'_>, out: &mut dyn Write) -> Result<(), MailboxError> {
    let record = message.record()?;
    let names = |table: &[(u32, &str)]| -> String {
        let set = table.iter().filter(|(bit, _)| record.flags & bit != 0);
        set.map(|(_, name)| format!(" {name}")).collect()
    };
    let _ = writeln!(
        out,
        "{number:06}> UID:{:08}   INT_DATE:{} SENTDATE:{} SAVEDATE:{} SIZE:{:<6}
      > HDRSIZE:{:<6} LASTUPD :{} SYSFLAGS:{:08X}      > CACHEVER:{:<2} GUID:{} MODSEQ:{}  THRID: {:x}
      > INTERNALFLAGS:{}      > SYSTEMFLAGS:{}",
        record.uid,
        record.internaldate,
        record.sentdate,
        record.savedate,
        record.size,
        record.header_size,
        record.last_updated,
        record.system_flags().bits(),
        record.cache_version,
        record.guid,
        record.modseq,
        record.cid,
        names(INTERNAL),
        names(&SYSTEM.map(|(flag, name)| (flag.bits(), name)))
    );
    let [first, second, third, fourth] = record.keywords.0;
    let _ = writeln!(
        out,
        "      > USERFLAGS: {fourth:08x} {third:08x} {second:08x} {first:08x}"
    );
    let cached = message.cache()?;
    let cache = cached.record();
    for (name, item) in [
        ("Envel", cache.envelope()),
        ("BdyStr", cache.bodystructure()),
        ("Body", cache.body()),
        ("CacHdr", cache.headers()),
        ("From", cache.from()),
        ("To", cache.to()),
        ("Cc", cache.cc()),
        ("Bcc", cache.bcc()),
        ("Subjct", cache.subject()),
    ] {
        let _ = write!(out, " {name}>{{{}}}", item.len());
        let _ = out.write_all(item).and_then(|()| out.write_all(b"\n"));
    }
    Ok(())
}

/// As ctime(3) has it.
fn local_time(seconds: u32) -> String {
    local(seconds, "%a %b %e %H:%M:%S %Y")
}

/// A time of the server's clock.
pub(super) fn local(seconds: u32, format: &str) -> String {
    let time = Timestamp::from_second(i64::from(seconds)).unwrap_or_default();
    time.to_zoned_datetime(TimeZone::system())
        .strftime(format)
        .to_string()
}

const OPTIONS: &[(u32, &str)] = &[
    (options::POP3_NEW_UIDL, "POP3_NEW_UIDL"),
    (options::SHAREDSEEN, "IMAP_SHAREDSEEN"),
    (options::DUPDELIVER, "IMAP_DUPDELIVER"),
    (options::HAS_ALARMS, "IMAP_HAS_ALARMS"),
];
const INTERNAL: &[(u32, &str)] = &[
    (Record::EXPUNGED, "FLAG_INTERNAL_EXPUNGED"),
    (Record::UNLINKED, "FLAG_INTERNAL_UNLINKED"),
    (Record::ARCHIVED, "FLAG_INTERNAL_ARCHIVED"),
    (Record::NEEDS_CLEANUP, "FLAG_INTERNAL_NEEDS_CLEANUP"),
    (Record::SNOOZED, "FLAG_INTERNAL_SNOOZED"),
];
const SYSTEM: [(SystemFlags, &str); 5] = [
    (SystemFlags::SEEN, "FLAG_SEEN"),
    (SystemFlags::DRAFT, "FLAG_DRAFT"),
    (SystemFlags::DELETED, "FLAG_DELETED"),
    (SystemFlags::FLAGGED, "FLAG_FLAGGED"),
    (SystemFlags::ANSWERED, "FLAG_ANSWERED"),
];
