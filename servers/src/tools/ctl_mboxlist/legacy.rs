//! `-u -L`: the dumps of Cyrus before version 3.6, one line a mailbox: name, TAB, type, partition and ACL.

use std::io::Read;

use cyrus_store::format::mboxentry::{MailboxKind, MailboxRow, MailboxType};
use cyrus_store::{MailboxError, MailboxName, Store};

use super::undump::{now, read_text, refuse};
use crate::tools::DATA_ERROR;

/// Restores what `input` holds; lines that make no sense are reported with their number and left out.
pub(super) fn run(store: &Store, input: &mut dyn Read) -> Result<u8, MailboxError> {
    let text = match read_text(input) {
        Ok(text) => text,
        Err(code) => return Ok(code),
    };
    let mut code = 0;
    let mut rows = Vec::new();
    for (number, line) in text.lines().enumerate() {
        match parse(line) {
            Ok(row) => rows.push(row),
            Err(what) => code = refuse(number + 1, &what),
        }
    }
    store.restore_rows(&rows)?;
    Ok(if code == 0 { 0 } else { DATA_ERROR })
}

fn parse(line: &str) -> Result<(MailboxName, MailboxRow), String> {
    let (name, rest) = line.split_once('\t').ok_or("no partition found")?;
    let name = MailboxName::parse(name).map_err(|error| error.to_string())?;
    let mut words = rest.splitn(3, ' ');
    let (Some(bits), Some(place)) = (words.next(), words.next()) else {
        return Err("no partition found".to_owned());
    };
    let bits: u32 = bits.parse().map_err(|_| format!("'{bits}' is no mailbox type"))?;
    let acl = words.next().unwrap_or_default();
    let mut fields = acl.split_terminator('\t');
    let mut pairs = Vec::new();
    while let Some(identifier) = fields.next() {
        let rights = fields
            .next()
            .ok_or_else(|| format!("the ACL ends behind '{identifier}'"))?;
        pairs.push((identifier.to_owned(), rights.to_owned()));
    }
    let (server, partition) = match place.split_once('!') {
        Some((server, partition)) => (Some(server), partition),
        None => (None, place),
    };
    if partition.is_empty() {
        return Err("no partition found".to_owned());
    }
    let row = MailboxRow {
        mbtype: MailboxType {
            remote: bits & REMOTE != 0,
            reserved: bits & RESERVED != 0,
            moving: bits & MOVING != 0,
            deleted: bits & DELETED != 0,
            intermediate: bits & INTERMEDIATE != 0,
            ..MailboxType::of(kind(bits)?)
        },
        partition: Some(partition.to_owned()),
        server: server.map(str::to_owned),
        mtime: now(),
        acl: pairs,
        ..MailboxRow::default()
    };
    Ok((name, row))
}

fn kind(bits: u32) -> Result<MailboxKind, String> {
    match bits & KINDS {
        0 => Ok(MailboxKind::Email),
        NETNEWS => Ok(MailboxKind::News),
        other => Err(format!("{other} is no mailbox type of such a dump")),
    }
}

// Bits of the type.
const REMOTE: u32 = 1 << 0;
const RESERVED: u32 = 1 << 1;
const NETNEWS: u32 = 1 << 2;
const MOVING: u32 = 1 << 3;
const DELETED: u32 = 1 << 4;
const INTERMEDIATE: u32 = 1 << 8;
const KINDS: u32 = !(REMOTE | RESERVED | MOVING | DELETED | INTERMEDIATE);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_old_dumps_are_understood() {
        let (name, row) = parse("user.a\t0 default a\tlrs\tb\tp\t").unwrap();
        assert_eq!(
            (name.as_str(), row.partition.as_deref()),
            ("user.a", Some("default"))
        );
        assert_eq!(
            row.acl,
            [
                ("a".to_owned(), "lrs".to_owned()),
                ("b".to_owned(), "p".to_owned())
            ]
        );
        let (_, remote) = parse("user.a\t1 srv!default a\tlrs\t").unwrap();
        assert_eq!(remote.server.as_deref(), Some("srv"));
        assert!(remote.mbtype.remote);
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "user.a",
            "user.a\t0",
            "user.a 0 default",
            "user.a\tx default a\tlrs\t",
            "user..a\t0 default",
            "user.a\t0 default a",
            "user.a\t64 default",
        ] {
            assert!(parse(line).is_err(), "{line:?}");
        }
    }
}
