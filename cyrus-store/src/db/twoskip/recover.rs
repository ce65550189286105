//! Mending, checking and rebuilding twoskip files.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::{DbError, Engine, Problem, Report};
use super::view::{LISTS, Node, View};
use super::{Header, Patches};
use crate::format::twoskip::{BLANK, DUMMY, EMPTY_SIZE, Kind, Record};
use crate::lock::{DataLock, Mapping};

/// Undoes what a transaction that never ended has done to the file.
///
/// The lowest list as of the last commit tells which records are live; the higher lists are made to agree
/// with it, pointers past the last commit are cleared and the file is cut there. Nothing is guessed:
/// damage in the lowest list is an error and leaves the file as it was, but for the dirty mark.
pub(super) fn mend(lock: &mut DataLock, map: &mut Mapping, header: &Header) -> Result<Header, DbError> {
    let path = lock.path().to_owned();
    let bytes = map.refresh(lock)?;
    if (bytes.len() as u64) < header.current_size {
        return Err(DbError::damaged(
            &path,
            bytes.len() as u64,
            "the file is shorter than its last commit",
        ));
    }
    let (patches, records) = relinked(&path, bytes, header)?;
    let none = Patches::new();
    let view = View::committed(&path, bytes, header, &none);
    let heads = patches
        .iter()
        .map(|(&offset, pointers)| Ok((offset, view.node(offset)?.record.head_with(pointers))))
        .collect::<Result<Vec<_>, DbError>>()?;

    let mut header = Header {
        dirty: true,
        ..*header
    };
    lock.write_at(&header.encode(), 0)?;
    lock.file().sync_data()?;

    for (offset, head) in heads {
        lock.write_at(&head, offset)?;
    }
    lock.truncate(header.current_size)?;
    lock.file().sync()?;

    header.dirty = false;
    header.records = records;
    lock.write_at(&header.encode(), 0)?;
    lock.file().sync_data()?;
    Ok(header)
}

/// The pointers that have to change for all lists to agree with the lowest, and the number of live records.
fn relinked(path: &Path, bytes: &[u8], header: &Header) -> Result<(Patches, u64), DbError> {
    let none = Patches::new();
    let view = View::committed(path, bytes, header, &none);
    let mut patches = Patches::new();
    let mut set = |node: &Node<'_>, index: usize, value: u64| {
        if node.pointer(index) != value || patches.contains_key(&node.offset) {
            let pointers = patches.entry(node.offset).or_insert_with(|| node.pointers());
            if let Some(pointer) = pointers.get_mut(index) {
                *pointer = value;
            }
        }
    };
    let dummy = view.dummy()?;
    let mut last: [Node<'_>; LISTS] = [dummy; LISTS];
    let mut records = 0;
    let mut node = dummy;
    loop {
        for index in [0, 1] {
            if node.pointer(index) >= header.current_size {
                set(&node, index, 0);
            }
        }
        let Some(next) = view.next(&node)? else { break };
        for (list, last) in last.iter_mut().enumerate().take(next.level()).skip(1) {
            set(last, list + 1, next.offset);
            *last = next;
        }
        records += 1;
        node = next;
    }
    for (list, last) in last.iter().enumerate().skip(1) {
        set(last, list + 1, 0);
    }
    Ok((patches, records))
}

/// Reads everything and reports what is wrong.
pub(super) fn check(path: &Path, bytes: &[u8]) -> Report {
    let size = bytes.len() as u64;
    let mut report = Report {
        engine: Engine::Twoskip,
        records: 0,
        size,
        clean: true,
        problems: Vec::new(),
    };
    if bytes.is_empty() {
        return report;
    }
    let header = match Header::parse(bytes) {
        Ok(header) => header,
        Err(damage) => {
            report.problems.push(Problem {
                at: 0,
                what: damage.to_string().into(),
            });
            return report;
        }
    };
    report.clean = super::is_clean(&header, bytes);
    if let Err(error) = check_lists(path, bytes, &header, &mut report) {
        report.problems.push(problem(error));
    }
    report
}

fn check_lists(path: &Path, bytes: &[u8], header: &Header, report: &mut Report) -> Result<(), DbError> {
    if (bytes.len() as u64) < header.current_size {
        return Err(DbError::damaged(
            path,
            bytes.len() as u64,
            "the file is shorter than its last commit",
        ));
    }
    let none = Patches::new();
    let view = View::committed(path, bytes, header, &none);
    let dummy = view.dummy()?;
    // What each higher list has to lead to next.
    let mut expected: [(u64, u64); LISTS] = [(DUMMY, 0); LISTS];
    for (list, (_, link)) in expected.iter_mut().enumerate() {
        *link = view.link(&dummy, list);
    }
    let mut node = dummy;
    while let Some(next) = view.next(&node)? {
        if let Err(damage) = next.record.check_tail() {
            report.problems.push(Problem {
                at: next.offset,
                what: damage.to_string().into(),
            });
        }
        for (list, (from, link)) in expected.iter_mut().enumerate().take(next.level()).skip(1) {
            if *link != next.offset {
                let what = format!("list {list} leads to {link} instead of {}", next.offset);
                report.problems.push(Problem {
                    at: *from,
                    what: what.into(),
                });
            }
            (*from, *link) = (next.offset, view.link(&next, list));
        }
        report.records += 1;
        node = next;
    }
    for (list, (from, link)) in expected.iter().enumerate().skip(1) {
        if *link != 0 {
            let what = format!("list {list} goes on to {link} past the last record");
            report.problems.push(Problem {
                at: *from,
                what: what.into(),
            });
        }
    }
    if report.records != header.records {
        let what = format!(
            "the header counts {} records, there are {}",
            header.records, report.records
        );
        report.problems.push(Problem {
            at: 0,
            what: what.into(),
        });
    }
    // An unfinished transaction leaves the higher lists pointing past the commit; that is not damage.
    if !report.clean {
        report.problems.clear();
    }
    Ok(())
}

fn problem(error: DbError) -> Problem {
    match error {
        DbError::Damaged { at, what, .. } => Problem { at, what },
        other => Problem {
            at: 0,
            what: other.to_string().into(),
        },
    }
}

/// Keys and values.
type Keys = BTreeMap<Vec<u8>, Vec<u8>>;

/// The database as the records in the file tell it, transaction by transaction, and its generation.
///
/// A record of a deletion names the record after the one that went; as the keys are known at that point, the
/// one that went is the last before it. Fails where a record of a finished transaction cannot be read, and where
/// nothing that is intact tells that this is a database.
pub(super) fn replay(path: &Path, bytes: &[u8]) -> Result<(Keys, u64), DbError> {
    let header = Header::parse(bytes).ok();
    let generation = header.map_or(1, |header| header.generation);
    let committed = header
        .map(|header| header.current_size)
        .filter(|size| *size <= bytes.len() as u64);
    let end = committed
        .and_then(|size| usize::try_from(size).ok())
        .unwrap_or(bytes.len());
    let bytes = bytes.get(..end).unwrap_or(bytes);

    let mut now = Keys::new();
    // What the keys were before the transaction in hand changed them.
    let mut undo: Vec<(Vec<u8>, Option<Vec<u8>>)> = Vec::new();
    let mut commit_end = EMPTY_SIZE;
    let mut keys: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
    let mut at = EMPTY_SIZE;
    let mut stopped = None;
    while let Some(rest) = usize::try_from(at)
        .ok()
        .and_then(|at| bytes.get(at..))
        .filter(|rest| !rest.is_empty())
    {
        if rest.starts_with(BLANK) {
            at += BLANK.len() as u64;
            continue;
        }
        let record = match Record::salvage(rest) {
            Ok(record) => record,
            Err(damage) => {
                stopped = Some((at, damage));
                break;
            }
        };
        match record.kind {
            Kind::Dummy => return Err(DbError::damaged(path, at, "a second dummy record")),
            Kind::Live => {
                keys.insert(at, record.key.to_vec());
                let before = now.insert(record.key.to_vec(), record.value.to_vec());
                undo.push((record.key.to_vec(), before));
            }
            Kind::Delete => {
                let gone = match record.pointer(0) {
                    0 => now.keys().next_back().cloned(),
                    next => keys
                        .get(&next)
                        .and_then(|next| now.range::<Vec<u8>, _>(..next).next_back())
                        .map(|(key, _)| key.clone()),
                };
                let gone = gone.ok_or_else(|| {
                    DbError::damaged(path, at, "a deletion of a key that is not to be found")
                })?;
                let before = now.remove(&gone);
                undo.push((gone, before));
            }
            Kind::Commit => {
                undo.clear();
                commit_end = at + record.size() as u64;
            }
        }
        at += record.size() as u64;
    }
    // Past the last commit anything may be; before it, everything has to be read.
    match (stopped, committed) {
        (Some((at, damage)), Some(_)) => Err(DbError::damaged(path, at, damage.to_string())),
        (Some((at, damage)), None) if holds_commit(bytes, at) => {
            Err(DbError::damaged(path, at, damage.to_string()))
        }
        // An empty database has nothing to tell that it is one but its header.
        _ if header.is_none() && commit_end == EMPTY_SIZE => Err(DbError::foreign(
            path,
            "neither a valid header nor a finished transaction",
        )),
        _ if committed.is_some_and(|size| size != commit_end && size != EMPTY_SIZE) => Err(DbError::damaged(
            path,
            commit_end,
            "the last transaction has no end",
        )),
        _ => {
            while let Some((key, before)) = undo.pop() {
                match before {
                    Some(value) => now.insert(key, value),
                    None => now.remove(&key),
                };
            }
            Ok((now, generation))
        }
    }
}

/// Whether a commit record can be found anywhere after damage.
fn holds_commit(bytes: &[u8], damaged_at: u64) -> bool {
    let from = usize::try_from(damaged_at).map_or(bytes.len(), |at| at + 8);
    (from..bytes.len())
        .step_by(8)
        .filter_map(|at| bytes.get(at..))
        .any(|rest| {
            rest.first() == Some(&b'$')
                && matches!(Record::parse(rest), Ok(record) if record.kind == Kind::Commit)
        })
}
