//! What a skiplist file holds according to its records, whatever its pointers say.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use super::super::{DbError, Entry, Problem, Report};
use super::view::{Patches, View};
use crate::format::skiplist::{
    COMMIT, DELETE, DUMMY, END_OF_POINTERS, Header, Kind, LISTS, Record, compare, ends_in_commit,
};

/// The database as of the last commit.
pub(super) struct Replayed<'a> {
    live: BTreeMap<Key<'a>, (u32, Record<'a>)>,
    /// Where the last commit ends.
    end: usize,
}

impl<'a> Replayed<'a> {
    pub(super) fn len(&self) -> usize {
        self.live.len()
    }

    /// All keys and values in order, with the levels of their records.
    pub(super) fn entries(&self) -> Vec<(Entry<'a>, Option<usize>)> {
        let of = |(_, record): &(u32, Record<'a>)| ((record.key, record.value), Some(record.level().max(1)));
        self.live.values().map(of).collect()
    }
}

/// A key, in the order of the file.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Key<'a>(&'a [u8]);

impl Ord for Key<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        compare(self.0, other.0)
    }
}

impl PartialOrd for Key<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// Replays the file from its first record to the last commit.
///
/// What follows the last commit is an unfinished transaction and may be anything. A record before it that
/// cannot be read is an error.
pub(super) fn replay<'a>(path: &Path, bytes: &'a [u8]) -> Result<Replayed<'a>, DbError> {
    let damaged = |at: usize, what: String| DbError::damaged(path, at as u64, what);
    Header::parse(bytes).map_err(|damage| damaged(0, damage.to_string()))?;
    let mut live: BTreeMap<Key<'a>, (u32, Record<'a>)> = BTreeMap::new();
    let mut added: HashMap<u32, Key<'a>> = HashMap::new();
    let mut pending: Vec<(u32, Record<'a>)> = Vec::new();
    let mut at = DUMMY as usize;
    let mut in_log = false;
    let mut end = at;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        let (Ok(offset), Ok(record)) = (u32::try_from(at), Record::parse(rest)) else {
            break;
        };
        let next = at + record.size;
        match record.kind {
            Kind::Dummy if at == DUMMY as usize => end = next,
            Kind::InOrder if !in_log && at != DUMMY as usize => {
                live.insert(Key(record.key), (offset, record));
                added.insert(offset, Key(record.key));
                end = next;
            }
            Kind::Add if record.level() > 0 => {
                in_log = true;
                added.insert(offset, Key(record.key));
                pending.push((offset, record));
            }
            Kind::Delete => {
                in_log = true;
                pending.push((offset, record));
            }
            Kind::Commit => {
                for (offset, record) in pending.drain(..) {
                    match record.kind {
                        Kind::Delete => {
                            let gone = added.get(&record.target).and_then(|key| live.remove(key));
                            if gone.is_none_or(|(offset, _)| offset != record.target) {
                                let what = "a deletion of a record that is not there".to_owned();
                                return Err(damaged(offset as usize, what));
                            }
                        }
                        _ => {
                            live.insert(Key(record.key), (offset, record));
                        }
                    }
                }
                end = next;
            }
            _ => break,
        }
        at = next;
    }
    if end == DUMMY as usize {
        return Err(damaged(end, "the first record is not the dummy".to_owned()));
    }
    if at < bytes.len() && holds_commit(bytes, at) {
        return Err(damaged(
            at,
            "a record that cannot be read, before a commit".to_owned(),
        ));
    }
    Ok(Replayed { live, end })
}

/// Whether there is what looks like a commit after a record that cannot be read.
fn holds_commit(bytes: &[u8], from: usize) -> bool {
    let rest = bytes.get(from..).unwrap_or_default();
    let mut words = rest.chunks_exact(4);
    let mut before: [&[u8]; 2] = [&[], &[]];
    words.any(|word| {
        let [third_last, last] = before;
        before = [last, word];
        word == COMMIT && (last == END_OF_POINTERS || third_last == DELETE)
    })
}

/// Compares the lists with the records and reports what differs.
pub(super) fn check(path: &Path, bytes: &[u8], report: &mut Report) -> Result<(), DbError> {
    if bytes.is_empty() {
        return Ok(());
    }
    let header = super::header_of(path, bytes)?;
    report.clean = ends_in_commit(bytes, &header);
    let replayed = replay(path, bytes)?;
    report.records = replayed.len() as u64;
    if !report.clean {
        // The pointers may be those of the unfinished transaction; recovery does not use them.
        return Ok(());
    }
    if replayed.end != bytes.len() {
        let what = "records after the last commit".into();
        report.problems.push(Problem {
            at: replayed.end as u64,
            what,
        });
    }
    let patches = Patches::new();
    let view = View::new(path, bytes, &[], &header, &patches);
    let dummy = view.dummy()?;
    let mut expected: Vec<(u32, u32)> = (0..LISTS).map(|list| (DUMMY, dummy.pointer(list))).collect();
    let mut problem = |at: u32, what: String| {
        report.problems.push(Problem {
            at: u64::from(at),
            what: what.into(),
        })
    };
    for (offset, record) in replayed.live.values() {
        let node = view.node(*offset)?;
        if record.level() > header.level as usize {
            problem(
                *offset,
                format!(
                    "a record of level {} in lists of level {}",
                    record.level(),
                    header.level
                ),
            );
        }
        for (list, (from, link)) in expected.iter_mut().enumerate().take(record.level()) {
            if link != offset {
                problem(*from, format!("list {list} leads to {link} instead of {offset}"));
            }
            (*from, *link) = (*offset, node.pointer(list));
        }
    }
    for (list, (from, link)) in expected.iter().enumerate() {
        if *link != 0 {
            problem(
                *from,
                format!("list {list} goes on to {link} past the last record"),
            );
        }
    }
    Ok(())
}
