//! `-d`: the list as JSON, one line a mailbox.

use std::io::Write;

use cyrus_store::format::mboxentry::MailboxRow;
use cyrus_store::{MailboxError, MailboxName, Store};
use serde_json::Value;

use crate::getopt::CommandLine;

/// Prints the rows; `-p` limits them to a partition, `-y` shows intermediate names too, `-x` removes what was printed.
pub(super) fn run(store: &Store, line: &CommandLine, out: &mut dyn Write) -> Result<u8, MailboxError> {
    let partition = line.argument('p');
    let rows: Vec<(MailboxName, MailboxRow)> = store
        .rows()?
        .into_iter()
        .filter(|(_, row)| line.has('y') || !row.mbtype.intermediate)
        .filter(|(_, row)| partition.is_none_or(|wanted| row.partition.as_deref() == Some(wanted)))
        .collect();
    let lines: Vec<String> = rows.iter().map(|(name, row)| entry(name, row)).collect();
    let written = write!(out, "{{\n{}\n}}\n", lines.join(",\n")).and_then(|()| out.flush());
    if let Err(error) = written {
        eprintln!("ctl_mboxlist: the dump could not be written: {error}");
        return Ok(CANNOT_WRITE);
    }
    if line.has('x') {
        store.forget_rows(rows.iter().map(|(name, _)| name))?;
    }
    Ok(0)
}

fn entry(name: &MailboxName, row: &MailboxRow) -> String {
    let name = string(name.as_str());
    let mut fields = vec![
        ("name", name.clone()),
        ("mtime", string(&row.mtime.to_string())),
        ("uidvalidity", string(&row.uidvalidity.to_string())),
        ("createdmodseq", string(&row.createdmodseq.to_string())),
        ("foldermodseq", string(&row.foldermodseq.to_string())),
        ("mbtype", string(&letters(row))),
    ];
    fields.extend(row.partition.as_deref().map(|text| ("partition", string(text))));
    fields.extend(row.server.as_deref().map(|text| ("server", string(text))));
    fields.push((
        "acl",
        object(row.acl.iter().map(|(who, rights)| (who.as_str(), string(rights)))),
    ));
    fields.extend(row.id.as_deref().map(|text| ("uniqueid", string(text))));
    // Former names are with the rows by unique id; Cyrus leaves the list empty.
    fields.push(("name_history", "[]".to_owned()));
    format!("{name}: {}", object(fields.into_iter()))
}

/// The type letters; here an intermediate name has a kind, too.
fn letters(row: &MailboxRow) -> String {
    let text = row.mbtype.to_string();
    if row.mbtype.intermediate {
        format!("e{text}")
    } else {
        text
    }
}

fn object<'a>(fields: impl Iterator<Item = (&'a str, String)>) -> String {
    let fields: Vec<String> = fields
        .map(|(key, value)| format!("{}: {value}", string(key)))
        .collect();
    format!("{{{}}}", fields.join(", "))
}

fn string(text: &str) -> String {
    Value::from(text).to_string()
}

/// `EX_IOERR`
const CANNOT_WRITE: u8 = 74;
