//! What older versions of the index have no field for, and Cyrus keeps as annotations of the messages instead: the thread
//! (before version 13), the time of saving (before 15) and the first modification sequence (before 16). A conversion moves
//! them between the records and `cyrus.annotations`.

use std::collections::BTreeMap;
use std::ops::ControlFlow;

use super::plan::Plan;
use crate::db::{Create, DbError};
use crate::error::MailboxError;
use crate::format::annotation::{AnnotationValue, OWNER_TOKEN, key, split_key};
use crate::format::crc32;
use crate::format::index::{Layout, Record};
use crate::mboxlist::MailboxEntry;
use crate::paths::MailboxPaths;
use crate::store::Store;

/// What a conversion means to the annotations of a mailbox.
#[derive(Debug, Default)]
pub(super) struct Carried {
    /// Rows that change: new values, and those that go.
    rows: BTreeMap<Vec<u8>, Option<Vec<u8>>>,
    /// The XOR of the checksums of all annotations that visible messages will have.
    pub(super) sync: u32,
    /// The octets of the values of all that there will be.
    pub(super) octets: u32,
    /// What they were before.
    pub(super) octets_before: u32,
}

/// Key, UID, entry, user and value of an annotation.
type Row = (Vec<u8>, u32, String, String, AnnotationValue);

/// One of the fields.
#[derive(Clone, Copy)]
enum Field {
    Thread,
    Saved,
    Created,
}

impl Field {
    const ALL: [Self; 3] = [Self::Thread, Self::Saved, Self::Created];

    const fn entry(self) -> &'static str {
        match self {
            Self::Thread => "/vendor/cmu/cyrus-imapd/thrid",
            Self::Saved => "/vendor/cmu/cyrus-imapd/savedate",
            Self::Created => "/vendor/cmu/cyrus-imapd/createdmodseq",
        }
    }

    /// The first version that has it.
    const fn since(self) -> u32 {
        match self {
            Self::Thread => 13,
            Self::Saved => 15,
            Self::Created => 16,
        }
    }

    fn of(self, record: &Record) -> u64 {
        match self {
            Self::Thread => record.cid,
            Self::Saved => u64::from(record.savedate),
            Self::Created => record.createdmodseq,
        }
    }

    fn text(self, value: u64) -> String {
        match self {
            Self::Thread => format!("{value:016x}"),
            Self::Saved | Self::Created => value.to_string(),
        }
    }

    fn set(self, record: &mut Record, text: &[u8]) {
        let text = std::str::from_utf8(text).unwrap_or_default();
        match self {
            Self::Thread => record.cid = u64::from_str_radix(text, 16).unwrap_or(record.cid),
            Self::Saved => record.savedate = text.parse().unwrap_or(record.savedate),
            Self::Created => record.createdmodseq = text.parse().unwrap_or(record.createdmodseq),
        }
    }
}

impl Store {
    /// Moves what the new version has fields for into the records, and plans the rows of annotations that change.
    pub(super) fn carry(
        &self,
        entry: &MailboxEntry,
        paths: &MailboxPaths,
        from: &Layout,
        plan: &mut Plan,
    ) -> Result<Carried, MailboxError> {
        let mut carried = Carried::default();
        let to = plan.header.layout;
        let owner = entry.name.owner().unwrap_or_default();
        let mut records: BTreeMap<u32, &mut Record> = plan
            .records
            .iter_mut()
            .map(|planned| (planned.record.uid, &mut planned.record))
            .collect();
        let add = |carried: &mut Carried, record: &Record, entry: &str, user: &str, value: &[u8]| {
            if !record.is_expunged() {
                let mut text = format!("{} {entry} {user} ", record.uid).into_bytes();
                text.extend_from_slice(value);
                carried.sync ^= crc32(&text);
            }
            // Annotations are charged as long as there is a file.
            if !record.is_unlinked() {
                carried.octets = carried.octets.saturating_add(length(value));
            }
        };
        for (key, uid, name, user, value) in self.annotation_rows(paths)? {
            let Some(record) = records.get_mut(&uid) else {
                continue;
            };
            if !record.is_unlinked() {
                carried.octets_before = carried.octets_before.saturating_add(length(&value.value));
            }
            let field = Field::ALL
                .into_iter()
                .find(|field| field.entry() == name && user.is_empty());
            match field.filter(|field| field.since() <= to.minor) {
                Some(field) => {
                    if field.since() > from.minor {
                        field.set(record, &value.value);
                    }
                    carried.rows.insert(key, None);
                }
                None => {
                    let user = if user == OWNER_TOKEN {
                        owner.as_str()
                    } else {
                        &user
                    };
                    add(&mut carried, record, &name, user, &value.value);
                }
            }
        }
        for field in Field::ALL {
            if !(field.since() <= from.minor && field.since() > to.minor) {
                continue;
            }
            for record in records.values().filter(|record| field.of(record) != 0) {
                let value = AnnotationValue {
                    value: field.text(field.of(record)).into_bytes(),
                    modseq: record.modseq,
                    deleted: false,
                };
                let row = key(&record.uid.to_string(), field.entry(), "");
                add(&mut carried, record, field.entry(), "", &value.value);
                carried.rows.insert(row, Some(value.to_bytes()));
            }
        }
        Ok(carried)
    }

    /// All annotations of the messages of a mailbox.
    fn annotation_rows(&self, paths: &MailboxPaths) -> Result<Vec<Row>, MailboxError> {
        let mut rows = Vec::new();
        let engine = self.options().databases.annotation;
        let mut db = match self.databases().open(&paths.annotations, engine, Create::No) {
            Ok(db) => db,
            Err(DbError::Missing { .. }) => return Ok(rows),
            Err(error) => return Err(error.into()),
        };
        db.scan(b"", &mut |key, value| {
            let parts = split_key(key).and_then(|(uid, entry, user)| Some((uid.parse().ok()?, entry, user)));
            if let (Some((uid, entry, user)), Ok(value)) = (parts, AnnotationValue::parse(value))
                && !value.deleted
            {
                rows.push((key.to_vec(), uid, entry.to_owned(), user.to_owned(), value));
            }
            ControlFlow::Continue(())
        })?;
        Ok(rows)
    }

    /// Writes the rows that change.
    pub(super) fn write_carried(&self, paths: &MailboxPaths, carried: &Carried) -> Result<(), MailboxError> {
        if carried.rows.is_empty() {
            return Ok(());
        }
        let engine = self.options().databases.annotation;
        let mut db = self.databases().open(&paths.annotations, engine, Create::Yes)?;
        let mut txn = db.begin()?;
        for (key, value) in &carried.rows {
            match value {
                Some(value) => txn.put(key, value)?,
                None => {
                    txn.remove(key)?;
                }
            }
        }
        Ok(txn.commit()?)
    }
}

fn length(value: &[u8]) -> u32 {
    u32::try_from(value.len()).unwrap_or(u32::MAX)
}
